package rotation

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"caisseauto/keys"
)

// Files are the trust documents of a dossier, wherever they lie.
type Files interface {
	// Names lists what is there.
	Names() ([]string, error)
	// Read returns a file, at most MaxDocument bytes of one. One that is not
	// there is fs.ErrNotExist.
	Read(name string) ([]byte, error)
}

// A Walk is what [Follow] came by.
type Walk struct {
	Documents []*Document // in the order of their versions
	Tills     *TillList   // nil: the list is the one that was known, or there is none
}

// Follow walks from the version that trust stands at in a dossier to the
// newest one in files, step by step, and, when tills is set, takes over the
// newest list of tills. What it cannot believe ends the walk there: it returns
// how far it came, with the error. A dossier whose trust documents were never
// known here is left as it is.
func Follow(trust *keys.Trust, dossier string, files Files, tills bool) (*keys.Trust, Walk, error) {
	var w Walk
	b := trust.Block(dossier)
	if b == nil {
		return trust, w, nil
	}
	var names []string // listed once, when there is something new
	for {
		doc, err := files.Read(Name(b.Version + 1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil && names == nil {
			names, err = files.Names()
		}
		if err != nil {
			return trust, w, err
		}
		signatures, err := Signatures(files, names, Name(b.Version+1))
		if err != nil {
			return trust, w, err
		}
		next, d, err := Advance(trust, dossier, doc, signatures)
		if err != nil {
			return trust, w, err
		}
		trust, b, w.Documents = next, next.Block(dossier), append(w.Documents, d)
	}
	if !tills {
		return trust, w, nil
	}
	if names == nil {
		var err error
		if names, err = files.Names(); err != nil {
			return trust, w, err
		}
	}
	next, l, err := FollowTills(trust, dossier, files, names)
	w.Tills = l
	return next, w, err
}

// FollowTills takes over the newest list of tills among the names of files,
// where it is newer than the one that trust knows. On an error it returns trust
// as it was.
func FollowTills(trust *keys.Trust, dossier string, files Files, names []string) (*keys.Trust, *TillList, error) {
	newest := Newest(names, TillsVersion)
	if newest <= trust.Block(dossier).TillsVersion {
		return trust, nil, nil
	}
	doc, err := files.Read(TillsName(newest))
	if err != nil {
		return trust, nil, err
	}
	sig, err := files.Read(TillsName(newest) + ".sig")
	if err != nil {
		return trust, nil, err
	}
	next, l, err := Enrol(trust, dossier, newest, doc, sig)
	if err != nil {
		return trust, nil, err
	}
	return next, l, nil
}

// Newest returns the highest version among names, by [Version] or
// [TillsVersion]; 0: there is none.
func Newest(names []string, version func(name string) int64) int64 {
	newest := int64(0)
	for _, n := range names {
		newest = max(newest, version(n))
	}
	return newest
}

var (
	documentForm  = regexp.MustCompile(`^[0-9]{10}\.json$`)
	signatureForm = regexp.MustCompile(`^[0-9]{10}\.json\.root-[a-z0-9]{1,16}\.sig$`)
)

// Version returns the version of a document by the name of its file, 0 when it
// is not one.
func Version(name string) int64 {
	if !documentForm.MatchString(name) {
		return 0
	}
	n, _ := strconv.ParseInt(name[:10], 10, 64) // ten digits
	return n
}

// TillsVersion returns the version of a list of tills by the name of its file,
// 0 when it is not one.
func TillsVersion(name string) int64 {
	rest, ok := strings.CutPrefix(name, "tills-")
	if !ok {
		return 0
	}
	return Version(rest)
}

// maxSignatures bounds what a folder can make a reader verify: the roots of
// two versions.
const maxSignatures = 2 * MaxRoots

// Signatures reads the roots' signatures under a document: all files among names
// that have the name of one.
func Signatures(files Files, names []string, document string) ([]Signature, error) {
	var list []Signature
	for _, n := range slices.Sorted(slices.Values(names)) {
		if !signatureForm.MatchString(n) || !strings.HasPrefix(n, document+".") || len(list) >= maxSignatures {
			continue
		}
		data, err := files.Read(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Signature{n, data})
	}
	return list, nil
}
