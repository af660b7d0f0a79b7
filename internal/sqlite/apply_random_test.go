package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// awkward are schemas that make applying hard, small enough for random values
// to meet all the time.
var awkward = map[string]string{
	"cycle": articleSchema,
	"cascade": `CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE NOT NULL, n INTEGER);
		CREATE TABLE child(a INTEGER, b INTEGER, code TEXT REFERENCES parent(code) ON UPDATE CASCADE ON DELETE SET NULL,
			up INTEGER REFERENCES parent(id) ON DELETE CASCADE, PRIMARY KEY(a,b)) WITHOUT ROWID;
		CREATE UNIQUE INDEX child_code ON child(code, b);`,
	"tree":         `CREATE TABLE tree(id TEXT PRIMARY KEY NOT NULL, up TEXT REFERENCES tree(id) ON DELETE CASCADE, pos INTEGER UNIQUE);`,
	"nocase":       `CREATE TABLE nc(code TEXT COLLATE NOCASE PRIMARY KEY, rank INTEGER UNIQUE CHECK(rank BETWEEN 0 AND 9), note TEXT) WITHOUT ROWID;`,
	"nocase rowid": `CREATE TABLE nr(code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, rank INTEGER UNIQUE CHECK(rank BETWEEN 0 AND 9), note TEXT, alt TEXT COLLATE NOCASE UNIQUE);`,
	"strict": `CREATE TABLE st(a INTEGER NOT NULL, b BLOB NOT NULL, c TEXT NOT NULL, d REAL UNIQUE NOT NULL, e ANY, PRIMARY KEY(a,b)) STRICT;
		CREATE UNIQUE INDEX st_ca ON st(c, a); CREATE UNIQUE INDEX st_e ON st(e) WHERE c <> '3';`,
	"keyonly":   `CREATE TABLE ko(x INTEGER NOT NULL, y INTEGER NOT NULL, PRIMARY KEY(x,y)) WITHOUT ROWID; CREATE UNIQUE INDEX ko_y ON ko(y);`,
	"blob key":  `CREATE TABLE bk(k BLOB PRIMARY KEY NOT NULL, v UNIQUE, w NUMERIC UNIQUE ON CONFLICT REPLACE) ;`,
	"untyped":   `CREATE TABLE un(k PRIMARY KEY NOT NULL, v, w UNIQUE); CREATE INDEX un_v ON un(v);`,
	"other key": `CREATE TABLE ok(id INTEGER PRIMARY KEY, k TEXT NOT NULL UNIQUE, v INTEGER UNIQUE);`,
	"expression": `CREATE TABLE ex(id INTEGER PRIMARY KEY, name TEXT, a INTEGER, b INTEGER, g INTEGER GENERATED ALWAYS AS (a+b) VIRTUAL);
		CREATE UNIQUE INDEX ex_lower ON ex(lower(name)); CREATE INDEX ex_g ON ex(g);`,
	"quoted": `CREATE TABLE "l'été ""x"" [y]"("the key" INTEGER PRIMARY KEY, "été" TEXT UNIQUE, "select" TEXT UNIQUE);`,
	"triggers": `CREATE TABLE tr(id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER);
		CREATE TABLE trw(id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER);`,
}

// tillOnly is what the POS has beside the schema. Its own tables start with
// pos_, so that they are not compared.
var tillOnly = map[string]string{
	"triggers": `CREATE TABLE pos_log(id INTEGER PRIMARY KEY, what TEXT UNIQUE, n INTEGER);
		CREATE TRIGGER tr_i BEFORE INSERT ON tr BEGIN INSERT OR REPLACE INTO pos_log(what,n) VALUES('i'||new.id, 1); END;
		CREATE TRIGGER tr_u AFTER UPDATE ON tr BEGIN INSERT OR REPLACE INTO pos_log(what,n) VALUES('u'||new.id, 1); UPDATE tr SET n=n WHERE id=new.id; UPDATE trw SET n=n; END;
		CREATE TRIGGER tr_d AFTER DELETE ON tr BEGIN INSERT OR IGNORE INTO pos_log(what,n) VALUES('d', old.id); DELETE FROM pos_log WHERE n > 3; END;`,
}

// keyOf names the key where it is not the primary key.
var keyOf = map[string][]string{"ok": {"k"}}

// TestApplyRandom runs random changes on a server's database, sends each
// transaction's difference as a batch, and wants the till to hold the same
// content, value by value. CAISSEAUTO_ROUNDS makes it longer.
func TestApplyRandom(t *testing.T) {
	rounds := 12
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_ROUNDS")); err == nil {
		rounds = n
	}
	for name, schema := range awkward {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				randomWalk(t, name, schema, rounds, rand.New(rand.NewPCG(seed, 7)))
			}
		})
	}
}

// A walker is a server with a random life.
type walker struct {
	t      *testing.T
	r      *rand.Rand
	server *sqlite3.Conn
	tables []*Table
}

func randomWalk(t *testing.T, name, schema string, rounds int, r *rand.Rand) {
	w := &walker{t: t, r: r, server: openPlain(t, filepath.Join(t.TempDir(), "server.db"))}
	if err := w.server.Exec("PRAGMA foreign_keys=ON; PRAGMA synchronous=OFF;" + schema); err != nil {
		t.Fatal(err)
	}
	names, err := Tables(w.server)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		tab, err := ReadTable(w.server, n)
		if err != nil {
			t.Fatal(err)
		}
		if k := keyOf[n]; k != nil {
			tab.Key = k
		}
		w.tables = append(w.tables, tab)
	}
	w.tables = parentsFirst(w.tables)
	till := newTill(t, schema+tillOnly[name], TillOptions{})
	p := manifest.Position{}
	before := w.state()
	for round := range rounds {
		w.transaction()
		after := w.state()
		b := newBatch(p)
		if round == 0 || r.IntN(10) == 0 {
			b.m.Kind = manifest.Baseline
			if round > 0 { // the POS has rows of its own meanwhile: the baseline removes them
				w.vandalise(till)
			}
		}
		w.fill(b, before, after, name == "cascade")
		got, err := b.apply(till)
		if err != nil {
			t.Fatalf("round %d: %v\nbefore %s\nafter %s", round, err, strings.Join(stateLines(before), "\n"), strings.Join(stateLines(after), "\n"))
		}
		if got.Rows < got.Inserted+got.Updated && b.m.Kind == manifest.Delta {
			t.Errorf("%+v", got)
		}
		w.compare(till, round, before, after)
		before, p = after, b.p
	}
}

func (w *walker) compare(till *Till, round int, before, after map[string]map[string][]change.Value) {
	w.t.Helper()
	for _, tab := range w.tables {
		if d := diffLines(dumpLiveTable(w.t, w.server, tab.Name), dumpLiveTable(w.t, till.conn, tab.Name)); d != "" {
			w.t.Fatalf("round %d: contents differ (- server, + till):\n%s\nbefore\n%s\nafter\n%s", round, d,
				strings.Join(stateLines(before), "\n"), strings.Join(stateLines(after), "\n"))
		}
	}
	if s := queryText(w.t, till.conn, "PRAGMA foreign_key_check"); s != "" {
		w.t.Fatal(s)
	}
	if s := queryText(w.t, till.conn, "PRAGMA integrity_check"); s != "'ok'" {
		w.t.Fatal(s)
	}
}

// columns returns the columns that can be written.
func (tab *Table) testColumns() []string {
	var list []string
	for _, c := range tab.Columns {
		if !c.Generated {
			list = append(list, c.Name)
		}
	}
	return list
}

// state returns all rows of all tables by key.
func (w *walker) state() map[string]map[string][]change.Value {
	s := map[string]map[string][]change.Value{}
	for _, tab := range w.tables {
		rows := map[string][]change.Value{}
		cols := tab.testColumns()
		err := w.server.Query("SELECT "+database.QuoteAll("", cols)+" FROM "+database.Quote(tab.Name), func(q *sqlite3.Stmt) error {
			var row []change.Value
			for i := range cols {
				v := q.Value(i)
				v.Bytes = slices.Clone(v.Bytes)
				row = append(row, v)
			}
			rows[string(appendKey(nil, tab.testKey(row)))] = row
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		s[tab.Name] = rows
	}
	return s
}

func (tab *Table) testKey(row []change.Value) []change.Value {
	var key []change.Value
	cols := tab.testColumns()
	for _, k := range tab.Key {
		key = append(key, row[slices.Index(cols, k)])
	}
	return key
}

func stateLines(s map[string]map[string][]change.Value) []string {
	var lines []string
	for n, rows := range s {
		for _, row := range rows {
			line := n
			for _, v := range row {
				line += " | " + database.ShowValue(v)
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// fill makes the batch that leads from one state to the other.
func (w *walker) fill(b *testBatch, before, after map[string]map[string][]change.Value, overlog bool) {
	type del struct {
		tab  *Table
		rows [][]any
	}
	var deletes []del
	for _, tab := range w.tables {
		scope := manifest.Changes
		if b.m.Kind == manifest.Baseline || w.r.IntN(12) == 0 {
			scope = manifest.Whole
		}
		cols := tab.testColumns()
		b.table(tab.Name, scope, tab.Key, cols)
		upserts, patches, gone := w.changes(tab, scope, before[tab.Name], after[tab.Name], overlog)
		b.rows(tab.Name, change.Upsert, cols, upserts...)
		for mask, rows := range patches {
			b.rows(tab.Name, change.Patch, strings.Split(mask, "\x00"), rows...)
		}
		if scope == manifest.Changes && len(gone) > 0 {
			deletes = append(deletes, del{tab, gone})
		}
	}
	slices.Reverse(deletes)
	for _, d := range deletes {
		b.rows(d.tab.Name, change.Delete, d.tab.Key, d.rows...)
	}
}

func (w *walker) changes(tab *Table, scope manifest.Scope, old, new map[string][]change.Value, overlog bool) (upserts [][]any, patches map[string][][]any, gone [][]any) {
	patches = map[string][][]any{}
	cols := tab.testColumns()
	keys := make([]string, 0, len(new))
	for k := range new {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		row, was := new[k], old[k]
		var full []any
		mask := slices.Clone(tab.Key)
		var changed []any
		for _, v := range tab.testKey(row) {
			changed = append(changed, v)
		}
		for i, v := range row {
			full = append(full, v)
			if was != nil && (v.Kind != was[i].Kind || database.ShowValue(v) != database.ShowValue(was[i])) && !slices.Contains(tab.Key, cols[i]) {
				mask, changed = append(mask, cols[i]), append(changed, v)
			}
		}
		switch {
		case scope == manifest.Whole || was == nil || overlog:
			upserts = append(upserts, full)
		case len(mask) == len(tab.Key):
		case w.r.IntN(2) == 0:
			upserts = append(upserts, full)
		default:
			m := strings.Join(mask, "\x00")
			patches[m] = append(patches[m], changed)
		}
	}
	for k, row := range old {
		if new[k] == nil {
			var key []any
			for _, v := range tab.testKey(row) {
				key = append(key, v)
			}
			gone = append(gone, key)
		}
	}
	return upserts, patches, gone
}

// transaction runs some random statements on the server. Those that break a
// constraint are no part of it.
func (w *walker) transaction() {
	for {
		if err := w.server.Exec("BEGIN; PRAGMA defer_foreign_keys=ON"); err != nil {
			w.t.Fatal(err)
		}
		for range 1 + w.r.IntN(8) {
			tab := w.tables[w.r.IntN(len(w.tables))]
			sql, args := w.statement(tab)
			_ = w.server.Run(sql, args...)
			if w.r.IntN(4) == 0 {
				w.swap(tab)
			}
		}
		// SQLite's own count of broken references can be wrong after REPLACE
		// and a cascade in one transaction: then COMMIT lets one through.
		if queryText(w.t, w.server, "PRAGMA foreign_key_check") == "" && w.server.Exec("COMMIT") == nil {
			return
		}
		if err := w.server.Exec("ROLLBACK"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// statement makes up a statement.
func (w *walker) statement(tab *Table) (string, []any) {
	cols := tab.testColumns()
	name := database.Quote(tab.Name)
	var args []any
	switch w.r.IntN(6) {
	case 0, 1, 2:
		or := []string{"", " OR REPLACE", " OR IGNORE"}[w.r.IntN(3)]
		for _, c := range cols {
			args = append(args, w.value(tab.Column(c)))
		}
		return "INSERT" + or + " INTO " + name + "(" + database.QuoteAll("", cols) + ") VALUES(?" + strings.Repeat(",?", len(cols)-1) + ")", args
	case 3:
		where, args := w.keyCondition(tab)
		return "DELETE FROM " + name + where, args
	default:
		where, args := w.keyCondition(tab)
		var sets []string
		for _, c := range cols {
			if w.r.IntN(2) == 0 || len(sets) == 0 && c == cols[len(cols)-1] {
				args = append(args, w.value(tab.Column(c)))
				sets = append(sets, fmt.Sprintf("%s=?%d", database.Quote(c), len(args)))
			}
		}
		return "UPDATE OR REPLACE " + name + " SET " + strings.Join(sets, ",") + where, args
	}
}

func (w *walker) keyCondition(tab *Table) (string, []any) {
	var args []any
	var list []string
	for _, k := range tab.Key {
		args = append(args, w.value(tab.Column(k)))
		list = append(list, fmt.Sprintf("%s=?%d", database.Quote(k), len(args)))
	}
	return " WHERE " + strings.Join(list, " AND "), args
}

// value makes up a value of a column, one of few.
func (w *walker) value(c *Column) any {
	n := w.r.IntN(6)
	if !c.NotNull && c.PK == 0 && w.r.IntN(5) == 0 {
		return nil
	}
	switch affinityOf(c.Type) {
	case affinityInteger:
		return n
	case affinityReal:
		return float64(n) + 0.5
	case affinityNumeric:
		return []any{n, float64(n) + 0.5, "t" + strconv.Itoa(n)}[w.r.IntN(3)]
	case affinityText:
		return []string{"a", "A", "b", "B", "é", "3"}[n]
	}
	if strings.EqualFold(c.Type, "BLOB") {
		return []any{[]byte{}, []byte{0}, []byte{0, 0}, []byte{255}, []byte("a"), []byte{1}}[n]
	}
	return []any{n / 2, float64(n / 2), "1", []byte("1"), "", []byte{}}[w.r.IntN(6)]
}

// swap exchanges the values of a column between two rows, through NULL or a
// value that nobody has.
func (w *walker) swap(tab *Table) {
	cols := tab.testColumns()
	c := cols[w.r.IntN(len(cols))]
	if slices.Contains(tab.Key, c) {
		return
	}
	w1, a1 := w.keyCondition(tab)
	w2, a2 := w.keyCondition(tab)
	get := func(where string, args []any) (v change.Value, ok bool) {
		_ = w.server.Query("SELECT "+database.Quote(c)+" FROM "+database.Quote(tab.Name)+where, func(s *sqlite3.Stmt) error {
			v, ok = s.Value(0), true
			v.Bytes = slices.Clone(v.Bytes)
			return nil
		}, args...)
		return v, ok
	}
	v1, ok1 := get(w1, a1)
	v2, ok2 := get(w2, a2)
	if !ok1 || !ok2 {
		return
	}
	// All three or none.
	_ = w.server.Exec("SAVEPOINT swap; PRAGMA ignore_check_constraints=ON")
	set := func(where string, args []any, v any) error {
		return w.server.Run("UPDATE "+database.Quote(tab.Name)+" SET "+database.Quote(c)+"=?"+strconv.Itoa(len(args)+1)+where, append(slices.Clone(args), v)...)
	}
	err := set(w1, a1, -77)
	if err == nil {
		err = set(w2, a2, v1)
	}
	if err == nil {
		err = set(w1, a1, v2)
	}
	if err != nil {
		_ = w.server.Exec("ROLLBACK TO swap")
	}
	_ = w.server.Exec("RELEASE swap; PRAGMA ignore_check_constraints=OFF")
}

// vandalise changes the till behind the ledger's back.
func (w *walker) vandalise(till *Till) {
	pos := &walker{t: w.t, r: w.r, server: till.conn, tables: w.tables}
	pos.transaction()
}
