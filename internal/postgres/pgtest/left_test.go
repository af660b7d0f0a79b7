//go:build unix

package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processes returns those of a running cluster.
func processes(t *testing.T, c *Cluster) []int {
	t.Helper()
	pids, err := children(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	return append(pids, c.pid)
}

// gone fails the test when a process or the memory of a cluster is there.
func gone(t *testing.T, pids []int, memory int) {
	t.Helper()
	for _, left := range (remains{pids: pids, memory: []int{memory}}).left() {
		t.Error("left: " + left)
	}
}

// remains is what a test binary has had.
type remains struct {
	root         string
	pids, memory []int
	keys         []int32 // of shared memory: PostgreSQL begins with the inode of the data's folder
}

// look takes down the data folders that are there.
func (r *remains) look() {
	dirs, _ := filepath.Glob(filepath.Join(r.root, "*", "data")) // the pattern is sound
	for _, dir := range dirs {
		var s syscall.Stat_t
		if err := syscall.Stat(dir, &s); err == nil {
			r.keys = append(r.keys, int32(s.Ino))
		}
	}
}

// abandoned returns the keys of shared memory that nobody uses, on Linux.
func abandoned() (keys []int32) {
	b, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // key, id, mode, size, creator, last, users, …
		if key, err := strconv.ParseInt(f[0], 10, 32); err == nil && f[6] == "0" {
			keys = append(keys, int32(key))
		}
	}
	return keys
}

// read takes down what TestLeaver prints.
func (r *remains) read(line string) {
	var n int
	if _, err := fmt.Sscanf(line, "process %d", &n); err == nil {
		r.pids = append(r.pids, n)
	}
	if _, err := fmt.Sscanf(line, "memory %d", &n); err == nil {
		r.memory = append(r.memory, n)
	}
	if root, ok := strings.CutPrefix(line, "root "); ok {
		r.root = root
	}
}

// left returns what of it is still there.
func (r remains) left() (left []string) {
	for _, pid := range r.pids {
		if alive(pid) {
			left = append(left, fmt.Sprint("process ", pid))
		}
	}
	for _, id := range r.memory {
		var d unix.SysvShmDesc
		if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err == nil {
			left = append(left, fmt.Sprint("shared memory ", id))
		}
	}
	for _, key := range abandoned() {
		if slices.Contains(r.keys, key) {
			left = append(left, fmt.Sprint("shared memory of key ", key))
		}
	}
	if r.root == "" {
		return left
	}
	if _, err := os.Stat(r.root); !errors.Is(err, os.ErrNotExist) {
		left = append(left, r.root)
	}
	// Those that name it on their command line: keepers, initdb, postmasters.
	if out, err := exec.Command("ps", "-A", "-o", "pid=,args=").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, r.root) {
				left = append(left, line)
			}
		}
	}
	return left
}

// TestLeftNothing ends a test binary that has clusters in every state, also
// with SIGKILL and in the middle of a start: no process, no memory and no file
// is left.
func TestLeftNothing(t *testing.T) {
	need(t)
	for _, how := range []string{"exit", "kill", "kill group"} {
		t.Run(how, func(t *testing.T) {
			r := leaver(t, how, 0)
			if len(r.pids) < 12 || len(r.memory) != 3 {
				t.Errorf("seen: %+v", r)
			}
			cleared(t, r)
		})
	}
	for _, ms := range []int{0, 20, 100, 300, 400, 450, 500} {
		t.Run(fmt.Sprint("while starting ", ms), func(t *testing.T) {
			cleared(t, leaver(t, "starting", time.Duration(ms)*time.Millisecond))
		})
	}
}

// cleared waits until nothing is left.
func cleared(t *testing.T, r remains) {
	t.Helper()
	if r.root == "" {
		t.Fatal("no folder seen")
	}
	begin := time.Now()
	for len(r.left()) > 0 {
		// PostgreSQL itself ends within a minute after its folder is gone.
		if time.Since(begin) > 8*time.Second {
			t.Fatalf("left: %q", r.left())
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("cleared after %s", time.Since(begin))
}

// leaver runs TestLeaver and ends it that long after it is ready.
func leaver(t *testing.T, how string, after time.Duration) (r remains) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestLeaver$", "-test.v")
	cmd.Env = append(os.Environ(), "PGTEST_LEAVER="+how)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.read(lines.Text())
		if lines.Text() != "ready" || how == "exit" {
			continue
		}
		time.Sleep(after)
		r.look()
		target := cmd.Process.Pid
		if how == "kill group" {
			target = -target
		}
		if err := syscall.Kill(target, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the test binary has ended well")
	}
	return r
}

// TestLeaver is the test binary that TestLeftNothing ends.
func TestLeaver(t *testing.T) {
	how := os.Getenv("PGTEST_LEAVER")
	if how == "" {
		t.Skip("only for TestLeftNothing")
	}
	fmt.Println("root " + need(t).root)
	if how == "starting" {
		fmt.Println("ready")
		for {
			Start(t, Options{})
		}
	}
	own, killed := Start(t, Options{}), Start(t, Options{})
	for _, c := range []*Cluster{Get(t), own, killed} {
		for _, pid := range processes(t, c) {
			fmt.Println("process", pid)
		}
		fmt.Println("memory", c.memory())
	}
	killed.Kill(t)
	own.Backup(t)
	fmt.Println("ready")
	if how == "exit" {
		os.Exit(3)
	}
	time.Sleep(time.Minute)
}
