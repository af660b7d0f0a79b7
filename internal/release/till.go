package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Till is where packages are installed.
type Till struct {
	Stream string
	// Inbox is the local folder of the stream, private to the Till and to
	// whatever copies files into it.
	Inbox string
	// Folder is where the Till remembers what the disk does not show.
	Folder   string
	Products []Product
	// Keep is how many releases of a product stay on the disk, with the one
	// that runs; at least 2.
	Keep  int
	Trust *manifest.Trust
	// Fetch brings the archive of a batch into the inbox, again where it was
	// removed from there. Nil where nobody can.
	Fetch func(ctx context.Context, sequence int64) error
	// Busy returns an error while nothing may be installed, as while a sale
	// is open; nil: it is never asked.
	Busy func(ctx context.Context) error
	// Confirm is asked before each package. from is what runs. It returns who
	// has said so; declined, the run ends there and nothing is remembered.
	Confirm func(ctx context.Context, b *Batch, from Place) (by string, ok bool, err error)
	// Free returns the bytes that are free on the disk of a folder, 0 when that
	// is not known; nil: it never is. A package that would fill the disk, which
	// the till also writes its sales to, is not begun with.
	Free func(dir string) int64
	// OS and Arch are the machine's; empty: those of the program.
	OS, Arch string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Progress is told bytes verified or installed so far, of how many.
	Progress func(what string, done, total int64)
	Log      *slog.Logger
}

// A Restarter makes what runs under a product's name run anew, after current
// has been switched to the release in dir.
type Restarter func(ctx context.Context, dir string) error

// A Report tells what a run did.
type Report struct {
	Updates  []manifest.Update // in order
	Declined *Batch            // nobody wanted it
	Removed  int               // old releases that were removed
}

// Run installs what the stream has for this till, one package after the other.
// It stops at the first that fails; what was installed before stays. The errors
// wrap manifest.ErrRefused for what cannot be trusted ([*Refused] for what was
// not for here), [ErrProbe] for what did not work and was rolled back, and those
// of Fetch, Busy and Confirm. A second run at the same time fails with
// durable.ErrLocked.
func (t *Till) Run(ctx context.Context) (r Report, err error) {
	unlock, s, err := t.begin(ctx, &r)
	if err != nil {
		return r, err
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case
	all, err := t.look(s)
	if err == nil {
		err = s.save(t.Folder)
	}
	if err != nil {
		return r, err
	}
	for {
		installed, err := t.installed()
		if err != nil {
			return r, err
		}
		b, err := t.next(all, installed, s)
		if b == nil || err != nil {
			return r, errors.Join(t.refused(s, &r, err), t.tidy(s, all, &r))
		}
		done, err := t.one(ctx, s, b, &r)
		if err != nil || !done {
			return r, errors.Join(err, t.tidy(s, all, &r))
		}
	}
}

// one asks for one package and installs it.
func (t *Till) one(ctx context.Context, s *state, b *Batch, r *Report) (done bool, err error) {
	p := t.product(b.Product)
	from, err := p.Current()
	if err != nil {
		return false, err
	}
	if err := t.busy(ctx); err != nil {
		return false, fmt.Errorf("%s waits: %w; nothing was changed", b, err)
	}
	by, ok, err := t.Confirm(ctx, b, from)
	if err != nil {
		return false, err
	}
	if !ok {
		r.Declined = b
		return false, nil
	}
	if err := t.room(p, b); err != nil {
		return false, err
	}
	if err := t.prepare(ctx, p, b); err != nil {
		return false, t.refused(s, r, err)
	}
	if err := t.busy(ctx); err != nil {
		return false, fmt.Errorf("%s is ready, and waits: %w; nothing was changed", b, err)
	}
	u, err := t.try(ctx, s, p, b, from, by)
	if u != nil {
		r.Updates = append(r.Updates, *u)
	}
	return err == nil, err
}

// refused notes a package that was refused, and returns err.
func (t *Till) refused(s *state, r *Report, err error) error {
	f := (*Refused)(nil)
	if !errors.As(err, &f) {
		return err
	}
	u := t.update(f.Batch, manifest.WasRefused, "", fmt.Sprintf("rule %s: %s", f.Rule, f.Reason))
	r.Updates = append(r.Updates, u)
	s.add(u)
	if f.Final {
		s.giveUp(f.Batch, f.Reason)
	}
	t.log().Error("package refused", "stream", t.Stream, "sequence", f.Batch.Sequence, "product", f.Batch.Product, "reason", f.Reason)
	return errors.Join(err, s.save(t.Folder))
}

func (t *Till) update(b *Batch, o manifest.Outcome, by, reason string) manifest.Update {
	return manifest.Update{At: manifest.Time(t.now()), Product: b.Product, Version: b.Version, Release: b.Release, Sequence: b.Sequence,
		Outcome: o, By: manifest.Clip(by, manifest.MaxBy), Reason: manifest.Clip(reason, manifest.MaxReason)}
}

// begin takes the lock and carries on what an earlier run was stopped in.
func (t *Till) begin(ctx context.Context, r *Report) (unlock func() error, s *state, err error) {
	if err := durable.MkdirAll(t.Folder, 0o755); err != nil {
		return nil, nil, err
	}
	unlock, err = durable.Lock(filepath.Join(t.Folder, ".lock"))
	if err != nil {
		return nil, nil, fmt.Errorf("another update is running: %w", err)
	}
	if s, err = load(t.Folder, t.Stream); err == nil {
		for i := range t.Products {
			err = errors.Join(err, t.recover(ctx, s, &t.Products[i], r))
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return unlock, s, nil
}

// tidy removes releases beyond those that are kept, and archives that the next
// run does not need from the inbox. That it could not is no reason to fail.
func (t *Till) tidy(s *state, all []*Batch, r *Report) error {
	need := map[string]bool{}
	for i := range t.Products {
		p := &t.Products[i]
		at, err := p.Current()
		if err != nil {
			return err
		}
		cur := p.of(t.Stream, at)
		removed, err := p.prune(max(t.Keep, 2), at)
		r.Removed += len(removed)
		if err != nil {
			t.log().Warn("an old release stays", "product", p.Name, "error", err.Error())
		}
		for _, b := range all {
			if b.Product == p.Name && t.judge(b, cur, s) == wanted {
				need[b.Archive.Name] = true
			}
		}
	}
	entries, err := os.ReadDir(t.Inbox)
	if err != nil {
		return nil // nothing was ever fetched
	}
	for _, e := range entries {
		n, ext, ok := manifest.ParseFileName(e.Name())
		if !ok || ext != manifest.ArchiveExt || need[e.Name()] || n > end(all).Sequence {
			continue
		}
		if err := os.Remove(filepath.Join(t.Inbox, e.Name())); err != nil {
			t.log().Warn("an archive stays in the inbox", "sequence", n, "error", err.Error())
		}
	}
	return nil
}

// installed returns what runs, by product, as far as it came by this stream.
func (t *Till) installed() (map[string]Place, error) {
	all := map[string]Place{}
	for i := range t.Products {
		at, err := t.Products[i].Current()
		if err != nil {
			return nil, err
		}
		if at = t.Products[i].of(t.Stream, at); !at.IsZero() {
			all[t.Products[i].Name] = at
		}
	}
	return all, nil
}

func (t *Till) product(name string) *Product {
	for i := range t.Products {
		if t.Products[i].Name == name {
			return &t.Products[i]
		}
	}
	return nil
}

func (t *Till) busy(ctx context.Context) error {
	if t.Busy == nil {
		return nil
	}
	return t.Busy(ctx)
}

func (t *Till) goos() string {
	if t.OS != "" {
		return t.OS
	}
	return runtime.GOOS
}

func (t *Till) goarch() string {
	if t.Arch != "" {
		return t.Arch
	}
	return runtime.GOARCH
}

func (t *Till) now() time.Time {
	if t.Now != nil {
		return t.Now().UTC()
	}
	return time.Now().UTC()
}

func (t *Till) progress(what string, total int64) func(int64) {
	if t.Progress == nil {
		return func(int64) {}
	}
	return func(done int64) { t.Progress(what, done, total) }
}

func (t *Till) log() *slog.Logger {
	if t.Log != nil {
		return t.Log
	}
	return slog.New(slog.DiscardHandler)
}
