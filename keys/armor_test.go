package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// armored wraps a blob as ssh-keygen does.
func armored(blob []byte) string { return wrapped(base64.StdEncoding.EncodeToString(blob)) }

// wrapped puts text between the first and the last line.
func wrapped(text string) string {
	var b strings.Builder
	b.WriteString(armorBegin)
	for len(text) > 70 {
		b.WriteString(text[:70] + "\n")
		text = text[70:]
	}
	b.WriteString(text + "\n" + armorEnd)
	return b.String()
}

func unarmored(t testing.TB, sig []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(sig)
	if block == nil {
		t.Fatal("no armor")
	}
	return block.Bytes
}

func TestUnarmorRefuses(t *testing.T) {
	signer := fresh(t)
	raw, err := signer.Sign([]byte("message"), "x@caisseauto") // whose base64 ends with =
	if err != nil {
		t.Fatal(err)
	}
	good, blob := string(raw), unarmored(t, raw)
	text := base64.StdEncoding.EncodeToString(blob)
	loose := text[:len(text)-2] + string(text[len(text)-2]+1) + "="
	if plain, err := base64.StdEncoding.DecodeString(loose); err != nil || !bytes.Equal(plain, blob) {
		t.Fatalf("these are no loose bits: %s, %v", text, err)
	}
	lines := strings.SplitAfter(good, "\n")
	for _, c := range []struct{ name, sig string }{
		{"empty", ""},
		{"text before the armor", "hello\n" + good},
		{"empty line before the armor", "\n" + good},
		{"text after the armor", good + "hello\n"},
		{"two signatures", good + good},
		{"no last line feed", strings.TrimSuffix(good, "\n")},
		{"CR LF", strings.ReplaceAll(good, "\n", "\r\n")},
		{"CR within base64", wrapped(text[:10] + "\r" + text[10:])},
		{"PEM header", strings.Replace(good, "\n", "\nComment: hello\n\n", 1)},
		{"empty line", strings.Replace(good, lines[2], "\n"+lines[2], 1)},
		{"blank in a line", strings.Replace(good, lines[1], " "+lines[1], 1)},
		{"uneven lines", strings.Replace(good, lines[1], lines[1][:10]+"\n"+lines[1][10:], 1)},
		{"one long line", armorBegin + base64.StdEncoding.EncodeToString(blob) + "\n" + armorEnd},
		{"another armor", strings.ReplaceAll(good, "SSH SIGNATURE", "SSH MESSAGE")},
		{"no base64", armorBegin + "\n" + armorEnd},
		{"nothing in it", armorBegin + armorEnd},
		{"cut", strings.Join(lines[:2], "")},
		{"loose bits at the end", wrapped(loose)},
		{"no padding", wrapped(strings.TrimSuffix(text, "="))},
		{"one byte less in the blob", armored(blob[:len(blob)-1])},
		{"one byte more in the blob", armored(append(bytes.Clone(blob), 0))},
		{"magic", armored(append([]byte("SSHSIX"), blob[6:]...))},
		{"version 2", armored(bytes.Replace(blob, []byte("\x00\x00\x00\x01"), []byte("\x00\x00\x00\x02"), 1))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := unarmor([]byte(c.sig)); !errors.Is(err, ErrSignatureFormat) {
				t.Errorf("error %v, want %v", err, ErrSignatureFormat)
			}
		})
	}
	if _, err := unarmor([]byte(armored(blob))); err != nil {
		t.Errorf("the armor that ssh-keygen writes: %v", err)
	}
	if _, err := unarmor(make([]byte, MaxSignature+1)); !errors.Is(err, ErrSignatureFormat) || !strings.Contains(err.Error(), "16384") {
		t.Errorf("endless signature: %v", err)
	}
}

// rawSigner gives access to what the Signer of this package keeps back.
func rawSigner(t *testing.T, path string) ssh.Signer {
	t.Helper()
	s, err := LoadSSH(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Parts of a blob that verify with the library, and that nobody signed.
func TestUnarmorRefusesUnsignedBytes(t *testing.T) {
	key := keygen(t, "-t", "ed25519", "-N", "")
	sig, err := sshsig.Sign(strings.NewReader("message"), rawSigner(t, key), sshsig.HashSHA512, NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	// The reserved field is an empty string behind the namespace.
	reserved := bytes.Replace(sig.Marshal(), []byte(NamespaceHead+"\x00\x00\x00\x00"), []byte(NamespaceHead+"\x00\x00\x00\x05hello"), 1)
	if _, err := unarmor([]byte(armored(reserved))); !errors.Is(err, ErrSignatureFormat) {
		t.Errorf("reserved field: %v", err)
	}
	sig.Signature.Rest = []byte("hello")
	if _, err := unarmor([]byte(armored(sig.Marshal()))); !errors.Is(err, ErrSignatureFormat) {
		t.Errorf("bytes behind the signature: %v", err)
	}
}

// Algorithms that the library accepts and the format does not have.
func TestUnarmorRefusesAlgorithms(t *testing.T) {
	key := keygen(t, "-t", "ed25519", "-N", "")
	if _, err := unarmor(stockSign(t, key, NamespaceHead, []byte("message"), "-O", "hashalg=sha256")); err == nil || !strings.Contains(err.Error(), "sha512") {
		t.Errorf("sha256: %v", err)
	}
	path := keygen(t, "-t", "rsa", "-b", "2048", "-N", "")
	sig, err := sshsig.Sign(strings.NewReader("message"), rawSigner(t, path), sshsig.HashSHA512, NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA} {
		sig.Signature, err = rawSigner(t, path).(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unarmor(sshsig.Armor(sig)); !errors.Is(err, ErrSignatureFormat) {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

// FuzzUnarmor: whatever is accepted encodes to the same blob again, and the
// library accepts it too.
func FuzzUnarmor(f *testing.F) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		sig := stockSign(f, keygen(f, "-t", kind, "-N", ""), NamespaceHead, []byte("message"))
		f.Add(sig)
		f.Add(bytes.Replace(sig, []byte("\n"), []byte("\r\n"), 1))
		f.Add(append([]byte("x\n"), sig...))
		f.Add(sig[:len(sig)/2])
	}
	f.Add([]byte(armorBegin + "U1NIU0lH\n" + armorEnd))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unarmor(data)
		if err != nil {
			if !errors.Is(err, ErrSignatureFormat) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		want, err := sshsig.Unarmor(data)
		if err != nil {
			t.Fatalf("the library refuses what was accepted: %v", err)
		}
		if !bytes.Equal(got.Marshal(), want.Marshal()) || !bytes.Equal(got.Marshal(), unarmored(t, data)) {
			t.Error("another signature than the file holds")
		}
	})
}
