package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"caisseauto/internal/drop"
)

// keepAlive asks for a sign of life at intervals, one request at a time; a
// refusal is an answer too. It judges nothing: a healthy upload can hold an
// answer back for 16 s in the modem's queue. The watchdog judges, by bytes.
func (c *Client) keepAlive() {
	t := time.NewTicker(c.cfg.Timeouts.KeepAlive)
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-t.C:
		}
		c.conn.begin()
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		c.conn.end()
		if err != nil {
			return
		}
	}
}

// watch closes the connection when an answer is owed and not one byte came
// for Timeouts.Stall.
func (c *Client) watch() {
	limit := c.cfg.Timeouts.Stall
	t := time.NewTicker(max(limit/10, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-t.C:
		}
		if c.conn.silence() > limit {
			c.conn.kill(fmt.Errorf("%w: nothing heard from the server for %v", drop.ErrUnavailable, limit))
			return
		}
	}
}

// A budget is the time an operation may take. With rate it grows with the
// bytes that came in, so that a slow transfer lives and one byte a second,
// which keeps the watchdog quiet, does not.
type budget struct {
	base time.Duration
	rate int64 // bytes per second that earn time; 0: none
}

// do runs fn, which talks to the server, within b and ctx. When either is
// over, it closes the connection, which makes fn return.
func (c *Client) do(ctx context.Context, b budget, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err // nothing was sent; the connection stays good
	}
	if err := c.usable(); err != nil {
		return err
	}
	c.conn.begin()
	defer c.conn.end()
	release := context.AfterFunc(ctx, func() { c.conn.kill(errAbandoned) })
	stop := c.limit(b)
	err := fn()
	stop()
	if !release() && err != nil {
		return ctx.Err()
	}
	return err
}

// errAbandoned answers the use of a client whose connection was closed
// because the context of an earlier operation ended.
var errAbandoned = fmt.Errorf("%w: the connection was closed when an operation was given up", drop.ErrUnavailable)

// usable says why no operation can start, if so.
func (c *Client) usable() error {
	if err := c.conn.killed(); err != nil {
		return err
	}
	if age := time.Since(c.dialed); age > c.cfg.Timeouts.Session {
		return fmt.Errorf("%w: the session is %v old; connect again", drop.ErrUnavailable, age.Round(time.Second))
	}
	return nil
}

// limit starts the clock of b; the returned function stops it.
func (c *Client) limit(b budget) (stop func()) {
	started, before := time.Now(), c.frames.received.Load()
	var mu sync.Mutex
	var t *time.Timer
	over := func() {
		mu.Lock()
		defer mu.Unlock()
		allowed, got := b.base, c.frames.received.Load()-before
		if b.rate > 0 {
			allowed += time.Duration(float64(got) / float64(b.rate) * float64(time.Second))
		}
		if left := allowed - time.Since(started); left > 0 {
			t.Reset(left)
			return
		}
		c.conn.kill(fmt.Errorf("%w: time limit of %v reached after %d bytes", drop.ErrUnavailable, allowed.Round(time.Millisecond), got))
	}
	mu.Lock()
	t = time.AfterFunc(b.base, over)
	mu.Unlock()
	return func() { t.Stop() }
}

func (c *Client) metadata() budget { return budget{base: c.cfg.Timeouts.Metadata} }
func (c *Client) commit() budget   { return budget{base: c.cfg.Timeouts.Commit} }

// receiving is the budget of a transfer towards us.
func (c *Client) receiving() budget {
	return budget{base: c.cfg.Timeouts.Data, rate: c.cfg.Timeouts.MinRate}
}

// sending is the budget of an upload of n bytes.
func (c *Client) sending(n int64) budget {
	return budget{base: c.cfg.Timeouts.Data + time.Duration(float64(n)/float64(c.cfg.Timeouts.MinRate)*float64(time.Second))}
}

// A localError comes from our own side of a copy and is passed on as it is.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// explain gives err the words and the sentinel of package drop.
func (c *Client) explain(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	prefix := fmt.Sprintf("sftp %s: %s %s", c.cfg.Addr, verb, name)
	var local *localError
	var status *sftp.StatusError
	switch cause := c.conn.killed(); {
	case errors.As(err, &local):
		return fmt.Errorf("%s: %w", prefix, local.err)
	case isOurs(err):
		return fmt.Errorf("%s: %w", prefix, err)
	case cause != nil:
		return fmt.Errorf("%s: %w", prefix, cause)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", prefix, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: the server refuses it to user %s", prefix, drop.ErrDenied, c.cfg.User)
	case errors.As(err, &status) && status.FxCode() != sftp.ErrSSHFxNoConnection && status.FxCode() != sftp.ErrSSHFxConnectionLost:
		return fmt.Errorf("%s: the server refused: %w", prefix, err)
	default: // lost connection, or a server that does not keep to the protocol
		c.conn.kill(fmt.Errorf("%w: %w", drop.ErrUnavailable, err))
		return fmt.Errorf("%s: %w: %w", prefix, drop.ErrUnavailable, err)
	}
}

// isOurs reports whether err already carries a meaning of package drop or is
// the end of the caller's context.
func isOurs(err error) bool {
	for _, known := range []error{
		drop.ErrConflict, drop.ErrUnavailable, drop.ErrDenied, drop.ErrNoSpace, drop.ErrTooMany, drop.ErrTooLarge,
		context.Canceled, context.DeadlineExceeded, errShort,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// isUnsupported: SSH_FX_OP_UNSUPPORTED.
func isUnsupported(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported
}

// both runs two requests at once, for one round trip instead of two.
func both(f, g func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	g()
	wg.Wait()
}
