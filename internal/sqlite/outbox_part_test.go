package sqlite

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const partsSQL = `CREATE TABLE jet(n INTEGER PRIMARY KEY, v);
	CREATE TABLE t(c TEXT NOT NULL, n INTEGER NOT NULL, v, PRIMARY KEY(c, n));
	CREATE TABLE l(c TEXT NOT NULL, n INTEGER NOT NULL, i INTEGER NOT NULL, v, PRIMARY KEY(c, n, i),
		FOREIGN KEY(c, n) REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE s(c TEXT NOT NULL, n INTEGER NOT NULL, i INTEGER NOT NULL, k INTEGER NOT NULL, v, PRIMARY KEY(k, i, n, c),
		FOREIGN KEY(c, n, i) REFERENCES l ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
	CREATE INDEX s_l ON s(i, n, c);`

// partTables are tickets, their lines, and what the lines are made of.
func partTables() []manifest.Upload {
	u := func(table, parent string, key ...string) manifest.Upload {
		up := manifest.Upload{Table: table, Mode: manifest.Append, Key: key, Sums: []string{"v"}, Parent: parent}
		if parent != "" {
			up.Link = key[:len(key)-1]
		}
		return up
	}
	return []manifest.Upload{u("jet", "", "n"), u("t", "", "c", "n"), u("l", "t", "c", "n", "i"), u("s", "l", "c", "n", "i", "k")}
}

// TestOutboxPartsRandom lets a POS write tickets in every order, and seals,
// receipts and new epochs come at any moment, also between the closing of the
// newest entry and the snapshot. Each batch must hold exactly what changed,
// each row once, and nothing of what came and went.
func TestOutboxPartsRandom(t *testing.T) {
	runs := 60 / raceSlow
	if testing.Short() {
		runs = 5
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &partWorld{upDB: newUpDB(t, partsSQL, partTables()), r: rand.New(rand.NewPCG(uint64(seed), 7)), server: map[string]string{}}
			w.marks = []partMark{{rows: map[string]string{}}}
			for range 60 {
				w.step()
			}
			w.seal_()
			if !maps.Equal(w.server, w.rows()) {
				t.Errorf("the server has\n%v\nand the till\n%v", w.server, w.rows())
			}
			w.receipt(w.marks[len(w.marks)-1].p, w.issue+1, w.issue+1)
			w.want("0", "SELECT count(*) FROM MICPTRACK")
		})
	}
}

// A partWorld is a till with its model: the rows at each batch, and what
// happened to which row since.
type partWorld struct {
	*upDB
	r       *rand.Rand
	v       int // counts, so that every write changes something
	last    int // ticket
	log     []partEvent
	marks   []partMark // [0]: the last receipt; [len-1]: the last batch
	from    partMark   // where the next batch begins
	issue   int64
	server  map[string]string
	batches int
}

type partEvent struct {
	key string
	new bool // the row was not there, as far as a trigger can tell
}

type partMark struct {
	log  int
	rows map[string]string
	p    manifest.Position
}

// rows returns all rows: value by "table key".
func (w *partWorld) rows() map[string]string {
	rows := map[string]string{}
	err := w.pos.Query(`SELECT 'jet', json_array(n), v FROM jet UNION ALL SELECT 't', json_array(c, n), v FROM t
		UNION ALL SELECT 'l', json_array(c, n, i), v FROM l UNION ALL SELECT 's', json_array(c, n, i, k), v FROM s`,
		func(s *sqlite3.Stmt) error { rows[s.Text(0)+" "+s.Text(1)] = s.Text(2); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// do runs a statement and logs what it did. One that is refused did nothing.
func (w *partWorld) do(format string, args ...any) {
	before := w.rows()
	sql := fmt.Sprintf(format, args...)
	_ = w.pos.Exec(sql)
	after := w.rows()
	for key, v := range after {
		if was, ok := before[key]; !ok || was != v {
			w.log = append(w.log, partEvent{key, !ok || strings.Contains(sql, "REPLACE")})
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			w.log = append(w.log, partEvent{key, false})
		}
	}
}

func (w *partWorld) next() int { w.v++; return w.v }

// line adds a line to a ticket, perhaps with its parts.
func (w *partWorld) line(n int) {
	i := w.r.IntN(6)
	w.do("INSERT INTO l VALUES('ACME', %d, %d, %d)", n, i, w.next())
	for k := range w.r.IntN(3) {
		w.do("INSERT INTO s VALUES('ACME', %d, %d, %d, %d)", n, i, k, w.next())
	}
}

// pos_ is a transaction of the POS.
func (w *partWorld) pos_() {
	w.exec("BEGIN")
	log := len(w.log)
	for range 1 + w.r.IntN(2) {
		w.some()
	}
	end := "COMMIT"
	if w.r.IntN(6) == 0 {
		end = "ROLLBACK"
	}
	if err := w.pos.Exec(end); err != nil { // lines of no ticket
		end = "ROLLBACK"
		w.exec(end)
	}
	if end == "ROLLBACK" {
		w.log = w.log[:log]
	}
}

func (w *partWorld) some() {
	old := max(1, w.last-w.r.IntN(5))
	switch w.r.IntN(16) {
	case 0, 1, 2, 3, 4: // a ticket, its header first
		w.last++
		w.do("INSERT INTO t VALUES('ACME', %d, %d)", w.last, w.next())
		for range w.r.IntN(4) {
			w.line(w.last)
			if w.r.IntN(8) == 0 {
				w.do("INSERT INTO jet(v) VALUES(%d)", w.next())
			}
		}
	case 5: // its header last
		w.last++
		w.line(w.last)
		w.do("INSERT INTO t VALUES('ACME', %d, %d)", w.last, w.next())
		w.line(w.last)
	case 6, 7: // the newest goes on, in another transaction
		w.line(w.last)
	case 8:
		w.line(old)
	case 9:
		w.do("DELETE FROM t WHERE n=%d", old)
		if w.r.IntN(2) == 0 {
			w.do("INSERT INTO t VALUES('ACME', %d, %d)", old, w.next())
			w.line(old)
		}
	case 10:
		w.do("DELETE FROM l WHERE n=%d AND i=%d", old, w.r.IntN(6))
	case 11:
		w.do("UPDATE l SET v=%d WHERE n=%d", w.next(), old)
	case 12:
		w.do("UPDATE t SET v=%d WHERE n=%d", w.next(), old)
	case 13: // numbered otherwise, with or without its lines
		w.last++
		w.do("UPDATE %s SET n=%d WHERE n=%d", []string{"t", "l"}[w.r.IntN(2)], w.last, old)
		w.line(w.last)
	case 14:
		w.do("INSERT OR REPLACE INTO l VALUES('ACME', %d, %d, %d)", old, w.r.IntN(6), w.next())
	case 15:
		log := len(w.log)
		w.exec("SAVEPOINT sp")
		w.last++
		w.do("INSERT INTO t VALUES('ACME', %d, %d)", w.last, w.next())
		w.line(w.last)
		w.exec("ROLLBACK TO sp; RELEASE sp")
		w.log = w.log[:log]
		w.line(old)
	}
}

func (w *partWorld) step() {
	switch n := w.r.IntN(10); {
	case n < 6:
		w.pos_()
	case n < 9:
		w.seal_()
	case w.r.IntN(4) == 0:
		if err := w.NewEpoch(w.t.Context(), w.stream, w.now(), "test"); err != nil {
			w.t.Fatal(err)
		}
		w.from = w.marks[0]
	case len(w.marks) > 1:
		at := 1 + w.r.IntN(len(w.marks)-1)
		w.issue++
		if p := w.receipt(w.marks[at].p, w.issue, w.issue); p.Ignored == "" {
			w.marks = w.marks[at:]
			if w.from.log < w.marks[0].log {
				w.from = w.marks[0]
			}
		}
	}
}

// seal_ seals a batch and holds it against the model.
func (w *partWorld) seal_() {
	if w.from.rows == nil {
		w.from = w.marks[0]
	}
	gaps := w.r.IntN(4)
	w.gap = func() {
		if gaps--; gaps >= 0 {
			w.pos_()
		}
	}
	b := w.seal()
	now := w.rows()
	var want []string
	seen := map[string]bool{}
	for _, e := range w.log[w.from.log:] {
		if seen[e.key] {
			continue
		}
		seen[e.key] = true
		table, key, _ := strings.Cut(e.key, " ")
		if v, ok := now[e.key]; ok {
			want = append(want, table+" upsert "+strings.TrimSuffix(key, "]")+","+v+"]")
		} else if _, ok := w.from.rows[e.key]; ok && !e.new {
			want = append(want, table+" delete "+key)
		} else { // replaced and gone, or sealed only in an epoch that is over
			delete(w.server, e.key)
		}
	}
	var got []string
	if b != nil {
		got = b.lines
		w.check(b)
	}
	if !slices.Equal(sorted(got), sorted(want)) {
		w.t.Fatalf("batch %d:\n got %q\nwant %q", w.batches, sorted(got), sorted(want))
	}
	for _, l := range got {
		var table, op, rest string
		if _, err := fmt.Sscan(l, &table, &op, &rest); err != nil {
			w.t.Fatal(err)
		}
		if op == "delete" {
			delete(w.server, table+" "+rest)
			continue
		}
		i := strings.LastIndex(rest, ",")
		w.server[table+" "+rest[:i]+"]"] = strings.TrimSuffix(rest[i+1:], "]")
	}
	w.from = partMark{log: len(w.log), rows: now}
	if b != nil {
		w.from.p = b.p
		w.marks = append(w.marks, w.from)
	} else if n := len(w.marks); n > 1 { // goes with the last batch's receipt
		w.marks[n-1].log, w.marks[n-1].rows = w.from.log, now
	}
}

// check holds a batch's totals and order against its rows.
func (w *partWorld) check(b *upBatch) {
	w.batches++
	rows, sums := map[string]int{}, map[string]int{}
	previous := ""
	for _, l := range b.lines {
		table, rest, _ := strings.Cut(l, " ")
		op, rest, _ := strings.Cut(rest, " ")
		row := make([]change.Value, strings.Count(rest, ",")+1)
		if _, err := change.ParseRow([]byte(rest+"\n"), row, nil); err != nil {
			w.t.Fatal(l, err)
		}
		rows[table]++
		if op == "upsert" {
			sums[table] += int(row[len(row)-1].Int)
		}
		key := table + op
		for _, v := range row[:min(len(row), map[string]int{"jet": 1, "t": 2, "l": 3, "s": 4}[table])] {
			key += fmt.Sprintf(" %08d%s", v.Int, v.Bytes)
		}
		if strings.HasPrefix(previous, table+op) && key <= previous {
			w.t.Errorf("%s comes after %s", key, previous)
		}
		previous = key
	}
	for _, total := range b.Totals {
		if total.Rows != fmt.Sprint(rows[total.Table]) || total.Sums[0].Sum != fmt.Sprint(sums[total.Table]) {
			w.t.Errorf("%+v, want %d rows and %d", total, rows[total.Table], sums[total.Table])
		}
		delete(rows, total.Table)
	}
	if len(rows) > 0 {
		w.t.Errorf("no totals for %v", rows)
	}
}

// What the model leaves out.
func TestOutboxParts(t *testing.T) {
	sell := "BEGIN; INSERT INTO t VALUES('ACME', %[1]d, 1); INSERT INTO l VALUES('ACME', %[1]d, 1, 2); COMMIT"
	for name, tt := range map[string]struct {
		before, after string // SQL; before is sealed
		uploads       func([]manifest.Upload)
		want          []string
	}{
		"a ticket that comes again": {before: fmt.Sprintf(sell, 1),
			after: "PRAGMA foreign_keys=OFF; DELETE FROM t; INSERT INTO t VALUES('ACME', 1, 3); INSERT INTO l VALUES('ACME', 1, 2, 4)",
			want:  []string{`t upsert ["ACME",1,3]`, `l upsert ["ACME",1,1,2]`, `l upsert ["ACME",1,2,4]`}},
		"a ticket replaced with its lines": {before: fmt.Sprintf(sell, 1), after: "INSERT OR REPLACE INTO t VALUES('ACME', 1, 3)",
			want: []string{`t upsert ["ACME",1,3]`, `l delete ["ACME",1,1]`}},
		"a parent that is none any more": {after: fmt.Sprintf(sell, 1), uploads: func(u []manifest.Upload) { u[2].Parent, u[2].Link = "", nil },
			want: []string{`t upsert ["ACME",1,1]`, `l upsert ["ACME",1,1,2]`}},
		"a parent that is not sent any more": {after: fmt.Sprintf(sell, 1), uploads: func(u []manifest.Upload) { u[1] = u[0] },
			want: []string{`l upsert ["ACME",1,1,2]`}},
		"an index that is gone": {before: fmt.Sprintf(sell, 1),
			after: "INSERT INTO l VALUES('ACME', 1, 5, 1); INSERT INTO s VALUES('ACME', 1, 5, 1, 1); DROP INDEX s_l",
			want:  []string{`l upsert ["ACME",1,5,1]`, `s upsert ["ACME",1,5,1,1]`}},
		"values of other types": {after: "INSERT INTO t VALUES(12, '7', 1); INSERT INTO l VALUES('12', 7.0, '3', 2); INSERT INTO l VALUES(12, '7', 4, 2)",
			want: []string{`t upsert ["12",7,1]`, `l upsert ["12",7,3,2]`, `l upsert ["12",7,4,2]`}},
		"letters of either case": {after: "PRAGMA foreign_keys=OFF; INSERT INTO t VALUES('a', 1, 1); INSERT INTO l VALUES('A', 1, 1, 2), ('a', 1, 2, 2)",
			want: []string{`t upsert ["a",1,1]`, `l upsert ["A",1,1,2]`, `l upsert ["a",1,2,2]`}},
	} {
		t.Run(name, func(t *testing.T) {
			db := newUpDB(t, partsSQL, partTables())
			db.exec("INSERT INTO jet VALUES(100, 1)")
			if tt.before != "" {
				db.exec(tt.before)
			}
			db.seal()
			db.exec(tt.after)
			if tt.uploads != nil {
				db.import_(func(b *testBatch) {
					list := partTables()
					tt.uploads(list)
					b.m.Uploads = list[1:3]
				})
			}
			wantLines(t, db.seal().lines, tt.want...)
			if db.seal() != nil {
				t.Error("sent once more")
			}
		})
	}
}

// An entry that was closed with a batch, and is deleted by hand, would let the
// one before it stand open.
func TestOutboxPartsClosedLost(t *testing.T) {
	db := newUpDB(t, partsSQL, partTables())
	db.exec("INSERT INTO t VALUES('ACME', 1, 1), ('ACME', 2, 1)")
	db.seal()
	db.exec("DELETE FROM MICPTRACK WHERE seq=2; INSERT INTO l VALUES('ACME', 1, 1, 5); INSERT INTO t VALUES('ACME', 3, 1)")
	if b := db.seal(); !slices.Equal(b.of("l"), []string{`upsert ["ACME",1,1,5]`}) {
		t.Errorf("%q", b.lines)
	}
	if db.seal() != nil {
		t.Error("sent once more")
	}
}

// A Read that finds nothing writes nothing, and one that only finds what has
// no parts neither.
func TestOutboxPartsIdle(t *testing.T) {
	db := newUpDB(t, partsSQL, partTables())
	version := func() string { return queryText(t, db.pos, "SELECT * FROM pragma_data_version") }
	for _, sql := range []string{"", "INSERT INTO jet VALUES(1, 1)", "INSERT INTO t VALUES('ACME', 1, 1); INSERT INTO jet VALUES(2, 1)"} {
		db.exec(sql)
		before := version()
		db.read()
		if version() != before {
			t.Errorf("%q: Read wrote to the database", sql)
		}
		db.seal()
	}
	before := version()
	for range 3 {
		if db.seal() != nil {
			t.Error("sealed")
		}
	}
	if version() != before {
		t.Error("there was nothing to seal, and yet the database was written to")
	}
	// A POS that never stops is not waited for for ever.
	n := 10
	db.gap = func() { n++; db.exec(fmt.Sprintf("INSERT INTO t VALUES('ACME', %d, 1)", n)) }
	db.gap()
	if _, err := db.Read(t.Context(), db.stream, false, &upBatch{}); !errors.Is(err, database.ErrBusy) {
		t.Errorf("%v", err)
	}
}
