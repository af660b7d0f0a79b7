package exporter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"caisseauto/manifest"
)

// A wish says what a batch is to hold.
type wish int

const (
	changes       wish = iota // what changed since the last batch
	everything                // every row, because an operator asked for it
	baseline                  // every row, because a baseline is due
	onlyUnchanged             // that, but only if nothing changed since the last batch
)

// clockSlack is how far ahead of this machine's clock a baseline's time may
// be before that clock is no longer believed to say how old it is.
const clockSlack = 24 * time.Hour

// sealAll seals what a run is to seal. A baseline that is due by its age comes
// behind the changes, in a batch of its own: it then repeats what the batch
// before it ended with, and says so, and tills that are up to date need not
// fetch it. Where the ERP writes without a pause that cannot be had at once; it
// is tried again at each run, until the baseline is overdue by as much again.
func (e *Exporter) sealAll(ctx context.Context, stand *manifest.Stand, o Options, r *Result) error {
	if o.Full {
		return e.seal(ctx, stand, everything, r)
	}
	age, known := e.baselineAge(stand)
	if err := e.seal(ctx, stand, changes, r); err != nil {
		return err
	}
	if o.BaselineEvery == 0 || r.Kind == manifest.Baseline || known && age < o.BaselineEvery {
		return nil
	}
	w := onlyUnchanged
	if !known || age >= 2*o.BaselineEvery {
		w = baseline
	}
	before := stand.Last
	if err := e.seal(ctx, stand, w, r); err != nil {
		return err
	}
	if stand.Last == before {
		e.log().Info("a baseline is due, and waits for a moment without changes", "stream", e.Stream)
	}
	return nil
}

// baselineAge returns how old the newest baseline is; not known when its
// manifest is not in the outbox, or is from the future.
func (e *Exporter) baselineAge(stand *manifest.Stand) (age time.Duration, known bool) {
	created, err := e.created(stand.Baseline)
	if err != nil {
		return 0, false
	}
	age = e.now().Sub(created)
	return age, age > -clockSlack
}

// created returns when a batch was sealed, by its manifest in the outbox.
func (e *Exporter) created(sequence int64) (time.Time, error) {
	name := manifest.FileName(sequence, manifest.ManifestExt)
	doc, err := os.ReadFile(filepath.Join(e.Outbox, name))
	if err != nil {
		return time.Time{}, err
	}
	sig, err := os.ReadFile(filepath.Join(e.Outbox, manifest.FileName(sequence, manifest.SignatureExt)))
	if err != nil {
		return time.Time{}, err
	}
	m, _, err := manifest.Open(name, e.Stream, doc, sig, e.Trust)
	if err != nil {
		return time.Time{}, err
	}
	return m.Created, nil
}

// retain returns the lowest number whose archive is to be kept: that of the
// newest baseline, once a reader has confirmed that it applies, or a lower one
// that is younger than the retention.
func (e *Exporter) retain(stand manifest.Stand, oldest int64, o Options) int64 {
	confirmed := o.Confirmed.Epoch == stand.Last.Epoch && o.Confirmed.Sequence >= stand.Baseline && stand.Baseline > 0
	if o.Retention == 0 || manifest.IsUp(e.Stream) || !confirmed {
		return oldest
	}
	until := e.now().Add(-o.Retention)
	for ; oldest < stand.Baseline; oldest++ {
		created, err := e.created(oldest)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a number that an epoch left out
		}
		if err != nil || created.After(until) {
			if err != nil {
				e.log().Warn("an old batch is kept, because its manifest cannot be read", "stream", e.Stream, "sequence", oldest, "error", err.Error())
			}
			break
		}
	}
	return oldest
}

// Prune removes the archives below the number oldest, as the head on the drop
// names it, from the outbox. It is called when that head has arrived there:
// then nobody looks for them any more. Manifests and signatures stay, and with
// them the proof of what was sealed. It returns how many it removed.
func (e *Exporter) Prune(oldest int64) (n int, err error) {
	entries, err := os.ReadDir(e.Outbox)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		sequence, ext, ok := manifest.ParseFileName(entry.Name())
		if !ok || ext != manifest.ArchiveExt || sequence >= oldest {
			continue
		}
		if err := os.Remove(filepath.Join(e.Outbox, entry.Name())); err != nil {
			return n, fmt.Errorf("removing an archive that is no longer kept: %w", err)
		}
		n++
	}
	if n > 0 {
		e.log().Info("archives behind the baseline removed", "stream", e.Stream, "archives", n, "oldest", oldest)
	}
	return n, nil
}
