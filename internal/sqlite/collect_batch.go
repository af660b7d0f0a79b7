package sqlite

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A collectBatch takes the rows of one batch in, row by row. First all of them
// are written one after the other. Only when one is refused is everything
// undone, and the batch taken in unit by unit.
type collectBatch struct {
	t       *Till
	capture *Capture
	ctx     context.Context
	run     *collect.Run
	apply   *applyRun // its statements
	tables  map[int]*collectTable
	ops     []*collectOp // by number; also those of which no row can be taken
	byHead  map[*change.Header]*collectOp
	stage   *stage
	judged  []bool                     // of rows that both sides change, in their order: to be written
	dead    map[int64]*collect.Refused // units that ended the transaction
}

// Batch implements collect.Driver.
func (d *collecting) Batch(r *collect.Run) collect.Batch {
	b := &collectBatch{t: d.t, capture: d.capture, ctx: r.Context(), run: r, tables: map[int]*collectTable{}, byHead: map[*change.Header]*collectOp{}}
	b.apply = newApplyRun(d.t, b.ctx, &applyPlan{})
	b.apply.res = &r.Res
	return b
}

// Close implements collect.Batch.
func (b *collectBatch) Close() {
	b.apply.close()
	if b.stage != nil {
		b.stage.close()
	}
}

// Read implements collect.Batch.
func (b *collectBatch) Read(read func() error) error {
	var page int64
	if err := b.t.conn.Query("PRAGMA page_size", func(q *sqlite3.Stmt) error { page = q.Int(0); return nil }); err != nil {
		return err
	}
	b.stage = newStage(b.t.o.StageDir, page, b.t.limits)
	if err := b.t.conn.Exec("BEGIN; DELETE FROM temp.caisseauto_base"); err != nil {
		return err
	}
	err := read()
	if err == nil {
		err = b.stage.rewind()
	}
	if err == nil {
		return b.t.conn.Exec("COMMIT")
	}
	return errors.Join(err, b.t.rollback())
}

// Keep implements collect.Batch.
func (b *collectBatch) Keep(op *collect.Op, row []change.Value, _ *collect.Refused) error {
	b.own(op)
	return b.stage.add(op.Header, row)
}

// KeepBase implements collect.Batch.
func (b *collectBatch) KeepBase(op *collect.Op, row []change.Value) error {
	b.own(op)
	return b.apply.run("INSERT INTO temp.caisseauto_base(tab, key, data) VALUES(?1,?2,?3) ON CONFLICT(tab, key) DO NOTHING",
		op.Table.Number, rowKey(op, row), appendRow(nil, row))
}

// rowKey returns the key of a row as bytes.
func rowKey(op *collect.Op, row []change.Value) []byte {
	key := make([]change.Value, len(op.Key))
	for j, i := range op.Key {
		key[j] = row[i]
	}
	return appendKey(nil, key)
}

// Bases implements collect.Batch.
func (b *collectBatch) Bases(t *collect.Table, op *collect.Op, row []change.Value, work func([]change.Value) error) error {
	each := func(s *sqlite3.Stmt) error {
		base, _, err := decodeRow(nil, append([]byte(nil), s.Bytes(0)...), len(t.Base.Header.Columns))
		if err != nil {
			return err
		}
		return work(base)
	}
	const sql = "SELECT data FROM temp.caisseauto_base WHERE tab=?1"
	if op == nil {
		return b.t.conn.Query(sql, each, t.Number)
	}
	return b.t.conn.Query(sql+" AND key=?2", each, t.Number, rowKey(op, row))
}

// Each implements collect.Batch.
func (b *collectBatch) Each(work func(*collect.Op, []change.Value) error) error {
	return b.each(func(op *collectOp, row []change.Value) error { return work(op.Op, row) })
}

// each calls work for every row of the batch.
func (b *collectBatch) each(work func(*collectOp, []change.Value) error) error {
	if err := b.stage.rewind(); err != nil {
		return err
	}
	for {
		blk, err := b.stage.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.ctx.Err(); err != nil {
			return err
		}
		op := b.byHead[blk.Header]
		for i := range blk.Rows() {
			if err := work(op, blk.Row(i)); err != nil {
				return err
			}
		}
	}
}

// Integrate implements collect.Batch.
func (b *collectBatch) Integrate(refused bool, before, after func() error) (held time.Duration, err error) {
	b.t.hook("prepared")
	run := func(work func() error) error {
		held, err = b.locked(func() error {
			for _, step := range []func() error{before, work, after} {
				if err := step(); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	err = errUnits
	if !refused {
		err = run(b.fast)
	}
	if errors.Is(err, errUnits) {
		if err = b.group(); err == nil {
			err = run(b.slow)
		}
	}
	for n := 0; errors.Is(err, errDead) && n < maxDead; n++ {
		err = run(b.slow)
	}
	if err == nil {
		b.t.checkpoint()
	}
	return held, err
}

// Locked implements collect.Batch.
func (b *collectBatch) Locked(work func() error) (time.Duration, error) {
	held, err := b.locked(work)
	if err == nil {
		b.t.checkpoint()
	}
	return held, err
}

func (b *collectBatch) locked(work func() error) (time.Duration, error) {
	return b.t.syncLate(b.ctx, b.run.Res.Rows, func() (time.Duration, error) {
		return b.t.locked(b.ctx, nil, func() error {
			b.apply.parked, b.apply.deferred = 0, 0
			b.forgetParents()
			return work()
		})
	})
}

// forgetParents forgets which parents are there: they may have been undone.
func (b *collectBatch) forgetParents() {
	for _, op := range b.ops {
		op.lastLink = nil
	}
}

// errUnits says that some row was refused: which unit it is a part of has to
// be found.
var errUnits = errors.New("a row was refused")

// fast writes all rows as they come. The transaction is open.
func (b *collectBatch) fast() error {
	if slices.ContainsFunc(b.run.Tables, func(t *collect.Table) bool { return t.Upload != nil && t.Upload.Mode == manifest.Both }) {
		if err := b.judgeAll(); err != nil {
			return err
		}
	}
	judged := b.judged
	err := b.each(func(op *collectOp, row []change.Value) error {
		ref, err := b.integrate(op, row, true)
		if err == nil && ref != nil {
			err = errUnits
		}
		return err
	})
	b.judged = judged
	if err != nil {
		return err
	}
	if err := b.apply.settle(); errors.Is(err, manifest.ErrRefused) {
		return errUnits
	} else if err != nil {
		return err
	}
	broken, err := b.t.conn.BrokenReferences()
	if err == nil && broken {
		err = errUnits
	}
	return err
}
