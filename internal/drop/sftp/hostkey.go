package sftp

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
)

// A HostKeyError says that the server showed a key that is not pinned. It
// wraps drop.ErrDenied.
type HostKeyError struct {
	Addr   string
	Shown  ssh.PublicKey
	Pinned []ssh.PublicKey
}

// Error names both fingerprints and, for the case that the change is known
// and wanted, the line to put into the configuration.
func (e *HostKeyError) Error() string {
	var pins []string
	for _, k := range e.Pinned {
		pins = append(pins, k.Type()+" "+ssh.FingerprintSHA256(k))
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(e.Shown)), "\n")
	return fmt.Sprintf("host key of %s: the server shows %s %s, pinned is %s. Someone may stand between; ask the server's operator. Only if the operator confirms the new key, write: host_key = %q",
		e.Addr, e.Shown.Type(), ssh.FingerprintSHA256(e.Shown), strings.Join(pins, ", "), line)
}

// Unwrap makes errors.Is(err, drop.ErrDenied) true.
func (e *HostKeyError) Unwrap() error { return drop.ErrDenied }

// pinned accepts exactly the given keys. There is no known_hosts file: its
// rules for ports and wildcards surprise (golang/go#52056), and a till talks
// to one server.
func pinned(addr string, keys []ssh.PublicKey) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, shown ssh.PublicKey) error {
		for _, k := range keys {
			if bytes.Equal(k.Marshal(), shown.Marshal()) {
				return nil
			}
		}
		return &HostKeyError{Addr: addr, Shown: shown, Pinned: keys}
	}
}

// hostKeyAlgorithms lists the signature algorithms of the pinned keys only.
// Left to its default, the client negotiates RSA or ECDSA first, and the
// server then shows a key other than the pinned one (golang/go#29286).
func hostKeyAlgorithms(keys []ssh.PublicKey) ([]string, error) {
	var algs []string
	for _, k := range keys {
		switch t := k.Type(); t {
		case ssh.KeyAlgoRSA:
			algs = append(algs, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256) // never ssh-rsa, which is SHA-1
		case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
			algs = append(algs, t)
		default:
			return nil, fmt.Errorf("sftp: host key of type %s cannot be pinned: use ssh-ed25519, ecdsa-sha2-nistp256 or ssh-rsa", t)
		}
	}
	slices.Sort(algs)
	return slices.Compact(algs), nil
}

// transportConfig is what both sides of this program speak: key exchanges
// with forward secrecy, authenticated ciphers, no SHA-1. The library's own
// client default still offers diffie-hellman-group14-sha1 and hmac-sha1-96.
func transportConfig() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
		Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
		MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
	}
}
