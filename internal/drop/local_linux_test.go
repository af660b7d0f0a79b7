package drop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"caisseauto/internal/drop"
)

// tmpfs is a drop on a small disk of its own, or skips the test.
func tmpfs(t *testing.T) side {
	t.Helper()
	root := t.TempDir()
	if err := syscall.Mount("none", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) })
	l, err := drop.OpenLocal(root)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return side{l, root}
}

// A full disk is ErrNoSpace, publishes nothing, and when there is room again
// the work goes on.
func TestLocalFullDisk(t *testing.T) {
	s := tmpfs(t)
	check(t, s.Replace(t.Context(), dir+"/HEAD.json", []byte("old")))
	data := bytes.Repeat([]byte("x"), 2<<20)
	if err := s.Put(t.Context(), archive, int64(len(data)), give(data)); !errors.Is(err, drop.ErrNoSpace) {
		t.Errorf("Put: %v", err)
	}
	if err := s.Replace(t.Context(), dir+"/HEAD.json", data[:16<<10]); !errors.Is(err, drop.ErrNoSpace) {
		t.Errorf("Replace: %v", err)
	}
	if got := s.shows(t) + s.read(t, "HEAD.json"); got != "Hold" {
		t.Errorf("the folder shows %q", got)
	}
	check(t, syscall.Mount("", s.root, "", syscall.MS_REMOUNT, "size=8m"))
	check(t, s.Put(t.Context(), archive, int64(len(data)), give(data)))
	if s.read(t, "0000000001.tar.zst") != string(data) {
		t.Error("what was finished later is not what was given")
	}
}

func TestLocalReadOnlyDisk(t *testing.T) {
	s := tmpfs(t)
	check(t, s.Put(t.Context(), archive, 3, give([]byte("abc"))))
	check(t, syscall.Mount("", s.root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for what, err := range map[string]error{
		"Put":     s.Put(t.Context(), dir+"/0000000002.tar.zst", 3, give([]byte("abc"))),
		"Replace": s.Replace(t.Context(), dir+"/HEAD.json", []byte("x")),
		"Remove":  s.Remove(t.Context(), archive),
	} {
		if !errors.Is(err, drop.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, s.Get(t.Context(), archive, 0, io.Discard))
}

// The process has no right to the file or folder.
func TestLocalDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("runs as root, whom no permission stops; TestLocalReadOnlyDisk shows the same error")
	}
	s := newSide(t)
	s.write(t, "0000000001.tar.zst", "abc")
	check(t, os.Chmod(filepath.Join(s.root, archive), 0))
	if err := s.Get(context.Background(), archive, 0, io.Discard); !errors.Is(err, drop.ErrDenied) {
		t.Errorf("Get: %v", err)
	}
	folder := filepath.Join(s.root, dir)
	check(t, os.Chmod(folder, 0o500))
	defer os.Chmod(folder, 0o700)
	if err := s.Put(t.Context(), dir+"/0000000002.tar.zst", 1, give([]byte("x"))); !errors.Is(err, drop.ErrDenied) {
		t.Errorf("Put: %v", err)
	}
}
