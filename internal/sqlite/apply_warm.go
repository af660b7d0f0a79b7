package sqlite

import (
	"fmt"
	"io"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A warmer looks for a value in one secondary index, only to have the page
// read on which a new row's entry will stand. Reading it while the lock is
// held takes longer than writing to it.
type warmer struct {
	stmt    *sqlite3.Stmt
	columns []int // places of the index's columns in the row
	row     []change.Value
}

// warmers prepares one for each index of the operation's table whose columns
// a row has; for a delete, whose rows have none, the live row's values are
// looked for. An index that SQLite will not use this way is left out: nothing
// depends on it.
func (op *applyOp) warmers(c *sqlite3.Conn) []*warmer {
	var list []*warmer
	for _, indexes := range [][]Index{op.table.Unique, op.table.Indexes} {
		for _, x := range indexes {
			w := &warmer{}
			var where []string
			if op.header.Op == change.Delete {
				w, where = op.goneWarmer(&x)
			}
			for _, column := range x.Columns {
				for i, name := range op.columns {
					if op.header.Op != change.Delete && column.Name != "" && foldName(column.Name) == foldName(name) {
						w.columns = append(w.columns, i)
						where = append(where, database.Quote(name)+" = ?")
					}
				}
			}
			if x.Origin == "pk" || x.Where != "" || len(where) != len(x.Columns) {
				continue
			}
			// Entries of the same values stand in the order of the rowid.
			if alias := op.table.RowidKey(); alias != "" && len(op.key) == 1 && sameName(alias, op.columns[op.key[0]]) {
				w.columns = append(w.columns, op.key[0])
				where = append(where, database.Quote(alias)+" >= ?")
			}
			var err error
			w.stmt, err = c.Prepare("SELECT 1 FROM " + database.Quote(op.table.Name) + " INDEXED BY " + database.Quote(x.Name) +
				" WHERE " + strings.Join(where, " AND ") + " LIMIT 1")
			if err == nil {
				list = append(list, w)
			}
		}
	}
	return list
}

// goneWarmer makes a warmer's conditions from the live row's values.
func (op *applyOp) goneWarmer(x *Index) (*warmer, []string) {
	w := &warmer{}
	var where []string
	for i := range op.columns {
		w.columns = append(w.columns, i)
	}
	for _, column := range x.Columns {
		if column.Name != "" {
			where = append(where, database.Quote(column.Name)+" = (SELECT "+database.Quote(column.Name)+" FROM "+database.Quote(op.table.Name)+" WHERE "+op.where()+")")
		}
	}
	return w, where
}

// warmStage has the pages read that the rows of a stage will change, where
// there are not too many for the cache: of a large batch they have gone out of
// it when the last row was compared.
func (r *applyRun) warmStage(s *stage) error {
	if r.plan.rows <= r.t.limits.rows || s.rows > r.t.limits.rows {
		return nil
	}
	if err := r.t.conn.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", max(applyWarmKiB, r.t.o.CacheKiB))); err != nil {
		return err
	}
	for {
		b, err := s.Next()
		if err == io.EOF {
			return s.rewind()
		}
		if err != nil {
			return err
		}
		op, err := r.op(b.Header)
		if err != nil {
			return err
		}
		err = r.reading(func() error {
			for i := range b.Rows() {
				if err := r.warmRow(op, b.Row(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// warmRow has the pages read that one row will change.
func (r *applyRun) warmRow(op *applyOp, row []change.Value) error {
	found, err := r.there(op, row)
	if err == nil && found == (op.header.Op == change.Delete) {
		err = op.warm(r.t.conn, row)
	}
	return err
}

// warm has the pages read that a new row's index entries will stand on.
func (op *applyOp) warm(c *sqlite3.Conn, row []change.Value) error {
	if !op.warmed {
		op.warmed, op.warming = true, op.warmers(c)
	}
	for _, w := range op.warming {
		w.row = w.row[:0]
		for _, i := range w.columns {
			w.row = append(w.row, row[i])
		}
		if err := w.stmt.BindRow(w.row); err != nil {
			return err
		}
		if _, err := w.stmt.Step(); err != nil {
			return err
		}
		w.stmt.Reset()
	}
	return nil
}
