package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// CollectOptions are the settings of [OpenCollector]. The zero value is the
// default.
type CollectOptions struct {
	// BusyTimeout is how long to wait for another program's lock; 0 is 10 s.
	BusyTimeout time.Duration
	// CacheKiB is the page cache of the connection; 0 is 32 MiB.
	CacheKiB int
	// StageDir is the folder for the private files of large batches; empty
	// is the system's folder for temporary files.
	StageDir string
	// IgnoreForeignKeys integrates without looking at foreign keys, for a
	// database whose own programs do not enforce them either.
	IgnoreForeignKeys bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told what takes long; nil is silent.
	Log *slog.Logger
}

// A Collector takes tills' batches into the ERP's database, and keeps there
// what it knows of the tills: their ledgers, what waits in quarantine,
// conflicts, alarms, and what their receipts say. It is one connection: a
// Collector belongs to one goroutine at a time. Several may work on one
// database at once.
type Collector struct {
	t       *Till // the connection, with its locks, ledger and statements
	capture *Capture
	now     func() time.Time
}

// OpenCollector opens the existing database at path. c says, at each stream
// down, what is taken of its tills.
func OpenCollector(path string, c *Capture, o CollectOptions) (*Collector, error) {
	to := TillOptions{BusyTimeout: o.BusyTimeout, CacheKiB: o.CacheKiB, StageDir: o.StageDir, IgnoreForeignKeys: o.IgnoreForeignKeys, Log: o.Log, Drift: DriftPolicy{anyType: true}}.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	conn, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		return nil, fmt.Errorf("opening the ERP's database: %w; check its path in the configuration, and that this account may write to it and its folder", environment(err))
	}
	t := &Till{conn: conn, o: to, hook: func(string) {}}
	t.limits = applyLimits{applyMemoryRows, applyMemoryBytes, loadIndexRows, stageMemory, stageKeys}
	if err = t.settings(); err == nil {
		err = conn.Exec(collectTempSQL)
	}
	if err != nil {
		return nil, errors.Join(environment(err), conn.Close())
	}
	return &Collector{t: t, capture: c, now: func() time.Time { return o.Now().UTC() }}, nil
}

// Close closes the connection.
func (c *Collector) Close() error { return c.t.Close() }

// InitSQL returns the statements that [Collector.Init] runs, for a database
// administrator to read or to run.
func (c *Collector) InitSQL() string { return ledgerSQL + collectSQL }

// Init makes the collector's tables where they are not there yet. It takes no
// lock when they are.
func (c *Collector) Init(ctx context.Context) error {
	if err := c.ready(); !errors.Is(err, database.ErrNotInstalled) {
		return err
	}
	_, err := c.t.locked(ctx, nil, func() error { return c.t.conn.Exec(c.InitSQL()) })
	if err != nil {
		return fmt.Errorf("making the collector's tables: %w", environment(err))
	}
	return nil
}

// ready reports, as an error that wraps database.ErrNotInstalled, that Init was not run.
func (c *Collector) ready() error {
	ok, err := c.t.ready()
	if ok && err == nil {
		ok, err = Exists(c.t.conn, "caisseauto_collected")
	}
	if err != nil {
		return environment(err)
	}
	if !ok {
		return fmt.Errorf("%s: %w for collecting; run: caisseauto init server", c.t.conn.Path(), database.ErrNotInstalled)
	}
	return nil
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
	if len(c.capture.streams[manifest.StreamDown(dossier)].uploads) == 0 {
		return "", "", fmt.Errorf("stream %s: %w: the configuration takes no table from the tills of dossier %s; nothing was integrated; give one direction = \"up\"",
			stream, manifest.ErrRefused, dossier)
	}
	return dossier, till, nil
}

// Position returns the batch of the stream that was integrated last; the zero
// Position when there is none.
func (c *Collector) Position(ctx context.Context, stream string) (manifest.Position, error) {
	return c.t.Position(ctx, stream)
}

// Check refuses batches of streams that are none of a configured till. Rows
// that do not fit are no reason to refuse a batch: they go into quarantine.
func (c *Collector) Check(ctx context.Context, m *manifest.Manifest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.ready(); err != nil {
		return err
	}
	_, _, err := c.configured(m.Stream)
	return err
}

// Head returns the newest head of the stream that was accepted, nil before
// the first.
func (c *Collector) Head(ctx context.Context, stream string) (*manifest.Head, error) {
	return c.t.Head(ctx, stream)
}

// SaveHead records an accepted head, unless a newer one is recorded already.
// What the head says of the till is for [Collector.SaveTill].
func (c *Collector) SaveHead(ctx context.Context, h *manifest.Head) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.t.SaveHead(ctx, h)
}

// stamp returns the time as our tables have it.
func (c *Collector) stamp() string { return c.now().Format(time.RFC3339) }

// noneBefore is what a stream's first batch names as the one before it.
var noneBefore = strings.Repeat("0", 64)

// expect refuses a batch that does not follow what the ledger holds. A till
// that began a new epoch names none before.
func (c *Collector) expect(m *manifest.Manifest, p manifest.Position) error {
	last, err := c.t.position(m.Stream)
	if err != nil {
		return err
	}
	if last.Epoch == p.Epoch && last.Sequence == p.Sequence-1 && last.Digest == m.Previous {
		return nil
	}
	if m.Previous == noneBefore && p.Epoch > last.Epoch && p.Sequence > last.Sequence {
		return nil
	}
	return fmt.Errorf("%w: stream %s stands at epoch %d, batch %d (%.12s), and the batch %d of epoch %d follows %.12s; nothing of it was integrated; run collect again",
		database.ErrMoved, m.Stream, last.Epoch, last.Sequence, last.Digest, p.Sequence, p.Epoch, m.Previous)
}

// finish makes the error of a piece of work: what is of the machine is told
// as such.
func (c *Collector) finish(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (sqlite3.IsInterrupt(err) || errors.Is(err, ctx.Err())) {
		return fmt.Errorf("collecting was stopped, everything was rolled back: %w", context.Cause(ctx))
	}
	return environment(err)
}
