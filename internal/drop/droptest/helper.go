package droptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"caisseauto/internal/drop"
)

// A suite is a Fixture in use.
type suite struct{ Fixture }

// patience is how long one operation on one small file may take anywhere.
const patience = 20 * time.Second

// Names of one batch's files in Dir.
const (
	archive  = Dir + "/0000000001.tar.zst"
	manifest = Dir + "/0000000001.manifest.json"
	head     = Dir + "/HEAD.json"
)

var errFeed = errors.New("the feed broke")

// raw returns the place on the disk of a path of the drop.
func (s *suite) raw(name string) string { return filepath.Join(s.Raw, filepath.FromSlash(name)) }

// place writes a file behind the drop's back.
func (s *suite) place(t *testing.T, name string, data []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(s.raw(name)), 0o777))
	check(t, os.WriteFile(s.raw(name), data, 0o666))
}

// reopen gives a second connection.
func (s *suite) reopen(t *testing.T) drop.Drop {
	t.Helper()
	d := s.Reopen(t)
	t.Cleanup(func() { d.Close() })
	return d
}

// put puts data, which must succeed.
func (s *suite) put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := s.Drop.Put(t.Context(), name, int64(len(data)), feed(data)); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

// holds checks on the disk what the file holds.
func (s *suite) holds(t *testing.T, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(s.raw(name))
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds %d bytes that are not the %d expected", name, len(got), len(want))
	}
}

// absent checks on the disk that there is nothing under the name.
func (s *suite) absent(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(s.raw(name)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is there (%v)", name, err)
	}
}

// soon fails the test when f takes longer than patience.
func soon(t *testing.T, what string, f func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: hung until its time limit", what)
		}
		return err
	case <-time.After(patience + 5*time.Second):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", what, err, target)
	}
}

// random returns n bytes that do not compress and differ with seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	r.Read(b)
	return b
}

// feed gives data.
func feed(data []byte) drop.Feed { return feedUntil(data, len(data), nil) }

// feedUntil gives the bytes of data up to stop and then fails with err. It
// writes in pieces, as a network would.
func feedUntil(data []byte, stop int, err error) drop.Feed {
	return func(ctx context.Context, offset int64, w io.Writer) error {
		for at := int(offset); at < stop; {
			n := min(40_000, stop-at)
			if _, err := w.Write(data[at : at+n]); err != nil {
				return err
			}
			at += n
		}
		return err
	}
}

// names returns the names of a listing.
func names(l drop.Listing) []string {
	var all []string
	for _, f := range l.Files {
		all = append(all, f.Name)
	}
	return all
}

// files reads a folder of a tree on disk: all regular files by name, without
// the remains of interrupted work.
func files(t *testing.T, root, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if drop.ValidPath(path.Join(dir, e.Name())) {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(dir), e.Name()))
			check(t, err)
			all[e.Name()] = string(b)
		}
	}
	return all
}
