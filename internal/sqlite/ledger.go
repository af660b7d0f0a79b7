package sqlite

import (
	"context"
	"fmt"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// ledgerSQL makes the tables of the reader's side. The ledger's row is
// written in the transaction of the rows that it speaks of. A sequence may
// come twice only in different epochs.
const ledgerSQL = `CREATE TABLE IF NOT EXISTS caisseauto_ledger(
  stream     TEXT    NOT NULL,
  epoch      INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  digest     TEXT    NOT NULL, -- SHA-256 of the manifest
  kind       TEXT    NOT NULL,
  rows       INTEGER NOT NULL, -- in the batch
  inserted   INTEGER NOT NULL, -- of them, by what became of them here
  updated    INTEGER NOT NULL,
  deleted    INTEGER NOT NULL,
  created    TEXT    NOT NULL, -- when the batch was sealed
  applied_at TEXT    NOT NULL,
  PRIMARY KEY(stream, epoch, sequence)
);
CREATE TABLE IF NOT EXISTS caisseauto_head(
  stream   TEXT    NOT NULL PRIMARY KEY,
  issue    INTEGER NOT NULL, -- newest head that was accepted
  issued   TEXT    NOT NULL,
  expires  TEXT    NOT NULL,
  epoch    INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  digest   TEXT    NOT NULL,
  baseline INTEGER NOT NULL,
  oldest   INTEGER NOT NULL
);
`

// InitSQL returns the statements that [Till.Init] runs, for a database
// administrator to read or to run.
func (t *Till) InitSQL() string { return ledgerSQL + driftSQL + broughtSQL + ";\n" }

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
	for _, name := range []string{"caisseauto_ledger", "caisseauto_head"} {
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
	p, err := t.position(stream)
	return p, environment(err)
}

func (t *Till) position(stream string) (p manifest.Position, err error) {
	err = t.conn.Query(`SELECT epoch, sequence, digest FROM caisseauto_ledger WHERE stream=?1
		ORDER BY epoch DESC, sequence DESC LIMIT 1`, func(s *sqlite3.Stmt) error {
		p = manifest.Position{Epoch: s.Int(0), Sequence: s.Int(1), Digest: s.Text(2)}
		return nil
	}, stream)
	return p, err
}

// expect refuses a batch that does not follow what the ledger holds. A
// baseline may follow any older batch: it needs none before it.
func (t *Till) expect(m *manifest.Manifest, p manifest.Position) error {
	if ok, err := t.ready(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s has no ledger yet: run `caisseauto init till` first; nothing was applied", t.conn.Path())
	}
	last, err := t.position(m.Stream)
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
		if err := t.expect(m, p); err != nil {
			return err
		}
		if last, err := t.position(m.Stream); err != nil {
			return err
		} else if last.Digest != m.Previous {
			return fmt.Errorf("%w: the baseline %d is unchanged since the manifest %.12s, and the ledger stands at %.12s; run the import again", database.ErrMoved, p.Sequence, m.Previous, last.Digest)
		}
		return t.record(m, p, change.Applied{})
	})
	return environment(err)
}

// record writes the ledger's row.
func (t *Till) record(m *manifest.Manifest, p manifest.Position, r change.Applied) error {
	if err := t.brought(m); err != nil {
		return err
	}
	return t.conn.Run(`INSERT INTO caisseauto_ledger(stream, epoch, sequence, digest, kind, rows, inserted, updated, deleted, created, applied_at)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)`,
		m.Stream, p.Epoch, p.Sequence, p.Digest, string(m.Kind), r.Rows, r.Inserted, r.Updated, r.Deleted,
		m.Created.UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339))
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
	var h *manifest.Head
	err := t.conn.Query(`SELECT issue, issued, expires, epoch, sequence, digest, baseline, oldest FROM caisseauto_head WHERE stream=?1`,
		func(s *sqlite3.Stmt) (err error) {
			h = &manifest.Head{Stream: stream, Issue: s.Int(0), Epoch: s.Int(3), Sequence: s.Int(4), Digest: s.Text(5), Baseline: s.Int(6), Oldest: s.Int(7)}
			if h.Issued, err = time.Parse(time.RFC3339Nano, s.Text(1)); err != nil {
				return err
			}
			h.Expires, err = time.Parse(time.RFC3339Nano, s.Text(2))
			return err
		}, stream)
	if err != nil {
		return nil, fmt.Errorf("reading caisseauto_head of %s: %w", t.conn.Path(), environment(err))
	}
	return h, nil
}

// SaveHead records an accepted head, unless a newer one is recorded already.
func (t *Till) SaveHead(ctx context.Context, h *manifest.Head) error {
	if ok, err := t.ready(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s has no ledger yet: run `caisseauto init till` first", t.conn.Path())
	}
	_, err := t.locked(ctx, nil, func() error {
		return t.conn.Run(`INSERT INTO caisseauto_head(stream, issue, issued, expires, epoch, sequence, digest, baseline, oldest)
			VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT(stream) DO UPDATE SET issue=excluded.issue, issued=excluded.issued,
			expires=excluded.expires, epoch=excluded.epoch, sequence=excluded.sequence, digest=excluded.digest,
			baseline=excluded.baseline, oldest=excluded.oldest WHERE excluded.issue > issue`,
			h.Stream, h.Issue, h.Issued.UTC().Format(time.RFC3339Nano), h.Expires.UTC().Format(time.RFC3339Nano),
			h.Epoch, h.Sequence, h.Digest, h.Baseline, h.Oldest)
	})
	if err != nil {
		return fmt.Errorf("recording the head of %s: %w", h.Stream, environment(err))
	}
	return nil
}
