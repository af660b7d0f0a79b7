package exporter

import (
	"context"
	"encoding/json"
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
	if stand.Last != before {
		e.log().Info("the baseline was due", "stream", e.Stream, "sequence", stand.Baseline, "every", o.BaselineEvery.String())
	} else {
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

// created returns when a batch was sealed, by its manifest in the outbox. Only
// its age is wanted, and from our own folder: a manifest whose key has been
// retired since still tells it.
func (e *Exporter) created(sequence int64) (time.Time, error) {
	name := manifest.FileName(sequence, manifest.ManifestExt)
	doc, err := os.ReadFile(filepath.Join(e.Outbox, name))
	if err != nil {
		return time.Time{}, err
	}
	var m struct {
		Stream   string
		Sequence int64
		Created  time.Time
	}
	if err := json.Unmarshal(doc, &m); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", name, err)
	}
	if m.Stream != e.Stream || m.Sequence != sequence {
		return time.Time{}, fmt.Errorf("%s: it is the manifest of %s, batch %d", name, m.Stream, m.Sequence)
	}
	if m.Created.IsZero() {
		return time.Time{}, fmt.Errorf("%s: it does not say when it was sealed", name)
	}
	return m.Created, nil
}

// retain returns the lowest number whose archive is to be kept: that of the
// newest baseline, once a reader has confirmed that it applies, or a lower one
// that is younger than the retention. A batch whose own time is not known, or
// is no time that can be, is as old as one behind it at least.
func (e *Exporter) retain(stand manifest.Stand, oldest int64, o Options) int64 {
	confirmed := o.Confirmed.Epoch == stand.Last.Epoch && o.Confirmed.Sequence >= stand.Baseline && stand.Baseline > 0
	if o.Retention == 0 || manifest.IsUp(e.Stream) || !confirmed {
		return oldest
	}
	now := e.now()
	for n := oldest; n <= stand.Baseline; n++ {
		created, err := e.created(n)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a number that an epoch left out, or lost with the outbox
			e.log().Warn("the age of an old batch is not known", "stream", e.Stream, "sequence", n, "error", err.Error())
		}
		if err != nil || created.Sub(now) > clockSlack {
			continue
		}
		if now.Sub(created) < o.Retention {
			break
		}
		oldest = min(n+1, stand.Baseline)
	}
	return oldest
}

// promised returns what the newest head says is the oldest archive to be kept, 0
// when that decides nothing: the head in the outbox, or what the database
// remembers of it where any of several hosts may have written it. A run that was stopped after it had
// written that head, or while archives were being removed, is so finished by
// the next one, and the head never goes back.
func (e *Exporter) promised(stand manifest.Stand, shared manifest.Shared, o Options) (int64, error) {
	if o.Retention == 0 || manifest.IsUp(e.Stream) {
		return 0, nil
	}
	head, err := e.lastHead()
	if e.shelf() != nil {
		head = ownHead{Stream: e.Stream, Oldest: shared.Oldest}
	}
	if err != nil || head.Stream != e.Stream || head.Oldest > stand.Baseline {
		return 0, err
	}
	return head.Oldest, nil
}

// resume goes on where removing archives was stopped: what the drop has not any
// more, and the head does not name, need not be in the outbox either, from
// where it would be shipped again. It returns the oldest number to be kept.
func (e *Exporter) resume(stand manifest.Stand, shared manifest.Shared, oldest int64, o Options) (int64, error) {
	promised, err := e.promised(stand, shared, o)
	if err == nil && promised > 0 && o.Oldest > 0 {
		_, err = e.prune(min(promised, o.Oldest))
	}
	return max(oldest, promised), err
}

// Prune removes the archives below the number oldest, as the head on the drop
// names it, from the outbox. It is called when that head has arrived there:
// then nobody looks for them any more. Manifests and signatures stay, and with
// them the proof of what was sealed. It returns how many it removed.
// Nothing goes that the head in the outbox names.
func (e *Exporter) Prune(oldest int64) (n int, err error) {
	head, err := e.lastHead()
	if err != nil {
		return 0, err
	}
	return e.prune(min(oldest, head.Oldest))
}

func (e *Exporter) prune(oldest int64) (n int, err error) {
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
