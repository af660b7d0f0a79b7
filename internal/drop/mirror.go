package drop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"
)

// MirrorOptions says what [Mirror] copies. The zero value copies everything.
type MirrorOptions struct {
	From, To int64                   // lowest and highest batch to copy; To 0: no end
	Skip     func(base string) bool  // files to treat as if both sides had settled them; nil: none
	Progress func(done, total int64) // called as bytes arrive; total is what this run has to copy
	Log      *slog.Logger            // nil: silent

	// KeepHead leaves dst's head alone: the caller knows that it is newer.
	KeepHead bool

	// MaxArchive is the largest archive to copy; 0: no limit. Heads,
	// signatures and manifests have the limits of this package.
	MaxArchive int64

	// Quick stops when both sides have the same head: nothing new then
	// costs one small file instead of a listing. Leave it false when dst
	// may have lost a file, and once in a while anyway.
	Quick bool
}

// A Report counts what [Mirror] did.
type Report struct {
	Files   int   // copied, the heads' two included
	Bytes   int64 // of these files
	Skipped int   // files that dst had already
	Ignored int   // entries of src that belong to nobody the format knows
	Waiting int   // batches of which src has not every file yet
	Pruned  int   // batches of which src keeps only what is signed, and dst has no more
	Head    bool  // the head was replaced
	Behind  bool  // dst has newer batches than src; its head was left alone
}

// Mirror copies into dst what the stream's folder dir of src has and dst
// lacks, and then src's head. It understands nothing of what it copies: the
// reader verifies every byte, whoever carried it.
//
// Batches are copied in ascending order, each as archive, signature, manifest,
// so that dst never shows a manifest before what it signs. A batch of which
// src has not all three files (a writer or another copy is at work) is passed
// over and counted as waiting; but one that lacks nothing but its archive, and
// stands before the first archive of src, as pruned: its archive is no longer
// kept, and what the writer keeps of it is of no use without. The head is read before the folder is listed
// and written after the last batch: what it names is then in dst, if src was
// complete.
//
// Before anything is copied, both sides are compared: a name with another
// size, or other bytes in the newest manifest that both have, is ErrConflict:
// two streams of one name, from a restored or cloned writer. Nothing is then
// changed, and an operator must look.
//
// Every step can be repeated: after any error, or death of the process, the
// next call goes on where this one stopped. The Report holds what was done
// until the error. dir must be a stream's folder, else fs.ErrInvalid; for
// receipts see [MirrorPair].
func Mirror(ctx context.Context, dst, src Drop, dir string, o MirrorOptions) (Report, error) {
	if !streamPattern.MatchString(dir) {
		return Report{}, fmt.Errorf("%q is not the folder of a stream: %w", dir, fs.ErrInvalid)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	start := time.Now()
	m := &mirror{dst: dst, src: src, dir: dir, o: o}
	if err := m.run(ctx); err != nil {
		return m.report, fmt.Errorf("mirror %s: %w", dir, err)
	}
	level := slog.LevelDebug
	if m.report.Files > 0 {
		level = slog.LevelInfo
	}
	o.Log.Log(ctx, level, "mirrored", "stream", dir, "sequence", m.newest, "duration", time.Since(start).Round(time.Millisecond).Seconds(),
		"files", m.report.Files, "bytes", m.report.Bytes, "waiting", m.report.Waiting, "head", m.report.Head)
	return m.report, nil
}

// mirror is one run of Mirror.
type mirror struct {
	dst, src    Drop
	dir         string
	o           MirrorOptions
	report      Report
	done, total int64 // bytes, for Progress
	newest      int64 // number of the newest batch of src
}

func (m *mirror) run(ctx context.Context) error {
	head, err := readPair(ctx, m.src, m.dir+"/HEAD.json")
	if err != nil {
		return err
	}
	var old pair
	if head.complete() {
		if old, err = readPairOnce(ctx, m.dst, m.dir+"/HEAD.json"); err != nil {
			return err
		}
		if m.o.Quick && head.equal(old) {
			return nil
		}
	}
	plan, err := m.plan(ctx)
	if err != nil {
		return err
	}
	m.newest = plan.newestSrc
	if err := m.compareNewest(ctx, plan); err != nil {
		return err
	}
	if err := m.copyBatches(ctx, plan); err != nil {
		return err
	}
	return m.copyHead(ctx, plan, head, old)
}

// copyHead replaces dst's head, unless it would go back or name a batch that
// this run was told not to copy.
func (m *mirror) copyHead(ctx context.Context, p *plan, head, old pair) error {
	switch {
	case p.newestSrc > 0 && p.newestSrc < p.newestDst:
		m.report.Behind = true
		m.o.Log.Warn("the source is behind, its head is not copied", "stream", m.dir,
			"source", p.newestSrc, "target", p.newestDst)
		return nil
	case m.o.KeepHead, m.o.To > 0 && p.newestSrc > m.o.To, !head.complete(), head.equal(old):
		return nil
	}
	files, size, err := head.write(ctx, m.dst, m.dir+"/HEAD.json", old)
	m.report.Head = err == nil
	m.report.Files += files
	m.report.Bytes += size
	return err
}

// compareNewest compares the newest manifest that both sides have, byte by
// byte. It binds all before it by the chain of digests.
func (m *mirror) compareNewest(ctx context.Context, p *plan) error {
	if p.common == "" {
		return nil
	}
	name := path.Join(m.dir, p.common)
	a, err := readSmall(ctx, m.src, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the writer removed it since the listing
	}
	if err != nil {
		return err
	}
	b, err := readSmall(ctx, m.dst, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s differs between source and target: %w; nothing was copied: "+
			"the writer was restored or cloned, or one copy is damaged; verify both sides", name, ErrConflict)
	}
	return nil
}
