package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Description is what can be said of a key without using it. It holds
// nothing that is secret.
type Description struct {
	File        string   `json:"file,omitempty"`
	Type        string   `json:"type"` // as ssh-keygen -l writes it: ED25519
	Bits        int      `json:"bits"`
	Fingerprint string   `json:"fingerprint"` // SHA256:…
	Comment     string   `json:"comment"`
	Private     bool     `json:"private"`
	Encrypted   bool     `json:"encrypted"`
	Principals  []string `json:"principals,omitempty"` // of a line of allowed_signers
	Namespaces  []string `json:"namespaces,omitempty"` // none: all
	Public      string   `json:"public"`               // as in a .pub file, without the comment
}

// String is what ssh-keygen -l -f prints.
func (d Description) String() string {
	comment := d.Comment
	if comment == "" {
		comment = "no comment"
	}
	return fmt.Sprintf("%d %s %s (%s)", d.Bits, d.Fingerprint, comment, d.Type)
}

// DescribeKey describes a public key.
func DescribeKey(pub ssh.PublicKey, comment string) Description {
	return Description{Type: shortType(pub.Type()), Bits: bits(pub), Fingerprint: ssh.FingerprintSHA256(pub), Comment: oneLine(comment), Public: AuthorizedLine(pub, "")}
}

// Describe describes the keys in a file: a private key, encrypted or not, whose
// modes must be as [Load] wants them; a .pub file; or an allowed_signers file,
// line by line.
func Describe(path string) ([]Description, error) {
	data, err := readFile(path, maxTrustFile, checkAnyMode)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if block, _ := pem.Decode(data); block != nil {
		d, err := describePrivate(path)
		return []Description{d}, err
	}
	if pub, comment, options, rest, err := ssh.ParseAuthorizedKey(data); err == nil && len(options) == 0 && len(strings.TrimSpace(string(rest))) == 0 {
		d := DescribeKey(pub, comment)
		d.File = path
		return []Description{d}, nil
	}
	trust, err := ParseAllowedSigners(path, data)
	if err != nil {
		return nil, fmt.Errorf("neither a private key, nor a .pub file, nor a list of trusted keys: %w", err)
	}
	var list []Description
	for _, e := range trust.entries {
		d := DescribeKey(e.key, "")
		d.File, d.Principals, d.Namespaces = path, e.principals, e.namespaces
		list = append(list, d)
	}
	return list, nil
}

// describePrivate reads the public half out of a private key, which is not
// encrypted in any of them (PROTOCOL.key), and the comment out of the .pub file.
func describePrivate(path string) (Description, error) {
	data, err := readFile(path, maxKeyFile, checkPrivateMode)
	if err != nil {
		return Description{}, fmt.Errorf("private key: %w", err)
	}
	var pub ssh.PublicKey
	s, err := ssh.ParsePrivateKey(data)
	missing := (*ssh.PassphraseMissingError)(nil)
	encrypted := errors.As(err, &missing)
	switch {
	case err == nil:
		pub = s.PublicKey()
	case encrypted && missing.PublicKey != nil:
		pub = missing.PublicKey
	default:
		return Description{}, fmt.Errorf("private key %s: %w", path, err)
	}
	comment := ""
	if half, text, err := LoadPublic(path + ".pub"); err == nil && Is(pub)(half) {
		comment = text
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Description{}, err
	} else if err == nil {
		return Description{}, fmt.Errorf("%s.pub is not the public half of %s; one of the two was replaced: make it again with: ssh-keygen -y -f %s", path, path, path)
	}
	d := DescribeKey(pub, comment)
	d.File, d.Private, d.Encrypted = path, true, encrypted
	return d, nil
}

func checkAnyMode(string, fs.FileMode) error { return nil }

// shortType is how ssh-keygen -l names a type.
func shortType(t string) string {
	switch t {
	case ssh.KeyAlgoED25519:
		return "ED25519"
	case ssh.KeyAlgoECDSA256:
		return "ECDSA"
	case ssh.KeyAlgoRSA:
		return "RSA"
	case ssh.KeyAlgoSKED25519:
		return "ED25519-SK"
	case ssh.KeyAlgoSKECDSA256:
		return "ECDSA-SK"
	}
	return t
}

func bits(pub ssh.PublicKey) int {
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		switch k := c.CryptoPublicKey().(type) {
		case *rsa.PublicKey:
			return k.N.BitLen()
		case *ecdsa.PublicKey:
			return k.Curve.Params().BitSize
		}
	}
	return 256 // Ed25519 and what tokens hold
}
