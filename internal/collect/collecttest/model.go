package collecttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"caisseauto/internal/change"
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
