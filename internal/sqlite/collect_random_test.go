package sqlite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A collectModel does by value, on maps, what the rules say.
type collectModel struct {
	rule    string
	rows    map[string]map[string][]any // table, key, row
	waiting map[string][]modelRow       // units, by till and the keys of their rows
	sums    map[string]map[string]int   // by till and table: rows; table.v: sum
	numbers map[string]map[int]bool     // by till: of heads that have come
	touched map[string]bool
	decided bool // an operator takes what is held
}

type modelRow struct {
	table string
	op    change.Op
	row   []any
	base  []any
}

const modelSchema = `CREATE TABLE head(d TEXT, caisse TEXT, n INTEGER, v INTEGER CHECK(v<>13), PRIMARY KEY(d, caisse, n));
	CREATE TABLE line(d TEXT, caisse TEXT, n INTEGER, l INTEGER, v INTEGER CHECK(v<>13), PRIMARY KEY(d, caisse, n, l));
	CREATE TABLE note(d TEXT, caisse TEXT, n INTEGER, l INTEGER, t INTEGER, v INTEGER CHECK(v<>13), PRIMARY KEY(d, caisse, n, l, t));
	CREATE TABLE par(d TEXT, caisse TEXT, k INTEGER, v INTEGER CHECK(v<>13), PRIMARY KEY(d, caisse, k));
	CREATE TABLE client(dossier TEXT, code INTEGER, v INTEGER CHECK(v<>13), version INTEGER, PRIMARY KEY(dossier, code));`

var modelColumns = map[string][]string{
	"head": {"d", "caisse", "n", "v"}, "line": {"d", "caisse", "n", "l", "v"}, "note": {"d", "caisse", "n", "l", "t", "v"},
	"par": {"d", "caisse", "k", "v"}, "client": {"dossier", "code", "v", "version"},
}

var modelKeys = map[string]int{"head": 3, "line": 4, "note": 5, "par": 3, "client": 2}

func modelUploads(rule string) []database.UploadConfig {
	up := func(name, parent string, link ...string) database.UploadConfig {
		return database.UploadConfig{Name: name, Mode: manifest.Append, DossierColumn: "d", Dossier: "ACME", Totals: []string{"v"}, Parent: parent, ParentColumns: link}
	}
	par := up("par", "")
	par.Mode = manifest.Replace
	return []database.UploadConfig{up("note", "line", "d", "caisse", "n", "l"), up("line", "head", "d", "caisse", "n"), up("head", ""), par,
		{Name: "client", Mode: manifest.Both, DossierColumn: "dossier", Dossier: "ACME", Conflict: rule}}
}

func (r *modelRow) key() string {
	return fmt.Sprint(r.row[:modelKeys[r.table]])
}

// parentKey returns the table and the key of the row's parent.
func (r *modelRow) parent() (string, string) {
	switch r.table {
	case "line":
		return "head", fmt.Sprint(r.row[:3])
	case "note":
		return "line", fmt.Sprint(r.row[:4])
	}
	return "", ""
}

// units splits rows into units: by the root that each leads to in the batch.
func modelUnits(rows []modelRow) [][]modelRow {
	above := map[string]string{}
	root := func(r *modelRow) string {
		table, key := r.parent()
		if table == "" || r.op == change.Delete && table == "" {
			return r.table + r.key()
		}
		if up, ok := above[table+key]; ok {
			return up
		}
		return table + key
	}
	byRoot := map[string][]modelRow{}
	var order []string
	for _, table := range []string{"head", "par", "client", "line", "note"} {
		for i := range rows {
			r := &rows[i]
			if r.table != table {
				continue
			}
			name := root(r)
			if table == "line" {
				above[table+r.key()] = name
			}
			if byRoot[name] == nil {
				order = append(order, name)
			}
			byRoot[name] = append(byRoot[name], *r)
		}
	}
	var units [][]modelRow
	for _, name := range order {
		units = append(units, byRoot[name])
	}
	return units
}

// take takes one unit in, and reports false when it is refused.
func (m *collectModel) take(till string, unit []modelRow) bool {
	var undo []func()
	add := func(r modelRow) {
		old, there := m.rows[r.table][r.key()]
		undo = append(undo, func() {
			if there {
				m.rows[r.table][r.key()] = old
			} else {
				delete(m.rows[r.table], r.key())
			}
		})
		if r.op == change.Delete {
			delete(m.rows[r.table], r.key())
		} else {
			m.rows[r.table][r.key()] = r.row
		}
	}
	for _, r := range unit {
		if !m.one(till, r, add) {
			for _, u := range slices.Backward(undo) {
				u()
			}
			return false
		}
	}
	for _, r := range unit {
		m.count(till, r)
		if r.table == "client" {
			m.touched[fmt.Sprint(r.row[1])] = true
		}
	}
	return true
}

func (m *collectModel) count(till string, r modelRow) {
	if m.sums[till] == nil {
		m.sums[till] = map[string]int{}
	}
	m.sums[till][r.table]++
	if r.op == change.Upsert && r.table != "client" {
		m.sums[till][r.table+".v"] += r.row[len(r.row)-1].(int)
	}
}

func (m *collectModel) one(till string, r modelRow, add func(modelRow)) bool {
	live, there := m.rows[r.table][r.key()]
	if r.table != "client" && r.row[1] != till {
		return false
	}
	same := there && r.op == change.Upsert && fmt.Sprint(live) == fmt.Sprint(r.row)
	bad := func() bool { return r.op == change.Upsert && r.row[modelKeys[r.table]] == 13 }
	switch r.table {
	case "par":
		if bad() {
			return false
		}
		add(r)
		return true
	case "client":
		if r.op == change.Delete && !there || same {
			return true
		}
		unchanged := !there && r.base == nil || there && r.base != nil && fmt.Sprint(live) == fmt.Sprint(r.base)
		wins := unchanged || m.rule == database.ConflictTill || m.decided
		if !unchanged && m.rule == database.ConflictHold && !m.decided {
			return false
		}
		if !unchanged && m.rule == database.ConflictNewest {
			wins = !there || r.op != change.Delete && r.row[3].(int) > live[3].(int)
		}
		if wins && bad() {
			return false
		}
		if wins {
			add(r)
		}
		return true
	}
	if r.op == change.Delete || bad() || there && !same {
		return false
	}
	if table, key := r.parent(); table != "" {
		if _, ok := m.rows[table][key]; !ok {
			return false
		}
	}
	add(r)
	return true
}

// unitName names a unit by its rows.
func unitName(till string, unit []modelRow) string {
	var list []string
	for _, r := range unit {
		list = append(list, string(r.op)+r.table+fmt.Sprint(r.row))
	}
	slices.Sort(list)
	return till + " " + strings.Join(list, " ")
}

// randomRows makes the rows of a batch, no key twice.
func (m *collectModel) randomRows(rnd *rand.Rand, till string) []modelRow {
	var rows []modelRow
	seen := map[string]bool{}
	add := func(r modelRow) {
		if k := r.table + r.key(); !seen[k] {
			seen[k] = true
			rows = append(rows, r)
		}
	}
	whose := func() string {
		if rnd.IntN(25) == 0 {
			return "018"
		}
		return till
	}
	op := func() change.Op {
		if rnd.IntN(25) == 0 {
			return change.Delete
		}
		return change.Upsert
	}
	value := func() int { return 10 + rnd.IntN(4)*rnd.IntN(2) }
	for range rnd.IntN(12) {
		n := rnd.IntN(30)
		if rnd.IntN(4) > 0 {
			add(modelRow{table: "head", op: op(), row: []any{"ACME", whose(), n, value()}})
		}
		for l := range rnd.IntN(3) {
			if rnd.IntN(5) > 0 {
				add(modelRow{table: "line", op: op(), row: []any{"ACME", whose(), n, l, value()}})
			}
			if rnd.IntN(3) == 0 {
				add(modelRow{table: "note", op: op(), row: []any{"ACME", whose(), n, l, rnd.IntN(2), value()}})
			}
		}
		switch rnd.IntN(3) {
		case 0:
			add(modelRow{table: "par", op: []change.Op{change.Upsert, change.Delete}[rnd.IntN(2)], row: []any{"ACME", whose(), rnd.IntN(6), value()}})
		case 1:
			r := modelRow{table: "client", op: []change.Op{change.Upsert, change.Upsert, change.Delete}[rnd.IntN(3)], row: []any{"ACME", rnd.IntN(6), value(), rnd.IntN(9)}}
			if live, ok := m.rows["client"][r.key()]; ok && rnd.IntN(2) == 0 {
				r.base = live
			} else if rnd.IntN(2) == 0 {
				r.base = []any{"ACME", r.row[1], 1, 1}
			}
			add(r)
		}
	}
	return rows
}

// send makes a batch of rows and integrates it.
func (s *upServer) sendModel(rnd *rand.Rand, till string, rows []modelRow) change.Applied {
	b := s.batch(till)
	tables := []string{"client", "head", "line", "note", "par"}
	if rnd.IntN(5) == 0 { // a till that does not know what is whose parent
		slices.Reverse(tables)
	}
	for _, table := range tables {
		var base, rest, gone [][]any
		for _, r := range rows {
			if r.table != table {
				continue
			}
			if r.base != nil {
				base = append(base, r.base)
			}
			if r.op == change.Upsert {
				rest = append(rest, r.row)
			} else {
				gone = append(gone, r.row[:modelKeys[table]])
			}
		}
		if len(rest)+len(gone) == 0 {
			continue
		}
		columns := strings.Join(modelColumns[table], " ")
		b.add(table, change.Base, columns, base...).add(table, change.Upsert, columns, rest...)
		b.add(table, change.Delete, columns, gone...)
	}
	return b.send()
}

// Random batches of two tills: bad units of every kind, resends, conflicts,
// retries. After each, everything is as a plain model has it.
func TestCollectRandom(t *testing.T) {
	rounds, batches := 12, 10
	if testing.Short() || raceSlow > 1 {
		rounds = 4
	}
	kinds := map[string]int{}
	for seed := range uint64(rounds) {
		rule := []string{database.ConflictNewest, database.ConflictServer, database.ConflictTill, database.ConflictHold}[seed%4]
		t.Run(fmt.Sprint(seed, rule), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			s := newUpServer(t, modelSchema, modelUploads(rule))
			if seed%3 == 0 {
				s.t0().limits.stageBytes = 100 // everything through a file
			}
			m := &collectModel{rule: rule, rows: map[string]map[string][]any{}, waiting: map[string][]modelRow{}, sums: map[string]map[string]int{},
				numbers: map[string]map[int]bool{"017": {}, "018": {}}, touched: map[string]bool{}}
			for table := range modelColumns {
				m.rows[table] = map[string][]any{}
			}
			var last []modelRow
			for range batches {
				m.erp(rnd, s)
				till := []string{"017", "018"}[rnd.IntN(2)]
				rows := m.randomRows(rnd, till)
				if rnd.IntN(4) == 0 && last != nil {
					rows = last // the same once more, perhaps as another till's
				}
				last = rows
				if len(rows) == 0 {
					continue
				}
				m.batch(s, rnd, till, rows, kinds)
				m.compare(t, s)
				if rnd.IntN(3) == 0 {
					m.retry(t, s)
					m.compare(t, s)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
	t.Logf("%v", kinds)
	if kinds["taken"] == 0 || kinds["refused"] == 0 {
		t.Error("the batches show nothing")
	}
}

func (s *upServer) t0() *Till { return s.driver.t }

// erp changes customers on the server.
func (m *collectModel) erp(rnd *rand.Rand, s *upServer) {
	for range rnd.IntN(3) {
		r := modelRow{table: "client", row: []any{"ACME", rnd.IntN(6), 20 + rnd.IntN(3), rnd.IntN(9)}}
		if rnd.IntN(4) == 0 {
			s.exec(fmt.Sprintf("DELETE FROM client WHERE code=%d", r.row[1]))
			delete(m.rows["client"], r.key())
			continue
		}
		s.exec(fmt.Sprintf("REPLACE INTO client VALUES('ACME',%d,%d,%d)", r.row[1:]...))
		m.rows["client"][r.key()] = r.row
	}
}

func (m *collectModel) batch(s *upServer, rnd *rand.Rand, till string, rows []modelRow, kinds map[string]int) {
	s.exec("DELETE FROM caisseauto_journal")
	m.touched = map[string]bool{}
	s.sendModel(rnd, till, rows)
	for _, r := range rows {
		if r.table == "head" && r.row[1] == till && r.op == change.Upsert {
			m.numbers[till][r.row[2].(int)] = true
		}
	}
	for i, unit := range modelUnits(rows) {
		if m.take(till, unit) {
			kinds["taken"]++
			continue
		}
		kinds["refused"]++
		m.waiting[fmt.Sprint(unitName(till, unit), " #", s.receipt(till).Sequence, i)] = unit
	}
}

// retry retries every unit that waits, in the server's order.
func (m *collectModel) retry(t *testing.T, s *upServer) {
	m.decided = m.rule == database.ConflictHold
	defer func() { m.decided = false }()
	for _, u := range s.units() {
		_, till, _ := strings.Cut(u.Stream, "/up/")
		name, unit := m.find(t, s, till, u.ID)
		if unit == nil {
			t.Fatalf("unit %d of the server is none of the model's", u.ID)
		}
		_, err := s.Retry(context.Background(), u.ID)
		if m.take(till, unit) {
			if err != nil {
				t.Errorf("retry of %s: %v", name, err)
			}
			delete(m.waiting, name)
		} else if !errors.Is(err, collect.ErrStillHeld) {
			t.Errorf("retry of %s: %v", name, err)
		}
	}
}

// find finds the model's unit with the same rows.
func (m *collectModel) find(t *testing.T, s *upServer, till string, id int64) (string, []modelRow) {
	want := s.unitRows(id)
	for _, name := range slices.Sorted(maps.Keys(m.waiting)) {
		if strings.HasPrefix(name, till+" ") && want == jsonRows(m.waiting[name]) {
			return name, m.waiting[name]
		}
	}
	return "", nil
}

func jsonRows(unit []modelRow) string {
	var list []string
	line := func(r modelRow, op change.Op, row []any) {
		if op == change.Delete {
			row = row[:modelKeys[r.table]]
		}
		var values []change.Value
		for _, v := range row {
			values = append(values, testValue(v))
		}
		list = append(list, fmt.Sprintf("%s %s %s", r.table, op, change.AppendRow(nil, values)))
	}
	for _, r := range unit {
		if r.base != nil {
			line(r, change.Base, r.base)
		}
		line(r, r.op, r.row)
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// unitRows shows the rows of a unit in quarantine as jsonRows does.
func (s *upServer) unitRows(id int64) string {
	u, err := s.Unit(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []string
	for _, member := range u.Members {
		first, rest, _ := strings.Cut(member, "\n")
		h, err := change.ParseHeader([]byte(first + "\n"))
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(rest) {
			list = append(list, fmt.Sprintf("%s %s %s", h.Table, h.Op, line))
		}
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// compare holds the database against the model.
func (m *collectModel) compare(t *testing.T, s *upServer) {
	t.Helper()
	for table, columns := range modelColumns {
		var want []string
		for _, row := range m.rows[table] {
			text := fmt.Sprintln(row...)
			want = append(want, strings.ReplaceAll(strings.TrimSpace(text), " ", "|"))
		}
		slices.Sort(want)
		got := strings.Fields(rowsText(t, s.erp, "SELECT "+database.QuoteAll("", columns)+" FROM "+table))
		slices.Sort(got)
		if diff := cmp.Diff(want, got, cmp.Transformer("", func(l []string) string { return strings.Join(l, "\n") })); diff != "" {
			t.Errorf("table %s, -want +got:\n%s", table, diff)
		}
	}
	var want, got []string
	for _, unit := range m.waiting {
		want = append(want, jsonRows(unit))
	}
	for _, u := range s.units() {
		got = append(got, s.unitRows(u.ID))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("quarantine, -want +got:\n%s", diff)
	}
	touched := strings.Fields(rowsText(t, s.erp, "SELECT DISTINCT k2 FROM caisseauto_journal"))
	for code := range m.touched {
		if !slices.Contains(touched, code) {
			t.Errorf("client %s does not go down again: %v", code, touched)
		}
	}
	for _, till := range []string{"017", "018"} {
		m.compareTotals(t, s, till)
	}
}

func (m *collectModel) compareTotals(t *testing.T, s *upServer, till string) {
	t.Helper()
	r := s.receipt(till)
	if r == nil {
		return
	}
	got := map[string]int{}
	for _, total := range r.Totals {
		var n int
		fmt.Sscan(total.Rows, &n)
		got[total.Table] = n
		for _, sum := range total.Sums {
			fmt.Sscan(sum.Sum, &n)
			got[total.Table+"."+sum.Column] = n
		}
	}
	want := maps.Clone(m.sums[till])
	for _, list := range []map[string]int{want, got} {
		maps.DeleteFunc(list, func(_ string, n int) bool { return n == 0 })
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("", func(l map[string]int) string { return fmt.Sprint(l) })); diff != "" {
		t.Errorf("totals of till %s, -want +got:\n%s", till, diff)
	}
	rows := 0
	for name, unit := range m.waiting {
		if strings.HasPrefix(name, till+" ") {
			rows += len(unit)
		}
	}
	if int(r.Waiting) != rows {
		t.Errorf("receipt of till %s: %d rows in quarantine, want %d", till, r.Waiting, rows)
	}
	var ranges manifest.Ranges
	for n := range m.numbers[till] {
		ranges.Add(int64(n), int64(n))
	}
	var lines []string
	for _, h := range ranges.Holes() {
		text := fmt.Sprintf("head numbers %d-%d of till %s are missing", h.Lo, h.Hi, till)
		if h.Lo == h.Hi {
			text = fmt.Sprintf("head number %d of till %s is missing", h.Lo, till)
		}
		lines = append(lines, text)
	}
	var alarms []string
	for l := range strings.Lines(s.alarms()) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(l), collect.AlarmNumbers+": head"); ok && strings.Contains(text, "till "+till) {
			alarms = append(alarms, "head"+text)
		}
	}
	slices.Sort(lines)
	slices.Sort(alarms)
	if diff := cmp.Diff(lines, alarms); diff != "" {
		t.Errorf("holes of till %s, -want +got:\n%s", till, diff)
	}
}
