package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const (
	// applyCacheKiB is the page cache of the applying connection. Twice as
	// much saved no time on a million rows, and half as much cost some.
	applyCacheKiB = 32 << 10
	// applyWarmKiB is the cache for a batch that is held in memory itself:
	// room for the pages of 20,000 rows wherever they stand, so that none is
	// read, or written to the log before its time, while the lock is held.
	// The memory is taken for pages that are read, not before.
	applyWarmKiB = 104 << 10
	// applyBusy is how long another program may hold the lock before the
	// import gives up for this time.
	applyBusy = 10 * time.Second
	// applyMemoryRows is the largest batch that is held in memory while the
	// lock is waited for; with applyMemoryBytes it bounds that memory.
	applyMemoryRows = 20_000
	// applyMemoryBytes bounds a batch of few but large rows in memory.
	applyMemoryBytes = 16 << 20
)

// applyLimits say from what size on a batch is treated otherwise. Tests make
// them small.
type applyLimits struct {
	rows, bytes int64 // see applyMemoryRows and applyMemoryBytes
	indexRows   int64 // see loadIndexRows
	stageBytes  int   // see stageMemory
	stageKeys   int   // see stageKeys
}

// TillOptions are the settings of [OpenTill]. The zero value is the default.
type TillOptions struct {
	// BusyTimeout is how long to wait for another program's lock; 0 is 10 s.
	BusyTimeout time.Duration
	// CacheKiB is the page cache of the connection; 0 is 32 MiB.
	CacheKiB int
	// StageDir is the folder for the private files of large batches; empty
	// is the system's folder for temporary files. It needs the room that
	// the batch takes when it is decompressed.
	StageDir string
	// IgnoreForeignKeys applies without looking at foreign keys, for a
	// database whose own programs do not enforce them either.
	IgnoreForeignKeys bool
	// Tables are the only tables that a batch may touch; nil allows every
	// ordinary table but SQLite's own and those of caisseauto.
	Tables []string
	// Drift says which differences between a batch and a table are ignored.
	Drift DriftPolicy
	// Outbox is the till's own outbox, which must not send back what a batch
	// brings, nor lose to it what it has not sent yet; nil: there is none.
	Outbox *OutboxOptions
	// Rules are what holds of the till after every batch; nil: none.
	Rules *Rules
	// Log is told what takes long; nil is silent.
	Log *slog.Logger
}

// A Till applies batches to one SQLite database and keeps the ledger there.
// It is one connection: a Till belongs to one goroutine at a time.
type Till struct {
	conn   *sqlite3.Conn
	o      TillOptions
	limits applyLimits
	// hook is called at named places of Apply, for tests that write to the
	// database in between.
	hook func(place string)
}

func (o TillOptions) withDefaults() TillOptions {
	if o.BusyTimeout == 0 {
		o.BusyTimeout = applyBusy
	}
	if o.CacheKiB == 0 {
		o.CacheKiB = applyCacheKiB
	}
	if o.StageDir == "" {
		o.StageDir = os.TempDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// OpenTill opens the existing database at path. Nothing of it is changed:
// neither its journal mode nor any other setting that outlives the connection.
func OpenTill(path string, o TillOptions) (*Till, error) {
	o = o.withDefaults()
	c, err := sqlite3.Open(path, sqlite3.Applying)
	if err != nil {
		return nil, fmt.Errorf("opening the till's database: %w; it must exist and be writable, caisseauto does not make one", environment(err))
	}
	t := &Till{conn: c, o: o, hook: func(string) {}}
	t.limits = applyLimits{applyMemoryRows, applyMemoryBytes, loadIndexRows, stageMemory, stageKeys}
	if err := t.settings(); err != nil {
		return nil, errors.Join(environment(err), c.Close())
	}
	return t, nil
}

// settings makes the settings of this connection. All of them end with it.
// With FULL a batch that was acknowledged survives a power cut: in WAL mode
// NORMAL may lose it (https://www.sqlite.org/pragma.html#pragma_synchronous).
// The automatic checkpoint would run inside COMMIT; checkpoint does it after.
func (t *Till) settings() error {
	t.conn.BusyTimeout(t.o.BusyTimeout)
	fk := "ON"
	if t.o.IgnoreForeignKeys {
		fk = "OFF"
	}
	return t.conn.Exec(fmt.Sprintf(`PRAGMA cache_size=-%d; PRAGMA foreign_keys=%s; PRAGMA synchronous=FULL;
		PRAGMA wal_autocheckpoint=0;
		CREATE TEMP TABLE caisseauto_parked(id INTEGER PRIMARY KEY, tab INTEGER, uniq INTEGER, key BLOB, col TEXT, mark, was, cause BLOB);
		CREATE TEMP TABLE caisseauto_deferred(id INTEGER PRIMARY KEY, op INTEGER, data BLOB, why TEXT);`, t.o.CacheKiB, fk))
}

// Close closes the connection.
func (t *Till) Close() error { return t.conn.Close() }

// Check compares the tables of a batch with the database's, without a lock.
// The error wraps [manifest.ErrRefused] and says what to change, where the
// database does not take such rows.
func (t *Till) Check(ctx context.Context, m *manifest.Manifest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := t.plan(m)
	return environment(err)
}

// Apply applies the rows of a verified batch, and writes the ledger row that
// says so, in one transaction. p is the batch's own position; the ledger must
// stand at the one before it, else the error wraps [database.ErrMoved]. Rows that the
// database does not take make an error that wraps [manifest.ErrRefused]; see
// also [database.ErrBusy], [database.ErrNoSpace] and [database.ErrReadOnly]. After any error, and after
// a crash at any moment, the database is as it was.
//
// What can be done without the lock is done before it is taken: the rows are
// read to their end, compared with those that are there, and dropped where
// nothing would change. A row that another program changes after it was
// compared keeps that program's change, as if it had come after the batch.
// Only the first load of a database holds the lock while it reads the rows.
func (t *Till) Apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (change.Applied, error) {
	r, err := t.apply(ctx, m, p, rows)
	if err != nil {
		if ctx.Err() != nil && (sqlite3.IsInterrupt(err) || errors.Is(err, ctx.Err())) {
			return change.Applied{}, fmt.Errorf("applying was stopped, everything was rolled back: %w", context.Cause(ctx))
		}
		return change.Applied{}, environment(err)
	}
	return r, nil
}

func (t *Till) apply(ctx context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (change.Applied, error) {
	plan, err := t.plan(m)
	if err != nil {
		return change.Applied{}, err
	}
	if err := t.expect(ctx, m, p); err != nil {
		return change.Applied{}, err
	}
	run := newApplyRun(t, ctx, plan)
	defer run.close()
	if run.up, err = t.openUp(plan); err != nil {
		return change.Applied{}, err
	}
	if run.rules, err = t.ruleSet(); err != nil {
		return change.Applied{}, err
	}
	if plan.rows > t.limits.rows || plan.bytes > t.limits.bytes {
		done, err := run.firstLoad(m, p, rows)
		if done || err != nil {
			return *run.res, err
		}
	}
	if plan.rows <= t.limits.rows {
		if err := t.conn.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", max(applyWarmKiB, t.o.CacheKiB))); err != nil {
			return change.Applied{}, err
		}
	}
	src, err := run.prepare(rows)
	if err != nil {
		return change.Applied{}, err
	}
	defer src.close()
	t.hook("prepared")
	held, err := t.syncLate(ctx, plan.rows, func() (time.Duration, error) {
		return t.locked(ctx, plan, func() error {
			if err := t.expect(ctx, m, p); err != nil {
				return err
			}
			if err := run.begin(m); err != nil {
				return err
			}
			if err := run.all(src); err != nil {
				return err
			}
			if err := run.end(m); err != nil {
				return err
			}
			if err := run.recordDrifts(m, p); err != nil {
				return err
			}
			return t.record(ctx, m, p, *run.res)
		})
	})
	if err != nil {
		return change.Applied{}, err
	}
	run.res.Locked = held
	t.checkpoint()
	return *run.res, nil
}
