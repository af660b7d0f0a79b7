package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// CollectOptions are the settings of [OpenCollector]. The zero value is the
// default.
type CollectOptions struct {
	// LockTimeout is how long to wait for a lock that an ERP's program or
	// another collector holds; 0 is 10 s.
	LockTimeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told what takes long; nil is silent.
	Log *slog.Logger
}

// OpenCollector connects to the database that a connection string of libpq
// names. c says, at each stream down, what is taken of its tills. A connection
// that is lost between two calls is made again.
func OpenCollector(ctx context.Context, dsn string, c *Capture, o CollectOptions) (*collect.Collector, error) {
	d, err := openCollecting(ctx, dsn, c, o)
	if err != nil {
		return nil, err
	}
	return collect.New(d, o.Now), nil
}

// A collecting is a connection to the ERP's database that takes tills'
// batches in. It implements collect.Driver.
type collecting struct {
	dsn, where string
	capture    *Capture
	o          CollectOptions

	s      *session // nil: not connected
	inside bool     // a transaction is open
	types  map[uint32]typeInfo

	catalog   *catalog // as it was when it was last read
	chunk     int      // bytes of rows that are sent at once
	hook      func(place string)
	statement map[string]string // SQL of the shared part, as PostgreSQL writes parameters
}

// copyChunk is how much of a batch's rows is sent at once: it bounds memory,
// together with the number of a batch's tables.
const copyChunk = 256 << 10

func openCollecting(ctx context.Context, dsn string, c *Capture, o CollectOptions) (*collecting, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &collecting{dsn: dsn, where: Where(dsn), capture: c, o: o, chunk: copyChunk, hook: func(string) {}, statement: map[string]string{}}
	return d, d.connect(ctx)
}

// connect makes the connection. The rows of the ERP's tables are written by
// its rules: its triggers find the tables and the time of day that its own
// programs do, and row level security says what may be written.
func (d *collecting) connect(ctx context.Context) error {
	s, err := open(ctx, d.dsn, d.o.LockTimeout)
	if err != nil {
		return err
	}
	path := []string{quote(ourSchema)}
	for _, name := range s.path {
		path = append(path, quote(name))
	}
	if _, err := s.Exec(ctx, "SET search_path = "+strings.Join(path, ", ")+"; RESET timezone; SET row_security = on"); err != nil {
		_ = s.Close(context.WithoutCancel(ctx))
		return explain(ctx, d.where, err)
	}
	d.s, d.inside, d.types = s, false, map[uint32]typeInfo{}
	return nil
}

// ready sees to it that there is a connection, before a piece of work begins.
func (d *collecting) ready(ctx context.Context) error {
	if d.inside {
		return nil
	}
	if d.s != nil && d.s.IsClosed() {
		d.drop()
	}
	if d.s == nil {
		return d.connect(ctx)
	}
	return nil
}

// drop closes the connection.
func (d *collecting) drop() {
	if d.s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = d.s.Close(ctx) // whatever was open is rolled back by the server
	d.s, d.inside = nil, false
}

// Name names the server and the database.
func (d *collecting) Name() string { return d.where }

// Close closes the connection.
func (d *collecting) Close() error {
	d.drop()
	return nil
}

// SQL returns the statements that make our tables, in PostgreSQL's words. An
// alarm's text may be longer than an index takes.
func (d *collecting) SQL(tables string) string {
	r := strings.NewReplacer("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER", "BIGINT", "BLOB", "BYTEA",
		" WITHOUT ROWID", "", "TEXT", `TEXT COLLATE "C"`, "kind, text)", "kind, md5(text))", "EXISTS caisseauto_", "EXISTS caisseauto.caisseauto_")
	sql := r.Replace(tables)
	for _, on := range []string{" ON caisseauto_", "REFERENCES caisseauto_"} {
		sql = strings.ReplaceAll(sql, on, strings.TrimSuffix(on, "caisseauto_")+"caisseauto.caisseauto_")
	}
	// An index is in the schema of its table, and not named with it.
	return strings.ReplaceAll(sql, "INDEX IF NOT EXISTS caisseauto.", "INDEX IF NOT EXISTS ")
}

// Install implements collect.Driver. One at a time: two hosts would make the
// same things.
func (d *collecting) Install(ctx context.Context, sql string) error {
	_, err := d.Locked(ctx, "", func() error {
		_, err := d.run(ctx, "SELECT pg_advisory_xact_lock(hashtext('caisseauto')); "+sql)
		if code(err) == "3F000" { // invalid_schema_name
			err = fmt.Errorf("%w for capture; run: caisseauto init server: %w", database.ErrNotInstalled, err)
		}
		return err
	})
	return err
}

// twice does what a piece of work begins with, and once more over another
// connection when the server turns out to have closed this one meanwhile.
func (d *collecting) twice(ctx context.Context, work func() error) error {
	for again := false; ; again = true {
		if err := d.ready(ctx); err != nil {
			return err
		}
		err := explain(ctx, d.where, work())
		if again || d.inside || !isLost(err) || ctx.Err() != nil {
			return err
		}
		d.drop()
	}
}

// Has implements collect.Driver.
func (d *collecting) Has(ctx context.Context, tables ...string) (bool, error) {
	var n int64
	err := d.twice(ctx, func() (err error) {
		n, err = number(ctx, d.s, `SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
			WHERE s.nspname = 'caisseauto' AND c.relkind = 'r' AND c.relname = ANY ($1)`, tables)
		return err
	})
	return n == int64(len(tables)), err
}

// Takes implements collect.Driver.
func (d *collecting) Takes(down string) bool { return len(d.capture.streams[down].Uploads) > 0 }

// Uploads implements collect.Driver.
func (d *collecting) Uploads(ctx context.Context, down string) (list []*database.Upload, err error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	if d.catalog, err = d.capture.catalog(ctx, d.s, d.s.path); err != nil {
		return nil, explain(ctx, d.where, err)
	}
	return d.catalog.uploads(down)
}

// Stand implements collect.Driver.
func (d *collecting) Stand(ctx context.Context, stream string) (st manifest.Stand, ok bool, err error) {
	if ok, err = installed(ctx, d.s, "caisseauto_stream"); err == nil && ok {
		st, _, err = stand(ctx, d.s, stream, "")
	}
	return st, ok, explain(ctx, d.where, err)
}

// Stored implements collect.Driver.
func (d *collecting) Stored(column *database.Column, text string) change.Value {
	if column.Integer {
		if n, err := parseInt(text); err == nil {
			return change.Value{Kind: change.Integer, Int: n}
		}
	}
	return change.Value{Kind: change.Text, Bytes: []byte(text)}
}

// Explain has nothing to add: errors are explained where they come from.
func (d *collecting) Explain(_ context.Context, err error) error { return err }

// Interrupted implements collect.Driver.
func (d *collecting) Interrupted(err error) bool {
	return code(err) == codeCanceled || isNetwork(err) || errors.Is(err, database.ErrUnavailable)
}
