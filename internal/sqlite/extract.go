package sqlite

import (
	"bytes"
	"fmt"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// deleteMemory is how many bytes of deleted keys are kept while the rows are
// read, since they may only stand after all of them. A table with more is
// asked for them a second time.
const deleteMemory = 8 << 20

// An extraction is one Read at work, in its snapshot.
type extraction struct {
	db       *sqlite3.Conn
	sink     change.Sink
	capture  *Capture
	from, to int64 // the journal's entries, from excluded
	kept     int   // bytes of memory for deletes that are left
	line     []byte
}

// extracted is a table in an extraction.
type extracted struct {
	*carried
	whole   bool
	rows    int64
	deletes []byte // encoded lines
	spilled bool   // there were too many deletes to keep
}

// run reads the tables, which come parents first.
func (e *extraction) run(list []*extracted) error {
	changed, err := e.changedTables()
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.whole {
			err = e.readWhole(t)
		} else if changed[t.tab] || t.touches != nil && changed[t.touch.tab] {
			err = e.readChanges(t)
		}
		if err != nil {
			return err
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := e.sendDeletes(list[i]); err != nil {
			return err
		}
	}
	return nil
}

// changedTables returns the numbers of the tables with entries in the journal.
func (e *extraction) changedTables() (map[int64]bool, error) {
	changed := map[int64]bool{}
	err := e.db.Query(`SELECT DISTINCT tab FROM `+e.capture.journal()+` WHERE seq > ?1 AND seq <= ?2`,
		func(s *sqlite3.Stmt) error { changed[s.Int(0)] = true; return nil }, e.from, e.to)
	return changed, err
}

// all returns the columns 0 to n-1.
func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func (t *carried) columnNames() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.Name
	}
	return names
}

// keyPlaces returns where the key's columns stand among the shipped ones.
func (t *carried) keyPlaces() []int {
	places := make([]int, len(t.key))
	for i, k := range t.key {
		for j, c := range t.columns {
			if c.Name == k.Name {
				places[i] = j
			}
		}
	}
	return places
}

// readWhole sends every row of the table that is the stream's.
func (e *extraction) readWhole(t *extracted) (err error) {
	var order []string
	for _, k := range t.key {
		order = append(order, database.Quote(k.Name)+" COLLATE "+database.Quote(k.Collation))
	}
	sql := "SELECT " + database.QuoteAll("", t.columnNames()) + " FROM " + database.Quote(t.Name)
	var args []any
	if t.dossier != "" {
		sql += " WHERE " + database.Quote(t.dossier) + " = ?1 COLLATE BINARY"
		args = append(args, t.value)
	}
	sql += " ORDER BY " + strings.Join(order, ", ")
	if err := e.sink.Start(change.Header{Table: t.Name, Op: change.Upsert, Columns: t.columnNames()}); err != nil {
		return err
	}
	key, places := t.keyPlaces(), all(len(t.columns))
	return e.db.Query(sql, func(s *sqlite3.Stmt) error {
		for _, i := range key {
			if s.Kind(i) == change.Null {
				return t.nullKey(s)
			}
		}
		return e.send(t, s, places, key)
	}, args...)
}

// send encodes columns of the current row and gives the line to the sink. The
// key's columns are for the message.
func (e *extraction) send(t *extracted, s *sqlite3.Stmt, places, key []int) error {
	e.line = appendPlaces(e.line[:0], s, places)
	if len(e.line) > change.MaxLine {
		return t.tooLong(s, key, len(e.line))
	}
	t.rows++
	return e.sink.Row(e.line)
}

func (t *carried) tooLong(s *sqlite3.Stmt, key []int, n int) error {
	return fmt.Errorf("table %s: the row with key %s is %d bytes long, more than the %d that a batch can carry; exclude its large column or make it smaller",
		database.Quote(t.Name), t.showKey(s, key), n, change.MaxLine)
}

// appendPlaces appends columns of the current row of s as one line, straight
// from SQLite's memory.
func appendPlaces(dst []byte, s *sqlite3.Stmt, places []int) []byte {
	dst = append(dst, '[')
	for n, i := range places {
		if n > 0 {
			dst = append(dst, ',')
		}
		switch s.Kind(i) {
		case change.Integer:
			dst = change.AppendInt(dst, s.Int(i))
		case change.Real:
			dst = change.AppendReal(dst, s.Real(i))
		case change.Text:
			dst = change.AppendText(dst, s.Bytes(i))
		case change.Blob:
			dst = change.AppendBlob(dst, s.Bytes(i))
		default:
			dst = change.AppendNull(dst)
		}
	}
	return append(dst, ']', '\n')
}

// showKey returns the key of the current row for a message.
func (t *carried) showKey(s *sqlite3.Stmt, places []int) string {
	const most = 200 // a key can be a whole file
	line := string(bytes.TrimSpace(appendPlaces(nil, s, places)))
	if len(line) > most {
		line = line[:most] + "…"
	}
	return line
}

// nullKey is the error for a row that cannot be named.
func (t *carried) nullKey(s *sqlite3.Stmt) error {
	return fmt.Errorf("table %s: the row %s has NULL in its key %q, so no other row can be told from it; give it a key and run the export again",
		database.Quote(t.Name), t.showKey(s, all(len(t.columns))), t.names())
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
