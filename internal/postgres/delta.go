package postgres

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"caisseauto/internal/change"
)

// A delta is the query of one table's changes.
type delta struct {
	*extracted
	e    *extraction
	args []any
	// The parameters that hold the dossier of the rows, and of those that
	// they come with when these are touched.
	ownDossier, touchedDossier string
}

func (e *extraction) delta(t *extracted) *delta {
	d := &delta{extracted: t, e: e}
	param := func(value string) string {
		d.args = append(d.args, value)
		return fmt.Sprintf("$%d::text", len(d.args))
	}
	if t.dossier != "" {
		d.ownDossier = param(t.value)
	}
	if t.touches != nil && t.touches.dossier != "" {
		d.touchedDossier = param(t.touches.value)
	}
	return d
}

// keys returns the names that a key has in the queries, k1, k2, …
func (c *captured) keys() []string {
	names := make([]string, len(c.key))
	for i := range names {
		names[i] = fmt.Sprintf("k%d", i+1)
	}
	return names
}

// castKeys returns the journal's key as values of the key's own types: two
// ways to write one number are one key then.
func (c *captured) castKeys() string {
	list := make([]string, len(c.key))
	for i, k := range c.key {
		list[i] = fmt.Sprintf("k[%d]::%s%s AS k%d", i+1, k.Type, k.collate(), i+1)
	}
	return strings.Join(list, ", ")
}

// entries returns the condition of the journal's entries that are meant.
func (d *delta) entries() string {
	sql := fmt.Sprintf("%s AND tab = %d", d.e.window(), d.tab)
	switch {
	case d.dossier == "":
	case d.Column(d.dossier).Base == bpcharOID:
		sql += " AND rtrim(dossier) = " + d.ownDossier
	default:
		sql += " AND dossier = " + d.ownDossier
	}
	return sql
}

// rewritten reports whether the journal names a row by two texts that are one
// key here (1.0 and 1.00, citext), and may be two for a till. A batch cannot
// say so row by row: where they are one, too, its delete would come last.
func (d *delta) rewritten() (yes bool, err error) {
	if !slices.ContainsFunc(d.key, func(k *Column) bool { return !k.exact() }) {
		return false, nil
	}
	sql := fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM (SELECT k, %s FROM %s WHERE %s AND (mask IS NULL OR mask >= -1)) AS e GROUP BY %s HAVING min(k) <> max(k))",
		d.castKeys(), journal, d.entries(), strings.Join(d.keys(), ", "))
	err = d.e.tx.QueryRow(d.e.ctx, sql, d.entryArgs()...).Scan(&yes)
	return yes, err
}

// entryArgs returns the parameters of a query of entries alone: the server
// wants no other.
func (d *delta) entryArgs() []any { return d.args[:min(len(d.args), strings.Count(d.entries(), "$"))] }

// grouped returns the query of the changed keys, each once, and m: NULL for a
// row that is to be shipped whole, else the bits of its changed columns.
func (d *delta) grouped(mask string) string {
	keys := strings.Join(d.keys(), ", ")
	sql := "SELECT " + mask + " AS m, " + keys + " FROM " + d.source() + " GROUP BY " + keys
	if mask != "NULL::bigint" {
		sql += " HAVING (" + mask + ") IS DISTINCT FROM 0" // only columns that this stream does not ship
	}
	return sql
}

// joined returns the condition that finds the row of a grouped key.
func (d *delta) joined() string {
	var on []string
	for i, k := range d.key {
		on = append(on, fmt.Sprintf("r.%s %s g.k%d", quote(k.Name), d.equals[i], i+1))
	}
	if d.dossier != "" {
		on = append(on, d.mine("r", d.ownDossier))
	}
	return strings.Join(on, " AND ")
}

// rowsSQL returns the statement of the changed rows: m, the row's shipped
// columns, then the journal's key, for a row that is gone.
func (d *delta) rowsSQL(mask string, top []int64, rest int64) string {
	g := d.grouped(mask)
	if len(top) > 0 {
		g = fmt.Sprintf("SELECT CASE WHEN m IS NULL OR m IN (%s) THEN m ELSE %d END AS m, %s FROM (%s) AS all_sets",
			join(top), rest, strings.Join(d.keys(), ", "), g)
	}
	order := d.keys()
	if mask != "NULL::bigint" {
		order = append([]string{"m NULLS FIRST"}, order...)
	}
	return fmt.Sprintf("SELECT g.m, %s, g.%s FROM (%s ORDER BY %s OFFSET 0) AS g LEFT JOIN %s AS r ON %s",
		d.selected("r"), strings.Join(d.keys(), ", g."), g, strings.Join(order, ", "), d.sql(), d.joined())
}

// deletesSQL returns the statement of the keys whose rows are gone.
func (d *delta) deletesSQL() string {
	return fmt.Sprintf("SELECT %s FROM (%s) AS g WHERE NOT EXISTS (SELECT 1 FROM %s AS r WHERE %s) ORDER BY %s",
		strings.Join(d.keys(), ", "), d.grouped("NULL::bigint"), d.sql(), d.joined(), strings.Join(d.keys(), ", "))
}

// readChanges sends the table's changed rows, and keeps the keys of the gone
// ones.
func (e *extraction) readChanges(t *extracted) error {
	d := e.delta(t)
	mask, seen, err := d.maskSQL()
	if err != nil {
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
		w.keyPlaces[i]++
	}
	return e.each(d.rowsSQL(mask, top, seen), d.args, w.row)
}

// readDeletes asks once more for the keys whose rows are gone.
func (e *extraction) readDeletes(t *extracted) error {
	d := e.delta(t)
	places := all(len(t.key))
	return e.each(d.deletesSQL(), d.args, func(row [][]byte) error { return e.send(t, row, t.key, places, places) })
}

// maxSets is the largest number of different column sets that the patches of
// one table are sorted into. Rows of rarer sets share one that covers all of
// them: a member of its own for a handful of rows would cost more than the
// columns that are shipped needlessly.
const maxSets = 32

// maskSQL looks at which masks there are, and returns the expression that
// brings those of one key together, with all bits that it can have.
func (d *delta) maskSQL() (expr string, seen int64, err error) {
	const whole = "NULL::bigint"
	if !d.patches || !d.masks {
		return whole, 0, nil
	}
	seen, err = number(d.e.ctx, d.e.tx, "SELECT coalesce(bit_or(mask), 0) FROM "+journal+" WHERE "+d.entries()+" AND mask >= 0", d.entryArgs()...)
	if err != nil || seen == 0 {
		return whole, 0, err
	}
	shipped := d.shippedBits()
	return fmt.Sprintf("CASE WHEN count(mask) < count(*) OR min(mask) < 0 THEN NULL ELSE bit_or(mask) & %d END", shipped), seen & shipped, nil
}

// shippedBits returns the bits of the tracked columns that the stream ships.
func (d *delta) shippedBits() (shipped int64) {
	for i, name := range d.tracked {
		for _, c := range d.columns {
			if i < maskBits && c.Name == name {
				shipped |= 1 << i
			}
		}
	}
	return shipped
}

// commonSets returns the most frequent column sets when there are too many,
// else none.
func (d *delta) commonSets(mask string) (top []int64, err error) {
	rows, err := d.e.tx.Query(d.e.ctx, fmt.Sprintf("SELECT m FROM (%s) AS g WHERE m IS NOT NULL GROUP BY m ORDER BY count(*) DESC, m LIMIT %d", d.grouped(mask), maxSets+1), d.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m int64
		if err := rows.Scan(&m); err != nil {
			return nil, err
		}
		top = append(top, m)
	}
	if len(top) <= maxSets {
		return nil, rows.Err()
	}
	return top[:maxSets-1], rows.Err()
}

func join(numbers []int64) string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = fmt.Sprint(n)
	}
	return strings.Join(list, ", ")
}

// A deltaWriter takes the rows of rowsSQL.
type deltaWriter struct {
	*delta
	started    bool
	mask       string // of the rows being sent, "": whole rows
	columns    []*Column
	places     []int // what of them is sent
	keyPlaces  []int // the row's key
	gonePlaces []int // the journal's key
}

func (w *deltaWriter) row(row [][]byte) error {
	if row[w.keyPlaces[0]] == nil {
		return w.gone(row)
	}
	if !w.started || string(row[0]) != w.mask {
		if err := w.start(string(row[0])); err != nil {
			return err
		}
	}
	return w.e.send(w.extracted, row, w.columns, w.places, w.keyPlaces)
}

// start begins the rows of another column set.
func (w *deltaWriter) start(mask string) error {
	w.started, w.mask = true, mask
	w.places, w.columns = w.places[:0], w.columns[:0]
	if mask == "" {
		for i, c := range w.extracted.columns {
			w.places, w.columns = append(w.places, i+1), append(w.columns, c)
		}
		return w.e.sink.Start(change.Header{Table: w.Name, Op: change.Upsert, Columns: w.wireNames()})
	}
	set := number64(mask)
	h := change.Header{Table: w.Name, Op: change.Patch, Columns: w.names()}
	w.places, w.columns = append(w.places, w.keyPlaces...), append(w.columns, w.key...)
	for i, name := range w.tracked {
		if i >= maskBits || set&(1<<i) == 0 {
			continue
		}
		for j, c := range w.extracted.columns {
			if c.Name == name {
				h.Columns = append(h.Columns, name)
				w.places, w.columns = append(w.places, j+1), append(w.columns, c)
			}
		}
	}
	return w.e.sink.Start(h)
}

// gone keeps a key whose row is not there, or not the stream's, any more.
func (w *deltaWriter) gone(row [][]byte) error {
	if w.spilled {
		return nil
	}
	before := len(w.deletes)
	var err error
	if w.deletes, err = appendPlaces(w.deletes, row, w.key, w.gonePlaces); err != nil {
		return err
	}
	if n := len(w.deletes) - before; n > change.MaxLine {
		return tooLong(row, w.gonePlaces, n)
	}
	if w.e.kept -= len(w.deletes) - before; w.e.kept < 0 {
		w.e.kept += len(w.deletes)
		w.deletes, w.spilled = nil, true
	}
	return nil
}
