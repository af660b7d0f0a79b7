package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStatusWatch runs status --watch as a process on a terminal of its own:
// it redraws when the drop has changed, tells when it cannot look any more, and
// gives the terminal back when it is told to end.
func TestStatusWatch(t *testing.T) {
	w := newWorld(t)
	tty, master := pty(t)
	var mu sync.Mutex
	var screen strings.Builder
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			mu.Lock()
			screen.Write(buf[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	shows := func(text string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			got := screen.String()
			mu.Unlock()
			if strings.Contains(got, text) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the terminal never shows %q: %q", text, got)
			}
		}
	}
	program, err := exec.LookPath("caisseauto")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "status", "--watch", "--every", "1s", "--drop", w.path("drop"), "--signers", w.path("till/allowed_signers"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	shows("\x1b[?1049h")
	shows("stands at batch 4")
	w.sql("server/erp.db", "UPDATE article SET price=price+1")
	if code, _, errs := w.exportNow(); code != 0 {
		t.Fatal(errs)
	}
	shows("stands at batch 5")
	if err := os.Rename(w.path("drop"), w.path("gone")); err != nil {
		t.Fatal(err)
	}
	shows("cannot look: ")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	shows("\x1b[?25h\x1b[?1049l")
}
