package durable

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rounds is how often a process is killed.
func rounds() int {
	if testing.Short() {
		return 5
	}
	return 40
}

// killed runs a job and kills it somewhere in its work.
func killed(t *testing.T, job string, args ...string) {
	t.Helper()
	cmd := start(t, job, args...)
	var out strings.Builder
	cmd.Stdout = &out
	check(t, cmd.Start())
	time.Sleep(10*time.Millisecond + time.Duration(rand.IntN(20_000))*time.Microsecond)
	check(t, cmd.Process.Kill())
	cmd.Wait()
	if out.Len() > 0 {
		t.Fatalf("%s: %s", job, out.String())
	}
}

// TestKillReplace: whenever the writer dies, the file is one of those it wrote.
func TestKillReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	check(t, WriteFile(path, body(25), 0o600))
	seen := map[byte]bool{}
	for range rounds() {
		killed(t, "replace", path)
		data, err := os.ReadFile(path)
		check(t, err)
		check(t, whole(data))
		seen[data[0]] = true
	}
	if len(seen) < 2 {
		t.Error("the writer was never caught at work")
	}
	left, err := Tree{}.Sweep(dir)
	check(t, err)
	t.Logf("%d contents seen, %d temporary files swept", len(seen), left)
	only(t, dir, "f")
}

// TestKillPoint: whenever the writer dies, the link has one of its targets.
func TestKillPoint(t *testing.T) {
	needLinks(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	const before = "before"
	check(t, Point(link, before))
	got := before
	for range rounds()/2 + 1 {
		killed(t, "point", link)
		last := got
		var err error
		got, err = os.Readlink(link)
		check(t, err)
		if got != targets[0] && got != targets[1] && got != last {
			t.Fatalf("the link points to %q", got)
		}
	}
	if got == before {
		t.Error("the writer was never caught at work")
	}
	left, err := Tree{}.Sweep(dir)
	check(t, err)
	t.Logf("%d temporary links swept", left)
	only(t, dir, "current")
}

// TestKillPublish: every name in the folder is a whole file, and the work can
// be done again over what was left.
func TestKillPublish(t *testing.T) {
	dir := t.TempDir()
	made := 0
	for range rounds() {
		killed(t, "publish", dir)
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, e := range entries {
			n, err := strconv.Atoi(e.Name())
			if err != nil {
				continue // a part or temporary file
			}
			made++
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			check(t, err)
			check(t, whole(data))
			if data[0] != body(n)[0] {
				t.Fatalf("file %d holds another's bytes", n)
			}
			part := filepath.Join(dir, e.Name()+".part")
			if _, err := os.Stat(part); err == nil {
				check(t, Publish(part, filepath.Join(dir, e.Name())))
			}
			check(t, Create(filepath.Join(dir, e.Name()), body(n), 0o600))
			check(t, os.Remove(filepath.Join(dir, e.Name())))
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".part") {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
	if made == 0 {
		t.Error("the writer was never caught at work")
	}
	t.Log(fmt.Sprint(made, " files made"))
}
