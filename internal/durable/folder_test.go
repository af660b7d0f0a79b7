package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// makeTree makes a folder with files, an empty folder, and links that must not
// be followed: following "round" has no end.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(dir, "b/c/empty"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "f"), body(1), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "b/c/f"), body(2), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "b/c/nothing"), nil, 0o400))
	if canPoint {
		check(t, os.Symlink(".", filepath.Join(dir, "b/round")))
		check(t, os.Symlink("nowhere", filepath.Join(dir, "b/dangling")))
		check(t, mkfifo(filepath.Join(dir, "fifo")))
	}
}

func checkTree(t *testing.T, dir string) {
	t.Helper()
	for name, want := range map[string][]byte{"f": body(1), "b/c/f": body(2), "b/c/nothing": nil} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s holds %d bytes, want %d (%v)", name, len(got), len(want), err)
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, "b/c/empty")); err != nil || !fi.IsDir() {
		t.Errorf("the empty folder: %v", err)
	}
	if canPoint {
		pointsTo(t, filepath.Join(dir, "b/round"), ".")
		pointsTo(t, filepath.Join(dir, "b/dangling"), "nowhere")
	}
}

// TestSyncTree: what cannot be seen without a power cut, TestPowerCut sees.
func TestSyncTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "release")
	makeTree(t, dir)
	check(t, SyncTree(dir))
	check(t, syncEach(dir))
	checkTree(t, dir)
	for _, path := range []string{"f", "missing", "b/round"} {
		if err := SyncTree(filepath.Join(dir, path)); err == nil && (canPoint || path != "b/round") {
			t.Errorf("%s was synced as a folder", path)
		}
	}
}

// TestRenameNew does it both ways: as Linux can, and by looking first.
func TestRenameNew(t *testing.T) {
	for name, try := range map[string]func(from, to string) error{"RenameNew": RenameNew, "checked": renameChecked} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			makeTree(t, in("tmp/new"))
			check(t, os.Mkdir(in("empty"), 0o700))
			check(t, os.WriteFile(in("file"), nil, 0o600))
			taken := []string{"empty", "file", "tmp/new"}
			if canPoint {
				check(t, os.Symlink("nowhere", in("link")))
				taken = append(taken, "link")
			}
			for _, from := range []string{"tmp/new", "tmp/new/f"} {
				for _, to := range taken {
					if err := try(in(from), in(to)); !errors.Is(err, fs.ErrExist) {
						t.Errorf("%s over %s: %v", from, to, err)
					}
				}
			}
			checkTree(t, in("tmp/new"))
			if err := try(in("missing"), in("final")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
				t.Errorf("nothing to rename: %v", err)
			}
			if err := try(in("tmp/new"), in("missing/final")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("into no folder: %v", err)
			}
			if err := try(in("tmp/new"), in("tmp/new/b/final")); err == nil || errors.Is(err, fs.ErrExist) {
				t.Errorf("into itself: %v", err)
			}
			check(t, try(in("tmp/new"), in("final")))
			checkTree(t, in("final"))
			check(t, try(in("file"), in("tmp/file")))
			only(t, in("tmp"), "file")
		})
	}
	// With a slash at the end, as a completing shell gives it.
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	check(t, RenameNew(filepath.Join(dir, "a")+"/", filepath.Join(dir, "b")+"/"))
	only(t, dir, "b")
}
