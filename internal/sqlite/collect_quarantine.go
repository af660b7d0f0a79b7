package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// The states of a unit in quarantine.
const (
	UnitWaiting    = "waiting"
	UnitIntegrated = "integrated"
	UnitDiscarded  = "discarded"
)

// ErrStillHeld says that a unit was retried, and cannot be taken in yet.
var ErrStillHeld = errors.New("it stays in quarantine")

// A HeldUnit is one unit in quarantine: a whole ticket, a single row, a batch.
type HeldUnit struct {
	ID              int64
	At              string
	Stream          string
	Epoch, Sequence int64  // of the batch
	Table, Key      string // of the first row; empty: the whole batch
	Rows            int64
	Reason          string
	Tried           int64
	State           string
	ClosedAt        string
	Closed          string // why
	// Members are the rows as members of an archive, in [Collector.Unit]
	// only. Archive are the bytes of an archive that could not be read.
	Members []string
	Archive []byte
}

// A UnitFilter says which units are wanted; empty fields ask for nothing.
type UnitFilter struct {
	Stream string
	State  string // empty: waiting
	All    bool   // whatever the state
	Limit  int
}

const unitColumns = "SELECT id, at, stream, epoch, sequence, tab, key, rows, reason, tried, state, coalesce(closed_at, ''), coalesce(closed, '') FROM caisseauto_quarantine "

func scanUnit(s *sqlite3.Stmt) HeldUnit {
	return HeldUnit{ID: s.Int(0), At: s.Text(1), Stream: s.Text(2), Epoch: s.Int(3), Sequence: s.Int(4), Table: s.Text(5), Key: s.Text(6),
		Rows: s.Int(7), Reason: s.Text(8), Tried: s.Int(9), State: s.Text(10), ClosedAt: s.Text(11), Closed: s.Text(12)}
}

// Quarantine lists units, the oldest first, without their rows.
func (c *Collector) Quarantine(ctx context.Context, f UnitFilter) ([]HeldUnit, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	if f.State == "" {
		f.State = UnitWaiting
	}
	if f.Limit <= 0 {
		f.Limit = -1
	}
	var list []HeldUnit
	err := c.t.conn.Query(unitColumns+"WHERE (?1='' OR stream=?1) AND (?2 OR state=?3) ORDER BY id LIMIT ?4",
		func(s *sqlite3.Stmt) error { list = append(list, scanUnit(s)); return nil }, f.Stream, f.All, f.State, f.Limit)
	return list, environment(err)
}

// Unit returns one unit with its rows.
func (c *Collector) Unit(ctx context.Context, id int64) (*HeldUnit, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	u, err := c.unit(id)
	if err != nil {
		return nil, environment(err)
	}
	err = c.t.conn.Query("SELECT shape, data FROM caisseauto_quarantine_row WHERE unit=?1 ORDER BY n", func(s *sqlite3.Stmt) error {
		if s.Text(0) == "" {
			u.Archive = append(u.Archive, s.Bytes(1)...)
		} else {
			u.Members = append(u.Members, s.Text(1))
		}
		return nil
	}, id)
	return u, environment(err)
}

func (c *Collector) unit(id int64) (u *HeldUnit, err error) {
	err = c.t.conn.Query(unitColumns+"WHERE id=?1", func(s *sqlite3.Stmt) error { v := scanUnit(s); u = &v; return nil }, id)
	if err == nil && u == nil {
		err = fmt.Errorf("there is no unit %d in quarantine; see: caisseauto quarantine", id)
	}
	return u, err
}

// open returns a unit that waits.
func (c *Collector) open(id int64) (*HeldUnit, error) {
	u, err := c.unit(id)
	if err == nil && u.State != UnitWaiting {
		err = fmt.Errorf("unit %d was closed at %s (%s: %s); nothing was changed", id, u.ClosedAt, u.State, u.Closed)
	}
	return u, err
}

// closeUnit ends a unit's wait. The transaction is open.
func (c *Collector) closeUnit(u *HeldUnit, state, why string) error {
	err := c.t.conn.Run("UPDATE caisseauto_quarantine SET state=?2, closed_at=?3, closed=?4 WHERE id=?1", u.ID, state, c.stamp(), why)
	if err != nil {
		return err
	}
	return c.t.conn.Run("UPDATE caisseauto_collected SET issue=issue+1 WHERE stream=?1", u.Stream)
}

// Discard closes a unit for good: its rows stay here and are never integrated.
// The reason is kept, and stands in the till's receipt. Rows that both sides
// change go down again as the server has them.
func (c *Collector) Discard(ctx context.Context, id int64, reason string) error {
	if reason == "" {
		return fmt.Errorf("unit %d was not discarded: say why, for the record and the till's receipt", id)
	}
	if err := c.asked(ctx); err != nil {
		return err
	}
	u, err := c.open(id)
	if err != nil {
		return environment(err)
	}
	r, src, err := c.again(ctx, u)
	if err != nil {
		return c.finish(ctx, err)
	}
	if r != nil {
		defer r.close()
		if err := r.read(src); err != nil {
			return c.finish(ctx, err)
		}
	}
	_, err = c.t.locked(ctx, nil, func() error {
		if u, err = c.open(id); err != nil {
			return err
		}
		if r != nil {
			if err := r.touchAll(); err != nil {
				return err
			}
		}
		return c.closeUnit(u, UnitDiscarded, words(reason))
	})
	return c.finish(ctx, err)
}

// touchAll journals the keys of all rows that both sides change.
func (r *collectRun) touchAll() error {
	return r.each(func(op *collectOp, row []change.Value) error {
		if op.table.touch == "" || len(op.key) == 0 || op.refusedByRule(row) != nil {
			return nil
		}
		return r.touch(op, row)
	})
}

// again begins another run with the rows of a unit; nil when they cannot be
// read.
func (c *Collector) again(ctx context.Context, u *HeldUnit) (*collectRun, *heldRows, error) {
	src := &heldRows{c: c, unit: u.ID}
	if err := src.load(); err != nil || len(src.members) == 0 {
		return nil, nil, err
	}
	terms, err := c.terms(u.Stream)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.newRun(ctx, u.Stream, manifest.Position{Epoch: u.Epoch, Sequence: u.Sequence}, src.tables, terms)
	return r, src, err
}

// Retry takes a unit in again, by the rules of now; of what conflict = "hold"
// keeps here it takes the till's version. When it is refused again
// the error wraps [ErrStillHeld] and says why. A whole batch is taken apart:
// what of it is refused becomes units of its own.
func (c *Collector) Retry(ctx context.Context, id int64) (change.Applied, error) {
	if err := c.asked(ctx); err != nil {
		return change.Applied{}, err
	}
	u, err := c.open(id)
	if err != nil {
		return change.Applied{}, environment(err)
	}
	r, src, err := c.again(ctx, u)
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	if r == nil {
		return change.Applied{}, fmt.Errorf("unit %d: %w: %s; discard it, and let the till send the rows again", id, ErrStillHeld, u.Reason)
	}
	defer r.close()
	r.decided = true
	if err = r.read(src); err == nil {
		err = r.group()
	}
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	err = errDead
	for n := 0; errors.Is(err, errDead) && n < maxDead; n++ {
		_, err = r.commit(func() (err error) { u, err = c.open(id); return err }, r.slow, func() error { return r.concludeRetry(u) })
	}
	if errors.Is(err, ErrStillHeld) {
		reason := ""
		_, err = c.t.locked(ctx, nil, func() error {
			reason = r.reason
			return c.t.conn.Run("UPDATE caisseauto_quarantine SET tried=tried+1, reason=?2 WHERE id=?1 AND state='waiting'", id, reason)
		})
		if err == nil {
			return change.Applied{}, fmt.Errorf("unit %d: %w: %s", id, ErrStillHeld, reason)
		}
	}
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	return r.apply.res, nil
}

// concludeRetry writes what a retried unit changes beside its rows.
func (r *collectRun) concludeRetry(u *HeldUnit) error {
	if r.apply.res.Quarantined == r.apply.res.Rows && u.Table != "" {
		return ErrStillHeld
	}
	if err := r.addTotals(); err != nil {
		return err
	}
	why := "retried, integrated"
	if held := r.apply.res.Quarantined; held > 0 {
		why = fmt.Sprintf("retried: %d rows integrated, %d in quarantine as units of their own", r.apply.res.Rows-held, held)
	}
	if err := r.c.closeUnit(u, UnitIntegrated, why); err != nil {
		return err
	}
	return r.c.raiseAll(r.dossier, r.till, r.alarms)
}

// A heldRows reads the rows of a unit, as a batch's.
type heldRows struct {
	c       *Collector
	unit    int64
	members []int64 // n of those left to read
	tables  []manifest.Table
	now     *change.MemberReader
}

// load finds which tables the unit has rows of.
func (h *heldRows) load() error {
	return h.c.t.conn.Query("SELECT n, shape FROM caisseauto_quarantine_row WHERE unit=?1 AND shape<>'' ORDER BY n", func(s *sqlite3.Stmt) error {
		h.members = append(h.members, s.Int(0))
		var t manifest.Table
		if err := json.Unmarshal(s.Bytes(1), &t); err != nil {
			return fmt.Errorf("the rows of unit %d in caisseauto_quarantine_row: %w", h.unit, err)
		}
		if !slices.ContainsFunc(h.tables, func(o manifest.Table) bool { return o.Name == t.Name }) {
			h.tables = append(h.tables, t)
		}
		return nil
	}, h.unit)
}

// Next implements change.BlockReader.
func (h *heldRows) Next() (*change.Block, error) {
	for {
		if h.now != nil {
			b, err := h.now.Next()
			if err != io.EOF {
				return b, err
			}
			h.now = nil
		}
		if len(h.members) == 0 {
			return nil, io.EOF
		}
		var data []byte
		err := h.c.t.conn.Query("SELECT data FROM caisseauto_quarantine_row WHERE unit=?1 AND n=?2", func(s *sqlite3.Stmt) error {
			data = append(data, s.Bytes(0)...)
			return nil
		}, h.unit, h.members[0])
		if err != nil {
			return nil, err
		}
		h.members = h.members[1:]
		if h.now, err = change.NewMemberReader(bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("the rows of unit %d in caisseauto_quarantine_row: %w", h.unit, err)
		}
	}
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
		f.Limit = -1
	}
	var list []ConflictRecord
	err := c.t.conn.Query(`SELECT id, at, stream, epoch, sequence, tab, key, base, server, sent, rule, winner FROM caisseauto_conflict
		WHERE (?1='' OR stream=?1) AND id > ?2 ORDER BY id LIMIT ?3`,
		func(s *sqlite3.Stmt) error { list = append(list, scanConflict(s)); return nil }, f.Stream, f.After, f.Limit)
	return list, environment(err)
}
