//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Mode says how a server stops.
type Mode syscall.Signal

// The modes are those of pg_ctl.
const (
	Smart     = Mode(syscall.SIGTERM) // waits until all clients have gone
	Fast      = Mode(syscall.SIGINT)  // rolls back what is open, and disconnects
	Immediate = Mode(syscall.SIGQUIT) // at once; recovers at the next start
)

// Stop stops the server and waits for it. Its data stays.
func (c *Cluster) Stop(t testing.TB, mode Mode) {
	t.Helper()
	c.own(t)
	if err := c.stop(mode); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) stop(mode Mode) error {
	if !c.running() {
		return nil
	}
	if err := c.signal(syscall.Signal(mode)); err != nil {
		return err
	}
	return c.wait()
}

// Restart stops the server, with Fast, and starts it again: same data, same
// port, other processes.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.Stop(t, Fast)
	c.Start(t)
}

// Kill ends all of the server's processes with SIGKILL, as a power cut does,
// and returns when none is left. What they had handed to the operating system
// is kept: that the disk has it, too, is not tested by this.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	c.own(t)
	if err := c.kill(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) kill() error {
	if !c.running() {
		return nil
	}
	// It must not see its children die, or begin new ones.
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := children(c.pid)
	if err != nil {
		return errors.Join(err, c.signal(syscall.SIGKILL))
	}
	memory := c.memory()
	for _, pid := range append(children, c.pid) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pgtest: killing %d: %w", pid, err)
		}
	}
	if err := c.wait(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); len(children) > 0; time.Sleep(time.Millisecond) {
		if !alive(children[0]) {
			children = children[1:]
		} else if time.Now().After(end) {
			return fmt.Errorf("pgtest: process %d of the killed server does not end", children[0])
		}
	}
	// Memory does not survive a power cut either, and nobody else frees it.
	if memory >= 0 {
		if _, err := unix.SysvShmCtl(memory, unix.IPC_RMID, nil); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("pgtest: shared memory %d of the killed server: %w", memory, err)
		}
	}
	return nil
}

func (c *Cluster) signal(sig syscall.Signal) error {
	if err := syscall.Kill(c.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("pgtest: signal to the server: %w", err)
	}
	return nil
}

// wait waits for the server's end, however it ends.
func (c *Cluster) wait() error {
	select {
	case <-c.server.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("pgtest: the server does not stop within %s:\n%s", patience, c.tail())
	}
}

// memory is the id of the server's System V shared memory, from its pid file,
// or -1.
func (c *Cluster) memory() int {
	b, err := os.ReadFile(filepath.Join(c.Data(), "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	if err != nil || len(lines) < 7 {
		return -1
	}
	fields := strings.Fields(lines[6]) // key and id
	if len(fields) != 2 {
		return -1
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return -1
	}
	return id
}

// children returns the processes whose parent is pid.
func children(parent int) (pids []int, err error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return childrenFromProc(parent)
	}
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		if _, err := fmt.Sscan(line, &pid, &ppid); err == nil && ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// childrenFromProc does without ps, which a small container may not have.
func childrenFromProc(parent int) (pids []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return nil, errors.New("pgtest: neither ps nor /proc tells the server's processes")
	}
	for _, name := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))) // digits, by the pattern
		if _, ppid := stat(pid); ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// stat returns the state and the parent of a process from /proc, "" and 0 when
// there is none.
func stat(pid int) (state string, parent int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	s := string(b)
	s = s[strings.LastIndexByte(s, ')')+1:] // after the name, which may hold anything
	if _, err := fmt.Sscan(s, &state, &parent); err != nil {
		return "", 0
	}
	return state, parent
}

// alive reports whether a process runs. A dead one may wait for ever for the
// first process of a container to take notice.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	state, _ := stat(pid)
	return state != "Z"
}
