package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Collector takes tills' batches into the ERP's database, and keeps there
// what it knows of the tills: their ledgers, what waits in quarantine,
// conflicts, alarms, and what their receipts say. It is one connection: a
// Collector belongs to one goroutine at a time. Several may work on one
// database at once.
type Collector struct {
	db     Driver
	ledger database.Ledger
	now    func() time.Time
}

// New returns the Collector over an open connection, which is closed with it.
// Now is the clock; nil is time.Now.
func New(db Driver, now func() time.Time) *Collector {
	if now == nil {
		now = time.Now
	}
	return &Collector{db: db, ledger: database.Ledger{Conn: db}, now: func() time.Time { return now().UTC() }}
}

// Close closes the connection.
func (c *Collector) Close() error { return c.db.Close() }

// InitSQL returns the statements that [Collector.Init] runs, for a database
// administrator to read or to run.
func (c *Collector) InitSQL() string { return c.db.SQL(database.LedgerSQL + tablesSQL) }

// Init makes the collector's tables where they are not there yet. It takes no
// lock when they are.
func (c *Collector) Init(ctx context.Context) error {
	if err := c.ready(ctx); !errors.Is(err, database.ErrNotInstalled) {
		return err
	}
	if err := c.db.Install(ctx, c.InitSQL()); err != nil {
		return fmt.Errorf("making the collector's tables: %w", c.finish(ctx, err))
	}
	return nil
}

// ready reports, as an error that wraps database.ErrNotInstalled, that Init
// was not run.
func (c *Collector) ready(ctx context.Context) error {
	ok, err := c.db.Has(ctx, tables...)
	if err != nil {
		return c.finish(ctx, err)
	}
	if !ok {
		return fmt.Errorf("%s: %w for collecting; run: caisseauto init server", c.db.Name(), database.ErrNotInstalled)
	}
	return nil
}

// asked is what every question begins with.
func (c *Collector) asked(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.ready(ctx)
}

// write runs work in a transaction. Stream is the till's whose rows it
// changes, see [Driver].Locked.
func (c *Collector) write(ctx context.Context, stream string, work func() error) error {
	if err := c.asked(ctx); err != nil {
		return err
	}
	_, err := c.db.Locked(ctx, stream, work)
	return c.finish(ctx, err)
}

// finish makes the error of a piece of work: what is of the machine is told
// as such.
func (c *Collector) finish(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (c.db.Interrupted(err) || errors.Is(err, ctx.Err())) {
		return fmt.Errorf("collecting was stopped, everything was rolled back: %w", context.Cause(ctx))
	}
	return c.db.Explain(ctx, err)
}

// Claim takes a till for this collector alone, until release is called, where
// collectors of several hosts share one database. Ok is false while another
// one has the till: there is nothing to do for this one. Exactly once holds
// without it.
func (c *Collector) Claim(ctx context.Context, stream string) (release func(), ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	release, ok, err = c.db.Claim(ctx, stream)
	return release, ok, c.finish(ctx, err)
}

// splitUp takes the name of a stream up apart.
func splitUp(stream string) (dossier, till string, ok bool) {
	dossier, till, ok = strings.Cut(stream, "/up/")
	return dossier, till, ok && manifest.ValidDossier(dossier) && manifest.ValidTill(till)
}

// configured takes the name of a stream up apart, of a dossier that takes
// something from its tills.
func (c *Collector) configured(stream string) (dossier, till string, err error) {
	dossier, till, ok := splitUp(stream)
	if !ok {
		return "", "", fmt.Errorf("stream %s: %w: it is not a till's", stream, manifest.ErrRefused)
	}
	if !c.db.Takes(manifest.StreamDown(dossier)) {
		return "", "", fmt.Errorf("stream %s: %w: the configuration takes no table from the tills of dossier %s; nothing was integrated; give one direction = \"up\"",
			stream, manifest.ErrRefused, dossier)
	}
	return dossier, till, nil
}

// Position returns the batch of the stream that was integrated last; the zero
// Position when there is none.
func (c *Collector) Position(ctx context.Context, stream string) (manifest.Position, error) {
	if err := ctx.Err(); err != nil {
		return manifest.Position{}, err
	}
	if ok, err := c.db.Has(ctx, database.LedgerTables...); err != nil || !ok {
		return manifest.Position{}, c.finish(ctx, err)
	}
	p, err := c.ledger.Position(ctx, stream)
	return p, c.finish(ctx, err)
}

// Check refuses batches of streams that are none of a configured till. Rows
// that do not fit are no reason to refuse a batch: they go into quarantine.
func (c *Collector) Check(ctx context.Context, m *manifest.Manifest) error {
	if err := c.asked(ctx); err != nil {
		return err
	}
	_, _, err := c.configured(m.Stream)
	return err
}

// Head returns the newest head of the stream that was accepted, nil before
// the first.
func (c *Collector) Head(ctx context.Context, stream string) (*manifest.Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ok, err := c.db.Has(ctx, database.LedgerTables...); err != nil || !ok {
		return nil, c.finish(ctx, err)
	}
	h, err := c.ledger.Head(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.db.Name(), c.finish(ctx, err))
	}
	return h, nil
}

// SaveHead records an accepted head, unless a newer one is recorded already.
// What the head says of the till is for [Collector.SaveTill].
func (c *Collector) SaveHead(ctx context.Context, h *manifest.Head) error {
	err := c.write(ctx, "", func() error { return c.ledger.SaveHead(ctx, h) })
	if err != nil {
		return fmt.Errorf("recording the head of %s: %w", h.Stream, err)
	}
	return nil
}

// stamp returns the time as our tables have it.
func (c *Collector) stamp() string { return c.now().Format(time.RFC3339) }

// NoneBefore is what a stream's first batch names as the one before it.
var NoneBefore = strings.Repeat("0", 64)

// expect refuses a batch that does not follow what the ledger holds. A till
// that began a new epoch names none before.
func (c *Collector) expect(ctx context.Context, m *manifest.Manifest, p manifest.Position) error {
	last, err := c.ledger.Position(ctx, m.Stream)
	if err != nil {
		return err
	}
	if last.Epoch == p.Epoch && last.Sequence == p.Sequence-1 && last.Digest == m.Previous {
		return nil
	}
	if m.Previous == NoneBefore && p.Epoch > last.Epoch && p.Sequence > last.Sequence {
		return nil
	}
	return fmt.Errorf("%w: stream %s stands at epoch %d, batch %d (%.12s), and the batch %d of epoch %d follows %.12s; nothing of it was integrated; run collect again",
		database.ErrMoved, m.Stream, last.Epoch, last.Sequence, last.Digest, p.Sequence, p.Epoch, m.Previous)
}

// known sees to it that a till has its row.
func (c *Collector) known(ctx context.Context, stream string) error {
	dossier, till, _ := splitUp(stream)
	return c.db.Run(ctx, knownSQL, stream, dossier, till)
}

// knownSQL sees to it that a till has its row: stream, dossier, till.
const knownSQL = `INSERT INTO caisseauto_collected(stream, dossier, till) VALUES(?1,?2,?3) ON CONFLICT(stream) DO NOTHING`
