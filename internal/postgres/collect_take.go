package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
)

const (
	// maxRounds is how often the units that the database refused are tried
	// again, as long as some could be taken: one may need what another
	// brings.
	maxRounds = 10
)

// A unitList is the units of a batch, in the order of their first rows. It is
// only made when something is refused.
type unitList struct {
	made    bool
	names   []int64 // by place
	places  map[int64]int
	out     []*collect.Refused // by place; nil: it is, or is to be, taken
	hard    []bool             // by place: the database refused it, and may not do so again
	members memberCache
}

// take takes all units in that can be taken, and puts the others into
// quarantine. The till is locked. Whatever the database refuses was tried
// twice at least, all at once and by itself: that another program has written
// the same row meanwhile is no reason.
func (b *collectBatch) take() error {
	b.units = unitList{}
	if err := b.refuseRaw(); err != nil {
		return err
	}
	done, err := b.whole()
	if err != nil {
		return err
	}
	if !done {
		if err := b.listUnits(); err != nil {
			return err
		}
		if err := b.span(0, len(b.units.names)); err != nil {
			return err
		}
		if err := b.rounds(); err != nil {
			return err
		}
	}
	if !b.units.made {
		return nil
	}
	if err := b.indexUnits(false); err != nil {
		return err
	}
	return b.quarantine()
}

// whole tries to take all in at once, and once more with rows that make way
// for each other.
func (b *collectBatch) whole() (done bool, err error) {
	if b.units.made {
		return false, nil
	}
	defer func() { b.parked = false }()
	for _, b.parked = range []bool{false, true} {
		out, refusal, err := b.try("true", true)
		switch {
		case err != nil:
			return false, err
		case len(out) > 0:
			if err := b.listUnits(); err != nil {
				return false, err
			}
			return false, b.refuse(out)
		case refusal == nil:
			return true, nil
		case code(refusal) != "23505" || !b.mayPark():
			return false, nil
		}
	}
	return false, nil
}

// refuseRaw refuses the units of the rows that are not taken in anyway. Why is
// said by the first of them, parents first.
func (b *collectBatch) refuseRaw() error {
	if b.raw.rows == 0 {
		return nil
	}
	if err := b.listUnits(); err != nil {
		return err
	}
	type first struct {
		depth int
		ref   *collect.Refused
	}
	firsts := map[int64]first{}
	err := b.d.rows(b.ctx, "SELECT "+rawColumns+", unit FROM "+rawSlot+" ORDER BY seq", func(values [][]byte) error {
		op, row, err := b.decodeRaw(values)
		if err != nil || op.Header.Op == change.Base && len(op.Key) > 0 {
			return err
		}
		unit, err := parseInt(string(values[3]))
		if err != nil {
			return err
		}
		if f, ok := firsts[unit]; ok && f.depth <= depthOf(op.Table) {
			return nil
		}
		ref := op.RefusedByRule(row)
		if ref == nil {
			ref = b.unfit(op, row)
		}
		firsts[unit] = first{depthOf(op.Table), ref}
		return nil
	})
	if err != nil {
		return err
	}
	out := map[int64]*collect.Refused{}
	for unit, f := range firsts {
		out[unit] = f.ref
	}
	return b.refuse(out)
}

// listUnits numbers the units.
func (b *collectBatch) listUnits() error {
	if b.units.made {
		return nil
	}
	b.units.made, b.units.places = true, map[int64]int{}
	const place = "min(%d::bigint << 48 | seq)"
	all := []string{}
	for _, s := range b.shapes {
		if s.op.Header.Op != change.Base {
			all = append(all, fmt.Sprintf("SELECT unit, "+place+" AS place FROM %s GROUP BY unit", s.depth, s.slot))
		}
	}
	for _, op := range b.run.Ops {
		if b.raw.rows > 0 && (op.Header.Op != change.Base || len(op.Key) == 0) {
			all = append(all, fmt.Sprintf("SELECT unit, "+place+" AS place FROM %s WHERE op = %d GROUP BY unit", depthOf(op.Table), rawSlot, op.Number))
		}
	}
	if len(all) == 0 {
		return nil
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf(`DELETE FROM pg_temp.caisseauto_unit; INSERT INTO pg_temp.caisseauto_unit(unit, ord)
		SELECT unit, row_number() OVER (ORDER BY min(place)) - 1 FROM (%s) AS all_rows GROUP BY unit; ANALYZE pg_temp.caisseauto_unit`, strings.Join(all, " UNION ALL ")))
	if err != nil {
		return err
	}
	err = b.d.rows(b.ctx, "SELECT unit FROM pg_temp.caisseauto_unit ORDER BY ord", func(values [][]byte) error {
		unit, err := parseInt(string(values[0]))
		b.units.places[unit] = len(b.units.names)
		b.units.names = append(b.units.names, unit)
		return err
	})
	b.units.out, b.units.hard = make([]*collect.Refused, len(b.units.names)), make([]bool, len(b.units.names))
	if err != nil {
		return err
	}
	return b.indexUnits(true)
}

// indexUnits makes indexes by which a few units of many are found, or drops
// them again.
func (b *collectBatch) indexUnits(there bool) error {
	for i, s := range b.shapes {
		if s.rows < 1000 || s.op.Header.Op == change.Base {
			continue
		}
		sql := fmt.Sprintf("DROP INDEX pg_temp.caisseauto_by_unit_%d", i)
		if there {
			sql = fmt.Sprintf("CREATE INDEX caisseauto_by_unit_%d ON %[2]s(unit); ANALYZE %[2]s(seq, unit)", i, s.slot)
		}
		if _, err := b.d.run(b.ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// refuse notes units that are refused.
func (b *collectBatch) refuse(out map[int64]*collect.Refused) error {
	var places []string
	for unit, ref := range out {
		place := b.units.places[unit]
		b.units.out[place] = ref
		places = append(places, strconv.Itoa(place))
	}
	return b.mark(places, 1)
}

// mark says in the temporary table which units are out.
func (b *collectBatch) mark(places []string, state int) error {
	if len(places) == 0 {
		return nil
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf("UPDATE pg_temp.caisseauto_unit SET state = %d WHERE ord = ANY ('{%s}'::integer[])", state, strings.Join(places, ",")))
	return err
}

// span takes in the units from one place to before another, as far as they are
// not refused. When the database refuses something, parts of them are taken in
// by themselves.
func (b *collectBatch) span(from, to int) error {
	for {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		in := b.in(from, to)
		if len(in) == 0 {
			return nil
		}
		which := fmt.Sprintf("s.unit IN (SELECT unit FROM pg_temp.caisseauto_unit WHERE state = 0 AND ord BETWEEN %d AND %d)", from, to-1)
		if len(in) == 1 {
			which = fmt.Sprintf("s.unit = %d", b.units.names[in[0]])
		}
		out, refusal, err := b.try(which, false)
		switch {
		case err != nil:
			return err
		case len(out) > 0: // again without them
			if err := b.refuse(out); err != nil {
				return err
			}
		case refusal == nil:
			return nil
		case len(in) > 1:
			return b.split(in, from, to)
		default:
			b.units.hard[in[0]] = true
			return b.refuse(map[int64]*collect.Refused{b.units.names[in[0]]: {Reason: plainWords(refusal)}})
		}
	}
}

// splitAt is the number of units from which on many parts are made at once:
// what was written of all of them before one was refused was in vain.
const splitAt = 1000

// split takes parts of the units in by themselves.
func (b *collectBatch) split(in []int, from, to int) error {
	parts := 2
	if len(in) >= splitAt {
		parts = 8
	}
	for i := range parts {
		end := to
		if i < parts-1 {
			end = in[(i+1)*len(in)/parts]
		}
		if err := b.span(from, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// in returns the places of the units that are not refused.
func (b *collectBatch) in(from, to int) (places []int) {
	for i := from; i < to; i++ {
		if b.units.out[i] == nil {
			places = append(places, i)
		}
	}
	return places
}

// rounds tries the units again that the database refused, while others were
// taken.
func (b *collectBatch) rounds() error {
	for range maxRounds {
		var left []int
		for i, hard := range b.units.hard {
			if hard {
				left = append(left, i)
			}
		}
		if len(left) == 0 || len(left) == len(b.units.names) {
			return nil
		}
		taken := false
		for _, i := range left {
			b.units.out[i], b.units.hard[i] = nil, false
			if err := b.mark([]string{strconv.Itoa(i)}, 0); err != nil {
				return err
			}
			if err := b.span(i, i+1); err != nil {
				return err
			}
			taken = taken || b.units.out[i] == nil
		}
		if !taken {
			return nil
		}
	}
	return nil
}

// try takes units in, those of the rows s for which the condition which holds,
// and undoes it when some are refused: out says which, or refusal what the
// database has against one of them. Quick says that what foreign keys see to
// need not be looked at before.
func (b *collectBatch) try(which string, quick bool) (out map[int64]*collect.Refused, refusal, err error) {
	before := b.run.Res
	if _, err := b.d.run(b.ctx, "SAVEPOINT caisseauto_try; SET CONSTRAINTS ALL DEFERRED"); err != nil {
		return nil, nil, err
	}
	out, err = b.work(which, quick)
	if err == nil && len(out) == 0 {
		_, err = b.d.run(b.ctx, "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT caisseauto_try")
	}
	if err == nil && len(out) == 0 {
		return nil, nil, nil
	}
	if err != nil && !isRefusal(err) && !errors.Is(err, errIgnored) {
		return nil, nil, err
	}
	b.run.Res = before
	if _, err := b.d.run(b.ctx, "ROLLBACK TO SAVEPOINT caisseauto_try; RELEASE SAVEPOINT caisseauto_try"); err != nil {
		return nil, nil, err
	}
	return out, err, nil
}

// work judges and writes. It writes nothing when a unit is refused.
func (b *collectBatch) work(which string, quick bool) (out map[int64]*collect.Refused, err error) {
	waves := 1
	for _, t := range b.tables {
		waves = max(waves, t.waves)
	}
	for wave := 1; wave <= waves; wave++ {
		w := &waveOf{b: b, out: map[int64]*collect.Refused{}, found: map[*shape]found{}, quick: quick}
		w.which = which
		if waves > 1 {
			w.which += fmt.Sprintf(" AND s.wave = %d", wave)
		}
		if wave > maxWaves {
			return w.tooMany()
		}
		if err := w.judge(); err != nil || len(w.out) > 0 {
			return w.out, err
		}
		if err := w.write(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// ordered returns the shapes that are written, those of parents first.
func (b *collectBatch) ordered() []*shape {
	var list []*shape
	for _, u := range b.run.Uploads {
		for _, s := range b.shapes {
			if s.op.Table.Upload == u && s.op.Header.Op != change.Base {
				list = append(list, s)
			}
		}
	}
	return list
}
