package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// ErrLocked says that another process, or another part of this one, holds the
// lock.
var ErrLocked = errors.New("in use by another process")

// Lock takes the exclusive lock of the file path, which it makes when it is
// missing, and returns the function that gives it back. It does not wait: a
// lock that is held is [ErrLocked], and the message names the holder's
// process number where that can be read.
//
// The kernel holds the lock (flock, LockFileEx), so that any death of the
// process releases it and no stale lock is ever left to be cleaned up by
// hand. The file stays: removing it would let two processes hold locks on two
// files of one name.
func Lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if !errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if pid := readPID(f); pid > 0 {
			return nil, fmt.Errorf("%s: %w (number %d); try again when it has ended", path, ErrLocked, pid)
		}
		return nil, fmt.Errorf("%s: %w; try again when it has ended", path, ErrLocked)
	}
	// The number only serves the message above: a failure to write it (a
	// full disk) must not keep the holder from working.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return sync.OnceValue(func() error {
		_ = f.Truncate(0)
		return f.Close()
	}), nil
}

// readPID returns the number in the lock file, or 0.
func readPID(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
