package inspect_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/archive"
	"caisseauto/internal/inspect"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A writer seals batches of one stream into a folder of a drop, with a key of
// its own.
type writer struct {
	t      testing.TB
	drop   string
	stream string
	signer keys.Signer
	trust  *keys.Trust
	last   manifest.Position
	now    time.Time
}

func newWriter(t testing.TB) *writer { return newWriterIn(t, t.TempDir(), "ACME/down", "server@acme") }

func newWriterIn(t testing.TB, drop, stream, principal string) *writer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	pub, err := keys.Generate(path, principal)
	fatal(t, err)
	w := &writer{t: t, drop: drop, stream: stream, now: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)}
	w.signer, err = keys.Load(path, nil)
	fatal(t, err)
	w.trust, err = keys.ParseAllowedSigners("trusted", []byte(keys.AllowedLine([]string{principal}, nil, pub, "")+"\n"))
	fatal(t, err)
	fatal(t, os.MkdirAll(w.folder(), 0o755))
	return w
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *writer) folder() string { return filepath.Join(w.drop, filepath.FromSlash(w.stream)) }

func (w *writer) path(n int64, ext string) string {
	return filepath.Join(w.folder(), manifest.FileName(n, ext))
}

// article is the table of most tests: two columns, the first is the key.
var article = manifest.Table{Name: "article", Scope: manifest.Changes, Key: []string{"code"},
	Columns: []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "price", Type: "INTEGER"}}}

const upsertArticle = `{"table":"article","op":"upsert","columns":["code","price"]}` + "\n"

// upsert seals a batch of articles, one for each row.
func (w *writer) upsert(rows ...string) {
	w.t.Helper()
	body := upsertArticle
	for _, r := range rows {
		body += r + "\n"
	}
	w.seal([]manifest.Table{article}, nil, body)
}

// seal seals a batch: a member for each body, of the first table unless the
// body's first line names another. change may change what is signed.
func (w *writer) seal(tables []manifest.Table, change func(*manifest.Manifest), bodies ...string) {
	w.t.Helper()
	m := &manifest.Manifest{Format: manifest.Format, Stream: w.stream, Epoch: 1, Sequence: w.last.Sequence + 1, Previous: w.last.Digest,
		Kind: manifest.Delta, Created: w.now, Signer: "server@acme", Members: []manifest.Member{}}
	w.now = w.now.Add(time.Minute)
	if m.Sequence == 1 {
		m.Previous, m.Kind = manifest.NoPrevious(), manifest.Baseline
	}
	if manifest.IsUp(w.stream) {
		m.Signer, m.Kind, m.Incarnation = "till-017@acme", manifest.Delta, "00112233445566778899aabbccddeeff"
	}
	for _, t := range tables {
		if t.Scope = manifest.Changes; m.Kind == manifest.Baseline {
			t.Scope = manifest.Whole
		}
		t.Schema = manifest.Fingerprint(t.Columns, t.Key)
		m.Tables = append(m.Tables, t)
	}
	w.pack(m, tables, bodies)
	if change != nil {
		change(m)
	}
	doc, sig, err := manifest.Seal(m, w.signer)
	fatal(w.t, err)
	w.write(m.Sequence, manifest.ManifestExt, doc)
	w.write(m.Sequence, manifest.SignatureExt, sig)
	w.last = manifest.Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: manifest.Digest(doc)}
}

func (w *writer) pack(m *manifest.Manifest, tables []manifest.Table, bodies []string) {
	w.t.Helper()
	f, err := os.Create(w.path(m.Sequence, manifest.ArchiveExt))
	fatal(w.t, err)
	defer f.Close()
	a, err := archive.NewWriter(f)
	fatal(w.t, err)
	count := map[string]int{}
	for _, body := range bodies {
		table := tables[0].Name
		for _, t := range tables {
			if bytes.HasPrefix([]byte(body), []byte(fmt.Sprintf(`{"table":%q`, t.Name))) {
				table = t.Name
			}
		}
		count[table]++
		x := manifest.Member{Name: manifest.MemberName(table, count[table]), Table: table, Rows: int64(bytes.Count([]byte(body), []byte("\n"))) - 1, Size: int64(len(body))}
		x.SHA256, err = a.Add(x.Name, append(a.Buffer(), body...))
		fatal(w.t, err)
		m.Members = append(m.Members, x)
	}
	sum, err := a.Close()
	fatal(w.t, err)
	m.Archive = manifest.Archive{Name: manifest.FileName(m.Sequence, manifest.ArchiveExt), Size: sum.Size, SHA256: sum.SHA256, TarSize: sum.TarSize}
}

func (w *writer) write(n int64, ext string, data []byte) {
	w.t.Helper()
	fatal(w.t, os.WriteFile(w.path(n, ext), data, 0o644))
}

// head publishes a head that names oldest.
func (w *writer) head(oldest int64) {
	w.t.Helper()
	h := &manifest.Head{Format: manifest.HeadFormat, Stream: w.stream, Epoch: 1, Sequence: w.last.Sequence, Digest: w.last.Digest, Baseline: 1, Oldest: oldest,
		Issue: 1, Issued: w.now, Expires: w.now.Add(time.Hour)}
	doc, sig, err := manifest.SealHead(h, w.signer)
	fatal(w.t, err)
	fatal(w.t, os.WriteFile(filepath.Join(w.folder(), manifest.HeadName), doc, 0o644))
	fatal(w.t, os.WriteFile(filepath.Join(w.folder(), manifest.HeadSignatureName), sig, 0o644))
}

// inspector believes the writer.
func (w *writer) inspector() *inspect.Inspector { return inspector(w.trust) }

func inspector(trust *keys.Trust) *inspect.Inspector {
	return &inspect.Inspector{Trust: func(string) *keys.Trust { return trust }, Contents: importer.ReadContents}
}

// places finds the streams under a path.
func places(t testing.TB, path string) []inspect.Place {
	t.Helper()
	p, err := inspect.Local(path, "")
	fatal(t, err)
	return p
}

func (w *writer) places() []inspect.Place { return places(w.t, w.drop) }

// key reads a key that is right.
func key(t testing.TB, s string) inspect.Key {
	t.Helper()
	k, err := inspect.ParseKey(s)
	fatal(t, err)
	return k
}
