package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// trialName is the file in a product's folder that says that a release has been
// switched to, or is about to be, and is not proven yet.
const trialName = "trial.json"

// A trial is what must be known to finish it, or to undo it.
type trial struct {
	To    Place     `json:"to"`
	From  Place     `json:"from"` // what ran before; the zero Place: nothing
	By    string    `json:"by"`
	Began time.Time `json:"began"`
	// Back: an operator wanted it, and what ran is not to be installed again.
	Back bool `json:"back,omitempty"`
}

func (p *Product) trialPath() string { return filepath.Join(p.Folder, trialName) }

// try switches to a release that is whole on the disk, and proves it. When it
// does not prove itself the one before it is switched back to, and the error
// wraps [ErrProbe]. A crash at any step is finished by recover.
func (t *Till) try(ctx context.Context, s *state, p *Product, b *Batch, from Place, by string) (*manifest.Update, error) {
	return t.attempt(ctx, s, p, b, trial{To: placeOf(b), From: from, By: by, Began: manifest.Time(t.now())})
}

func (t *Till) attempt(ctx context.Context, s *state, p *Product, b *Batch, tr trial) (*manifest.Update, error) {
	doc, err := json.MarshalIndent(tr, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(p.trialPath(), append(doc, '\n'), 0o644); err != nil {
		return nil, err
	}
	if err := p.point(tr.To); err != nil {
		return nil, errors.Join(fmt.Errorf("switching %s: %w; what ran before still does", p.Name, err), t.forget(p))
	}
	t.log().Info("switched", "product", p.Name, "release", tr.To.Name(), "from", tr.From.Name())
	return t.prove(ctx, s, p, b, tr)
}

// prove restarts and probes the release that current leads to, and concludes
// the trial.
func (t *Till) prove(ctx context.Context, s *state, p *Product, b *Batch, tr trial) (*manifest.Update, error) {
	err := p.restart(ctx, tr.To)
	if err == nil {
		err = p.probe(ctx, b)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s is switched to, and not proven yet: %w; the next update goes on there", b, ctx.Err())
	}
	if err != nil {
		return t.back(ctx, s, p, b, tr, err)
	}
	u := t.update(b, manifest.WasInstalled, tr.By, "")
	if tr.Back {
		u.Outcome, u.Reason = manifest.WasRolledBack, manifest.Clip("from "+tr.From.Name()+", by an operator", manifest.MaxReason)
	}
	if tr.Back || b.Rollback != nil { // nobody is to come to it again, not by going back either
		if left, err := t.kept(p, tr.From); err == nil {
			s.giveUp(left, "rolled back by "+tr.By)
		}
	}
	s.add(u)
	if err := s.save(t.Folder); err != nil {
		return nil, err
	}
	t.log().Info("installed", "product", p.Name, "release", tr.To.Name(), "by", tr.By)
	return &u, t.forget(p)
}

// back undoes a trial. That the package failed is on the disk before what ran
// before is switched to, so that a crash between the two ends there too. A disk
// that has no room for that is no reason to leave what does not work; the next
// run tries it again.
func (t *Till) back(ctx context.Context, s *state, p *Product, b *Batch, tr trial, cause error) (*manifest.Update, error) {
	u := t.update(b, manifest.WasRolledBack, tr.By, cause.Error())
	s.giveUp(b, cause.Error())
	s.add(u)
	saved := s.save(t.Folder)
	t.log().Error("package rolled back", "stream", t.Stream, "sequence", b.Sequence, "product", p.Name, "reason", cause.Error())
	runs, err := t.undo(ctx, p, tr, !tr.Back)
	if err = errors.Join(err, saved); err != nil {
		return &u, errors.Join(fmt.Errorf("%w: %s: %w; %s", ErrProbe, b, cause, runs), err)
	}
	return &u, fmt.Errorf("%w: %s: %w; %s; this package is not tried again, but for: caisseauto update --retry", ErrProbe, b, cause, runs)
}

// undo makes current lead to what ran before the trial, and says what runs. A
// release that does not work is discarded, so that nobody goes back to it. Only
// where current stays as it was is the trial not over.
func (t *Till) undo(ctx context.Context, p *Product, tr trial, discard bool) (runs string, err error) {
	failed := func(err error) error {
		return fmt.Errorf("going back to release %s of %s: %w; look at %s", tr.From.Name(), p.Name, err, p.Folder)
	}
	if tr.From.IsZero() {
		runs, err = "nothing runs, as before", p.unpoint()
	} else if _, err = os.Stat(p.path(tr.From)); err == nil { // else what does not work is better than nothing
		runs, err = fmt.Sprintf("%s %s runs again", p.Name, tr.From.Version), p.point(tr.From)
	}
	if err != nil {
		return runs, failed(err)
	}
	if !tr.From.IsZero() {
		if err = p.restart(ctx, tr.From); err != nil {
			err = failed(err)
		}
	}
	if discard {
		if err := p.remove(tr.To); err != nil && !errors.Is(err, fs.ErrNotExist) { // no reason to fail
			t.log().Warn("a release that does not work stays on the disk", "product", p.Name, "release", tr.To.Name(), "error", err.Error())
		}
	}
	return runs, errors.Join(err, t.forget(p))
}

// forget ends a trial.
func (t *Till) forget(p *Product) error { return durable.Tree{}.Remove(p.trialPath()) }

func (p *Product) restart(ctx context.Context, at Place) error {
	if p.Restart == nil {
		return nil
	}
	if err := p.Restart(ctx, p.path(at)); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// recover finishes what an earlier run was stopped in. A release that was
// switched to and not proven is proven now; one that has failed already, or
// that nobody vouches for any more, is left. That waits while the till is busy.
func (t *Till) recover(ctx context.Context, s *state, p *Product, r *Report) error {
	if err := p.sweep(); err != nil {
		return err
	}
	tr, err := p.trial()
	if tr == nil || err != nil {
		return err
	}
	cur, err := p.Current()
	if err != nil {
		return err
	}
	if err := t.busy(ctx); err != nil {
		return fmt.Errorf("%s: an update that was stopped waits: %w; nothing was changed", p.Name, err)
	}
	b, kerr := t.kept(p, tr.To)
	gave := kerr == nil && s.gave(b)
	if cur != tr.To && (cur != tr.From || !gave) { // stopped before the switch, or after it was undone: who can say whether before the restart?
		if !cur.IsZero() {
			err = p.restart(ctx, cur)
		}
		return errors.Join(err, t.forget(p))
	}
	t.log().Warn("an earlier update was stopped, going on", "product", p.Name, "release", tr.To.Name())
	var u *manifest.Update
	switch {
	case kerr != nil:
		runs, err := t.undo(ctx, p, *tr, false)
		return errors.Join(fmt.Errorf("%s: release %s was being installed when update was stopped, and cannot be verified any more: %w; %s", p.Name, tr.To.Name(), kerr, runs), err)
	case gave: // it had failed
		_, err := t.undo(ctx, p, *tr, !tr.Back)
		return err
	case s.proven(*tr, b):
		return t.forget(p)
	default:
		u, err = t.prove(ctx, s, p, b, *tr)
	}
	if u != nil {
		r.Updates = append(r.Updates, *u)
	}
	return err
}

// proven reports whether the good end of a trial is noted already.
func (s *state) proven(tr trial, b *Batch) bool {
	good := manifest.WasInstalled
	if tr.Back {
		good = manifest.WasRolledBack
	}
	return slices.ContainsFunc(s.Attempts, func(a Attempt) bool {
		return a.Sequence == b.Sequence && a.Outcome == good && !a.At.Before(tr.Began)
	})
}

// trial reads what is being tried, nil when nothing is.
func (p *Product) trial() (*trial, error) {
	data, err := os.ReadFile(p.trialPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var tr trial
	err = json.Unmarshal(data, &tr)
	if err == nil && !(tr.To.valid() && (tr.From.IsZero() || tr.From.valid())) {
		err = fmt.Errorf("it speaks of releases %s and %s, which cannot be", tr.To.Name(), tr.From.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was changed; remove it when what runs is what should", p.trialPath(), err)
	}
	return &tr, nil
}

// kept verifies the signed statement of a release on the disk.
func (t *Till) kept(p *Product, at Place) (*Batch, error) {
	doc, sig, err := readPair(p.manifest(at), manifest.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, position, err := manifest.Open(filepath.Base(p.manifest(at)), t.Stream, doc, sig, t.Trust)
	if err != nil {
		return nil, err
	}
	b := &Batch{Manifest: m, Position: position}
	if b.Product != p.Name || placeOf(b) != at {
		return nil, fmt.Errorf("%s: %w: it is the statement of %s, batch %d", p.manifest(at), manifest.ErrRefused, b, b.Sequence)
	}
	return b, nil
}
