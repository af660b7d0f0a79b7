package sftp_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/sftp"
	"caisseauto/internal/sftpd"
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

// testLog writes to the test's log; slog's own would mix the tests.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// An embedded is the program's own server over a fresh folder, with one
// writer, one till and one release manager of dossier ACME.
type embedded struct {
	root   string
	addr   string
	host   ssh.Signer
	writer ssh.Signer
	till   ssh.Signer
	seals  ssh.Signer // the release manager's
}

func startEmbedded(t testing.TB, limits sftpd.Limits) embedded {
	t.Helper()
	e := embedded{root: t.TempDir(), host: newKey(t), writer: newKey(t), till: newKey(t), seals: newKey(t)}
	server, err := sftpd.New(sftpd.Config{
		Root: e.root, HostKey: e.host, Limits: limits, Log: testLog(t),
		Users: sftpd.StaticUsers(
			sftpd.User{Name: "server", Key: e.writer.PublicKey(), Dossier: "ACME", Writer: true},
			sftpd.User{Name: "till017", Key: e.till.PublicKey(), Dossier: "ACME", Till: "017"},
			sftpd.User{Name: "release", Key: e.seals.PublicKey(), Dossier: "ACME", Release: true},
		),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e embedded) config(user string) sftp.Config {
	signer := e.writer
	switch user {
	case "till017":
		signer = e.till
	case "release":
		signer = e.seals
	}
	return sftp.Config{Addr: e.addr, User: user, HostKeys: []ssh.PublicKey{e.host.PublicKey()}, Signers: []ssh.Signer{signer}}
}

func dial(t testing.TB, cfg sftp.Config) *sftp.Client {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = testLog(t)
	}
	c, err := sftp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// feedOf gives data from any offset.
func feedOf(data []byte) drop.Feed {
	return func(_ context.Context, offset int64, w io.Writer) error {
		_, err := w.Write(data[offset:])
		return err
	}
}

func randomBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func get(t testing.TB, d drop.Drop, name string, offset int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Get(t.Context(), name, offset, &b); err != nil {
		t.Fatalf("Get: %v", err)
	}
	return b.Bytes()
}
