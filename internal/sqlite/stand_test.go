package sqlite

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// TestIdle: an export with nothing new writes nothing to the ERP's database.
func TestIdle(t *testing.T) {
	db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(id INTEGER PRIMARY KEY)", database.TableConfig{Name: "t"})
	db.do("INSERT INTO t VALUES(1,1)")
	s.export(false)
	version := func() string { return db.text("PRAGMA data_version") }
	before := version()
	for range 3 {
		if x := s.export(false); len(x.Tables) != 0 {
			t.Fatalf("%+v", x)
		}
	}
	db.do("BEGIN IMMEDIATE") // nor does it wait for the ERP's
	s.Source = NewSource(db.path, s.capture, SourceOptions{BusyTimeout: time.Millisecond})
	s.export(false)
	db.do("ROLLBACK")
	if after := version(); after != before {
		t.Errorf("the database was written to: version %s, then %s", before, after)
	}
}

// TestPrune: entries go when the last stream has them, in chunks; a stream
// that was out of the configuration meanwhile starts whole and misses nothing.
func TestPrune(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	c := []database.TableConfig{{Name: "t"}}
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: c}, "B/down": {Tables: c}})
	a, b := streams["A/down"], streams["B/down"]
	a.export(false)
	b.export(false)
	db.do(fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, i FROM n", 2*pruneChunk+10))
	entries := func() string { return db.text("SELECT count(*) FROM caisseauto_journal") }
	a.export(false)
	if n := entries(); n != fmt.Sprint(2*pruneChunk+10) {
		t.Errorf("%s entries while B needs them", n)
	}
	b.export(false)
	b.check(c)
	if n := entries(); n != "1" { // the newest one stays
		t.Errorf("%s entries when all have them", n)
	}
	db.do("DELETE FROM t WHERE id=3")
	alone := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: c}})
	a.Source = NewSource(db.path, alone, SourceOptions{})
	a.export(false)
	db.do("DELETE FROM t WHERE id=4")
	a.export(false)
	if x := b.export(false); x.Tables[0].Scope != manifest.Whole {
		t.Errorf("B got %+v", x.Tables)
	}
	b.check(c)
}

// TestInstall: made once, nothing the second time; the printed statements do
// the same; nothing of the ERP's is touched; a table that leaves the
// configuration loses its triggers.
func TestInstall(t *testing.T) {
	ctx := context.Background()
	db := newSrcDB(t, srcSchema)
	schema := func(where string) string {
		return db.text("SELECT group_concat(type||name||coalesce(sql,''), '|') FROM (SELECT * FROM sqlite_schema WHERE " + where + " ORDER BY type, name)")
	}
	const ours, theirs = "name LIKE 'caisseauto%'", "name NOT LIKE '%caisseauto%' AND name <> 'sqlite_sequence'"
	before := schema(theirs)
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: srcTables("A", true)}, "B/down": {Tables: srcTables("B", true)}})
	sql, err := c.SQL(ctx, db.path, SourceOptions{})
	if err != nil || !strings.Contains(sql, "CREATE TRIGGER") {
		t.Fatal(sql, err)
	}
	if got := schema(ours); got != "" {
		t.Errorf("printing made %s", got)
	}
	db.do(sql)
	if again, err := c.SQL(ctx, db.path, SourceOptions{}); err != nil || again != "" {
		t.Errorf("after the printed statements there is still to do: %s (%v)", again, err)
	}
	installed := schema(ours)
	for range 2 {
		if err := c.Install(ctx, db.path, SourceOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := schema(ours); got != installed {
			t.Error(cmp.Diff(installed, got))
		}
	}
	if got := schema(theirs); got != before {
		t.Error(cmp.Diff(before, got))
	}
	less := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: srcTables("A", true)[:1]}})
	if err := less.Install(ctx, db.path, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := db.text("SELECT count(DISTINCT tbl_name) FROM sqlite_schema WHERE type='trigger' AND " + ours); n != "1" {
		t.Errorf("triggers on %s tables", n)
	}
}

// TestNewUniqueIndex: REPLACE pushed a row out by an index that the triggers
// did not know yet.
func TestNewUniqueIndex(t *testing.T) {
	config := database.TableConfig{Name: "t"}
	db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,1),(2,2)", config)
	db.do("CREATE UNIQUE INDEX u ON t(v); UPDATE OR REPLACE t SET v=2 WHERE id=1")
	s.export(false)
	s.check([]database.TableConfig{config})
	db.do("UPDATE OR REPLACE t SET v=9 WHERE id=1; INSERT OR REPLACE INTO t VALUES(5,9)")
	if x := s.export(false); x.Tables[0].Scope != manifest.Changes {
		t.Errorf("%+v", x.Tables)
	}
	s.check([]database.TableConfig{config})
}
