package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// An Applier is the database that batches are applied to, with its ledger.
// internal/sqlite has one.
type Applier interface {
	// Position returns the batch of the stream that was applied last.
	Position(ctx context.Context, stream string) (manifest.Position, error)
	// Check compares the tables of a batch with the database's, without a
	// lock. A mismatch wraps manifest.ErrRefused.
	Check(ctx context.Context, m *manifest.Manifest) error
	// Apply applies the rows and writes the ledger row that says so, in one
	// transaction.
	Apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (Applied, error)
	// Head returns the newest head that was accepted, nil before the first.
	Head(ctx context.Context, stream string) (*manifest.Head, error)
	// SaveHead records an accepted head.
	SaveHead(ctx context.Context, h *manifest.Head) error
}

// A Holder is an Applier that can put a whole batch into quarantine, so that
// what a till sealed wrong does not keep what it sealed after that. It is
// asked for streams up alone.
type Holder interface {
	// Hold takes the batch without its rows: it is authentic and the next
	// one, but cause keeps it from being applied. Its three files are in the
	// folder dir, and stay there. The ledger's row goes with it, as in Apply.
	Hold(ctx context.Context, m *manifest.Manifest, p manifest.Position, dir string, cause error) error
}

// Applied tells what a batch did to the database.
type Applied = change.Applied

// An Importer applies one stream from one inbox folder.
type Importer struct {
	Applier Applier
	Stream  string
	// Inbox is the local folder of the stream, private to the Importer and
	// to whatever copies files into it.
	Inbox string
	Trust *manifest.Trust
	// Refetch fetches a batch again whose archive contradicts its manifest,
	// after it was removed from the inbox. Nil where nobody can.
	Refetch func(ctx context.Context, sequence int64) error
	// Keep leaves applied batches in the inbox; else they are removed.
	Keep bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Progress is told rows verified or applied so far, and of how many.
	Progress func(what string, done, total int64)
	Log      *slog.Logger
}

// A Batch tells of one applied batch.
type Batch struct {
	Position manifest.Position
	Kind     manifest.Kind
	Applied
	// Unchanged: a baseline whose rows were here already, and were not read.
	Unchanged bool
	// Held: the whole batch went into quarantine, for this reason.
	Held    bool
	Reason  string
	Elapsed time.Duration
}

// A Report tells what a run did.
type Report struct {
	Before, After manifest.Position
	Batches       []Batch
	Head          *manifest.Head // the newest verified head, nil when none is known
	Waiting       string         // why a batch that has begun to arrive was left for later, "" when none
}

// Run applies every batch in the inbox that follows the database's position,
// in order, each in a transaction of its own. What cannot be trusted ends the
// run with an error that wraps manifest.ErrRefused; what was applied before
// stays applied, and the Report tells so. A second run at the same time fails
// with durable.ErrLocked.
func (i *Importer) Run(ctx context.Context) (Report, error) {
	var r Report
	if err := durable.MkdirAll(i.Inbox, 0o755); err != nil {
		return r, err
	}
	unlock, err := durable.Lock(filepath.Join(i.Inbox, ".lock"))
	if err != nil {
		return r, fmt.Errorf("another %s of %s is running: %w", i.command(), i.Stream, err)
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case

	pos, err := i.Applier.Position(ctx, i.Stream)
	if err != nil {
		return r, err
	}
	r.Before, r.After = pos, pos
	box, err := i.list()
	if err != nil {
		return r, err
	}
	// A head that cannot be trusted takes the proof of freshness away, not
	// the batches: each of them stands on its own signature and its chain.
	// So they are applied, and the head's trouble is told at the end.
	head, headErr := i.head(ctx, pos)
	if head == nil && errors.Is(headErr, ErrFork) {
		return r, headErr
	}
	r.Head = head
	if err := i.again(box, pos); err != nil {
		return r, err
	}
	next := pos.Sequence + 1
	if pos.IsZero() {
		if next, err = i.first(box, head); err != nil {
			return r, err
		}
	} else if baseline := i.ahead(box, head, pos); baseline > 0 {
		i.log().Info("going on from a newer baseline", "stream", i.Stream, "from", pos.Sequence, "baseline", baseline)
		next = baseline
	}
	for next > 0 {
		if err := i.catchUp(ctx, box, next, &r); err != nil {
			return r, err
		}
		next = i.jump(box, head, r.After)
	}
	if err := i.complete(box, head, &r); err != nil {
		return r, errors.Join(err, headErr)
	}
	i.tidy(box, r.After)
	return r, headErr
}

// catchUp applies one batch after the other, from number next on.
func (i *Importer) catchUp(ctx context.Context, box inbox, next int64, r *Report) error {
	for ; i.ready(box, next, r.After); next++ {
		b, recorded, err := i.record(ctx, box, next, r.After)
		if !recorded {
			b, err = i.one(ctx, next, r.After)
		}
		if err != nil {
			return err
		}
		r.After = b.Position
		r.Batches = append(r.Batches, b)
	}
	return nil
}

// one verifies the batch with that number, and applies it after the one at pos.
func (i *Importer) one(ctx context.Context, sequence int64, pos manifest.Position) (Batch, error) {
	start := time.Now()
	v, err := i.verified(ctx, sequence, pos)
	if err != nil {
		if bad := (*unfit)(nil); errors.As(err, &bad) && i.holds() {
			return i.hold(ctx, bad, start)
		}
		return Batch{}, err
	}
	defer v.close()
	applied, err := i.apply(ctx, v)
	if errors.Is(err, manifest.ErrRefused) && i.holds() {
		return i.hold(ctx, &unfit{v.manifest, v.position, err}, start)
	}
	if err != nil {
		return Batch{}, err
	}
	return Batch{Position: v.position, Kind: v.manifest.Kind, Applied: applied, Elapsed: time.Since(start)}, nil
}

// apply gives a verified batch to the database.
func (i *Importer) apply(ctx context.Context, v *verified) (Applied, error) {
	if err := i.Applier.Check(ctx, v.manifest); err != nil {
		return Applied{}, err
	}
	rows := v.rows(ctx, i.progress("applying", v.total))
	defer rows.Close()
	applied, err := i.Applier.Apply(ctx, v.manifest, v.position, rows)
	if err != nil {
		return applied, fmt.Errorf("%s: %w", manifest.FileName(v.manifest.Sequence, manifest.ManifestExt), err)
	}
	return applied, nil
}

// verified verifies a batch. One that is refused is taken out of the inbox and
// fetched again once, where somebody can: a copy that was cut or damaged on
// its way is no attack yet. Refused again it is taken out too, so that the
// next run sees what the drop holds then.
func (i *Importer) verified(ctx context.Context, sequence int64, pos manifest.Position) (*verified, error) {
	v, err := i.verify(ctx, sequence, pos)
	if i.Refetch == nil || !errors.Is(err, manifest.ErrRefused) || i.holds() && isUnfit(err) {
		return v, err // an unfit one has the very bytes that were signed: no other copy is better
	}
	i.log().Warn("fetching a refused batch again", "stream", i.Stream, "sequence", sequence, "reason", err.Error())
	if err := i.discard(sequence); err != nil {
		return nil, err
	}
	if ferr := i.Refetch(ctx, sequence); ferr != nil {
		return nil, fmt.Errorf("%w; and it could not be fetched again: %w", err, ferr)
	}
	v, again := i.verify(ctx, sequence, pos)
	switch {
	case errors.Is(again, fs.ErrNotExist): // gone from the drop meanwhile
		return nil, err
	case errors.Is(again, manifest.ErrRefused) && !(i.holds() && isUnfit(again)):
		return nil, errors.Join(again, i.discard(sequence))
	}
	return v, again
}

// discard removes the files of a batch from the inbox.
func (i *Importer) discard(sequence int64) error {
	for _, ext := range []string{manifest.ManifestExt, manifest.SignatureExt, manifest.ArchiveExt} {
		if err := os.RemoveAll(filepath.Join(i.Inbox, manifest.FileName(sequence, ext))); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what the ledger covers from the inbox. That it could not is no
// reason to fail an import that is done.
func (i *Importer) tidy(box inbox, applied manifest.Position) {
	if i.Keep {
		return
	}
	for n := range box {
		if n <= applied.Sequence {
			if err := i.discard(n); err != nil {
				i.log().Warn("leaving an applied batch in the inbox", "sequence", n, "error", err.Error())
			}
		}
	}
}

func (i *Importer) progress(what string, total int64) func(int64) {
	if i.Progress == nil {
		return nil
	}
	return func(done int64) { i.Progress(what, done, total) }
}

func (i *Importer) now() time.Time {
	if i.Now != nil {
		return i.Now().UTC()
	}
	return time.Now().UTC()
}

func (i *Importer) log() *slog.Logger {
	if i.Log != nil {
		return i.Log
	}
	return slog.New(slog.DiscardHandler)
}
