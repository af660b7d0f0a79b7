package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

const loadSchema = `CREATE TABLE "big one"(id INTEGER PRIMARY KEY, code TEXT UNIQUE, label TEXT, n INTEGER, up INTEGER REFERENCES "big one"(id));
CREATE INDEX "by ""label""" ON "big one" (label COLLATE NOCASE DESC, n); -- a comment
CREATE UNIQUE INDEX once ON "big one"(lower(label)) WHERE n > 0;
CREATE INDEX up ON "big one"(up);`

var loadColumns = []string{"id", "code", "label", "n", "up"}

// small makes a batch of some thousand rows a large one.
var small = applyLimits{rows: 1000, bytes: 1 << 20, indexRows: 1000, stageBytes: 1 << 18, stageKeys: 1500}

func loadBatch(n int, change1 func(row []any)) *testBatch {
	b := newBatch(manifest.Position{})
	b.table("big one", manifest.Whole, []string{"id"}, loadColumns)
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{i, fmt.Sprintf("C%d", (i*7919)%n), fmt.Sprintf("Label %d", i), i, nil}
		if i+1 < n {
			rows[i][4] = i + 1 // a parent that comes later
		}
	}
	if change1 != nil {
		change1(rows[n/2])
	}
	b.rows("big one", change.Upsert, loadColumns, rows...)
	return b
}

// TestFirstLoad streams into an empty table. Its indexes are as they were
// before, to the letter.
func TestFirstLoad(t *testing.T) {
	till := newTill(t, loadSchema, TillOptions{})
	till.limits = small
	schema := "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'caisse%' ORDER BY name"
	before := queryText(t, till.conn, schema)
	locks := 0
	till.hook = func(place string) {
		if place == "prepared" {
			locks++
		}
	}
	n := 3000
	got, err := loadBatch(n, nil).apply(till)
	if err != nil {
		t.Fatal(err)
	}
	if got.Inserted != int64(n) || got.Rows != int64(n) || locks != 0 {
		t.Errorf("%+v, prepared %d times", got, locks)
	}
	if after := queryText(t, till.conn, schema); after != before {
		t.Errorf("the schema was\n%s\nand is\n%s", before, after)
	}
	if s := queryText(t, till.conn, "PRAGMA integrity_check"); s != "'ok'" {
		t.Error(s)
	}
	if s := queryText(t, till.conn, `SELECT count(*), sum(up) FROM "big one"`); s != fmt.Sprintf("%d,%d", n, n*(n-1)/2) {
		t.Error(s)
	}
}

// TestFirstLoadTriggers: a trigger of the program's makers keeps the indexes in
// their place, and ours, which every till has, do not.
func TestFirstLoadTriggers(t *testing.T) {
	tests := map[string]struct {
		trigger string
		made    int
	}{
		"ours":   {"CREATE TRIGGER caisseauto_0_ad AFTER DELETE ON log BEGIN DELETE FROM log; END", 1},
		"theirs": {`CREATE TRIGGER stamp AFTER INSERT ON "big one" BEGIN INSERT INTO log VALUES(new.id); END`, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			till := newTill(t, loadSchema+"CREATE TABLE log(id INTEGER);"+tt.trigger, TillOptions{})
			till.limits = small
			made := 0
			till.hook = func(place string) {
				if place == "making indexes" {
					made++
				}
			}
			if _, err := loadBatch(3000, nil).apply(till); err != nil {
				t.Fatal(err)
			}
			if made != tt.made {
				t.Errorf("indexes made again %d times, want %d", made, tt.made)
			}
		})
	}
}

func TestFirstLoadRefused(t *testing.T) {
	tests := map[string]struct {
		change func([]any)
		want   string
	}{
		"a unique index made after the load": {func(r []any) { r[2] = "LABEL 7" }, `"once"`},
		"a constraint":                       {func(r []any) { r[1] = "C0" }, `"code"='C0'`},
		"a missing parent":                   {func(r []any) { r[4] = -5 }, `"up"=-5`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			till := newTill(t, loadSchema, TillOptions{})
			till.limits = small
			schema := queryText(t, till.conn, "SELECT name, sql FROM sqlite_schema ORDER BY name")
			_, err := loadBatch(3000, tt.change).apply(till)
			if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if s := queryText(t, till.conn, `SELECT count(*) FROM "big one"`); s != "0" {
				t.Error(s)
			}
			if after := queryText(t, till.conn, "SELECT name, sql FROM sqlite_schema ORDER BY name"); after != schema {
				t.Error(after)
			}
		})
	}
}

// TestFirstLoadOvertaken: a row that comes while the lock is waited for makes
// the first load an ordinary one.
func TestFirstLoadOvertaken(t *testing.T) {
	till := newTill(t, loadSchema, TillOptions{})
	till.limits = small
	pos := openPlain(t, till.conn.Path())
	places := ""
	till.hook = func(place string) {
		places += place + " "
		if place == "first load" {
			if err := pos.Exec(`INSERT INTO "big one"(id, code) VALUES(-1, 'C1')`); err != nil {
				t.Error(err)
			}
		}
	}
	n := 2000
	got, err := loadBatch(n, nil).apply(till)
	if err != nil {
		t.Fatal(err)
	}
	if got.Inserted != int64(n) || got.Deleted != 1 || places != "first load prepared commit committed unsynced " {
		t.Errorf("%+v %s", got, places)
	}
}

// TestStagedBaseline brings a batch through a stage file: changed, new,
// unchanged and surplus rows, with more keys than are kept in memory.
func TestStagedBaseline(t *testing.T) {
	till := newTill(t, loadSchema, TillOptions{})
	till.limits = small
	n := 5000
	b := loadBatch(n, nil)
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if err := openPlain(t, till.conn.Path()).Exec(`UPDATE "big one" SET label=printf('%0900d', id), n=0 WHERE id % 3 = 0;
		INSERT INTO "big one"(id, code) SELECT id+1000000, code||'x' FROM "big one" WHERE id < 100; DELETE FROM "big one" WHERE id BETWEEN 10 AND 19;`); err != nil {
		t.Fatal(err)
	}
	again := loadBatch(n, nil)
	again.m.Sequence, again.p.Sequence, again.m.Previous = 2, 2, b.p.Digest
	again.p.Digest = applyDigest("2")
	got, err := again.apply(till)
	if err != nil {
		t.Fatal(err)
	}
	changed := int64((n + 2) / 3)
	for id := 10; id < 20; id++ {
		if id%3 == 0 {
			changed--
		}
	}
	got.Locked = 0
	if want := (change.Applied{Rows: int64(n), Inserted: 10, Updated: changed, Deleted: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s := queryText(t, till.conn, `SELECT count(*), sum(up), sum(n), min(label), max(label) FROM "big one"`); s != fmt.Sprintf("%d,%d,%d,'Label 0','Label 999'", n, n*(n-1)/2, n*(n-1)/2) {
		t.Error(s)
	}
}
