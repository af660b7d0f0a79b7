package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"caisseauto/internal/archive"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A statement is a signed file and what the checks have said of it.
type statement struct {
	name        string // in its folder
	shown       string // path on the drop
	doc, sig    []byte
	fingerprint string
	faults      []Fault
	seen        []Check
}

func (s *statement) fault(c Check, rule, format string, args ...any) {
	s.faultAt(s.shown, c, rule, format, args...)
}

func (s *statement) faultAt(file string, c Check, rule, format string, args ...any) {
	s.faults = append(s.faults, Fault{File: file, Check: c, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// read reads the statement and its signature. A file that is not there or
// cannot be read is a fault.
func (s *statement) read(root *os.Root, signature string, limit int64) bool {
	var err error
	if s.doc, err = readFile(root, s.name, limit); err != nil {
		s.doc = nil
		s.unreadable(s.shown, err, "D1")
		return false
	}
	if s.sig, err = readFile(root, signature, manifest.MaxSignature); err != nil {
		s.unreadable(strings.TrimSuffix(s.shown, s.name)+signature, err, "S1")
		return false
	}
	return true
}

// unreadable files one that is missing under completeness, and any other that
// cannot be read under signature: nothing shows what it is.
func (s *statement) unreadable(file string, err error, rule string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.faultAt(file, Completeness, "", "it is not there")
	case errors.Is(err, errTooLarge):
		s.faultAt(s.shown, Signature, rule, "%v: nothing of it was read", err)
	default:
		s.faultAt(s.shown, Signature, "", "cannot be read: %v", cause(err))
	}
}

// cause is an error without the path that the fault names already.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// signed checks that the key which the signature names has signed.
func (s *statement) signed(namespace string) bool {
	s.seen = append(s.seen, Signature)
	var err error
	if s.fingerprint, err = keys.Claimed(s.doc, s.sig, namespace); err != nil {
		rule := "S5"
		switch {
		case errors.Is(err, keys.ErrSignatureFormat):
			rule = "S2"
		case errors.Is(err, keys.ErrWrongNamespace):
			rule = "S3"
		}
		s.fault(Signature, rule, "%v", err)
		return false
	}
	return true
}

// opened files what opening the statement has said.
func (s *statement) opened(err error) bool {
	s.seen = append(s.seen, Signer, Trust, Content)
	if err == nil {
		return true
	}
	r := (*manifest.Refusal)(nil)
	if !errors.As(err, &r) {
		s.fault(Content, "", "%v", err)
		return false
	}
	text := r.Detail
	if r.Err != nil {
		text += r.Err.Error()
	}
	c := checkOf(r.Rule)
	if c == Signer {
		s.seen = s.seen[:len(s.seen)-2] // trust and content were not come to
	}
	s.fault(c, r.Rule, "%s", text)
	return false
}

// checkOf says which check a rule of SPEC.md belongs to.
func checkOf(rule string) Check {
	switch rule {
	case "S1", "S2", "S5", "D1":
		return Signature
	case "S3", "S4", "S6":
		return Signer
	case "S7":
		return Trust
	case "A1":
		return Hash
	case "H5", "H6":
		return Freshness
	}
	switch rule[:1] {
	case "P":
		return Chain
	case "T":
		return Trust
	}
	return Content
}

// A batch is what is left of a batch's files when they were checked.
type batch struct {
	statement
	sequence int64
	digest   string // of the manifest's bytes, good or not; "": there are none
	previous string
	epoch    int64
	kind     manifest.Kind
	created  time.Time
	signer   string
	opened   bool // the manifest is good
	rows     int64
	files    int64            // of a package
	latest   *manifest.Latest // the same
	bytes    int64
	pruned   bool
	notYet   bool // the manifest is not there yet
}

// checkBatch checks the files of one batch. Archives below oldest may be gone.
func (v *verifier) checkBatch(j *job) *batch {
	b := &batch{sequence: j.listed.sequence}
	b.name = manifest.FileName(b.sequence, manifest.ManifestExt)
	b.shown = j.stream.Stream + "/" + b.name
	if j.listed.has&hasManifest == 0 {
		b.notYet = true
		return b
	}
	b.seen = append(b.seen, Completeness)
	read := b.read(j.root, manifest.FileName(b.sequence, manifest.SignatureExt), manifest.MaxManifest)
	if b.doc != nil {
		b.digest = manifest.Digest(b.doc) // signed or not: it is what the next one has to name
	}
	if !read || !b.signed(manifest.BatchNamespace(j.stream.Stream)) {
		return b.done()
	}
	if len(b.doc) > largeManifest {
		v.large.Lock()
		defer v.large.Unlock()
	}
	m, _, err := manifest.Open(b.name, j.stream.Stream, b.doc, b.sig, j.trust)
	if err == nil {
		err = m.Expect(b.name, j.stream.Stream, b.sequence)
	}
	if !b.statement.opened(err) {
		return b.done()
	}
	b.opened, b.previous, b.epoch, b.kind, b.created, b.signer = true, m.Previous, m.Epoch, m.Kind, m.Created, m.Signer
	for _, member := range m.Members {
		b.rows += member.Rows
	}
	if m.Package != nil {
		l := m.Latest()
		b.files, b.latest = int64(len(m.Files)), &l
	}
	v.checkArchive(j, b, m)
	return b.done()
}

// done lets go of the bytes.
func (b *batch) done() *batch {
	b.doc, b.sig = nil, nil
	return b
}

// checkArchive holds the archive against its manifest, and its content where
// that is asked for, from one open file.
func (v *verifier) checkArchive(j *job, b *batch, m *manifest.Manifest) {
	file := j.stream.Stream + "/" + m.Archive.Name
	if j.listed.has&hasArchive == 0 {
		if b.pruned = b.sequence < j.oldest; !b.pruned {
			b.faultAt(file, Completeness, "", "it is not there")
		}
		return
	}
	f, err := openFile(j.root, m.Archive.Name)
	if err != nil {
		b.faultAt(file, Hash, "", "cannot be read: %v", cause(err))
		return
	}
	defer f.Close()
	b.seen = append(b.seen, Hash)
	err = archive.Check(v.counted(f), archive.Sum{Size: m.Archive.Size, SHA256: m.Archive.SHA256, TarSize: m.Archive.TarSize})
	switch {
	case errors.Is(err, archive.ErrOther):
		b.faultAt(file, Hash, "A1", "%v", err)
		return
	case err != nil && isDisk(err):
		b.faultAt(file, Hash, "", "cannot be read: %v", cause(err))
		return
	case err != nil:
		b.faultAt(file, Content, "", "%v", err)
		return
	}
	b.bytes = m.Archive.Size
	if !v.contents {
		return
	}
	if err := v.checkContents(m, f); err != nil {
		b.faultAt(file, Content, "", "%v", err)
	}
}

// checkContents reads all files of a package, and all rows of any other batch.
func (v *verifier) checkContents(m *manifest.Manifest, f *os.File) error {
	v.reading <- struct{}{}
	defer func() { <-v.reading }()
	if m.Package != nil {
		return ReadFiles(v.ctx, m, f, nil)
	}
	if v.o.Open == nil {
		return nil
	}
	return v.o.Open(v.ctx, m, f)
}

func isDisk(err error) bool {
	p := (*fs.PathError)(nil)
	return errors.As(err, &p)
}
