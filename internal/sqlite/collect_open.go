package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
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

// OpenCollector opens the existing database at path. c says, at each stream
// down, what is taken of its tills.
func OpenCollector(path string, c *Capture, o CollectOptions) (*collect.Collector, error) {
	d, err := openCollecting(path, c, o)
	if err != nil {
		return nil, err
	}
	return collect.New(d, o.Now), nil
}

// A collecting is a connection to the ERP's database that takes tills'
// batches in. It implements collect.Driver.
type collecting struct {
	ledgerConn
	t       *Till // the connection, with its locks and statements
	capture *Capture
}

func openCollecting(path string, c *Capture, o CollectOptions) (*collecting, error) {
	to := TillOptions{BusyTimeout: o.BusyTimeout, CacheKiB: o.CacheKiB, StageDir: o.StageDir, IgnoreForeignKeys: o.IgnoreForeignKeys, Log: o.Log, Drift: DriftPolicy{anyType: true}}.withDefaults()
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
	return &collecting{ledgerConn: ledgerConn{conn}, t: t, capture: c}, nil
}

// Name returns the file's path.
func (d *collecting) Name() string { return d.t.conn.Path() }

// Close closes the connection.
func (d *collecting) Close() error { return d.t.Close() }

// SQL returns the statements as they are.
func (d *collecting) SQL(tables string) string { return tables }

// Install implements collect.Driver.
func (d *collecting) Install(ctx context.Context, sql string) error {
	_, err := d.t.locked(ctx, nil, func() error { return d.t.conn.Exec(sql) })
	return err
}

// Has implements collect.Driver.
func (d *collecting) Has(_ context.Context, tables ...string) (bool, error) {
	for _, name := range tables {
		if ok, err := Exists(d.t.conn, name); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// Locked takes SQLite's one lock, whatever the stream.
func (d *collecting) Locked(ctx context.Context, _ string, work func() error) (time.Duration, error) {
	return d.t.locked(ctx, nil, work)
}

// Snapshot implements collect.Driver.
func (d *collecting) Snapshot(_ context.Context, work func() error) error {
	if err := d.t.conn.Exec("BEGIN"); err != nil {
		return err
	}
	defer func() { _ = d.t.rollback() }() // it only read
	return work()
}

// Claim has nothing to do: there is one lock for all tills.
func (d *collecting) Claim(context.Context, string) (release func(), ok bool, err error) {
	return func() {}, true, nil
}

// Takes implements collect.Driver.
func (d *collecting) Takes(down string) bool { return len(d.capture.streams[down].uploads) > 0 }

// Uploads implements collect.Driver.
func (d *collecting) Uploads(_ context.Context, down string) ([]*database.Upload, error) {
	return d.capture.uploads(d.t.conn, down)
}

// Stand implements collect.Driver.
func (d *collecting) Stand(_ context.Context, stream string) (st manifest.Stand, ok bool, err error) {
	if ok, err = Exists(d.t.conn, "caisseauto_stream"); err == nil && ok {
		st, _, err = stand(d.t.conn, stream)
	}
	return st, ok, err
}

// Stored implements collect.Driver.
func (d *collecting) Stored(column *database.Column, text string) change.Value {
	return stored(text, column.Type)
}

// Explain implements collect.Driver.
func (d *collecting) Explain(_ context.Context, err error) error { return environment(err) }

// Interrupted implements collect.Driver.
func (d *collecting) Interrupted(err error) bool { return sqlite3.IsInterrupt(err) }
