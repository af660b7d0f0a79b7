package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/inspect"
	"caisseauto/manifest"
)

// goodAlone are the attacks after which batch 2, looked at alone, is what its
// writer signed.
var goodAlone = map[string]bool{
	"manifest served as a head": true, "previous is another batch": true, "a signed batch of an older epoch": true,
	"tail cut": true, "the last manifest cut": true, "gap": true, "freeze: the head expired": true, "fast-forward: a head far ahead": true,
	"fork: the head names another batch of our number": true, "head changed": true, "another stream's head": true, "a head of 17 KiB": true,
	"a patch of a row that is not there": true, "a row that breaks a unique index": true, "a table that the till does not have": true,
}

// TestInspectAttacks: each attack of attacks_test.go ends in a verdict, with the
// list of trusted keys and without one, and never in a row that was not signed.
func TestInspectAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a.do(t, w)
			code, stdout, stderr := w.run("inspect", "--signers", w.path("till/allowed_signers"), "--rows", w.down("0000000002"))
			want := exitRefused
			if goodAlone[a.name] {
				want = exitDone
			}
			if code != want || want == exitRefused && stdout != "" {
				t.Errorf("inspect: exit code %d, want %d\n%s%s", code, want, stdout, stderr)
			}
			if code, stdout, stderr = w.run("find", "article", "A1", w.path("drop"), "--signers", w.path("till/allowed_signers")); code != exitDone && code != exitRefused {
				t.Errorf("find: exit code %d\n%s%s", code, stdout, stderr)
			}
			if want == exitRefused && (code != exitRefused || !strings.Contains(stdout, "NOT SEARCHED ACME/down 2")) {
				t.Errorf("find does not say that batch 2 was not searched: %d\n%s%s", code, stdout, stderr)
			}
			for _, args := range [][]string{{"inspect", "--signers", "none", w.down("0000000002")}, {"find", "--signers", "none", "article", "A1", w.path("drop")}, {"inspect", "--signers", "none", w.path("drop")}} {
				if code, stdout, stderr := w.run(args...); code != exitDone && code != exitRefused {
					t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
				}
			}
		})
	}
}

// TestInspectUnreadable: a folder or file that this account may not read.
func TestInspectUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	w := newWorld(t)
	if err := os.Chmod(w.down(name(2, manifest.ManifestExt)), 0); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := w.run("inspect", "--signers", "none", w.down("0000000002")); code != exitDenied {
		t.Errorf("exit code %d, want 77: %s", code, stderr)
	}
	if code, stdout, _ := w.run("find", "--signers", "none", "article", "A1", w.path("drop")); code != exitRefused || !strings.Contains(stdout, "permission denied") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// A fakeDrop gives one file, and hangs in the middle of it.
type fakeDrop struct {
	drop.Drop
	size int64
	get  func(ctx context.Context, w io.Writer) error
}

func (f fakeDrop) Stat(context.Context, string) (int64, error) { return f.size, nil }
func (f fakeDrop) Get(ctx context.Context, _ string, _ int64, w io.Writer) error {
	return f.get(ctx, w)
}
func (f fakeDrop) Close() error { return nil }

// farFuture keeps a connection of a test from being opened anew.
var farFuture = time.Now().Add(time.Hour)

// TestFetchLeavesNothing: whatever ends a fetch, an interrupt too, nothing of it
// stays on the disk, and an archive of another size is not fetched at all.
func TestFetchLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	named := func(t *testing.T) {
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*/*"); len(left) > 0 && runtime.GOOS != "windows" {
			t.Errorf("a kill would leave %q", left)
		}
	}
	for _, c := range []struct {
		name string
		drop fakeDrop
		is   error
	}{
		{"interrupted", fakeDrop{size: 100, get: func(ctx context.Context, w io.Writer) error {
			_, _ = w.Write(make([]byte, 50))
			named(t)
			cancel()
			return ctx.Err()
		}}, context.Canceled},
		{"the line is gone", fakeDrop{size: 100, get: func(context.Context, io.Writer) error { return drop.ErrUnavailable }}, inspect.ErrLost},
		{"it has grown", fakeDrop{size: 100, get: func(_ context.Context, w io.Writer) error { _, err := w.Write(make([]byte, 101)); return err }}, drop.ErrTooLarge},
		{"5 GiB", fakeDrop{size: 5 << 30, get: func(context.Context, io.Writer) error { t.Error("it was fetched"); return nil }}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			a := &app{stdout: io.Discard, stderr: io.Discard}
			folder, err := os.MkdirTemp("", "x")
			if err != nil {
				t.Fatal(err)
			}
			n := &connection{app: a, config: &config.Common{}, folder: folder, drop: c.drop, opened: farFuture}
			l := &looking{app: a, lines: []*connection{n}}
			f, err := farFiles{n, "ACME/down"}.Open(ctx, "0000000001.tar.zst", 100)
			if err == nil || f != nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v, want %v", err, c.is)
			}
			if left, _ := filepath.Glob(folder + "/*"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			l.close()
			if left, _ := filepath.Glob(tmp + "/*"); len(left) > 0 {
				t.Errorf("left at the end: %q", left)
			}
		})
	}
}

// TestInspectPaths: every way to name what to look at, and what cannot be.
func TestInspectPaths(t *testing.T) {
	w := newWorld(t)
	copied := filepath.Join(t.TempDir(), "copy") // a folder whose name says nothing
	if err := os.CopyFS(copied, os.DirFS(w.down(""))); err != nil {
		t.Fatal(err)
	}
	signers := w.path("till/allowed_signers")
	for _, c := range []struct {
		args []string
		code int
		out  string // on either
	}{
		{[]string{w.down("0000000002")}, 0, "signature good, key listed in"},
		{[]string{w.down("0000000002.tar.zst")}, 0, "1 patch"},
		{[]string{w.down("0000000002.manifest.json.sig")}, 0, "1 patch"},
		{[]string{filepath.Join(copied, "0000000002")}, 0, "ACME/down 2"},
		{[]string{copied}, 0, "taken from its first manifest"},
		{[]string{w.path("drop/ACME")}, 0, "4 batches"},
		{[]string{w.path("drop"), "--limit", "1"}, 0, "the newest 1 of 4 batches"},
		{[]string{w.path("drop"), "--json"}, 0, `"kind": "delta"`},
		{[]string{w.down("0000000002"), "--json"}, 0, `"contents": "good"`},
		{[]string{w.down("0000000002"), "--key", "A1", "--json"}, 0, `{"table":"article","op":"patch","row":{"code":"A1","price":2}}`},
		{[]string{w.down("0000000002"), "--key", "NONE"}, 0, "no row"},
		{[]string{w.down("0000000001"), "--rows", "--limit", "2"}, 0, "stopped after 2 rows"},
		{[]string{w.down("0000000009")}, exitUsage, "no batch 9"},
		{[]string{w.down("0000000002"), "--table", "nope"}, exitUsage, "article"},
		{[]string{w.down("0000000002"), "--key", "[1"}, exitUsage, "JSON"},
		{[]string{w.path("drop"), "--rows"}, exitUsage, "one batch"},
		{[]string{w.path("till")}, exitUsage, "no batches"},
		{[]string{w.path("nowhere")}, exitUsage, "nowhere"},
		{[]string{w.path("till/till.db")}, exitUsage, "no file of a batch"},
		{[]string{"/dev/null"}, exitUsage, "/dev/null"},
		{[]string{"sftp://x@127.0.0.1:1/"}, exitUsage, "--host-key"},
		{[]string{"sftp://x:hunter2@127.0.0.1:1/"}, exitUsage, "password"},
	} {
		code, stdout, stderr := w.run(append([]string{"inspect", "--signers", signers}, c.args...)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.out) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%v: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.out, stdout, stderr)
		}
	}
	if _, stdout, stderr := w.run("inspect", "--signers", "none", w.down("0000000002")); !strings.Contains(stdout, "SIGNATURE NOT CHECKED") || !strings.Contains(stderr, "signature not checked: no list of trusted keys") {
		t.Errorf("it does not say that nobody checked:\n%s%s", stdout, stderr)
	}
	_, stdout, _ := w.run("find", "article", "A1", w.path("drop"), "--signers", signers)
	if got := fmt.Sprint(strings.Count(stdout, "\n"), strings.Contains(stdout, `upsert  code="A1"`), strings.Contains(stdout, `patch   code="A1" price=2`)); got != "2 true true" {
		t.Errorf("%s:\n%s", got, stdout)
	}
}
