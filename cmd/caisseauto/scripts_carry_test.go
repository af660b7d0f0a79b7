//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/keys"
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
	key := c.key
	if c.user == "" {
		key += "-" + side
	}
	args := append([]string{"-i", key, "-P", c.server.port, "-k", c.server.known}, more...)
	if c.user != "" { // sshd begins in the home folder, the embedded server in the drop
		args = append(args, "-r", c.far)
	}
	if side == "server" || side == "release" {
		return append(args, side, "ACME")
	}
	return append(args, "till", "ACME", side)
}

// login is whom a side logs in as.
func (c *carried) login(side string) string {
	switch {
	case c.user != "":
		return c.user + "@127.0.0.1"
	case side == "server" || side == "release":
		return side + "@127.0.0.1"
	}
	return "till-" + side + "@127.0.0.1"
}

func (c *carried) folder(side, name string) string {
	if side == "server" || side == "release" {
		return c.path(side + "/" + name)
	}
	return c.path("till-" + side + "/" + name)
}

func (c *carried) script(want int, name, side string, more ...string) string {
	c.t.Helper()
	box := map[string]string{"pull": "inbox", "push": "outbox"}[name]
	args := append(c.args(side, more...), c.login(side), c.folder(side, box))
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
		if left := c.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK WHERE tab IN (SELECT tab FROM caisseauto_table WHERE name='ticket')"); left != 0 {
			t.Errorf("till %s: %d tickets wait after their receipt", n, left)
		}
	}
	// Nothing new: nothing moves, and no unfinished file is left anywhere.
	for _, p := range []string{"push", "pull"} {
		all := func() (list []map[string]string) {
			for _, dir := range []string{c.far, c.path("server/inbox"), c.path("till-001/inbox"), c.path("till-002/inbox")} {
				list = append(list, c.files(dir))
			}
			return list
		}
		c.script(0, "pull", "server") // the heads of the till's last push
		before := all()
		for _, side := range append([]string{"server"}, shopTills...) {
			c.script(0, p, side)
		}
		if d := cmp.Diff(before, all()); d != "" {
			t.Errorf("%s again changed something:\n%s", p, d)
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
}

// killedScript starts a script with all its children in a group of its own,
// waits until the file that is on its way has begun, and kills them all.
func (c *carried) killedScript(name, side, part string, more ...string) {
	c.t.Helper()
	box := map[string]string{"pull": "inbox", "push": "outbox"}[name]
	cmd := exec.Command(filepath.Join(scriptsDir(c.t), name), append(c.args(side, append(more, "-l", "16000")...), c.login(side), c.folder(side, box))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	begun := false
	for end := time.Now().Add(20 * time.Second); !begun && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		fi, err := os.Stat(part)
		begun = err == nil && fi.Size() > 5<<18
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := cmd.Wait(); err == nil || !begun {
		c.t.Fatalf("%s was not killed in the middle: %v", name, err)
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
	// As after a restore: the begun upload is of another batch of that number.
	c.write(final+".part", make([]byte, 5<<18))
	for _, name := range []string{final, c.far + "/ACME/down/HEAD.json"} {
		if _, err := os.Stat(name); err == nil {
			t.Fatalf("%s is there after half an upload", name)
		}
	}
	c.script(0, "push", "server")
	if d := cmp.Diff(c.files(c.path("server/outbox/ACME/down")), c.files(c.far+"/ACME/down")); d != "" {
		t.Fatalf("down (-outbox +drop):\n%s", d)
	}
	inbox := c.path("till-001/inbox/ACME/down") + "/"
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

// TestShopScriptsEmbedded: pull and push get on with caisseauto serve too,
// which is not OpenSSH.
func TestShopScriptsEmbedded(t *testing.T) {
	s := newShop(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	c := &carried{shop: s, key: s.path("login"), far: s.path("drop")}
	_, c.server.port, _ = net.SplitHostPort(addr)
	host := makeKey(t, s.path("host"))
	c.server.known = s.path("known")
	s.write(c.server.known, []byte("[127.0.0.1]:"+c.server.port+" "+host+"\n"))
	config := string(s.read(s.config("server"))) + "[serve]\nlisten = \"" + addr + "\"\nhost_key = \"../host\"\n" +
		"[[serve.user]]\nname = \"server\"\nwriter = true\nkey = \"" + makeKey(t, c.key+"-server") + "\"\n" +
		"[[serve.user]]\nname = \"release\"\nrelease = true\nkey = \"" + makeKey(t, c.key+"-release") + "\"\n"
	for _, n := range shopTills {
		config += "[[serve.user]]\nname = \"till-" + n + "\"\ndossier = \"ACME\"\ntill = \"" + n + "\"\nkey = \"" + makeKey(t, c.key+"-"+n) + "\"\n"
	}
	s.write(s.config("server"), []byte(config))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--config", s.config("server")}, nil, io.Discard, os.Stderr)
	}()
	defer func() { cancel(); <-ended }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			break
		}
	}
	c.sell("001", 1, 2)
	c.sql("server/erp.db", "UPDATE client SET nom='Müller' WHERE dossier='ACME' AND code='C1'")
	c.round()
	c.sealed(1, 2, 3)
	c.script(0, "push", "release")
	c.round()
	c.complete()
	if got := c.text("till-002/till.db", "SELECT nom FROM client WHERE code='C1'"); got != "Müller" {
		t.Errorf("till 002 has %q", got)
	}
	if d := cmp.Diff(c.files(c.path("server/outbox/ACME/down")), c.files(c.far+"/ACME/down")); d != "" {
		t.Errorf("down (-outbox +drop):\n%s", d)
	}
	if _, err := os.Stat(c.path("till-001/inbox/ACME/packages")); err == nil {
		t.Error("packages came without being asked for")
	}
	c.script(0, "pull", "001", "-p")
	if d := cmp.Diff(c.files(c.path("release/outbox/ACME/packages")), c.files(c.path("till-001/inbox/ACME/packages"))); d != "" {
		t.Errorf("packages (-outbox +inbox):\n%s", d)
	}
}

// TestShopScriptsTrust: trust documents go by sftp alone as well; a till walks
// what lies in its inbox, and puts out what it cannot believe.
func TestShopScriptsTrust(t *testing.T) {
	c := newCarried(t)
	check(c.shop, os.Mkdir(c.path("safe"), 0o755))
	root := func(n string) string { return "root-" + n + "@acme=" + c.path("safe/root-"+n+".pub") }
	for _, n := range []string{"1", "2"} {
		_, err := keys.Generate(c.path("safe/root-"+n), "root-"+n)
		check(c.shop, err)
	}
	publish := func(version string, roots ...string) {
		c.t.Helper()
		c.sign(version, roots...)
		c.trust("publish", "--no-ship", c.path("safe/000000000"+version+".json"))
	}
	c.trust("new", "--root", root("1"), "--threshold", "1", "--to", c.path("safe"))
	publish("1", "1")
	for _, n := range shopTills {
		c.write(c.path("till-"+n+"/allowed_signers"), c.read(c.path("server/allowed_signers")))
	}
	c.trust("rotate", "--root", root("2"), "--threshold", "2", "--to", c.path("safe"))
	publish("2", "1", "2")
	c.sql("server/erp.db", "UPDATE client SET nom='Müller' WHERE dossier='ACME' AND code='C1'")
	c.round()
	for _, n := range shopTills {
		if out := c.must(n, "trust", "show"); !strings.Contains(out, "ACME: version 2, ") {
			t.Errorf("till %s stands elsewhere:\n%s", n, out)
		}
	}
	if d := cmp.Diff(c.files(c.path("server/outbox/ACME/trust")), c.files(c.far+"/ACME/trust")); d != "" {
		t.Errorf("trust (-outbox +drop):\n%s", d)
	}
	c.script(0, "push", "server")

	// A document that nobody believes is told, and the right one, of another
	// size, takes its place.
	c.write(c.far+"/ACME/trust/0000000003.json", []byte("{}\n"))
	c.script(0, "pull", "001")
	code, _, errs := c.on("001", "import", "--no-fetch")
	if code != exitRefused || !strings.Contains(errs, "ACME/trust/0000000003.json: refused (rule T8)") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	check(c.shop, os.Remove(c.far+"/ACME/trust/0000000003.json"))
	c.trust("rotate", "--threshold", "1", "--to", c.path("safe"))
	publish("3", "1", "2")
	c.script(0, "push", "server")
	c.script(0, "pull", "001")
	c.round()
	if out := c.must("001", "trust", "show"); !strings.Contains(out, "ACME: version 3, ") {
		t.Errorf("till 001 stands elsewhere:\n%s", out)
	}
}
