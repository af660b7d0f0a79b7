package release

import (
	"path/filepath"
	"slices"
	"strings"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// Software says what runs on the till and how the last attempts ended, for its
// head. It takes no lock and verifies nothing: it is the till's own word.
func (t *Till) Software() (*manifest.Software, error) {
	s, err := load(t.Folder, t.Stream)
	if err != nil {
		return nil, err
	}
	w := &manifest.Software{}
	for i := range t.Products {
		at, err := t.Products[i].Current()
		if err != nil {
			return nil, err
		}
		if !at.IsZero() {
			w.Packages = append(w.Packages, manifest.Installed{Product: t.Products[i].Name, Version: at.Version, Release: at.Release, Sequence: at.Sequence})
		}
	}
	slices.SortFunc(w.Packages, func(a, b manifest.Installed) int { return strings.Compare(a.Product, b.Product) })
	for _, a := range s.Attempts {
		w.Updates = append(w.Updates, a.Update)
	}
	return w, nil
}

// Untold gives tell each attempt that the till's journal has not yet, and notes
// that it has it now. A crash between the two tells one twice, never none.
func (t *Till) Untold(tell func(manifest.Update) error) error {
	s, err := load(t.Folder, t.Stream)
	if err != nil || !slices.ContainsFunc(s.Attempts, func(a Attempt) bool { return !a.Told }) {
		return err
	}
	unlock, err := durable.Lock(filepath.Join(t.Folder, ".lock"))
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	if s, err = load(t.Folder, t.Stream); err != nil {
		return err
	}
	for i := range s.Attempts {
		if s.Attempts[i].Told {
			continue
		}
		if err := tell(s.Attempts[i].Update); err != nil {
			return err
		}
		s.Attempts[i].Told = true
		if err := s.save(t.Folder); err != nil {
			return err
		}
	}
	return nil
}

// A Standing is one product on the till, for people.
type Standing struct {
	Product string
	Current Place
	Others  []Place  // the other releases on the disk, the oldest first
	Pending []*Batch // what the next run would install, in order of the chain
	Trial   bool     // the current release is not proven yet
}

// Standing says of each product what runs, what is on the disk and what waits
// in the inbox. The error is about what waits; what runs is told all the same.
func (t *Till) Standing() ([]Standing, error) {
	s, err := load(t.Folder, t.Stream)
	if err != nil {
		return nil, err
	}
	batches, lookErr := t.look(s)
	var all []Standing
	for i := range t.Products {
		p := &t.Products[i]
		st := Standing{Product: p.Name}
		if st.Current, err = p.Current(); err != nil {
			return all, err
		}
		places, err := p.Releases()
		if err != nil {
			return all, err
		}
		for _, at := range places {
			if at != st.Current {
				st.Others = append(st.Others, at)
			}
		}
		tr, err := p.trial()
		if err != nil {
			return all, err
		}
		st.Trial = tr != nil && tr.To == st.Current
		cur := p.of(t.Stream, st.Current)
		for _, b := range batches {
			if b.Product == p.Name && t.judge(b, cur, s) == wanted {
				st.Pending, cur = append(st.Pending, b), placeOf(b)
			}
		}
		all = append(all, st)
	}
	return all, lookErr
}

// Wanted returns the numbers of the batches that the next run would install, and
// so of the archives that it needs.
func (t *Till) Wanted() (map[int64]bool, error) {
	all, err := t.Standing()
	if err != nil {
		return nil, err
	}
	want := map[int64]bool{}
	for _, st := range all {
		for _, b := range st.Pending {
			want[b.Sequence] = true
		}
	}
	return want, nil
}
