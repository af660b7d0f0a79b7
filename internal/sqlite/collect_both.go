package sqlite

import (
	"bytes"
	"fmt"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A conflict is a row that both sides have changed, each without knowing of
// the other's change. The three versions are written as members of an archive,
// empty where there was no row.
type conflict struct {
	table, key         string
	base, server, sent string
	rule, winner       string
}

// both takes a row of a table that both sides change. Whatever comes of it,
// the key goes down again, to this till too.
func (r *collectRun) both(op *collectOp, row []change.Value, direct bool) (*refusedRow, error) {
	var write bool
	if direct { // judged before, all of them: see judgeAll
		write, r.judged = r.judged[0], r.judged[1:]
	} else {
		var ref *refusedRow
		var err error
		if write, ref, err = r.judge(op, row); ref != nil || err != nil {
			return ref, err
		}
	}
	if !write {
		r.apply.res.Acknowledged++
	} else if ref, err := r.write(op, row, direct); ref != nil || err != nil {
		return ref, err
	}
	return nil, r.touch(op, row)
}

// judge decides whether a row is to be written. There is a conflict when the
// server's row is neither what the till began from nor what it made.
func (r *collectRun) judge(op *collectOp, row []change.Value) (write bool, _ *refusedRow, _ error) {
	live, err := r.live(op, row)
	if err != nil || live == nil && op.header.Op == change.Delete {
		return false, nil, err
	}
	if live != nil && op.header.Op != change.Delete {
		if same, _, err := r.ask(op.sameSQL, row); same || err != nil {
			return false, nil, err
		}
	}
	base, unchanged, err := r.base(op, row, live != nil)
	if err != nil || unchanged {
		return true, nil, err
	}
	c := r.resolve(op, row, live)
	if base != nil {
		c.base = op.table.base.member(change.Base, base)
	}
	if c.winner == "" && r.decided {
		c.winner = database.ConflictTill
	}
	if c.winner == "" {
		return false, &refusedRow{final: true, conflict: c, reason: fmt.Sprintf("%s was changed on the server too, and conflict = \"hold\" leaves the decision to a person: quarantine retry takes the till's version, quarantine discard leaves the server's", op.apply.name(row))}, nil
	}
	r.apply.res.Conflicts++
	return c.winner == database.ConflictTill, nil, r.record(c)
}

// judgeAll judges every row that both sides change, before any is written:
// while two rows swap a value that must be unique, one of them is not what it
// was.
func (r *collectRun) judgeAll() error {
	r.judged = r.judged[:0]
	return r.each(func(op *collectOp, row []change.Value) error {
		if op.table.up == nil || op.table.up.Mode != manifest.Both {
			return nil
		}
		if ref := op.refusedByRule(row); ref != nil {
			return errUnits
		}
		write, ref, err := r.judge(op, row)
		if err == nil && ref != nil {
			err = errUnits
		}
		r.judged = append(r.judged, write)
		return err
	})
}

// live returns the server's row, its own copy, nil when there is none.
func (r *collectRun) live(op *collectOp, row []change.Value) ([]change.Value, error) {
	s, err := r.apply.cached(op.serversSQL)
	if err != nil {
		return nil, err
	}
	if err := s.BindRow(row[:s.Params()]); err != nil {
		return nil, err
	}
	defer s.Reset()
	if ok, err := s.Step(); !ok || err != nil {
		return nil, err
	}
	list := make([]change.Value, s.Columns())
	for i := range list {
		list[i] = s.Value(i)
		list[i].Bytes = slices.Clone(list[i].Bytes)
	}
	return list, nil
}

// base returns the row that the till's change began from, nil when it was
// new, and whether the server still has it so.
func (r *collectRun) base(op *collectOp, row []change.Value, there bool) (base []change.Value, unchanged bool, err error) {
	if r.bases && op.table.base != nil && op.table.base.bad == "" {
		key := make([]change.Value, len(op.key))
		for j, i := range op.key {
			key[j] = row[i]
		}
		s, err := r.apply.cached("SELECT data FROM temp.caisseauto_base WHERE tab=?1 AND key=?2")
		if err != nil {
			return nil, false, err
		}
		if err := s.BindArgs(op.table.number, appendKey(nil, key)); err != nil {
			return nil, false, err
		}
		found, err := s.Step()
		if found && err == nil {
			base, _, err = decodeRow(nil, slices.Clone(s.Bytes(0)), len(op.table.base.header.Columns))
		}
		s.Reset()
		if err != nil {
			return nil, false, err
		}
	}
	if base == nil {
		return nil, !there, nil
	}
	if !there {
		return base, false, nil
	}
	unchanged, _, err = r.ask(op.table.base.sameSQL, base)
	return base, unchanged, err
}

// resolve decides a conflict by the table's rule. Live is the server's row.
func (r *collectRun) resolve(op *collectOp, row, live []change.Value) *conflict {
	u := op.table.up
	c := &conflict{table: u.Table, key: op.shownKey(row), rule: u.Conflict, winner: u.Conflict}
	c.sent = op.member(op.header.Op, row)
	var columns []string
	for _, col := range op.apply.table.Columns {
		if !col.Generated {
			columns = append(columns, col.Name)
		}
	}
	if live != nil {
		c.server = member(change.Header{Table: u.Table, Op: change.Upsert, Columns: columns}, live)
	}
	switch u.Conflict {
	case database.ConflictHold:
		c.winner = ""
	case database.ConflictNewest:
		c.winner = database.ConflictServer
		if live == nil { // a side that deleted loses
			c.winner = database.ConflictTill
		} else if i := slices.IndexFunc(op.header.Columns, func(n string) bool { return sameName(n, u.Version) }); i >= 0 && op.header.Op != change.Delete {
			known := true
			if compareValues(row[i], live[slices.Index(columns, u.Version)], "BINARY", &known) > 0 {
				c.winner = database.ConflictTill
			}
		}
	}
	return c
}

// member returns one row as a member of an archive.
func (op *collectOp) member(as change.Op, row []change.Value) string {
	return member(change.Header{Table: op.header.Table, Op: as, Columns: op.header.Columns}, row)
}

func member(h change.Header, row []change.Value) string {
	return string(change.AppendRow(change.AppendHeader(nil, h), row))
}

// shownKey returns a row's key as a JSON array; of a row whose key is not
// known, the row.
func (op *collectOp) shownKey(row []change.Value) string {
	key := row
	if len(op.key) > 0 {
		key = nil
		for _, i := range op.key {
			key = append(key, row[i])
		}
	}
	return string(bytes.TrimSpace(change.AppendRow(nil, key)))
}

// record keeps both versions of a conflict, and who won.
func (r *collectRun) record(c *conflict) error {
	winner := c.winner
	if winner == "" {
		winner = "nobody"
	}
	return r.apply.run(`INSERT INTO caisseauto_conflict(at, stream, dossier, till, epoch, sequence, tab, key, base, server, sent, rule, winner)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)`, r.c.stamp(), r.stream, r.dossier, r.till, r.at.Epoch, r.at.Sequence,
		c.table, c.key, c.base, c.server, c.sent, c.rule, winner)
}

// touch journals a row's key, so that the row goes down again.
func (r *collectRun) touch(op *collectOp, row []change.Value) error {
	t := op.table
	if t.touch == "" {
		return nil
	}
	args := []any{t.tab, t.touchDossier}
	for _, place := range t.touchOrder {
		args = append(args, row[op.key[place]])
	}
	return r.apply.run(t.touch, args...)
}

// A ConflictRecord is one recorded conflict. The rows are members of an
// archive, empty where there was no row.
type ConflictRecord struct {
	ID                 int64
	At                 string
	Stream             string
	Epoch, Sequence    int64 // of the batch
	Table, Key         string
	Base, Server, Sent string
	Rule, Winner       string // winner: server, till or nobody
}

// scanConflict reads the current row of the query in Conflicts.
func scanConflict(s *sqlite3.Stmt) ConflictRecord {
	return ConflictRecord{ID: s.Int(0), At: s.Text(1), Stream: s.Text(2), Epoch: s.Int(3), Sequence: s.Int(4), Table: s.Text(5),
		Key: s.Text(6), Base: s.Text(7), Server: s.Text(8), Sent: s.Text(9), Rule: s.Text(10), Winner: s.Text(11)}
}
