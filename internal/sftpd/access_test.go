package sftpd

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// furnish fills the drop; every file holds its own path.
func furnish(t *testing.T, s *site) {
	for _, name := range []string{
		"ACME/down/0000000001.tar.zst", "ACME/down/HEAD.json", "ACME/down/0000000003.tar.zst.part", "ACME/down/notes.txt",
		"ACME/packages/0000000001.tar.zst", "ACME/packages/0000000002.tar.zst.part", "ACME/trust/0000000001.json",
		"ACME/receipts/017.json", "ACME/receipts/017.json.sig", "ACME/receipts/018.json",
		"ACME/up/017/0000000001.tar.zst", "ACME/up/017/HEAD.json", "ACME/up/017/0000000005.tar.zst.part",
		"ACME/up/018/0000000001.tar.zst", "ACME/secret/x", "ACME/readme",
		"OTHER/down/0000000001.tar.zst", "OTHER/receipts/017.json", "OTHER/up/017/0000000001.tar.zst", "top.txt",
	} {
		s.place(t, name, name)
	}
}

func TestAccess(t *testing.T) {
	s := startSite(t, Limits{})
	furnish(t, s)
	ops := map[string]func(c *sftp.Client, p string) error{
		"stat":  func(c *sftp.Client, p string) error { _, err := c.Stat(p); return err },
		"lstat": func(c *sftp.Client, p string) error { _, err := c.Lstat(p); return err },
		"list":  func(c *sftp.Client, p string) error { _, err := c.ReadDir(p); return err },
		"read": func(c *sftp.Client, p string) error {
			got, err := read(c, p)
			if err == nil && !strings.HasSuffix(p, got) {
				return fs.ErrInvalid
			}
			return err
		},
		"create": func(c *sftp.Client, p string) error { return write(c, p, "new", fresh) },
		"trunc":  func(c *sftp.Client, p string) error { return write(c, p, "new", trunc) },
		"write":  func(c *sftp.Client, p string) error { return write(c, p, "new", resume) },
		"append": func(c *sftp.Client, p string) error { return write(c, p, "new", os.O_WRONLY|os.O_APPEND) },
		"rdwr":   func(c *sftp.Client, p string) error { return write(c, p, "new", os.O_RDWR) },
		"remove": func(c *sftp.Client, p string) error { return c.Remove(p) },
		"rmdir":  func(c *sftp.Client, p string) error { return c.RemoveDirectory(p) },
		"mkdir":  func(c *sftp.Client, p string) error { return c.Mkdir(p) },
		"cut":    func(c *sftp.Client, p string) error { return c.Truncate(p, 0) },
		"chmod":  func(c *sftp.Client, p string) error { return c.Chmod(p, 0o777) },
		"link":   func(c *sftp.Client, p string) error { return c.Link(p, "/ACME/up/017/0000000077.tar.zst") },
		"linkto": func(c *sftp.Client, p string) error { return c.Link("/ACME/up/017/0000000001.tar.zst", p) },
		"symlink": func(c *sftp.Client, p string) error {
			return c.Symlink(p, "/ACME/up/017/0000000078.tar.zst")
		},
		"readlink": func(c *sftp.Client, p string) error { _, err := c.ReadLink(p); return err },
		"renameto": func(c *sftp.Client, p string) error { return c.Rename("/ACME/up/017/0000000005.tar.zst.part", p) },
		"posixto": func(c *sftp.Client, p string) error {
			return c.PosixRename("/ACME/up/017/0000000005.tar.zst.part", p)
		},
		"rename": func(c *sftp.Client, p string) error { return c.Rename(p, "/ACME/up/017/0000000079.tar.zst") },
		"posix":  func(c *sftp.Client, p string) error { return c.PosixRename(p, "/ACME/up/017/0000000079.tar.zst") },
	}
	look := []string{"stat", "lstat"}
	type row struct {
		user    string
		path    string
		allowed []string
	}
	var rows []row
	add := func(user string, allowed []string, paths ...string) {
		for _, p := range paths {
			rows = append(rows, row{user, p, allowed})
		}
	}
	folder, file := append([]string{"list"}, look...), append([]string{"read"}, look...)
	own := []string{"stat", "lstat", "read", "chmod"}
	{
		const till = "till017"
		add(till, folder, "/", "/ACME", "/ACME/down", "/ACME/packages", "/ACME/trust", "/ACME/receipts", "/ACME/up", "/ACME/up/017", "/ACME/../ACME/down", "ACME/down")
		add(till, file, "/ACME/down/0000000001.tar.zst", "/ACME/down/HEAD.json", "/ACME/packages/0000000001.tar.zst",
			"/ACME/trust/0000000001.json", "/ACME/receipts/017.json", "/ACME/receipts/017.json.sig")
		add(till, own, "/ACME/up/017/0000000001.tar.zst") // and remove, trunc: see below
		add(till, nil, "/ACME/down/0000000003.tar.zst.part", "/ACME/down/notes.txt", "/ACME/receipts/018.json", "/ACME/up/018",
			"/ACME/up/018/0000000001.tar.zst", "/ACME/secret", "/ACME/secret/x", "/ACME/readme", "/OTHER", "/OTHER/down",
			"/OTHER/down/0000000001.tar.zst", "/OTHER/up/017/0000000001.tar.zst", "/top.txt", "/etc/passwd", "/../../../etc/passwd",
			"/ACME/down/../../OTHER/down/0000000001.tar.zst", "../OTHER/down", "/acme/down", "/ACME/up/017x", "/ACME/up/017/x/0000000001.tar.zst",
			"/ACME/down/0000000002.tar.zst", "/ACME/receipts/019.json", "/ACME/trust/0000000002.json")
	}
	add("server", folder, "/", "/ACME", "/ACME/down", "/ACME/packages", "/ACME/up", "/ACME/up/017", "/ACME/up/018")
	add("server", file, "/ACME/up/017/0000000001.tar.zst", "/ACME/up/017/HEAD.json", "/ACME/up/018/0000000001.tar.zst", "/ACME/packages/0000000001.tar.zst")
	add("server", nil, "/OTHER", "/OTHER/down/0000000001.tar.zst", "/ACME/up/017/0000000005.tar.zst.part", "/ACME/secret/x", "/ACME/down/x/y",
		"/ACME/up/017/0000000002.tar.zst", "/ACME/up/019/0000000001.tar.zst", "/ACME/packages/0000000002.tar.zst.part", "/ACME/packages/0000000003.tar.zst", "/ACME/packages/HEAD.json")
	add("release", folder, "/", "/ACME", "/ACME/packages", "/ACME/trust")
	add("release", file, "/ACME/trust/0000000001.json")
	add("release", own, "/ACME/packages/0000000001.tar.zst")
	add("release", nil, "/ACME/down", "/ACME/down/0000000001.tar.zst", "/ACME/down/HEAD.json", "/ACME/down/0000000009.tar.zst", "/ACME/receipts", "/ACME/receipts/017.json",
		"/ACME/receipts/019.json", "/ACME/up", "/ACME/up/017", "/ACME/up/017/0000000001.tar.zst", "/ACME/up/017/0000000002.tar.zst", "/ACME/trust/0000000002.json", "/ACME/trust/allowed_signers",
		"/OTHER", "/OTHER/packages", "/OTHER/packages/0000000001.tar.zst", "/ACME/secret/x", "/top.txt", "/ACME/packages/../down/HEAD.json")
	add("other", folder, "/OTHER", "/OTHER/down")
	add("other", nil, "/ACME", "/ACME/down/0000000001.tar.zst", "/ACME/up/017/0000000001.tar.zst")

	clients := map[string]*sftp.Client{}
	for _, user := range []string{"till017", "server", "release", "other"} {
		clients[user] = s.login(t, user)
	}
	for _, r := range rows {
		for name, op := range ops {
			ownFile := slices.Contains(r.allowed, "chmod")
			if ownFile && slices.Contains([]string{"remove", "trunc", "posixto", "renameto"}, name) {
				continue // what is allowed there depends on the file: TestOverwrite, TestRemove
			}
			err := op(clients[r.user], r.path)
			want := slices.Contains(r.allowed, name)
			if (err == nil) != want {
				t.Errorf("%s: %s %s: %v, allowed is %v", r.user, name, r.path, err, want)
			}
			if err != nil && (strings.Contains(err.Error(), s.root) || strings.Contains(err.Error(), "openat")) {
				t.Errorf("%s: %s %s shows the server's inside: %v", r.user, name, r.path, err)
			}
		}
	}
	checkUntouched(t, s)
}

// checkUntouched: every file still holds its own path, and none was added.
func checkUntouched(t *testing.T, s *site) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(s.root, p)
		s.holds(t, name, filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestListsOnlyWhatIsTheirs(t *testing.T) {
	s := startSite(t, Limits{})
	furnish(t, s)
	tests := []struct{ user, dir, want string }{
		{"till017", "/", "ACME"},
		{"till017", "/ACME", "down packages receipts trust up"},
		{"till017", "/ACME/down", "0000000001.tar.zst HEAD.json"},
		{"till017", "/ACME/receipts", "017.json 017.json.sig"},
		{"till017", "/ACME/up", "017"},
		{"till017", "/ACME/up/017", "0000000001.tar.zst 0000000005.tar.zst.part HEAD.json"},
		{"server", "/ACME/down", "0000000001.tar.zst 0000000003.tar.zst.part HEAD.json notes.txt"}, // its own to tidy
		{"server", "/ACME/packages", "0000000001.tar.zst"},
		{"release", "/", "ACME"},
		{"release", "/ACME", "packages trust"},
		{"release", "/ACME/packages", "0000000001.tar.zst 0000000002.tar.zst.part"},
		{"server", "/ACME/up", "017 018"},
		{"server", "/ACME/up/017", "0000000001.tar.zst HEAD.json"},
		{"other", "/", "OTHER"},
		{"other", "/OTHER/receipts", "017.json"},
	}
	s.login(t, "till018")
	for _, test := range tests {
		entries, err := s.login(t, test.user).ReadDir(test.dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != test.want || err != nil {
			t.Errorf("%s sees in %s: %s, %v; want %s", test.user, test.dir, got, err, test.want)
		}
	}
}

// Links that somebody with access to the disk made lead nowhere.
func TestLinksOnDisk(t *testing.T) {
	s := startSite(t, Limits{})
	furnish(t, s)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.place(t, "ACME/trust/0000000001.json", "x")
	for name, target := range map[string]string{
		"ACME/down/0000000011.tar.zst":        outside,
		"ACME/down/0000000012.tar.zst":        "../../../../../../../../" + outside,
		"ACME/down/0000000013.tar.zst":        "../../OTHER/down/0000000001.tar.zst",
		"ACME/down/0000000014.tar.zst":        "../up/018/0000000001.tar.zst",
		"ACME/down/0000000015.tar.zst":        "0000000001.tar.zst",
		"ACME/up/017/0000000016.tar.zst.part": outside,
		"ACME/up/017/0000000017.tar.zst.part": "../018/0000000001.tar.zst",
		"ACME/up/019":                         "018",
	} {
		if err := os.Symlink(target, filepath.Join(s.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := s.login(t, "till017")
	for _, n := range []string{"11", "12", "13", "14", "15"} {
		if got, err := read(c, "/ACME/down/00000000"+n+".tar.zst"); err == nil {
			t.Errorf("read through link %s: %q", n, got)
		}
	}
	for _, n := range []string{"16", "17"} {
		for _, flags := range []int{resume, trunc} {
			write(c, "/ACME/up/017/00000000"+n+".tar.zst.part", "evil", flags)
		}
	}
	s.holds(t, "ACME/up/018/0000000001.tar.zst", "ACME/up/018/0000000001.tar.zst")
	if got, _ := os.ReadFile(outside); string(got) != "secret" {
		t.Error("written through a link")
	}
	if _, err := s.login(t, "server").ReadDir("/ACME/up/019"); err == nil {
		t.Error("a linked folder was listed")
	}
}
