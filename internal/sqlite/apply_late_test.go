//go:build linux

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const (
	lateEnv    = "CAISSEAUTO_LATE_DB"
	lateRows   = 3000 // more than lateSyncRows
	lateSchema = `PRAGMA journal_mode=WAL; CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT UNIQUE, price INTEGER, pad TEXT); CREATE INDEX article_price ON article(price);` + cashierSQL
)

// lateBatch is batch n of a stream: every article gets the price n.
func lateBatch(p manifest.Position) *testBatch {
	b := newBatch(p)
	n := int(b.p.Sequence)
	b.table("article", manifest.Whole, []string{"id"}, []string{"id", "code", "price", "pad"})
	b.m.Kind = manifest.Baseline
	rows := make([][]any, lateRows)
	for i := range rows {
		rows[i] = []any{i*7 + n%5, fmt.Sprintf("C%07d", (i+n)%lateRows), n, strings.Repeat(strconv.Itoa(n%10), 900+n%7*100)}
	}
	b.rows("article", change.Upsert, []string{"id", "code", "price", "pad"}, rows...)
	return b
}

// TestLateProcess is no test but the process that TestLateKilled kills: it
// applies batch after batch.
func TestLateProcess(t *testing.T) {
	path := os.Getenv(lateEnv)
	if path == "" {
		t.Skip("the child of TestLateKilled")
	}
	till, err := OpenTill(path, TillOptions{StageDir: filepath.Dir(path), CacheKiB: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	for {
		p, err := till.Position(context.Background(), testStream)
		if err != nil {
			t.Fatal(err)
		}
		b := lateBatch(p)
		fmt.Println("applying", b.p.Sequence)
		if _, err := b.apply(till); err != nil {
			t.Fatal(err)
		}
	}
}

// stock runs the sqlite3 program on a database.
func stock(t *testing.T, path, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 20000", path, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestLateKilled kills a process that applies large batches at random moments,
// while a cashier sells in a second process and the stock program reads in a
// third. What they see is whole at any moment: one batch, every ticket.
func TestLateKilled(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("no sqlite3 program")
	}
	kills := 5
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_KILLS")); err == nil {
		kills = n
	}
	path := filepath.Join(t.TempDir(), "till.db")
	c := openPlain(t, path)
	if err := c.Exec(lateSchema); err != nil {
		t.Fatal(err)
	}
	c.Close()
	till := openTill(t, path, TillOptions{})
	first := lateBatch(manifest.Position{})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	till.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pos := startCashier(t, path)
	const state = `SELECT count(*), min(price), max(price), count(DISTINCT code), (SELECT sequence FROM caisseauto_ledger ORDER BY rowid DESC LIMIT 1) FROM article`
	whole := func(text string) {
		t.Helper()
		n := text[strings.LastIndexByte(text, '|')+1:]
		if want := fmt.Sprintf("%d|%s|%s|%d|%s", lateRows, n, n, lateRows, n); text != want {
			t.Fatalf("%s, want %s", text, want)
		}
	}
	for range kills {
		cmd := exec.Command(exe, "-test.run=^TestLateProcess$")
		cmd.Env = append(os.Environ(), lateEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		for end := time.Now().Add(rand.N(700 * time.Millisecond)); time.Now().Before(end); {
			whole(stock(t, path, state))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		whole(stock(t, path, state))
		if s := stock(t, path, "PRAGMA integrity_check"); s != "ok" {
			t.Fatal(s)
		}
	}
	tickets := len(pos.stop())
	if s, want := stock(t, path, "SELECT (SELECT count(*) FROM ticket), (SELECT max(id) FROM ticket), (SELECT count(*) FROM ticket_line)"), fmt.Sprintf("%d|%d|%d", tickets, tickets, 2*tickets); s != want {
		t.Errorf("tickets: %s, want %s", s, want)
	}
	if s := stock(t, path, "SELECT max(sequence) FROM caisseauto_ledger"); s == "1" {
		t.Log("no batch was finished before its kill: the machine was busy")
	}
}

// TestLateNoSpace: a log that does not fit on the disk is found out before
// anybody sees the batch, whether it is written on the way or at the commit;
// the cashier goes on, and the batch comes in when there is room.
func TestLateNoSpace(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("needs root, to mount a small disk")
	}
	for name, cache := range map[string]int{"on the way": 256, "at the commit": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "disk")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "caisseauto-test", dir).CombinedOutput(); err != nil {
				t.Skipf("mount: %s", out)
			}
			t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
			path := filepath.Join(dir, "till.db")
			c, err := sqlite3.Open(path, sqlite3.Create)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Exec(lateSchema); err != nil {
				t.Fatal(err)
			}
			till, err := OpenTill(path, TillOptions{StageDir: t.TempDir(), CacheKiB: cache})
			if err != nil {
				t.Fatal(err)
			}
			defer till.Close()
			if err := till.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			till.limits.rows = 100 // the cache is the one that is asked for
			first := lateBatch(manifest.Position{})
			if _, err := first.apply(till); err != nil {
				t.Fatal(err)
			}
			filler := filepath.Join(dir, "filler")
			if err := exec.Command("sh", "-c", "head -c 15m /dev/zero > "+filler).Run(); err != nil {
				t.Fatal(err)
			}
			before := dumpLive(t, c)
			second := lateBatch(first.p)
			if _, err := second.apply(till); !errors.Is(err, database.ErrNoSpace) {
				t.Fatalf("%v", err)
			}
			if d := diffLines(before, dumpLive(t, c)); d != "" {
				t.Fatal(d)
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			if err := c.Exec("INSERT INTO ticket(at, total) VALUES('now', 1)"); err != nil {
				t.Fatal(err)
			}
			if _, err := second.apply(till); err != nil {
				t.Fatal(err)
			}
			if s := queryText(t, c, "SELECT min(price), max(price), (SELECT count(*) FROM ticket) FROM article"); s != "2,2,1" {
				t.Error(s)
			}
			if s := queryText(t, c, "PRAGMA integrity_check"); s != "'ok'" {
				t.Error(s)
			}
		})
	}
}

// TestBusyProcess is no test but a program that holds the database.
func TestBusyProcess(t *testing.T) {
	path := os.Getenv("CAISSEAUTO_BUSY_DB")
	if path == "" {
		t.Skip("the child of TestApplyBusyProcess")
	}
	c := openPlain(t, path)
	if err := c.Exec("BEGIN IMMEDIATE; INSERT INTO ticket(at, total) VALUES('held', 1)"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("holding")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := c.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
}

// TestApplyBusyProcess: another process holds the database for longer than the
// import waits. Nothing is changed, and the next import does it.
func TestApplyBusyProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "till.db")
	c := openPlain(t, path)
	if err := c.Exec(lateSchema); err != nil {
		t.Fatal(err)
	}
	const wait = 300 * time.Millisecond
	till := openTill(t, path, TillOptions{BusyTimeout: wait})
	first := lateBatch(manifest.Position{})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestBusyProcess$")
	cmd.Env = append(os.Environ(), "CAISSEAUTO_BUSY_DB="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("holding\n"))); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	before := dumpLive(t, c)
	second := lateBatch(first.p)
	start := time.Now()
	_, err = second.apply(till)
	if took := time.Since(start); !errors.Is(err, database.ErrBusy) || took < wait {
		t.Errorf("after %s: %v", took, err)
	}
	if d := diffLines(before, dumpLive(t, c)); d != "" {
		t.Error(d)
	}
	if p, err := till.Position(t.Context(), testStream); err != nil || p != first.p {
		t.Errorf("%v %v", p, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, c, "SELECT min(price), max(price), (SELECT at FROM ticket) FROM article"); s != "2,2,'held'" {
		t.Error(s)
	}
}
