//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A daemon is a real caisseauto run, as a service manager starts it.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	log  bytes.Buffer
	done chan error
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func startDaemon(t *testing.T, config string, env ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(programLink(t), "run", "--config", config), done: make(chan error, 1)}
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.Env = d, d, append(os.Environ(), env...)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.done <- d.cmd.Wait() }()
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	return d
}

// until waits for something to become true.
func (d *daemon) until(what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("never came: %s; it said:\n%s", what, d.said())
		}
	}
}

// end sends a signal and returns how the service ended.
func (d *daemon) end(sig os.Signal) error {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
	select {
	case err := <-d.done:
		return err
	case <-time.After(20 * time.Second):
		d.t.Fatalf("it did not end; it said:\n%s", d.said())
	}
	return nil
}

// count is how often the service said something.
func (d *daemon) count(words string) int { return strings.Count(d.said(), words) }

// child is the process that the service has at work; 0 for none.
func (d *daemon) child() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid …, and a name may hold anything.
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(d.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// working starts the till's service, and returns when its import has fetched
// everything and waits for the POS to let go of the database.
func (w *world) working() (d *daemon, child int, pos *holder) {
	w.t.Helper()
	if runtime.GOOS != "linux" {
		w.t.Skip("the processes are found in /proc")
	}
	pos = hold(w.t, w.path("till/till.db"))
	d = startDaemon(w.t, w.processes("till/till.toml", "import"))
	d.until("all batches in the inbox, and an import", func() bool {
		child = d.child()
		_, err := os.Stat(w.path("till/inbox/ACME/down/0000000004.manifest.json"))
		return err == nil && child != 0
	})
	time.Sleep(300 * time.Millisecond)
	return d, child, pos
}

// applied matches what the service passes on of the import that applies the
// newest batch. The database itself may be locked at that moment.
var applied = regexp.MustCompile(`the_import: 001 +4 +delta`)

func (d *daemon) applied() bool { return applied.MatchString(d.said()) }

// arrived ends a service, and checks what it has brought.
func (w *world) arrived(d *daemon) {
	w.t.Helper()
	d.until("what was sent", d.applied)
	if err := d.end(syscall.SIGTERM); err != nil {
		w.t.Errorf("%v: %s", err, d.said())
	}
	if w.articles("till/till.db") != w.articles("server/erp.db") {
		w.t.Error("the till is not what the server is")
	}
}

// The service is killed in the middle of a run: the run does not go on for
// ever with the locks that it has, and the next service begins at once.
func TestRunKilled(t *testing.T) {
	w := newWorld(t)
	before := w.articles("till/till.db")
	d, child, pos := w.working()
	_ = d.end(syscall.SIGKILL)
	start := time.Now()
	d.until("the end of the run", func() bool { return !alive(child) })
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the run went on for %s without its service", took)
	}
	if w.articles("till/till.db") != before {
		t.Error("the till has changed")
	}
	pos.release()
	again := startDaemon(t, w.path("till/till.toml"))
	w.arrived(again)
}

// A service that is told to stop tells its runs, waits for them, and ends
// well. Nothing of theirs is half done.
func TestRunTerminated(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			w := newWorld(t)
			before := w.articles("till/till.db")
			d, child, _ := w.working()
			start := time.Now()
			if err := d.end(sig); err != nil {
				t.Errorf("%v: %s", err, d.said())
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %s: the run was not told", took)
			}
			if alive(child) {
				t.Error("the run outlived its service")
			}
			if w.articles("till/till.db") != before || d.count("stopped") != 1 {
				t.Errorf("the till has changed, or it did not say that it stopped:\n%s", d.said())
			}
		})
	}
}

// A run that dies harms nothing but itself: it is told, and the next one does
// the work.
func TestRunOfAKilledProcess(t *testing.T) {
	w := newWorld(t)
	d, child, pos := w.working()
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.until("that it says so", func() bool { return d.count("error: could not be run to its end: it was ended: signal: killed") == 1 })
	pos.release()
	w.arrived(d)
}

// Without a network a service says so once, and once that it is over, however
// many runs there were in between.
func TestRunOffLine(t *testing.T) {
	w := newWorld(t)
	if err := os.Rename(w.path("drop"), w.path("gone")); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, w.processes("till/till.toml", "import"))
	d.until("off line", func() bool { return d.count("no network, or no drop") > 0 })
	time.Sleep(2500 * time.Millisecond) // two runs or three, which say nothing
	if err := os.Rename(w.path("gone"), w.path("drop")); err != nil {
		t.Fatal(err)
	}
	d.until("on line", func() bool { return d.count("well again") > 0 })
	w.arrived(d)
	for _, words := range []string{"nothing could be fetched", "no network, or no drop", "well again"} {
		if n := d.count(words); n != 1 {
			t.Errorf("it said %q %d times:\n%s", words, n, d.said())
		}
	}
}

// What is not permitted is not tried again and again: a server may shut the
// whole shop's address out for it.
func TestRunDenied(t *testing.T) {
	w := newWorld(t)
	if err := os.Chmod(w.path("server/keys/server"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, w.processes("server/server.toml", "export"))
	d.until("the refusal", func() bool { return d.count("the next try is in 15 minutes or later") > 0 })
	time.Sleep(2500 * time.Millisecond)
	if err := d.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if n := d.count("can be read by other accounts"); n != 1 {
		t.Errorf("%d tries in some seconds:\n%s", n, d.said())
	}
}

// systemd hears that the service is ready, by either kind of socket.
func TestRunReady(t *testing.T) {
	w := newWorld(t)
	config := w.processes("till/till.toml", "import")
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, fmt.Sprintf("@caisseauto-test-%d", os.Getpid()))
	}
	for _, name := range names {
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		d := startDaemon(t, config, "NOTIFY_SOCKET="+name)
		_ = socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 100)
		n, err := socket.Read(buf)
		if err != nil || string(buf[:n]) != "READY=1" {
			t.Errorf("%s: %q, %v: %s", name, buf[:n], err, d.said())
		}
		if err := d.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = socket.Close()
	}
}

// TestProgram: what a service starts is what the path leads to by which the
// service was called, and not what it led to then.
func TestProgram(t *testing.T) {
	called := os.Args[0]
	defer func() { os.Args[0] = called }()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "caisseauto")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	os.Args[0] = link
	if got, err := program(); err != nil || got != link {
		t.Errorf("%q, %v, want %q", got, err, link)
	}
	os.Args[0] = filepath.Join(t.TempDir(), "gone")
	if got, err := program(); err != nil || got != own {
		t.Errorf("%q, %v, want %q", got, err, own)
	}
}
