package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
)

// SourceOptions are the settings of a Source; their zero values are the
// defaults.
type SourceOptions struct {
	// LockTimeout is how long to wait for a lock that the ERP holds, a
	// migration's for instance; 0 is 5 s.
	LockTimeout time.Duration
	// Log is told what an operator should know; nil is silent.
	Log *slog.Logger
}

func (o SourceOptions) withDefaults() SourceOptions {
	if o.LockTimeout == 0 {
		o.LockTimeout = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Source is an ERP's PostgreSQL database as the writer of streams: where
// changes are read from, and where the record of each stream is kept. It
// connects when it is first used, keeps that connection, and makes another
// when the server has closed it between two calls. It may be used by several
// goroutines, one after the other.
type Source struct {
	dsn     string
	where   string
	capture *Capture
	o       SourceOptions

	maxBehind int64 // see giveUp

	mu sync.Mutex
	s  *session
}

// NewSource returns the source of the database that a connection string of
// libpq names. Nothing is opened yet.
func NewSource(dsn string, c *Capture, o SourceOptions) *Source {
	return &Source{dsn: dsn, where: Where(dsn), capture: c, o: o.withDefaults(), maxBehind: maxBehind}
}

// Close closes the connection. The Source may be used again, and then makes
// another.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

func (s *Source) drop() error {
	if s.s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.s.Close(ctx)
	s.s = nil
	return err
}

// use runs work with the connection. One that turns out to be closed is
// replaced once, but only before anything was done with it: what an error
// leaves open is rolled back by the server.
func (s *Source) use(ctx context.Context, work func(*session) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.s != nil && s.s.Ping(ctx) != nil {
		_ = s.drop()
	}
	if s.s == nil {
		c, err := open(ctx, s.dsn, s.o.LockTimeout)
		if err != nil {
			return err
		}
		s.s = c
	}
	err := explain(ctx, s.where, work(s.s))
	if err != nil && (s.s.IsClosed() || s.s.replica || isLost(err) || ctx.Err() != nil) { // a replica may be promoted
		_ = s.drop()
	}
	return err
}

// write runs work in one transaction. Deadlocks and the like, in which the
// server chooses one of two to be rolled back, are tried again.
func (s *Source) write(ctx context.Context, work func(*session, pgx.Tx) error) error {
	return s.use(ctx, func(c *session) error {
		if c.replica {
			return fmt.Errorf("%w: %s", database.ErrReadOnly, replicaAdvice)
		}
		for n := 0; ; n++ {
			err := pgx.BeginTxFunc(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) error { return work(c, tx) })
			if n < 3 && clash(err) {
				continue
			}
			return err
		}
	})
}

// read runs work in one transaction that sees one state of the database and
// writes nothing.
func (s *Source) read(ctx context.Context, work func(*session, pgx.Tx) error) error {
	return s.use(ctx, func(c *session) error {
		return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return work(c, tx) })
	})
}

// errTaken says that somebody has a lock on a table that is wanted.
var errTaken = errors.New("a table is locked by another program")

// queueTime is how long anybody may be made to wait behind us: who asks for a
// lock and does not get it has others queue up behind him. It is shorter than
// what programs usually wait themselves, and than PostgreSQL's own
// deadlock_timeout, after which somebody would have to give up.
const queueTime = 500 * time.Millisecond

// patiently tries work until it has got its locks, for as long as LockTimeout
// says. What work got is given back in between: who waits while holding a lock
// can be one of two in a deadlock, and the server may choose the ERP's
// transaction to end.
func (s *Source) patiently(ctx context.Context, work func() error) error {
	pause := 20 * time.Millisecond // grows: each try is a line in the server's log
	for end := time.Now().Add(s.o.LockTimeout); ; pause = min(2*pause, time.Second) {
		err := work()
		if !errors.Is(err, errTaken) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return explain(ctx, s.where, ctx.Err())
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// installed reports whether our tables are there.
func installed(ctx context.Context, q querier, table string) (ok bool, err error) {
	err = q.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", "caisseauto."+table).Scan(&ok)
	return ok, err
}

var errNotInstalled = fmt.Errorf("%w for capture; run: caisseauto init server", database.ErrNotInstalled)

// ready refuses a database in which capture is not installed.
func ready(ctx context.Context, q querier) error {
	ok, err := installed(ctx, q, "caisseauto_stream")
	if err == nil && !ok {
		err = errNotInstalled
	}
	return err
}

// errStale says that triggers are missing or not as they should be.
var errStale = errors.New("the capture triggers are not as they should be")
