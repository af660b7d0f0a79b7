package sftp_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/sftp"
	"caisseauto/internal/sftpd"
)

func TestDialFaults(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody speaks
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	tests := []struct {
		name  string
		addr  string
		fault fault
	}{
		{"silent server", mute.Addr().String(), fault{}},
		{"freeze after the banner", e.addr, fault{down: 22, then: freeze}},
		{"freeze in key exchange", e.addr, fault{down: 900, then: freeze}},
		{"freeze in login", e.addr, fault{down: 1700, then: freeze}},
		{"reset in key exchange", e.addr, fault{down: 900, then: reset}},
		{"end in key exchange", e.addr, fault{down: 900, then: finish}},
		{"one byte at a time", e.addr, fault{rate: 20}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, test.addr, test.fault)
			cfg := e.config("server")
			cfg.Addr, cfg.Timeouts = p.addr, impatient
			cfg.Timeouts.Handshake = time.Second
			within(t, 10*time.Second, func() {
				c, err := sftp.Dial(t.Context(), cfg)
				if !errors.Is(err, drop.ErrUnavailable) {
					t.Errorf("Dial: %v, want ErrUnavailable", err)
				}
				if err == nil {
					c.Close()
				}
			})
		})
	}
	// Cut at every stage of key exchange, login and start of SFTP.
	cuts := 0
	for at := int64(50); ; at += 50 {
		p := startProxy(t, e.addr, fault{down: at, then: reset})
		cfg := e.config("server")
		cfg.Addr, cfg.Timeouts = p.addr, impatient
		c, err := sftp.Dial(t.Context(), cfg)
		if err == nil {
			c.Close()
			break
		}
		if cuts++; !errors.Is(err, drop.ErrUnavailable) {
			t.Errorf("cut after %d bytes: %v, want ErrUnavailable", at, err)
		}
	}
	if cuts < 20 {
		t.Errorf("only %d stages", cuts)
	}
	t.Run("cancelled", func(t *testing.T) {
		cfg := e.config("server")
		cfg.Addr = mute.Addr().String()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		within(t, 5*time.Second, func() {
			if _, err := sftp.Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial: %v", err)
			}
		})
	})
}

// The server has keys of two types and only the one is pinned: the other must
// not be negotiated. And when the pinned type is missing, the error says so.
func TestHostKeyTypes(t *testing.T) {
	dir := t.TempDir()
	ecdsa := writeHostKey(t, filepath.Join(dir, "ecdsa"), "-t", "ecdsa")
	s := startSSHD(t, "", "HostKey "+filepath.Join(dir, "ecdsa"))
	dial(t, s.config())
	cfg := s.config()
	cfg.HostKeys = []ssh.PublicKey{ecdsa}
	dial(t, cfg)

	e := startEmbedded(t, sftpd.Limits{})
	cfg = e.config("server")
	cfg.HostKeys = []ssh.PublicKey{ecdsa}
	_, err := sftp.Dial(t.Context(), cfg)
	if !errors.Is(err, drop.ErrDenied) || !strings.Contains(err.Error(), "ssh-ed25519") {
		t.Errorf("Dial with a pin of another type: %v", err)
	}
}

func TestDialRefusals(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	other := newKey(t)
	tests := []struct {
		name   string
		change func(*sftp.Config)
		want   error
		words  []string
	}{
		{"wrong host key", func(c *sftp.Config) { c.HostKeys = []ssh.PublicKey{other.PublicKey()} }, drop.ErrDenied,
			[]string{ssh.FingerprintSHA256(other.PublicKey()), ssh.FingerprintSHA256(e.host.PublicKey()), `host_key = "ssh-ed25519 AAAA`}},
		{"unknown user", func(c *sftp.Config) { c.User = "nobody" }, drop.ErrDenied, []string{"login refused", ssh.FingerprintSHA256(e.writer.PublicKey())}},
		{"unknown key", func(c *sftp.Config) { c.Signers = []ssh.Signer{other} }, drop.ErrDenied, []string{"login refused"}},
		{"no host key", func(c *sftp.Config) { c.HostKeys = nil }, nil, []string{"host_key"}},
		{"no signer", func(c *sftp.Config) { c.Signers = nil }, nil, []string{"no key"}},
		{"no port", func(c *sftp.Config) { c.Addr = "localhost" }, nil, []string{"host:port"}},
		{"nobody listens", func(c *sftp.Config) { c.Addr = "127.0.0.1:1" }, drop.ErrUnavailable, []string{"refused"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := e.config("server")
			test.change(&cfg)
			start := time.Now()
			_, err := sftp.Dial(t.Context(), cfg)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("Dial: %v, want %v", err, test.want)
			}
			for _, w := range test.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if time.Since(start) > 5*time.Second {
				t.Errorf("took %v", time.Since(start))
			}
		})
	}
	cfg := e.config("server")
	cfg.HostKeys = []ssh.PublicKey{other.PublicKey(), e.host.PublicKey()}
	dial(t, cfg) // a second pin, as during a change of keys
}
