package sftp

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpControl sets TCP_USER_TIMEOUT (tcp(7), RFC 5482): how long sent bytes
// may stay unacknowledged before the kernel gives the connection up. Without
// it a write into a dead link is tried again for some fifteen minutes.
func tcpControl(limit time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var serr error
		if err := c.Control(func(fd uintptr) {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
		}); err != nil {
			return err
		}
		return serr
	}
}
