package collect

import (
	"context"
	"math"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Conflict is a row that both sides have changed, each without knowing of
// the other's change. The three versions are written as members of an archive,
// empty where there was no row.
type Conflict struct {
	table, key         string
	base, server, sent string
	rule, winner       string
}

// A Meeting is what there is to know of a row of a table that both sides
// change. What is asked last is needed least often.
type Meeting interface {
	// Live returns the server's row, in the order of the columns that are
	// not generated; nil when there is none.
	Live() ([]change.Value, error)
	// Same reports whether the server's row has the values that are sent.
	Same() (bool, error)
	// Base returns the row that the till's change began from, nil when it
	// was new to the till.
	Base() ([]change.Value, error)
	// Unchanged reports whether the server's row, which is there, is still
	// the base.
	Unchanged() (bool, error)
	// Newer reports whether the version that is sent is larger than that of
	// the server's row, which is there.
	Newer() (bool, error)
}

// Both reports whether both sides change the rows.
func (op *Op) Both() bool {
	return op.Table.Upload != nil && op.Table.Upload.Mode == manifest.Both
}

// Judge decides whether a row is to be written. There is a conflict when the
// server's row is neither what the till began from nor what it made; whoever
// wins it, it is recorded.
func (r *Run) Judge(op *Op, row []change.Value, m Meeting) (write bool, _ *Refused, _ error) {
	live, err := m.Live()
	if err != nil || live == nil && op.Header.Op == change.Delete {
		return false, nil, err
	}
	if live != nil && op.Header.Op != change.Delete {
		if same, err := m.Same(); same || err != nil {
			return false, nil, err
		}
	}
	base, err := m.Base()
	if err != nil {
		return false, nil, err
	}
	unchanged := base == nil && live == nil
	if base != nil && live != nil {
		if unchanged, err = m.Unchanged(); err != nil {
			return false, nil, err
		}
	}
	if unchanged {
		return true, nil, nil
	}
	c, err := r.resolve(op, row, live, m)
	if err != nil {
		return false, nil, err
	}
	if base != nil {
		c.base = op.Table.Base.member(change.Base, base)
	}
	if c.winner == "" && r.Decided {
		c.winner = database.ConflictTill
	}
	if c.winner == "" {
		return false, &Refused{Final: true, Conflict: c, Reason: op.Name(row) + ` was changed on the server too, and conflict = "hold" leaves the decision to a person: quarantine retry takes the till's version, quarantine discard leaves the server's`}, nil
	}
	r.Res.Conflicts++
	return c.winner == database.ConflictTill, nil, r.record(c)
}

// resolve decides a conflict by the table's rule. Live is the server's row.
func (r *Run) resolve(op *Op, row, live []change.Value, m Meeting) (*Conflict, error) {
	u := op.Table.Upload
	c := &Conflict{table: u.Table, key: op.shownKey(row), rule: u.Conflict, winner: u.Conflict}
	c.sent = op.member(op.Header.Op, row)
	if live != nil {
		c.server = member(change.Header{Table: u.Table, Op: change.Upsert, Columns: plainColumns(u.Live)}, live)
	}
	switch u.Conflict {
	case database.ConflictHold:
		c.winner = ""
	case database.ConflictNewest:
		c.winner = database.ConflictServer
		if live == nil { // a side that deleted loses
			c.winner = database.ConflictTill
		} else if op.Header.Op != change.Delete && u.Live.Has(op.Header.Columns, u.Version) {
			newer, err := m.Newer()
			if err != nil {
				return nil, err
			}
			if newer {
				c.winner = database.ConflictTill
			}
		}
	}
	return c, nil
}

// plainColumns returns the names of the columns that are not generated.
func plainColumns(t *database.Table) (names []string) {
	for _, c := range t.Columns {
		if !c.Generated {
			names = append(names, c.Name)
		}
	}
	return names
}

// record keeps both versions of a conflict, and who won.
func (r *Run) record(c *Conflict) error {
	winner := c.winner
	if winner == "" {
		winner = "nobody"
	}
	return r.c.db.Run(r.ctx, `INSERT INTO caisseauto_conflict(at, stream, dossier, till, epoch, sequence, tab, key, base, server, sent, rule, winner)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)`, r.c.stamp(), r.Stream, r.Dossier, r.Till, r.At.Epoch, r.At.Sequence,
		c.table, c.key, c.base, c.server, c.sent, c.rule, winner)
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
func scanConflict(s database.Row) ConflictRecord {
	return ConflictRecord{ID: s.Int(0), At: s.Text(1), Stream: s.Text(2), Epoch: s.Int(3), Sequence: s.Int(4), Table: s.Text(5),
		Key: s.Text(6), Base: s.Text(7), Server: s.Text(8), Sent: s.Text(9), Rule: s.Text(10), Winner: s.Text(11)}
}

// A ConflictFilter says which conflicts are wanted; empty fields ask for
// nothing.
type ConflictFilter struct {
	Stream string
	After  int64 // those with a higher ID
	Limit  int
}

// Conflicts lists conflicts, the oldest first.
func (c *Collector) Conflicts(ctx context.Context, f ConflictFilter) ([]ConflictRecord, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	if f.Limit <= 0 {
		f.Limit = math.MaxInt32
	}
	var list []ConflictRecord
	err := c.db.Query(ctx, `SELECT id, at, stream, epoch, sequence, tab, key, base, server, sent, rule, winner FROM caisseauto_conflict
		WHERE (?1='' OR stream=?1) AND id > ?2 ORDER BY id LIMIT ?3`,
		func(s database.Row) error { list = append(list, scanConflict(s)); return nil }, f.Stream, f.After, f.Limit)
	return list, c.finish(ctx, err)
}
