package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"caisseauto/keys/rotation"
	"caisseauto/manifest"
)

// aheadOfClock is how far a head may be ahead of the clock (rule H5).
const aheadOfClock = 24 * time.Hour

// twice gives a statement that its writer may be replacing just now another
// chance: its two files are written one after the other.
func twice(look func() *statement) *statement {
	s := look()
	if len(s.faults) > 0 && s.faults[0].Check == Signature {
		time.Sleep(20 * time.Millisecond)
		s = look()
	}
	return s
}

// A heading is a stream's head, and what it says when it is good.
type heading struct {
	*statement
	head *manifest.Head // nil: there is none, or none that is good
}

// checkHead reads and checks the head of a stream.
func (v *verifier) checkHead(p place, root *os.Root, trust *manifest.Trust) heading {
	var h heading
	h.statement = twice(func() *statement {
		s := &statement{name: manifest.HeadName, shown: p.stream + "/" + manifest.HeadName}
		h.head = nil
		if !s.read(root, manifest.HeadSignatureName, manifest.MaxHead) || !s.signed(manifest.HeadNamespace) {
			return s
		}
		head, err := manifest.OpenHead(s.name, s.doc, s.sig, trust)
		if err == nil {
			err = head.Expect(s.name, p.stream)
		}
		if s.opened(err) {
			h.head = head
		}
		return s
	})
	if h.head != nil {
		v.checkFresh(h, p.stream)
		h.trusts(p)
	}
	return h
}

// trusts holds the version of the trust documents that a head names against
// what is there: whoever withholds the newest one lets a revoked key live on.
func (h heading) trusts(p place) {
	if h.head.Trust == 0 || p.dossier == "" {
		return
	}
	name := rotation.Name(h.head.Trust)
	if _, err := os.Lstat(filepath.Join(p.dossier, trustFolder, name)); errors.Is(err, fs.ErrNotExist) {
		h.faultAt(filepath.Base(p.dossier)+"/"+trustFolder+"/"+name, Completeness, "", "it is not there, but the head names this version of the trust documents")
	}
}

// checkFresh judges the head's age.
func (v *verifier) checkFresh(h heading, stream string) {
	h.seen = append(h.seen, Freshness)
	switch {
	case h.head.Issued.Sub(v.o.Now) > aheadOfClock:
		h.fault(Freshness, "H5", "issued at %s, which is more than a day after %s: a clock is wrong, the writer's or this machine's", stamp(h.head.Issued), stamp(v.o.Now))
	case h.head.Expired(v.o.Now) && !manifest.IsUp(stream):
		h.fault(Freshness, "H6", "expired at %s, and it is %s: the writer does not run, or somebody holds back its files; to judge an old copy as of its own time give that with --at",
			stamp(h.head.Expires), stamp(v.o.Now))
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// headPosition holds what the head names against the manifests that are
// there, once its stream was listed.
func headPosition(h heading, root *os.Root, l *listing) {
	digest, err := digestAt(root, l, h.head.Sequence)
	if err == nil {
		h.seen = append(h.seen, Chain)
	}
	if err == nil && digest != h.head.Digest {
		h.fault(Chain, "P3", "it names batch %d with the manifest %s, but the one that is here is %s: the writer signed two, or somebody exchanged them", h.head.Sequence, h.head.Digest, digest)
	}
}

// digestAt returns the digest of the manifest of a number, as its file is.
func digestAt(root *os.Root, l *listing, sequence int64) (string, error) {
	if l != nil && l.at(sequence)&hasManifest == 0 {
		return "", fs.ErrNotExist
	}
	doc, err := readFile(root, manifest.FileName(sequence, manifest.ManifestExt), manifest.MaxManifest)
	if err != nil {
		return "", err
	}
	return manifest.Digest(doc), nil
}

// applied holds what a till's head says that it has applied against the
// dossier's stream down: a writer that shows two tills two batches of one
// number is found here.
func (h heading) applied(p place) (note string) {
	a := h.head.Till.Applied
	if a == nil || p.dossier == "" {
		return ""
	}
	folder := filepath.Join(p.dossier, "down")
	info, err := os.Lstat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		// A till's own medium has its stream alone. Where the server's
		// receipts are, its stream has been taken away.
		if _, err := os.Lstat(filepath.Join(p.dossier, "receipts")); err == nil {
			h.faultAt(a.Stream, Completeness, "", "it is not there, but the till says in %s that it has applied batch %d of it", h.shown, a.Sequence)
			return ""
		}
		return fmt.Sprintf("%s is not here: that the till has applied its batch %d is not held against it", a.Stream, a.Sequence)
	}
	if err != nil || !info.IsDir() {
		return "" // the stream down has its own verdict
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "" // the same
	}
	defer root.Close()
	digest, err := digestAt(root, nil, a.Sequence)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errTooLarge):
		// The batch has its own verdict.
	case err != nil:
		h.faultAt(a.Stream+"/"+manifest.FileName(a.Sequence, manifest.ManifestExt), Completeness, "",
			"it is not there, but the till says in %s that it has applied it", h.shown)
	case digest != a.Digest:
		h.fault(Chain, "P3", "the till has applied batch %d of %s with the manifest %s, but the one that is here is %s: two were signed, or they were exchanged", a.Sequence, a.Stream, a.Digest, digest)
	}
	return ""
}

// checkReceipt reads and checks the server's receipt for a till's stream. nil:
// there is none.
func (v *verifier) checkReceipt(p place, root *os.Root, l *listing, trust *manifest.Trust) (*statement, *manifest.Receipt) {
	till := strings.TrimPrefix(p.stream, manifest.StreamUp(filepath.Base(p.dossier), ""))
	dir, err := os.OpenRoot(filepath.Join(p.dossier, "receipts"))
	if err != nil {
		return nil, nil
	}
	defer dir.Close()
	name := manifest.ReceiptName(till)
	if _, err := dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r *manifest.Receipt
	s := twice(func() *statement {
		s := &statement{name: name, shown: filepath.Base(p.dossier) + "/receipts/" + name}
		r = nil
		if !s.read(dir, name+".sig", manifest.MaxReceipt) || !s.signed(manifest.ReceiptNamespace) {
			return s
		}
		receipt, err := manifest.OpenReceipt(name, p.stream, s.doc, s.sig, trust)
		if s.opened(err) {
			r = receipt
		}
		return s
	})
	if r == nil || root == nil {
		return s, r
	}
	digest, err := digestAt(root, l, r.Sequence)
	if err == nil {
		s.seen = append(s.seen, Chain)
	}
	if err == nil && digest != r.Digest {
		s.fault(Chain, "C5", "it names batch %d with the manifest %s, but the one that is here is %s", r.Sequence, r.Digest, digest)
	}
	return s, r
}

// silence says how old a till's head is, which is no fault: a till may be off
// line for weeks.
func silence(h *manifest.Head, now time.Time) string {
	if !h.Expired(now) {
		return ""
	}
	return "the till has not been heard of since " + stamp(h.Issued)
}
