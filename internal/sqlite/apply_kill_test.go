package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// killRows rows of killPad bytes and more need a stage file; they are few
// enough for a batch to be done before it is killed, now and then.
const (
	killRows = 1500
	killPad  = 2000
)

// killBatch is batch n of a stream that a child applies: every article gets
// the price n, so that the content tells the batch.
func killBatch(p manifest.Position) *testBatch {
	b := newBatch(p)
	n := int(b.p.Sequence)
	b.table("article", manifest.Whole, []string{"id"}, []string{"id", "code", "price", "pad"})
	rows := make([][]any, killRows)
	pad := strings.Repeat(strconv.Itoa(n%10), killPad)
	for i := range rows {
		rows[i] = []any{i, fmt.Sprintf("C%07d", (i+n)%killRows), n, pad} // the codes move on: every one is taken over
	}
	b.rows("article", change.Upsert, []string{"id", "code", "price", "pad"}, rows...)
	b.m.Kind = manifest.Baseline
	return b
}

// TestMain is also the child of TestApplyKilled: it applies batch after batch
// until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("CAISSEAUTO_TEST_CHILD"); path != "" {
		fmt.Println("error:", killChild(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func killChild(path string) error {
	till, err := OpenTill(path, TillOptions{StageDir: filepath.Dir(path)})
	if err != nil {
		return err
	}
	defer till.Close()
	till.limits = small
	for {
		p, err := till.Position(context.Background(), testStream)
		if err != nil {
			return err
		}
		b := killBatch(p)
		fmt.Println("applying", b.p.Sequence)
		if _, err := b.apply(till); err != nil {
			return err
		}
	}
}

// TestApplyKilled kills a process that applies, at random moments, and wants
// the database to hold exactly one batch each time. CAISSEAUTO_KILLS makes it
// longer.
func TestApplyKilled(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "till.db")
	c := openPlain(t, path)
	err := c.Exec(`PRAGMA journal_mode=WAL; CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT UNIQUE, price INTEGER, pad TEXT); CREATE INDEX article_price ON article(price);`)
	if err != nil {
		t.Fatal(err)
	}
	till := openTill(t, path, TillOptions{})
	var p manifest.Position
	var took time.Duration
	for range 2 {
		b, start := killBatch(p), time.Now()
		if _, err := b.apply(till); err != nil {
			t.Fatal(err)
		}
		p, took = b.p, time.Since(start)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	moved := false
	for range kills {
		before, _ := till.Position(t.Context(), testStream)
		killOne(t, exe, path, rand.N(3*took))
		after, err := till.Position(t.Context(), testStream)
		if err != nil {
			t.Fatal(err)
		}
		moved = moved || after.Sequence > before.Sequence
		if s := queryText(t, till.conn, "PRAGMA quick_check"); s != "'ok'" {
			t.Fatal(s)
		}
		n := int(after.Sequence)
		if s, want := queryText(t, till.conn, "SELECT count(*), min(price), max(price), count(DISTINCT code) FROM article"), fmt.Sprintf("%d,%d,%d,%d", killRows, n, n, killRows); s != want {
			t.Fatalf("after batch %d: %s, want %s", n, s, want)
		}
	}
	if !moved {
		t.Log("no batch was finished before its kill: the machine was busy")
	}
	leftOver(t, dir)
}

func killOne(t *testing.T, exe, path string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), "CAISSEAUTO_TEST_CHILD="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child said nothing")
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if text := lines.Text(); len(text) > 5 && text[:5] == "error" {
			t.Error(text)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatal(err)
	}
}

// leftOver wants the stage files of killed processes to be swept, and that of
// a living one to stay.
func leftOver(t *testing.T, dir string) {
	t.Helper()
	alive := newStage(dir, 4096, small)
	defer alive.close()
	if err := alive.file(); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, stagePattern))
	old := time.Now().Add(-2 * stageYoung)
	for _, p := range paths {
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if len(paths) < 2 {
		t.Log("no stage file was left by the kills")
	}
	sweepStages(dir)
	paths, _ = filepath.Glob(filepath.Join(dir, stagePattern))
	if len(paths) != 1 || paths[0] != alive.path {
		t.Errorf("left: %q, alive: %q", paths, alive.path)
	}
	if info, err := os.Stat(alive.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}
