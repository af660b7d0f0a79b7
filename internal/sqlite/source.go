package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
)

// SourceOptions are the settings of a Source; their zero values are the
// defaults.
type SourceOptions struct {
	// BusyTimeout is how long to wait for the ERP's own writes; 0 is 5 s.
	BusyTimeout time.Duration
}

// A Source is an ERP's SQLite database as the writer of streams: where
// changes are read from, and where the record of each stream is kept. It
// holds no connection between calls and may be used by several goroutines and
// processes at once.
type Source struct {
	path    string
	capture *Capture
	o       SourceOptions
	till    bool // it is a till's outbox; see [Outbox]
}

// NewSource returns the source of the database file at path. Nothing is
// opened yet.
func NewSource(path string, c *Capture, o SourceOptions) *Source {
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	return &Source{path: path, capture: c, o: o}
}

// open opens a connection whose statements end when ctx does.
func (s *Source) open(ctx context.Context, mode sqlite3.Mode) (_ *sqlite3.Conn, close func(), _ error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	db, err := sqlite3.Open(s.path, mode)
	if err != nil {
		return nil, nil, err
	}
	db.BusyTimeout(s.o.BusyTimeout)
	stop := db.Watch(ctx)
	return db, func() {
		stop()
		// Closing rolls back what is open; of a file that was only read or
		// is committed nothing can be lost any more.
		_ = db.Close()
	}, nil
}

// write runs work in one transaction that holds the write lock from its
// start: a transaction that begins to read and then writes is refused at once
// when another one wrote meanwhile, whatever the busy timeout.
func (s *Source) write(ctx context.Context, work func(*sqlite3.Conn) error) error {
	db, closeDB, err := s.open(ctx, sqlite3.ReadWrite)
	if err != nil {
		return s.explain(ctx, err)
	}
	defer closeDB()
	// What is promised here is signed next: it must survive a power cut.
	if err := db.Exec("PRAGMA synchronous=FULL; BEGIN IMMEDIATE"); err != nil {
		return s.explain(ctx, err)
	}
	if err := work(db); err != nil {
		return s.explain(ctx, errors.Join(err, rollback(db)))
	}
	if err := db.Exec("COMMIT"); err != nil {
		return s.explain(ctx, errors.Join(err, rollback(db)))
	}
	return nil
}

// rollback ends the transaction of db if an error has not done so already.
func rollback(db *sqlite3.Conn) error {
	if !db.InTransaction() {
		return nil
	}
	return db.Exec("ROLLBACK")
}

// read runs work in one read transaction: it sees one state of the database,
// whatever others write meanwhile. The connection is read-only where that is
// possible; it is not when a crash of the ERP left a transaction to roll back
// (SQLITE_READONLY_ROLLBACK) or the -shm file is not there.
func (s *Source) read(ctx context.Context, work func(*sqlite3.Conn) error) error {
	db, closeDB, err := s.open(ctx, sqlite3.ReadOnly)
	if err != nil {
		return s.explain(ctx, err)
	}
	err = s.begin(db)
	if sqlite3.IsReadOnly(err) || sqlite3.IsCannotOpen(err) {
		closeDB()
		if db, closeDB, err = s.open(ctx, sqlite3.ReadWrite); err != nil {
			return s.explain(ctx, err)
		}
		if err = db.Exec("PRAGMA query_only=ON"); err == nil {
			err = s.begin(db)
		}
	}
	defer closeDB()
	if err == nil {
		err = work(db)
	}
	return s.explain(ctx, err)
}

// begin starts a read transaction, and really reads: BEGIN alone takes no
// snapshot (https://www.sqlite.org/lang_transaction.html).
func (s *Source) begin(db *sqlite3.Conn) error {
	// The cache is for reading in the order of a key that is not the rowid;
	// and SQLite sorts in as much memory as it. A till has less of it, and
	// what it sends is less.
	cache := 32 << 10
	if s.till {
		cache = 8 << 10
	}
	return db.Exec(fmt.Sprintf("PRAGMA cache_size=-%d; BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1", cache))
}

// explain adds to an error of SQLite which database it is and what can be
// done about it.
func (s *Source) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case sqlite3.IsInterrupt(err) && ctx.Err() != nil:
		return fmt.Errorf("%s: stopped: %w", s.path, context.Cause(ctx))
	case sqlite3.IsCannotOpen(err):
		return fmt.Errorf("%w; check the database's path in the configuration, and that this account may read the file and write to its folder", err)
	}
	return environment(err)
}
