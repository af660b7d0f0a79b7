package postgres

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
)

// quarantine hands the refused units on, in the order of the batch.
func (b *collectBatch) quarantine() error {
	var units []collect.Unit
	for place, ref := range b.units.out {
		if ref != nil {
			units = append(units, collect.Unit{Refused: ref, Members: func(work func(*collect.Op, []change.Value) error) error { return b.members(place, work) }})
		}
	}
	return b.run.Quarantine(units)
}

// A memberCache holds the rows of some refused units.
type memberCache struct {
	rows map[int][]member // by place
}

type member struct {
	depth int
	seq   int64
	op    *collect.Op
	row   []change.Value
}

// membersCached is how many refused units are read at once.
const membersCached = 256

// members calls work for the rows of a refused unit, parents first.
func (b *collectBatch) members(place int, work func(*collect.Op, []change.Value) error) error {
	list, ok := b.units.members.rows[place]
	if !ok {
		if err := b.loadMembers(place); err != nil {
			return err
		}
		list = b.units.members.rows[place]
	}
	for _, m := range list {
		if err := work(m.op, m.row); err != nil {
			return err
		}
	}
	return nil
}

// loadMembers reads the rows of the refused units from a place on.
func (b *collectBatch) loadMembers(place int) error {
	rows := map[int][]member{}
	last := place
	for n := 0; last < len(b.units.out) && n < membersCached; last++ {
		if b.units.out[last] != nil {
			n++
		}
	}
	from := fmt.Sprintf(" JOIN pg_temp.caisseauto_unit AS u ON u.unit = s.unit WHERE u.state = 1 AND u.ord BETWEEN %d AND %d", place, last-1)
	add := func(ord []byte, m member) error {
		n, err := strconv.Atoi(string(ord))
		rows[n] = append(rows[n], m)
		return err
	}
	for _, s := range b.shapes {
		if s.op.Header.Op == change.Base {
			continue
		}
		err := b.d.rows(b.ctx, "SELECT u.ord, s.seq, "+s.values("s")+" FROM "+s.slot+" AS s"+from, func(values [][]byte) error {
			row, err := decode(nil, values[2], values[3:])
			if err != nil {
				return err
			}
			seq, err := parseInt(string(values[1]))
			if err != nil {
				return err
			}
			return add(values[0], member{s.depth, seq, s.op, row})
		})
		if err != nil {
			return err
		}
	}
	err := b.d.rows(b.ctx, "SELECT "+rawColumns+", u.ord FROM "+rawSlot+" AS s"+from, func(values [][]byte) error {
		op, row, err := b.decodeRaw(values)
		if err != nil || op.Header.Op == change.Base && len(op.Key) > 0 {
			return err
		}
		seq, err := parseInt(string(values[0]))
		if err != nil {
			return err
		}
		return add(values[3], member{depthOf(op.Table), seq, op, row})
	})
	for _, list := range rows {
		slices.SortFunc(list, func(a, b member) int {
			return cmp.Or(a.depth-b.depth, cmp.Compare(a.seq, b.seq))
		})
	}
	b.units.members.rows = rows
	return err
}
