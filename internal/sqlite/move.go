package sqlite

import (
	"context"
	"errors"
	"fmt"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// ErrWaiting says that the till still has what the server must get first.
var ErrWaiting = errors.New("not everything is delivered")

// broughtSQL makes the list of the tables that a stream has brought rows of.
const broughtSQL = `CREATE TABLE IF NOT EXISTS caisseauto_brought(stream TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY(stream, name))`

// brought notes which tables a batch has rows of, or replaces whole: all of
// that goes when the till leaves the dossier.
func (t *Till) brought(m *manifest.Manifest) error {
	if err := t.conn.Exec(broughtSQL); err != nil {
		return err
	}
	for _, tab := range m.Tables {
		if err := t.conn.Run("INSERT OR IGNORE INTO caisseauto_brought(stream, name) VALUES(?1, ?2)", m.Stream, tab.Name); err != nil {
			return err
		}
	}
	return nil
}

// Leave makes the till's database ready for another dossier, in one
// transaction: every row of the tables that the dossier from has brought is
// deleted, and the ledger, the outbox and the database's incarnation begin
// anew. What the till itself has written to other tables, its tickets, stays
// where it is. It returns how many rows it deleted.
//
// The error wraps [ErrWaiting] while anything of the till is not covered by a
// receipt, and [manifest.ErrRefused] when rows of the till refer to what would
// be deleted. After any error the database is as it was.
func (t *Till) Leave(ctx context.Context, from string) (deleted int64, err error) {
	stream := manifest.StreamDown(from)
	list, err := t.leaving(stream)
	if err != nil {
		return 0, environment(err)
	}
	plan := &applyPlan{}
	for _, tab := range list {
		plan.tables = append(plan.tables, &applyTable{Table: tab})
	}
	_, err = t.locked(ctx, plan, func() error {
		if err := t.delivered(from); err != nil {
			return err
		}
		if t.o.Outbox != nil { // our own triggers are not to call this the till's change
			if err := t.conn.Exec("INSERT OR IGNORE INTO caisseauto_applying VALUES(1)"); err != nil {
				return err
			}
		}
		for i := len(list) - 1; i >= 0; i-- { // children before parents: RESTRICT does not wait for COMMIT
			if err := t.conn.Exec("DELETE FROM " + database.Quote(list[i].Name)); err != nil {
				return fmt.Errorf("table %s: %w", database.Quote(list[i].Name), err)
			}
			deleted += t.conn.Changes()
		}
		t.hook("left")
		return t.forget(stream)
	})
	if err != nil {
		return 0, fmt.Errorf("leaving dossier %s: %w", from, environment(err))
	}
	return deleted, nil
}

// leaving returns the tables that the stream has brought, parents first.
func (t *Till) leaving(stream string) ([]*Table, error) {
	if ok, err := Exists(t.conn, "caisseauto_brought"); err != nil || !ok {
		return nil, err
	}
	var names []string
	err := t.conn.Query("SELECT name FROM caisseauto_brought WHERE stream=?1", func(s *sqlite3.Stmt) error {
		names = append(names, s.Text(0))
		return nil
	}, stream)
	if err != nil {
		return nil, err
	}
	var list []*Table
	for _, name := range names {
		tab, err := ReadTable(t.conn, name)
		if errors.Is(err, database.ErrNoTable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, tab)
	}
	return parentsFirst(list), nil
}

// delivered refuses to leave while the server lacks something of the till.
func (t *Till) delivered(from string) error {
	if t.o.Outbox == nil {
		return nil
	}
	p, err := t.o.Outbox.plan(t.conn)
	if err != nil {
		return err
	}
	if !p.own[foldName(p.capture.outbox)] {
		return nil
	}
	rows, err := t.number("SELECT count(*) FROM " + p.capture.journal())
	if err != nil {
		return err
	}
	kept, err := t.number("SELECT (SELECT count(*) FROM caisseauto_pending) + (SELECT count(*) FROM caisseauto_held)")
	if err != nil {
		return err
	}
	if rows+kept > 0 {
		return fmt.Errorf("%w: %d changes of this till wait in %s or for the server's word on them; nothing was changed; run: caisseauto sync, then caisseauto collect and export at the server, then caisseauto import and caisseauto sync here, until caisseauto status shows that nothing waits in dossier %s",
			ErrWaiting, rows+kept, p.capture.outbox, from)
	}
	return nil
}

// forget takes the stream out of the ledger, and gives the outbox a new
// beginning. What is to be sent, the next dossier says.
func (t *Till) forget(stream string) error {
	for _, table := range []string{"caisseauto_ledger", "caisseauto_head", "caisseauto_brought"} {
		if err := t.conn.Run("DELETE FROM "+table+" WHERE stream=?1", stream); err != nil {
			return err
		}
	}
	if t.o.Outbox == nil {
		return nil
	}
	p, err := t.o.Outbox.plan(t.conn)
	if err != nil {
		return err
	}
	if err := p.run(t.conn); err != nil {
		return err
	}
	return t.conn.Exec("DELETE FROM caisseauto_sent; DELETE FROM caisseauto_state; DELETE FROM caisseauto_applying;" +
		" UPDATE caisseauto_till SET uploads='', incarnation=" + newIncarnation)
}
