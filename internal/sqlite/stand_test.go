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

func srcPending(epoch, sequence int64, digest string, x manifest.Extract) manifest.Pending {
	return manifest.Pending{Position: manifest.Position{Epoch: epoch, Sequence: sequence, Digest: digest}, Kind: x.Kind, Cursor: x.Cursor}
}

// TestStand walks a stream through its life: nothing, reserved, published,
// crashed in between, a new epoch.
func TestStand(t *testing.T) {
	ctx := context.Background()
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,1)")
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "t"}}}})["A/down"]
	read := func() manifest.Extract {
		t.Helper()
		x, err := s.Read(ctx, s.name, false, &srcCounter{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	stands := func(want manifest.Stand) {
		t.Helper()
		got, err := s.Stand(ctx, s.name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	fails := func(err error, part string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	stands(manifest.Stand{})
	x := read()
	p1 := srcPending(1, 1, "d1", x)
	fails(s.Reserve(ctx, s.name, srcPending(1, 2, "d1", x)), "does not follow")
	fails(s.Reserve(ctx, s.name, srcPending(2, 1, "d1", x)), "does not follow")
	fails(s.Reserve(ctx, s.name, manifest.Pending{Position: p1.Position, Kind: manifest.Delta, Cursor: x.Cursor}), "must be a baseline")
	fails(s.Publish(ctx, s.name, p1), "is not the one that was reserved")
	fails(s.Reserve(ctx, "B/down", p1), "init server")
	ok(s.Reserve(ctx, s.name, p1))
	ok(s.Reserve(ctx, s.name, p1)) // once more is nothing new
	stands(manifest.Stand{Pending: &p1})
	fails(s.Reserve(ctx, s.name, srcPending(1, 1, "other", x)), "waits to be published")
	fails(s.Advance(ctx, s.name, `{"seq":9}`), "another export")
	fails(s.Publish(ctx, s.name, srcPending(1, 1, "other", x)), "is not the one")
	if x := read(); x.Kind != manifest.Baseline { // what is pending does not count yet
		t.Error(x.Kind)
	}
	ok(s.Publish(ctx, s.name, p1))
	ok(s.Publish(ctx, s.name, p1)) // after a crash behind it
	stands(manifest.Stand{Last: p1.Position, Baseline: 1})

	db.do("UPDATE t SET v=2")
	p2 := srcPending(1, 2, "d2", read())
	ok(s.Reserve(ctx, s.name, p2))
	ok(s.NewEpoch(ctx, s.name, manifest.Position{Sequence: 1}, "the drop's disk was replaced")) // with a batch pending, whose number may be signed
	stands(manifest.Stand{Last: manifest.Position{Epoch: 2, Sequence: 2}})
	fails(s.Publish(ctx, s.name, p2), "is not the one")
	ok(s.NewEpoch(ctx, s.name, manifest.Position{Sequence: 40}, "restored from the backup of Monday"))
	stands(manifest.Stand{Last: manifest.Position{Epoch: 3, Sequence: 40}})
	if n := db.text("SELECT count(*) FROM caisseauto_event WHERE stream='A/down' AND what LIKE '%the drop''s disk%'"); n != "1" {
		t.Error("the reason is not kept")
	}
	x = read()
	if x.Kind != manifest.Baseline {
		t.Error("the first batch of an epoch is a", x.Kind)
	}
	p3 := srcPending(3, 41, "d3", x)
	ok(s.Reserve(ctx, s.name, p3))
	ok(s.Publish(ctx, s.name, p3))
	stands(manifest.Stand{Last: p3.Position, Baseline: 41})
	if x := read(); x.Kind != manifest.Delta || len(x.Tables) != 0 {
		t.Errorf("%+v", x)
	}
}

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

// TestConfigurationChanges: what another configuration ships differently goes
// whole once; the rest goes on.
func TestConfigurationChanges(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v, w); CREATE TABLE u(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,1,1); INSERT INTO u VALUES(1,1)")
	first := []database.TableConfig{{Name: "t", Exclude: []string{"w"}, Columns: true}}
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: first}})["A/down"]
	s.export(false)
	s.check(first)
	db.do("UPDATE t SET v=5; UPDATE t SET w=2")
	second := []database.TableConfig{{Name: "t", Columns: true}, {Name: "u"}}
	s.Source = NewSource(db.path, NewCapture(map[string]database.SourceConfig{"A/down": {Tables: second}}), SourceOptions{})
	srcKeys.Store("u", []string{"id"})
	if x := s.export(false); len(x.Tables) != 2 || x.Tables[0].Scope != manifest.Whole || x.Kind != manifest.Delta {
		t.Errorf("%+v", x)
	}
	s.check(second)
	db.do("UPDATE t SET w=7; UPDATE u SET v=2")
	third := []database.TableConfig{{Name: "t"}, {Name: "u", Columns: true}}
	s.Source = NewSource(db.path, NewCapture(map[string]database.SourceConfig{"A/down": {Tables: third}}), SourceOptions{})
	x := s.export(false)
	if d := cmp.Diff([]string{"t upsert id,v,w", "u upsert id,v"}, s.model.ops); d != "" {
		t.Error(d)
	}
	for _, table := range x.Tables {
		if table.Scope != manifest.Changes {
			t.Errorf("%s goes %s: only its triggers changed, under our eyes", table.Name, table.Scope)
		}
	}
	s.check(third)
}

// TestSharedTable: two streams that ship different columns of one table. A
// change of a column is nothing to the stream that leaves it out; and when the
// columns that are tracked become others, masks written before are not misread.
func TestSharedTable(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c); INSERT INTO t VALUES(1,1,1,1)")
	config := func(exclude ...string) []database.TableConfig {
		return []database.TableConfig{{Name: "t", Exclude: exclude, Columns: true}}
	}
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: config("a")}, "B/down": {Tables: config("b")}})
	a, b := streams["A/down"], streams["B/down"]
	step := func(sql string, wantA, wantB []string) {
		t.Helper()
		db.do(sql)
		a.export(false)
		b.export(false)
		if d := cmp.Diff([][]string{wantA, wantB}, [][]string{a.model.ops, b.model.ops}); d != "" {
			t.Errorf("%s: %s", sql, d)
		}
		a.check(config("a"))
	}
	step("", []string{"t upsert id,b,c"}, []string{"t upsert id,a,c"})
	step("UPDATE t SET a=2", nil, []string{"t patch id,a"})
	step("UPDATE t SET b=2", []string{"t patch id,b"}, nil)
	step("UPDATE t SET a=3, c=3", []string{"t patch id,c"}, []string{"t patch id,a,c"})
	db.do("UPDATE t SET c=4") // with the bits for a, b and c; then there are two left
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: config("a")}, "B/down": {Tables: config("a", "b")}})
	a.Source, b.Source = NewSource(db.path, c, SourceOptions{}), NewSource(db.path, c, SourceOptions{})
	a.export(false)
	b.export(false)
	a.check(config("a"))
	b.check(config("a", "b"))
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
