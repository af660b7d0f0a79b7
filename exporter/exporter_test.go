package exporter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/exporter"
	"caisseauto/internal/database"
	"caisseauto/internal/durable"
	"caisseauto/internal/sqlite"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// errCrash stands for the death of the process at one step of the source.
var errCrash = errors.New("crash")

// A fragile source dies before or after a step, once.
type fragile struct {
	exporter.Source
	at string
}

func (f *fragile) step(name string, do func() error) error {
	if f.at == "before "+name {
		f.at = ""
		return errCrash
	}
	if err := do(); err != nil {
		return err
	}
	if f.at == "after "+name {
		f.at = ""
		return errCrash
	}
	return nil
}

func (f *fragile) Reserve(ctx context.Context, stream string, p manifest.Pending) error {
	return f.step("reserve", func() error { return f.Source.Reserve(ctx, stream, p) })
}

func (f *fragile) Publish(ctx context.Context, stream string, p manifest.Pending) error {
	return f.step("publish", func() error { return f.Source.Publish(ctx, stream, p) })
}

// articles is what the test's database carries.
func articles() *sqlite.Capture {
	return sqlite.NewCapture(map[string]database.SourceConfig{"ACME/down": {Tables: []database.TableConfig{{Name: "article"}}}})
}

func newExporter(t *testing.T) (*exporter.Exporter, string) {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "erp.db")
	change(db, "CREATE TABLE article(code TEXT PRIMARY KEY NOT NULL, price INTEGER); INSERT INTO article VALUES('A',1),('B',2)")
	capture := articles()
	if err := capture.Install(t.Context(), db, sqlite.SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	pub, err := keys.Generate(filepath.Join(dir, "key"), "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.Load(filepath.Join(dir, "key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedLine([]string{"server@acme"}, nil, pub, "")))
	if err != nil {
		t.Fatal(err)
	}
	return &exporter.Exporter{Source: sqlite.NewSource(db, capture, sqlite.SourceOptions{}), Stream: "ACME/down",
		Outbox: filepath.Join(dir, "outbox"), Signer: signer, Principal: "server@acme", Trust: trust}, db
}

// TestCrashAtEachStep: after a crash at any step, and another change of the
// rows, the number that was promised has the content that was promised.
func TestCrashAtEachStep(t *testing.T) {
	for _, c := range []struct {
		at       string
		promised bool // the crash came after the number was taken
	}{{"before reserve", false}, {"after reserve", true}, {"before publish", true}, {"after publish", true}} {
		t.Run(c.at, func(t *testing.T) {
			e, db := newExporter(t)
			e.Source = &fragile{Source: e.Source, at: c.at}
			if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, errCrash) {
				t.Fatalf("no crash: %v", err)
			}
			first := published(t, e)
			stand, err := e.Source.Stand(t.Context(), e.Stream)
			if err != nil {
				t.Fatal(err)
			}
			if got := stand.Pending != nil || !stand.Last.IsZero(); got != c.promised {
				t.Errorf("the number is taken: %t", got)
			}
			change(db, "INSERT INTO article VALUES('C',3)")
			r, err := e.Run(t.Context(), exporter.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := int64(1)
			if c.promised {
				want = 2
			}
			if r.Position.Sequence != want {
				t.Errorf("the stream is at %d, want %d", r.Position.Sequence, want)
			}
			now := published(t, e)
			for name, data := range first {
				if d := cmp.Diff(data, now[name]); d != "" {
					t.Errorf("%s has changed:\n%s", name, d)
				}
			}
			if stand.Pending != nil && manifest.Digest([]byte(now["0000000001.manifest.json"])) != stand.Pending.Digest {
				t.Error("number 1 has not the content that was promised")
			}
		})
	}
}

// published returns the batches' files in the outbox.
func published(t *testing.T, e *exporter.Exporter) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(e.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, _, ok := manifest.ParseFileName(entry.Name()); !ok {
			continue
		}
		data, err := os.ReadFile(filepath.Join(e.Outbox, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(data)
	}
	return files
}

// TestLostBatch: a promised batch whose bytes are gone or altered stops the
// stream until an operator begins a new epoch.
func TestLostBatch(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(staging string) error
	}{
		{"staging removed", os.RemoveAll},
		{"archive removed", func(s string) error { return os.Remove(filepath.Join(s, "0000000001.tar.zst")) }},
		{"manifest altered", func(s string) error {
			return os.WriteFile(filepath.Join(s, "0000000001.manifest.json"), []byte("{}"), 0o644)
		}},
		{"archive altered", func(s string) error {
			return os.WriteFile(filepath.Join(s, "0000000001.tar.zst"), []byte("x"), 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := newExporter(t)
			e.Source = &fragile{Source: e.Source, at: "after reserve"}
			if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, errCrash) {
				t.Fatalf("no crash: %v", err)
			}
			if err := c.do(filepath.Join(e.Outbox, ".staging")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, exporter.ErrLost) {
					t.Fatalf("want ErrLost: %v", err)
				}
			}
			r, err := e.Run(t.Context(), exporter.Options{NewEpoch: "the disk was damaged"})
			if err != nil {
				t.Fatal(err)
			}
			if r.Position.Sequence != 2 || r.Position.Epoch != 2 || r.Kind != manifest.Baseline {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestAhead: a database restored from a backup, or a second server, never
// gives a number out again.
func TestAhead(t *testing.T) {
	e, db := newExporter(t)
	backup, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), exporter.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(db, backup, 0o644); err != nil {
		t.Fatal(err)
	}
	before := published(t, e)
	if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, exporter.ErrAhead) {
		t.Fatalf("want ErrAhead: %v", err)
	}
	if d := cmp.Diff(before, published(t, e)); d != "" {
		t.Error(d)
	}
	e.Outbox += "-lost"
	if _, err := e.Run(t.Context(), exporter.Options{Seen: 1}); !errors.Is(err, exporter.ErrAhead) {
		t.Fatalf("want ErrAhead: %v", err)
	}
}

// TestLostOutbox: without the outbox and without a look at the drop nobody can
// say whether a number was given out before.
func TestLostOutbox(t *testing.T) {
	e, db := newExporter(t)
	if _, err := e.Run(t.Context(), exporter.Options{}); err != nil {
		t.Fatal(err)
	}
	change(db, "INSERT INTO article VALUES('C',3)")
	e.Outbox += "-lost"
	if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, exporter.ErrLost) {
		t.Fatalf("want ErrLost: %v", err)
	}
	r, err := e.Run(t.Context(), exporter.Options{Seen: 1, Oldest: 1})
	if err != nil || r.Position.Sequence != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	head, err := os.ReadFile(filepath.Join(e.Outbox, manifest.HeadName))
	if err != nil || !strings.Contains(string(head), `"oldest": 1,`) {
		t.Errorf("the head does not name batch 1, which is on the drop: %s, %v", head, err)
	}
}

// TestNewEpochOfAnEmptyDatabase: a database that was made anew knows neither
// the numbers nor the epochs that were given out before.
func TestNewEpochOfAnEmptyDatabase(t *testing.T) {
	for _, c := range []struct {
		name string
		lost bool // the outbox too: only the drop tells
		o    exporter.Options
	}{
		{"by the outbox", false, exporter.Options{NewEpoch: "made anew"}},
		{"by the drop", true, exporter.Options{NewEpoch: "made anew", Seen: 2, SeenHead: manifest.Position{Epoch: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := newExporter(t)
			for _, o := range []exporter.Options{{}, {NewEpoch: "a first disaster"}} {
				if _, err := e.Run(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			fresh, _ := newExporter(t)
			e.Source = fresh.Source
			if c.lost {
				e.Outbox += "-lost"
			}
			r, err := e.Run(t.Context(), c.o)
			if err != nil || r.Position.Epoch != 3 || r.Position.Sequence != 3 {
				t.Errorf("%+v, %v; want batch 3 of epoch 3", r.Position, err)
			}
		})
	}
}

// TestOneAtATime: a second export of the stream is told so.
func TestOneAtATime(t *testing.T) {
	e, _ := newExporter(t)
	if err := os.MkdirAll(e.Outbox, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := durable.Lock(filepath.Join(e.Outbox, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()
	if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("want ErrLocked: %v", err)
	}
}

// TestWrongKey: a key that readers would not accept takes no number.
func TestWrongKey(t *testing.T) {
	e, _ := newExporter(t)
	other := filepath.Join(t.TempDir(), "other")
	if _, err := keys.Generate(other, ""); err != nil {
		t.Fatal(err)
	}
	signer, err := keys.Load(other, nil)
	if err != nil {
		t.Fatal(err)
	}
	mine := e.Signer
	e.Signer = signer
	if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, exporter.ErrKey) {
		t.Errorf("another key: %v", err)
	}
	e.Signer, e.Principal = mine, "server@other"
	if _, err := e.Run(t.Context(), exporter.Options{}); !errors.Is(err, exporter.ErrKey) {
		t.Errorf("another principal: %v", err)
	}
	if _, err := os.Stat(e.Outbox); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the outbox was made: %v", err)
	}
}
