package keys

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestVerify(t *testing.T) {
	server, till, stranger := fresh(t), fresh(t), fresh(t)
	both := []string{NamespaceManifest, NamespaceHead}
	list := strings.Join([]string{
		"# who may sign",
		"",
		AllowedLine([]string{"server@acme"}, both, server.Public(), "since 2026"),
		AllowedLine([]string{"till-017@acme"}, []string{NamespaceHead}, till.Public(), ""),
		AllowedLine([]string{"server@other", "server@acme"}, []string{NamespaceHead}, server.Public(), ""),
	}, "\n")
	tr := trust(t, list)
	message := []byte("message")
	sign := func(s Signer, namespace string) []byte {
		sig, err := s.Sign(message, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	for _, c := range []struct {
		name      string
		sig       []byte
		namespace string
		want      []string
		err       error
		says      string
	}{
		{"good", sign(server, NamespaceManifest), NamespaceManifest, []string{"server@acme"}, nil, ""},
		{"good, two lines", sign(server, NamespaceHead), NamespaceHead, []string{"server@acme", "server@other"}, nil, ""},
		{"good, till", sign(till, NamespaceHead), NamespaceHead, []string{"till-017@acme"}, nil, ""},
		{"made for another kind", sign(server, NamespaceHead), NamespaceManifest, nil, ErrWrongNamespace, `"head@caisseauto"`},
		{"line does not allow it", sign(till, NamespaceManifest), NamespaceManifest, nil, ErrWrongNamespace, "allowed_signers line 4"},
		{"unknown key", sign(stranger, NamespaceHead), NamespaceHead, nil, ErrUnknownKey, ssh.FingerprintSHA256(stranger.Public())},
		{"no signature", nil, NamespaceHead, nil, ErrSignatureFormat, "begin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := tr.Verify(message, c.sig, c.namespace)
			if !errors.Is(err, c.err) || !slices.Equal(got, c.want) {
				t.Fatalf("%v, %v; want %v, %v", got, err, c.want, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
			// ssh-keygen draws the same conclusion for every principal.
			for _, p := range []string{"server@acme", "server@other", "till-017@acme"} {
				if stock := stockVerify(t, []byte(list), message, c.sig, p, c.namespace); stock != slices.Contains(got, p) {
					t.Errorf("ssh-keygen -I %s says %v, we say %v", p, stock, got)
				}
			}
		})
	}
}

// A signature with the claimed key swapped: the stranger signs, and writes the
// server's key into the blob.
func TestVerifyTakesTheKeyFromTrust(t *testing.T) {
	server, stranger := fresh(t), fresh(t)
	tr := trust(t, AllowedLine([]string{"server@acme"}, nil, server.Public(), ""))
	raw, err := stranger.Sign([]byte("message"), NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := unarmor(raw)
	if err != nil {
		t.Fatal(err)
	}
	sig.PublicKey = server.Public()
	if _, err := tr.Verify([]byte("message"), []byte(armored(sig.Marshal())), NamespaceHead); !errors.Is(err, ErrBadSignature) {
		t.Errorf("error %v, want %v", err, ErrBadSignature)
	}
}

// Every bit of the message and of the signature counts.
func TestVerifyFlippedBytes(t *testing.T) {
	server := fresh(t)
	tr := trust(t, AllowedLine([]string{"server@acme"}, nil, server.Public(), ""))
	message := []byte("a message\n")
	sig, err := server.Sign(message, NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{message, sig} {
		for i := range data {
			for bit := range 8 {
				data[i] ^= 1 << bit
				if _, err := tr.Verify(message, sig, NamespaceHead); err == nil {
					t.Errorf("bit %d of byte %d flipped: accepted", bit, i)
				}
				data[i] ^= 1 << bit
			}
		}
	}
	if _, err := tr.Verify(message, sig, NamespaceHead); err != nil {
		t.Error(err)
	}
}
