package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// An applyRun is one batch on its way into the database.
type applyRun struct {
	t    *Till
	ctx  context.Context
	plan *applyPlan
	res  *change.Applied

	ops   map[*change.Header]*applyOp
	named map[string]*applyOp
	list  []*applyOp
	stmts map[string]*sqlite3.Stmt // others, by their SQL

	up       *upRun   // the till's outbox, nil: none
	rules    *ruleSet // what is to hold of the till, nil: nothing
	first    bool     // the tables were empty: insert before looking
	parked   int
	deferred int
	marks    int64 // placeholders given out
	salt     uint64

	key      []change.Value // scratch
	keyBytes []byte
}

func newApplyRun(t *Till, ctx context.Context, plan *applyPlan) *applyRun {
	return &applyRun{t: t, ctx: ctx, plan: plan, res: &change.Applied{}, ops: map[*change.Header]*applyOp{}, named: map[string]*applyOp{}, stmts: map[string]*sqlite3.Stmt{}, salt: newSalt()}
}

func (r *applyRun) close() {
	for _, op := range r.list {
		op.close()
	}
	for _, s := range r.stmts {
		_ = s.Close()
	}
}

// all applies all rows. The transaction is open.
func (r *applyRun) all(rows change.BlockReader) error {
	for {
		b, err := rows.Next()
		if err == io.EOF {
			return r.settle()
		}
		if err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		op, err := r.op(b.Header)
		if err != nil {
			return err
		}
		for i := range b.Rows() {
			if err := r.row(op, b.Row(i)); err != nil {
				return err
			}
		}
	}
}

// row applies one row. Where a value that must be unique is still with a row
// that gives it up later in the batch, that row is parked; where this cannot
// be, the row waits until the deletes are done.
func (r *applyRun) row(op *applyOp, row []change.Value) error {
	if held, err := r.up.hold(op, row); held || err != nil {
		return err
	}
	for range 2 + len(op.table.rivals) {
		err := r.try(op, row)
		if err == nil {
			return nil
		}
		if !sqlite3.IsUnique(err) {
			return r.explain(op, row, err)
		}
		if held, err := r.holdBehind(op, row, err); held || err != nil {
			return err
		}
		freed, perr := r.park(op, row, err)
		if perr != nil {
			return perr
		}
		if !freed {
			return r.putOff(op, row, err)
		}
	}
	return r.putOff(op, row, errors.New("its unique values are with other rows"))
}

// try applies one row.
func (r *applyRun) try(op *applyOp, row []change.Value) error {
	switch op.header.Op {
	case change.Delete:
		n, err := r.exec(op.remove, row)
		r.res.Deleted += n
		return err
	case change.Patch:
		return r.patch(op, row)
	default:
		return r.upsert(op, row)
	}
}

// exec runs a statement that writes, and returns how many rows it wrote
// itself; what triggers and foreign keys did is not counted.
func (r *applyRun) exec(s *sqlite3.Stmt, row []change.Value) (int64, error) {
	if err := s.BindRow(row[:s.Params()]); err != nil {
		return 0, err
	}
	if _, err := s.Step(); err != nil {
		return 0, err
	}
	return r.t.conn.Changes(), nil
}

func (r *applyRun) upsert(op *applyOp, row []change.Value) error {
	if r.first {
		n, err := r.exec(op.insert, row)
		switch {
		case err == nil && n == 1:
			r.res.Inserted++
			return nil
		case err == nil:
			return errIgnored
		case !sqlite3.IsUnique(err):
			return err
		}
		// A key that came before in the same batch, or a rival: go on as
		// with any table.
	}
	if op.upserts {
		return r.upsertOne(op, row)
	}
	if n, err := r.update(op, row); n > 0 || err != nil {
		r.res.Updated += n
		return err
	}
	if there, err := r.there(op, row); err != nil {
		return err
	} else if there {
		if op.full == nil { // a table of nothing but a key
			return nil
		}
		return errIgnored
	}
	n, err := r.exec(op.insert, row)
	if err == nil && n == 0 {
		return errIgnored
	}
	r.res.Inserted += n
	return err
}

// errIgnored says that a statement that ran left no trace.
var errIgnored = errors.New("a trigger of the database kept the row from being written, without a word")

// upsertOne runs UPSERT statements. Whether they inserted is seen by the last
// rowid, which an update does not set.
func (r *applyRun) upsertOne(op *applyOp, row []change.Value) error {
	mark := int64(math.MinInt64)
	if alias := op.table.RowidKey(); alias != "" {
		for i, c := range op.columns {
			if c == alias && row[i].Int == mark {
				mark = 0
			}
		}
	}
	r.t.conn.SetLastRowid(mark)
	n, err := r.update(op, row)
	if err != nil {
		return err
	}
	if n == 0 {
		return nil // DO NOTHING: a table of nothing but a key
	}
	if r.t.conn.LastRowid() != mark {
		r.res.Inserted++
	} else {
		r.res.Updated++
	}
	return nil
}

// update runs the statement that leaves the indexes alone, and when a column
// of an index has changed, the one that sets everything.
func (r *applyRun) update(op *applyOp, row []change.Value) (int64, error) {
	if op.hot != nil {
		if n, err := r.exec(op.hot, row); n > 0 || err != nil {
			return n, err
		}
	}
	if op.full == nil {
		return 0, nil
	}
	return r.exec(op.full, row)
}

func (r *applyRun) there(op *applyOp, row []change.Value) (bool, error) {
	if err := op.exists.BindRow(row[:op.exists.Params()]); err != nil {
		return false, err
	}
	ok, err := op.exists.Step()
	op.exists.Reset()
	return ok, err
}

func (r *applyRun) patch(op *applyOp, row []change.Value) error {
	if op.full == nil { // of columns alone that the till lacks
		return nil
	}
	n, err := r.update(op, row)
	if err != nil || n > 0 {
		r.res.Updated += n
		return err
	}
	if there, err := r.there(op, row); err != nil {
		return err
	} else if there {
		return errIgnored
	}
	if absent, err := r.absent(op, row); absent || err != nil {
		return err
	}
	return fmt.Errorf("%s: %w: the batch changes some columns of a row that is not there; nothing was applied; somebody has removed it here, so ask the server for every row: caisseauto export --baseline",
		op.name(row), manifest.ErrRefused)
}

// explain makes a readable error of what SQLite had against a row.
func (r *applyRun) explain(op *applyOp, row []change.Value, err error) error {
	var e *sqlite3.Error
	switch {
	case errors.Is(err, manifest.ErrRefused):
		return err
	case errors.Is(err, errIgnored):
	case !errors.As(err, &e), sqlite3.IsInterrupt(err), sqlite3.IsBusy(err), sqlite3.IsFull(err), sqlite3.IsReadOnly(err):
		return err
	case sqlite3.IsConstraint(err), e.Code&0xff == lib.SQLITE_MISMATCH, e.Code&0xff == lib.SQLITE_TOOBIG:
	default:
		return fmt.Errorf("%s: %s: %w; nothing was applied", op.name(row), op.header.Op, err)
	}
	return fmt.Errorf("%s: %w: %s: %w; nothing was applied; correct the row at the server, or the table's definition here",
		op.name(row), manifest.ErrRefused, op.header.Op, err)
}

// name names a row by its table and key.
func (op *applyOp) name(row []change.Value) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s, row", database.Quote(op.table.Name))
	for j, i := range op.key {
		fmt.Fprintf(&b, " %s=%s", database.Quote(op.table.key[j].Name), database.ShowValue(row[i]))
	}
	return b.String()
}
