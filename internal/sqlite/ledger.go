package sqlite

import (
	"context"
	"fmt"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A ledgerConn is a connection as the shared SQL sees it. A statement is not
// stopped by its context: whoever holds a lock watches the context, see locked.
type ledgerConn struct{ *sqlite3.Conn }

func (c ledgerConn) Run(_ context.Context, sql string, args ...any) error {
	return c.Conn.Run(sql, args...)
}

func (c ledgerConn) Query(_ context.Context, sql string, row func(database.Row) error, args ...any) error {
	return c.Conn.Query(sql, func(s *sqlite3.Stmt) error { return row(s) }, args...)
}

// ledger returns the database's ledger.
func (t *Till) ledger() database.Ledger { return database.Ledger{Conn: ledgerConn{t.conn}} }

// InitSQL returns the statements that [Till.Init] runs, for a database
// administrator to read or to run.
func (t *Till) InitSQL() string { return database.LedgerSQL + driftSQL + broughtSQL + ";\n" }

// Init makes the ledger's tables, and those of the outbox if there is to be
// one, where they are not there yet. It takes no lock when they are.
func (t *Till) Init(ctx context.Context) error {
	ok, err := t.ready()
	if err != nil {
		return err
	}
	if ok { // older versions had no such table
		if ok, err = Exists(t.conn, "caisseauto_drift"); err != nil {
			return environment(err)
		}
	}
	if ok && t.o.Outbox != nil {
		p, err := t.o.Outbox.plan(t.conn)
		if err != nil {
			return environment(err)
		}
		ok = len(p.statements) == 0
	}
	if ok {
		return nil
	}
	_, err = t.locked(ctx, nil, func() error {
		err := t.conn.Exec(t.InitSQL())
		if err != nil || t.o.Outbox == nil {
			return err
		}
		p, err := t.o.Outbox.plan(t.conn)
		if err != nil {
			return err
		}
		return p.run(t.conn)
	})
	if err != nil {
		return fmt.Errorf("making the tables of caisseauto: %w", environment(err))
	}
	return nil
}

// ready reports whether Init was run on this database.
func (t *Till) ready() (bool, error) {
	for _, name := range database.LedgerTables {
		if ok, err := Exists(t.conn, name); err != nil || !ok {
			return false, environment(err)
		}
	}
	return true, nil
}

// Position returns the batch of the stream that was applied last; the zero
// Position when there is none.
func (t *Till) Position(ctx context.Context, stream string) (manifest.Position, error) {
	if err := ctx.Err(); err != nil {
		return manifest.Position{}, err
	}
	if ok, err := t.ready(); err != nil || !ok {
		return manifest.Position{}, err
	}
	p, err := t.ledger().Position(ctx, stream)
	return p, environment(err)
}

// expect refuses a batch that does not follow what the ledger holds. A
// baseline may follow any older batch: it needs none before it.
func (t *Till) expect(ctx context.Context, m *manifest.Manifest, p manifest.Position) error {
	if ok, err := t.ready(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s has no ledger yet: run `caisseauto init till` first; nothing was applied", t.conn.Path())
	}
	last, err := t.ledger().Position(ctx, m.Stream)
	if err != nil {
		return err
	}
	follows := last.Epoch == p.Epoch && last.Sequence == p.Sequence-1 && last.Digest == m.Previous
	if m.Kind == manifest.Baseline {
		older := last.Epoch < p.Epoch || last.Epoch == p.Epoch && last.Sequence < p.Sequence-1
		follows = follows || older
	}
	if follows {
		return nil
	}
	return fmt.Errorf("%w: stream %s stands at epoch %d, batch %d (%.12s), and the %s %d of epoch %d follows %.12s; nothing of it was applied; run the import again",
		database.ErrMoved, m.Stream, last.Epoch, last.Sequence, last.Digest, m.Kind, p.Sequence, p.Epoch, m.Previous)
}

// Record writes the ledger's row of a baseline that is Unchanged and follows
// the batch that was applied last: its rows are here already. The errors are
// those of Apply.
func (t *Till) Record(ctx context.Context, m *manifest.Manifest, p manifest.Position) error {
	if !m.Unchanged || m.Kind != manifest.Baseline {
		return fmt.Errorf("stream %s: batch %d is not unchanged, and cannot be recorded without its rows", m.Stream, p.Sequence)
	}
	_, err := t.locked(ctx, nil, func() error {
		if err := t.expect(ctx, m, p); err != nil {
			return err
		}
		if last, err := t.ledger().Position(ctx, m.Stream); err != nil {
			return err
		} else if last.Digest != m.Previous {
			return fmt.Errorf("%w: the baseline %d is unchanged since the manifest %.12s, and the ledger stands at %.12s; run the import again", database.ErrMoved, p.Sequence, m.Previous, last.Digest)
		}
		return t.record(ctx, m, p, change.Applied{})
	})
	return environment(err)
}

// record writes the ledger's row.
func (t *Till) record(ctx context.Context, m *manifest.Manifest, p manifest.Position, r change.Applied) error {
	if err := t.brought(m); err != nil {
		return err
	}
	return t.ledger().Record(ctx, m, p, r)
}

// Head returns the newest head of the stream that was accepted, nil before
// the first.
func (t *Till) Head(ctx context.Context, stream string) (*manifest.Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ok, err := t.ready(); err != nil || !ok {
		return nil, err
	}
	h, err := t.ledger().Head(ctx, stream)
	return h, environment(err)
}

// SaveHead records an accepted head, unless a newer one is recorded already.
func (t *Till) SaveHead(ctx context.Context, h *manifest.Head) error {
	if ok, err := t.ready(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s has no ledger yet: run `caisseauto init till` first", t.conn.Path())
	}
	_, err := t.locked(ctx, nil, func() error { return t.ledger().SaveHead(ctx, h) })
	if err != nil {
		return fmt.Errorf("recording the head of %s: %w", h.Stream, environment(err))
	}
	return nil
}
