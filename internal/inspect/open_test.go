package inspect_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/inspect"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// nobody is an inspector without a list of trusted keys.
func nobody() *inspect.Inspector { return inspector(nil) }

func open(w *writer, in *inspect.Inspector, n int64) (*inspect.Batch, error) {
	return in.Open(context.Background(), w.places()[0], n)
}

// TestOpenWithoutTrust: without a list everything but who signed is checked,
// and the batch says that this was not.
func TestOpenWithoutTrust(t *testing.T) {
	w := newWriter(t)
	w.upsert(`["a",1]`)
	b, err := open(w, nobody(), 1)
	fatal(t, err)
	if b.Trusted || b.Manifest.Signer != "server@acme" || !strings.HasPrefix(b.Key, "SHA256:") {
		t.Errorf("%+v", b)
	}
	if b, err = open(w, w.inspector(), 1); err != nil || !b.Trusted {
		t.Errorf("with the list: %+v %v", b, err)
	}
	// A till's head is read without a list too.
	up := newWriterIn(t, w.drop, "ACME/up/017", "till-017@acme")
	up.upsert(`["a",1]`)
	if b, err = nobody().Open(context.Background(), places(t, up.folder())[0], 1); err != nil || b.Trusted {
		t.Errorf("a till's: %+v %v", b, err)
	}
}

// TestOpenRefuses: what is refused with the list, and what without one.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		spoil    func(w *writer)
		says     string
		unlisted bool // without a list there is nothing wrong with it
	}{
		{"a stranger's key", func(w *writer) { w.resign(w.stranger().signer, manifest.Namespace) }, "unknown key", true},
		{"another namespace", func(w *writer) { w.resign(w.signer, manifest.HeadNamespace) }, "namespace", false},
		{"a byte of the manifest", func(w *writer) { w.flip(1, manifest.ManifestExt, 200) }, "bad signature", false},
		{"a byte of the signature", func(w *writer) { w.flip(1, manifest.SignatureExt, 150) }, "signature", false},
		{"the key in the signature exchanged", func(w *writer) {
			other := w.stranger()
			other.upsert(`["b",2]`)
			data, err := os.ReadFile(other.path(1, manifest.SignatureExt))
			fatal(w.t, err)
			w.write(1, manifest.SignatureExt, data)
		}, "bad signature", false},
		{"a signer who may not sign", func(w *writer) { w.forge("server@acme", "till-001@acme") }, "S6", false},
		{"no signer", func(w *writer) { w.forge("server@acme", "SERVER") }, "", false},
		{"another stream", func(w *writer) { w.forge("ACME/down", "BETA/down") }, "BETA/down", false},
		{"another number", func(w *writer) { w.forge(`"sequence": 1,`, `"sequence": 2,`) }, "", false},
		{"the batch behind it under its name", func(w *writer) {
			w.upsert(`["a",2]`)
			for _, ext := range []string{manifest.ManifestExt, manifest.SignatureExt, manifest.ArchiveExt} {
				fatal(w.t, os.Rename(w.path(2, ext), w.path(1, ext)))
			}
		}, "P1", false},
		{"no JSON at all", func(w *writer) { w.forgeAll([]byte("\x00\x01\x02")) }, "", false},
		{"an empty file", func(w *writer) { w.forgeAll(nil) }, "", false},
		{"a link", func(w *writer) {
			fatal(w.t, os.Rename(w.path(1, manifest.ManifestExt), filepath.Join(w.drop, "elsewhere")))
			fatal(w.t, os.Symlink(filepath.Join(w.drop, "elsewhere"), w.path(1, manifest.ManifestExt)))
		}, "not a regular file", false},
		{"a folder", func(w *writer) {
			w.remove(1, manifest.ManifestExt)
			fatal(w.t, os.Mkdir(w.path(1, manifest.ManifestExt), 0o755))
		}, "not a regular file", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriter(t)
			w.upsert(`["a",1]`)
			c.spoil(w)
			if b, err := open(w, w.inspector(), 1); !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), c.says) || b != nil {
				t.Errorf("with the list: %v, want a refusal that says %q", err, c.says)
			}
			b, err := open(w, nobody(), 1)
			switch {
			case c.unlisted && (err != nil || b.Trusted):
				t.Errorf("without a list: %+v %v", b, err)
			case !c.unlisted && (!errors.Is(err, manifest.ErrRefused) || b != nil):
				t.Errorf("without a list: %v, want a refusal", err)
			}
		})
	}
}

// stranger is a writer with a key that nobody has listed.
func (w *writer) stranger() *writer { return newWriterIn(w.t, w.t.TempDir(), w.stream, "server@acme") }

func (w *writer) resign(s keys.Signer, namespace string) {
	doc, err := os.ReadFile(w.path(1, manifest.ManifestExt))
	fatal(w.t, err)
	sig, err := s.Sign(doc, namespace)
	fatal(w.t, err)
	w.write(1, manifest.SignatureExt, sig)
}

// forge changes the manifest and signs it with the writer's own key.
func (w *writer) forge(old, new string) {
	doc, err := os.ReadFile(w.path(1, manifest.ManifestExt))
	fatal(w.t, err)
	w.forgeAll([]byte(strings.Replace(string(doc), old, new, 1)))
}

func (w *writer) forgeAll(doc []byte) {
	w.write(1, manifest.ManifestExt, doc)
	w.resign(w.signer, manifest.Namespace)
}

func TestOpenMissing(t *testing.T) {
	w := newWriter(t)
	w.upsert(`["a",1]`)
	if _, err := open(w, w.inspector(), 2); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, manifest.ErrRefused) {
		t.Errorf("%v, want ErrNotExist", err)
	}
}

// TestContentsRefused: of an archive that is not what was signed no row comes
// out, and the summary says what is wrong.
func TestContentsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *writer)
		want  inspect.Contents
		says  string
	}{
		{"changed", func(w *writer) { w.flip(1, manifest.ArchiveExt, 60) }, inspect.Refused, "SHA-256"},
		{"another size", func(w *writer) { fatal(w.t, os.Truncate(w.path(1, manifest.ArchiveExt), 5<<30)) }, inspect.Refused, "5368709120 bytes"},
		{"gone", func(w *writer) { w.remove(1, manifest.ArchiveExt) }, inspect.Missing, "not exist"},
		{"pruned", func(w *writer) { w.remove(1, manifest.ArchiveExt); w.upsert(`["b",2]`); w.head(2) }, inspect.Pruned, ""},
		{"a link", func(w *writer) {
			fatal(w.t, os.Rename(w.path(1, manifest.ArchiveExt), filepath.Join(w.drop, "elsewhere")))
			fatal(w.t, os.Symlink(filepath.Join(w.drop, "elsewhere"), w.path(1, manifest.ArchiveExt)))
		}, inspect.Refused, "not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriter(t)
			w.upsert(`["a",1]`)
			c.spoil(w)
			b, err := open(w, w.inspector(), 1)
			fatal(t, err)
			s, err := w.inspector().Summarize(context.Background(), b)
			if s == nil || s.Contents != c.want || (err == nil) != (c.want == inspect.Pruned) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v; want %s and %q", s, err, c.want, c.says)
			}
			err = w.inspector().Rows(context.Background(), b, "", inspect.Key{}, func(inspect.Row) error { t.Error("a row came out"); return nil })
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestContentsUnderAGoodSignature: what its writer signed and is no batch.
func TestContentsUnderAGoodSignature(t *testing.T) {
	for _, c := range []struct{ name, body, says string }{
		{"another table", `{"table":"other","op":"upsert","columns":["code","price"]}` + "\n" + `["a",1]` + "\n", "other"},
		{"no rows", upsertArticle + "DELETE FROM article\n", "row 1"},
		{"unknown operation", `{"table":"article","op":"exec","columns":["code"]}` + "\n" + `["a"]` + "\n", "exec"},
		{"no line feed", upsertArticle + `["a",1]`, "row"},
		{"a delete with too few columns", `{"table":"article","op":"delete","columns":["price"]}` + "\n" + `[1]` + "\n", "key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWriter(t)
			w.upsert(`["a",1]`)
			w.seal([]manifest.Table{article}, nil, c.body)
			b, err := open(w, w.inspector(), 2)
			fatal(t, err)
			err = w.inspector().Rows(context.Background(), b, "article", key(t, "a"), func(inspect.Row) error { return nil })
			if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want a refusal that says %q", err, c.says)
			}
			if _, found := find(t, w.inspector(), w.places(), "article", "a"); len(found.Unsearched) != 1 || !found.Wrong() {
				t.Errorf("find says %+v", found)
			}
		})
	}
}

// TestStrays: 100,000 files of strangers, links and pipes among them, cost
// little and hide nothing.
func TestStrays(t *testing.T) {
	w := newWriter(t)
	w.upsert(`["a",1]`)
	w.upsert(`["a",2]`)
	strays := 100_000
	if raceEnabled {
		strays = 20_000
	}
	for n := range strays {
		f, err := os.OpenFile(filepath.Join(w.folder(), strings.Repeat("x", 20)+time.Duration(n).String()), os.O_CREATE|os.O_WRONLY, 0o600)
		fatal(t, err)
		f.Close()
	}
	fatal(t, os.Symlink("/dev/zero", w.path(3, manifest.ManifestExt)))
	l, err := w.inspector().List(context.Background(), w.places()[0], 20)
	fatal(t, err)
	if len(l.Batches) != 2 || l.Strays != int64(strays)+1 || l.Batches[1].Err != nil {
		t.Errorf("%d batches, %d strays", len(l.Batches), l.Strays)
	}
	if got, found := find(t, w.inspector(), w.places(), "article", "a"); len(got) != 2 || found.Wrong() {
		t.Errorf("%q %+v", got, found)
	}
}

func TestList(t *testing.T) {
	w := newWriter(t)
	for range 5 {
		w.upsert(`["a",1]`)
	}
	w.remove(4, manifest.ArchiveExt)
	w.remove(3, manifest.SignatureExt)
	l, err := w.inspector().List(context.Background(), w.places()[0], 3)
	fatal(t, err)
	if l.Older != 2 || len(l.Batches) != 3 || !errors.Is(l.Batches[0].Err, manifest.ErrRefused) || l.Batches[1].Archive || !l.Batches[2].Archive || l.Batches[2].Rows != 1 {
		t.Errorf("%+v", l)
	}
}

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		path, root, stream string
		only               int64
	}{
		{"/drop/ACME/down/0000000042", "/drop", "ACME/down", 42},
		{"/drop/ACME/down/0000000042.tar.zst", "/drop", "ACME/down", 42},
		{"/ACME/up/017/0000000042.manifest.json.sig", "/", "ACME/up/017", 42},
		{"/ACME/down/", "/", "ACME/down", 0},
		{"//a//ACME/up/017", "/a", "ACME/up/017", 0},
		{"/drop/ACME", "/drop/ACME", "", 0},
		{"/", "/", "", 0},
		{"", "/", "", 0},
		{"/0000000042", "/0000000042", "", 0},
		{"/drop/../../ACME/down", "/", "ACME/down", 0},
	} {
		if root, stream, only := inspect.Locate(c.path); root != c.root || stream != c.stream || only != c.only {
			t.Errorf("%s: %s %s %d", c.path, root, stream, only)
		}
	}
}
