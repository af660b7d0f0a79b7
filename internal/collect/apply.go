package collect

import (
	"context"
	"io"
	"time"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// Apply takes the rows of a verified batch in, with the ledger's row, the
// totals, the numbers and whatever goes into quarantine, in one transaction.
// p is the batch's own position; the ledger must stand at the one before it,
// else the error wraps [database.ErrMoved]. No row makes an error: what the
// rules or the database do not let in goes into quarantine, the whole unit
// that it is a part of, and the rows behind it go on. What the machine has
// against it is one of the other errors of package database. After any error
// the database is as it was.
//
// The rows are read to their end before any lock is taken.
func (c *Collector) Apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (change.Applied, error) {
	res, err := c.apply(ctx, m, p, rows)
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	return res, nil
}

func (c *Collector) apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (res change.Applied, err error) {
	if err := c.ready(ctx); err != nil {
		return res, err
	}
	if err := c.expect(ctx, m, p); err != nil {
		return res, err
	}
	r, err := c.newRun(ctx, m.Stream, p, m.Tables, func() *manifest.Tally { return manifest.TallyLike(m.Totals) })
	if err != nil {
		return res, err
	}
	defer r.batch.Close()
	if err := r.read(rows); err != nil {
		return res, err
	}
	before := func() error { return c.expect(ctx, m, p) }
	after := func() error {
		if err := c.ledger.Record(ctx, m, p, r.Res); err != nil {
			return err
		}
		return r.conclude(m)
	}
	var held time.Duration
	if wrong := manifest.CheckTotals(m.Totals, r.tally.Totals()); wrong != nil {
		held, err = r.locked(before, func() error { return r.holdAll(wrong.Error()) }, after)
	} else {
		held, err = r.integrate(r.refused, before, after)
	}
	if err != nil {
		return res, err
	}
	r.Res.Locked = held
	return r.Res, nil
}

// integrate has the engine take all rows in.
func (r *Run) integrate(refused bool, before, after func() error) (time.Duration, error) {
	return r.batch.Integrate(refused, func() error { r.restart(); return before() }, after)
}

// locked does the work in one transaction with what comes before and after.
func (r *Run) locked(steps ...func() error) (time.Duration, error) {
	return r.batch.Locked(func() error {
		r.restart()
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// restart forgets what an undone transaction has counted.
func (r *Run) restart() {
	r.Res = change.Applied{Rows: r.Res.Rows}
	r.alarms = nil
	r.held = r.terms()
	for _, op := range r.Ops {
		op.held = r.held.Table(op.Header.Table)
	}
}

// read reads the rows to their end, keeps them, and adds up the totals.
func (r *Run) read(rows change.BlockReader) error {
	return r.batch.Read(func() error {
		for {
			b, err := rows.Next()
			if err == io.EOF {
				return nil
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
	})
}

// keep keeps one row until the lock is held.
func (r *Run) keep(op *Op, row []change.Value) error {
	if op.Header.Op == change.Base && len(op.Key) > 0 {
		op.Table.Base = op
		return r.batch.KeepBase(op, row)
	}
	r.Res.Rows++
	op.addTo(op.tally, row)
	ref := op.RefusedByRule(row)
	r.refused = r.refused || ref != nil
	if op.count >= 0 && row[op.count].Kind == change.Integer && (ref == nil || ref.Alarm != AlarmForeign) {
		op.Table.numbers.Add(row[op.count].Int, row[op.count].Int)
	}
	return r.batch.Keep(op, row, ref)
}

// addTo adds one row to the totals. A text that is no number adds nothing,
// as on the till.
func (op *Op) addTo(t *manifest.TableTally, row []change.Value) {
	t.Row()
	if op.Header.Op != change.Upsert {
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
