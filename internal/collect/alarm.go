package collect

import (
	"context"
	"fmt"

	"caisseauto/internal/database"
)

// The kinds of alarms that the collector raises.
const (
	AlarmNumbers = "numbers" // numbers without gaps have one
	AlarmAltered = "altered" // a row that is only ever added came with other content
	AlarmDeleted = "deleted" // such a row was deleted on the till
	AlarmForeign = "foreign" // a row of another till or dossier
	AlarmBatch   = "batch"   // a whole batch is in quarantine
	AlarmFork    = "fork"    // two databases work as one till
	AlarmAhead   = "ahead"   // a till has applied what this server never published
)

// An alarm is one that is not written yet.
type alarm struct{ kind, text string }

// An Alarm is something that a person has to look at.
type Alarm struct {
	ID            int64
	At            string
	Dossier, Till string
	Kind, Text    string
	ClearedAt     string // empty: it stands
	ClearedWhy    string
}

func (r *Run) alarm(kind, format string, args ...any) {
	r.alarms = append(r.alarms, alarm{kind, fmt.Sprintf(format, args...)})
}

// raiseAll writes alarms that do not stand already. The transaction is open.
func (c *Collector) raiseAll(ctx context.Context, dossier, till string, list []alarm) error {
	for _, a := range list {
		err := c.db.Run(ctx, `INSERT INTO caisseauto_alarm(at, dossier, till, kind, text) VALUES(?1,?2,?3,?4,?5)
			ON CONFLICT DO NOTHING`, c.stamp(), dossier, till, a.kind, words(a.text))
		if err != nil {
			return err
		}
	}
	return nil
}

// clearOthers clears the alarms of a kind whose text is not wanted any more.
func (c *Collector) clearOthers(ctx context.Context, dossier, till, kind string, want map[string]bool, why string) error {
	var ids []int64
	err := c.db.Query(ctx, "SELECT id, text FROM caisseauto_alarm WHERE dossier=?1 AND till=?2 AND kind=?3 AND cleared_at IS NULL", func(s database.Row) error {
		if !want[s.Text(1)] {
			ids = append(ids, s.Int(0))
		}
		return nil
	}, dossier, till, kind)
	for _, id := range ids {
		if err != nil {
			break
		}
		err = c.db.Run(ctx, "UPDATE caisseauto_alarm SET cleared_at=?2, cleared_why=?3 WHERE id=?1", id, c.stamp(), why)
	}
	return err
}

// An AlarmFilter says which alarms are wanted; empty fields ask for nothing.
type AlarmFilter struct {
	Dossier, Till string
	Cleared       bool // those too that stand no more
}

// Alarms returns alarms, the oldest first.
func (c *Collector) Alarms(ctx context.Context, f AlarmFilter) ([]Alarm, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	var list []Alarm
	err := c.db.Query(ctx, `SELECT id, at, dossier, till, kind, text, cleared_at, cleared_why FROM caisseauto_alarm
		WHERE (?1='' OR dossier=?1) AND (?2='' OR till=?2) AND (?3 OR cleared_at IS NULL) ORDER BY id`, func(s database.Row) error {
		list = append(list, Alarm{ID: s.Int(0), At: s.Text(1), Dossier: s.Text(2), Till: s.Text(3), Kind: s.Text(4), Text: s.Text(5), ClearedAt: s.Text(6), ClearedWhy: s.Text(7)})
		return nil
	}, f.Dossier, f.Till, f.Cleared)
	return list, c.finish(ctx, err)
}

// Raise raises an alarm, unless the same one stands already.
func (c *Collector) Raise(ctx context.Context, dossier, till, kind, text string) error {
	return c.write(ctx, "", func() error { return c.raiseAll(ctx, dossier, till, []alarm{{kind, text}}) })
}

// ClearAlarm clears an alarm. Why is kept with it, and must be said.
func (c *Collector) ClearAlarm(ctx context.Context, id int64, why string) error {
	if why == "" {
		return fmt.Errorf("alarm %d stands as before: say why it can be cleared, for the record", id)
	}
	return c.write(ctx, "", func() error {
		stood := false
		err := c.db.Query(ctx, "UPDATE caisseauto_alarm SET cleared_at=?2, cleared_why=?3 WHERE id=?1 AND cleared_at IS NULL RETURNING id",
			func(database.Row) error { stood = true; return nil }, id, c.stamp(), why)
		if err == nil && !stood {
			return fmt.Errorf("there is no alarm %d that stands; see: caisseauto status", id)
		}
		return err
	})
}
