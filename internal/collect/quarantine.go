package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
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

func scanUnit(s database.Row) HeldUnit {
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
		f.Limit = math.MaxInt32
	}
	var list []HeldUnit
	err := c.db.Query(ctx, unitColumns+"WHERE (?1='' OR stream=?1) AND (?2 OR state=?3) ORDER BY id LIMIT ?4",
		func(s database.Row) error { list = append(list, scanUnit(s)); return nil }, f.Stream, f.All, f.State, f.Limit)
	return list, c.finish(ctx, err)
}

// Unit returns one unit with its rows.
func (c *Collector) Unit(ctx context.Context, id int64) (*HeldUnit, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	u, err := c.unit(ctx, id)
	if err != nil {
		return nil, c.finish(ctx, err)
	}
	err = c.db.Query(ctx, "SELECT shape, data FROM caisseauto_quarantine_row WHERE unit=?1 ORDER BY n", func(s database.Row) error {
		if s.Text(0) == "" {
			u.Archive = append(u.Archive, s.Bytes(1)...)
		} else {
			u.Members = append(u.Members, s.Text(1))
		}
		return nil
	}, id)
	return u, c.finish(ctx, err)
}

func (c *Collector) unit(ctx context.Context, id int64) (u *HeldUnit, err error) {
	err = c.db.Query(ctx, unitColumns+"WHERE id=?1", func(s database.Row) error { v := scanUnit(s); u = &v; return nil }, id)
	if err == nil && u == nil {
		err = fmt.Errorf("there is no unit %d in quarantine; see: caisseauto quarantine", id)
	}
	return u, err
}

// open returns a unit that waits.
func (c *Collector) open(ctx context.Context, id int64) (*HeldUnit, error) {
	u, err := c.unit(ctx, id)
	if err == nil && u.State != UnitWaiting {
		err = fmt.Errorf("unit %d was closed at %s (%s: %s); nothing was changed", id, u.ClosedAt, u.State, u.Closed)
	}
	return u, err
}

// closeUnit ends a unit's wait. The transaction is open.
func (c *Collector) closeUnit(ctx context.Context, u *HeldUnit, state, why string) error {
	err := c.db.Run(ctx, "UPDATE caisseauto_quarantine SET state=?2, closed_at=?3, closed=?4 WHERE id=?1", u.ID, state, c.stamp(), why)
	if err != nil {
		return err
	}
	return c.db.Run(ctx, "UPDATE caisseauto_collected SET issue=issue+1 WHERE stream=?1", u.Stream)
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
	u, err := c.open(ctx, id)
	if err != nil {
		return c.finish(ctx, err)
	}
	r, src, err := c.again(ctx, u)
	if err != nil {
		return c.finish(ctx, err)
	}
	work := func() error {
		if u, err = c.open(ctx, id); err != nil {
			return err
		}
		return c.closeUnit(ctx, u, UnitDiscarded, words(reason))
	}
	if r == nil {
		_, err = c.db.Locked(ctx, u.Stream, work)
		return c.finish(ctx, err)
	}
	defer r.batch.Close()
	if err = r.read(src); err == nil {
		_, err = r.batch.Locked(func() error {
			if err := work(); err != nil {
				return err
			}
			return r.touchAll()
		})
	}
	return c.finish(ctx, err)
}

// touchAll journals the keys of all rows that both sides change.
func (r *Run) touchAll() error {
	return r.batch.Each(func(op *Op, row []change.Value) error {
		if !op.Both() || len(op.Key) == 0 || op.RefusedByRule(row) != nil {
			return nil
		}
		return r.batch.Touch(op, row)
	})
}

// again begins another run with the rows of a unit; nil when they cannot be
// read.
func (c *Collector) again(ctx context.Context, u *HeldUnit) (*Run, *heldRows, error) {
	src := &heldRows{c: c, ctx: ctx, unit: u.ID}
	if err := src.load(); err != nil || len(src.members) == 0 {
		return nil, nil, err
	}
	terms, err := c.terms(ctx, u.Stream)
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
	u, err := c.open(ctx, id)
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	r, src, err := c.again(ctx, u)
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	if r == nil {
		return change.Applied{}, fmt.Errorf("unit %d: %w: %s; discard it, and let the till send the rows again", id, ErrStillHeld, u.Reason)
	}
	defer r.batch.Close()
	r.Decided = true
	if err := r.read(src); err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	before := func() (err error) { u, err = c.open(ctx, id); return err }
	_, err = r.integrate(true, before, func() error { return r.concludeRetry(u) })
	if errors.Is(err, ErrStillHeld) {
		_, err = c.db.Locked(ctx, u.Stream, func() error {
			return c.db.Run(ctx, "UPDATE caisseauto_quarantine SET tried=tried+1, reason=?2 WHERE id=?1 AND state='waiting'", id, r.reason)
		})
		if err == nil {
			return change.Applied{}, fmt.Errorf("unit %d: %w: %s", id, ErrStillHeld, r.reason)
		}
	}
	if err != nil {
		return change.Applied{}, c.finish(ctx, err)
	}
	return r.Res, nil
}

// concludeRetry writes what a retried unit changes beside its rows.
func (r *Run) concludeRetry(u *HeldUnit) error {
	if r.Res.Quarantined == r.Res.Rows && u.Table != "" {
		return ErrStillHeld
	}
	if err := r.addTotals(); err != nil {
		return err
	}
	why := "retried, integrated"
	if held := r.Res.Quarantined; held > 0 {
		why = fmt.Sprintf("retried: %d rows integrated, %d in quarantine as units of their own", r.Res.Rows-held, held)
	}
	if err := r.c.closeUnit(r.ctx, u, UnitIntegrated, why); err != nil {
		return err
	}
	return r.c.raiseAll(r.ctx, r.Dossier, r.Till, r.alarms)
}

// A heldRows reads the rows of a unit, as a batch's.
type heldRows struct {
	c       *Collector
	ctx     context.Context
	unit    int64
	members []int64 // n of those left to read
	tables  []manifest.Table
	now     *change.MemberReader
}

// load finds which tables the unit has rows of.
func (h *heldRows) load() error {
	return h.c.db.Query(h.ctx, "SELECT n, shape FROM caisseauto_quarantine_row WHERE unit=?1 AND shape<>'' ORDER BY n", func(s database.Row) error {
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
		err := h.c.db.Query(h.ctx, "SELECT data FROM caisseauto_quarantine_row WHERE unit=?1 AND n=?2", func(s database.Row) error {
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
