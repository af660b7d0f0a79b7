package importer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/importer"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// newDown is an Importer of the stream down and its writer: batch 1 is a
// baseline, and is applied.
func newDown(t *testing.T) (*importer.Importer, *till, *notebook) {
	t.Helper()
	db := &notebook{}
	i := newImporter(t, db)
	i.Inbox = filepath.Join(t.TempDir(), "down")
	w := newTill(t, i.Inbox)
	w.must(os.Mkdir(i.Inbox, 0o755))
	path := filepath.Join(vectors, "keys/server")
	data, err := os.ReadFile(path)
	w.must(err)
	w.signer, err = keys.ParsePrivate(path, data)
	w.must(err)
	w.down(manifest.Baseline, `["C1","one"]`)
	r, err := i.Run(t.Context())
	if err != nil || r.After.Sequence != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	i.Now, db.lines = nil, nil
	return i, w, db
}

// down seals the next batch of the stream down.
func (w *till) down(kind manifest.Kind, rows ...string) *manifest.Manifest {
	w.t.Helper()
	return w.seal(func(m *manifest.Manifest) {
		m.Stream, m.Signer, m.Incarnation, m.Kind = "ACME/down", "server@acme", "", kind
		if kind == manifest.Baseline {
			m.Tables = []manifest.Table{clientTable}
			m.Tables[0].Scope = manifest.Whole
		}
	}, upsertHead+strings.Join(rows, "\n")+"\n")
}

func (w *till) remove(n int64, exts ...string) {
	w.t.Helper()
	for _, ext := range exts {
		w.must(os.Remove(filepath.Join(w.inbox, manifest.FileName(n, ext))))
	}
}

// A till that was away goes on from the newest baseline ahead of it, whether
// or not what lies between is still there.
func TestAheadFromABaseline(t *testing.T) {
	want := []string{`4 upsert client ["C1","four"]`, `5 upsert client ["C2","five"]`}
	for _, tt := range []struct {
		name  string
		spoil func(w *till)
	}{
		{"all is there", func(*till) {}},
		{"archives were removed after their retention", func(w *till) { w.remove(2, manifest.ArchiveExt); w.remove(3, manifest.ArchiveExt) }},
		{"nothing of them is there", func(w *till) {
			for n := int64(2); n < 4; n++ {
				w.remove(n, manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt)
			}
		}},
		{"and what is left of them is forged", func(w *till) {
			w.spoilFile(manifest.FileName(2, manifest.ManifestExt), func(b []byte) []byte { return b[1:] })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, w, db := newDown(t)
			w.down(manifest.Delta, `["C1","two"]`)
			w.down(manifest.Delta, `["C3","three"]`)
			w.down(manifest.Baseline, `["C1","four"]`)
			w.down(manifest.Delta, `["C2","five"]`)
			tt.spoil(w)
			r, err := i.Run(t.Context())
			if err != nil || r.After.Sequence != 5 {
				t.Fatalf("%+v, %v", r, err)
			}
			if d := cmp.Diff(want, db.lines); d != "" {
				t.Error(d)
			}
		})
	}
}

// Where the baseline is not all there, or not to be believed, the deltas are
// applied; nothing is skipped for something that cannot be applied.
func TestNotAheadFromABadBaseline(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(w *till)
		err   error
	}{
		{"no archive yet", func(w *till) { w.remove(4, manifest.ArchiveExt) }, nil},
		{"of a stranger", func(w *till) {
			w.spoilFile(manifest.FileName(4, manifest.ManifestExt), func(b []byte) []byte { return append(b, '\n') })
		}, importer.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, w, db := newDown(t)
			w.down(manifest.Delta, `["C1","two"]`)
			w.down(manifest.Delta, `["C3","three"]`)
			w.down(manifest.Baseline, `["C1","four"]`)
			tt.spoil(w)
			r, err := i.Run(t.Context())
			if !errors.Is(err, tt.err) || r.After.Sequence != 3 {
				t.Fatalf("%+v, %v", r, err)
			}
			if d := cmp.Diff([]string{`2 upsert client ["C1","two"]`, `3 upsert client ["C3","three"]`}, db.lines); d != "" {
				t.Error(d)
			}
		})
	}
}

// A delta is never skipped, nor is a baseline gone back to.
func TestAheadIsForBaselinesAlone(t *testing.T) {
	i, w, db := newDown(t)
	w.down(manifest.Delta, `["C1","two"]`)
	w.down(manifest.Delta, `["C3","three"]`)
	w.remove(2, manifest.ArchiveExt)
	i.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	r, err := i.Run(t.Context())
	if !errors.Is(err, importer.ErrRefused) || r.After.Sequence != 1 || db.lines != nil {
		t.Errorf("%+v, %v, %v", r, err, db.lines)
	}
}

// The first baseline of a newer epoch may be gone too.
func TestAheadIntoANewerEpoch(t *testing.T) {
	i, w, db := newDown(t)
	w.seal(func(m *manifest.Manifest) {
		m.Stream, m.Signer, m.Incarnation, m.Kind = "ACME/down", "server@acme", "", manifest.Baseline
		m.Epoch, m.Sequence, m.Previous = 2, 7, manifest.NoPrevious()
		m.Tables[0].Scope = manifest.Whole
	}, upsertHead+`["C1","seven"]`+"\n")
	w.down(manifest.Delta, `["C1","eight"]`)
	w.down(manifest.Baseline, `["C1","nine"]`)
	w.remove(7, manifest.ArchiveExt)
	r, err := i.Run(t.Context())
	if err != nil || r.After.Sequence != 9 || r.After.Epoch != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if d := cmp.Diff([]string{`9 upsert client ["C1","nine"]`}, db.lines); d != "" {
		t.Error(d)
	}
}
