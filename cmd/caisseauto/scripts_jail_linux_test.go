package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// A jail is a drop that setup-drop and add-till have made on this machine,
// under a prefix of its own, behind a sshd of its own.
type jail struct {
	*shop
	prefix, root string
	server       stockServer
	env          []string
}

func newJail(t *testing.T) *jail {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it makes accounts, which takes root")
	}
	for _, program := range []string{"useradd", "userdel", "groupadd", "groupdel", "getent", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	s := newShop(t)
	// Not below /tmp: sshd wants every folder above a chroot closed to others.
	root, err := os.MkdirTemp("/var/lib", "caisseauto-jail")
	if err != nil {
		t.Fatal(err)
	}
	j := &jail{shop: s, prefix: fmt.Sprintf("cx%d", os.Getpid()), root: root}
	t.Cleanup(j.away)
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	j.root += "/drop"
	j.env = []string{"ROOT=" + j.root, "PREFIX=" + j.prefix, "SSHD_D=" + s.path("sshd_config.d"), "HOST=drop.example"}
	return j
}

// away removes what this test added to the machine, and nothing else.
func (j *jail) away() {
	out, _ := exec.Command("getent", "passwd").Output()
	for line := range strings.Lines(string(out)) {
		if name, _, _ := strings.Cut(line, ":"); strings.HasPrefix(name, j.prefix+"-") {
			if out, err := exec.Command("userdel", "-f", name).CombinedOutput(); err != nil {
				j.t.Errorf("userdel %s: %v: %s", name, err, out)
			}
		}
	}
	out, _ = exec.Command("getent", "group").Output()
	for line := range strings.Lines(string(out)) {
		if name, _, _ := strings.Cut(line, ":"); strings.HasPrefix(name, j.prefix+"-") {
			if out, err := exec.Command("groupdel", name).CombinedOutput(); err != nil {
				j.t.Errorf("groupdel %s: %v: %s", name, err, out)
			}
		}
	}
	_ = os.RemoveAll("/etc/ssh/" + j.prefix)
	_ = os.RemoveAll(filepath.Dir(j.root))
}

// script runs one of the scripts that must end with an exit code.
func (j *jail) script(want int, name string, args ...string) string {
	j.t.Helper()
	code, out := runScript(j.t, "env", append(append(append([]string{}, j.env...), filepath.Join(scriptsDir(j.t), name)), args...)...)
	if code != want {
		j.t.Fatalf("%s %v: exit code %d, want %d\n%s", name, args, code, want, out)
	}
	return out
}

// public writes the public half of a key of the shop to a file.
func (j *jail) public(key string) string {
	j.t.Helper()
	out, err := exec.Command("ssh-keygen", "-y", "-f", j.path(key)).Output()
	if err != nil {
		j.t.Fatal(err)
	}
	j.write(j.path(key+".pub"), out)
	return j.path(key + ".pub")
}

// build makes the drop, with a server, two tills of ACME and one of BETA.
func (j *jail) build() {
	j.t.Helper()
	makeKey(j.t, j.path("server/login"))
	makeKey(j.t, j.path("beta"))
	j.script(0, "setup-drop", j.path("server/login.pub"))
	for range 2 { // the second time finds everything as it is to be
		for _, n := range shopTills {
			out := j.script(0, "add-till", "ACME", n, j.public("till-"+n+"/keys/till"))
			if !strings.Contains(out, "sftp://"+j.prefix+"-acme-"+n+"@drop.example/") || !strings.Contains(out, "caisseauto trust add-till "+n+" --dossier ACME") {
				j.t.Errorf("add-till says\n%s", out)
			}
		}
		j.script(0, "add-till", "BETA", "001", j.path("beta.pub"))
	}
	j.addRelease()
	j.script(0, "setup-drop", j.path("server/login.pub"))
	snippet := j.path("sshd_config.d/*.conf")
	// As Debian's own file does: the include first, what holds for all after it.
	j.server = startStock(j.t, "Include "+snippet+"\nPermitRootLogin no\nAuthorizedKeysFile none\n")
	for side, user := range map[string]string{"server": "server", "001": "acme-001", "002": "acme-002"} {
		drop := fmt.Sprintf("url = \"sftp://%s-%s@127.0.0.1:%s/\"\nhost_key = \"%s\"", j.prefix, user, j.server.port, j.server.hostKey)
		if side == "server" {
			drop += "\nkey = \"login\""
		}
		text := strings.Replace(string(j.read(j.config(side))), `url = "file:../drop"`, drop, 1)
		j.write(j.config(side), []byte(text))
	}
}

// sftp runs one command of the stock client, and reports whether it was done.
func (j *jail) sftp(user, key, command string) (done bool, out string) {
	j.t.Helper()
	cmd := exec.CommandContext(j.t.Context(), "sftp", "-b", "-", "-P", j.server.port, "-i", j.path(key), "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile="+j.server.known, "-o", "StrictHostKeyChecking=yes", j.prefix+"-"+user+"@127.0.0.1")
	cmd.Dir, cmd.Stdin = j.path("work"), strings.NewReader(command+"\n")
	b, err := cmd.CombinedOutput()
	return err == nil, string(b)
}

// snapshot is the whole drop: every name with its mode, owner and content.
func (j *jail) snapshot() map[string]string {
	j.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(j.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		text := fmt.Sprint(fi.Mode(), st.Uid, st.Gid)
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += string(b)
		}
		all[strings.TrimPrefix(p, j.root)] = text
		return nil
	})
	if err != nil {
		j.t.Fatal(err)
	}
	return all
}

func (j *jail) owner(p string) uint32 {
	j.t.Helper()
	fi, err := os.Lstat(j.root + p)
	if err != nil {
		j.t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Uid
}

// TestShopJail: the whole exchange through an OpenSSH jail with the program's
// own client, and what a till can do there besides: nothing.
func TestShopJail(t *testing.T) {
	j := newJail(t)
	j.build()
	j.must("server", "export")
	for _, n := range shopTills {
		j.sell(n, 1, 3)
	}
	j.sql("server/erp.db", "UPDATE client SET nom='Prison' WHERE dossier='ACME' AND code='C1'")
	j.exchange()
	j.complete()
	for _, n := range shopTills {
		if d := cmp.Diff(j.values("server/erp.db", "client", "dossier='ACME'"), j.values("till-"+n+"/till.db", "client", "dossier='ACME'")); d != "" {
			t.Errorf("till %s (-server +till):\n%s", n, d)
		}
		if left := j.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK WHERE tab IN (SELECT tab FROM caisseauto_table WHERE name='ticket')"); left != 0 {
			t.Errorf("till %s: %d tickets wait after their receipt", n, left)
		}
	}
	mustDir(j.dir, "work")
	j.write(j.path("work/f"), []byte("from a till"))
	j.write(j.root+"/BETA/down/HEAD.json", []byte("of BETA"))
	t.Run("may", j.may)
	t.Run("may not", j.mayNot)
	t.Run("no shell", j.noShell)
	t.Run("by scripts", j.byScripts)
	t.Run("released", j.released)
	t.Run("removed", j.removed)
}

func (j *jail) may(t *testing.T) {
	for _, command := range []string{
		"ls -1 ACME/down", "get ACME/down/HEAD.json", "get ACME/receipts/001.json", "ls ACME/up/001", "ls ACME/packages", "ls ACME/trust",
		"put f ACME/up/001/0000000099.tar.zst.part", "rename -l ACME/up/001/0000000099.tar.zst.part ACME/up/001/0000000099.tar.zst",
		// What it has published is its own: it can take it back or replace it,
		// and the chain of signatures shows that.
		"put f ACME/up/001/0000000099.tar.zst", "rm ACME/up/001/0000000099.tar.zst",
	} {
		if done, out := j.sftp("acme-001", "till-001/keys/till", command); !done {
			t.Errorf("%s: %s", command, out)
		}
	}
	if done, out := j.sftp("server", "server/login", "ls -1 ACME/up"); !done || !strings.Contains(out, "ACME/up/002") {
		t.Errorf("the server cannot list the tills: %s", out)
	}
}

func (j *jail) mayNot(t *testing.T) {
	published := "ACME/up/001/" + name(1, manifest.ArchiveExt)
	commands := []string{
		"ls /", "ls ACME", "ls ACME/up", "ls BETA", "ls BETA/down", "get BETA/down/HEAD.json", "ls BETA/up/001",
		"ls ACME/up/002", "get ACME/up/002/HEAD.json", "put f ACME/up/002/HEAD.json", "rm ACME/up/002/HEAD.json",
		"put f ACME/down/0000000099.tar.zst", "put f ACME/down/HEAD.json", "put f ACME/receipts/001.json", "put f ACME/trust/0000000001.json",
		"put f ACME/packages/HEAD.json", "put f ACME/f", "put f ACME/up/f", "put f f", "put f BETA/up/001/f",
		"rm ACME/down/HEAD.json", "rm ACME/receipts/001.json", "rename ACME/down/HEAD.json ACME/up/001/stolen", "rename ACME/up/001/HEAD.json ACME/down/HEAD.json",
		"rename ACME/up/002/HEAD.json ACME/up/001/stolen", "rename ACME/up/001 ACME/up/003", "rename -l ACME/up/001/HEAD.json " + published,
		"chmod 777 ACME/up/001", "chmod 666 ACME/up/001/HEAD.json", "chmod 777 ACME", "chown 0 ACME/up/001/HEAD.json", "chgrp 0 ACME/up/001/HEAD.json",
		"ln -s /etc/passwd ACME/up/001/0000000098.tar.zst", "ln ACME/down/HEAD.json ACME/up/001/0000000098.tar.zst",
		"mkdir ACME/up/001/x", "mkdir ACME/up/999", "mkdir x", "rmdir ACME/up/001", "put -p f ACME/up/001/../../down/f",
		"get /etc/passwd", "get ../../../../etc/passwd", "get ACME/../../etc/passwd", "ls /etc", "put f ../f",
	}
	before := j.snapshot()
	for _, command := range commands {
		if done, out := j.sftp("acme-001", "till-001/keys/till", command); done {
			t.Errorf("%s was done\n%s", command, out)
		}
	}
	for _, login := range []struct{ user, key string }{
		{"acme-002", "till-001/keys/till"}, {"server", "till-001/keys/till"}, {"acme-001", "beta"}, {"acme-001", "server/login"},
	} {
		if done, _ := j.sftp(login.user, login.key, "ls ACME/down"); done {
			t.Errorf("%s is let in with the key %s", login.user, login.key)
		}
	}
	for _, command := range []string{"ls /", "put f ACME/f", "rm ACME/up/001/HEAD.json", "put f ACME/up/001/f", "mkdir ACME/down/x", "chmod 777 ACME/down"} {
		if done, out := j.sftp("server", "server/login", command); done {
			t.Errorf("server: %s was done\n%s", command, out)
		}
	}
	if d := cmp.Diff(before, j.snapshot()); d != "" {
		t.Errorf("something was changed (-before +after):\n%s", d)
	}
	if _, err := os.Stat(j.path("work/passwd")); err == nil {
		t.Error("/etc/passwd got out")
	}
}

func (j *jail) noShell(t *testing.T) {
	args := []string{"-p", j.server.port, "-i", j.path("till-001/keys/till"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + j.server.known, "-o", "StrictHostKeyChecking=yes"}
	host := j.prefix + "-acme-001@127.0.0.1"
	if _, out := runScript(t, "ssh", append(args, host, "id")...); strings.Contains(out, "uid=") {
		t.Errorf("a command was run: %s", out)
	}
	if code, out := runScript(t, "ssh", append(args, "-W", "127.0.0.1:"+j.server.port, host)...); code == 0 || strings.Contains(out, "SSH-2.0") {
		t.Errorf("a connection was forwarded: %d %s", code, out)
	}
}

// carry runs push or pull, which must end with an exit code.
func (j *jail) carry(want int, script, user, key string, args ...string) {
	j.t.Helper()
	all := append([]string{"-P", j.server.port, "-k", j.server.known, "-i", j.path(key)}, args...)
	all = append(all[:len(all)-1], j.prefix+"-"+user+"@127.0.0.1", all[len(all)-1])
	if code, out := runScript(j.t, filepath.Join(scriptsDir(j.t), script), all...); code != want {
		j.t.Fatalf("%s as %s: exit code %d, want %d\n%s", script, user, code, want, out)
	}
}

// byScripts: pull and push need nothing that the jail does not give.
func (j *jail) byScripts(t *testing.T) {
	run := j.carry
	j.sell("001", 4, 5)
	j.must("001", "sync", "--no-ship")
	run(0, "push", "acme-001", "till-001/keys/till", "till", "ACME", "001", j.path("till-001/outbox"))
	run(0, "pull", "server", "server/login", "server", "ACME", j.path("server/inbox"))
	j.must("server", "collect", "--no-fetch")
	j.complete()
	j.sql("server/erp.db", "UPDATE client SET nom='Encore' WHERE dossier='ACME' AND code='C1'")
	j.must("server", "export", "--no-ship")
	run(0, "push", "server", "server/login", "server", "ACME", j.path("server/outbox"))
	run(0, "pull", "acme-001", "till-001/keys/till", "till", "ACME", "001", j.path("till-001/inbox"))
	j.must("001", "import", "--no-fetch")
	if got := j.text("till-001/till.db", "SELECT nom FROM client WHERE code='C1'"); got != "Encore" {
		t.Errorf("the till has %q", got)
	}
	run(exitDenied, "push", "acme-002", "till-002/keys/till", "till", "ACME", "001", j.path("till-001/outbox"))
	run(exitDenied, "pull", "beta-001", "beta", "till", "ACME", "001", j.path("till-001/inbox"))
}

// removed: the login is gone, what the till sent is there, and it can come
// back.
func (j *jail) removed(t *testing.T) {
	sent := j.read(j.root + "/ACME/up/001/" + name(1, manifest.ArchiveExt))
	owner := j.owner("/ACME/up/001")
	j.script(0, "remove-till", "ACME", "001")
	j.script(0, "remove-till", "ACME", "001")
	if _, err := os.Stat("/etc/ssh/" + j.prefix + "/" + j.prefix + "-acme-001"); err == nil {
		t.Error("the key is still there")
	}
	for p := range j.snapshot() { // whoever gets the account's number next must not get them too
		if j.owner(p) == owner {
			t.Errorf("%s still belongs to the account that is gone", p)
		}
	}
	if done, _ := j.sftp("acme-001", "till-001/keys/till", "ls ACME/down"); done {
		t.Error("a removed till is let in")
	}
	if d := cmp.Diff(sent, j.read(j.root+"/ACME/up/001/"+name(1, manifest.ArchiveExt))); d != "" {
		t.Error("what it sent is not there any more")
	}
	j.fails(exitDenied, "001", "sync")
	j.must("server", "collect")
	j.script(0, "add-till", "ACME", "001", j.path("till-001/keys/till.pub"))
	j.sell("001", 6, 6)
	j.must("001", "sync")
	j.must("server", "collect")
	j.complete()
}

// TestShopJailRefuses what is no key, no code, or somebody else's account.
func TestShopJailRefuses(t *testing.T) {
	j := newJail(t)
	makeKey(t, j.path("one"))
	j.write(j.path("two.pub"), append(j.read(j.path("one.pub")), j.read(j.path("one.pub"))...))
	j.script(exitUsage, "add-till", "ACME", "001", j.path("one.pub")) // no drop yet
	j.script(0, "setup-drop")
	j.script(0, "add-till", "A-1", "2", j.path("one.pub"))
	before, passwd, group := j.snapshot(), j.read("/etc/passwd"), j.read("/etc/group")
	for _, tt := range []struct {
		want int
		args []string
		says string
	}{
		{exitOperator, []string{"A", "1-2", j.path("one.pub")}, "A-1/2"},
		{exitUsage, []string{"a-1", "2", j.path("one.pub")}, "upper and lower case"},
		{exitUsage, []string{"../etc", "2", j.path("one.pub")}, "dossier"},
		{exitUsage, []string{"ACME", "0 1", j.path("one.pub")}, "number"},
		{exitUsage, []string{"ACME", "001", j.path("one")}, "private key"},
		{exitUsage, []string{"ACME", "001", j.path("two.pub")}, "one public key"},
		{exitUsage, []string{"ACME", "001", j.config("001")}, "one public key"},
		{exitUsage, []string{"ACME", "001", j.path("none")}, "cannot be read"},
		{exitUsage, []string{"tills", "001", j.path("one.pub")}, "another use"},
		{exitUsage, []string{"ACME", strings.Repeat("9", 32), j.path("one.pub")}, "32"},
		{exitUsage, []string{"ACME"}, "usage"},
	} {
		if out := j.script(tt.want, "add-till", tt.args...); !strings.Contains(out, tt.says) {
			t.Errorf("add-till %v does not say %q: %s", tt.args, tt.says, out)
		}
	}
	j.script(exitOperator, "remove-till", "A", "1-2")
	j.script(exitUsage, "remove-release", "../x")
	for what, d := range map[string]string{"drop": cmp.Diff(before, j.snapshot()), "passwd": cmp.Diff(passwd, j.read("/etc/passwd")),
		"group": cmp.Diff(group, j.read("/etc/group"))} {
		if d != "" {
			t.Errorf("%s was changed (-before +after):\n%s", what, d)
		}
	}
	j.releaseRefused()
	j.releaseLater()
}
