package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// TestApplyWhilePOSWrites applies batches while another connection sells.
// Nothing of either side may be lost, and the POS is never told "locked".
func TestApplyWhilePOSWrites(t *testing.T) {
	till, p := filled(t, "CREATE TABLE ticket(id INTEGER PRIMARY KEY, article INTEGER REFERENCES article(id));")
	pos := openPlain(t, till.conn.Path())
	ctx, stop := context.WithCancel(t.Context())
	sold := make(chan error, 1)
	tickets := 0
	go func() {
		for ctx.Err() == nil {
			if err := pos.Run("INSERT INTO ticket(article) VALUES(1)"); err != nil {
				sold <- err
				return
			}
			tickets++
			time.Sleep(time.Millisecond)
		}
		sold <- nil
	}()
	for i := range 30 {
		b := articles(p, manifest.Changes)
		b.rows("article", change.Upsert, articleColumns, []any{1, "A", "111", "apple", i, 1}, []any{2, "B", "222", fmt.Sprint("bread ", i), 200, 1})
		if _, err := b.apply(till); err != nil {
			t.Fatal(err)
		}
		p = b.p
	}
	stop()
	if err := <-sold; err != nil {
		t.Fatal(err)
	}
	if s, want := queryText(t, till.conn, "SELECT (SELECT count(*) FROM ticket), price FROM article WHERE id=1"), fmt.Sprintf("%d,29", tickets); s != want || tickets == 0 {
		t.Errorf("%s, want %s", s, want)
	}
}

// TestApplyPOSWritesInBetween has the POS write between the comparison and
// the lock: its change of a row that the batch leaves as it was stays, as if
// it had come after the batch.
func TestApplyPOSWritesInBetween(t *testing.T) {
	till, p := filled(t, "")
	pos := openPlain(t, till.conn.Path())
	till.hook = func(place string) {
		if place != "prepared" {
			return
		}
		if err := pos.Exec("UPDATE article SET price=1 WHERE id=2; INSERT INTO article(id,code) VALUES(9,'LOCAL')"); err != nil {
			t.Error(err)
		}
	}
	b := articles(p, manifest.Whole)
	b.m.Kind = manifest.Baseline
	b.rows("category", change.Upsert, []string{"id", "name", "best"}, []any{1, "food", 2}, []any{2, "drink", nil})
	b.rows("article", change.Upsert, articleColumns, []any{1, "A", "111", "apple", 150, 1}, []any{2, "B", "222", "bread", 200, 1})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, till.conn, "SELECT id, price FROM article ORDER BY id"); s != "1,150;2,1;9,NULL" {
		t.Error(s)
	}
}

func TestApplyBusy(t *testing.T) {
	till, p := filled(t, "")
	till.o.BusyTimeout = 50 * time.Millisecond
	pos := openPlain(t, till.conn.Path())
	if err := pos.Exec("BEGIN IMMEDIATE; UPDATE article SET price=7"); err != nil {
		t.Fatal(err)
	}
	b := articles(p, manifest.Changes)
	b.rows("article", change.Patch, []string{"id", "price"}, []any{1, 1})
	if _, err := b.apply(till); !errors.Is(err, database.ErrBusy) || errors.Is(err, manifest.ErrRefused) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	till.o.BusyTimeout = time.Minute
	if _, err := till.Apply(ctx, b.m, b.p, b.reader()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := pos.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.apply(till); err != nil {
		t.Error(err)
	}
}

// TestApplyJournalMode: a database with a rollback journal keeps it.
func TestApplyJournalMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "till.db")
	c := openPlain(t, path)
	if err := c.Exec("PRAGMA journal_mode=DELETE;" + articleSchema); err != nil {
		t.Fatal(err)
	}
	till := openTill(t, path, TillOptions{})
	b := articles(manifest.Position{}, manifest.Whole)
	b.rows("category", change.Upsert, []string{"id", "name", "best"}, []any{1, "food", nil})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, c, "PRAGMA journal_mode"); s != "'delete'" {
		t.Error(s)
	}
	if s := queryText(t, c, "SELECT name FROM category"); s != "'food'" {
		t.Error(s)
	}
}

// TestApplyTriggerIgnores: a row that a trigger swallows is a refusal, not a
// silent difference.
func TestApplyTriggerIgnores(t *testing.T) {
	till, p := filled(t, `CREATE TRIGGER keep BEFORE UPDATE ON article WHEN new.price > 1000 BEGIN SELECT RAISE(IGNORE); END;
		CREATE TRIGGER keep_new BEFORE INSERT ON article WHEN new.price > 1000 BEGIN SELECT RAISE(IGNORE); END;`)
	for _, op := range []func(*testBatch){
		func(b *testBatch) { b.rows("article", change.Patch, []string{"id", "price"}, []any{1, 2000}) },
		func(b *testBatch) {
			b.rows("article", change.Upsert, articleColumns, []any{1, "A", "111", "apple", 2000, 1})
		},
		func(b *testBatch) {
			b.rows("article", change.Upsert, articleColumns, []any{8, "H", nil, "ham", 2000, 1})
		},
	} {
		b := articles(p, manifest.Changes)
		op(b)
		if _, err := b.apply(till); !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "trigger") {
			t.Errorf("%v", err)
		}
	}
}

func TestOpenTillErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenTill(filepath.Join(dir, "none.db"), TillOptions{}); err == nil || !strings.Contains(err.Error(), "none.db") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a database was made")
	}
	path := filepath.Join(dir, "text.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is not a database\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	till, err := OpenTill(path, TillOptions{})
	if err == nil {
		_, err = till.Position(t.Context(), testStream)
		till.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "text.db") {
		t.Error(err)
	}
	till = newTill(t, articleSchema, TillOptions{})
	if err := till.conn.Exec("DROP TABLE caisseauto_ledger"); err != nil {
		t.Fatal(err)
	}
	b := articles(manifest.Position{}, manifest.Whole)
	if _, err := b.apply(till); err == nil || !strings.Contains(err.Error(), "init till") {
		t.Error(err)
	}
}

// TestApplyDiskFull applies a batch that does not fit on its disk.
func TestApplyDiskFull(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("needs root, to mount a small disk")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "caisseauto-test", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Logf("umount: %s", out)
		}
	})
	path := filepath.Join(dir, "till.db")
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("PRAGMA journal_mode=WAL;" + articleSchema); err != nil {
		t.Fatal(err)
	}
	c.Close()
	till, err := OpenTill(path, TillOptions{StageDir: t.TempDir(), CacheKiB: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	if err := till.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	small := articles(manifest.Position{}, manifest.Whole)
	small.rows("article", change.Upsert, articleColumns, []any{1, "A", nil, "apple", 1, nil})
	if _, err := small.apply(till); err != nil {
		t.Fatal(err)
	}
	before := dumpLive(t, till.conn)
	b := articles(small.p, manifest.Changes)
	var rows [][]any
	for i := range 5000 {
		rows = append(rows, []any{i, fmt.Sprint("X", i), nil, strings.Repeat("long ", 300), 1, nil})
	}
	b.rows("article", change.Upsert, articleColumns, rows...)
	if _, err := b.apply(till); !errors.Is(err, database.ErrNoSpace) {
		t.Fatalf("%v", err)
	}
	if d := diffLines(before, dumpLive(t, till.conn)); d != "" {
		t.Error(d)
	}
	if s := queryText(t, till.conn, "PRAGMA integrity_check"); s != "'ok'" {
		t.Error(s)
	}
	// The stage's own disk can be full too.
	till2 := newTill(t, articleSchema, TillOptions{StageDir: dir})
	if _, err := small.apply(till2); err != nil {
		t.Fatal(err)
	}
	b.rows("article", change.Upsert, articleColumns, rows...)
	b.rows("article", change.Upsert, articleColumns, rows...)
	if _, err := b.apply(till2); !errors.Is(err, database.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	if paths, _ := filepath.Glob(filepath.Join(dir, stagePattern)); len(paths) != 0 {
		t.Errorf("left: %q", paths)
	}
}
