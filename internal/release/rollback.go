package release

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caisseauto/manifest"
)

// ErrNoWay: there is no release to go back to.
var ErrNoWay = errors.New("nothing to go back to")

// Rollback switches a product back to the release that ran before the one that
// runs, as far as it is whole on the disk, and proves it as any other. What ran
// is not installed again by itself: its batch is given up. by says who wants it.
func (t *Till) Rollback(ctx context.Context, product, by string) (r Report, err error) {
	p := t.product(product)
	if p == nil {
		return r, fmt.Errorf("%w: no product %q is installed on this till", ErrNoWay, product)
	}
	unlock, s, err := t.begin(ctx, &r)
	if err != nil {
		return r, err
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case
	if slices.ContainsFunc(r.Updates, func(u manifest.Update) bool { return u.Product == product && u.Outcome == manifest.WasRolledBack }) {
		return r, nil // one that was stopped has been finished: asked for again, it is not two
	}
	cur, to, err := p.before(s)
	if err != nil {
		return r, err
	}
	b, err := t.kept(p, to)
	if err == nil {
		err = t.verify(ctx, p.path(to), b, false)
	}
	if err != nil {
		return r, fmt.Errorf("release %s of %s: %w; nothing was changed: release %s still runs", to.Name(), p.Name, err, cur.Name())
	}
	u, err := t.attempt(ctx, s, p, b, trial{To: to, From: cur, By: by, Began: manifest.Time(t.now()), Back: true})
	if u != nil {
		r.Updates = append(r.Updates, *u)
	}
	return r, err
}

// before returns what runs, and the newest release before it that was not given
// up.
func (p *Product) before(s *state) (cur, to Place, err error) {
	if cur, err = p.Current(); err != nil {
		return cur, to, err
	}
	all, err := p.Releases()
	if err != nil {
		return cur, to, err
	}
	for _, at := range all {
		left := slices.ContainsFunc(s.Given, func(g given) bool { return g.Sequence == at.Sequence })
		if at.Sequence < cur.Sequence && !left {
			to = at
		}
	}
	if to.IsZero() {
		return cur, to, fmt.Errorf("%w: of %s there is no older release on the disk that has worked", ErrNoWay, p.Name)
	}
	return cur, to, nil
}

// Retry makes the next Run try again what was given up, and returns how many
// packages that are.
func (t *Till) Retry(ctx context.Context) (n int, err error) {
	unlock, s, err := t.begin(ctx, &Report{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = unlock() }()
	n, s.Given = len(s.Given), nil
	return n, s.save(t.Folder)
}
