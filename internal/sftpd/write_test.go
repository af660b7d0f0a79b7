package sftpd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// No way leads to other bytes under a name that is taken.
func TestOverwrite(t *testing.T) {
	const name, part = "/ACME/up/017/0000000001.tar.zst", "/ACME/up/017/0000000001.tar.zst.part"
	attacks := map[string]func(c *sftp.Client) error{
		"trunc":        func(c *sftp.Client) error { return write(c, name, "evil", trunc) },
		"in place":     func(c *sftp.Client) error { return write(c, name, "evil", resume) },
		"exclusive":    func(c *sftp.Client) error { return write(c, name, "evil", fresh) },
		"new part":     func(c *sftp.Client) error { return write(c, part, "evil", trunc) },
		"part, rename": func(c *sftp.Client) error { write(c, part, "evil", trunc); return c.Rename(part, name) },
		"posix-rename": func(c *sftp.Client) error { write(c, part, "evil", trunc); return c.PosixRename(part, name) },
		"head renamed": func(c *sftp.Client) error {
			write(c, "/ACME/up/017/HEAD.json", "evil", trunc)
			return c.PosixRename("/ACME/up/017/HEAD.json", name)
		},
		"other's part": func(c *sftp.Client) error {
			write(c, "/ACME/up/017/0000000002.tar.zst.part", "evil", trunc)
			return c.PosixRename("/ACME/up/017/0000000002.tar.zst.part", name)
		},
		"cut":            func(c *sftp.Client) error { return c.Truncate(name, 0) },
		"hard link over": func(c *sftp.Client) error { return c.Link("/ACME/up/017/HEAD.json", name) },
		"symlink over":   func(c *sftp.Client) error { return c.Symlink("/ACME/up/017/HEAD.json", name) },
	}
	for what, attack := range attacks {
		t.Run(what, func(t *testing.T) {
			s := startSite(t, Limits{})
			s.place(t, name, "good")
			if err := attack(s.login(t, "till017")); err == nil {
				t.Error("no error")
			}
			s.holds(t, name, "good")
		})
	}
	t.Run("handle kept over the rename", func(t *testing.T) {
		s := startSite(t, Limits{})
		c := s.login(t, "till017")
		f, err := c.OpenFile(part, fresh)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("good"))
		if err := c.Rename(part, name); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("evil"), 0); err == nil {
			t.Error("written into the sealed file")
		}
		f.Close()
		s.holds(t, name, "good")
	})
	t.Run("part is a second name", func(t *testing.T) {
		s := startSite(t, Limits{}) // as a crash between link and unlink leaves it
		s.place(t, name, "good")
		if err := os.Link(filepath.Join(s.root, name), filepath.Join(s.root, part)); err != nil {
			t.Fatal(err)
		}
		c := s.login(t, "till017")
		for _, flags := range []int{resume, trunc, fresh} {
			if err := write(c, part, "evil", flags); err == nil {
				t.Error("opened")
			}
		}
		s.holds(t, name, "good")
		if err := c.Rename(part, name); err != nil { // finishes the work
			t.Error(err)
		}
		if err := c.Remove(part); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the part is still there: %v", err)
		}
	})
}

func TestUpload(t *testing.T) {
	s := startSite(t, Limits{})
	c := s.login(t, "till017")
	const name = "/ACME/up/017/0000000001.tar.zst"
	steps := []struct {
		what string
		do   func() error
		ok   bool
	}{
		{"new part", func() error { return write(c, name+".part", "abc", fresh) }, true},
		{"new part again", func() error { return write(c, name+".part", "abc", fresh) }, false},
		{"go on", func() error { return write(c, name+".part", "ABCD", resume) }, true},
		{"under another name", func() error { return c.Rename(name+".part", "/ACME/up/017/0000000002.tar.zst") }, false},
		{"commit", func() error { return c.Rename(name+".part", name) }, true},
		{"commit again", func() error { return c.Rename(name+".part", name) }, false},
		{"head", func() error { return write(c, "/ACME/up/017/HEAD.json", "1", trunc) }, true},
		{"head again", func() error { return write(c, "/ACME/up/017/HEAD.json", "22", trunc) }, true},
		{"head, exclusive", func() error { return write(c, "/ACME/up/017/HEAD.json", "4", fresh) }, false},
		{"head, in place", func() error { return write(c, "/ACME/up/017/HEAD.json", "4", resume) }, false},
		{"nothing, in place", func() error { return write(c, "/ACME/up/017/HEAD.json.sig", "4", resume) }, false},
		{"head by part", func() error { return write(c, "/ACME/up/017/HEAD.json.part", "333", trunc) }, true},
		{"plain rename", func() error { return c.Rename("/ACME/up/017/HEAD.json.part", "/ACME/up/017/HEAD.json") }, false},
		{"posix-rename", func() error { return c.PosixRename("/ACME/up/017/HEAD.json.part", "/ACME/up/017/HEAD.json") }, true},
		{"huge head", func() error { return write(c, "/ACME/up/017/HEAD.json", strings.Repeat("x", 20_000), trunc) }, false},
		{"remove head", func() error { return c.Remove("/ACME/up/017/HEAD.json") }, false},
		{"a stranger's name", func() error { return write(c, "/ACME/up/017/a.txt", "x", fresh) }, false},
		{"a receipt's name", func() error { return write(c, "/ACME/up/017/017.json", "x", fresh) }, false},
	}
	for _, step := range steps {
		if err := step.do(); (err == nil) != step.ok {
			t.Errorf("%s: %v, want success: %v", step.what, err, step.ok)
		}
	}
	s.holds(t, name, "ABCD")
	s.holds(t, "ACME/up/017/HEAD.json", "333")
	if err := c.Remove(name); err != nil {
		t.Errorf("remove of an own batch: %v", err)
	}
}

// A client that is cut off in an upload under the final name leaves a part.
func TestCutUpload(t *testing.T) {
	s := startSite(t, Limits{})
	conn, err := s.ssh("till017")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.OpenFile("/ACME/up/017/0000000001.tar.zst", trunc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.root, "ACME/up/017/0000000001.tar.zst")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file was published (%v)", err)
	}
	s.holds(t, "ACME/up/017/0000000001.tar.zst.part", "half")
}

func TestWriter(t *testing.T) {
	s := startSite(t, Limits{})
	c := s.login(t, "server")
	for name, ok := range map[string]bool{
		"/ACME/down/0000000001.tar.zst": true, "/ACME/down/HEAD.json": true, "/ACME/packages/0000000001.manifest.json": false, "/ACME/packages/HEAD.json": false,
		"/ACME/trust/0000000001.json": true, "/ACME/trust/tills-0000000001.json": true, "/ACME/trust/allowed_signers": true, "/ACME/receipts/017.json": true, "/ACME/receipts/017.json.sig": true,
		"/ACME/up/017/0000000001.tar.zst": false, "/ACME/down/x": false, "/ACME/x": false, "/ACME/down/017.json": false, "/OTHER/down/HEAD.json": false,
	} {
		if err := write(c, name, "one", trunc); (err == nil) != ok {
			t.Errorf("%s: %v, want success: %v", name, err, ok)
		}
	}
	replaceable := map[string]bool{"/ACME/down/HEAD.json": true, "/ACME/receipts/017.json": true, "/ACME/down/0000000001.tar.zst": false, "/ACME/trust/0000000001.json": false, "/ACME/trust/allowed_signers": true}
	for name, ok := range replaceable {
		if err := write(c, name, "two", trunc); (err == nil) != ok {
			t.Errorf("%s a second time: %v, want success: %v", name, err, ok)
		}
	}
	for name, ok := range map[string]bool{"/ACME/down/0000000001.tar.zst": true, "/ACME/trust/0000000001.json": false, "/ACME/receipts/017.json": false} {
		if err := c.Remove(name); (err == nil) != ok {
			t.Errorf("remove %s: %v, want success: %v", name, err, ok)
		}
	}
}

// A release manager writes packages as a till writes its tickets, and nothing
// else.
func TestRelease(t *testing.T) {
	s := startSite(t, Limits{})
	c := s.login(t, "release")
	const dir = "/ACME/packages/"
	steps := []struct {
		what string
		do   func() error
		ok   bool
	}{
		{"new part", func() error { return write(c, dir+"0000000001.tar.zst.part", "abc", fresh) }, true},
		{"commit", func() error { return c.Rename(dir+"0000000001.tar.zst.part", dir+"0000000001.tar.zst") }, true},
		{"again", func() error { return write(c, dir+"0000000001.tar.zst", "evil", trunc) }, false},
		{"a part to replace it", func() error { return write(c, dir+"0000000001.tar.zst.part", "evil", trunc) }, false},
		{"head", func() error { return write(c, dir+"HEAD.json.part", "1", trunc) }, true},
		{"its name", func() error { return c.PosixRename(dir+"HEAD.json.part", dir+"HEAD.json") }, true},
		{"head again", func() error { return write(c, dir+"HEAD.json.part", "2", trunc) }, true},
		{"its name again", func() error { return c.PosixRename(dir+"HEAD.json.part", dir+"HEAD.json") }, true},
		{"remove head", func() error { return c.Remove(dir + "HEAD.json") }, false},
		{"a stranger's name", func() error { return write(c, dir+"setup.exe", "x", trunc) }, false},
		{"data", func() error { return write(c, "/ACME/down/0000000001.tar.zst", "x", trunc) }, false},
		{"trust", func() error { return write(c, "/ACME/trust/0000000001.json", "x", trunc) }, false},
		{"receipt", func() error { return write(c, "/ACME/receipts/017.json", "x", trunc) }, false},
		{"tickets", func() error { return write(c, "/ACME/up/017/0000000001.tar.zst", "x", trunc) }, false},
		{"another dossier's", func() error { return write(c, "/OTHER/packages/0000000001.tar.zst", "x", trunc) }, false},
	}
	for _, step := range steps {
		if err := step.do(); (err == nil) != step.ok {
			t.Errorf("%s: %v, want success: %v", step.what, err, step.ok)
		}
	}
	s.holds(t, "ACME/packages/0000000001.tar.zst", "abc")
	s.holds(t, "ACME/packages/HEAD.json", "2")
	if got, err := read(s.login(t, "till017"), dir+"0000000001.tar.zst"); got != "abc" || err != nil {
		t.Errorf("a till reads %q, %v", got, err)
	}
}
