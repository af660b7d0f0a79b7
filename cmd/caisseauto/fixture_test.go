package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A world is a server, a drop and a till in one folder. The till stands at
// batch 1, a baseline; the drop holds the deltas 2, 3 and 4 beside it.
type world struct {
	t   *testing.T
	dir string
	erp serverDB // in place of server/erp.db; nil: that is the ERP's database
}

// A serverDB is an ERP's database that is no file.
type serverDB interface {
	exec(sql string)
	// rows returns the rows of a query, each value of one of the five kinds.
	rows(sql string) [][]change.Value
}

// erpFile is what the tests call the ERP's database, whatever its kind.
const erpFile = "server/erp.db"

// template is built once, by the real commands, and copied for each test.
var template = sync.OnceValues(buildTemplate)

var templateDirs []string // made by templates, removed at the end

func newWorld(t *testing.T) *world {
	t.Helper()
	src, err := template()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir()}
	if err := os.CopyFS(w.dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.dir, "server/keys/server"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

const worldSchema = `CREATE TABLE article(code TEXT PRIMARY KEY NOT NULL, dossier TEXT, label TEXT, price INTEGER, ean TEXT);
CREATE UNIQUE INDEX article_ean ON article(ean);`

const worldServer = `[database]
dsn = "erp.db"
[drop]
url = "file:../drop"
[signing]
principal = "server@acme"
key = "keys/server"
[trust]
allowed_signers = "allowed_signers"
[[dossier]]
code = "ACME"
  [[dossier.table]]
  name = "article"
  dossier_column = "dossier"
  capture = "columns"
`

const worldTill = `[till]
number = "001"
dossier = "ACME"
[database]
dsn = "till.db"
[drop]
url = "file:../drop"
[trust]
allowed_signers = "allowed_signers"
`

func buildTemplate() (dir string, err error) {
	dir, err = os.MkdirTemp("", "caisseauto-world")
	if err != nil {
		return "", err
	}
	templateDirs = append(templateDirs, dir)
	for _, d := range []string{"server/keys", "till", "drop"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	pub, err := keys.Generate(filepath.Join(dir, "server/keys/server"), "server@acme")
	if err != nil {
		return "", err
	}
	line := keys.AllowedLine([]string{"server@acme"}, nil, pub, "") + "\n"
	files := map[string]string{
		"server/server.toml": worldServer, "till/till.toml": worldTill,
		"server/allowed_signers": line, "till/allowed_signers": line,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for name, sql := range map[string]string{"server/erp.db": worldSchema + worldRows(), "till/till.db": worldSchema} {
		if err := execFile(filepath.Join(dir, name), sqlite3.Create, sql); err != nil {
			return "", err
		}
	}
	server, till := filepath.Join(dir, "server/server.toml"), filepath.Join(dir, "till/till.toml")
	for _, step := range []struct {
		sql  string
		args []string
	}{
		{"", []string{"init", "server", "--config", server}},
		{"", []string{"export", "--config", server}},
		{"", []string{"import", "--config", till}},
		{"UPDATE article SET price = 2 WHERE code = 'A1'", []string{"export", "--config", server}},
		{"INSERT INTO article VALUES('A9','ACME','new',9,'9')", []string{"export", "--config", server}},
		{"DELETE FROM article WHERE code = 'A2'", []string{"export", "--config", server}},
	} {
		if err := execFile(filepath.Join(dir, "server/erp.db"), sqlite3.ReadWrite, step.sql); err != nil {
			return "", err
		}
		var out bytes.Buffer
		if code := run(context.Background(), step.args, strings.NewReader(""), &out, &out); code != 0 {
			return "", fmt.Errorf("%v: exit code %d: %s", step.args, code, out.String())
		}
	}
	return dir, nil
}

func worldRows() string {
	var b strings.Builder
	for i := range 9 {
		fmt.Fprintf(&b, "INSERT INTO article VALUES('A%d','ACME','label %d',%d,'%d');", i+10, i, i*10, i+100)
	}
	b.WriteString("INSERT INTO article VALUES('A1','ACME','one',1,'1'),('A2','ACME','two',2,'2'),('B1','BRAVO','b',1,'3');")
	return b.String()
}

func execFile(path string, mode sqlite3.Mode, sql string) error {
	c, err := sqlite3.Open(path, mode)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Exec(sql)
}

// run runs one command line in this process.
func (w *world) run(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = run(w.t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func (w *world) importNow() (code int, stdout, stderr string) {
	return w.run("import", "--config", w.path("till/till.toml"))
}

func (w *world) exportNow(args ...string) (code int, stdout, stderr string) {
	return w.run(append([]string{"export", "--config", w.path("server/server.toml")}, args...)...)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// down is the path of a file of the stream on the drop.
func (w *world) down(name string) string { return w.path("drop/ACME/down/" + name) }

func (w *world) read(path string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) write(path string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sql(file, sql string) {
	w.t.Helper()
	if file == erpFile && w.erp != nil {
		w.erp.exec(sql)
		return
	}
	if err := execFile(w.path(file), sqlite3.ReadWrite, sql); err != nil {
		w.t.Fatal(err)
	}
}

// articles returns the rows of a database as text, by value and type.
func (w *world) articles(file string) string {
	w.t.Helper()
	c, err := sqlite3.Open(w.path(file), sqlite3.ReadOnly)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	var b strings.Builder
	err = c.Query("SELECT quote(code), quote(dossier), quote(label), quote(price), quote(ean) FROM article WHERE dossier='ACME' ORDER BY code", func(s *sqlite3.Stmt) error {
		for i := range s.Columns() {
			b.WriteString(s.Text(i) + "|")
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// signer is the server's own key: what a thief of it, or a fault in the
// writer, could sign.
func (w *world) signer() keys.Signer {
	w.t.Helper()
	s, err := keys.Load(w.path("server/keys/server"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// manifest reads the manifest of batch n on the drop, unverified.
func (w *world) manifest(n int64) *manifest.Manifest {
	w.t.Helper()
	var m manifest.Manifest
	if err := json.Unmarshal(w.read(w.down(manifest.FileName(n, manifest.ManifestExt))), &m); err != nil {
		w.t.Fatal(err)
	}
	return &m
}

// put writes a statement and its signature in a namespace to the drop.
func (w *world) put(name string, doc []byte, s keys.Signer, namespace string) {
	w.t.Helper()
	sig, err := s.Sign(doc, namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(w.down(name), doc)
	w.write(w.down(name+".sig"), sig)
}

// encode writes a statement as the format wants it, without any check.
func (w *world) encode(v any) []byte {
	w.t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// resign changes the manifest of batch n and signs it with the server's key.
func (w *world) resign(n int64, change func(*manifest.Manifest)) {
	w.t.Helper()
	m := w.manifest(n)
	change(m)
	w.put(manifest.FileName(n, manifest.ManifestExt), w.encode(m), w.signer(), manifest.Namespace)
}

// rehead changes the head and signs it with the server's key.
func (w *world) rehead(change func(*manifest.Head)) {
	w.t.Helper()
	var h manifest.Head
	if err := json.Unmarshal(w.read(w.down(manifest.HeadName)), &h); err != nil {
		w.t.Fatal(err)
	}
	change(&h)
	w.put(manifest.HeadName, w.encode(h), w.signer(), manifest.HeadNamespace)
}

func replaceOnce(s, old, new string) string { return strings.Replace(s, old, new, 1) }
