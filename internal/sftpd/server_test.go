package sftpd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A site is a served drop of two dossiers.
type site struct {
	*Server
	root string
	addr string
	keys map[string]ssh.Signer
	stop func() error // ends Serve and returns its error
}

func startSite(t testing.TB, limits Limits) *site {
	t.Helper()
	s := &site{root: t.TempDir(), keys: map[string]ssh.Signer{}}
	var users []User
	for name, u := range map[string]User{
		"till017": {Dossier: "ACME", Till: "017"},
		"till018": {Dossier: "ACME", Till: "018"},
		"other":   {Dossier: "OTHER", Till: "017"},
		"server":  {Dossier: "ACME", Writer: true},
		"release": {Dossier: "ACME", Release: true},
		"broken":  {Dossier: "../x", Till: "017"},
		"both":    {Dossier: "ACME", Till: "017", Writer: true},
		"shipper": {Dossier: "ACME", Release: true, Writer: true},
		"seller":  {Dossier: "ACME", Till: "017", Release: true},
		"nobody":  {Dossier: "ACME"},
	} {
		s.keys[name] = newKey(t)
		u.Name, u.Key = name, s.keys[name].PublicKey()
		users = append(users, u)
	}
	server, err := New(Config{
		Root: s.root, HostKey: newKey(t), Users: StaticUsers(users...), Limits: limits,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Server = server
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	var result error
	stopped := false
	s.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() {
		if err := errors.Join(s.stop(), server.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) ssh(user string) (*ssh.Client, error) {
	return ssh.Dial("tcp", s.addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.keys[user])},
		HostKeyCallback: ssh.FixedHostKey(s.cfg.HostKey.PublicKey()),
	})
}

func (s *site) login(t testing.TB, user string) *sftp.Client {
	t.Helper()
	conn, err := s.ssh(user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// place writes a file behind the server's back.
func (s *site) place(t testing.TB, name, text string) {
	t.Helper()
	file := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *site) holds(t testing.TB, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
	}
}

// write opens name with flags, writes text and closes.
func write(c *sftp.Client, name, text string, flags int) error {
	f, err := c.OpenFile(name, flags)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}

func read(c *sftp.Client, name string) (string, error) {
	f, err := c.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, io.NewSectionReader(f, 0, 1<<20))
	return b.String(), err
}

const (
	fresh  = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	trunc  = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	resume = os.O_WRONLY
)

func TestHandlerPanic(t *testing.T) {
	s := startSite(t, Limits{})
	s.place(t, "ACME/down/0000000001.tar.zst", "rows")
	s.before = func(op, path string) {
		if filepath.Base(path) == "0000000009.tar.zst" || op == "read" && filepath.Base(path) == "HEAD.json" {
			panic("a bug in " + op)
		}
	}
	s.place(t, "ACME/down/HEAD.json", "head")
	c := s.login(t, "till017")
	for i := range 3 {
		if _, err := c.Stat("/ACME/down/0000000009.tar.zst"); err == nil {
			t.Error("stat: no error")
		}
		if _, err := read(c, "/ACME/down/HEAD.json"); err == nil {
			t.Error("read: no error")
		}
		if err := c.Remove("/ACME/up/017/0000000009.tar.zst"); err == nil {
			t.Error("remove: no error")
		}
		if got, err := read(c, "/ACME/down/0000000001.tar.zst"); got != "rows" || err != nil {
			t.Fatalf("round %d: the session is hurt: %q, %v", i, got, err)
		}
	}
	s.login(t, "till018")
}
