package collecttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// sendModel makes a batch of rows and integrates it.
func (s *Server) sendModel(rnd *rand.Rand, till string, rows []modelRow) change.Applied {
	b := s.Batch(till)
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
		b.Add(table, change.Base, columns, base...).Add(table, change.Upsert, columns, rest...)
		b.Add(table, change.Delete, columns, gone...)
	}
	return b.Send()
}

// testRandom: random batches of two tills. Bad units of every kind, resends, conflicts,
// retries. After each, everything is as a plain model has it.
func testRandom(t *testing.T, k *Kind) {
	rounds, batches := 8, 10
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_SEEDS")); err == nil {
		rounds = n
	}
	if testing.Short() {
		rounds = 4
	}
	kinds := map[string]int{}
	for seed := range uint64(rounds) {
		rule := []string{database.ConflictNewest, database.ConflictServer, database.ConflictTill, database.ConflictHold}[seed%4]
		t.Run(fmt.Sprint(seed, rule), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			s := openServer(t, k, modelSchema, modelUploads(rule), Options{Small: seed%3 == 0})
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
	if len(kinds) > 0 && (kinds["taken"] == 0 || kinds["refused"] == 0) { // none at all where the kind skips
		t.Error("the batches show nothing")
	}
}

// erp changes customers on the server.
func (m *collectModel) erp(rnd *rand.Rand, s *Server) {
	for range rnd.IntN(3) {
		r := modelRow{table: "client", row: []any{"ACME", rnd.IntN(6), 20 + rnd.IntN(3), rnd.IntN(9)}}
		if rnd.IntN(4) == 0 {
			s.Exec(fmt.Sprintf("DELETE FROM client WHERE code=%d", r.row[1]))
			delete(m.rows["client"], r.key())
			continue
		}
		s.Exec(fmt.Sprintf("INSERT INTO client VALUES('ACME',%d,%d,%d) ON CONFLICT(dossier, code) DO UPDATE SET v=excluded.v, version=excluded.version", r.row[1:]...))
		m.rows["client"][r.key()] = r.row
	}
}

func (m *collectModel) batch(s *Server, rnd *rand.Rand, till string, rows []modelRow, kinds map[string]int) {
	s.Exec("DELETE FROM caisseauto_journal")
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
func (m *collectModel) retry(t *testing.T, s *Server) {
	m.decided = m.rule == database.ConflictHold
	defer func() { m.decided = false }()
	for _, u := range s.Units() {
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
func (m *collectModel) find(t *testing.T, s *Server, till string, id int64) (string, []modelRow) {
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
			values = append(values, value(v))
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
func (s *Server) unitRows(id int64) string {
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
func (m *collectModel) compare(t *testing.T, s *Server) {
	t.Helper()
	for table, columns := range modelColumns {
		var want []string
		for _, row := range m.rows[table] {
			text := fmt.Sprintln(row...)
			want = append(want, strings.ReplaceAll(strings.TrimSpace(text), " ", "|"))
		}
		slices.Sort(want)
		got := strings.Fields(s.Text("SELECT " + database.QuoteAll("", columns) + " FROM " + table))
		slices.Sort(got)
		if diff := cmp.Diff(want, got, cmp.Transformer("", func(l []string) string { return strings.Join(l, "\n") })); diff != "" {
			t.Errorf("table %s, -want +got:\n%s", table, diff)
		}
	}
	var want, got []string
	for _, unit := range m.waiting {
		want = append(want, jsonRows(unit))
	}
	for _, u := range s.Units() {
		got = append(got, s.unitRows(u.ID))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("quarantine, -want +got:\n%s", diff)
	}
	touched := strings.Fields(s.Text(s.touched()))
	for code := range m.touched {
		if !slices.Contains(touched, code) {
			t.Errorf("client %s does not go down again: %v", code, touched)
		}
	}
	for _, till := range []string{"017", "018"} {
		m.compareTotals(t, s, till)
	}
}

func (m *collectModel) compareTotals(t *testing.T, s *Server, till string) {
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
