package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// An applyOp is one operation on one table with one list of columns, and its
// statements. All of them take the whole row as parameters ?1, ?2, ….
type applyOp struct {
	table   *applyTable
	header  *change.Header
	number  int
	columns []string // the header's columns in the till's spelling
	key     []int    // places of the key's columns in the row, in the key's order
	write   []int    // places of what can be written: all but generated columns

	hot, full, insert, remove, exists *sqlite3.Stmt
	look                              *sqlite3.Stmt // the live row: write's columns, then the key's
	upserts                           bool          // hot and full are UPSERTs that insert where there is nothing
	converts                          []bool        // for each of write: look tells only whether the value, converted, is there

	warming []*warmer
	warmed  bool // warming is filled in
}

// op prepares the statements for a header, once for all members alike.
func (r *applyRun) op(h *change.Header) (*applyOp, error) {
	if op := r.ops[h]; op != nil {
		return op, nil
	}
	name := string(h.Op) + "\x00" + foldName(h.Table) + "\x00" + strings.Join(h.Columns, "\x00")
	op := r.named[name]
	if op == nil {
		var err error
		if op, err = r.newOp(h); err != nil {
			return nil, err
		}
		r.named[name] = op
	}
	r.ops[h] = op
	return op, nil
}

func (r *applyRun) newOp(h *change.Header) (*applyOp, error) {
	t := r.plan.table(h.Table)
	if t == nil {
		return nil, refuseTable(h.Table, "has rows in the batch, but does not stand in its manifest")
	}
	op := &applyOp{table: t, header: h, number: len(r.list)}
	if err := op.place(); err != nil {
		return nil, err
	}
	r.list = append(r.list, op) // from here on, close finds its statements
	if err := op.prepare(r.t.conn); err != nil {
		return nil, fmt.Errorf("table %s: %w", database.Quote(t.Name), err)
	}
	return op, nil
}

// place finds the header's columns in the table.
func (op *applyOp) place() error {
	t := op.table
	for i, name := range op.header.Columns {
		c := t.Column(name)
		if c == nil && t.lacks(name) && !containsName(op.columns, name) {
			op.columns = append(op.columns, name) // its values go nowhere
			continue
		}
		if c == nil || !t.sends(name) || containsName(op.columns, name) {
			return refuseTable(t.Name, "%s is given as a column of a row, but not once in table and manifest", database.Quote(name))
		}
		op.columns = append(op.columns, c.Name)
		if !c.Generated {
			op.write = append(op.write, i)
		}
	}
	for _, k := range t.key {
		i := slices.IndexFunc(op.columns, func(c string) bool { return sameName(c, k.Name) })
		if i < 0 {
			return refuseTable(t.Name, "a row for %s has no %s, which is in the key", op.header.Op, database.Quote(k.Name))
		}
		op.key = append(op.key, i)
	}
	if op.header.Op == change.Delete && len(op.columns) != len(op.key) {
		return refuseTable(t.Name, "a row for delete has more than the key's columns")
	}
	return nil
}

// param returns the parameter of the row's i-th value.
func param(i int) string { return fmt.Sprintf("?%d", i+1) }

// where returns the condition that finds the row by its key, as the key's
// unique index compares.
func (op *applyOp) where() string { return op.table.where(op.key) }

// where returns the condition for a key whose values are the parameters at
// these places.
func (t *applyTable) where(places []int) string {
	var b strings.Builder
	for j, i := range places {
		if j > 0 {
			b.WriteString(" AND ")
		}
		fmt.Fprintf(&b, "%s IS %s%s", t.qualified(t.key[j].Name), param(i), collate(t.key[j]))
	}
	return b.String()
}

// collate returns the COLLATE of a comparison with an index's column.
func collate(c IndexColumn) string {
	if c.Collation == "" {
		return ""
	}
	return " COLLATE " + database.Quote(c.Collation)
}

// exactly adds to where that the key is the same byte for byte: deleting 'a'
// must leave alone an 'A' that came instead of it, also where both are one
// key; and deleting 1 a 1.0 in a column that tells them apart.
func (op *applyOp) exactly() string {
	w := op.where()
	for j, i := range op.key {
		k := op.table.key[j]
		if !op.table.softKey(j) {
			continue
		}
		q := op.table.qualified(k.Name)
		w += fmt.Sprintf(" AND %s IS %s COLLATE BINARY", q, param(i))
		if op.table.keeps(k.Name) {
			w += fmt.Sprintf(" AND typeof(%s) = typeof(%s)", q, param(i))
		}
	}
	return w
}

// unchanged returns the condition that the columns that are dear to set hold
// these values already; value gives the SQL of the new one.
func (op *applyOp) unchanged(value func(i int) string) string {
	var list []string
	same := func(i int) {
		q := op.table.qualified(op.columns[i])
		list = append(list, fmt.Sprintf("%s IS %s COLLATE BINARY", q, value(i)))
		if op.table.keeps(op.columns[i]) {
			list = append(list, fmt.Sprintf("typeof(%s) = typeof(%s)", q, value(i)))
		}
	}
	for _, i := range op.write {
		if op.isCold(i) && op.header.Op == change.Upsert {
			same(i)
		}
	}
	for j, i := range op.key {
		if op.table.softKey(j) {
			same(i)
		}
	}
	return strings.Join(list, " AND ")
}

func (t *applyTable) qualified(column string) string {
	return database.Quote(t.Name) + "." + database.Quote(column)
}

func (op *applyOp) isCold(i int) bool {
	return op.table.cold[foldName(op.columns[i])] && !op.table.isKey(op.columns[i])
}

// sets returns assignments: of all columns, or of those only that are cheap;
// a patch has none but those that changed. Key columns are assigned where
// they can differ and yet be the same key.
func (op *applyOp) sets(all bool, value func(i int) string) string {
	var list []string
	for _, i := range op.write {
		j := slices.Index(op.key, i)
		dear := op.isCold(i) && op.header.Op == change.Upsert
		if j >= 0 && !(all && op.table.softKey(j)) || j < 0 && !all && dear {
			continue
		}
		list = append(list, database.Quote(op.columns[i])+"="+value(i))
	}
	return strings.Join(list, ", ")
}

// prepare compiles the operation's statements. UPSERT is the quickest, but it
// fires BEFORE INSERT triggers where there is a row, and in UPDATE triggers it
// makes every OR clause an ABORT (upsert.c hands OE_Abort to sqlite3Update):
// tables with triggers get plain UPDATEs and INSERTs.
func (op *applyOp) prepare(c *sqlite3.Conn) error {
	t := op.table
	name := database.Quote(t.Name)
	list := map[**sqlite3.Stmt]string{
		&op.exists: "SELECT 1 FROM " + name + " WHERE " + op.where(),
	}
	switch op.header.Op {
	case change.Delete:
		list[&op.remove] = "DELETE FROM " + name + " WHERE " + op.exactly()
	case change.Patch:
		op.lookSQL(list)
		update := "UPDATE" + t.or + " " + name + " SET "
		hot, full, same := op.sets(false, param), op.sets(true, param), op.unchanged(param)
		if full == "" && !slices.ContainsFunc(op.columns, t.lacks) {
			return refuseTable(t.Name, "a patch has no column to set")
		}
		if full == "" {
			break
		}
		list[&op.full] = update + full + " WHERE " + op.where()
		if hot != "" && same != "" {
			list[&op.hot] = update + hot + " WHERE " + op.where() + " AND " + same
		}
	case change.Upsert:
		op.lookSQL(list)
		op.upsertSQL(list)
	default:
		return refuseTable(t.Name, "%q is no operation", op.header.Op)
	}
	for s, sql := range list {
		var err error
		if *s, err = c.Prepare(sql); err != nil {
			return err
		}
	}
	return nil
}

func (op *applyOp) lookSQL(list map[**sqlite3.Stmt]string) {
	cols := make([]string, 0, len(op.write)+len(op.key))
	for _, i := range op.write {
		column := database.Quote(op.columns[i])
		converts := op.table.drifted(DriftChangedType, op.columns[i])
		if converts { // a comparison gives the value the column's affinity
			column = "(" + column + " IS " + param(i) + " COLLATE BINARY)"
		}
		cols, op.converts = append(cols, column), append(op.converts, converts)
	}
	for _, k := range op.table.key {
		cols = append(cols, database.Quote(k.Name))
	}
	list[&op.look] = "SELECT " + strings.Join(cols, ", ") + " FROM " + database.Quote(op.table.Name) + " WHERE " + op.where()
}

func (op *applyOp) upsertSQL(list map[**sqlite3.Stmt]string) {
	t := op.table
	name := database.Quote(t.Name)
	var cols, params []string
	for _, i := range op.write {
		cols, params = append(cols, op.columns[i]), append(params, param(i))
	}
	for _, c := range t.filled(op) {
		cols, params = append(cols, c.Name), append(params, emptySQL(c))
	}
	insert := fmt.Sprintf("INSERT%s INTO %s(%s) VALUES(%s)", t.or, name, database.QuoteAll("", cols), strings.Join(params, ","))
	list[&op.insert] = insert
	op.upserts = !t.trigger && !t.WithoutRowid
	value := param
	if op.upserts {
		value = func(i int) string { return "excluded." + database.Quote(op.columns[i]) }
	}
	hot, full, same := op.sets(false, value), op.sets(true, value), op.unchanged(value)
	if op.upserts {
		names := make([]string, len(t.key))
		for i, k := range t.key {
			names[i] = k.Name
		}
		on := insert + " ON CONFLICT(" + database.QuoteAll("", names) + ") DO "
		if full == "" {
			list[&op.full] = on + "NOTHING"
			return
		}
		list[&op.full] = on + "UPDATE SET " + full
		if hot != "" && same != "" {
			list[&op.hot] = on + "UPDATE SET " + hot + " WHERE " + same
		}
		return
	}
	if full == "" {
		return
	}
	update := "UPDATE" + t.or + " " + name + " SET "
	list[&op.full] = update + full + " WHERE " + op.where()
	if hot != "" && same != "" {
		list[&op.hot] = update + hot + " WHERE " + op.where() + " AND " + same
	}
}

// close frees the statements.
func (op *applyOp) close() {
	for _, w := range op.warming {
		_ = w.stmt.Close()
	}
	for _, s := range []*sqlite3.Stmt{op.hot, op.full, op.insert, op.remove, op.exists, op.look} {
		if s != nil {
			_ = s.Close()
		}
	}
}
