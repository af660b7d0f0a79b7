package postgres

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
)

// judgedAtOnce is how many rows that both sides change are judged at once.
const judgedAtOnce = 500

// both judges rows that both sides change, and notes what is to be done with
// each. The server's rows are locked: they stay as they were judged.
func (w *waveOf) both(s *shape) error {
	b := w.b
	var keys []string
	for _, i := range s.op.Key {
		keys = append(keys, "t."+quote(s.columns[i].Name))
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s AS s JOIN %s AS t ON %s WHERE %s ORDER BY %s FOR UPDATE OF t) AS locked",
		s.slot, s.table.sql(), b.onKey(s), w.which, strings.Join(keys, ", ")))
	if err != nil {
		return err
	}
	var f found
	var acts []byte
	for after := int64(0); ; {
		list, err := b.meetings(s, w.which, after)
		if err != nil {
			return err
		}
		for _, m := range list {
			after = m.seq
			write, ref, err := b.run.Judge(s.op, m.row, m)
			if err != nil {
				return err
			}
			if ref != nil {
				if w.out[m.unit] == nil {
					w.out[m.unit] = ref
				}
				continue
			}
			act := m.act(write, &f)
			acts = fmt.Appendf(acts, "%d\t%d\t%s\n", slices.Index(b.shapes, s), m.seq, act)
		}
		if len(list) < judgedAtOnce {
			break
		}
	}
	w.found[s] = f
	return b.d.copyIn(b.ctx, bytes.NewReader(acts), "COPY pg_temp.caisseauto_judged(shape, seq, act) FROM STDIN")
}

// act says what is to be done with a row, and counts it.
func (m *meeting) act(write bool, f *found) string {
	switch {
	case !write:
		f.acknowledged++
		return "none"
	case m.s.deletes():
		f.deletes++
		return "delete"
	case m.live == nil:
		f.inserts++
		return "insert"
	}
	f.updates++
	return "update"
}

// judged returns the condition that a row is to be treated so.
func (b *collectBatch) judged(s *shape, act string) string {
	return fmt.Sprintf("s.seq IN (SELECT j.seq FROM pg_temp.caisseauto_judged AS j WHERE j.shape = %d AND j.act = '%s')", slices.Index(b.shapes, s), act)
}

// A meeting is a row that both sides may have changed. It implements
// collect.Meeting.
type meeting struct {
	b                      *collectBatch
	s                      *shape
	seq, unit              int64
	row, live, base        []change.Value
	same, unchanged, newer bool
}

// meetings returns the next rows of a shape with what the server has beside
// them.
func (b *collectBatch) meetings(s *shape, which string, after int64) (list []*meeting, err error) {
	t := s.table
	first := "t." + quote(t.Column(s.op.Table.Upload.Key[0]).Name)
	same, newer, unchanged, base := "false", "false", "false", ""
	if !s.deletes() {
		same = b.isSame(s, "s")
		if i := s.place(s.op.Table.Upload.Version); i >= 0 {
			c := s.columns[i]
			newer = fmt.Sprintf("(%s)%s > t.%s", b.d.cast(c, at("s", i)), c.collate(), quote(c.Name))
		}
	}
	columns := []string{"s.seq", "s.unit", s.values("s"), first + " IS NOT NULL"}
	live := plain(t.Table)
	for _, c := range live {
		columns = append(columns, "t."+quote(c.Name))
	}
	if p := t.base; p != nil {
		unchanged = b.isSame(p, "p")
		var on []string
		for j, i := range s.op.Key {
			on = append(on, at("p", p.op.Key[j])+" = "+at("s", i))
		}
		base = fmt.Sprintf(" LEFT JOIN (SELECT DISTINCT ON (%s) * FROM %s AS p ORDER BY %s, seq) AS p ON %s", b.keyTexts(p, "p"), p.slot, b.keyTexts(p, "p"), strings.Join(on, " AND "))
	}
	columns = append(columns, same, newer, unchanged)
	if t.base != nil {
		columns = append(columns, t.base.values("p"))
	}
	sql := fmt.Sprintf("SET LOCAL timezone = 'UTC'; SELECT %s FROM %s AS s LEFT JOIN %s AS t ON %s%s WHERE %s AND s.seq > %d ORDER BY s.seq LIMIT %d; SET LOCAL timezone TO DEFAULT",
		strings.Join(columns, ", "), s.slot, t.sql(), b.onKey(s), base, which, after, judgedAtOnce)
	err = b.d.rows(b.ctx, sql, func(values [][]byte) error {
		m := &meeting{b: b, s: s}
		list = append(list, m)
		return m.read(values, live)
	})
	return list, err
}

// plain returns the columns that are not generated.
func plain(t *Table) (list []*Column) {
	for i := range t.Columns {
		if !t.Columns[i].Generated {
			list = append(list, &t.Columns[i])
		}
	}
	return list
}

// read takes a row of the query apart.
func (m *meeting) read(values [][]byte, live []*Column) (err error) {
	if m.seq, err = parseInt(string(values[0])); err != nil {
		return err
	}
	if m.unit, err = parseInt(string(values[1])); err != nil {
		return err
	}
	n := len(m.s.columns)
	if m.row, err = decode(nil, values[2], values[3:3+n]); err != nil {
		return err
	}
	values = values[3+n:]
	there := isTrue(values[0])
	for i, c := range live {
		if !there {
			break
		}
		v, err := c.value(slices.Clone(values[1+i]))
		if err != nil {
			return err
		}
		m.live = append(m.live, v)
	}
	values = values[1+len(live):]
	m.same, m.newer, m.unchanged = isTrue(values[0]), isTrue(values[1]), isTrue(values[2])
	if values = values[3:]; len(values) > 0 && values[0] != nil {
		m.base, err = decode(nil, values[0], values[1:])
	}
	return err
}

func isTrue(text []byte) bool { return string(text) == "t" }

// Live implements collect.Meeting.
func (m *meeting) Live() ([]change.Value, error) { return m.live, nil }

// Same implements collect.Meeting.
func (m *meeting) Same() (bool, error) { return m.same, nil }

// Base implements collect.Meeting. A base that PostgreSQL has no values for
// differs from whatever is there.
func (m *meeting) Base() ([]change.Value, error) {
	if m.base != nil || m.b.raw.bases == 0 {
		return m.base, nil
	}
	err := m.b.Bases(m.s.op.Table, m.s.op, m.row, func(base []change.Value) error {
		if m.base == nil {
			m.base = base
		}
		return nil
	})
	return m.base, err
}

// Unchanged implements collect.Meeting.
func (m *meeting) Unchanged() (bool, error) { return m.unchanged, nil }

// Newer implements collect.Meeting.
func (m *meeting) Newer() (bool, error) { return m.newer, nil }

// valueText returns a value in the form in which the temporary tables have it.
func valueText(v *change.Value) []byte {
	switch v.Kind {
	case change.Integer:
		return strconv.AppendInt(nil, v.Int, 10)
	case change.Real:
		return []byte(realText(v.Real))
	case change.Blob:
		return fmt.Appendf(nil, "%x", v.Bytes)
	}
	return v.Bytes
}

var _ collect.Meeting = (*meeting)(nil)
