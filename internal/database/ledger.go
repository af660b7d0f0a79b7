package database

import (
	"context"
	"fmt"
	"time"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// LedgerSQL makes the tables of the reader's side, in SQLite's words. The
// ledger's row is written in the transaction of the rows that it speaks of. A
// sequence may come twice only in different epochs.
const LedgerSQL = `CREATE TABLE IF NOT EXISTS caisseauto_ledger(
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

// LedgerTables are the tables that LedgerSQL makes.
var LedgerTables = []string{"caisseauto_ledger", "caisseauto_head"}

// A Ledger is the reader's record of what was applied, in a database that has
// its tables.
type Ledger struct{ Conn }

// Position returns the batch of the stream that was applied last; the zero
// Position when there is none.
func (l Ledger) Position(ctx context.Context, stream string) (p manifest.Position, err error) {
	err = l.Query(ctx, `SELECT epoch, sequence, digest FROM caisseauto_ledger WHERE stream=?1
		ORDER BY epoch DESC, sequence DESC LIMIT 1`, func(r Row) error {
		p = manifest.Position{Epoch: r.Int(0), Sequence: r.Int(1), Digest: r.Text(2)}
		return nil
	}, stream)
	return p, err
}

// Record writes the ledger's row of a batch. The transaction is open.
func (l Ledger) Record(ctx context.Context, m *manifest.Manifest, p manifest.Position, r change.Applied) error {
	return l.Run(ctx, `INSERT INTO caisseauto_ledger(stream, epoch, sequence, digest, kind, rows, inserted, updated, deleted, created, applied_at)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)`,
		m.Stream, p.Epoch, p.Sequence, p.Digest, string(m.Kind), r.Rows, r.Inserted, r.Updated, r.Deleted,
		m.Created.UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339))
}

// Head returns the newest head of the stream that was accepted, nil before
// the first.
func (l Ledger) Head(ctx context.Context, stream string) (h *manifest.Head, err error) {
	err = l.Query(ctx, `SELECT issue, issued, expires, epoch, sequence, digest, baseline, oldest FROM caisseauto_head WHERE stream=?1`,
		func(r Row) (err error) {
			h = &manifest.Head{Stream: stream, Issue: r.Int(0), Epoch: r.Int(3), Sequence: r.Int(4), Digest: r.Text(5), Baseline: r.Int(6), Oldest: r.Int(7)}
			if h.Issued, err = time.Parse(time.RFC3339Nano, r.Text(1)); err != nil {
				return err
			}
			h.Expires, err = time.Parse(time.RFC3339Nano, r.Text(2))
			return err
		}, stream)
	if err != nil {
		return nil, fmt.Errorf("reading caisseauto_head: %w", err)
	}
	return h, nil
}

// SaveHead records an accepted head, unless a newer one is recorded already.
// The transaction is open.
func (l Ledger) SaveHead(ctx context.Context, h *manifest.Head) error {
	return l.Run(ctx, `INSERT INTO caisseauto_head(stream, issue, issued, expires, epoch, sequence, digest, baseline, oldest)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT(stream) DO UPDATE SET issue=excluded.issue, issued=excluded.issued,
		expires=excluded.expires, epoch=excluded.epoch, sequence=excluded.sequence, digest=excluded.digest,
		baseline=excluded.baseline, oldest=excluded.oldest WHERE excluded.issue > caisseauto_head.issue`,
		h.Stream, h.Issue, h.Issued.UTC().Format(time.RFC3339Nano), h.Expires.UTC().Format(time.RFC3339Nano),
		h.Epoch, h.Sequence, h.Digest, h.Baseline, h.Oldest)
}
