package status

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"caisseauto/manifest"
)

// Packages is the stream of software packages.
type Packages struct {
	Sequence int64     `json:"sequence"` // 0: nothing is there, or no head that verifies
	Issued   time.Time `json:"issued,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	Alarms   []string  `json:"alarms"`
}

// A Package is a product as it runs on a till.
type Package struct {
	manifest.Installed
	// Next is the package on the drop that takes its place on such a machine;
	// nil: none, or none that could be seen.
	Next *manifest.Latest `json:"next,omitempty"`
}

// String says which release runs, and which other one is there.
func (p Package) String() string {
	if p.Next == nil {
		return p.Installed.String()
	}
	return fmt.Sprintf("%s, %d is on the drop", p.Installed, p.Next.Release)
}

// maxPackages is how many of the newest packages are looked at, for each of which
// two files are read: those of a year or more.
const maxPackages = 30

// runs takes over what a till's head says of its software.
func (t *Till) runs(s *manifest.Software) {
	if s == nil {
		return
	}
	t.Packages, t.Updates = []Package{}, append([]manifest.Update{}, s.Updates...)
	for _, p := range s.Packages {
		t.Packages = append(t.Packages, Package{Installed: p})
	}
	for _, u := range t.lastUpdates() {
		if u.Outcome != manifest.WasInstalled {
			t.Warnings = append(t.Warnings, said(u))
		}
	}
}

// lastUpdates returns the last attempt of each product, the oldest first.
func (t *Till) lastUpdates() []manifest.Update {
	var list []manifest.Update
	for i, u := range t.Updates {
		if !slices.ContainsFunc(t.Updates[i+1:], func(v manifest.Update) bool { return v.Product == u.Product }) {
			list = append(list, u)
		}
	}
	return list
}

// said tells of an attempt that was not installed.
func said(u manifest.Update) string {
	text := fmt.Sprintf("%s %s (%d) was %s at %s", u.Product, u.Version, u.Release, u.Outcome, u.At.UTC().Format(time.RFC3339))
	if u.Reason != "" {
		text += ": " + u.Reason
	}
	if u.By != "" {
		text += "; confirmed by: " + u.By
	}
	return text
}

// Installed names the software packages that run: "-" where the till's head says
// nothing of any.
func (t Till) Installed() string {
	switch {
	case t.Packages == nil:
		return "-"
	case len(t.Packages) == 0:
		return "none"
	}
	var list []string
	for _, p := range t.Packages {
		list = append(list, p.String())
	}
	return strings.Join(list, "; ")
}

// packages reads the stream of packages: its head, and, when a till runs any, the
// newest manifests.
func (g *gathering) packages() error {
	d, stream := &g.d.Packages, manifest.StreamPackages(g.d.Dossier)
	var head *manifest.Head
	err := g.pair("packages/"+manifest.HeadName, manifest.MaxHead, func(doc, sig []byte) error {
		h, err := manifest.OpenHead(stream+"/"+manifest.HeadName, doc, sig, g.trust)
		if err == nil {
			err = h.Expect(stream+"/"+manifest.HeadName, stream)
		}
		if err == nil {
			head = h
		}
		return err
	})
	// Where no till has to do with packages nobody misses a fresh head.
	asked := slices.ContainsFunc(g.d.Tills, func(t Till) bool { return t.Packages != nil })
	used := slices.ContainsFunc(g.d.Tills, func(t Till) bool { return len(t.Packages) > 0 })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if used {
			d.Alarms = append(d.Alarms, "tills run packages of it, but its head is not there: somebody removed it")
		}
		return nil
	case err != nil:
		return g.said(&d.Alarms, err)
	}
	d.Sequence, d.Issued, d.Expires = head.Sequence, head.Issued, head.Expires
	if asked && head.Expired(g.o.Now) {
		d.Alarms = append(d.Alarms, fmt.Sprintf("the head of the packages expired at %s: tills install nothing until the release manager renews it, or somebody holds back its files", d.Expires.Format(time.RFC3339)))
	}
	if !used {
		return nil
	}
	return g.compare(head)
}

// compare finds the packages that take the place of those that run on tills.
func (g *gathering) compare(head *manifest.Head) error {
	d, known := &g.d.Packages, map[int64]*manifest.Latest{}
	look := func(n int64) (*manifest.Latest, error) {
		if l, done := known[n]; done {
			return l, nil
		}
		m, digest, err := g.manifest(manifest.StreamPackages(g.d.Dossier), "packages", n)
		switch {
		case err == nil && n == head.Sequence && digest != head.Digest:
			d.Alarms = append(d.Alarms, fmt.Sprintf("its head names another batch %d than the one that is on the drop: the release manager signed two, or somebody exchanged them", n))
			known[n] = nil
		case err == nil:
			l := m.Latest()
			known[n] = &l
		case errors.Is(err, fs.ErrNotExist):
			known[n] = nil // verify looks for what is missing
		default:
			known[n] = nil
			return nil, g.said(&d.Alarms, err)
		}
		return known[n], nil
	}
	var newest []manifest.Latest
	for n := max(1, head.Sequence-maxPackages+1); n <= head.Sequence; n++ {
		l, err := look(n)
		if err != nil {
			return err
		}
		if l != nil {
			newest = manifest.AddLatest(newest, *l)
		}
	}
	for i := range g.d.Tills {
		for j := range g.d.Tills[i].Packages {
			p := &g.d.Tills[i].Packages[j]
			// The head does not say what kind of machine it is; what runs there does.
			brought, err := look(p.Sequence)
			if err != nil {
				return err
			}
			if brought != nil && brought.Product == p.Product && brought.Release == p.Release {
				p.Next = next(newest, p.Installed, brought)
			}
		}
	}
	return nil
}

// next returns the package that takes the place of p, nil for none. Of several,
// for this machine and for any, it is the one that came last.
func next(newest []manifest.Latest, p manifest.Installed, brought *manifest.Latest) (found *manifest.Latest) {
	for _, l := range newest {
		if l.Replaces(p, brought.OS, brought.Arch) && (found == nil || l.Sequence > found.Sequence) {
			found = &l
		}
	}
	return found
}
