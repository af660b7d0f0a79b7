package sftpd

import (
	"io"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func TestLoginRefused(t *testing.T) {
	s := startSite(t, Limits{})
	for _, user := range []string{"broken", "both", "shipper", "seller", "nobody"} {
		if _, err := s.ssh(user); err == nil {
			t.Errorf("%s got in", user)
		}
	}
	s.keys["till018"], s.keys["nobody"] = s.keys["till017"], s.keys["till017"]
	for _, user := range []string{"till018", "nobody"} { // somebody else's key
		if _, err := s.ssh(user); err == nil {
			t.Errorf("%s got in with the key of till017", user)
		}
	}
}

// A key that is shown but not proven must not count (CVE-2024-45337): the
// client offers till018's public key first and logs in with till017's.
func TestProvenKeyCounts(t *testing.T) {
	s := startSite(t, Limits{})
	s.cfg.Users = StaticUsers(
		User{Name: "shared", Key: s.keys["till017"].PublicKey(), Dossier: "ACME", Till: "017"},
		User{Name: "shared", Key: s.keys["till018"].PublicKey(), Dossier: "ACME", Till: "018"},
	)
	conn, err := ssh.Dial("tcp", s.addr, &ssh.ClientConfig{
		User:            "shared",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(claimed{s.keys["till018"].PublicKey()}, s.keys["till017"])},
		HostKeyCallback: ssh.FixedHostKey(s.cfg.HostKey.PublicKey()),
	})
	if err != nil {
		t.Skipf("the client library gives up: %v", err)
	}
	defer conn.Close()
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadDir("/ACME/up/018"); err == nil {
		t.Error("logged in as the till whose key was only claimed")
	}
	if _, err := c.ReadDir("/ACME/up/017"); err != nil {
		t.Error(err)
	}
}

// A claimed key is shown and cannot sign.
type claimed struct{ key ssh.PublicKey }

func (c claimed) PublicKey() ssh.PublicKey { return c.key }
func (c claimed) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: c.key.Type(), Blob: make([]byte, 64)}, nil
}

// Only SFTP: no shell, no command, no port forwarding.
func TestOnlySFTP(t *testing.T) {
	s := startSite(t, Limits{})
	conn, err := s.ssh("till017")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Setenv("A", "b"); err == nil {
		t.Error("environment accepted")
	}
	if err := session.Start("id"); err == nil {
		t.Error("command accepted")
	}
	if _, err := conn.Dial("tcp", "127.0.0.1:22"); err == nil {
		t.Error("forwarding accepted")
	}
	if _, err := conn.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("remote forwarding accepted")
	}
}
