package importer_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/importer"
	"caisseauto/internal/change"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// TestVectorsUp reads a till's good batches, base rows and a new epoch
// included.
func TestVectorsUp(t *testing.T) {
	db := &collector{}
	i := newCollect(t, db)
	if err := os.CopyFS(i.Inbox, os.DirFS(filepath.Join(vectors, "good/ACME/up/017"))); err != nil {
		t.Fatal(err)
	}
	i.Keep = false
	r, err := i.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.After.Sequence != 3 || r.After.Epoch != 2 || len(r.Batches) != 3 {
		t.Errorf("%+v", r)
	}
	want, err := os.ReadFile("testdata/vectors_up.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), strings.Join(db.lines, "\n")+"\n"); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if r.Head == nil || r.Head.Till == nil || r.Head.Till.Host != "caisse-3" || db.head == nil {
		t.Errorf("head %+v", r.Head)
	}
	if left, _ := filepath.Glob(filepath.Join(i.Inbox, "0*")); len(left) != 0 {
		t.Errorf("left in the inbox: %v", left)
	}
	again, err := i.Run(t.Context())
	if err != nil || len(again.Batches) != 0 {
		t.Errorf("a second run: %+v, %v", again, err)
	}
}

// Where a till's stream begins: with batch 1, or with the first batch of an
// epoch when nothing lower is there.
func TestFirstOfATill(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(w *till)
		after int64
		says  string
		wait  string
	}{
		{"nothing yet", func(*till) {}, 0, "", ""},
		{"batch 1", func(w *till) { w.seal(nil, upsertHead) }, 1, "", ""},
		{"both epochs", func(w *till) { w.seal(nil, upsertHead); w.seal(epoch(2, 2), upsertHead) }, 2, "", ""},
		{"a later epoch alone", func(w *till) { w.seal(epoch(2, 5), upsertHead); w.seal(nil, upsertHead) }, 6, "", ""},
		{"a later epoch, batch 1 on its way", func(w *till) {
			w.seal(epoch(2, 5), upsertHead)
			w.must(os.WriteFile(filepath.Join(w.inbox, "0000000001.tar.zst"), nil, 0o644))
		}, 0, "", "batch 1 has begun to arrive"},
		{"a later epoch on its way", func(w *till) {
			w.seal(epoch(2, 5), upsertHead)
			w.must(os.Remove(filepath.Join(w.inbox, "0000000005.tar.zst")))
		}, 0, "", "batch 5 has begun to arrive"},
		{"batch 1 is missing", func(w *till) {
			w.seal(nil, upsertHead)
			w.seal(nil, upsertHead)
			w.must(os.Remove(filepath.Join(w.inbox, "0000000001.tar.zst")))
			w.must(os.Remove(filepath.Join(w.inbox, "0000000001.manifest.json")))
			w.must(os.Remove(filepath.Join(w.inbox, "0000000001.manifest.json.sig")))
		}, 0, "batch 1 is not all there", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newCollect(t, &collector{})
			i.Now = nil
			c.make(newTill(t, i.Inbox))
			r, err := i.Run(t.Context())
			switch {
			case c.says == "" && err != nil, c.says != "" && (!errors.Is(err, importer.ErrRefused) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %q", err, c.says)
			case c.says != "" && strings.Contains(err.Error(), "import"):
				t.Errorf("%v: nobody imports here", err)
			case r.After.Sequence != c.after || !strings.HasPrefix(r.Waiting, c.wait) || (c.wait == "") != (r.Waiting == ""):
				t.Errorf("%+v", r)
			}
		})
	}
}

// A new epoch behind numbers that were given out and are lost: taken when the
// head says that the epoch is the newest, and nothing between is here.
func TestEpochBehindLostNumbers(t *testing.T) {
	db := &collector{}
	i := newCollect(t, db)
	w := newTill(t, i.Inbox)
	w.seal(nil, upsertHead)
	w.seal(epoch(2, 4), upsertHead+`["a","b"]`+"\n")
	if _, err := i.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "batch 2 is not all there") {
		t.Errorf("without a head: %v", err)
	}
	w.head(w.last)
	gap := filepath.Join(i.Inbox, "0000000003.tar.zst")
	if err := os.WriteFile(gap, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Run(t.Context()); err == nil || db.position.Sequence != 1 {
		t.Errorf("batch 3 on its way: %v", err)
	}
	if err := os.Remove(gap); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(i.Inbox, "0000000004.tar.zst")
	if err := os.Rename(archive, gap+".part"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Run(t.Context()); err == nil || db.position.Sequence != 1 {
		t.Errorf("batch 4 on its way: %v", err)
	}
	if err := os.Rename(gap+".part", archive); err != nil {
		t.Fatal(err)
	}
	r, err := i.Run(t.Context())
	if err != nil || r.After.Sequence != 4 || r.After.Epoch != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A new epoch at a number that was integrated: nothing can follow, and it is
// said.
func TestEpochBelow(t *testing.T) {
	i := newCollect(t, &collector{})
	i.Keep = false
	w := newTill(t, i.Inbox)
	w.seal(nil, upsertHead)
	w.seal(nil, upsertHead)
	if _, err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.head(w.seal(epoch(2, 2), upsertHead))
	if _, err := i.Run(t.Context()); !errors.Is(err, importer.ErrRefused) || errors.Is(err, importer.ErrFork) || !strings.Contains(err.Error(), "rule P6") {
		t.Errorf("%v", err)
	}
}

// Two tills from one image, or one restored: another batch of the last number,
// in the inbox or named by the head.
func TestFork(t *testing.T) {
	for _, c := range []struct {
		name string
		fork func(w *till, first *manifest.Manifest)
	}{
		{"another batch", func(w *till, first *manifest.Manifest) { w.last = nil; w.seal(nil, upsertHead+`["x","y"]`+"\n") }},
		{"a head that names it", func(w *till, first *manifest.Manifest) {
			w.seal(nil, upsertHead) // not to be applied: it is the other one's, or ours
			other := *first
			other.Incarnation = strings.Repeat("e", 32)
			w.head(&other)
		}},
		{"two heads of one issue", func(w *till, first *manifest.Manifest) {
			other := *first
			other.Sequence, other.Archive.Name, other.Previous = 2, "0000000002.tar.zst", strings.Repeat("a", 64)
			w.issue--
			w.head(&other)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := &collector{}
			i := newCollect(t, db)
			i.Keep = false
			w := newTill(t, i.Inbox)
			first := w.seal(nil, upsertHead)
			w.head(first)
			if _, err := i.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := db.position
			c.fork(w, first)
			_, err := i.Run(t.Context())
			if !errors.Is(err, importer.ErrFork) || !errors.Is(err, importer.ErrRefused) || !strings.Contains(err.Error(), "sync --new-epoch") {
				t.Errorf("%v", err)
			}
			if db.position != before || len(db.held) != 0 {
				t.Errorf("it stands at %v, was at %v; held %v", db.position, before, db.held)
			}
		})
	}
}

// Two heads of one issue are told, and what is chained is applied; a head that
// goes on is no fork.
func TestHeadsGoOn(t *testing.T) {
	db := &collector{}
	i := newCollect(t, db)
	w := newTill(t, i.Inbox)
	w.head(w.seal(nil, upsertHead))
	if _, err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.head(w.seal(nil, upsertHead))
	if r, err := i.Run(t.Context()); err != nil || r.After.Sequence != 2 || db.head.Sequence != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	w.issue--
	w.head(w.seal(nil, upsertHead))
	r, err := i.Run(t.Context())
	if !errors.Is(err, importer.ErrFork) || r.After.Sequence != 3 || db.head.Sequence != 2 {
		t.Errorf("%+v, %v, head %+v", r, err, db.head)
	}
}

// A stranger's file under the number that was applied says nothing of a fork.
func TestForkOfAStranger(t *testing.T) {
	i := newCollect(t, &collector{})
	w := newTill(t, i.Inbox)
	w.seal(nil, upsertHead)
	if _, err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.last = nil
	w.seal(nil, upsertHead+`["x","y"]`+"\n")
	if err := os.WriteFile(filepath.Join(i.Inbox, "0000000001.manifest.json.sig"), []byte("none"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// An authentic batch that cannot be applied is held, its files are kept, and
// what is behind it goes on.
func TestHold(t *testing.T) {
	row := `["a","b"]` + "\n"
	for _, c := range []struct {
		name    string
		spoil   func(*manifest.Manifest)
		members []string
		says    string
	}{
		{"a row that is none", nil, []string{upsertHead + "nonsense\n"}, "row 1"},
		{"a row too few values", nil, []string{upsertHead + `["a"]` + "\n"}, "row 1"},
		{"other columns", nil, []string{`{"table":"client","op":"upsert","columns":["code"]}` + "\n"}, "upsert rows of columns"},
		{"base after upsert", nil, []string{upsertHead + row, baseHead + row}, "after other rows"},
		{"base after delete", nil, []string{deleteHead + `["a"]` + "\n", baseHead + row}, "base rows after a delete"},
		{"base of other columns", nil, []string{`{"table":"client","op":"base","columns":["code"]}` + "\n"}, "base rows of columns"},
		{"upsert after delete", nil, []string{deleteHead + `["a"]` + "\n", upsertHead + row}, "upsert rows after a delete"},
		{"delete by other columns", nil, []string{`{"table":"client","op":"delete","columns":["nom"]}` + "\n"}, "a delete by"},
		{"patch by other columns", nil, []string{`{"table":"client","op":"patch","columns":["nom","code"]}` + "\n"}, "a patch by"},
		{"patch of nothing", nil, []string{`{"table":"client","op":"patch","columns":["code"]}` + "\n"}, "a patch by"},
		{"patch of an unknown column", nil, []string{`{"table":"client","op":"patch","columns":["code","age"]}` + "\n"}, `a patch of column "age"`},
		{"patch of the key", nil, []string{`{"table":"client","op":"patch","columns":["code","nom","k"]}` + "\n"}, `a patch of column "k"`},
		{"rows of another table", nil, []string{`{"table":"jet","op":"upsert","columns":["code","nom"]}` + "\n"}, `the manifest says "client"`},
		{"more rows than said", func(m *manifest.Manifest) { m.Members[0].Rows = 1 }, []string{upsertHead + row + row}, "2 rows, the manifest says 1"},
		{"another member than said", func(m *manifest.Manifest) { m.Members[0].SHA256 = strings.Repeat("a", 64) }, []string{upsertHead + row}, "SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := &collector{}
			i := newCollect(t, db)
			i.Keep = false
			i.Refetch = func(context.Context, int64) error { t.Error("fetched again, though it is what was signed"); return nil }
			w := newTill(t, i.Inbox)
			w.seal(c.spoil, c.members...)
			w.seal(nil, upsertHead+row)
			r, err := i.Run(t.Context())
			if err != nil || r.After.Sequence != 2 || len(r.Batches) != 2 {
				t.Fatalf("%+v, %v", r, err)
			}
			if b := r.Batches[0]; !b.Held || !strings.Contains(b.Reason, c.says) || len(db.held) != 1 || db.held[0] != b.Reason || b.Quarantined != b.Rows {
				t.Errorf("%+v; held %v, want %q", b, db.held, c.says)
			}
			if r.Batches[1].Held || len(db.lines) != 1 {
				t.Errorf("%+v, rows %v", r.Batches[1], db.lines)
			}
			var names []string
			kept, err := os.ReadDir(db.dir)
			for _, e := range kept {
				names = append(names, e.Name())
			}
			if err != nil || !slices.Equal(names, []string{"0000000001.manifest.json", "0000000001.manifest.json.sig", "0000000001.tar.zst"}) {
				t.Errorf("kept %v, %v", names, err)
			}
		})
	}
}

// What is not authentic is never held: the position stays, and nothing behind
// it is taken.
func TestNotHeld(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *till)
	}{
		{"archive changed on the way", func(w *till) { w.spoilFile("0000000001.tar.zst", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) }},
		{"archive cut", func(w *till) { w.spoilFile("0000000001.tar.zst", func(b []byte) []byte { return b[:len(b)-1] }) }},
		{"manifest changed", func(w *till) { w.spoilFile("0000000001.manifest.json", func(b []byte) []byte { b[50] ^= 1; return b }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := &collector{}
			i := newCollect(t, db)
			w := newTill(t, i.Inbox)
			w.seal(nil, upsertHead+"nonsense\n")
			w.seal(nil, upsertHead)
			c.spoil(w)
			r, err := i.Run(t.Context())
			if !errors.Is(err, importer.ErrRefused) || len(db.held) != 0 || !r.After.IsZero() {
				t.Errorf("%+v, %v, held %v", r, err, db.held)
			}
		})
	}
	t.Run("no one to hold it", func(t *testing.T) {
		db := &notebook{}
		i := newCollect(t, db)
		newTill(t, i.Inbox).seal(nil, upsertHead+"nonsense\n")
		if r, err := i.Run(t.Context()); !errors.Is(err, importer.ErrRefused) || !r.After.IsZero() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func (w *till) spoilFile(name string, spoil func([]byte) []byte) {
	path := filepath.Join(w.inbox, name)
	data, err := os.ReadFile(path)
	w.must(err)
	w.must(os.WriteFile(path, spoil(data), 0o644))
}

// A damaged copy is fetched again; what comes then may turn out to be unfit.
func TestRefetchThenHold(t *testing.T) {
	db := &collector{}
	i := newCollect(t, db)
	w := newTill(t, i.Inbox)
	w.seal(nil, upsertHead+"nonsense\n")
	names := []string{"0000000001.manifest.json", "0000000001.manifest.json.sig", "0000000001.tar.zst"}
	good := map[string][]byte{}
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(i.Inbox, n))
		w.must(err)
		good[n] = data
	}
	w.spoilFile("0000000001.tar.zst", func(b []byte) []byte { return b[:10] })
	i.Refetch = func(context.Context, int64) error {
		for n, data := range good {
			w.must(os.WriteFile(filepath.Join(i.Inbox, n), data, 0o644))
		}
		return nil
	}
	if r, err := i.Run(t.Context()); err != nil || r.After.Sequence != 1 || len(db.held) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A refuser's database refuses in Check or in Apply.
type refuser struct {
	collector
	check, apply error
}

func (r *refuser) Check(context.Context, *manifest.Manifest) error { return r.check }

func (r *refuser) Apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (importer.Applied, error) {
	if r.apply != nil {
		return importer.Applied{}, r.apply
	}
	return r.collector.Apply(ctx, m, p, rows)
}

// What the database refuses as data is held; a fault of the database is not.
func TestHoldWhatTheDatabaseRefuses(t *testing.T) {
	data, fault := errors.Join(errors.New("totals differ"), manifest.ErrRefused), fs.ErrPermission
	for _, c := range []struct {
		name         string
		check, apply error
		held         bool
	}{{"check", data, nil, true}, {"apply", nil, data, true}, {"check faults", fault, nil, false}, {"apply faults", nil, fault, false}} {
		t.Run(c.name, func(t *testing.T) {
			db := &refuser{check: c.check, apply: c.apply}
			i := newCollect(t, db)
			newTill(t, i.Inbox).seal(nil, upsertHead)
			r, err := i.Run(t.Context())
			if c.held && (err != nil || len(db.held) != 1 || r.After.Sequence != 1) || !c.held && (!errors.Is(err, fault) || len(db.held) != 0 || !r.After.IsZero()) {
				t.Errorf("%+v, %v, held %v", r, err, db.held)
			}
		})
	}
}

// In the stream down nothing is held: a bad reference batch changes nothing.
func TestNothingHeldInTheStreamDown(t *testing.T) {
	db := &refuser{apply: errors.Join(errors.New("no such table"), manifest.ErrRefused)}
	if r, err := newImporter(t, db).Run(t.Context()); !errors.Is(err, db.apply) || len(db.held) != 0 || !r.After.IsZero() {
		t.Errorf("%+v, %v, held %v", r, err, db.held)
	}
}

// A base is for tills; in the stream down it is refused. So are a till's
// batches in the inbox of the stream down.
func TestBaseInTheStreamDown(t *testing.T) {
	i := newImporter(t, &notebook{})
	w := newTill(t, i.Inbox)
	m := w.seal(nil, baseHead)
	if m.Stream != upStream {
		t.Fatal(m.Stream)
	}
	if _, err := i.Run(t.Context()); !errors.Is(err, importer.ErrRefused) {
		t.Errorf("a till's batch in the stream down: %v", err)
	}

	server := newTill(t, filepath.Join(t.TempDir()))
	i = newImporter(t, &notebook{})
	server.inbox = i.Inbox
	path := filepath.Join(vectors, "keys/server")
	data, err := os.ReadFile(path)
	server.must(err)
	server.signer, err = keys.ParsePrivate(path, data, nil)
	server.must(err)
	for n := int64(2); n < 6; n++ {
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			server.must(os.Remove(filepath.Join(i.Inbox, manifest.FileName(n, ext))))
		}
	}
	server.must(os.Remove(filepath.Join(i.Inbox, manifest.HeadName)))
	first, _, err := openVector(i, 1)
	server.must(err)
	server.last = first
	server.seal(func(m *manifest.Manifest) { m.Stream, m.Signer, m.Incarnation = "ACME/down", "server@acme", "" }, baseHead)
	if r, err := i.Run(t.Context()); !errors.Is(err, importer.ErrRefused) || !strings.Contains(err.Error(), "which only a till sends") || r.After.Sequence != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A till may be off line for weeks: its head expires, and nothing is wrong.
func TestExpiredHeadOfATill(t *testing.T) {
	i := newCollect(t, &collector{})
	w := newTill(t, i.Inbox)
	w.head(w.seal(nil, upsertHead))
	i.Now = func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }
	r, err := i.Run(t.Context())
	if err != nil || r.After.Sequence != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The wrappers for commands, which see no manifest.
func TestReceiptWrappers(t *testing.T) {
	i := newImporter(t, &notebook{})
	name := importer.ReceiptName("017")
	doc, err := os.ReadFile(filepath.Join(vectors, "good/ACME/receipts", name))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := os.ReadFile(filepath.Join(vectors, "good/ACME/receipts", name+importer.ReceiptSignatureTail))
	if err != nil {
		t.Fatal(err)
	}
	r, err := importer.OpenReceipt(name, importer.StreamUp("ACME", "017"), doc, sig, i.Trust)
	if err != nil || r.Sequence != 2 || r.Integrated != 1236 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := importer.OpenReceipt(name, importer.StreamUp("ACME", "018"), doc, sig, i.Trust); !errors.Is(err, importer.ErrRefused) {
		t.Errorf("another till's: %v", err)
	}
}
