//go:build !linux

package sftp

import (
	"syscall"
	"time"
)

// tcpControl does nothing here: only Linux has TCP_USER_TIMEOUT. The stall
// watchdog closes a dead connection all the same.
func tcpControl(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
