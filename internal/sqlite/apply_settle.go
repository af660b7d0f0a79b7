package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// putOff keeps a row for the end: the holder of its value cannot be parked,
// because the index has no column but the key's, or a trigger objects; but it
// may be deleted later in the batch.
func (r *applyRun) putOff(op *applyOp, row []change.Value, cause error) error {
	if op.header.Op == change.Delete || !sqlite3.IsUnique(cause) {
		return r.explain(op, row, cause)
	}
	r.deferred++
	return r.run("INSERT INTO temp.caisseauto_deferred(op, data, why) VALUES(?1,?2,?3)", op.number, appendRow(nil, row), cause.Error())
}

// settle ends what was left open on the way: rows that were put off are
// written, and what is still parked gets its value back.
func (r *applyRun) settle() error {
	if r.deferred > 0 {
		if err := r.rounds("SELECT id FROM temp.caisseauto_deferred ORDER BY id", r.resume); err != nil {
			return err
		}
	}
	if r.parked > 0 {
		return r.rounds("SELECT id FROM temp.caisseauto_parked ORDER BY id DESC", r.unpark)
	}
	return nil
}

// rounds calls work for every id of a query, and again for those that it
// could not do, as long as some could be done. The conflict that work returns
// for the first of those that remain is the error.
func (r *applyRun) rounds(query string, work func(id int64) (conflict, err error)) error {
	var ids []int64
	if err := r.t.conn.Query(query, func(s *sqlite3.Stmt) error { ids = append(ids, s.Int(0)); return nil }); err != nil {
		return err
	}
	for {
		left := ids[:0]
		var first error
		before := len(ids)
		for _, id := range ids {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			conflict, err := work(id)
			if err != nil {
				return err
			}
			if conflict != nil {
				left = append(left, id)
				if first == nil {
					first = conflict
				}
			}
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) == before {
			return first
		}
		ids = left
	}
}

// resume tries a row again that was put off.
func (r *applyRun) resume(id int64) (conflict, err error) {
	var op *applyOp
	var row []change.Value
	err = r.t.conn.Query("SELECT op, data FROM temp.caisseauto_deferred WHERE id=?1", func(s *sqlite3.Stmt) error {
		op = r.list[s.Int(0)]
		row, _, err = decodeRow(nil, append([]byte(nil), s.Bytes(1)...), len(op.columns))
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	for range 2 + len(op.table.rivals) {
		cause := r.try(op, row)
		if cause == nil {
			return nil, nil
		}
		if !sqlite3.IsUnique(cause) {
			return nil, r.explain(op, row, cause)
		}
		if held, err := r.holdBehind(op, row, cause); held || err != nil {
			return nil, err
		}
		freed, err := r.park(op, row, cause)
		if err != nil {
			return nil, err
		}
		if !freed {
			return r.clash(op, row, cause)
		}
	}
	return r.explain(op, row, fmt.Errorf("no end of conflicting rows: %w", manifest.ErrRefused)), nil
}

// clash describes why a row cannot be written.
func (r *applyRun) clash(op *applyOp, row []change.Value, cause error) (conflict, err error) {
	incoming := make([]change.Value, len(op.key))
	for j, i := range op.key {
		incoming[j] = row[i]
	}
	for n := range op.table.rivals {
		if !op.table.violated(n, cause) {
			continue
		}
		keys, err := r.holders(op, n, row)
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			return r.conflict(op.table, n, incoming, keys[0], op.shownValues(n, row)), nil
		}
	}
	return r.explain(op, row, cause), nil
}

// shownValues names the values that a row wants in the n-th rival.
func (op *applyOp) shownValues(n int, row []change.Value) string {
	text := ""
	for _, c := range op.table.rivals[n].Columns {
		for i, name := range op.columns {
			if sameName(name, c.Name) {
				text += fmt.Sprintf(" %s=%s", database.Quote(name), database.ShowValue(row[i]))
			}
		}
	}
	return text
}

// conflict makes the error for a value that a row of the batch and a row of
// the till both have and that only one may have.
func (r *applyRun) conflict(t *applyTable, n int, incoming, holder []change.Value, values string) error {
	x := t.rivals[n]
	index := "its primary key"
	if x.Name != "" {
		index = "the unique index " + database.Quote(x.Name)
	}
	return fmt.Errorf("table %s, row%s: %w: the row%s that is here has the same%s, and %s allows it once; nothing was applied; change or remove one of the two rows, then import again",
		database.Quote(t.Name), t.showKey(incoming), manifest.ErrRefused, t.showKey(holder), values, index)
}

// showKey names a row by its key.
func (t *applyTable) showKey(key []change.Value) string {
	text := ""
	for i, k := range t.key {
		text += fmt.Sprintf(" %s=%s", database.Quote(k.Name), database.ShowValue(key[i]))
	}
	return text
}

// A parkedRow is a row of caisseauto_parked.
type parkedRow struct {
	table      *applyTable
	rival      int
	column     string
	key, cause []change.Value // of the parked row, and of the row that wanted its value
	mark, was  change.Value
}

func (r *applyRun) parkedRow(id int64) (p parkedRow, err error) {
	s, err := r.cached("SELECT tab, uniq, key, col, mark, was, cause FROM temp.caisseauto_parked WHERE id=?1")
	if err != nil {
		return p, err
	}
	if err := s.BindArgs(id); err != nil {
		return p, err
	}
	defer s.Reset()
	if ok, err := s.Step(); err != nil || !ok {
		return p, errors.Join(err, errStage)
	}
	p.table, p.rival, p.column = r.plan.tables[s.Int(0)], int(s.Int(1)), s.Text(3)
	if p.key, _, err = decodeRow(nil, slices.Clone(s.Bytes(2)), len(p.table.key)); err != nil {
		return p, err
	}
	if p.cause, _, err = decodeRow(nil, slices.Clone(s.Bytes(6)), len(p.table.key)); err != nil {
		return p, err
	}
	p.mark, p.was = s.Value(4), s.Value(5)
	p.mark.Bytes, p.was.Bytes = slices.Clone(p.mark.Bytes), slices.Clone(p.was.Bytes)
	return p, nil
}

// unpark gives a parked row its value back, if nothing in the batch has
// settled it. A conflict says who has taken the value for good.
func (r *applyRun) unpark(id int64) (conflict, err error) {
	p, err := r.parkedRow(id)
	if err != nil {
		return nil, err
	}
	t := p.table
	now, ok, err := r.one("SELECT "+database.Quote(p.column)+" FROM "+database.Quote(t.Name)+" WHERE "+t.whereKey(), p.key...)
	if err != nil || !ok || !r.isMark(now) {
		return nil, err
	}
	if number(now) != number(p.mark) || !bytes.Equal(now.Bytes, p.mark.Bytes) {
		return nil, nil // parked again since; that record has its turn
	}
	placed, err := r.place(t, p.column, p.key, p.was)
	if err != nil || placed {
		return nil, err
	}
	values := fmt.Sprintf(" %s=%s", database.Quote(p.column), database.ShowValue(p.was))
	return r.conflict(t, p.rival, p.cause, p.key, values), nil
}
