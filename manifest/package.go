package manifest

import (
	"cmp"
	"slices"
)

// KindPackage: the files of one release of a software product; only the
// stream of packages has batches of that kind, and it has no others.
const KindPackage Kind = "package"

// Any stands in os or arch of a package that does not depend on it.
const Any = "any"

// A Package is what the manifest of a software package says beyond that of
// every batch. Its fields stand on the same level of the file. The archive
// holds the files under their names, in the order of the list; tables and
// members, which are about rows, are empty.
type Package struct {
	Product string `json:"product"` // see [ValidProduct]
	Version string `json:"version"` // for people: nothing is decided by it; see [ValidVersion]
	Release int64  `json:"release"` // grows with every version of the product for one os and arch
	OS      string `json:"os"`      // as Go names it (GOOS), or [Any]
	Arch    string `json:"arch"`    // as Go names it (GOARCH), or [Any]
	Notes   string `json:"notes"`   // what is new, for whoever is asked; lines end with LF

	Requires []Requirement `json:"requires"`
	Files    []File        `json:"files"`
	// Probe tells whether the release works where it was installed; nil:
	// nobody can tell.
	Probe *Probe `json:"probe,omitempty"`
	// Rollback makes a package that is older than what it replaces; nil: it
	// is newer.
	Rollback *Rollback `json:"rollback,omitempty"`
}

// A Requirement is a release of another product, or a newer one, that must be
// installed before the package is.
type Requirement struct {
	Product string `json:"product"`
	Release int64  `json:"release"`
}

// A File is one regular file of a package.
type File struct {
	Name   string `json:"name"` // see [CheckFileName]
	Mode   string `json:"mode"` // "0644" or, of a program, "0755"
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// The modes that a file of a package can have. What else a mode could say -
// setuid, writable for others - no package is allowed to.
const (
	ModeData    = "0644"
	ModeProgram = "0755"
)

// A Probe is a command that ends with 0 when the release works.
type Probe struct {
	// Command is the name of a program among the package's files, and its
	// arguments. No shell reads it.
	Command []string `json:"command"`
	Seconds int64    `json:"seconds"` // after which it has failed, 1 to 600
}

// A Rollback allows tills to go back, from exactly one release to exactly one
// other.
type Rollback struct {
	From int64 `json:"from"` // the release that is to be replaced
	To   int64 `json:"to"`   // this one
}

// Size returns the bytes of the package's files.
func (p *Package) Size() int64 {
	n := int64(0)
	for _, f := range p.Files {
		n += f.Size
	}
	return n
}

// Fits reports whether the package is for a machine with this operating system
// and processor, as Go names them.
func (p *Package) Fits(goos, goarch string) bool {
	return (p.OS == Any || p.OS == goos) && (p.Arch == Any || p.Arch == goarch)
}

// SortFiles brings files into the order that a package has them in, that of
// the bytes of their names.
func SortFiles(files []File) {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
}

// IsPackages reports whether the stream is one of software packages.
func IsPackages(stream string) bool {
	dossier := dossierOf(stream)
	return stream == StreamPackages(dossier)
}

// filledPackage returns p without null lists; see filled.
func filledPackage(p *Package) *Package {
	if p == nil {
		return nil
	}
	c := *p
	c.Requires = append([]Requirement{}, p.Requires...)
	c.Files = append([]File{}, p.Files...)
	if p.Probe != nil {
		c.Probe = &Probe{append([]string{}, p.Probe.Command...), p.Probe.Seconds}
	}
	return &c
}
