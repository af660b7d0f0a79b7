package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/agent"
)

// Keys of all three kinds, made by ssh-keygen, sign what ssh-keygen verifies,
// and verify what ssh-keygen signs.
func TestStockKeysBothWays(t *testing.T) {
	for name, args := range map[string][]string{
		"ed25519":  {"-t", "ed25519", "-N", ""},
		"ecdsa":    {"-t", "ecdsa", "-b", "256", "-N", ""},
		"rsa 2048": {"-t", "rsa", "-b", "2048", "-N", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := keygen(t, args...)
			signer := load(t, path)
			allowed := AllowedLine([]string{"server@acme"}, []string{NamespaceHead}, signer.Public(), "") + "\n"
			message := []byte("a message\nof two lines\n")
			sig, err := signer.Sign(message, NamespaceHead)
			if err != nil {
				t.Fatal(err)
			}
			if !stockVerify(t, []byte(allowed), message, sig, "server@acme", NamespaceHead) {
				t.Error("ssh-keygen refuses our signature")
			}
			if _, err := trust(t, allowed).Verify(message, sig, NamespaceHead); err != nil {
				t.Error(err)
			}
			stock := stockSign(t, path, NamespaceHead, message)
			got, err := trust(t, allowed).Verify(message, stock, NamespaceHead)
			if err != nil || len(got) != 1 || got[0] != "server@acme" {
				t.Errorf("signature of ssh-keygen: %v, %v", got, err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	good := keygen(t, "-t", "ed25519", "-N", "")
	put := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, path, want string }{
		{"encrypted", keygen(t, "-t", "ed25519", "-N", "secret"), "nobody to ask"},
		{"old PEM format", keygen(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""), "ssh-keygen -p -N ''"},
		{"rsa 1024", keygen(t, "-t", "rsa", "-b", "1024", "-N", ""), "1024 bits"},
		{"ecdsa 384", keygen(t, "-t", "ecdsa", "-b", "384", "-N", ""), "ecdsa-sha2-nistp384 are not supported"},
		{"the public half", put(read(t, good+".pub")), "not a private key file"},
		{"empty", put(nil), "not a private key file"},
		{"cut", put(bytes.Replace(read(t, good), []byte("\n"), []byte("\nAAAA\n"), 1)), "damaged"},
		{"a folder", t.TempDir(), "not a regular file"},
		{"endless", put(make([]byte, maxKeyFile+1)), "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.path, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("error %v, want one that names %s and says %q", err, c.path, c.want)
			}
		})
	}
}

func TestLoadMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nothing")
	_, err := Load(path, nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "ssh-keygen -t ed25519") {
		t.Errorf("private key: %v", err)
	}
	_, err = LoadTrust(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "allowed_signers") {
		t.Errorf("trusted keys: %v", err)
	}
}

func TestLoadModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists, which Go does not show")
	}
	path := keygen(t, "-t", "ed25519", "-N", "")
	for mode, want := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o601: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, nil)
		if (err == nil) != want {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err != nil && (!errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "chmod 600 "+path)) {
			t.Errorf("mode %04o: error without the way out: %v", mode, err)
		}
	}
	list := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTrust(list); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(list, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTrust(list); !errors.Is(err, ErrPermission) {
		t.Errorf("a list that everybody can change: %v", err)
	}
}

func TestLoadOfAnotherAccount(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("the superuser reads every file")
	}
	path := keygen(t, "-t", "ed25519", "-N", "")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); !errors.Is(err, ErrPermission) {
		t.Errorf("error %v", err)
	}
}

// Keys that stay in an agent sign as well.
func TestNewSignerOfAgent(t *testing.T) {
	ring := agent.NewKeyring()
	for _, bits := range []int{1024, 2048} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Skip(err) // Go may refuse to make weak keys
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
	}
	here, there := net.Pipe()
	go func() { _ = agent.ServeAgent(ring, there) }()
	defer here.Close()
	signers, err := agent.NewClient(here).Signers()
	if err != nil || len(signers) != 2 {
		t.Fatalf("%d signers, %v", len(signers), err)
	}
	if _, err := NewSigner(signers[0]); err == nil {
		t.Error("a weak key of an agent is accepted")
	}
	s, err := NewSigner(signers[1])
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign([]byte("message"), NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust(t, AllowedLine([]string{"server@acme"}, nil, s.Public(), "")).Verify([]byte("message"), sig, NamespaceHead); err != nil {
		t.Error(err)
	}
}

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	pub, err := Generate(path, "server\nof ACME")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v, %v", info.Mode(), err)
	}
	line := AuthorizedLine(pub, "server of ACME")
	if got := string(read(t, path+".pub")); got != line+"\n" {
		t.Errorf("public half %q, want %q", got, line)
	}
	out, err := exec.Command(needKeygen(t), "-y", "-f", path).Output()
	if err != nil || strings.TrimSpace(string(out)) != line {
		t.Errorf("ssh-keygen -y: %q, %v, want %q", out, err, line)
	}
	if got := AuthorizedLine(load(t, path).Public(), ""); got != AuthorizedLine(pub, "") {
		t.Errorf("Load returned %s", got)
	}
}

func TestGenerateNeverOverwrites(t *testing.T) {
	for _, there := range []string{"server", "server.pub"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, there), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Generate(filepath.Join(dir, "server"), "")
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), there) {
			t.Errorf("%s is there: %v", there, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || string(read(t, filepath.Join(dir, there))) != "precious" {
			t.Errorf("%s is there: the folder holds %v afterwards", there, entries)
		}
	}
	_, err := Generate(filepath.Join(t.TempDir(), "no", "server"), "")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mkdir") {
		t.Errorf("no folder: %v", err)
	}
}

// FuzzParsePrivate: a damaged key file is an error, never a panic.
func FuzzParsePrivate(f *testing.F) {
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n"))
	path := filepath.Join(f.TempDir(), "key")
	if _, err := Generate(path, "test only"); err != nil {
		f.Fatal(err)
	}
	f.Add(read(f, path))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParsePrivate("key", data, nil)
		if (err == nil) != (s != nil) {
			t.Errorf("%v, %v", s, err)
		}
	})
}
