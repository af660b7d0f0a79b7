//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// A carried shop exchanges over a real sshd with nothing but scripts/pull,
// scripts/push and the stock sftp client.
type carried struct {
	*shop
	server stockServer
	key    string
	user   string
	far    string // the drop, as sshd sees it
}

func newCarried(t *testing.T) *carried {
	t.Helper()
	s := newShop(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := &carried{shop: s, key: s.path("login"), user: me.Username, far: s.path("far")}
	mustDir(s.dir, "far")
	authorized := s.path("authorized")
	s.write(authorized, []byte(makeKey(t, c.key)+"\n"))
	c.server = startStock(t, "StrictModes no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile "+authorized+"\n")
	return c
}

func (c *carried) args(side string, more ...string) []string {
	args := append([]string{"-i", c.key, "-P", c.server.port, "-k", c.server.known, "-r", c.far}, more...)
	if side == "server" {
		return append(args, "server", "ACME")
	}
	return append(args, "till", "ACME", side)
}

func (c *carried) folder(side, name string) string {
	if side == "server" {
		return c.path("server/" + name)
	}
	return c.path("till-" + side + "/" + name)
}

func (c *carried) script(want int, name, side string, more ...string) string {
	c.t.Helper()
	box := map[string]string{"pull": "inbox", "push": "outbox"}[name]
	args := append(c.args(side, more...), c.folder(side, box), c.user+"@127.0.0.1")
	code, out := runScript(c.t, filepath.Join(scriptsDir(c.t), name), args...)
	if code != want {
		c.t.Fatalf("%s %s: exit code %d, want %d\n%s", name, side, code, want, out)
	}
	return out
}

// round lets everything travel, by the scripts alone.
func (c *carried) round() {
	c.t.Helper()
	for _, n := range shopTills {
		c.must(n, "sync", "--no-ship")
		c.script(0, "push", n)
	}
	c.script(0, "pull", "server")
	c.must("server", "collect", "--no-fetch")
	c.must("server", "export", "--no-ship")
	c.script(0, "push", "server")
	for _, n := range shopTills {
		c.script(0, "pull", n)
		c.must(n, "import", "--no-fetch")
	}
}

// files returns the files of a folder and what is in them, without folders
// and lock files.
func (c *carried) files(dir string) map[string]string {
	c.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.Contains(p, "/.") {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// TestShopScripts is the whole way with stock tools as transport.
func TestShopScripts(t *testing.T) {
	c := newCarried(t)
	c.sell("001", 1, 4)
	c.sell("002", 1, 3)
	c.sql("server/erp.db", "UPDATE client SET nom='Müller' WHERE dossier='ACME' AND code='C1'")
	c.sql("till-002/till.db", "UPDATE client SET nom='Neuf', modifie_le='2026-05-01T00:00:00Z' WHERE code='C2'")
	c.round()
	c.round()
	c.complete()
	for _, n := range shopTills {
		if d := cmp.Diff(c.values("server/erp.db", "client", "dossier='ACME'"), c.values("till-"+n+"/till.db", "client", "dossier='ACME'")); d != "" {
			t.Errorf("till %s (-server +till):\n%s", n, d)
		}
		if got := c.text("till-"+n+"/till.db", "SELECT group_concat(nom) FROM (SELECT nom FROM client ORDER BY code)"); got != "Müller,Neuf" {
			t.Errorf("till %s: %s", n, got)
		}
		if left := c.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK WHERE TABLE_NAME='ticket'"); left != 0 {
			t.Errorf("till %s: %d tickets wait after their receipt", n, left)
		}
	}
	// Nothing new: nothing moves, and no unfinished file is left anywhere.
	for _, p := range []string{"push", "pull"} {
		before := c.files(c.far)
		for _, side := range append([]string{"server"}, shopTills...) {
			c.script(0, p, side)
		}
		if d := cmp.Diff(before, c.files(c.far)); d != "" {
			t.Errorf("%s again changed the drop:\n%s", p, d)
		}
	}
	for _, dir := range []string{c.far, c.path("server/inbox"), c.path("till-001/inbox"), c.path("till-002/inbox")} {
		for name := range c.files(dir) {
			if strings.HasSuffix(name, ".part") {
				t.Errorf("%s: %s was left", dir, name)
			}
		}
	}
	if d := cmp.Diff(c.files(c.path("server/outbox/ACME/down")), c.files(c.far+"/ACME/down")); d != "" {
		t.Errorf("down (-outbox +drop):\n%s", d)
	}
	if d := cmp.Diff(c.files(c.far+"/ACME/down"), c.files(c.path("till-001/inbox/ACME/down"))); d != "" {
		t.Errorf("down (-drop +inbox):\n%s", d)
	}
}

// killedScript starts a script with all its children in a group of its own,
// waits until the file that is on its way has begun, and kills them all.
func (c *carried) killedScript(name, side, part string) {
	c.t.Helper()
	box := map[string]string{"pull": "inbox", "push": "outbox"}[name]
	cmd := exec.Command(filepath.Join(scriptsDir(c.t), name), append(c.args(side, "-l", "16000"), c.folder(side, box), c.user+"@127.0.0.1")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if fi, err := os.Stat(part); err == nil && fi.Size() > 5<<18 {
			break
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		c.t.Fatalf("%s was done before it was killed", name)
	}
	time.Sleep(200 * time.Millisecond) // sshd takes in what is under way
}

// big gives the stream a batch of some megabytes that do not compress.
func (c *carried) big() (archive string) {
	c.t.Helper()
	c.sql("server/erp.db", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40) "+
		"INSERT INTO client(dossier, code, nom, modifie_le) SELECT 'ACME', 'K'||i, hex(randomblob(50000)), '2026-01-01T00:00:00Z' FROM n")
	c.must("server", "export", "--no-ship")
	return name(2, manifest.ArchiveExt)
}

// TestShopScriptsKilled: killed in the middle, the next run goes on from there
// and nobody meets half a file under its final name.
func TestShopScriptsKilled(t *testing.T) {
	c := newCarried(t)
	archive := c.big()
	final := c.far + "/ACME/down/" + archive
	c.killedScript("push", "server", final+".part")
	c.killedScript("push", "server", final+".part")
	for _, name := range []string{final, c.far + "/ACME/down/HEAD.json"} {
		if _, err := os.Stat(name); err == nil {
			t.Fatalf("%s is there after half an upload", name)
		}
	}
	c.script(0, "push", "server")
	if d := cmp.Diff(c.files(c.path("server/outbox/ACME/down")), c.files(c.far+"/ACME/down")); d != "" {
		t.Fatalf("down (-outbox +drop):\n%s", d)
	}
	inbox := c.path("till-001/inbox/ACME/down/")
	c.killedScript("pull", "001", inbox+archive+".part")
	if _, err := os.Stat(inbox + archive); err == nil {
		t.Fatal("half an archive is in the inbox")
	}
	c.script(0, "pull", "001")
	// What an earlier run left need not be what it was to be.
	if err := os.Rename(inbox+archive, inbox+archive+".part"); err != nil {
		t.Fatal(err)
	}
	c.write(inbox+archive+".part", append([]byte("not what it was"), c.read(inbox + archive + ".part")[:100]...))
	c.script(0, "pull", "001")
	if d := cmp.Diff(c.files(c.far+"/ACME/down"), c.files(inbox)); d != "" {
		t.Fatalf("down (-drop +inbox):\n%s", d)
	}
	c.must("001", "import", "--no-fetch")
	if d := cmp.Diff(c.values("server/erp.db", "client", "dossier='ACME'"), c.values("till-001/till.db", "client", "dossier='ACME'")); d != "" {
		t.Errorf("(-server +till):\n%s", d)
	}
}

// TestShopScriptsRefuse: what must not be copied, replaced or followed.
func TestShopScriptsRefuse(t *testing.T) {
	c := newCarried(t)
	c.script(0, "push", "server")
	t.Run("foreign files", func(t *testing.T) {
		down := c.far + "/ACME/down/"
		for _, n := range []string{"notes.txt", "0000000002.tar.zst.filepart", "0000000000.tar.zst", "a b", "x\n-rw-r--r-- ? 0 0 9 Nov 24 03:51 0000000007.manifest.json",
			".hidden", "$(touch owned)", "0000000005.tar.zst", "0000000006.manifest.json"} {
			c.write(down+n, []byte("foreign"))
		}
		if err := os.Symlink("/etc/passwd", down+"0000000003.manifest.json"); err != nil {
			t.Fatal(err)
		}
		mustDir(down, "0000000004.tar.zst")
		mustDir(c.far, "ACME/up/$(touch owned)/x")
		want := c.files(c.path("server/outbox/ACME/down"))
		c.script(0, "pull", "001")
		c.script(0, "pull", "server")
		if d := cmp.Diff(want, c.files(c.path("till-001/inbox/ACME/down"))); d != "" {
			t.Errorf("(-outbox +inbox):\n%s", d)
		}
		for _, n := range []string{"0000000005.tar.zst", "0000000006.manifest.json"} { // half a batch of somebody else's
			if err := os.Remove(down + n); err != nil {
				t.Fatal(err)
			}
		}
		c.script(0, "push", "server")
	})
	down := c.far + "/ACME/down/"
	for _, tt := range []struct {
		name, script, file string
		change             func([]byte) []byte
	}{
		{"another size on the drop, push", "push", down + name(1, manifest.ArchiveExt), func(b []byte) []byte { return append(b, 0) }},
		{"another size on the drop, pull", "pull", down + name(1, manifest.ManifestExt), func(b []byte) []byte { return append(b, '\n') }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := c.read(tt.file)
			c.write(tt.file, tt.change(was))
			defer c.write(tt.file, was)
			side := map[string]string{"push": "server", "pull": "001"}[tt.script]
			before := [2]map[string]string{c.files(c.far), c.files(c.path("till-001/inbox"))}
			if out := c.script(exitRefused, tt.script, side); !strings.Contains(out, filepath.Base(tt.file)) {
				t.Errorf("the message does not name the file: %s", out)
			}
			if d := cmp.Diff(before, [2]map[string]string{c.files(c.far), c.files(c.path("till-001/inbox"))}); d != "" {
				t.Errorf("something was changed:\n%s", d)
			}
		})
	}
	t.Run("another manifest of the same size", func(t *testing.T) {
		c.sql("server/erp.db", "UPDATE client SET nom='x' WHERE code='C1'")
		c.must("server", "export", "--no-ship")
		file := down + name(1, manifest.ManifestExt)
		was := c.read(file)
		c.write(file, []byte(strings.Replace(string(was), "a", "b", 1)))
		before := c.files(c.far)
		c.script(exitRefused, "push", "server")
		if d := cmp.Diff(before, c.files(c.far)); d != "" {
			t.Errorf("something was changed:\n%s", d)
		}
		c.write(file, was)
		c.script(0, "push", "server")
	})
	t.Run("the drop is ahead", func(t *testing.T) {
		for _, ext := range []string{manifest.ArchiveExt, manifest.ManifestExt, manifest.SignatureExt} {
			if err := os.Remove(c.path("server/outbox/ACME/down/" + name(2, ext))); err != nil {
				t.Fatal(err)
			}
		}
		before := c.files(c.far)
		if out := c.script(exitRefused, "push", "server"); !strings.Contains(out, "restored") {
			t.Error(out)
		}
		if d := cmp.Diff(before, c.files(c.far)); d != "" {
			t.Errorf("something was changed:\n%s", d)
		}
	})
	t.Run("a damaged archive", func(t *testing.T) {
		file := down + name(2, manifest.ArchiveExt)
		b := c.read(file)
		b[len(b)/2] ^= 1
		c.write(file, b)
		if out := c.script(exitRefused, "pull", "001"); !strings.Contains(out, name(2, manifest.ArchiveExt)) {
			t.Error(out)
		}
		if _, err := os.Stat(c.path("till-001/inbox/ACME/down/" + name(2, manifest.ManifestExt))); err == nil {
			t.Error("a damaged batch is in the inbox")
		}
	})
}

// TestShopScriptsExitCodes are those of the program.
func TestShopScriptsExitCodes(t *testing.T) {
	c := newCarried(t)
	for _, tt := range []struct {
		name   string
		want   int
		change func(*carried)
	}{
		{"no network", exitUnavailable, func(c *carried) { c.server.port = "1" }},
		{"wrong key", exitDenied, func(c *carried) { makeKey(t, c.path("wrong")); c.key = c.path("wrong") }},
		{"unknown server", exitDenied, func(c *carried) { c.server.known = "/dev/null" }},
		{"usage", exitUsage, func(c *carried) { c.far = "/tmp/$(id)" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			copied := *c
			tt.change(&copied)
			for _, script := range []string{"pull", "push"} {
				copied.script(tt.want, script, "001")
				copied.script(tt.want, script, "server")
			}
		})
	}
	t.Run("busy", func(t *testing.T) {
		done, err := carrying(c.path("till-001/inbox"), "ACME/down")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		c.script(exitBusy, "pull", "001")
		other, err := carrying(c.path("server/outbox"), "ACME/down")
		if err != nil {
			t.Fatal(err)
		}
		defer other()
		c.script(exitBusy, "push", "server")
	})
	t.Run("not allowed to write", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere; the jail's test has the case")
		}
		if err := os.Chmod(c.far, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(c.far, 0o700)
		c.script(exitDenied, "push", "server")
	})
	if got := fmt.Sprint(c.files(c.far)); got != "map[]" {
		t.Errorf("the drop holds %s", got)
	}
}
