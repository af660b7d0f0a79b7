package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// What a till has changed, the server must judge before the till's row gives
// way: until then a row that comes down for such a key is held back. Its key
// is pending, from the entry in the journal until a batch comes that was read
// after the server had integrated it. What was held back last is then applied,
// as if it came at the head of that batch, and after it the batch's own row
// where there is one: the server sends every key down again that it judges.
//
// It is not enough to drop such rows: the server's last word may come down
// before the receipt that says so has been read.

// An upRun is the outbox's part in applying one batch.
type upRun struct {
	t      *Till
	r      *applyRun
	plan   *plan
	schema int64           // PRAGMA schema_version when plan was made
	tables map[int]*upKeys // by number in the applyPlan
	from   int64           // the journal's first entry when it was read
	to     int64           // and its last
}

// upKeys are the keys of one table that wait. They are folded: see fold.
type upKeys struct {
	tab       int64
	t         *captured       // nil: not sent any more
	journaled map[string]bool // with an entry in the journal
	pending   map[string]bool // pruned, but not settled
	held      map[string]bool // with rows that were held back
}

func (k *upKeys) waits(key string) bool { return k.journaled[key] || k.pending[key] || k.held[key] }

// openUp reads what waits; nil when the till has no outbox.
func (t *Till) openUp(p *applyPlan) (*upRun, error) {
	if t.o.Outbox == nil {
		return nil, nil
	}
	u := &upRun{t: t}
	var err error
	if u.schema, err = t.number("PRAGMA schema_version"); err != nil {
		return nil, err
	}
	if u.plan, err = t.o.Outbox.plan(t.conn); err != nil {
		return nil, err
	}
	if !u.plan.own["caisseauto_till"] {
		return nil, fmt.Errorf("%s: %w for an outbox; run: caisseauto init till; nothing was applied", t.conn.Path(), database.ErrNotInstalled)
	}
	if len(u.plan.statements) > 0 {
		return u, u.open(p) // begin looks again
	}
	if err := u.open(p); err != nil {
		return nil, err
	}
	return u, u.readAll()
}

func (t *Till) number(sql string, args ...any) (n int64, err error) {
	err = t.conn.Query(sql, func(s *sqlite3.Stmt) error { n = s.Int(0); return nil }, args...)
	return n, err
}

// open pairs the batch's tables with the outbox's.
func (u *upRun) open(p *applyPlan) error {
	u.tables = map[int]*upKeys{}
	held := map[string]int64{}
	err := u.t.heldTables(func(tab int64, name string) error { held[foldName(name)] = tab; return nil })
	if err != nil {
		return err
	}
	for _, a := range p.tables {
		for _, t := range u.plan.tables {
			if t.up.both() && sameName(t.Name, a.Name) {
				u.tables[a.number] = &upKeys{tab: t.tab, t: t.captured}
			}
		}
		if tab, ok := held[foldName(a.Name)]; ok && u.tables[a.number] == nil {
			u.tables[a.number] = &upKeys{tab: tab}
		}
	}
	return nil
}

// heldTables calls f for each table of which rows are held back.
func (t *Till) heldTables(f func(tab int64, name string) error) error {
	if ok, err := Exists(t.conn, "caisseauto_held"); err != nil || !ok {
		return err
	}
	return t.conn.Query("SELECT DISTINCT h.tab, t.name FROM caisseauto_held AS h JOIN caisseauto_table AS t ON t.tab = h.tab",
		func(s *sqlite3.Stmt) error { return f(s.Int(0), s.Text(1)) })
}

// planHeld adds the tables of which rows are held back to a batch that has
// nothing of them.
func (t *Till) planHeld(p *applyPlan) error {
	if t.o.Outbox == nil {
		return nil
	}
	keys := map[string][]string{}
	uploads, err := storedUploads(t.conn)
	if err != nil {
		return err
	}
	for _, up := range uploads {
		keys[foldName(up.Table)] = up.Key
	}
	return t.heldTables(func(_ int64, name string) error {
		if p.table(name) != nil {
			return nil
		}
		have, err := ReadTable(t.conn, name)
		if errors.Is(err, database.ErrNoTable) {
			return nil // and nobody misses the rows
		}
		if err != nil {
			return err
		}
		sent := manifest.Table{Name: have.Name, Scope: manifest.Changes, Key: keys[foldName(name)]}
		if len(sent.Key) == 0 {
			sent.Key = have.Key
		}
		for _, c := range have.Columns {
			if !c.Generated {
				sent.Columns = append(sent.Columns, manifest.Column{Name: c.Name, Type: c.Type})
			}
		}
		tab, err := t.planTable(&sent)
		if err != nil {
			return err
		}
		tab.number = len(p.tables)
		p.tables = append(p.tables, tab)
		return nil
	})
}

// readAll reads every key that waits.
func (u *upRun) readAll() (err error) {
	if err := u.bounds(&u.from, &u.to); err != nil {
		return err
	}
	for _, k := range u.tables {
		k.journaled = map[string]bool{}
		if err := u.readJournal(k, u.from-1); err != nil {
			return err
		}
	}
	return u.readKept()
}

// bounds returns the numbers of the journal's first and last entries.
func (u *upRun) bounds(from, to *int64) error {
	j := u.plan.capture.journal()
	return u.t.conn.Query("SELECT coalesce((SELECT min(seq) FROM "+j+"), 0), coalesce((SELECT max(seq) FROM "+j+"), 0)",
		func(s *sqlite3.Stmt) error { *from, *to = s.Int(0), s.Int(1); return nil })
}

// readJournal adds a table's keys of the entries after one.
func (u *upRun) readJournal(k *upKeys, after int64) error {
	if k.t == nil {
		return nil
	}
	keys, err := journaledKeys(u.t.conn, k.t, "seq > ?2 AND tab = ?1", k.tab, after)
	if err != nil {
		return err
	}
	return k.add(k.journaled, keys)
}

// add folds keys and adds them to a set.
func (k *upKeys) add(set map[string]bool, keys []string) error {
	for _, text := range keys {
		row := make([]change.Value, len(k.t.key))
		if _, err := change.ParseRow([]byte(text), row, nil); err != nil {
			return fmt.Errorf("a key of table %s in caisseauto_pending: %w", database.Quote(k.t.Name), err)
		}
		set[foldKey(k.t.Table, k.t.key, row)] = true
	}
	return nil
}

// readKept reads the keys that the journal does not have any more, and those
// of rows held back.
func (u *upRun) readKept() error {
	for _, k := range u.tables {
		k.pending, k.held = map[string]bool{}, map[string]bool{}
		var keys []string
		take := func(s *sqlite3.Stmt) error { keys = append(keys, s.Text(0)); return nil }
		if err := u.t.conn.Query("SELECT DISTINCT key FROM caisseauto_held WHERE tab=?1", take, k.tab); err != nil {
			return err
		}
		for _, key := range keys {
			k.held[key] = true
		}
		if keys = nil; k.t == nil {
			continue
		}
		if err := u.t.conn.Query("SELECT DISTINCT key FROM caisseauto_pending WHERE tab=?1", take, k.tab); err != nil {
			return err
		}
		if err := k.add(k.pending, keys); err != nil {
			return err
		}
	}
	return nil
}

// begin comes first in the transaction: from here on nothing is captured of
// tables that both sides change, and what waits is known exactly.
func (r *applyRun) begin(m *manifest.Manifest) error {
	u := r.up
	if u == nil {
		return nil
	}
	u.r = r
	now, err := r.t.number("PRAGMA schema_version")
	if err != nil {
		return err
	}
	again := len(u.plan.statements) > 0 || now != u.schema
	if again {
		if u.plan, err = r.t.o.Outbox.plan(r.t.conn); err != nil {
			return err
		}
		// Triggers that were lost are made before the rows: what changed
		// without them waits from now on.
		if err := u.plan.run(r.t.conn); err != nil {
			return err
		}
		if err := u.open(r.plan); err != nil {
			return err
		}
	}
	if err := r.t.conn.Exec("INSERT OR IGNORE INTO caisseauto_applying VALUES(1)"); err != nil {
		return err
	}
	if err := r.t.conn.Run("DELETE FROM caisseauto_pending WHERE integrated <= ?1", m.Integrated); err != nil {
		return err
	}
	var from, to int64
	if err := u.bounds(&from, &to); err != nil {
		return err
	}
	if again || from != u.from || to < u.to {
		err = u.readAll()
	} else {
		for _, k := range u.tables {
			err = errors.Join(err, u.readJournal(k, u.to))
		}
		err = errors.Join(err, u.readKept())
	}
	if err != nil {
		return err
	}
	return u.release()
}

// end comes last: the till's own rules, before its outbox is told that the
// batch is over; and the server may have said anew what is to be sent.
func (r *applyRun) end(m *manifest.Manifest) error {
	if err := r.enforce(); err != nil {
		return err
	}
	if r.up == nil {
		return nil
	}
	if err := r.up.store(m.Uploads); err != nil {
		return err
	}
	return r.t.conn.Exec("DELETE FROM caisseauto_applying")
}

// store keeps the list of what is to be sent, and makes the triggers.
func (u *upRun) store(uploads []manifest.Upload) error {
	if len(uploads) == 0 {
		return nil
	}
	text, err := json.Marshal(uploads)
	if err != nil {
		return err
	}
	c := u.t.conn
	if err := c.Run("UPDATE caisseauto_till SET uploads=?1 WHERE uploads<>?1", string(text)); err != nil || c.Changes() == 0 {
		return err
	}
	p, err := u.t.o.Outbox.plan(c)
	var e *sqlite3.Error
	if err != nil && !errors.As(err, &e) {
		return fmt.Errorf("the batch's list of tables to send: %w: %w; nothing was applied", manifest.ErrRefused, err)
	}
	if err != nil {
		return err
	}
	return p.run(c)
}
