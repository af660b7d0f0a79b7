package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// ask is an Ask that knows one passphrase.
func ask(passphrase string) Ask {
	return func(string) ([]byte, error) { return []byte(passphrase), nil }
}

// Keys of each kind, with and without a passphrase: ours read by ssh-keygen,
// those of ssh-keygen read here, and what each signs accepted by the other.
func TestNewKinds(t *testing.T) {
	needKeygen(t)
	for _, kind := range []Kind{Ed25519, ECDSA} {
		for _, passphrase := range []string{"", "ouvre-toi, sésame"} {
			path := filepath.Join(t.TempDir(), "key")
			o := NewOptions{Kind: kind, Comment: "a comment"}
			if passphrase != "" {
				o.Passphrase = []byte(passphrase)
			}
			pub, err := New(path, o)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			out, err := exec.Command(needKeygen(t), "-y", "-P", passphrase, "-f", path).CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), AuthorizedLine(pub, "")) {
				t.Errorf("%s %q: ssh-keygen reads %s: %v", kind, passphrase, out, err)
			}
			signer, err := Load(path, ask(passphrase))
			if err != nil {
				t.Fatal(err)
			}
			message := []byte("message")
			sig := must(signer.Sign(message, NamespaceHead))
			allowed := AllowedLine([]string{"server@acme"}, nil, pub, "") + "\n"
			if !stockVerify(t, []byte(allowed), message, sig, "server@acme", NamespaceHead) {
				t.Errorf("%s: ssh-keygen does not verify", kind)
			}
			// The other way round.
			stock := keygen(t, "-t", string(kind), "-N", passphrase)
			if _, err := Load(stock, ask(passphrase)); err != nil {
				t.Errorf("%s %q of ssh-keygen: %v", kind, passphrase, err)
			}
			if passphrase == "" {
				continue
			}
			for what, a := range map[string]Ask{"wrong": ask("wrong"), "nobody": nil, "no answer": func(string) ([]byte, error) { return nil, ErrPermission }} {
				for _, p := range []string{path, stock} {
					_, err := Load(p, a)
					if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), p) || strings.Contains(err.Error(), passphrase) {
						t.Errorf("%s: error %v", what, err)
					}
				}
			}
		}
	}
	if _, err := New(filepath.Join(t.TempDir(), "key"), NewOptions{Kind: "dsa"}); err == nil {
		t.Error("a key of another kind was made")
	}
	if _, err := New(filepath.Join(t.TempDir(), "key"), NewOptions{Passphrase: []byte{}}); err == nil {
		t.Error("an empty passphrase encrypts")
	}
}

// A cipher that cannot be read is said, with the way out; and the way out
// works.
func TestLoadOtherCipher(t *testing.T) {
	path := keygen(t, "-t", "ed25519", "-N", "secret", "-Z", "aes128-ctr")
	_, err := Load(path, ask("secret"))
	if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "ssh-keygen -p -Z aes256-ctr -f "+path) {
		t.Fatalf("error %v", err)
	}
	if out, err := exec.Command(needKeygen(t), "-p", "-Z", "aes256-ctr", "-P", "secret", "-N", "secret", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := Load(path, ask("secret")); err != nil {
		t.Error(err)
	}
}

// Describe says what ssh-keygen -l says, of private, encrypted and public
// halves.
func TestDescribe(t *testing.T) {
	for _, args := range [][]string{{"-t", "ed25519", "-N", ""}, {"-t", "ed25519", "-N", "secret"}, {"-t", "ecdsa", "-b", "256", "-N", ""}, {"-t", "rsa", "-b", "3072", "-N", ""}} {
		path := keygen(t, args...)
		for _, p := range []string{path, path + ".pub"} {
			list, err := Describe(p)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(needKeygen(t), "-l", "-f", p).Output()
			if err != nil {
				t.Fatal(err)
			}
			if got := list[0].String() + "\n"; got != string(out) {
				t.Errorf("%v: %q, ssh-keygen says %q", args, got, out)
			}
			if list[0].Encrypted != (args[3] == "secret" && p == path) {
				t.Errorf("%v: encrypted %v", args, list[0].Encrypted)
			}
		}
	}
	other := keygen(t, "-t", "ed25519", "-N", "")
	path := keygen(t, "-t", "ed25519", "-N", "")
	if err := os.WriteFile(path+".pub", read(t, other+".pub"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Describe(path); err == nil || !strings.Contains(err.Error(), "not the public half") {
		t.Errorf("error %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Describe(path); !errors.Is(err, ErrPermission) {
		t.Errorf("error %v", err)
	}
}

// startAgent starts the stock ssh-agent with these keys.
func startAgent(t *testing.T, paths ...string) {
	t.Helper()
	program, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Skip("ssh-agent is not installed: apt-get install openssh-client")
	}
	socket := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command(program, "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Setenv("SSH_AUTH_SOCK", socket)
	for range 200 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, p := range paths {
		if out, err := exec.Command("ssh-add", "-q", p).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestAgent: the real agent signs with each kind of key.
func TestAgent(t *testing.T) {
	paths := []string{keygen(t, "-t", "ed25519", "-N", ""), keygen(t, "-t", "ecdsa", "-b", "256", "-N", ""), keygen(t, "-t", "rsa", "-b", "2048", "-N", "")}
	startAgent(t, paths...)
	a, err := OpenAgent()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	message := []byte("message")
	for _, p := range paths {
		pub, _, err := LoadPublic(p + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.Signer("the key", Is(pub))
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(message, NamespaceTickets)
		if err != nil {
			t.Fatal(err)
		}
		allowed := AllowedLine([]string{"till-017@acme"}, nil, pub, "") + "\n"
		if got, err := trust(t, allowed).Verify(message, sig, NamespaceTickets); err != nil || got[0] != "till-017@acme" {
			t.Errorf("%v, %v", got, err)
		}
		if !stockVerify(t, []byte(allowed), message, sig, "till-017@acme", NamespaceTickets) {
			t.Errorf("ssh-keygen does not verify what the agent signed with %s", p)
		}
	}
	if list, err := a.Keys(); err != nil || len(list) != 3 || list[0].Comment != "test only" {
		t.Errorf("%v, %v", list, err)
	}
	_, err = a.Key("a key of nobody", func(ssh.PublicKey) bool { return false })
	if !errors.Is(err, ErrPermission) || strings.Count(err.Error(), "SHA256:") != 3 {
		t.Errorf("error %v", err)
	}
	if _, err := a.Key("any", func(ssh.PublicKey) bool { return true }); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "several") {
		t.Errorf("error %v", err)
	}
	held := trust(t, AllowedLine([]string{"server@acme"}, nil, must(a.Keys())[1].Public, "")+"\n")
	if _, err := a.Key("the server's", held.Holds("server@acme")); err != nil {
		t.Error(err)
	}
	if _, err := a.Key("another's", held.Holds("server@other")); err == nil {
		t.Error("another principal's key was given")
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := OpenAgent(); !errors.Is(err, ErrPermission) {
		t.Errorf("error %v", err)
	}
}

// A token is a FIDO2 token made of software: what it signs has the form of
// PROTOCOL.u2f, over flags and a counter.
type token struct {
	private ed25519.PrivateKey
	flags   byte
	pub     ssh.PublicKey
}

const application = "ssh:"

func newToken(t *testing.T, flags byte) token {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct{ Type, Key, Application string }{ssh.KeyAlgoSKED25519, string(public), application})
	return token{private, flags, must(ssh.ParsePublicKey(blob))}
}

func (k token) sign(t *testing.T, message []byte, namespace string) []byte {
	t.Helper()
	hash := sha512.Sum512(message)
	wrapped := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Algorithm, Hash string }{namespace, "", "sha512", string(hash[:])})...)
	app, inner := sha256.Sum256([]byte(application)), sha256.Sum256(wrapped)
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, 7)
	signed := bytes.Join([][]byte{app[:], rest, inner[:]}, nil)
	s := &sshsig.Signature{Version: 1, PublicKey: k.pub, Namespace: namespace, HashAlgorithm: sshsig.HashSHA512,
		Signature: &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.private, signed), Rest: rest}}
	return sshsig.Armor(s)
}

// A key in a FIDO2 token is accepted as ssh-keygen accepts it, when somebody
// has touched the token.
func TestToken(t *testing.T) {
	message := []byte("message")
	for _, c := range []struct {
		flags byte
		good  bool
	}{{1, true}, {5, true}, {0, false}} {
		k := newToken(t, c.flags)
		sig := k.sign(t, message, NamespaceHead)
		allowed := AllowedLine([]string{"root-1@acme"}, nil, k.pub, "") + "\n"
		_, err := trust(t, allowed).Verify(message, sig, NamespaceHead)
		if (err == nil) != c.good {
			t.Errorf("flags %d: %v", c.flags, err)
		}
		if stock := stockVerify(t, []byte(allowed), message, sig, "root-1@acme", NamespaceHead); stock != c.good && c.good {
			t.Errorf("flags %d: ssh-keygen says %v", c.flags, stock)
		}
		if _, err := trust(t, allowed).Verify([]byte("massage"), sig, NamespaceHead); err == nil {
			t.Error("other bytes are accepted")
		}
	}
}
