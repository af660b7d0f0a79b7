package sqlite

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// lenient ignores whatever can be ignored.
var lenient = DriftPolicy{IgnoreMissingColumn: true, IgnoreChangedType: true, IgnoreNotNull: true}

// shapes are the ways in which rows get into a table; all must do the same.
var shapes = map[string]struct {
	schema string
	limits func(*applyLimits)
}{
	"upsert":        {schema: ""},
	"trigger":       {schema: "; CREATE TABLE log(x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END"},
	"without rowid": {schema: " WITHOUT ROWID"},
	"first load":    {schema: "", limits: func(l *applyLimits) { l.rows, l.indexRows = 0, 1 }},
}

// TestDriftIgnored: what is ignored is left out or converted, existing values
// stay, and the rest of the batch is applied.
func TestDriftIgnored(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			till := newTill(t, "CREATE TABLE t(id INTEGER NOT NULL, a TEXT, n INTEGER, r REAL, s TEXT NOT NULL, own BLOB NOT NULL, x NOT NULL, PRIMARY KEY(id))"+shape.schema+";", TillOptions{Drift: lenient})
			if shape.limits != nil {
				shape.limits(&till.limits)
			} else if err := till.conn.Exec("INSERT INTO t VALUES(1,'was',0,0,'mine',x'01',1), (9,'gone',0,0,'mine',x'01',1)"); err != nil {
				t.Fatal(err)
			}
			columns := []string{"id", "lost", "a", "n", "r"}
			b := typedBatch(manifest.Position{}, "t", []string{"id"}, "id:INTEGER", "lost:TEXT", "a:INTEGER", "n:TEXT", "r:TEXT")
			b.rows("t", change.Upsert, columns, []any{1, "x", 7, "007", "1e1"}, []any{2, nil, nil, "abc", "abc"}, []any{3, "y", 2.5, []byte{1}, nil})
			if _, err := b.apply(till); err != nil {
				t.Fatal(err)
			}
			first := "t | 1:1 | 3:'7' | 1:7 | 2:10 | 3:'mine' | 4:x'01' | 1:1"
			if shape.limits != nil {
				first = "t | 1:1 | 3:'7' | 1:7 | 2:10 | 3:'' | 4:x'' | 4:x''"
			}
			want := []string{first, "t | 1:2 | 0:NULL | 3:'abc' | 3:'abc' | 3:'' | 4:x'' | 4:x''", "t | 1:3 | 3:'2.5' | 4:x'01' | 0:NULL | 3:'' | 4:x'' | 4:x''"}
			if d := cmp.Diff(want, dumpLiveTable(t, till.conn, "t")); d != "" {
				t.Fatal(d)
			}
			// The same rows once more change nothing.
			again := newBatch(b.p)
			again.m.Kind, again.m.Tables, again.m.Members, again.blocks = manifest.Baseline, b.m.Tables, b.m.Members, b.blocks
			if r, err := again.apply(till); err != nil || r.Inserted+r.Updated+r.Deleted != 0 || r.Rows != 3 {
				t.Errorf("%+v, %v", r, err)
			}
			// Changes, some of them of a column that is not here.
			d := typedBatch(again.p, "t", []string{"id"}, "id:INTEGER", "lost:TEXT", "a:INTEGER", "n:TEXT", "r:TEXT")
			d.m.Tables[0].Scope = manifest.Changes
			d.rows("t", change.Patch, []string{"id", "lost"}, []any{1, "z"}, []any{2, "z"})
			d.rows("t", change.Patch, []string{"id", "lost", "a"}, []any{3, "z", 4})
			d.rows("t", change.Upsert, columns, []any{4, "x", 5, "5", "5"})
			d.rows("t", change.Delete, []string{"id"}, []any{2})
			if _, err := d.apply(till); err != nil {
				t.Fatal(err)
			}
			want = []string{first, "t | 1:3 | 3:'4' | 4:x'01' | 0:NULL | 3:'' | 4:x'' | 4:x''", "t | 1:4 | 3:'5' | 1:5 | 2:5 | 3:'' | 4:x'' | 4:x''"}
			if d := cmp.Diff(want, dumpLiveTable(t, till.conn, "t")); d != "" {
				t.Error(d)
			}
			wantDrifts(t, till, "1 lost missing_column TEXT ", "1 a changed_type INTEGER TEXT", "1 n changed_type TEXT INTEGER", "1 r changed_type TEXT REAL",
				"1 s not_null  TEXT", "1 own not_null  BLOB", "1 x not_null  ")
		})
	}
}

// wantDrifts compares the records, as "sequence column kind sent have".
func wantDrifts(t *testing.T, till *Till, want ...string) {
	t.Helper()
	list, err := till.Drifts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, d := range list {
		if d.Stream != testStream || d.Table != "t" || d.At == "" {
			t.Errorf("%+v", d)
		}
		got[strings.Join([]string{database.ShowValue(change.Value{Kind: change.Integer, Int: d.Sequence}), d.Column, d.Kind, d.Sent, d.Have}, " ")] = true
	}
	wanted := map[string]bool{}
	for _, w := range want {
		wanted[w] = true
	}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Error(d)
	}
}

// TestDriftOfKey: a column of the key is never ignored.
func TestDriftOfKey(t *testing.T) {
	for name, tt := range map[string]struct {
		schema  string
		key     []string
		columns []string
		says    string
	}{
		"missing":                 {"CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)", []string{"id", "k"}, []string{"id:INTEGER", "k:TEXT"}, `no column "k"`},
		"of another type":         {"CREATE TABLE t(id TEXT PRIMARY KEY); INSERT INTO t VALUES('1')", []string{"id"}, []string{"id:INTEGER"}, `declared as "TEXT", the server's as "INTEGER"`},
		"a NOT NULL primary key":  {"CREATE TABLE t(id TEXT NOT NULL PRIMARY KEY, k TEXT UNIQUE)", []string{"k"}, []string{"k:TEXT"}, `"id" is in the table's primary key`},
		"missing, of a patch too": {"CREATE TABLE t(id INTEGER PRIMARY KEY, a)", []string{"b"}, []string{"id:INTEGER", "a:", "b:INT"}, "CREATE UNIQUE INDEX"},
	} {
		t.Run(name, func(t *testing.T) {
			till := newTill(t, tt.schema, TillOptions{Drift: lenient})
			b := typedBatch(manifest.Position{}, "t", tt.key, tt.columns...)
			was := dumpLive(t, till.conn)
			_, err := b.apply(till)
			if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "nothing was applied") {
				t.Errorf("%v, want %s", err, tt.says)
			}
			if d := cmp.Diff(was, dumpLive(t, till.conn)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestDriftFits: types may differ where no value is stored otherwise.
func TestDriftFits(t *testing.T) {
	for _, tt := range []struct {
		sent, have string
		strict     bool
		want       bool
	}{
		{"TEXT", "VARCHAR(20)", false, true}, {"INTEGER", "BIGINT", false, true}, {"INTEGER", "NUMERIC", false, true}, {"DECIMAL(10,2)", "INT", false, true},
		{"TEXT", "", false, true}, {"REAL", "BLOB", false, true}, {"", "TEXT", false, true}, {"ANY", "any", false, true}, {"TEXT", "ANY", true, true},
		{"TEXT", "INTEGER", false, false}, {"INTEGER", "TEXT", false, false}, {"REAL", "INTEGER", false, false}, {"INTEGER", "REAL", false, false},
		{"DECIMAL(10,2)", "REAL", false, false}, {"REAL", "NUMERIC", false, false}, {"BLOB", "TEXT", false, false}, {"TEXT", "ANY", false, false},
		{"timestamp without time zone as text", "DATETIME", false, true}, {"date as text", "TEXT", false, true}, {"uuid as text", "UUID", false, true},
		{"numeric(10,2) as text", "NUMERIC(10,2)", false, false}, {"numeric(10,2) as text", "TEXT", false, true}, {"date as text", "INTEGER", false, false},
	} {
		if got := fits(tt.sent, tt.have, tt.strict); got != tt.want {
			t.Errorf("%q into %q, strict %v: %v", tt.sent, tt.have, tt.strict, got)
		}
	}
}

// TestDriftRecord follows one record from its first batch to its end.
func TestDriftRecord(t *testing.T) {
	var log bytes.Buffer
	till := newTill(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)", TillOptions{Drift: lenient, Log: slog.New(slog.NewTextHandler(&log, nil))})
	p := manifest.Position{}
	step := func(kind manifest.Kind, scope manifest.Scope, id int) {
		t.Helper()
		b := typedBatch(p, "t", []string{"id"}, "id:INTEGER", "a:TEXT", "b:INTEGER")
		b.m.Kind, b.m.Tables[0].Scope = kind, scope
		b.rows("t", change.Upsert, []string{"id", "a", "b"}, []any{id, "a", id * 10})
		if _, err := b.apply(till); err != nil {
			t.Fatal(err)
		}
		p = b.p
	}
	needs := func(want bool) {
		t.Helper()
		if got, err := till.NeedsRows(t.Context(), testStream); got != want || err != nil {
			t.Errorf("needs rows: %v, %v", got, err)
		}
	}
	const record = "1 b missing_column INTEGER "
	step(manifest.Baseline, manifest.Whole, 1)
	wantDrifts(t, till, record)
	step(manifest.Delta, manifest.Changes, 2)
	wantDrifts(t, till, record) // still the first batch's
	needs(false)
	if strings.Contains(log.String(), "--baseline") {
		t.Errorf("too early: %s", log.String())
	}
	if err := till.conn.Exec("ALTER TABLE t ADD COLUMN b INTEGER"); err != nil {
		t.Fatal(err)
	}
	step(manifest.Delta, manifest.Changes, 3)
	wantDrifts(t, till, record) // rows 1 and 2 lack b
	needs(true)
	if !strings.Contains(log.String(), "caisseauto export --baseline") || !strings.Contains(log.String(), "column=b") {
		t.Errorf("nobody was told: %s", log.String())
	}
	if got := queryText(t, till.conn, "SELECT id, b FROM t"); got != "1,NULL;2,NULL;3,30" {
		t.Error(got)
	}
	step(manifest.Delta, manifest.Whole, 4)
	wantDrifts(t, till)
	needs(false)
	if got := queryText(t, till.conn, "SELECT id, b FROM t"); got != "4,40" {
		t.Error(got)
	}
	// A baseline that still meets the drift keeps the record; one without the
	// table ends it.
	if err := till.conn.Exec("ALTER TABLE t DROP COLUMN b"); err != nil {
		t.Fatal(err)
	}
	step(manifest.Baseline, manifest.Whole, 5)
	wantDrifts(t, till, "5 b missing_column INTEGER ")
	step(manifest.Baseline, manifest.Whole, 6)
	wantDrifts(t, till, "5 b missing_column INTEGER ")
	b := newBatch(p)
	b.m.Kind = manifest.Baseline
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	wantDrifts(t, till)
}

// TestDriftWithBatch: the record is part of the batch, and goes with it.
func TestDriftWithBatch(t *testing.T) {
	till := newTill(t, "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES p)", TillOptions{Drift: lenient})
	for _, limit := range []int64{applyMemoryRows, 0} { // staged, and as a first load
		till.limits.rows = limit
		b := typedBatch(manifest.Position{}, "t", []string{"id"}, "id:INTEGER", "p:", "b:INTEGER")
		b.rows("t", change.Upsert, []string{"id", "p", "b"}, []any{1, 5, 1})
		if _, err := b.apply(till); err == nil {
			t.Fatal("a row without its parent")
		}
		if got := queryText(t, till.conn, "SELECT * FROM caisseauto_drift"); got != "" {
			t.Errorf("recorded, but not applied: %s", got)
		}
	}
}

// TestDriftOldDatabase: a database that an older version made has no such
// table, and is not to be taken for a new one.
func TestDriftOldDatabase(t *testing.T) {
	till := newTill(t, "CREATE TABLE t(id INTEGER PRIMARY KEY)", TillOptions{Drift: lenient})
	b := typedBatch(manifest.Position{}, "t", []string{"id"}, "id:INTEGER")
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if err := till.conn.Exec("DROP TABLE caisseauto_drift"); err != nil {
		t.Fatal(err)
	}
	if p, err := till.Position(t.Context(), testStream); p != b.p || err != nil {
		t.Fatalf("%+v, %v", p, err)
	}
	wantDrifts(t, till)
	next := typedBatch(b.p, "t", []string{"id"}, "id:INTEGER", "b:TEXT")
	next.rows("t", change.Upsert, []string{"id", "b"}, []any{1, "x"})
	if _, err := next.apply(till); err != nil {
		t.Fatal(err)
	}
	wantDrifts(t, till, "2 b missing_column TEXT ")
	if err := till.conn.Exec("DROP TABLE caisseauto_drift"); err != nil {
		t.Fatal(err)
	}
	if err := till.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	if ok, err := Exists(till.conn, "caisseauto_drift"); !ok || err != nil {
		t.Errorf("Init has not made it: %v", err)
	}
}

// TestDriftHeld: a row that was held back is applied later without the columns
// that the till lacks.
func TestDriftHeld(t *testing.T) {
	db := newUpDB(t, "CREATE TABLE c(id INTEGER PRIMARY KEY, a TEXT, s TEXT NOT NULL); INSERT INTO c VALUES(1,'a','s'),(2,'b','s')",
		[]manifest.Upload{{Table: "c", Mode: manifest.Both, Key: []string{"id"}}})
	db.exec("UPDATE c SET a='till' WHERE id=1; DELETE FROM c WHERE id=2")
	till := openTill(t, db.path, TillOptions{Outbox: &db.options, Drift: lenient})
	b := typedBatch(db.down, "c", []string{"id"}, "id:INTEGER", "a:TEXT", "lost:TEXT")
	b.m.Tables[0].Scope = manifest.Changes
	b.rows("c", change.Upsert, []string{"id", "a", "lost"}, []any{1, "server", "x"}, []any{2, "server", "x"})
	b.rows("c", change.Patch, []string{"id", "lost"}, []any{1, "y"})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	db.want("1,'till','s'", "SELECT * FROM c")
	up := db.seal()
	db.receipt(up.p, 1, 7)
	next := newBatch(b.p)
	next.m.Integrated = 7
	if _, err := next.apply(till); err != nil {
		t.Fatal(err)
	}
	db.want("1,'server','s';2,'server',''", "SELECT * FROM c")
	// A till that leaves the dossier has no drifts of it any more.
	if list, err := till.Drifts(t.Context()); len(list) != 2 || err != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := till.Leave(t.Context(), "ACME"); err != nil {
		t.Fatal(err)
	}
	if list, err := till.Drifts(t.Context()); len(list) != 0 || err != nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestDriftOfUploads: the server takes from its tills what they have written,
// whatever type they declare.
func TestDriftOfUploads(t *testing.T) {
	till := newTill(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)", TillOptions{Drift: DriftPolicy{anyType: true}})
	b := typedBatch(manifest.Position{}, "t", []string{"id"}, "id:TEXT", "a:INTEGER")
	b.rows("t", change.Upsert, []string{"id", "a"}, []any{1, 5})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if got := queryText(t, till.conn, "SELECT * FROM t"); got != "1,'5'" {
		t.Error(got)
	}
}

// TestDriftOwnColumn: what only the till has is never overwritten.
func TestDriftOwnColumn(t *testing.T) {
	for name, shape := range shapes {
		if shape.limits != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			till := newTill(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, own TEXT DEFAULT 'new')"+shape.schema+"; INSERT INTO t VALUES(1,'a','mine'),(2,'b',NULL),(3,'c','mine')", TillOptions{})
			p := manifest.Position{}
			for n, kind := range []manifest.Kind{manifest.Baseline, manifest.Delta, manifest.Baseline} {
				b := typedBatch(p, "t", []string{"id"}, "id:INTEGER", "a:TEXT")
				b.m.Kind = kind
				if kind == manifest.Delta {
					b.m.Tables[0].Scope = manifest.Changes
				}
				b.rows("t", change.Upsert, []string{"id", "a"}, []any{1, "x" + string(rune('0'+n))}, []any{2, "y"}, []any{4, "z"})
				if _, err := b.apply(till); err != nil {
					t.Fatal(err)
				}
				p = b.p
			}
			if got := queryText(t, till.conn, "SELECT * FROM t"); got != "1,'x2','mine';2,'y',NULL;4,'z','new'" {
				t.Error(got)
			}
		})
	}
}
