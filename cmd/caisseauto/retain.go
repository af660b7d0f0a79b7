package main

import (
	"context"
	"errors"
	"fmt"

	"caisseauto/exporter"
	"caisseauto/importer"
	"caisseauto/internal/drop"
	"caisseauto/keys"
)

// confirmed looks in the signed heads of a dossier's tills for one that has
// applied the newest baseline, or something behind it: what lies before the
// baseline may then go after its retention. One is enough: it shows that the
// baseline can be applied, and who is behind it takes it too.
func confirmed(ctx context.Context, d drop.Drop, dossier string, trust *keys.Trust, o *exporter.Options) error {
	down := streamDown(dossier)
	head, err := remoteHead(ctx, d, down, trust)
	if err != nil || head.head == nil || head.head.Baseline <= o.Oldest {
		return nil // nothing lies before a baseline, or nobody can say so
	}
	tills, err := d.Tills(ctx, dossier)
	if err != nil {
		return fmt.Errorf("looking for tills that have applied the baseline: %w", err)
	}
	for _, number := range tills {
		r, err := remoteHead(ctx, d, importer.StreamUp(dossier, number), trust)
		if errors.Is(err, drop.ErrUnavailable) {
			return err
		}
		if err != nil || r.head == nil || r.head.Till == nil || r.head.Till.Applied == nil {
			continue // a till that says nothing that can be believed confirms nothing
		}
		p := r.head.Till.Applied
		if p.Stream == down && p.Epoch == head.head.Epoch && p.Sequence >= head.head.Baseline {
			o.Confirmed = p.Position()
			return nil
		}
	}
	return nil
}

// prune removes the archives that the head on the drop no longer names, there
// and in the outbox. Killed in between, the next run goes on.
func (j *exportJob) prune(ctx context.Context, e *exporter.Exporter, to drop.Drop, oldest int64, o exporter.Options) (int, error) {
	n := 0
	if o.Oldest > 0 && o.Oldest < oldest {
		l, err := to.List(ctx, e.Stream)
		if err != nil {
			return 0, err
		}
		for _, f := range l.Files {
			if k, ok := drop.Sequence(f.Name); ok && isArchive(f.Name) && k < oldest {
				if err := to.Remove(ctx, e.Stream+"/"+f.Name); err != nil {
					return n, fmt.Errorf("removing an old archive from the drop: %w", err)
				}
				n++
			}
		}
	}
	local, err := e.Prune(oldest)
	return max(n, local), err
}
