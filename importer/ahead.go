package importer

import (
	"context"
	"fmt"
	"time"

	"caisseauto/manifest"
)

// A Recorder is an Applier that can take note of a baseline without its rows:
// one that is Unchanged since the batch that was applied last. It writes the
// ledger's row, as Apply does.
type Recorder interface {
	// NeedsRows reports whether the database lacks values that the rows of
	// the next baseline would mend, unchanged or not.
	NeedsRows(ctx context.Context, stream string) (bool, error)
	Record(ctx context.Context, m *manifest.Manifest, p manifest.Position) error
}

// ahead returns the number of the newest baseline that is here and that a
// reader at pos does best to go on from, 0 for none. Every row of a baseline
// has to be read in any case, so that the batches before it would be read for
// nothing; after a long absence they may not be there any more. Only a baseline
// that is Unchanged need not be read after the batches before it: then fewer
// bytes decide.
func (i *Importer) ahead(box inbox, head *manifest.Head, pos manifest.Position) int64 {
	if manifest.IsUp(i.Stream) {
		return 0
	}
	from := box.newest()
	if head != nil && head.Epoch >= pos.Epoch && box.whole(head.Baseline) {
		from = head.Baseline
	}
	for n := from; n > pos.Sequence+1; n-- {
		if !box.whole(n) {
			continue
		}
		// One that cannot be believed is found out when its turn comes.
		m, _, err := i.open(n)
		if err != nil || m.Kind != manifest.Baseline || follows(m, pos) != nil {
			continue
		}
		if way, ok := i.way(box, pos, n); m.Unchanged && i.records() && ok && way < box[n].size {
			return 0
		}
		return n
	}
	return 0
}

// way returns how many bytes of archives lie between pos and the batch n, and
// whether all of them are here.
func (i *Importer) way(box inbox, pos manifest.Position, n int64) (bytes int64, ok bool) {
	for k := pos.Sequence + 1; k < n; k++ {
		if box.whole(k) {
			bytes += box[k].size
			continue
		}
		if m, _, err := i.signed(box, k); err != nil || !m.Unchanged {
			return 0, false
		}
	}
	return bytes, true
}

// records reports whether baselines can be recorded without their rows.
func (i *Importer) records() bool {
	r, can := i.Applier.(Recorder)
	if !can {
		return false
	}
	needs, err := r.NeedsRows(context.Background(), i.Stream)
	if err != nil {
		i.log().Warn("taking the rows of every baseline", "stream", i.Stream, "error", err.Error())
	}
	return err == nil && !needs
}

// signed opens the manifest of a batch of which the archive need not be here.
func (i *Importer) signed(box inbox, n int64) (*manifest.Manifest, manifest.Position, error) {
	if p := box[n]; !p.signature || !p.manifest {
		return nil, manifest.Position{}, fmt.Errorf("batch %d: manifest or signature is not here", n)
	}
	return i.open(n)
}

// ready reports whether the batch with that number can be taken after the one
// at pos.
func (i *Importer) ready(box inbox, n int64, pos manifest.Position) bool {
	if box.whole(n) {
		return true
	}
	if !i.records() {
		return false
	}
	m, _, err := i.signed(box, n)
	return err == nil && recordable(m, pos)
}

// recordable reports whether a reader at pos has the rows of m.
func recordable(m *manifest.Manifest, pos manifest.Position) bool {
	return m.Unchanged && !pos.IsZero() && m.Epoch == pos.Epoch && m.Previous == pos.Digest && m.Follows(pos) == nil
}

// record takes note of a baseline whose rows are here already. It reports
// whether the batch was one.
func (i *Importer) record(ctx context.Context, box inbox, n int64, pos manifest.Position) (Batch, bool, error) {
	start := time.Now()
	if !i.records() {
		return Batch{}, false, nil
	}
	m, p, err := i.signed(box, n)
	if err != nil || !recordable(m, pos) {
		return Batch{}, false, nil // verify says what is wrong with it
	}
	if err := i.Applier.(Recorder).Record(ctx, m, p); err != nil {
		return Batch{}, true, fmt.Errorf("%s: %w", manifest.FileName(n, manifest.ManifestExt), err)
	}
	i.log().Info("recorded an unchanged baseline", "stream", i.Stream, "sequence", n)
	return Batch{Position: p, Kind: m.Kind, Unchanged: true, Elapsed: time.Since(start)}, true, nil
}

// follows is [manifest.Manifest.Follows], but lets a reader go on from a
// baseline of a higher number without the batches before it.
func follows(m *manifest.Manifest, pos manifest.Position) error {
	err := m.Follows(pos)
	if manifest.IsUp(m.Stream) || m.Kind != manifest.Baseline || m.Epoch < pos.Epoch || m.Sequence <= pos.Sequence+1 {
		return err
	}
	return nil
}
