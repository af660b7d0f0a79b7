package droptest

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tills compares what the drop lists with what is wanted. One that is jailed
// sees its own till's folder and no other.
func (s *suite) tills(t *testing.T, want ...string) {
	t.Helper()
	if s.Jailed {
		own := path.Base(Dir)
		all := want
		want = nil
		for _, n := range all {
			if n == own {
				want = []string{own}
			}
		}
	}
	got, err := s.Drop.Tills(t.Context(), "ACME")
	check(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tills: %s", diff)
	}
}

// testTills lists none, and then those that there are, in order.
func testTills(t *testing.T, s *suite) {
	if !s.Jailed { // whose folder its server makes
		s.tills(t)
	}
	for _, n := range []string{"9", "017", "A_b-1", "002", "a", "10", strings.Repeat("x", 32)} {
		check(t, os.MkdirAll(s.raw("ACME/up/"+n), 0o777))
	}
	s.place(t, "OTHER/up/300/0000000001.tar.zst", []byte("x"))
	s.place(t, "ACME/up/017/0000000001.tar.zst", []byte("x"))
	s.tills(t, "002", "017", "10", "9", "A_b-1", "a", strings.Repeat("x", 32))
}

// testTillsHostileNames: what a stranger put there is no till.
func testTillsHostileNames(t *testing.T, s *suite) {
	check(t, os.MkdirAll(s.raw(Dir), 0o777))
	for _, name := range append(hostile, strings.Repeat("A", 33), "0 17", "017.part", "0\u0661", "017\n") {
		// Some file systems refuse some of the names, and what some of them
		// make of a name is a till's: "con" is one.
		if path.Base(name) == name && !plain(name) {
			_ = os.Mkdir(filepath.Join(s.raw("ACME/up"), name), 0o777)
		}
	}
	check(t, os.WriteFile(s.raw("ACME/up/018"), []byte("a file"), 0o666))
	check(t, os.Symlink("017", s.raw("ACME/up/019")))
	check(t, os.Symlink(t.TempDir(), s.raw("ACME/up/020")))
	check(t, os.Symlink("nowhere", s.raw("ACME/up/021")))
	check(t, mkfifo(s.raw("ACME/up/022")))
	s.tills(t, "017")
}

// plain reports whether name is made of what a till's number may hold. It is
// written out here, so that the suite does not ask what it tests.
func plain(name string) bool {
	return len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// testTillsFolderIsNoFolder puts other things where the folder of all tills
// should be. An error or nothing, but no waiting, and nobody else's tills.
func testTillsFolderIsNoFolder(t *testing.T, s *suite) {
	check(t, os.MkdirAll(s.raw("OTHER/up/300"), 0o777))
	for name, make := range map[string]func(p string) error{
		"a file": func(p string) error { return os.WriteFile(p, []byte("x"), 0o666) },
		"a FIFO": mkfifo,
	} {
		check(t, os.RemoveAll(s.raw("ACME/up")))
		check(t, os.MkdirAll(s.raw("ACME"), 0o777))
		check(t, make(s.raw("ACME/up")))
		var got []string
		err := soon(t, "Tills where up is "+name, func(ctx context.Context) (err error) {
			got, err = s.Drop.Tills(ctx, "ACME")
			return err
		})
		if len(got) > 0 {
			t.Errorf("up is %s: tills %q, %v", name, got, err)
		}
	}
}
