package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// needLinks skips a test where Point is not available.
func needLinks(t *testing.T) {
	t.Helper()
	if !canPoint {
		t.Skip("no symbolic links here")
	}
}

func pointsTo(t *testing.T, link, want string) {
	t.Helper()
	if got, err := os.Readlink(link); err != nil || got != want {
		t.Errorf("%s points to %q, want %q (%v)", link, got, want, err)
	}
}

func TestPoint(t *testing.T) {
	needLinks(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	check(t, os.Mkdir(filepath.Join(dir, "two"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "three"), nil, 0o600))
	for _, target := range []string{"nowhere", "two", "two", "three", "current", "../x/", dir} {
		check(t, Point(link, target))
		pointsTo(t, link, target)
		only(t, dir, "current", "two", "three")
	}
	check(t, Point(link, "two"))
	check(t, Point(link+"/", "three")) // the link, not what it points to
	pointsTo(t, link, "three")
	if err := Point(link, ""); err == nil {
		t.Error("a link to nothing was made")
	}
	if err := Point(filepath.Join(dir, "missing/current"), "two"); err == nil {
		t.Error("a link was made in no folder")
	}
	only(t, dir, "current", "two", "three")
	pointsTo(t, link, "three")
	for range 2 { // the second time there is none
		check(t, Unpoint(link+"/"))
		only(t, dir, "two", "three")
	}
}

// TestPointRefuses: what is no link stays.
func TestPointRefuses(t *testing.T) {
	needLinks(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.WriteFile(in("file"), []byte("data"), 0o600))
	check(t, os.Mkdir(in("empty"), 0o700))
	check(t, mkfifo(in("fifo")))
	for _, name := range []string{"file", "empty", "fifo"} {
		if err := Point(in(name), "file"); !errors.Is(err, ErrDifferent) {
			t.Errorf("Point over %s: %v", name, err)
		}
		if err := Unpoint(in(name)); !errors.Is(err, ErrDifferent) {
			t.Errorf("Unpoint of %s: %v", name, err)
		}
	}
	holds(t, in("file"), []byte("data"), "empty", "fifo")
}

func TestPointUnsupported(t *testing.T) {
	if canPoint {
		t.Skip("there are symbolic links here")
	}
	if err := Point(filepath.Join(t.TempDir(), "current"), "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
