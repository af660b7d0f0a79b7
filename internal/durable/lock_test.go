package durable

import (
	"bufio"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(path)
	check(t, err)
	if _, err := Lock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("the lock was given twice: %v", err)
	}
	check(t, unlock())
	check(t, unlock()) // harmless
	again, err := Lock(path)
	check(t, err)
	check(t, again())
	if _, err := Lock(filepath.Join(path, "x")); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("a lock below a file: %v", err)
	}
}

// The kernel takes the lock back from a process that is killed, and the
// message names a process that lives.
func TestLockOfKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := start(t, "lock", path)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = Lock(path)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("number %d", cmd.Process.Pid)) {
		t.Errorf("got %v, want ErrLocked that names process %d", err, cmd.Process.Pid)
	}
	check(t, cmd.Process.Kill())
	cmd.Wait()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		unlock, err := Lock(path)
		if err == nil {
			check(t, unlock())
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the lock outlived its holder: %v", err)
		}
	}
}
