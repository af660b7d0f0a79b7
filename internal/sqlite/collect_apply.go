package sqlite

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Apply takes the rows of a verified batch in, with the ledger's row, the
// totals, the numbers and whatever goes into quarantine, in one transaction.
// p is the batch's own position; the ledger must stand at the one before it,
// else the error wraps [database.ErrMoved]. No row makes an error: what the rules or
// the database do not let in goes into quarantine, the whole unit that it is
// a part of, and the rows behind it go on. See also [database.ErrBusy], [database.ErrNoSpace]
// and [database.ErrReadOnly]. After any error the database is as it was.
//
// The rows are read to their end before the lock is taken. First all of them
// are written one after the other. Only when one is refused is everything
// undone, and the batch taken in unit by unit.
func (c *Collector) Apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (change.Applied, error) {
	res, err := c.apply(ctx, m, p, rows)
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	return res, nil
}

func (c *Collector) apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (res change.Applied, err error) {
	if err := c.ready(); err != nil {
		return res, err
	}
	if err := c.expect(m, p); err != nil {
		return res, err
	}
	r, err := c.newRun(ctx, m.Stream, p, m.Tables, func() *manifest.Tally { return manifest.TallyLike(m.Totals) })
	if err != nil {
		return res, err
	}
	defer r.close()
	if err := r.read(rows); err != nil {
		return res, err
	}
	c.t.hook("prepared")
	wrong := manifest.CheckTotals(m.Totals, r.tally.Totals())
	work := r.fast
	switch {
	case wrong != nil:
		work = func() error { return r.holdAll(wrong.Error()) }
	case r.refused:
		if err := r.group(); err != nil {
			return res, err
		}
		work = r.slow
	}
	follows := func() error { return c.expect(m, p) }
	after := func() error {
		if err := c.t.record(m, p, r.apply.res); err != nil {
			return err
		}
		return r.conclude(m)
	}
	held, err := r.commit(follows, work, after)
	if errors.Is(err, errUnits) {
		if err = r.group(); err == nil {
			held, err = r.commit(follows, r.slow, after)
		}
	}
	for n := 0; errors.Is(err, errDead) && n < maxDead; n++ {
		held, err = r.commit(follows, r.slow, after)
	}
	if err != nil {
		return res, err
	}
	r.apply.res.Locked = held
	c.t.checkpoint()
	return r.apply.res, nil
}

// commit does the work in one transaction with what comes before and after.
func (r *collectRun) commit(before, work, after func() error) (time.Duration, error) {
	t := r.c.t
	return t.syncLate(r.ctx, r.apply.res.Rows, func() (time.Duration, error) {
		return t.locked(r.ctx, nil, func() error {
			r.restart()
			for _, step := range []func() error{before, work, after} {
				if err := step(); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// restart forgets what an undone transaction has counted.
func (r *collectRun) restart() {
	r.apply.res = change.Applied{Rows: r.apply.res.Rows}
	r.apply.parked, r.apply.deferred = 0, 0
	r.alarms = nil
	r.held = r.terms()
	for _, op := range r.list {
		op.held, op.lastLink = r.held.Table(op.header.Table), nil
	}
}

// read reads the rows to their end, keeps them, and adds up the totals.
func (r *collectRun) read(rows change.BlockReader) error {
	var page int64
	if err := r.c.t.conn.Query("PRAGMA page_size", func(q *sqlite3.Stmt) error { page = q.Int(0); return nil }); err != nil {
		return err
	}
	r.stage = newStage(r.c.t.o.StageDir, page, r.c.t.limits)
	if err := r.c.t.conn.Exec("BEGIN; DELETE FROM temp.caisseauto_base"); err != nil {
		return err
	}
	err := r.readAll(rows)
	if err == nil {
		return r.c.t.conn.Exec("COMMIT")
	}
	return errors.Join(err, r.c.t.rollback())
}

func (r *collectRun) readAll(rows change.BlockReader) error {
	for {
		b, err := rows.Next()
		if err == io.EOF {
			return r.stage.rewind()
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
			if err := r.keep(op, b.Row(i)); err != nil {
				return err
			}
		}
	}
}

// keep keeps one row until the lock is held.
func (r *collectRun) keep(op *collectOp, row []change.Value) error {
	if op.header.Op == change.Base && len(op.key) > 0 {
		return r.keepBase(op, row)
	}
	r.apply.res.Rows++
	op.addTo(op.tally, row)
	ref := op.refusedByRule(row)
	r.refused = r.refused || ref != nil
	if op.count >= 0 && row[op.count].Kind == change.Integer && (ref == nil || ref.alarm != AlarmForeign) {
		op.table.numbers.Add(row[op.count].Int, row[op.count].Int)
	}
	return r.stage.add(op.header, row)
}

// keepBase keeps a row as it was before the till changed it.
func (r *collectRun) keepBase(op *collectOp, row []change.Value) error {
	r.bases, op.table.base = true, op
	key := make([]change.Value, len(op.key))
	for j, i := range op.key {
		key[j] = row[i]
	}
	return r.apply.run("INSERT INTO temp.caisseauto_base(tab, key, data) VALUES(?1,?2,?3) ON CONFLICT(tab, key) DO NOTHING",
		op.table.number, appendKey(nil, key), appendRow(nil, row))
}

// addTo adds one row to the totals. A text that is no number adds nothing,
// as on the till.
func (op *collectOp) addTo(t *manifest.TableTally, row []change.Value) {
	t.Row()
	if op.header.Op != change.Upsert {
		return
	}
	for n, i := range op.sums {
		if i < 0 {
			continue
		}
		switch v := &row[i]; v.Kind {
		case change.Integer:
			t.AddInt(n, v.Int)
		case change.Real:
			t.AddReal(n, v.Real)
		case change.Text:
			_ = t.AddText(n, string(v.Bytes))
		}
	}
	if op.count >= 0 && row[op.count].Kind == change.Integer {
		t.AddNumber(row[op.count].Int)
	}
}

// errUnits says that some row was refused: which unit it is a part of has to
// be found.
var errUnits = errors.New("a row was refused")

// each calls work for every row of the batch.
func (r *collectRun) each(work func(*collectOp, []change.Value) error) error {
	if err := r.stage.rewind(); err != nil {
		return err
	}
	for {
		b, err := r.stage.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		op := r.ops[b.Header]
		for i := range b.Rows() {
			if err := work(op, b.Row(i)); err != nil {
				return err
			}
		}
	}
}

// fast writes all rows as they come. The transaction is open.
func (r *collectRun) fast() error {
	if slices.ContainsFunc(r.tables, func(t *collectTable) bool { return t.up != nil && t.up.Mode == manifest.Both }) {
		if err := r.judgeAll(); err != nil {
			return err
		}
	}
	judged := r.judged
	err := r.each(func(op *collectOp, row []change.Value) error {
		ref, err := r.integrate(op, row, true)
		if err == nil && ref != nil {
			err = errUnits
		}
		return err
	})
	r.judged = judged
	if err != nil {
		return err
	}
	if err := r.apply.settle(); errors.Is(err, manifest.ErrRefused) {
		return errUnits
	} else if err != nil {
		return err
	}
	broken, err := r.c.t.conn.BrokenReferences()
	if err == nil && broken {
		err = errUnits
	}
	return err
}

// holdAll puts the whole batch into quarantine.
func (r *collectRun) holdAll(reason string) error {
	id, err := r.openUnit("", "", r.apply.res.Rows, reason)
	if err != nil {
		return err
	}
	q := quarantined{r: r, unit: id}
	for _, t := range r.tables {
		if err := q.bases(t); err != nil {
			return err
		}
	}
	err = r.each(func(op *collectOp, row []change.Value) error {
		op.addTo(op.held, row)
		return q.add(op, row)
	})
	if err != nil {
		return err
	}
	r.apply.res.Quarantined = r.apply.res.Rows
	r.alarm(AlarmBatch, "batch %d of till %s is in quarantine whole: %s", r.at.Sequence, r.till, strings.TrimSpace(reason))
	return q.flush()
}
