package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inBoth runs a test with paths of the system and below an os.Root.
func inBoth(t *testing.T, test func(t *testing.T, tree Tree, dir, abs string)) {
	t.Run("os", func(t *testing.T) {
		dir := t.TempDir()
		test(t, Tree{}, dir, dir)
	})
	t.Run("root", func(t *testing.T) {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		check(t, err)
		defer root.Close()
		test(t, In(root), ".", dir)
	})
}

func TestWriteFile(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		path, real := filepath.Join(dir, "f"), filepath.Join(abs, "f")
		for _, data := range []string{"one", "", "three", strings.Repeat("x", 1<<20)} {
			check(t, tree.WriteFile(path, []byte(data), 0o600))
			holds(t, real, []byte(data))
		}
		fi, err := os.Stat(real)
		check(t, err)
		if fi.Mode() != 0o600 {
			t.Errorf("mode %v", fi.Mode())
		}
	})
}

// A link in the target's place is replaced; what it points at stays.
func TestWriteFileReplacesLink(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		outside := filepath.Join(t.TempDir(), "outside")
		check(t, os.WriteFile(outside, []byte("precious"), 0o600))
		check(t, os.Symlink(outside, filepath.Join(abs, "f")))
		check(t, tree.WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o600))
		holds(t, outside, []byte("precious"))
		holds(t, filepath.Join(abs, "f"), []byte("new"))
	})
}

func TestWriteFileFails(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		if err := tree.WriteFile(filepath.Join(dir, "missing/f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing folder: %v", err)
		}
		check(t, os.Mkdir(filepath.Join(abs, "d"), 0o700))
		if err := tree.WriteFile(filepath.Join(dir, "d"), nil, 0o600); err == nil {
			t.Error("a folder was replaced by a file")
		}
		only(t, abs, "d")
	})
}

func TestCreate(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		path, real := filepath.Join(dir, "f"), filepath.Join(abs, "f")
		for range 2 {
			check(t, tree.Create(path, []byte("data"), 0o600))
			holds(t, real, []byte("data"))
		}
		for _, other := range []string{"", "dat", "date", "data!"} {
			if err := tree.Create(path, []byte(other), 0o600); !errors.Is(err, ErrDifferent) {
				t.Errorf("Create with %q over data: %v", other, err)
			}
			holds(t, real, []byte("data"))
		}
	})
}

func TestPublish(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) { testPublish(t, tree, dir, abs) })
}

// noLinks is a file system without hard links, as FAT answers on Linux.
type noLinks struct{ osSystem }

func (noLinks) Link(old, new string) error {
	return &os.LinkError{Op: "link", Old: old, New: new, Err: errNoLink}
}

func TestPublishWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	testPublish(t, Tree{sys: noLinks{}}, dir, dir)
}

func testPublish(t *testing.T, tree Tree, dir, abs string) {
	tmp, final := filepath.Join(dir, "f.part"), filepath.Join(dir, "f")
	rtmp, rfinal := filepath.Join(abs, "f.part"), filepath.Join(abs, "f")
	for range 2 { // the second time the name is there with the same bytes
		check(t, os.WriteFile(rtmp, []byte("data"), 0o600))
		check(t, tree.Publish(tmp, final))
		holds(t, rfinal, []byte("data"))
	}
	check(t, os.WriteFile(rtmp, []byte("DATA"), 0o600))
	if err := tree.Publish(tmp, final); !errors.Is(err, ErrDifferent) {
		t.Errorf("Publish over other bytes: %v", err)
	}
	holds(t, rfinal, []byte("data"), "f.part")
	check(t, os.Remove(rtmp))

	// Died between link and removal: both names of one file.
	check(t, os.Link(rfinal, rtmp))
	check(t, tree.Publish(tmp, final))
	holds(t, rfinal, []byte("data"))

	if err := tree.Publish(tmp, final); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Publish of nothing: %v", err)
	}
}

// What is no regular file is never taken for the same bytes, never waited
// for, never replaced.
func TestIrregular(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		check(t, os.WriteFile(filepath.Join(abs, "same"), []byte("data"), 0o600))
		check(t, os.Symlink("same", filepath.Join(abs, "link")))
		check(t, os.Symlink("nowhere", filepath.Join(abs, "dangling")))
		check(t, os.Mkdir(filepath.Join(abs, "folder"), 0o700))
		check(t, mkfifo(filepath.Join(abs, "fifo")))
		for _, name := range []string{"link", "dangling", "folder", "fifo"} {
			path := filepath.Join(dir, name)
			if err := tree.Create(path, []byte("data"), 0o600); !errors.Is(err, ErrDifferent) {
				t.Errorf("Create over a %s: %v", name, err)
			}
			if f, err := tree.OpenRegular(path); err == nil {
				f.Close()
				t.Errorf("OpenRegular opened a %s", name)
			}
			if err := tree.Publish(path, filepath.Join(dir, "new")); err == nil {
				t.Errorf("Publish gave a %s a new name", name)
			}
		}
		only(t, abs, "same", "link", "dangling", "folder", "fifo")
	})
}

func TestMkdirAll(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		for _, d := range []string{"a/b/c", "a/b/c", "a", ".", "a/b/d/e"} {
			check(t, tree.MkdirAll(filepath.Join(dir, d), 0o700))
			if fi, err := os.Stat(filepath.Join(abs, d)); err != nil || !fi.IsDir() {
				t.Errorf("%s: %v", d, err)
			}
		}
		check(t, os.WriteFile(filepath.Join(abs, "file"), nil, 0o600))
		for _, d := range []string{"file", "file/x"} {
			if err := tree.MkdirAll(filepath.Join(dir, d), 0o700); err == nil {
				t.Errorf("%s was made over a file", d)
			}
		}
	})
}

func TestRemove(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		check(t, os.WriteFile(filepath.Join(abs, "f"), nil, 0o600))
		check(t, tree.Remove(filepath.Join(dir, "f")))
		check(t, tree.Remove(filepath.Join(dir, "f")))
		only(t, abs)
	})
}

func TestSweep(t *testing.T) {
	inBoth(t, func(t *testing.T, tree Tree, dir, abs string) {
		if n, err := tree.Sweep(filepath.Join(dir, "missing")); n != 0 || err != nil {
			t.Errorf("Sweep of nothing: %d, %v", n, err)
		}
		keep := []string{"f", ".f", ".f.tmp", "x.0123456789abcdef.tmp", ".f.0123456789abcdeg.tmp", ".0123456789abcdef.tmp"}
		for _, name := range append(keep, ".f.0123456789abcdef.tmp", filepath.Base(tempName("HEAD.json"))) {
			check(t, os.WriteFile(filepath.Join(abs, name), nil, 0o600))
		}
		want := 2
		if canPoint {
			check(t, os.Symlink("keep", filepath.Join(abs, filepath.Base(tempName("current")))))
			want++
		}
		n, err := tree.Sweep(dir)
		check(t, err)
		if n != want {
			t.Errorf("%d swept, want %d", n, want)
		}
		only(t, abs, keep...)
	})
}

// A Root's tree reaches nothing outside.
func TestRootConfines(t *testing.T) {
	outside := t.TempDir()
	check(t, os.WriteFile(filepath.Join(outside, "f"), []byte("precious"), 0o600))
	dir := filepath.Join(outside, "root")
	check(t, os.Mkdir(dir, 0o700))
	check(t, os.Symlink(outside, filepath.Join(dir, "out")))
	root, err := os.OpenRoot(dir)
	check(t, err)
	defer root.Close()
	for _, name := range []string{"../f", "out/f", filepath.Join(outside, "f")} {
		if err := In(root).WriteFile(name, []byte("x"), 0o600); err == nil {
			t.Errorf("WriteFile(%s) reached outside", name)
		}
		if err := In(root).Remove(name); err == nil {
			t.Errorf("Remove(%s) reached outside", name)
		}
		if _, err := In(root).OpenRegular(name); err == nil {
			t.Errorf("OpenRegular(%s) reached outside", name)
		}
	}
	holds(t, filepath.Join(outside, "f"), []byte("precious"), "root")
}

// OpenRegular must find a file that is replaced all the time.
func TestOpenRegularWhileReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	check(t, os.WriteFile(path, body(0), 0o600))
	stop := make(chan struct{})
	done := make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			tmp := path + ".tmp"
			if err := errors.Join(os.WriteFile(tmp, body(n), 0o600), os.Rename(tmp, path)); err != nil {
				done <- err
				return
			}
		}
	}()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		f, err := Tree{}.OpenRegular(path)
		if err != nil {
			t.Error(err)
			break
		}
		f.Close()
	}
	close(stop)
	check(t, <-done)
}
