package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// conclude writes what a batch changes beside its rows: the till's totals and
// numbers, what its receipt is to say, and alarms. The transaction is open.
func (r *Run) conclude(m *manifest.Manifest) error {
	number, err := r.nextNumber()
	if err != nil {
		return err
	}
	if err := r.sameDatabase(m); err != nil {
		return err
	}
	if err := r.addTotals(); err != nil {
		return err
	}
	err = r.c.db.Run(r.ctx, `UPDATE caisseauto_collected SET incarnation=?2, integrated=?3, issue=issue+1 WHERE stream=?1`,
		r.Stream, m.Incarnation, number)
	if err != nil {
		return err
	}
	for _, t := range r.Tables {
		if t.Upload != nil && len(t.numbers) > 0 {
			if err := r.addNumbers(t.Upload.Table, t.numbers); err != nil {
				return err
			}
		}
	}
	if err := r.holes(); err != nil {
		return err
	}
	return r.c.raiseAll(r.ctx, r.Dossier, r.Till, r.alarms)
}

// nextNumber counts the batch among all of the dossier's.
func (r *Run) nextNumber() (n int64, err error) {
	err = r.c.db.Query(r.ctx, `INSERT INTO caisseauto_dossier(dossier, integrated) VALUES(?1, 1)
		ON CONFLICT(dossier) DO UPDATE SET integrated=caisseauto_dossier.integrated+1 RETURNING integrated`,
		func(s database.Row) error { n = s.Int(0); return nil }, r.Dossier)
	if err == nil {
		err = r.c.known(r.ctx, r.Stream)
	}
	return n, err
}

// addTotals adds what was integrated to the till's totals: all rows but those
// that went into quarantine.
func (r *Run) addTotals() error {
	now, err := manifest.SubTotals(r.tally.Totals(), r.held.Totals())
	if err != nil {
		return err
	}
	return r.c.addTotals(r.ctx, r.Stream, now)
}

func (c *Collector) addTotals(ctx context.Context, stream string, now []manifest.Total) error {
	if len(now) == 0 {
		return nil
	}
	before, err := c.totals(ctx, stream)
	if err != nil {
		return err
	}
	sum, err := manifest.AddTotals(before, now)
	if err != nil {
		return fmt.Errorf("the totals of %s in caisseauto_collected: %w", stream, err)
	}
	text, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	return c.db.Run(ctx, "UPDATE caisseauto_collected SET totals=?2 WHERE stream=?1", stream, string(text))
}

func (c *Collector) totals(ctx context.Context, stream string) (list []manifest.Total, err error) {
	err = c.db.Query(ctx, "SELECT totals FROM caisseauto_collected WHERE stream=?1", func(s database.Row) error {
		return json.Unmarshal(s.Bytes(0), &list)
	}, stream)
	if err != nil {
		return nil, fmt.Errorf("the totals of %s in caisseauto_collected: %w", stream, err)
	}
	return list, nil
}

// addNumbers adds ranges of numbers to those that have come. Ranges that
// meet become one.
func (r *Run) addNumbers(table string, numbers manifest.Ranges) error {
	db, ctx := r.c.db, r.ctx
	for _, n := range numbers {
		lo, hi := n.Lo, n.Hi
		err := db.Query(ctx, `SELECT min(lo), max(hi) FROM (SELECT lo, hi FROM caisseauto_number
			WHERE stream=?1 AND tab=?2 AND lo <= ?5 AND lo >= ?3
			UNION ALL SELECT lo, hi FROM (SELECT lo, hi FROM caisseauto_number WHERE stream=?1 AND tab=?2 AND lo < ?3 ORDER BY lo DESC LIMIT 1) AS below
			WHERE hi >= ?4) AS touching HAVING count(*) > 0`, func(s database.Row) error {
			lo, hi = min(lo, s.Int(0)), max(hi, s.Int(1))
			return nil
		}, r.Stream, table, n.Lo, less(n.Lo), more(n.Hi))
		if err != nil {
			return err
		}
		if err := db.Run(ctx, "DELETE FROM caisseauto_number WHERE stream=?1 AND tab=?2 AND lo BETWEEN ?3 AND ?4", r.Stream, table, lo, hi); err != nil {
			return err
		}
		if err := db.Run(ctx, "INSERT INTO caisseauto_number(stream, tab, lo, hi) VALUES(?1,?2,?3,?4)", r.Stream, table, lo, hi); err != nil {
			return err
		}
	}
	return nil
}

// less and more return the number beside n; at either end there is none.
func less(n int64) int64 { return max(n, math.MinInt64+1) - 1 }
func more(n int64) int64 { return min(n, math.MaxInt64-1) + 1 }

// maxHoles is how many holes in a table's numbers have an alarm of their own.
const maxHoles = 100

// holes raises an alarm for every hole in the till's numbers, and clears those
// of holes that are filled.
func (r *Run) holes() error {
	want := map[string]bool{}
	add := func(text string) {
		want[text] = true
		r.alarms = append(r.alarms, alarm{AlarmNumbers, text})
	}
	for _, u := range r.Uploads {
		last, n := int64(-1), 0
		if u.Number == "" {
			continue
		}
		err := r.c.db.Query(r.ctx, "SELECT lo, hi FROM caisseauto_number WHERE stream=?1 AND tab=?2 ORDER BY lo", func(s database.Row) error {
			if last >= 0 {
				if n++; n <= maxHoles {
					add(hole(u.Table, last+1, s.Int(0)-1, r.Till))
				}
			}
			last = s.Int(1)
			return nil
		}, r.Stream, u.Table)
		if err != nil {
			return err
		}
		if n > maxHoles {
			add(fmt.Sprintf("%s numbers of till %s have %d more holes", u.Table, r.Till, n-maxHoles))
		}
	}
	return r.c.clearOthers(r.ctx, r.Dossier, r.Till, AlarmNumbers, want, "the numbers have come")
}

func hole(table string, lo, hi int64, till string) string {
	if lo == hi {
		return fmt.Sprintf("%s number %d of till %s is missing", table, lo, till)
	}
	return fmt.Sprintf("%s numbers %d-%d of till %s are missing", table, lo, hi, till)
}

// sameDatabase raises an alarm when the batch comes from another database
// than the one before it without a new epoch, or from one that is also
// another till's.
func (r *Run) sameDatabase(m *manifest.Manifest) error {
	if m.Incarnation == "" {
		return nil
	}
	var before string
	err := r.c.db.Query(r.ctx, "SELECT incarnation FROM caisseauto_collected WHERE stream=?1", func(s database.Row) error {
		before = s.Text(0)
		return nil
	}, r.Stream)
	if err != nil {
		return err
	}
	if before != "" && before != m.Incarnation && m.Previous != NoneBefore {
		r.alarm(AlarmFork, "batch %d of till %s was sealed by database %s, and the batches before it by database %s: two tills work as %s, or one was restored",
			m.Sequence, r.Till, m.Incarnation, before, r.Till)
	}
	list, err := r.c.twins(r.ctx, r.Stream, m.Incarnation)
	r.alarms = append(r.alarms, list...)
	return err
}
