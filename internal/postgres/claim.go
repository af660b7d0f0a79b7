package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
)

// How long a claim outlives its host. The host says every claimBeat that it is
// there, and takes its claim for lost when the server has not answered for
// claimLease, counted from when it asked; the server gives the claim to another
// one when it has heard nothing for claimIdle. The first gives up before the
// second begins, also where nothing tells them that the network is gone. Tests
// are in a greater hurry.
var claimBeat, claimLease, claimIdle = 2 * time.Second, 8 * time.Second, 15 * time.Second

// claimSQL lets the server notice a host that has gone without a word: by TCP's
// own means (https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE),
// which find no process that was stopped; that, idle_session_timeout does,
// which servers have from version 14 on.
func claimSQL(version int) string {
	sql := aliveSQL + "; SET tcp_user_timeout = 11000"
	if version >= 140000 {
		sql += fmt.Sprintf("; SET idle_session_timeout = %d", claimIdle.Milliseconds())
	}
	return sql
}

// aliveSQL makes the server end a session, and give back what it has locked,
// some 11 s after the host at its other end was last heard of, in place of the
// two hours that systems wait by themselves. On a local socket it does nothing.
// tcp_user_timeout is for sessions alone that read no large results: it ends
// those, too, whose host is there and reads slowly.
const aliveSQL = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"

// ErrClaimLost says that the server could not be told in time that this host
// is still at work, so that another one may do the same work by now.
var ErrClaimLost = fmt.Errorf("%w: the claim on the stream was lost", database.ErrUnavailable)

// A Claim is the right of one host, among those that use one database, to work
// on a stream. The server holds it for as long as a connection of its own
// lives, and gives it back by itself when the host dies.
type Claim struct {
	// Holder is who has it when it is not we: "caisseauto@host/process at
	// address", as far as the server tells. Then there is nothing to release.
	Holder string

	stream string
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // the beat has ended

	mu   sync.Mutex // the session
	s    *session
	last time.Time // when the newest beat that was answered was sent
}

// Claim claims a stream, or says who has it. Nobody waits for the other.
func (s *Source) Claim(ctx context.Context, stream string) (*Claim, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	c, err := open(ctx, s.dsn, s.o.LockTimeout)
	if err != nil {
		return nil, err
	}
	claim := &Claim{stream: stream, s: c}
	if err := explain(ctx, s.where, claim.take(ctx, fmt.Sprintf("@%s/%d", host, os.Getpid()))); err != nil || claim.Holder != "" {
		closeSoon(c)
		return claim, err
	}
	claim.ctx, claim.cancel = context.WithCancelCause(ctx)
	claim.done = make(chan struct{})
	go claim.beat()
	return claim, nil
}

// take tries to lock. A session that ends may hold the lock for a moment
// longer than the server shows who has it.
func (c *Claim) take(ctx context.Context, who string) error {
	if c.s.replica {
		return fmt.Errorf("%w: %s", database.ErrReadOnly, replicaAdvice)
	}
	// What the server cuts off is the name of the program, not the host's.
	_, err := c.s.Exec(ctx, "SELECT set_config('application_name', left(current_setting('application_name'), greatest(0, 63 - octet_length($1::text))) || $1, false)", who)
	if err != nil {
		return err
	}
	if _, err := c.s.Exec(ctx, claimSQL(c.s.version)); err != nil {
		return err
	}
	key := claimKey(c.stream)
	for n := 0; ; n++ {
		var ok bool
		c.last = time.Now()
		if err := c.s.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&ok); err != nil {
			return err
		}
		if ok {
			return c.settle(ctx)
		}
		if c.Holder, err = holder(ctx, c.s, key); err != nil || c.Holder != "" {
			return err
		}
		if n == 20 {
			c.Holder = "another session that the server does not show"
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// settle waits for what a host that has just died had handed to the server: its
// last transaction may come to its end after its claim.
func (c *Claim) settle(ctx context.Context) error {
	if ok, err := installed(ctx, c.s, "caisseauto_stream"); err != nil || !ok {
		return err
	}
	err := pgx.BeginFunc(ctx, c.s, func(tx pgx.Tx) error {
		_, _, err := stand(ctx, tx, c.stream, "FOR UPDATE")
		return err
	})
	c.last = time.Now()
	return err
}

// holder says who has a claim, "" when nobody has it any more.
func holder(ctx context.Context, q querier, key int64) (who string, err error) {
	err = q.QueryRow(ctx, `SELECT concat_ws(' at ', coalesce(nullif(a.application_name, ''), 'server process ' || l.pid), host(a.client_addr))
		FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint << 32 | l.objid::bigint = $1
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1`, key).Scan(&who)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return strings.TrimSpace(who), err
}

// claimKey returns the number of a stream's advisory lock.
func claimKey(stream string) int64 {
	sum := sha256.Sum256([]byte("caisseauto " + stream))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// Context is that of the work that is claimed. It ends with the one that was
// given to Claim, or when the claim is lost: then its cause is ErrClaimLost.
func (c *Claim) Context() context.Context { return c.ctx }

// Err returns why the work must stop, nil as long as it may go on.
func (c *Claim) Err() error { return context.Cause(c.ctx) }

// Check asks the server whether the claim still stands: before something is done
// that cannot be taken back. A process that was stopped and goes on does not
// know how late it is.
func (c *Claim) Check() error {
	if err := c.Err(); err != nil {
		return err
	}
	return c.ping()
}

// Release gives the claim back.
func (c *Claim) Release() {
	if c.Holder != "" {
		return
	}
	c.cancel(context.Canceled)
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	// Closing alone would give it back, but only when the server gets to it.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = c.s.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	closeSoon(c.s)
}

// beat keeps the claim alive until it ends.
func (c *Claim) beat() {
	defer close(c.done)
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(claimBeat):
		}
		if c.ping() != nil {
			return
		}
	}
}

// ping asks the server. What it does not answer in time ends the claim. The
// clock on the wall counts too: the other one stands still while a machine
// sleeps.
func (c *Claim) ping() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	age := max(now.Sub(c.last), now.Round(0).Sub(c.last.Round(0)))
	bounded, cancel := context.WithTimeout(c.ctx, claimLease-age)
	defer cancel()
	err := c.s.Ping(bounded)
	if err == nil {
		c.last = now
		return nil
	}
	if c.ctx.Err() == nil {
		c.cancel(fmt.Errorf("%w, because the server did not answer for %s; nothing more was shipped, run it again: %w", ErrClaimLost, age.Round(time.Second), err))
	}
	return context.Cause(c.ctx)
}

// closeSoon closes a connection without waiting long for a server that may be
// gone.
func closeSoon(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.Close(ctx)
}
