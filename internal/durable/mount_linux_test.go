package durable

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// mount mounts a file system on a new folder, or skips the test where that is
// not possible.
func mount(t *testing.T, source, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount(source, dir, kind, 0, options); err != nil {
		t.Skipf("cannot mount a %s: %v", kind, err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestFullDisk: what does not fit leaves the old file and no remains, and the
// error can be recognised.
func TestFullDisk(t *testing.T) {
	dir := mount(t, "none", "tmpfs", "size=256k")
	f := filepath.Join(dir, "f")
	check(t, WriteFile(f, []byte("old"), 0o600))
	big := make([]byte, 1<<20)
	if err := WriteFile(f, big, 0o600); !IsNoSpace(err) {
		t.Errorf("WriteFile: %v", err)
	}
	holds(t, f, []byte("old"))
	if err := Create(filepath.Join(dir, "g"), big, 0o600); !IsNoSpace(err) {
		t.Errorf("Create: %v", err)
	}
	holds(t, f, []byte("old"))
	if err := MkdirAll(filepath.Join(mount(t, "none", "tmpfs", "nr_inodes=2"), "a/b"), 0o700); !IsNoSpace(err) {
		t.Errorf("MkdirAll: %v", err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := mount(t, "none", "tmpfs", "size=256k")
	f := filepath.Join(dir, "f")
	check(t, WriteFile(f, []byte("old"), 0o600))
	check(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if err := WriteFile(f, []byte("new"), 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("WriteFile: %v", err)
	}
	check(t, Create(f, []byte("old"), 0o600)) // done already: nothing to write
	holds(t, f, []byte("old"))
}

// TestFAT publishes on a real file system without hard links.
func TestFAT(t *testing.T) {
	dir := mount(t, image(t, "mkfs.vfat"), "vfat", "")
	testPublish(t, Tree{}, dir, dir)
}

// TestNoRenameFlags: what a file system answers that cannot rename so, here
// drawn out of one that can by a folder that is to go below itself.
func TestNoRenameFlags(t *testing.T) {
	dir := t.TempDir()
	if err := renameNoReplace(dir, filepath.Join(dir, "x")); !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
}

// image makes a file system in a file and a loop device for it.
func image(t *testing.T, mkfs string, args ...string) (device string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	check(t, os.WriteFile(file, nil, 0o600))
	check(t, os.Truncate(file, 16<<20))
	if out, err := exec.Command(mkfs, append(args, file)...).CombinedOutput(); err != nil {
		t.Skipf("cannot make a file system: %v %s", err, out)
	}
	return loop(t, file)
}

// loop makes a loop device for a file.
func loop(t *testing.T, file string) (device string) {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", file).Output()
	if err != nil {
		t.Skipf("cannot make a loop device: %v", err)
	}
	device = string(out[:len(out)-1])
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	return device
}

// TestPowerCut takes a copy of the disk at the moment a function has
// returned, mounts the copy, and looks: what was reported done must be on it.
// Nothing but what was synced is, for the file system writes the rest to its
// disk seconds later.
func TestPowerCut(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	check(t, os.WriteFile(disk, nil, 0o600))
	check(t, os.Truncate(disk, 16<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", disk).CombinedOutput(); err != nil {
		t.Skipf("cannot make a file system: %v %s", err, out)
	}
	dir := mount(t, loop(t, disk), "ext4", "commit=300")
	cut := func(what string, look func(after string)) {
		t.Helper()
		data, err := os.ReadFile(disk)
		check(t, err)
		copied := filepath.Join(t.TempDir(), "copy")
		check(t, os.WriteFile(copied, data, 0o600))
		t.Run(what, func(t *testing.T) { look(mount(t, loop(t, copied), "ext4", "")) })
	}
	f := filepath.Join(dir, "f")
	for n := range 3 {
		check(t, WriteFile(f, body(n), 0o600))
		cut(fmt.Sprint("WriteFile", n), func(after string) { holds(t, filepath.Join(after, "f"), body(n), "lost+found") })
	}
	check(t, Create(filepath.Join(dir, "g"), body(4), 0o600))
	cut("Create", func(after string) { mustHold(t, filepath.Join(after, "g"), body(4)) })
	check(t, MkdirAll(filepath.Join(dir, "a/b/c"), 0o700))
	cut("MkdirAll", func(after string) {
		if _, err := os.Stat(filepath.Join(after, "a/b/c")); err != nil {
			t.Error(err)
		}
	})
	check(t, writeSynced(filepath.Join(dir, "a/b/c/h.part"), body(5)))
	check(t, Publish(filepath.Join(dir, "a/b/c/h.part"), filepath.Join(dir, "a/b/c/h")))
	cut("Publish", func(after string) { mustHold(t, filepath.Join(after, "a/b/c/h"), body(5)) })
	testTreePowerCut(t, dir, cut)
	check(t, Tree{}.Remove(f))
	cut("Remove", func(after string) {
		if _, err := os.Stat(filepath.Join(after, "f")); err == nil {
			t.Error("the removed file is back")
		}
	})
}

// testTreePowerCut puts releases in place, one synced in each of the two ways,
// one out of another folder and one beside its temporary name.
func testTreePowerCut(t *testing.T, dir string, cut func(what string, look func(after string))) {
	t.Helper()
	link := filepath.Join(dir, "current")
	for _, tc := range []struct {
		name, tmp string
		sync      func(string) error
	}{
		{"system", "a/b/system", SyncTree},
		{"each", "each.new", syncEach},
	} {
		tmp, name := filepath.Join(dir, tc.tmp), tc.name
		makeTree(t, tmp)
		check(t, tc.sync(tmp))
		cut("SyncTree by "+name, func(after string) { checkTree(t, filepath.Join(after, tc.tmp)) })
		check(t, RenameNew(tmp, filepath.Join(dir, name)))
		cut("RenameNew of "+name, func(after string) {
			checkTree(t, filepath.Join(after, name))
			if _, err := os.Stat(filepath.Join(after, tc.tmp)); err == nil {
				t.Error("the old name is back")
			}
		})
		target := name + "/./" + targets[1]
		check(t, Point(link, target))
		cut("Point to "+name, func(after string) { pointsTo(t, filepath.Join(after, "current"), target) })
	}
	// Without a file, whose sync would bring the names with it on ext4.
	check(t, os.MkdirAll(filepath.Join(dir, "bare/d"), 0o700))
	check(t, syncEach(filepath.Join(dir, "bare")))
	cut("SyncTree of folders", func(after string) {
		if _, err := os.Stat(filepath.Join(after, "bare/d")); err != nil {
			t.Error(err)
		}
	})
	check(t, Unpoint(link))
	cut("Unpoint", func(after string) {
		if _, err := os.Lstat(filepath.Join(after, "current")); err == nil {
			t.Error("the removed link is back")
		}
	})
}

func mustHold(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	check(t, err)
	if string(got) != string(want) {
		t.Fatalf("%s holds %d bytes, not the %d written", path, len(got), len(want))
	}
}
