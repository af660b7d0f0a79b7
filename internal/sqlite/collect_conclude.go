package sqlite

import (
	"encoding/json"
	"fmt"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// conclude writes what a batch changes beside its rows: the till's totals and
// numbers, what its receipt is to say, and alarms. The transaction is open.
func (r *collectRun) conclude(m *manifest.Manifest) error {
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
	err = r.apply.run(`UPDATE caisseauto_collected SET incarnation=?2, integrated=?3, issue=issue+1 WHERE stream=?1`,
		r.stream, m.Incarnation, number)
	if err != nil {
		return err
	}
	for _, t := range r.tables {
		if t.up != nil && len(t.numbers) > 0 {
			if err := r.addNumbers(t.up.Table, t.numbers); err != nil {
				return err
			}
		}
	}
	if err := r.holes(); err != nil {
		return err
	}
	return r.c.raiseAll(r.dossier, r.till, r.alarms)
}

// nextNumber counts the batch among all of the dossier's.
func (r *collectRun) nextNumber() (n int64, err error) {
	err = r.c.t.conn.Query(`INSERT INTO caisseauto_dossier(dossier, integrated) VALUES(?1, 1)
		ON CONFLICT(dossier) DO UPDATE SET integrated=integrated+1 RETURNING integrated`,
		func(s *sqlite3.Stmt) error { n = s.Int(0); return nil }, r.dossier)
	if err == nil {
		err = r.c.known(r.stream)
	}
	return n, err
}

// known sees to it that a till has its row.
func (c *Collector) known(stream string) error {
	dossier, till, _ := splitUp(stream)
	return c.t.conn.Run(`INSERT INTO caisseauto_collected(stream, dossier, till) VALUES(?1,?2,?3) ON CONFLICT(stream) DO NOTHING`, stream, dossier, till)
}

// addTotals adds what was integrated to the till's totals: all rows but those
// that went into quarantine.
func (r *collectRun) addTotals() error {
	now, err := manifest.SubTotals(r.tally.Totals(), r.held.Totals())
	if err != nil {
		return err
	}
	return r.c.addTotals(r.stream, now)
}

func (c *Collector) addTotals(stream string, now []manifest.Total) error {
	if len(now) == 0 {
		return nil
	}
	before, err := c.totals(stream)
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
	return c.t.conn.Run("UPDATE caisseauto_collected SET totals=?2 WHERE stream=?1", stream, string(text))
}

func (c *Collector) totals(stream string) (list []manifest.Total, err error) {
	err = c.t.conn.Query("SELECT totals FROM caisseauto_collected WHERE stream=?1", func(s *sqlite3.Stmt) error {
		return json.Unmarshal(s.Bytes(0), &list)
	}, stream)
	if err != nil {
		return nil, fmt.Errorf("the totals of %s in caisseauto_collected: %w", stream, err)
	}
	return list, nil
}

// addNumbers adds ranges of numbers to those that have come. Ranges that
// meet become one.
func (r *collectRun) addNumbers(table string, numbers manifest.Ranges) error {
	conn := r.c.t.conn
	for _, n := range numbers {
		lo, hi := n.Lo, n.Hi
		err := conn.Query(`SELECT min(lo), max(hi) FROM (SELECT lo, hi FROM caisseauto_number
			WHERE stream=?1 AND tab=?2 AND lo <= ?4 + 1 AND lo >= ?3
			UNION ALL SELECT lo, hi FROM (SELECT lo, hi FROM caisseauto_number WHERE stream=?1 AND tab=?2 AND lo < ?3 ORDER BY lo DESC LIMIT 1)
			WHERE hi >= ?3 - 1) HAVING count(*) > 0`, func(s *sqlite3.Stmt) error {
			lo, hi = min(lo, s.Int(0)), max(hi, s.Int(1))
			return nil
		}, r.stream, table, n.Lo, n.Hi)
		if err != nil {
			return err
		}
		if err := conn.Run("DELETE FROM caisseauto_number WHERE stream=?1 AND tab=?2 AND lo BETWEEN ?3 AND ?4", r.stream, table, lo, hi); err != nil {
			return err
		}
		if err := conn.Run("INSERT INTO caisseauto_number(stream, tab, lo, hi) VALUES(?1,?2,?3,?4)", r.stream, table, lo, hi); err != nil {
			return err
		}
	}
	return nil
}

// maxHoles is how many holes in a table's numbers have an alarm of their own.
const maxHoles = 100

// holes raises an alarm for every hole in the till's numbers, and clears those
// of holes that are filled.
func (r *collectRun) holes() error {
	want := map[string]bool{}
	add := func(text string) {
		want[text] = true
		r.alarms = append(r.alarms, alarm{AlarmNumbers, text})
	}
	for _, u := range r.uploads {
		last, n := int64(-1), 0
		if u.Number == "" {
			continue
		}
		err := r.c.t.conn.Query("SELECT lo, hi FROM caisseauto_number WHERE stream=?1 AND tab=?2 ORDER BY lo", func(s *sqlite3.Stmt) error {
			if last >= 0 {
				if n++; n <= maxHoles {
					add(hole(u.Table, last+1, s.Int(0)-1, r.till))
				}
			}
			last = s.Int(1)
			return nil
		}, r.stream, u.Table)
		if err != nil {
			return err
		}
		if n > maxHoles {
			add(fmt.Sprintf("%s numbers of till %s have %d more holes", u.Table, r.till, n-maxHoles))
		}
	}
	return r.c.clearOthers(r.dossier, r.till, AlarmNumbers, want, "the numbers have come")
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
func (r *collectRun) sameDatabase(m *manifest.Manifest) error {
	if m.Incarnation == "" {
		return nil
	}
	var before string
	err := r.c.t.conn.Query("SELECT incarnation FROM caisseauto_collected WHERE stream=?1", func(s *sqlite3.Stmt) error {
		before = s.Text(0)
		return nil
	}, r.stream)
	if err != nil {
		return err
	}
	if before != "" && before != m.Incarnation && m.Previous != noneBefore {
		r.alarm(AlarmFork, "batch %d of till %s was sealed by database %s, and the batches before it by database %s: two tills work as %s, or one was restored",
			m.Sequence, r.till, m.Incarnation, before, r.till)
	}
	list, err := r.c.twins(r.stream, m.Incarnation)
	r.alarms = append(r.alarms, list...)
	return err
}
