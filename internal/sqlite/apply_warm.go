package sqlite

import (
	"strings"

	"caisseauto/internal/change"
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
// a row has. An index that SQLite will not use this way is left out: nothing
// depends on it.
func (op *applyOp) warmers(c *sqlite3.Conn) []*warmer {
	var list []*warmer
	for _, indexes := range [][]Index{op.table.Unique, op.table.Indexes} {
		for _, x := range indexes {
			w := &warmer{}
			var where []string
			for _, column := range x.Columns {
				for i, name := range op.columns {
					if column.Name != "" && foldName(column.Name) == foldName(name) {
						w.columns = append(w.columns, i)
						where = append(where, Quote(name)+" = ?")
					}
				}
			}
			if x.Origin == "pk" || x.Where != "" || len(where) != len(x.Columns) {
				continue
			}
			var err error
			w.stmt, err = c.Prepare("SELECT 1 FROM " + Quote(op.table.Name) + " INDEXED BY " + Quote(x.Name) +
				" WHERE " + strings.Join(where, " AND ") + " LIMIT 1")
			if err == nil {
				list = append(list, w)
			}
		}
	}
	return list
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
