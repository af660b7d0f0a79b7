package sqlite

import (
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
)

// both takes a row of a table that both sides change. Whatever comes of it,
// the key goes down again, to this till too.
func (b *collectBatch) both(op *collectOp, row []change.Value, direct bool) (*collect.Refused, error) {
	var write bool
	if direct { // judged before, all of them: see judgeAll
		write, b.judged = b.judged[0], b.judged[1:]
	} else {
		var ref *collect.Refused
		var err error
		if write, ref, err = b.judge(op, row); ref != nil || err != nil {
			return ref, err
		}
	}
	if !write {
		b.run.Res.Acknowledged++
	} else if ref, err := b.write(op, row, direct); ref != nil || err != nil {
		return ref, err
	}
	return nil, b.Touch(op.Op, row)
}

// judge decides whether a row is to be written.
func (b *collectBatch) judge(op *collectOp, row []change.Value) (write bool, _ *collect.Refused, _ error) {
	return b.run.Judge(op.Op, row, &meeting{b: b, op: op, row: row})
}

// A meeting is a row that both sides may have changed. It implements
// collect.Meeting.
type meeting struct {
	b          *collectBatch
	op         *collectOp
	row        []change.Value
	live, base []change.Value
}

// judgeAll judges every row that both sides change, before any is written:
// while two rows swap a value that must be unique, one of them is not what it
// was.
func (b *collectBatch) judgeAll() error {
	b.judged = b.judged[:0]
	return b.each(func(op *collectOp, row []change.Value) error {
		if !op.Both() {
			return nil
		}
		if ref := op.RefusedByRule(row); ref != nil {
			return errUnits
		}
		write, ref, err := b.judge(op, row)
		if err == nil && ref != nil {
			err = errUnits
		}
		b.judged = append(b.judged, write)
		return err
	})
}

// Live implements collect.Meeting.
func (m *meeting) Live() ([]change.Value, error) {
	s, err := m.b.apply.cached(m.op.serversSQL)
	if err != nil {
		return nil, err
	}
	if err := s.BindRow(m.row[:s.Params()]); err != nil {
		return nil, err
	}
	defer s.Reset()
	if ok, err := s.Step(); !ok || err != nil {
		return nil, err
	}
	m.live = make([]change.Value, s.Columns())
	for i := range m.live {
		m.live[i] = s.Value(i)
		m.live[i].Bytes = slices.Clone(m.live[i].Bytes)
	}
	return m.live, nil
}

// Same implements collect.Meeting.
func (m *meeting) Same() (bool, error) {
	same, _, err := m.b.ask(m.op.sameSQL, m.row)
	return same, err
}

// Base implements collect.Meeting.
func (m *meeting) Base() (_ []change.Value, err error) {
	t := m.op.Op.Table
	if t.Base == nil || t.Base.Bad() != "" {
		return nil, nil
	}
	s, err := m.b.apply.cached("SELECT data FROM temp.caisseauto_base WHERE tab=?1 AND key=?2")
	if err != nil {
		return nil, err
	}
	if err := s.BindArgs(t.Number, rowKey(m.op.Op, m.row)); err != nil {
		return nil, err
	}
	defer s.Reset()
	if found, err := s.Step(); !found || err != nil {
		return nil, err
	}
	m.base, _, err = decodeRow(nil, slices.Clone(s.Bytes(0)), len(t.Base.Header.Columns))
	return m.base, err
}

// Unchanged implements collect.Meeting.
func (m *meeting) Unchanged() (bool, error) {
	same, _, err := m.b.ask(m.b.own(m.op.Op.Table.Base).sameSQL, m.base)
	return same, err
}

// Newer implements collect.Meeting.
func (m *meeting) Newer() (bool, error) {
	version := m.op.Op.Table.Upload.Version
	is := func(name string) bool { return sameName(name, version) }
	known := true
	sent := m.row[slices.IndexFunc(m.op.Header.Columns, is)]
	return compareValues(sent, m.live[slices.IndexFunc(plain(m.op.apply.table.Table), is)], "BINARY", &known) > 0, nil
}

// plain returns the columns that are not generated.
func plain(t *Table) (names []string) {
	for _, c := range t.Columns {
		if !c.Generated {
			names = append(names, c.Name)
		}
	}
	return names
}
