package droptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"

	"github.com/google/go-cmp/cmp"
)

// hostile are names that a stranger can put beside the stream's files. Not one
// of them may be listed.
var hostile = []string{
	"readme.txt", ".hidden", "..x", "...", "-rf", "--help", "con", "NUL", "aux.json", "C:x", `..\up`, `a\b`, "a b",
	"0000000001.tar.zst.part", "0000000001.tar.zst.filepart", "0000000001.tar.zst.tmp", "0000000001.tar.zst.partial",
	".0000000001.tar.zst.swp", ".HEAD.json.0123456789abcdef.tmp", "HEAD.json.part", "head.json", "Head.json.sig",
	"0000000001.TAR.ZST", "0000000001.Manifest.json", "0000000001.tar.zst ", " 0000000001.tar.zst", "0000000001.tar.zst.",
	"0000000001.tar.zst\n", "0000000001.tar.zst\x1b[2J", "\u202e0000000001.tar.zst", "0000000001.tar.z\u017ft",
	"０000000001.tar.zst", "\xff\xfe.tar.zst", "0000000001.manifest.json\xff", "e\u0301", "\u00e9",
	"0000000000.tar.zst", "0000000000.manifest.json", "000000001.tar.zst", "00000000001.tar.zst", "-000000001.tar.zst",
	"+000000001.tar.zst", "0x00000001.tar.zst", "0000000001.tar", "0000000001.zst", "0000000001.manifest.json.sig.sig",
	"0000000001.manifest", "0000000001.json", "017.json", "HEAD.json.sig.sig", "HEAD", strings.Repeat("0", 255),
	strings.Repeat("x", 255),
}

func testListHostileNames(t *testing.T, s *suite) {
	wanted := []drop.File{
		{Name: "0000000002.manifest.json", Size: 2},
		{Name: "0000000002.manifest.json.sig", Size: 3},
		{Name: "0000000002.tar.zst", Size: 1},
		{Name: "9999999999.tar.zst", Size: 0},
		{Name: "HEAD.json", Size: 4},
		{Name: "HEAD.json.sig", Size: 5},
	}
	for _, f := range wanted {
		s.place(t, Dir+"/"+f.Name, make([]byte, f.Size))
	}
	strangers := 0
	for _, name := range hostile {
		// Some file systems refuse some of the names, or fold two into one.
		if _, err := os.Lstat(s.raw(Dir + "/" + name)); err == nil {
			continue
		}
		if os.WriteFile(filepath.Join(s.raw(Dir), name), []byte("stranger"), 0o666) == nil {
			strangers++
		}
	}
	list, err := s.Drop.List(t.Context(), Dir)
	check(t, err)
	if diff := cmp.Diff(wanted, list.Files); diff != "" {
		t.Error(diff)
	}
	if list.Ignored != strangers {
		t.Errorf("counted %d strangers, there are %d", list.Ignored, strangers)
	}
	entries, err := os.ReadDir(s.raw(Dir))
	check(t, err)
	if len(entries) != strangers+len(wanted) {
		t.Errorf("listing changed the folder: %d entries, before %d", len(entries), strangers+len(wanted))
	}
}

// testListMany lists what two years of batches every five minutes leave when
// nothing is ever removed, in another order than they were made.
func testListMany(t *testing.T, s *suite) {
	const n = 10_000
	check(t, os.MkdirAll(s.raw(Dir), 0o777))
	for i := range n {
		k := (i*7919)%n + 1
		check(t, os.WriteFile(s.raw(fmt.Sprintf("%s/%010d.tar.zst", Dir, k)), make([]byte, k%3), 0o666))
	}
	list, err := s.Drop.List(t.Context(), Dir)
	check(t, err)
	if len(list.Files) != n {
		t.Fatalf("%d files listed of %d", len(list.Files), n)
	}
	for i, f := range list.Files {
		if want := fmt.Sprintf("%010d.tar.zst", i+1); f.Name != want || f.Size != int64((i+1)%3) {
			t.Fatalf("entry %d is %+v, want %s with %d bytes", i, f, want, (i+1)%3)
		}
	}
}

// testListTooMany: a listing has an end, also when nothing in it is ours.
func testListTooMany(t *testing.T, s *suite) {
	if testing.Short() {
		t.Skip("makes 100,001 files")
	}
	s.place(t, Dir+"/junk", nil)
	first := s.raw(Dir + "/junk")
	for i := range drop.MaxEntries {
		// Names of one file: a fifth of the time that so many files take.
		// A new file now and then, for ext4 ends at 65,000 links.
		name := filepath.Join(s.raw(Dir), fmt.Sprint("junk", i))
		if i%50_000 == 0 {
			check(t, os.WriteFile(name, nil, 0o666))
			first = name
		} else {
			check(t, os.Link(first, name))
		}
	}
	_, err := s.Drop.List(t.Context(), Dir)
	want(t, "List of 100,001 entries", err, drop.ErrTooMany)
}

// testRefusedNames gives every method names that are no paths of a drop.
func testRefusedNames(t *testing.T, s *suite) {
	s.place(t, "ACME/keep/0000000001.tar.zst", []byte("keep"))
	names := []string{
		"", ".", "..", "/", "x", "0000000001.tar.zst", "ACME/0000000001.tar.zst", "down/0000000001.tar.zst",
		"../0000000001.tar.zst", "ACME/../0000000001.tar.zst", "ACME/down/../0000000001.tar.zst",
		"ACME/up/../0000000001.tar.zst", "ACME/up/017/../017/0000000001.tar.zst", "ACME/up/017/./0000000001.tar.zst",
		"/ACME/up/017/0000000001.tar.zst", "ACME//up/017/0000000001.tar.zst", "ACME/up/017//0000000001.tar.zst",
		"ACME/up/017/0000000001.tar.zst/", "ACME/up/017/", "ACME/up/017", "ACME/up/0000000001.tar.zst",
		"ACME/keep/0000000001.tar.zst", "ACME/up/017/x/0000000001.tar.zst", `ACME\up\017\0000000001.tar.zst`,
		"ACME/up/017/0000000001.tar.zst\x00", "ACME/up/017/0000000001.tar.zst.part", "ACME/up/017/0000000000.tar.zst",
		"ACME/up/0\u202e17/0000000001.tar.zst", "AC ME/up/017/0000000001.tar.zst", "ACME/up/017/readme.txt",
		strings.Repeat("A", 33) + "/down/0000000001.tar.zst", "ACME/receipts/HEAD.json.part", "ACME/trust/0000000001.tar.zst",
	}
	for _, name := range names {
		_, err := s.Drop.Stat(t.Context(), name)
		refused(t, "Stat", name, err)
		refused(t, "Get", name, s.Drop.Get(t.Context(), name, 0, new(bytes.Buffer)))
		refused(t, "Put", name, s.Drop.Put(t.Context(), name, 1, feed([]byte("x"))))
		refused(t, "Replace", name, s.Drop.Replace(t.Context(), name, []byte("x")))
		refused(t, "Remove", name, s.Drop.Remove(t.Context(), name))
	}
	for _, dir := range []string{"", ".", "..", "/", "ACME", "ACME/", "ACME/up", "ACME/up/", "ACME/keep", "ACME/down/",
		"ACME/../ACME/down", "/ACME/down", "ACME/up/..", "ACME/up/../up/017", "ACME/up/017/x", "ACME/up/017\x00", `ACME\down`} {
		_, err := s.Drop.List(t.Context(), dir)
		refused(t, "List", dir, err)
	}
	for _, code := range []string{"", ".", "..", "/", "ACME/", "ACME/up", "../ACME", "AC ME", "ACME\x00", `ACME\up`, "\u00c9", strings.Repeat("A", 33)} {
		_, err := s.Drop.Tills(t.Context(), code)
		refused(t, "Tills", code, err)
	}
	s.holds(t, "ACME/keep/0000000001.tar.zst", []byte("keep"))
}

func refused(t *testing.T, method, name string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s(%q) succeeded", method, name)
	} else if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%s(%q): %v, want fs.ErrInvalid", method, name, err)
	}
}

// testNotAFile puts links, folders and a FIFO under the names of archives.
// Nothing of it is listed, read, written, followed or removed, and nothing
// waits for it.
func testNotAFile(t *testing.T, s *suite) {
	outside := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(outside, []byte("secret"), 0o666))
	s.place(t, Dir+"/0000000009.tar.zst", []byte("a file"))
	for name, make := range map[string]func(p string) error{
		"0000000001.tar.zst": func(p string) error { return os.Symlink(outside, p) },
		"0000000002.tar.zst": func(p string) error { return os.Symlink("nowhere", p) },
		"0000000003.tar.zst": func(p string) error { return os.Symlink("0000000003.tar.zst", p) },
		"0000000004.tar.zst": func(p string) error { return os.Symlink("0000000009.tar.zst", p) },
		"0000000005.tar.zst": func(p string) error { return os.Symlink(filepath.Dir(outside), p) },
		"0000000006.tar.zst": func(p string) error { return os.Mkdir(p, 0o777) },
		"0000000007.tar.zst": mkfifo,
		"HEAD.json":          func(p string) error { return os.Symlink(outside, p) },
	} {
		check(t, make(filepath.Join(s.raw(Dir), name)))
	}
	list, err := s.Drop.List(t.Context(), Dir)
	check(t, err)
	if diff := cmp.Diff([]drop.File{{Name: "0000000009.tar.zst", Size: 6}}, list.Files); diff != "" {
		t.Error(diff)
	}
	if list.Ignored != 8 {
		t.Errorf("%d entries ignored, want 8", list.Ignored)
	}
	for i := 1; i <= 7; i++ {
		s.notAFile(t, fmt.Sprintf("%s/%010d.tar.zst", Dir, i))
	}
	s.notAFile(t, head)
	got, err := os.ReadFile(outside)
	check(t, err)
	if string(got) != "secret" {
		t.Error("a file outside the drop was changed through a link")
	}
}

// notAFile tries everything but Replace on a name that is no regular file.
func (s *suite) notAFile(t *testing.T, name string) {
	t.Helper()
	before, err := os.Lstat(s.raw(name))
	check(t, err)
	tries := map[string]func(ctx context.Context) error{
		"Stat": func(ctx context.Context) error { _, err := s.Drop.Stat(ctx, name); return err },
		"Get":  func(ctx context.Context) error { return s.Drop.Get(ctx, name, 0, new(bytes.Buffer)) },
		"Put":  func(ctx context.Context) error { return s.Drop.Put(ctx, name, 6, feed([]byte("secret"))) },
	}
	for what, try := range tries {
		if err := soon(t, what+" "+name, try); err == nil {
			t.Errorf("%s(%s) succeeded; it is %s", what, name, before.Mode().Type())
		}
	}
	// Whether Remove complains or not: a stranger's things stay.
	soon(t, "Remove "+name, func(ctx context.Context) error { return s.Drop.Remove(ctx, name) })
	after, err := os.Lstat(s.raw(name))
	if err != nil || after.Mode().Type() != before.Mode().Type() {
		t.Errorf("%s was %s and is not that any more (%v)", name, before.Mode().Type(), err)
	}
}

// testFolderIsNoFolder puts other things where a stream's folder should be.
func testFolderIsNoFolder(t *testing.T, s *suite) {
	check(t, os.MkdirAll(s.raw("ACME"), 0o777))
	check(t, mkfifo(s.raw("ACME/packages")))
	check(t, os.WriteFile(s.raw("ACME/down"), []byte("file"), 0o666))
	for _, dir := range []string{"ACME/packages", "ACME/down"} {
		var list drop.Listing
		err := soon(t, "List "+dir, func(ctx context.Context) (err error) {
			list, err = s.Drop.List(ctx, dir)
			return err
		})
		if len(list.Files) > 0 {
			t.Errorf("List(%s) = %+v, %v", dir, list, err)
		}
		err = soon(t, "Get in "+dir, func(ctx context.Context) error {
			return s.Drop.Get(ctx, dir+"/0000000001.tar.zst", 0, new(bytes.Buffer))
		})
		if err == nil {
			t.Errorf("Get in %s succeeded", dir)
		}
	}
}
