package release_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"caisseauto/internal/durable"
	"caisseauto/internal/release"
)

// TestFullDisk: with a little more room at each run an update fails somewhere
// else, and what ran before still does, until there is enough.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name, option string
		step         int64
	}{{"of names", "nr_inodes", 1}, {"of bytes", "size", 4096}} {
		t.Run(c.name, func(t *testing.T) {
			w := victim(t)
			disk := w.path("till")
			was := tree(t, disk)
			check(t, os.Rename(disk, w.path("before")))
			check(t, os.Mkdir(disk, 0o755))
			if err := syscall.Mount("none", disk, "tmpfs", 0, "mode=755"); err != nil {
				t.Skipf("cannot mount a tmpfs: %v", err)
			}
			t.Cleanup(func() { check(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
			check(t, os.CopyFS(disk, os.DirFS(w.path("before"))))
			if got := tree(t, disk); !maps.Equal(got, was) {
				t.Fatal("not the same till")
			}
			w.fills(disk, c.option, c.step)
			w.runs("caisse", "1.1")
			w.tidy()
		})
	}
}

// fills runs updates on a disk of ever so little more room, until one succeeds.
func (w *world) fills(disk, option string, step int64) {
	w.t.Helper()
	var s syscall.Statfs_t
	check(w.t, syscall.Statfs(disk, &s))
	room := int64(s.Files - s.Ffree)
	if option == "size" {
		room = int64(s.Blocks-s.Bfree) * s.Bsize
	}
	failed := 0
	for ; ; room += step {
		check(w.t, syscall.Mount("none", disk, "", syscall.MS_REMOUNT, fmt.Sprintf("%s=%d", option, room)))
		before := w.landscape()
		r, err := w.till.Run(w.t.Context())
		if err == nil {
			if failed < 3 {
				w.t.Errorf("only %d runs failed", failed)
			}
			return
		}
		if !durable.IsNoSpace(err) || failed > 100 {
			w.t.Fatalf("%s: %v", outcomes(r), err)
		}
		failed++
		if at, err := w.till.Products[0].Current(); err != nil || at.Version == "1.1" {
			check(w.t, err)
			continue // switched to, and on trial until that can be noted
		}
		w.runs("caisse", "1.0")
		after := w.landscape()
		maps.DeleteFunc(after, func(name, _ string) bool { return strings.HasPrefix(name, "till/caisse/releases/1.1-r2-b3") })
		maps.DeleteFunc(before, func(name, _ string) bool { return strings.HasPrefix(name, "till/caisse/releases/1.1-r2-b3") })
		if !maps.Equal(before, after) {
			w.t.Errorf("%q, was %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
		}
	}
}

// TestProbeFillsDisk: where nothing can be noted any more, what does not work is
// left all the same.
func TestProbeFillsDisk(t *testing.T) {
	w := newWorld(t)
	disk := w.path("till")
	check(t, os.Mkdir(disk, 0o755))
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	w.publish(w.request("1.0", works))
	w.run()
	w.publish(w.request("1.1", "#!/bin/sh\ncat /dev/zero >"+disk+"/full 2>/dev/null\nexit 3\n"))
	if r, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) || !durable.IsNoSpace(err) || outcomes(r) != "caisse 1.1 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.0")
	w.tidy()
}
