package keys

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	// minRSA: NIST SP 800-131A and the French NF525 rules accept no shorter
	// modulus.
	minRSA = 2048
	// maxRSA bounds what a stranger's key can make a reader compute.
	maxRSA = 8192
)

// NewSigner makes a Signer of s, which may live in a file, an agent or a
// token. It refuses a key that [Trust] would not accept either.
func NewSigner(s ssh.Signer) (Signer, error) {
	if err := checkKey(s.PublicKey()); err != nil {
		return nil, err
	}
	return signer{s}, nil
}

type signer struct{ ssh ssh.Signer }

func (s signer) Public() ssh.PublicKey { return s.ssh.PublicKey() }

// Sign signs and then verifies what it has signed: a signature that a broken
// token or memory cell spoiled would otherwise be noticed by the readers only,
// and for RSA may give the key away (Boneh, DeMillo, Lipton 1997).
func (s signer) Sign(message []byte, namespace string) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(message), s.ssh, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", ssh.FingerprintSHA256(s.Public()), err)
	}
	if err := sshsig.Verify(bytes.NewReader(message), sig, s.Public(), sshsig.HashSHA512, namespace); err != nil {
		return nil, fmt.Errorf("sign with key %s: the fresh signature does not verify (faulty memory, or a broken agent): %w",
			ssh.FingerprintSHA256(s.Public()), err)
	}
	return sshsig.Armor(sig), nil
}

// AuthorizedLine returns pub as one line for authorized_keys or a .pub file,
// without the line feed. Control characters in comment become spaces, so that
// it is always one line.
func AuthorizedLine(pub ssh.PublicKey, comment string) string {
	line := string(bytes.TrimSuffix(ssh.MarshalAuthorizedKey(pub), []byte("\n")))
	if comment == "" {
		return line
	}
	return line + " " + oneLine(comment)
}

func oneLine(s string) string {
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, []byte(s)))
}

// checkKey refuses every key but the kinds that stock ssh-keygen verifies
// everywhere: three that a file can hold, and the two of a FIDO2 token.
func checkKey(pub ssh.PublicKey) error {
	switch pub.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		return checkRSA(pub)
	}
	return fmt.Errorf("keys of type %s are not supported; make one with: ssh-keygen -t ed25519 (or -t ecdsa -b 256)", pub.Type())
}

func checkRSA(pub ssh.PublicKey) error {
	// An agent's key knows nothing but its bytes.
	parsed, err := ssh.ParsePublicKey(pub.Marshal())
	if err != nil {
		return err
	}
	c, ok := parsed.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("an RSA key of unknown size")
	}
	k, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return errors.New("an RSA key of unknown size")
	}
	if n := k.N.BitLen(); n < minRSA || n > maxRSA {
		return fmt.Errorf("an RSA key of %d bits is outside %d to %d; make a new one with: ssh-keygen -t ed25519", n, minRSA, maxRSA)
	}
	return nil
}
