package sftpd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The stock client, as scripts use it.
func TestStockClient(t *testing.T) {
	program, err := exec.LookPath("sftp")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no sftp (apt-get install openssh-client)")
	}
	s := startSite(t, Limits{})
	furnish(t, s)
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Users = StaticUsers(User{Name: "stock", Key: sshPublic, Dossier: "ACME", Till: "017"})
	host, port, _ := strings.Cut(s.addr, ":")
	known := "[" + host + "]:" + port + " " + string(ssh.MarshalAuthorizedKey(s.cfg.HostKey.PublicKey()))
	for name, data := range map[string][]byte{"key": pem.EncodeToMemory(block), "known": []byte(known), "new": []byte("from the stock client")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(commands string) (string, error) {
		cmd := exec.Command(program, "-q", "-b", "-", "-i", "key", "-P", port, "-o", "UserKnownHostsFile=known", "-o", "StrictHostKeyChecking=yes",
			"-o", "IdentitiesOnly=yes", "-F", "none", "stock@"+host)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(commands)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(`ls -1 ACME/down
get ACME/down/0000000001.tar.zst got
put new ACME/up/017/0000000007.tar.zst
put -p new ACME/up/017/0000000008.tar.zst.part
rename ACME/up/017/0000000008.tar.zst.part ACME/up/017/0000000008.tar.zst
put new ACME/up/017/HEAD.json
put new ACME/up/017/HEAD.json
rm ACME/up/017/0000000001.tar.zst
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "ACME/down/0000000001.tar.zst") || strings.Contains(out, "notes.txt") {
		t.Errorf("ls: %s", out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "got")); err != nil || string(got) != "ACME/down/0000000001.tar.zst" {
		t.Errorf("get: %q, %v", got, err)
	}
	for _, name := range []string{"0000000007.tar.zst", "0000000008.tar.zst", "HEAD.json"} {
		s.holds(t, "ACME/up/017/"+name, "from the stock client")
	}
	for _, refused := range []string{
		"put new ACME/up/017/0000000007.tar.zst", "put new ACME/down/0000000009.tar.zst", "get /etc/passwd", "get ../../../etc/passwd got2",
		"put new ACME/up/018/0000000007.tar.zst", "mkdir ACME/up/x", "ln -s /etc/passwd ACME/up/017/0000000009.tar.zst",
		"rename ACME/up/017/0000000007.tar.zst ACME/up/017/0000000008.tar.zst", "ls OTHER", "rm ACME/down/0000000001.tar.zst",
	} {
		if out, err := run(refused + "\n"); err == nil {
			t.Errorf("%s: exit 0\n%s", refused, out)
		}
	}
}
