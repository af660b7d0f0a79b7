package manifest

import (
	"cmp"
	"fmt"
	"slices"
)

// A Latest is the package that a stream comes to for a product and a kind of
// machine.
type Latest struct {
	Installed
	OS   string `json:"os"`
	Arch string `json:"arch"`
	// From is the release that this one, which is older, replaces; 0: it
	// replaces older ones.
	From int64 `json:"rollback_from,omitempty"`
}

// Latest returns what the manifest of a package says for [AddLatest].
func (m *Manifest) Latest() Latest {
	p := m.Package
	l := Latest{Installed: Installed{Product: p.Product, Version: p.Version, Release: p.Release, Sequence: m.Sequence}, OS: p.OS, Arch: p.Arch}
	if p.Rollback != nil {
		l.From = p.Rollback.From
	}
	return l
}

// AddLatest adds the next package of a stream to what the ones before it have
// come to, and returns that by product, os and arch. What a till that runs the
// one before would not install (rule K8) changes nothing.
func AddLatest(list []Latest, l Latest) []Latest {
	i, there := slices.BinarySearchFunc(list, l, func(a, b Latest) int {
		return cmp.Or(cmp.Compare(a.Product, b.Product), cmp.Compare(a.OS, b.OS), cmp.Compare(a.Arch, b.Arch))
	})
	switch {
	case !there:
		return slices.Insert(list, i, l)
	case l.replaces(list[i].Release):
		list[i] = l
	}
	return list
}

// replaces reports whether the package takes the place of a release.
func (l Latest) replaces(release int64) bool { return l.Release > release || l.From == release }

// Replaces reports whether the package takes the place of what a till runs of
// the product: of a package that came before it, for machines that the package
// for os and arch is for as well.
func (l Latest) Replaces(p Installed, os, arch string) bool {
	return l.Product == p.Product && l.Sequence > p.Sequence && l.replaces(p.Release) &&
		(l.OS == Any || l.OS == os) && (l.Arch == Any || l.Arch == arch)
}

// String names the package for people: "caisse 3.2.0 (7)".
func (p Installed) String() string { return fmt.Sprintf("%s %s (%d)", p.Product, p.Version, p.Release) }

// String names the package, its machines and its batch for people.
func (l Latest) String() string {
	s := fmt.Sprintf("%s for %s/%s, batch %d", l.Installed, l.OS, l.Arch, l.Sequence)
	if l.From > 0 {
		s += fmt.Sprintf(", the way back from release %d", l.From)
	}
	return s
}
