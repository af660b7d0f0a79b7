package importer_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/archive"
	"caisseauto/keys"
	"caisseauto/manifest"
)

const upStream = "ACME/up/017"

// A collector is a notebook that can hold batches back.
type collector struct {
	notebook
	held []string // causes
	dir  string
}

func (c *collector) Hold(_ context.Context, _ *manifest.Manifest, p manifest.Position, dir string, cause error) error {
	c.position, c.dir = p, dir
	c.held = append(c.held, cause.Error())
	return nil
}

// newCollect is an Importer of till 017's stream with an empty inbox.
func newCollect(t *testing.T, db importer.Applier) *importer.Importer {
	t.Helper()
	i := newImporter(t, db)
	i.Stream, i.Inbox = upStream, filepath.Join(t.TempDir(), "up")
	if err := os.Mkdir(i.Inbox, 0o755); err != nil {
		t.Fatal(err)
	}
	return i
}

// A till seals batches by hand, as a program that is broken or in other hands
// may.
type till struct {
	t      *testing.T
	inbox  string
	signer keys.Signer
	last   *manifest.Manifest
	issue  int64
}

func newTill(t *testing.T, inbox string) *till {
	t.Helper()
	path := filepath.Join(vectors, "keys/till-017")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.ParsePrivate(path, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &till{t: t, inbox: inbox, signer: signer}
}

func (w *till) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var (
	clientColumns = []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "nom", Type: "TEXT"}}
	clientTable   = manifest.Table{Name: "client", Scope: manifest.Changes, Columns: clientColumns, Key: []string{"code"},
		Schema: manifest.Fingerprint(clientColumns, []string{"code"})}
)

const (
	upsertHead = `{"table":"client","op":"upsert","columns":["code","nom"]}` + "\n"
	baseHead   = `{"table":"client","op":"base","columns":["code","nom"]}` + "\n"
	deleteHead = `{"table":"client","op":"delete","columns":["code"]}` + "\n"
)

// seal puts the next batch into the inbox, of members as they are given. spoil
// may change the manifest before it is sealed.
func (w *till) seal(spoil func(*manifest.Manifest), members ...string) *manifest.Manifest {
	w.t.Helper()
	m := &manifest.Manifest{Format: manifest.Format, Stream: upStream, Epoch: 1, Sequence: 1, Previous: manifest.NoPrevious(), Kind: manifest.Delta,
		Created: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), Signer: "till-017@acme", Incarnation: "00112233445566778899aabbccddeeff",
		Tables: []manifest.Table{clientTable}}
	if w.last != nil {
		p, err := w.last.Position()
		w.must(err)
		m.Epoch, m.Sequence, m.Previous = p.Epoch, p.Sequence+1, p.Digest
	}
	var file bytes.Buffer
	a, err := archive.NewWriter(&file)
	w.must(err)
	for n, body := range members {
		name := manifest.MemberName("client", n+1)
		sum, err := a.Add(name, append(a.Buffer()[:0], body...))
		w.must(err)
		m.Members = append(m.Members, manifest.Member{Name: name, Table: "client", Rows: int64(bytes.Count([]byte(body), []byte("\n")) - 1), Size: int64(len(body)), SHA256: sum})
	}
	sum, err := a.Close()
	w.must(err)
	m.Archive = manifest.Archive{Size: sum.Size, SHA256: sum.SHA256, TarSize: sum.TarSize}
	if spoil != nil {
		spoil(m)
	}
	m.Archive.Name = manifest.FileName(m.Sequence, manifest.ArchiveExt)
	w.put(m, file.Bytes())
	w.last = m
	return m
}

func (w *till) put(m *manifest.Manifest, file []byte) {
	w.t.Helper()
	doc, sig, err := manifest.Seal(m, w.signer)
	w.must(err)
	for ext, data := range map[string][]byte{manifest.ArchiveExt: file, manifest.SignatureExt: sig, manifest.ManifestExt: doc} {
		w.must(os.WriteFile(filepath.Join(w.inbox, manifest.FileName(m.Sequence, ext)), data, 0o644))
	}
}

// epoch begins a new epoch at that number.
func epoch(epoch, sequence int64) func(*manifest.Manifest) {
	return func(m *manifest.Manifest) {
		m.Epoch, m.Sequence, m.Previous = epoch, sequence, manifest.NoPrevious()
	}
}

// head puts a head that names m.
func (w *till) head(m *manifest.Manifest) {
	w.t.Helper()
	p, err := m.Position()
	w.must(err)
	w.issue++
	issued := m.Created.Add(time.Duration(w.issue) * time.Minute)
	doc, sig, err := manifest.SealHead(&manifest.Head{Format: manifest.HeadFormat, Stream: upStream, Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest,
		Oldest: 1, Issue: w.issue, Issued: issued, Expires: issued.Add(24 * time.Hour), Till: &manifest.TillState{Incarnation: m.Incarnation}}, w.signer)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.inbox, manifest.HeadSignatureName), sig, 0o644))
	w.must(os.WriteFile(filepath.Join(w.inbox, manifest.HeadName), doc, 0o644))
}
