package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A refusedRow says why a row cannot be taken. Its unit goes into quarantine.
type refusedRow struct {
	reason   string
	alarm    string    // what kind of alarm it is worth, "" for none
	final    bool      // no other row of the batch can change that
	conflict *conflict // that nobody has won
}

// refusedByRule returns why a row cannot be taken whatever the database holds.
func (op *collectOp) refusedByRule(row []change.Value) *refusedRow {
	t := op.table
	if op.bad != "" {
		return &refusedRow{reason: op.bad, alarm: op.alarm, final: true}
	}
	for j, i := range op.key {
		if row[i].Kind == change.Null {
			return &refusedRow{final: true, reason: fmt.Sprintf("a row of table %s has NULL in %s, which is in the key", database.Quote(t.up.Table), database.Quote(t.up.Key[j]))}
		}
	}
	if op.dossier >= 0 && !equalStored(&row[op.dossier], &t.own[0]) {
		return op.foreign("dossier", t.up.Dossier, &row[op.dossier], &t.own[0])
	}
	if op.till >= 0 && !equalStored(&row[op.till], &t.own[1]) {
		return op.foreign("till", t.up.Till, &row[op.till], &t.own[1])
	}
	return nil
}

// foreign is the refusal of a row that is somebody else's.
func (op *collectOp) foreign(what, column string, has, want *change.Value) *refusedRow {
	return &refusedRow{final: true, alarm: AlarmForeign, reason: fmt.Sprintf("a row of table %s is of another %s: %s is %s, and the batch is of %s",
		database.Quote(op.table.up.Table), what, database.Quote(column), showValue(*has), showValue(*want))}
}

// equalStored reports whether v becomes want in want's column.
func equalStored(v, want *change.Value) bool {
	if v.Kind == change.Text && want.Kind == change.Integer {
		w := stored(string(v.Bytes), "INTEGER")
		return w.Kind == change.Integer && w.Int == want.Int
	}
	return v.Kind == want.Kind && v.Int == want.Int && bytes.Equal(v.Bytes, want.Bytes)
}

// integrate takes one row in. Direct says that rows that stand in each
// other's way need not be disentangled.
func (r *collectRun) integrate(op *collectOp, row []change.Value, direct bool) (*refusedRow, error) {
	if ref := op.refusedByRule(row); ref != nil {
		return ref, nil
	}
	if ref, err := r.parentThere(op, row); ref != nil || err != nil {
		return ref, err
	}
	if op.table.up.Mode == manifest.Append {
		return r.append(op, row)
	}
	if op.ownSQL != "" {
		if ours, there, err := r.ask(op.ownSQL, with(row, op.table.own)); err != nil {
			return nil, err
		} else if there && !ours {
			return &refusedRow{alarm: AlarmForeign, reason: fmt.Sprintf("%s belongs to another dossier or till on the server", op.apply.name(row))}, nil
		}
	}
	if op.table.up.Mode == manifest.Both {
		return r.both(op, row, direct)
	}
	return r.write(op, row, direct)
}

// with returns the row, and after it what the columns of dossier and till must
// hold.
func with(row []change.Value, own [2]change.Value) []change.Value {
	return append(slices.Clone(row), own[0], own[1])
}

// ask runs a query of one row and reports whether its first column is true,
// and whether there was a row.
func (r *collectRun) ask(sql string, row []change.Value) (yes, there bool, err error) {
	s, err := r.apply.cached(sql)
	if err != nil {
		return false, false, err
	}
	if err := s.BindRow(row[:s.Params()]); err != nil {
		return false, false, err
	}
	defer s.Reset()
	there, err = s.Step()
	return there && err == nil && s.Int(0) != 0, there, err
}

// parentThere refuses a row whose parent is not there. Rows of one parent
// come one after the other, and it is looked for once. One that names no
// parent needs none.
func (r *collectRun) parentThere(op *collectOp, row []change.Value) (*refusedRow, error) {
	if op.parentSQL == "" {
		return nil, nil
	}
	r.apply.key = r.apply.key[:0]
	for _, i := range op.link {
		if row[i].Kind == change.Null {
			return nil, nil
		}
		r.apply.key = append(r.apply.key, row[i])
	}
	r.apply.keyBytes = appendKey(r.apply.keyBytes[:0], r.apply.key)
	if bytes.Equal(op.lastLink, r.apply.keyBytes) {
		return nil, nil
	}
	_, there, err := r.ask(op.parentSQL, with(row, op.table.parents))
	if err != nil {
		return nil, err
	}
	if !there {
		return op.orphan(row), nil
	}
	op.lastLink = append(op.lastLink[:0], r.apply.keyBytes...)
	return nil, nil
}

func (op *collectOp) orphan(row []change.Value) *refusedRow {
	text := ""
	for j, i := range op.link {
		text += fmt.Sprintf(" %s=%s", database.Quote(op.table.up.Link[j]), showValue(row[i]))
	}
	return &refusedRow{reason: fmt.Sprintf("%s has no parent in %s: nothing there has%s", op.apply.name(row), database.Quote(op.table.up.Parent), text)}
}

// append takes a row that is only ever added.
func (r *collectRun) append(op *collectOp, row []change.Value) (*refusedRow, error) {
	n, err := r.apply.exec(op.apply.insert, row)
	if err == nil && n == 1 {
		r.apply.res.Inserted++
		return nil, nil
	}
	if !sqlite3.IsUnique(err) {
		return op.refusedByData(row, err)
	}
	if same, _, serr := r.ask(op.sameSQL, row); same || serr != nil {
		if same {
			r.apply.res.Acknowledged++
		}
		return nil, serr
	}
	if there, terr := r.apply.there(op.apply, row); terr != nil || !there {
		return op.refusedByData(row, errors.Join(err, terr))
	}
	return &refusedRow{alarm: AlarmAltered, reason: fmt.Sprintf("%s is on the server already, with other content, and rows of that table are only ever added", op.apply.name(row))}, nil
}

// write writes or deletes a row.
func (r *collectRun) write(op *collectOp, row []change.Value, direct bool) (*refusedRow, error) {
	before, waiting := r.apply.res, r.apply.deferred
	var err error
	if direct {
		err = r.apply.row(op.apply, row)
	} else {
		err = r.apply.try(op.apply, row)
	}
	if err != nil {
		return op.refusedByData(row, err)
	}
	if r.apply.res == before && r.apply.deferred == waiting {
		r.apply.res.Acknowledged++ // a delete of what is not there
	}
	return nil, nil
}

// refusedByData sorts an error: what the database has against the row, or
// what is wrong with the database.
func (op *collectOp) refusedByData(row []change.Value, err error) (*refusedRow, error) {
	var e *sqlite3.Error
	switch {
	case err == nil:
		err = errIgnored
	case errors.Is(err, errIgnored) || errors.Is(err, manifest.ErrRefused):
	case sqlite3.IsConstraint(err):
	case errors.As(err, &e) && isRefusal(e.Code):
	default:
		return nil, err
	}
	return &refusedRow{reason: fmt.Sprintf("%s: %s", op.apply.name(row), plainError(err))}, nil
}

// isRefusal reports whether a code speaks of the row: of its types, its size,
// or of what a trigger of the ERP has against it.
func isRefusal(code int) bool {
	switch code & 0xff {
	case lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG, lib.SQLITE_CONSTRAINT:
		return true
	}
	return code == lib.SQLITE_ERROR
}

// plainError returns SQLite's own words, without the statement.
func plainError(err error) string {
	var e *sqlite3.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}
