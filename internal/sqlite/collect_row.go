package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// integrate takes one row in. Direct says that rows that stand in each
// other's way need not be disentangled.
func (b *collectBatch) integrate(op *collectOp, row []change.Value, direct bool) (*collect.Refused, error) {
	if ref := op.RefusedByRule(row); ref != nil {
		return ref, nil
	}
	if ref, err := b.parentThere(op, row); ref != nil || err != nil {
		return ref, err
	}
	if op.Table.Upload.Mode == manifest.Append {
		return b.append(op, row)
	}
	if op.ownSQL != "" {
		if ours, there, err := b.ask(op.ownSQL, with(row, op.Table.Own)); err != nil {
			return nil, err
		} else if there && !ours {
			return op.Taken(row), nil
		}
	}
	if op.Table.Upload.Mode == manifest.Both {
		return b.both(op, row, direct)
	}
	return b.write(op, row, direct)
}

// with returns the row, and after it what the columns of dossier and till must
// hold.
func with(row []change.Value, own [2]change.Value) []change.Value {
	return append(slices.Clone(row), own[0], own[1])
}

// ask runs a query of one row and reports whether its first column is true,
// and whether there was a row.
func (b *collectBatch) ask(sql string, row []change.Value) (yes, there bool, err error) {
	s, err := b.apply.cached(sql)
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
func (b *collectBatch) parentThere(op *collectOp, row []change.Value) (*collect.Refused, error) {
	if op.parentSQL == "" {
		return nil, nil
	}
	b.apply.key = b.apply.key[:0]
	for _, i := range op.Link {
		if row[i].Kind == change.Null {
			return nil, nil
		}
		b.apply.key = append(b.apply.key, row[i])
	}
	b.apply.keyBytes = appendKey(b.apply.keyBytes[:0], b.apply.key)
	if bytes.Equal(op.lastLink, b.apply.keyBytes) {
		return nil, nil
	}
	_, there, err := b.ask(op.parentSQL, with(row, op.Table.Parents))
	if err != nil {
		return nil, err
	}
	if !there {
		return op.Orphan(row), nil
	}
	op.lastLink = append(op.lastLink[:0], b.apply.keyBytes...)
	return nil, nil
}

// append takes a row that is only ever added.
func (b *collectBatch) append(op *collectOp, row []change.Value) (*collect.Refused, error) {
	n, err := b.apply.exec(op.apply.insert, row)
	if err == nil && n == 1 {
		b.run.Res.Inserted++
		return nil, nil
	}
	if !sqlite3.IsUnique(err) {
		return op.refusedByData(row, err)
	}
	if same, _, serr := b.ask(op.sameSQL, row); same || serr != nil {
		if same {
			b.run.Res.Acknowledged++
		}
		return nil, serr
	}
	if there, terr := b.apply.there(op.apply, row); terr != nil || !there {
		return op.refusedByData(row, errors.Join(err, terr))
	}
	return op.Altered(row), nil
}

// write writes or deletes a row.
func (b *collectBatch) write(op *collectOp, row []change.Value, direct bool) (*collect.Refused, error) {
	before, waiting := b.run.Res, b.apply.deferred
	var err error
	if direct {
		err = b.apply.row(op.apply, row)
	} else {
		err = b.apply.try(op.apply, row)
	}
	if err != nil {
		return op.refusedByData(row, err)
	}
	if b.run.Res == before && b.apply.deferred == waiting {
		b.run.Res.Acknowledged++ // a delete of what is not there
	}
	return nil, nil
}

// refusedByData sorts an error: what the database has against the row, or
// what is wrong with the database.
func (op *collectOp) refusedByData(row []change.Value, err error) (*collect.Refused, error) {
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
	return &collect.Refused{Reason: fmt.Sprintf("%s: %s", op.Name(row), plainError(err))}, nil
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
