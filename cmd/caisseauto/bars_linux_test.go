package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty opens a terminal, 24 lines of 160 columns: the side of the program, and
// the side of whoever looks at it.
func pty(t *testing.T) (tty, master *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals to be had here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 160}); err != nil {
		t.Skip(err)
	}
	return tty, master
}

// terminal returns a terminal, and a function that closes it and returns what
// was shown on it.
func terminal(t *testing.T) (*os.File, func() string) {
	t.Helper()
	tty, master := pty(t)
	shown := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // EIO when the last one closes
		shown <- string(b)
	}()
	return tty, func() string {
		tty.Close()
		return <-shown
	}
}

// TestBars: export, ship, fetch, import and verify show how far they are: a bar
// on a terminal, lines in a log, and nothing of either when they are quick.
func TestBars(t *testing.T) {
	defer func(after, every time.Duration) { progressAfter, progressEvery = after, every }(progressAfter, progressEvery)
	for _, mode := range []string{"a terminal", "a log", "quick"} {
		progressAfter, progressEvery = time.Nanosecond, time.Nanosecond
		rows := 11000 // the engines tell every few thousand
		if mode == "quick" {
			progressAfter, progressEvery, rows = 0, 0, 10
		}
		w := newWorld(t)
		w.sql("server/erp.db", fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO article SELECT 'N'||i,'ACME','label',i,'n'||i FROM n", rows))
		server, till := w.path("server/server.toml"), w.path("till/till.toml")
		for _, c := range []struct {
			args []string
			bar  string
			rate string // or amount: of what takes no time there is no rate
		}{
			{[]string{"export", "--config", server, "--no-ship"}, "reading rows", "it/s"},
			{[]string{"ship", "--config", server}, "shipping", " KiB"},
			{[]string{"fetch", "--config", till}, "fetching", " KiB"},
			{[]string{"import", "--config", till}, "applying", "it/s"},
			{[]string{"verify", "--signers", w.path("till/allowed_signers"), w.path("drop")}, "verifying", "B/s"},
		} {
			t.Run(mode+" "+c.args[0], func(t *testing.T) {
				var errs strings.Builder
				var stderr io.Writer = &errs
				shown := errs.String
				if mode == "a terminal" {
					tty, text := terminal(t)
					stderr, shown = tty, text
				}
				code := run(context.Background(), c.args, strings.NewReader(""), io.Discard, stderr)
				text := shown()
				if code != 0 {
					t.Fatalf("exit code %d: %s", code, text)
				}
				switch mode {
				case "a terminal":
					if !strings.Contains(text, c.bar) || !strings.Contains(text, c.rate) || strings.Contains(text, "level=") {
						t.Errorf("no bar %q with a rate: %q", c.bar, text)
					}
				case "a log":
					if !strings.Contains(text, "level=INFO") || !strings.Contains(text, c.bar) || !strings.Contains(text, "rate=") || strings.ContainsAny(text, "\r\x1b") {
						t.Errorf("no line %q with a rate: %q", c.bar, text)
					}
				default:
					if text != "" {
						t.Errorf("it is not quiet: %q", text)
					}
				}
			})
		}
	}
}
