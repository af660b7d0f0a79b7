package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
)

// deleteMemory is how many bytes of deleted keys are kept while the rows are
// read, since they may only stand after all of them. A table with more is
// asked for them a second time.
const deleteMemory = 8 << 20

// An extraction is one Read at work, in its snapshot.
type extraction struct {
	ctx  context.Context
	tx   pgx.Tx
	sink change.Sink
	from snapshot // of the last batch
	kept int      // bytes of memory for deletes that are left
	line []byte
	// What the journal has since the last batch, by table number.
	changed, dirty map[int64]bool
	writers        map[uint32][]string // by table, of the time just before the snapshot
}

// extracted is a table in an extraction.
type extracted struct {
	*carried
	whole   bool
	rows    int64
	deletes []byte // encoded lines
	spilled bool   // there were too many deletes to keep
}

// window returns the condition of the journal's entries since the last batch.
func (e *extraction) window() string { return e.from.after() + " AND NOT " + future }

// dirtyEntry is the condition of an entry that names no row.
const dirtyEntry = "(k IS NULL OR (mask IS NULL OR mask >= -1) AND array_position(k, NULL) IS NOT NULL)"

// readChanged reads which tables have entries in the journal.
func (e *extraction) readChanged() error {
	e.changed, e.dirty = map[int64]bool{}, map[int64]bool{}
	rows, err := e.tx.Query(e.ctx, "SELECT tab, bool_or("+dirtyEntry+") FROM "+journal+" WHERE "+e.window()+" GROUP BY tab")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var tab int64
		var dirty bool
		if err := rows.Scan(&tab, &dirty); err != nil {
			return err
		}
		e.changed[tab], e.dirty[tab] = true, dirty
	}
	return rows.Err()
}

// run reads the tables, which come parents first.
func (e *extraction) run(list []*extracted) (err error) {
	for _, t := range list {
		if t.whole {
			err = e.readWhole(t)
		} else if e.changed[t.tab] || t.touches != nil && e.changed[t.touch.tab] {
			err = e.readChanges(t)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t.sql(), err)
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := e.sendDeletes(list[i]); err != nil {
			return fmt.Errorf("table %s: %w", list[i].sql(), err)
		}
	}
	return nil
}

// all returns the columns 0 to n-1.
func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// wireNames returns the names of the shipped columns.
func (r *carried) wireNames() []string {
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.Name
	}
	return names
}

// selected returns the shipped columns for a SELECT.
func (r *carried) selected(alias string) string {
	list := make([]string, len(r.columns))
	for i, c := range r.columns {
		list[i] = alias + "." + quote(c.Name)
	}
	return strings.Join(list, ", ")
}

// keyPlaces returns where the key's columns stand among the shipped ones.
func (r *carried) keyPlaces() []int {
	places := make([]int, len(r.key))
	for i, k := range r.key {
		for j, c := range r.columns {
			if c == k || c.Name == k.Name {
				places[i] = j
			}
		}
	}
	return places
}

// mine returns the condition that a row is the dossier's. Text compares by
// value here, whatever the column's collation or type; the padding of a
// character(n) is none of it.
func (c *captured) mine(row, dossier string) string {
	return c.Column(c.dossier).text(row) + " = " + dossier
}

// readWhole sends every row of the table that is the stream's.
func (e *extraction) readWhole(t *extracted) error {
	var order []string
	for _, k := range t.key {
		order = append(order, "r."+quote(k.Name))
	}
	sql := "SELECT " + t.selected("r") + " FROM " + t.sql() + " AS r"
	if t.dossier != "" {
		sql += " WHERE " + t.mine("r", literal(t.value))
	}
	sql += " ORDER BY " + strings.Join(order, ", ")
	if err := e.sink.Start(change.Header{Table: t.Name, Op: change.Upsert, Columns: t.wireNames()}); err != nil {
		return err
	}
	key, places := t.keyPlaces(), all(len(t.columns))
	return e.copyOut(sql, len(t.columns), func(row [][]byte) error {
		for _, i := range key {
			if row[i] == nil {
				return t.nullKey(row)
			}
		}
		return e.send(t, row, t.columns, places, key)
	})
}

// each runs a query that is asked once only, and calls row for every row.
func (e *extraction) each(sql string, args []any, row func([][]byte) error) error {
	return each(e.ctx, e.tx, sql, append([]any{pgx.QueryExecModeExec}, args...), row)
}

// send encodes columns of a row and gives the line to the sink. The key's
// columns are for the message.
func (e *extraction) send(t *extracted, row [][]byte, columns []*Column, places, key []int) (err error) {
	if e.line, err = appendPlaces(e.line[:0], row, columns, places); err != nil {
		return fmt.Errorf("the row with key %s: %w", showKey(row, key), err)
	}
	if len(e.line) > change.MaxLine {
		return tooLong(row, key, len(e.line))
	}
	t.rows++
	return e.sink.Row(e.line)
}

func tooLong(row [][]byte, key []int, n int) error {
	return fmt.Errorf("the row with key %s is %d bytes long, more than the %d that a batch can carry; exclude its large column or make it smaller",
		showKey(row, key), n, change.MaxLine)
}

// appendPlaces appends columns of a row as one line. Columns has what each of
// places is.
func appendPlaces(dst []byte, row [][]byte, columns []*Column, places []int) (_ []byte, err error) {
	dst = append(dst, '[')
	for n, i := range places {
		if n > 0 {
			dst = append(dst, ',')
		}
		if dst, err = columns[n].wire.appendValue(dst, row[i]); err != nil {
			return dst, fmt.Errorf("column %s: %w", quote(columns[n].Name), err)
		}
	}
	return append(dst, ']', '\n'), nil
}

// showKey returns the key of a row for a message.
func showKey(row [][]byte, places []int) string {
	const most = 200 // a key can be a whole file
	var list []string
	for _, i := range places {
		if row[i] == nil {
			list = append(list, "NULL")
		} else {
			list = append(list, string(row[i]))
		}
	}
	if text := strings.Join(list, ", "); len(text) <= most {
		return "(" + text + ")"
	} else {
		return "(" + text[:most] + "…)"
	}
}

// nullKey is the error for a row that cannot be named.
func (t *extracted) nullKey(row [][]byte) error {
	return fmt.Errorf("the row %s has NULL in its key %q, so no other row can be told from it; give it a key and run the export again",
		showKey(row, all(len(t.columns))), t.names())
}

// sendDeletes sends the keys of the rows that are gone.
func (e *extraction) sendDeletes(t *extracted) error {
	if len(t.deletes) == 0 && !t.spilled {
		return nil
	}
	if err := e.sink.Start(change.Header{Table: t.Name, Op: change.Delete, Columns: t.names()}); err != nil {
		return err
	}
	if t.spilled {
		return e.readDeletes(t)
	}
	n, err := change.SendLines(e.sink, t.deletes)
	t.rows += n
	return err
}
