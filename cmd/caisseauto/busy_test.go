package main

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A holder is another program, the stock sqlite3, that holds the write lock of
// a database.
type holder struct {
	stdin io.WriteCloser
	cmd   *exec.Cmd
}

func hold(t *testing.T, path string) *holder {
	t.Helper()
	bin, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not here; scripts/test installs it")
	}
	h := &holder{cmd: exec.Command(bin, path)}
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.release)
	if _, err := io.WriteString(h.stdin, "BEGIN IMMEDIATE; SELECT 'held';\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "held" {
		t.Fatalf("%q, %v", line, err)
	}
	return h
}

// release lets the lock go, by the end of the program.
func (h *holder) release() {
	_ = h.stdin.Close()
	_ = h.cmd.Wait()
}

// The POS holds its database for long: import waits, gives up with 75, and has
// changed nothing; when the lock is free it goes on.
func TestImportWhileThePOSHoldsTheDatabase(t *testing.T) {
	w := newWorld(t)
	before := w.articles("till/till.db")
	pos := hold(t, w.path("till/till.db"))
	start := time.Now()
	code, _, stderr := w.importNow()
	if code != exitBusy || !strings.Contains(stderr, "try again when the other program has finished") {
		t.Errorf("exit code %d, want 75: %s", code, stderr)
	}
	if waited := time.Since(start); waited < 5*time.Second {
		t.Errorf("gave up after %s", waited)
	}
	if w.articles("till/till.db") != before {
		t.Error("the till has changed")
	}
	pos.release()
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatalf("with the lock free: exit code %d: %s", code, stderr)
	}
	if w.articles("till/till.db") != w.articles("server/erp.db") {
		t.Error("the till is not what the server is")
	}
}

// Two imports at the same time, of one inbox or of two: one of them may be told
// to come again, both end well or with 75, and every batch is applied once.
func TestTwoImportsAtOnce(t *testing.T) {
	for _, inbox := range []string{"inbox", "inbox-2"} {
		t.Run(inbox, func(t *testing.T) {
			w := newWorld(t)
			w.write(w.path("till/second.toml"), []byte(worldTill+"[paths]\ninbox = \""+inbox+"\"\n"))
			var wg sync.WaitGroup
			for range 4 {
				for _, config := range []string{"till.toml", "second.toml"} {
					wg.Go(func() {
						code, _, stderr := w.run("import", "--config", w.path("till/"+config))
						if code != exitDone && code != exitBusy {
							t.Errorf("exit code %d: %s", code, stderr)
						}
					})
				}
			}
			wg.Wait()
			if code, _, stderr := w.importNow(); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if w.articles("till/till.db") != w.articles("server/erp.db") {
				t.Error("the till is not what the server is")
			}
			out := w.text("till/till.db", "SELECT group_concat(sequence || kind, ' ') FROM caisseauto_ledger")
			if out != "1baseline 2delta 3delta 4delta" {
				t.Errorf("the ledger: %s", out)
			}
		})
	}
}
