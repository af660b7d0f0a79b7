package sqlite

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A delta is the query of one table's changes.
type delta struct {
	*extracted
	e    *extraction
	args []any
	keys string // the journal's k columns, between commas
	// bound are the arguments of statements with a grouped query in them: args,
	// and where rows come with others that they touch, the dossier of those.
	bound []any
}

// The parameters of a delta's statements: the journal's range, the table, the
// dossier.
const inRange = "seq > ?1 AND seq <= ?2 AND tab = ?3"

func (e *extraction) delta(t *extracted) *delta {
	d := &delta{extracted: t, e: e, args: []any{e.from, e.to, t.tab}}
	if t.dossier != "" {
		d.args = append(d.args, t.value)
	}
	names := make([]string, len(t.key))
	for i := range names {
		names[i] = fmt.Sprintf("k%d", i+1)
	}
	d.keys = strings.Join(names, ", ")
	d.bound = d.args
	if d.touches != nil && d.touches.dossier != "" {
		d.bound = append(slices.Clone(d.args), d.touches.value)
	}
	return d
}

// entries returns the condition of the journal's entries that are meant.
func (d *delta) entries() string {
	if d.dossier == "" {
		return inRange
	}
	return inRange + " AND dossier = ?4"
}

// grouped returns the query of the changed keys, each once, and m: NULL for a
// row that is to be shipped whole, else the bits of its changed columns.
// Keys that the key's index holds for equal are one key: of two spellings in a
// NOCASE key there is one row at most.
func (d *delta) grouped(mask string) string {
	var by []string
	for i, k := range d.key {
		by = append(by, fmt.Sprintf("k%d COLLATE %s", i+1, database.Quote(k.Collation)))
	}
	sql := "SELECT " + mask + " AS m, " + d.keys + " FROM " + d.source() + " GROUP BY " + strings.Join(by, ", ")
	if mask != "NULL" {
		sql += " HAVING m IS NOT 0" // only columns that this stream does not ship
	}
	return sql
}

// joined returns the condition that finds the row of a grouped key.
func (d *delta) joined() string {
	var on []string
	for i, k := range d.key {
		on = append(on, fmt.Sprintf("r.%s = g.k%d COLLATE %s", database.Quote(k.Name), i+1, database.Quote(k.Collation)))
	}
	if d.dossier != "" {
		on = append(on, "r."+database.Quote(d.dossier)+" = ?4 COLLATE BINARY")
	}
	if d.up != nil {
		on = append(on, d.up.mine("r"))
	}
	return strings.Join(on, " AND ")
}

// rowsSQL returns the statement of the changed rows: m, the row's shipped
// columns, then the journal's key, for a row that is gone. One statement
// that walks the keys and looks each row up costs as much as its keys do,
// however large the table is. The LIMIT of -1, which is none, makes SQLite
// keep the order of the keys through the join.
func (d *delta) rowsSQL(mask string, top []int64, rest int64) string {
	g := d.grouped(mask)
	if len(top) > 0 {
		g = fmt.Sprintf("SELECT CASE WHEN m IS NULL OR m IN (%s) THEN m ELSE %d END AS m, %s FROM (%s)", join(top), rest, d.keys, g)
	}
	var order []string
	for i, k := range d.key {
		order = append(order, fmt.Sprintf("k%d COLLATE %s", i+1, database.Quote(k.Collation)))
	}
	if mask != "NULL" {
		order = append([]string{"m"}, order...) // NULL, the whole rows, comes first
	}
	return fmt.Sprintf("SELECT g.m, %s, %s FROM (%s ORDER BY %s LIMIT -1) AS g LEFT JOIN %s AS r ON %s",
		database.QuoteAll("r.", d.columnNames()), "g."+strings.ReplaceAll(d.keys, ", ", ", g."), g, strings.Join(order, ", "), database.Quote(d.Name), d.joined())
}

// deletesSQL returns the statement of the keys whose rows are gone.
func (d *delta) deletesSQL() string {
	if d.up != nil {
		return d.upDeletesSQL()
	}
	return fmt.Sprintf("SELECT %s FROM (%s) AS g WHERE %s IS NOT NULL AND NOT EXISTS (SELECT 1 FROM %s AS r WHERE %s)",
		d.keys, d.grouped("NULL"), strings.ReplaceAll(d.keys, ", ", " IS NOT NULL AND "), database.Quote(d.Name), d.joined())
}

// readChanges sends the table's changed rows, and keeps the keys of the gone
// ones.
func (e *extraction) readChanges(t *extracted) error {
	d := e.delta(t)
	mask, seen, err := d.masks()
	if err != nil {
		return err
	}
	if err := d.refuseNullKeys(); err != nil {
		return err
	}
	var top []int64
	if bits.OnesCount64(uint64(seen)) > 5 { // with 5 there are 31 sets at most
		if top, err = d.commonSets(mask); err != nil {
			return err
		}
	}
	w := deltaWriter{delta: d, keyPlaces: t.keyPlaces(), gonePlaces: make([]int, len(t.key))}
	for i := range w.gonePlaces {
		w.gonePlaces[i] = 1 + len(t.columns) + i
	}
	for i := range w.keyPlaces {
		w.keyPlaces[i]++
	}
	return e.db.Query(d.rowsSQL(mask, top, seen), w.row, d.bound...)
}

// refuseNullKeys refuses the table when it holds a row that has NULL in its
// key. A journal entry alone is no reason: the row may have got its key since.
func (d *delta) refuseNullKeys() error {
	var journal, table []string
	for i, k := range d.key {
		if col := d.Column(k.Name); col.NotNull || d.WithoutRowid || k.Name == d.RowidKey() {
			continue
		}
		journal = append(journal, fmt.Sprintf("k%d IS NULL", i+1))
		table = append(table, database.Quote(k.Name)+" IS NULL")
	}
	if len(journal) == 0 {
		return nil
	}
	found := false
	err := d.e.db.Query("SELECT 1 FROM "+d.journal+" WHERE "+d.entries()+" AND ("+strings.Join(journal, " OR ")+") LIMIT 1",
		func(*sqlite3.Stmt) error { found = true; return nil }, d.args...)
	if err != nil || !found {
		return err
	}
	sql := "SELECT " + database.QuoteAll("", d.columnNames()) + " FROM " + database.Quote(d.Name) + " WHERE (" + strings.Join(table, " OR ") + ")"
	var args []any
	if d.dossier != "" {
		sql += " AND " + database.Quote(d.dossier) + " = ?1 COLLATE BINARY"
		args = append(args, d.value)
	}
	if d.up != nil {
		sql += " AND " + d.up.mine(database.Quote(d.Name))
	}
	return d.e.db.Query(sql+" LIMIT 1", d.nullKey, args...)
}

// readDeletes asks once more for the keys whose rows are gone.
func (e *extraction) readDeletes(t *extracted) error {
	d := e.delta(t)
	places := all(len(t.key))
	return e.db.Query(d.deletesSQL(), func(s *sqlite3.Stmt) error { return e.send(t, s, places, places) }, d.bound...)
}
