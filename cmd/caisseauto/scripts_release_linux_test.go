package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// addRelease lets a release manager in, who ships for two dossiers, and writes
// his configuration.
func (j *jail) addRelease() {
	j.t.Helper()
	mustDir(j.dir, "release/hello/bin")
	makeKey(j.t, j.path("release/login"))
	for range 2 { // the second time finds everything as it is to be
		for _, dossier := range []string{"ACME", "BETA"} {
			out := j.script(0, "add-release", dossier, "Alice", j.path("release/login.pub"))
			if !strings.Contains(out, "sftp://"+j.prefix+"-release-alice@drop.example/") || strings.Contains(out, "replaced") {
				j.t.Errorf("add-release says\n%s", out)
			}
		}
	}
}

// released: software goes through the jail from the release manager to a till,
// with the program's own transport and with the scripts; his login reaches no
// data, and the server's no software.
func (j *jail) released(t *testing.T) {
	j.write(j.path("release/release.toml"), fmt.Appendf(nil, "[drop]\nurl = \"sftp://%s-release-alice@127.0.0.1:%s/\"\nhost_key = \"%s\"\nkey = \"login\"\n"+
		"[signing]\nprincipal = \"release@acme\"\n[[dossier]]\ncode = \"ACME\"\n", j.prefix, j.server.port, j.server.hostKey))
	release := func(args ...string) {
		t.Helper()
		if code, out, errs := j.run(append(args, "--config", j.path("release/release.toml"))...); code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	release("init", "release")
	signers := j.path("till-001/allowed_signers")
	j.write(signers, append(j.read(signers), j.read(j.path("release/allowed_signers"))...))
	till := string(j.read(j.config("001"))) + "[update]\n[[update.product]]\nname = \"hello\"\n"
	j.write(j.config("001"), []byte(till))

	publish := func(version string, more ...string) {
		t.Helper()
		j.write(j.path("release/hello/bin/hello"), []byte("hello "+version))
		release(append([]string{"publish", j.path("release/hello"), "--product", "hello", "--version", version}, more...)...)
	}
	runs := func(version string) {
		t.Helper()
		if got := string(j.read(j.path("till-001/packages/hello/current/bin/hello"))); got != "hello "+version {
			t.Errorf("the till runs %q, want %s", got, version)
		}
	}
	publish("1.0")
	j.must("001", "update", "--confirm", "never")
	runs("1.0")
	publish("1.1", "--no-ship")
	j.carry(0, "push", "release-alice", "release/login", "release", "ACME", j.path("release/outbox"))
	j.carry(0, "pull", "acme-001", "till-001/keys/till", "-p", "till", "ACME", "001", j.path("till-001/inbox"))
	j.must("001", "update", "--confirm", "never", "--no-fetch")
	runs("1.1")

	j.releasedTo(t)
}

// releasedTo: who may do what with the packages, and with what is none.
func (j *jail) releasedTo(t *testing.T) {
	archive := "ACME/packages/" + name(1, manifest.ArchiveExt)
	for _, may := range []struct{ user, key, commands string }{
		{"server", "server/login", "put f ACME/trust/allowed_signers\nget " + archive + "\nls ACME/packages"},
		{"release-alice", "release/login", "ls ACME/trust\nget ACME/trust/allowed_signers\nls ACME/packages\nput f ACME/packages/f.part\nrm ACME/packages/f.part\nls BETA/packages"},
		{"acme-001", "till-001/keys/till", "get " + archive + "\nls ACME/packages\nget ACME/down/HEAD.json\nls ACME/up/001"},
	} {
		if done, out := j.sftp(may.user, may.key, may.commands); !done {
			t.Errorf("%s may not: %s", may.user, out)
		}
	}
	before := j.snapshot()
	for _, tt := range []struct{ user, key, commands string }{
		{"release-alice", "release/login", `ls /
ls ACME
ls ACME/down
ls ACME/receipts
ls ACME/up
ls ACME/up/001
get ACME/down/HEAD.json got
get ACME/down/` + name(1, manifest.ArchiveExt) + ` got
get ACME/receipts/001.json got
get ACME/up/001/HEAD.json got
get BETA/down/HEAD.json got
put f ACME/down/HEAD.json
put f ACME/down/0000000099.tar.zst
put f ACME/receipts/001.json
put f ACME/trust/allowed_signers
put f ACME/trust/0000000001.json
put f ACME/up/001/HEAD.json
put f ACME/f
put f f
rm ACME/down/HEAD.json
rm ACME/trust/allowed_signers
rename ACME/packages/HEAD.json ACME/down/HEAD.json
rename ACME/down/HEAD.json ACME/packages/stolen
mkdir ACME/packages/x
chmod 777 ACME/packages
ln -s /etc/passwd ACME/packages/0000000098.tar.zst
ln ` + archive + ` ACME/packages/0000000098.tar.zst`},
		{"server", "server/login", "put f " + archive + "\nput f ACME/packages/HEAD.json\nput f ACME/packages/0000000099.tar.zst\nrm " + archive +
			"\nrename " + archive + " ACME/down/0000000099.tar.zst\nchmod 666 " + archive},
		{"acme-001", "till-001/keys/till", "put f " + archive + "\nput f ACME/packages/HEAD.json\nrm " + archive},
	} {
		// A dash: the session goes on after a failure.
		_, out := j.sftp(tt.user, tt.key, "-"+strings.ReplaceAll(tt.commands, "\n", "\n-"))
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, "sftp> ") && strings.HasPrefix(strings.TrimPrefix(line, "/"), "ACME") {
				t.Errorf("%s sees %s", tt.user, line)
			}
		}
		if d := cmp.Diff(before, j.snapshot()); d != "" {
			t.Errorf("%s changed something (-before +after):\n%s", tt.user, d)
		}
	}
	if _, err := os.Stat(j.path("work/got")); err == nil {
		t.Errorf("a release manager read data: %s", j.read(j.path("work/got")))
	}
	j.releaseRemoved(t)
}

// releaseRemoved: the login is gone, what it shipped is there and nobody's,
// and somebody else can take its place.
func (j *jail) releaseRemoved(t *testing.T) {
	makeKey(t, j.path("bob"))
	if out := j.script(exitOperator, "add-release", "ACME", "bob", j.path("bob.pub")); !strings.Contains(out, "remove-release Alice") {
		t.Errorf("a second writer: %s", out)
	}
	owner := j.owner("/ACME/packages")
	j.script(exitOperator, "remove-release", "alice") // she is Alice
	j.script(0, "remove-release", "Alice")
	j.script(0, "remove-release", "Alice")
	for p := range j.snapshot() {
		if j.owner(p) == owner {
			t.Errorf("%s still belongs to the account that is gone", p)
		}
	}
	if done, _ := j.sftp("release-alice", "release/login", "ls ACME/packages"); done {
		t.Error("a removed release manager is let in")
	}
	j.script(0, "add-till", "ACME", "001", j.path("till-001/keys/till.pub"))
	if got := j.owner("/ACME/packages"); got != 0 {
		t.Errorf("packages belong to %d", got)
	}
	j.script(0, "add-release", "ACME", "bob", j.path("bob.pub"))
	j.script(0, "add-till", "ACME", "001", j.path("till-001/keys/till.pub")) // leaves him his folder
	archive := "ACME/packages/" + name(1, manifest.ArchiveExt)
	if done, out := j.sftp("release-bob", "bob", "get "+archive+"\nput f ACME/packages/f.part\nrm ACME/packages/f.part"); !done {
		t.Errorf("bob may not: %s", out)
	}
	if done, out := j.sftp("acme-001", "till-001/keys/till", "get "+archive); !done {
		t.Errorf("the till reads no packages any more: %s", out)
	}
}

// releaseRefused: what is no name or no key, and a drop from before there were
// release managers.
func (j *jail) releaseRefused() {
	j.t.Helper()
	j.script(0, "add-release", "A-1", "Two", j.path("one.pub"))
	before, passwd, group := j.snapshot(), j.read("/etc/passwd"), j.read("/etc/group")
	for _, tt := range []struct {
		want int
		args []string
		says string
	}{
		{exitOperator, []string{"A-1", "3", j.path("one.pub")}, "remove-release Two"},
		{exitOperator, []string{"B", "two", j.path("one.pub")}, "release manager Two"},
		{exitUsage, []string{"a-1", "Two", j.path("one.pub")}, "upper and lower case"},
		{exitUsage, []string{"release", "Two", j.path("one.pub")}, "another use"},
		{exitUsage, []string{"../etc", "Two", j.path("one.pub")}, "dossier"},
		{exitUsage, []string{"A-1", "b b", j.path("one.pub")}, "name"},
		{exitUsage, []string{"A-1", strings.Repeat("b", 32), j.path("one.pub")}, "32"},
		{exitUsage, []string{"A-1", "Two", j.path("two.pub")}, "one public key"},
		{exitUsage, []string{"A-1"}, "usage"},
	} {
		if out := j.script(tt.want, "add-release", tt.args...); !strings.Contains(out, tt.says) {
			j.t.Errorf("add-release %v does not say %q: %s", tt.args, tt.says, out)
		}
	}
	for what, d := range map[string]string{"drop": cmp.Diff(before, j.snapshot()), "passwd": cmp.Diff(passwd, j.read("/etc/passwd")),
		"group": cmp.Diff(group, j.read("/etc/group"))} {
		if d != "" {
			j.t.Errorf("add-release: %s was changed (-before +after):\n%s", what, d)
		}
	}
}

// releaseLater: a drop on which the server wrote the packages becomes one on
// which it does not.
func (j *jail) releaseLater() {
	j.t.Helper()
	j.script(0, "remove-release", "Two")
	server := j.owner("/A-1/trust")
	j.write(j.root+"/A-1/packages/HEAD.json", []byte("{}"))
	for _, p := range []string{"/A-1/packages", "/A-1/packages/HEAD.json"} {
		check(j.shop, os.Chown(j.root+p, int(server), -1))
	}
	for _, script := range []string{"add-till", "add-release"} {
		j.script(0, script, "A-1", "2", j.path("one.pub"))
		for _, p := range []string{"/A-1/packages", "/A-1/packages/HEAD.json"} {
			if got := j.owner(p); got == server || (got == 0) != (script == "add-till") {
				j.t.Errorf("after %s %s belongs to %d", script, p, got)
			}
		}
	}
}
