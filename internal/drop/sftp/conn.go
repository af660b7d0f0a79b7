package sftp

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// A watchedConn is the TCP connection below SSH. It notes when the last byte
// came in and whether anything is waited for. Closing it is the one thing
// that frees a hung call, so every limit in this package ends here.
type watchedConn struct {
	net.Conn
	lastRead atomic.Int64 // nanoseconds since start
	pending  atomic.Int32
	start    time.Time

	dead context.Context         // ends with the connection; its cause says why
	die  context.CancelCauseFunc // the first reason given counts
}

func newWatchedConn(c net.Conn) *watchedConn {
	w := &watchedConn{Conn: c, start: time.Now()}
	w.dead, w.die = context.WithCancelCause(context.Background())
	return w
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

func (c *watchedConn) touch() { c.lastRead.Store(int64(time.Since(c.start))) }

// begin and end bracket the time in which an answer is owed to us. The clock
// of the watchdog starts anew with the first of them, so that idle time is
// not counted as silence.
func (c *watchedConn) begin() {
	if c.pending.Add(1) == 1 {
		c.touch()
	}
}

func (c *watchedConn) end() { c.pending.Add(-1) }

// silence is how long an answer has been owed without a single byte.
func (c *watchedConn) silence() time.Duration {
	if c.pending.Load() == 0 {
		return 0
	}
	return time.Since(c.start) - time.Duration(c.lastRead.Load())
}

// kill closes the connection and keeps the first reason.
func (c *watchedConn) kill(cause error) {
	c.die(cause)
	c.Conn.Close()
}

// killed returns the reason given to kill, nil while the connection is not
// known to be bad.
func (c *watchedConn) killed() error {
	return context.Cause(c.dead)
}
