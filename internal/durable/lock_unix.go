//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks f for this open file description: closing it, or the death
// of the process, releases the lock; a second open in the same process does
// not share it.
func lockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		}
		return err
	}
}
