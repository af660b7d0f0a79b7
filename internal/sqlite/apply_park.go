package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// Two rows that swap a value that must be unique cannot be written one after
// the other: the first meets the second, which still has its old value. So
// the holder of the value is parked: the value is replaced by one that nobody
// has, until the holder's own row comes along in the batch, or its deletion.
// A holder that is still parked at the end gets its value back; when that
// fails, the batch and a row of the till really want the same value.
//
// What is parked stands in a temporary table: its number has no bound.

// holdersMax is how many rows with the same value are parked at once. Only an
// index on expressions can have more than one.
const holdersMax = 16

// park frees the unique value that a row could not have. It reports whether
// anything was moved out of the way.
func (r *applyRun) park(op *applyOp, row []change.Value, cause error) (bool, error) {
	freed := false
	for n := range op.table.rivals {
		if !op.table.violated(n, cause) {
			continue
		}
		keys, err := r.holders(op, n, row)
		if err != nil {
			return false, err
		}
		for _, key := range keys {
			ok, err := r.parkOne(op, n, key, row)
			if err != nil {
				return false, err
			}
			freed = freed || ok
		}
	}
	return freed, nil
}

// violated reports whether an error speaks of the n-th rival. SQLite names
// the columns of the index, or the index if it has expressions (insert.c,
// sqlite3UniqueConstraint).
func (t *applyTable) violated(n int, err error) bool {
	var e *sqlite3.Error
	if !errors.As(err, &e) {
		return false
	}
	x := &t.rivals[n]
	var list []string
	for _, c := range x.Columns {
		if c.Name == "" {
			list = []string{"index '" + strings.ReplaceAll(x.Name, "'", "''") + "'"}
			break
		}
		list = append(list, t.Name+"."+t.Column(c.Name).Name)
	}
	return e.Message == "UNIQUE constraint failed: "+strings.Join(list, ", ")
}

// holders returns the keys of the rows that hold the values that a row wants
// in the n-th rival. It returns none where SQL cannot tell: an index over a
// generated column, whose value nobody knows before the row is written.
func (r *applyRun) holders(op *applyOp, n int, row []change.Value) ([][]change.Value, error) {
	sql := op.holdersSQL(&op.table.rivals[n])
	if sql == "" {
		return nil, nil
	}
	s, err := r.cached(sql)
	if err != nil {
		return nil, nil //nolint:nilerr // an expression that needs what we cannot give it: the row waits
	}
	if err := s.BindRow(row[:s.Params()]); err != nil {
		return nil, err
	}
	defer s.Reset()
	var keys [][]change.Value
	for len(keys) < holdersMax {
		ok, err := s.Step()
		if err != nil || !ok {
			return keys, err
		}
		key := make([]change.Value, len(op.key))
		for j := range key {
			key[j] = s.Value(j)
			key[j].Bytes = slices.Clone(key[j].Bytes)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (op *applyOp) holdersSQL(x *Index) string {
	t := op.table
	var cond []string
	for _, c := range x.Columns {
		left, right := "("+c.Expr+")", "(SELECT "+c.Expr+" FROM ("+op.asTable()+"))"
		if c.Name != "" {
			if t.Column(c.Name).Generated {
				return ""
			}
			left, right = t.qualified(c.Name), op.valueSQL(c.Name)
		}
		cond = append(cond, left+" = "+right+collate(c))
	}
	if x.Where != "" {
		cond = append(cond, "("+x.Where+")")
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s AND NOT (%s)", t.keyList(), database.Quote(t.Name), strings.Join(cond, " AND "), op.where())
}

// valueSQL returns the value that a column is going to have: the row's, or
// where the row does not bring it, the one that is there.
func (op *applyOp) valueSQL(column string) string {
	for _, i := range op.write {
		if sameName(op.columns[i], column) {
			return param(i)
		}
	}
	return fmt.Sprintf("(SELECT %s FROM %s WHERE %s)", database.Quote(column), database.Quote(op.table.Name), op.where())
}

// asTable returns a SELECT of one row that looks like the row to come.
func (op *applyOp) asTable() string {
	var list []string
	for _, c := range op.table.Columns {
		if !c.Generated {
			list = append(list, op.valueSQL(c.Name)+" AS "+database.Quote(c.Name))
		}
	}
	return "SELECT " + strings.Join(list, ", ")
}

// keyList returns the key's columns as a list.
func (t *applyTable) keyList() string {
	names := make([]string, len(t.key))
	for i, k := range t.key {
		names[i] = k.Name
	}
	return database.QuoteAll("", names)
}

// whereKey returns the condition for a key alone: ?1, ?2, ….
func (t *applyTable) whereKey() string {
	places := make([]int, len(t.key))
	for i := range places {
		places[i] = i
	}
	return t.where(places)
}

// parkOne parks the holder of a value of the n-th rival.
func (r *applyRun) parkOne(op *applyOp, n int, key []change.Value, row []change.Value) (bool, error) {
	t := op.table
	for _, col := range t.parkable(&t.rivals[n]) {
		was, ok, err := r.one(fmt.Sprintf("SELECT %s FROM %s WHERE %s", database.Quote(col.Name), database.Quote(t.Name), t.whereKey()), key...)
		if err != nil {
			return false, err
		}
		if !ok || r.isMark(was) {
			continue // parked already, and that did not help
		}
		mark := r.newMark(col)
		moved, err := r.place(t, col.Name, key, mark)
		if err != nil {
			return false, err
		}
		if !moved {
			continue
		}
		incoming := make([]change.Value, len(op.key))
		for j, i := range op.key {
			incoming[j] = row[i]
		}
		r.parked++
		return true, r.run(`INSERT INTO temp.caisseauto_parked(tab, uniq, key, col, mark, was, cause) VALUES(?1,?2,?3,?4,?5,?6,?7)`,
			t.number, n, appendRow(nil, key), col.Name, mark, was, appendRow(nil, incoming))
	}
	return false, nil
}

// parkable returns the columns that can take a placeholder, those first that
// no foreign key watches.
func (t *applyTable) parkable(x *Index) []*Column {
	var free, tied []*Column
	add := func(name string) {
		c := t.Column(name)
		if c == nil || c.Generated || t.isKey(name) || slices.Contains(free, c) || slices.Contains(tied, c) {
			return
		}
		for _, f := range t.ForeignKeys {
			if containsName(f.From, name) {
				tied = append(tied, c)
				return
			}
		}
		free = append(free, c)
	}
	for _, c := range x.Columns {
		if c.Name != "" {
			add(c.Name)
			continue
		}
		for _, tok := range tokens(c.Expr) {
			if tok.name != "" {
				add(tok.name)
			}
		}
	}
	return append(free, tied...)
}

// place writes a value into a column of a row by its key. It reports false,
// and has changed nothing, when a constraint or a trigger does not let it.
// CHECK constraints do not count: what a placeholder breaks is whole again at
// the end.
func (r *applyRun) place(t *applyTable, column string, key []change.Value, v change.Value) (bool, error) {
	s, err := r.cached(fmt.Sprintf("UPDATE%s %s SET %s=%s WHERE %s", t.or, database.Quote(t.Name), database.Quote(column), param(len(t.key)), t.whereKey()))
	if err != nil {
		return false, err
	}
	args := append(slices.Clone(key), v)
	n, err := r.exec(s, args)
	var e *sqlite3.Error
	if errors.As(err, &e) && e.Code == lib.SQLITE_CONSTRAINT_CHECK {
		if err := r.t.conn.Exec("PRAGMA ignore_check_constraints=ON"); err != nil {
			return false, err
		}
		n, err = r.exec(s, args)
		if perr := r.t.conn.Exec("PRAGMA ignore_check_constraints=OFF"); perr != nil {
			return false, perr
		}
	}
	if sqlite3.IsConstraint(err) {
		return false, nil
	}
	return n > 0, err
}

// newSalt makes the placeholders of this run unlike any value that is there.
func newSalt() uint64 { return rand.Uint64() }

const markText = "\x01caisseauto:"

// newMark returns a value of the column's type that nobody has. Numbers are
// such that a REAL column keeps them exactly.
func (r *applyRun) newMark(c *Column) change.Value {
	r.marks++
	text := fmt.Sprintf("%s%016x:%d", markText, r.salt, r.marks)
	switch affinityOf(c.Type) {
	case affinityText:
		return change.Value{Kind: change.Text, Bytes: []byte(text)}
	case affinityBlob:
		return change.Value{Kind: change.Blob, Bytes: []byte(text)}
	}
	return change.Value{Kind: change.Integer, Int: r.firstMark() - r.marks}
}

func (r *applyRun) firstMark() int64 { return -1<<52 - int64(r.salt>>14) }

// isMark reports whether a value is a placeholder of this run.
func (r *applyRun) isMark(v change.Value) bool {
	switch v.Kind {
	case change.Integer:
		return v.Int < r.firstMark() && v.Int >= r.firstMark()-r.marks
	case change.Real:
		return v.Real < float64(r.firstMark()) && v.Real >= float64(r.firstMark()-r.marks)
	case change.Text, change.Blob:
		return strings.HasPrefix(string(v.Bytes), fmt.Sprintf("%s%016x:", markText, r.salt))
	}
	return false
}

// cached prepares a statement once.
func (r *applyRun) cached(sql string) (*sqlite3.Stmt, error) {
	if s := r.stmts[sql]; s != nil {
		return s, nil
	}
	s, err := r.t.conn.Prepare(sql)
	if err != nil {
		return nil, err
	}
	r.stmts[sql] = s
	return s, nil
}

// run runs a statement that is used often.
func (r *applyRun) run(sql string, args ...any) error {
	s, err := r.cached(sql)
	if err != nil {
		return err
	}
	if err := s.BindArgs(args...); err != nil {
		return err
	}
	_, err = s.Step()
	return err
}

// one returns the first column of the first row of a query, its own copy.
func (r *applyRun) one(sql string, args ...change.Value) (change.Value, bool, error) {
	s, err := r.cached(sql)
	if err != nil {
		return change.Value{}, false, err
	}
	if err := s.BindRow(args); err != nil {
		return change.Value{}, false, err
	}
	defer s.Reset()
	ok, err := s.Step()
	if err != nil || !ok {
		return change.Value{}, false, err
	}
	v := s.Value(0)
	v.Bytes = slices.Clone(v.Bytes)
	return v, true, nil
}
