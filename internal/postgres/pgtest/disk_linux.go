package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A Disk is a small disk of its own, which a test can fill.
type Disk struct {
	Folder string // where it is mounted; for Options.Folder
}

// NewDisk mounts an empty disk of that many bytes; a fresh cluster takes
// about 50 MB. Without the right to mount, the test is skipped. It is removed
// at the test's end.
func NewDisk(t testing.TB, size int64) *Disk {
	t.Helper()
	dir := Folder(t)
	options := fmt.Sprintf("size=%d,mode=700", size)
	if a := need(t).account; a != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", a.Uid, a.Gid)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &Disk{dir}
}

func (d *Disk) ballast() string { return filepath.Join(d.Folder, "ballast") }

// Fill takes all that is free on the disk except so many bytes.
func (d *Disk) Fill(t testing.TB, leave int64) {
	t.Helper()
	var s syscall.Statfs_t
	f, err := os.Create(d.ballast())
	if err == nil {
		defer f.Close()
		err = syscall.Statfs(d.Folder, &s)
	}
	if err == nil {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, max(1, int64(s.Bavail)*s.Bsize-leave))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Free gives back what Fill has taken.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
