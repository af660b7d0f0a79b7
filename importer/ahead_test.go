package importer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	w.signer, err = keys.ParsePrivate(path, data, nil)
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

// A recorder is a notebook that can record a baseline without its rows.
type recorder struct {
	notebook
	needs bool
}

func (r *recorder) NeedsRows(context.Context, string) (bool, error) { return r.needs, nil }

func (r *recorder) Record(_ context.Context, m *manifest.Manifest, p manifest.Position) error {
	r.position = p
	r.lines = append(r.lines, fmt.Sprintf("%d recorded", m.Sequence))
	return nil
}

// unchanged seals a baseline whose rows are those that were there before.
func (w *till) unchanged(rows ...string) {
	w.t.Helper()
	w.seal(func(m *manifest.Manifest) {
		m.Stream, m.Signer, m.Incarnation, m.Kind, m.Unchanged = "ACME/down", "server@acme", "", manifest.Baseline, true
		m.Tables[0].Scope = manifest.Whole
	}, upsertHead+strings.Join(rows, "\n")+"\n")
}

// Deltas or baseline: whichever is fewer bytes. A baseline that is unchanged
// since the batch before it is not read by who has that.
func TestFewerBytes(t *testing.T) {
	large := func() (rows []string) {
		for n := range 500 {
			rows = append(rows, fmt.Sprintf(`["K%03d","%x"]`, n, sha256.Sum256([]byte{byte(n), byte(n >> 8)})))
		}
		return rows
	}()
	deltas := []string{`2 upsert client ["C1","two"]`, `3 upsert client ["C3","three"]`, `4 recorded`, `5 upsert client ["C2","five"]`}
	baseline := []string{`4 upsert client ["C1","four"]`, `5 upsert client ["C2","five"]`}
	for _, tt := range []struct {
		name         string
		rows2, rows4 []string
		spoil        func(w *till)
		until, needs bool
		want         []string
	}{
		{name: "small deltas", rows4: large, want: deltas},
		{name: "the baseline's archive was not even fetched", rows4: large, spoil: func(w *till) { w.remove(4, manifest.ArchiveExt) }, want: deltas},
		{name: "large deltas", rows2: large, rows4: []string{`["C1","four"]`}, want: baseline},
		{name: "a delta is gone", rows4: []string{`["C1","four"]`}, spoil: func(w *till) { w.remove(3, manifest.ArchiveExt) }, want: baseline},
		{name: "rows are needed", rows4: []string{`["C1","four"]`}, needs: true, want: baseline},
		{name: "up to date", rows4: large, spoil: func(w *till) { w.remove(4, manifest.ArchiveExt) }, until: true, want: deltas[2:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, w, _ := newDown(t)
			db := &recorder{notebook: *i.Applier.(*notebook)}
			i.Applier, db.needs = db, tt.needs
			if tt.rows2 == nil {
				tt.rows2 = []string{`["C1","two"]`}
			}
			w.down(manifest.Delta, tt.rows2...)
			w.down(manifest.Delta, `["C3","three"]`)
			if tt.until {
				if r, err := i.Run(t.Context()); err != nil || r.After.Sequence != 3 {
					t.Fatalf("%+v, %v", r, err)
				}
				db.lines = nil
			}
			w.unchanged(tt.rows4...)
			w.down(manifest.Delta, `["C2","five"]`)
			if tt.spoil != nil {
				tt.spoil(w)
			}
			r, err := i.Run(t.Context())
			if err != nil || r.After.Sequence != 5 {
				t.Fatalf("%+v, %v", r, err)
			}
			if d := cmp.Diff(tt.want, db.lines); d != "" {
				t.Error(d)
			}
		})
	}
}

// An unchanged baseline that follows another batch than the one that was
// applied is a fork, and not recorded.
func TestUnchangedSinceSomethingElse(t *testing.T) {
	i, w, _ := newDown(t)
	db := &recorder{notebook: *i.Applier.(*notebook)}
	i.Applier = db
	w.down(manifest.Delta, `["C1","two"]`)
	if _, err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.lines = nil
	w.seal(func(m *manifest.Manifest) {
		m.Stream, m.Signer, m.Incarnation, m.Kind, m.Unchanged = "ACME/down", "server@acme", "", manifest.Baseline, true
		m.Previous = strings.Repeat("ab", 32)
		m.Tables[0].Scope = manifest.Whole
	}, upsertHead+`["C1","x"]`+"\n")
	r, err := i.Run(t.Context())
	if !errors.Is(err, importer.ErrRefused) || r.After.Sequence != 2 || db.lines != nil {
		t.Errorf("%+v, %v, %v", r, err, db.lines)
	}
}
