package sqlite

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A srcHook is a sink that does something at a row.
type srcHook struct {
	*srcModel
	at int
	do func()
}

func (h *srcHook) Row(line []byte) error {
	err := h.srcModel.Row(line)
	if h.Rows == h.at {
		h.do()
	}
	return err
}

// TestSnapshot: what another connection, and another process, write while the
// rows are read comes with the next batch, whole.
func TestSnapshot(t *testing.T) {
	db := newSrcDB(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, v, pad); CREATE TABLE u(id INTEGER PRIMARY KEY, v);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t SELECT i, i, hex(randomblob(100)) FROM n; INSERT INTO u SELECT id, v FROM t`)
	config := []database.TableConfig{{Name: "t"}, {Name: "u"}}
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: config}})["A/down"]
	s.export(false)
	for round, full := range []bool{false, true, false} {
		db.do("UPDATE t SET v=v+1; UPDATE u SET v=v+1")
		before := map[string][]string{"t": db.lines(config[0]), "u": db.lines(config[1])}
		s.model.Begin()
		x, err := s.Read(context.Background(), s.name, full, &srcHook{s.model, 1500, func() {
			db.do("UPDATE t SET v=-v; DELETE FROM t WHERE id%2=0; INSERT INTO u SELECT 10000+id, v FROM t; DELETE FROM u WHERE id<5")
			srcOtherProcess(t, db.path, "UPDATE u SET v='other process' WHERE id=7; DELETE FROM t WHERE id=2999")
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.model.End(x)
		for name, want := range before {
			if got := s.model.Lines(name); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("round %d, table %s: the batch is not what stood there when it began", round, name)
			}
		}
		s.publish(x)
		s.export(false)
		s.check(config)
		db.do("DELETE FROM u WHERE id>9000; INSERT OR IGNORE INTO t SELECT id, v, 1 FROM u")
		s.export(false)
	}
}

// srcOtherProcess runs SQL in this test binary, started again.
func srcOtherProcess(t *testing.T, path, sql string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestOtherProcess$")
	c.Env = append(os.Environ(), "CAISSEAUTO_TEST_DB="+path, "CAISSEAUTO_TEST_SQL="+sql)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}

// TestOtherProcess is what srcOtherProcess starts.
func TestOtherProcess(t *testing.T) {
	path := os.Getenv("CAISSEAUTO_TEST_DB")
	if path == "" {
		t.Skip("only started by other tests")
	}
	c, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.BusyTimeout(5 * time.Second)
	if err := c.Exec(os.Getenv("CAISSEAUTO_TEST_SQL")); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CAISSEAUTO_TEST_DIE") != "" {
		os.Exit(0) // with its transaction open
	}
}

// TestJournalModes: nothing depends on the journal mode, and none is changed.
func TestJournalModes(t *testing.T) {
	for _, mode := range []string{"wal", "delete", "truncate", "persist"} {
		db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
		db.do("PRAGMA journal_mode=" + mode)
		config := []database.TableConfig{{Name: "t"}}
		s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: config}})["A/down"]
		s.export(false)
		db.do("INSERT INTO t VALUES(1,1)")
		s.export(false)
		s.check(config)
		if got := db.text("PRAGMA journal_mode"); got != mode {
			t.Errorf("journal mode is %s, was %s", got, mode)
		}
	}
}

// TestHotJournal: the ERP died in a transaction. A read-only connection cannot
// roll it back, and the export must not stop for that.
func TestHotJournal(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,1)")
	db.do("PRAGMA journal_mode=delete")
	config := []database.TableConfig{{Name: "t"}}
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: config}})["A/down"]
	t.Setenv("CAISSEAUTO_TEST_DIE", "1")
	srcOtherProcess(t, db.path, `PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; UPDATE t SET v=666;
		WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<5000) INSERT INTO t SELECT i, hex(randomblob(200)) FROM n`)
	if i, err := os.Stat(db.path + "-journal"); err != nil || i.Size() == 0 {
		t.Fatal("no hot journal to test with:", err)
	}
	err := s.read(context.Background(), func(c *sqlite3.Conn) error {
		if !c.InTransaction() {
			t.Error("reading without a snapshot")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.export(false)
	s.check(config)
	if n := len(s.model.Lines("t")); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// TestBusy: a database that stays locked is database.ErrBusy, and nothing was changed.
func TestBusy(t *testing.T) {
	ctx := context.Background()
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "t"}}}})
	short := SourceOptions{BusyTimeout: 20 * time.Millisecond}
	db.do("BEGIN IMMEDIATE")
	if err := c.Install(ctx, db.path, short); !errors.Is(err, database.ErrBusy) {
		t.Error(err)
	}
	db.do("COMMIT")
	if err := c.Install(ctx, db.path, short); err != nil {
		t.Fatal(err)
	}
	s := NewSource(db.path, c, short)
	db.do("BEGIN IMMEDIATE; INSERT INTO t VALUES(1,1)")
	x, err := s.Read(ctx, "A/down", false, &srcCounter{}) // readers do not wait in WAL mode
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(ctx, "A/down", srcPending(1, 1, "d", x)); !errors.Is(err, database.ErrBusy) {
		t.Error(err)
	}
	db.do("ROLLBACK; PRAGMA journal_mode=delete; BEGIN EXCLUSIVE")
	if _, err := s.Read(ctx, "A/down", false, &srcCounter{}); !errors.Is(err, database.ErrBusy) {
		t.Error(err)
	}
	if _, err := s.Stand(ctx, "A/down"); !errors.Is(err, database.ErrBusy) {
		t.Error(err)
	}
}

type srcFailing struct{ srcCounter }

var errSrcSink = errors.New("the disk is full")

func (*srcFailing) Row([]byte) error { return errSrcSink }

// TestFailures: a sink's error, a context's end and a missing file come back
// as what they are.
func TestFailures(t *testing.T) {
	_, s := srcArticles(t, 3000, false)
	if _, err := s.Read(context.Background(), "ACME/down", true, &srcFailing{}); !errors.Is(err, errSrcSink) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sink := &srcHook{newSrcModel(t), 100, cancel}
	sink.Begin()
	if _, err := s.Read(ctx, "ACME/down", true, sink); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	none := NewSource(filepath.Join(t.TempDir(), "none.db"), s.capture, SourceOptions{})
	if _, err := none.Stand(context.Background(), "ACME/down"); err == nil || !strings.Contains(err.Error(), "check the database's path") {
		t.Error(err)
	}
	if _, err := s.Read(context.Background(), "OTHER/down", true, &srcCounter{}); err == nil || !strings.Contains(err.Error(), `"ACME/down"`) {
		t.Error(err)
	}
}

// TestChinook runs a thousand mixed changes over data that nobody here wrote.
func TestChinook(t *testing.T) {
	from := filepath.Join("..", "..", "..", "shared", "data", "chinook", "chinook.sqlite")
	if _, err := os.Stat(from); err != nil {
		t.Skip("no Chinook data beside the repository")
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "chinook.db")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	db := &srcDB{c, t, path}
	names, err := Tables(c)
	if err != nil || len(names) != 11 {
		t.Fatal(names, err)
	}
	var config []database.TableConfig
	for _, n := range names {
		config = append(config, database.TableConfig{Name: n, Columns: true})
	}
	s := db.capture(map[string]database.SourceConfig{"ACME/down": {Tables: config}})["ACME/down"]
	x := s.export(false)
	if len(x.Tables) != 11 || x.Kind != manifest.Baseline {
		t.Errorf("%+v", x)
	}
	s.check(config)
	db.do(`PRAGMA foreign_keys=ON; BEGIN;
		UPDATE Track SET UnitPrice = UnitPrice + 0.5 WHERE TrackId % 7 = 0;
		UPDATE Track SET Name = upper(Name) WHERE TrackId % 11 = 0;
		DELETE FROM PlaylistTrack WHERE TrackId % 9 = 0;
		DELETE FROM InvoiceLine WHERE InvoiceLineId % 13 = 0;
		INSERT INTO Genre SELECT 1000 + GenreId, Name || ' bis' FROM Genre;
		REPLACE INTO Genre VALUES(1001, 'Ré-édité'), (1100, 'Neuf');
		UPDATE PlaylistTrack SET PlaylistId = 16 WHERE PlaylistId = 17;
		UPDATE Employee SET ReportsTo = NULL WHERE EmployeeId = 1;
		COMMIT`)
	x = s.export(false)
	if s.model.Rows < 1000 || len(x.Tables) != 4 {
		t.Errorf("%d rows, %d tables", s.model.Rows, len(x.Tables))
	}
	s.check(config)
}

var _ change.Sink = (*srcHook)(nil)
