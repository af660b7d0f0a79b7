package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// PublicKeys are one or several SSH public keys, each as "ssh-ed25519 AAAA…"
// with or without a comment behind it. In TOML one string or a list of them.
type PublicKeys []string

// UnmarshalText takes the single string.
func (k *PublicKeys) UnmarshalText(text []byte) error {
	*k = PublicKeys{string(text)}
	return nil
}

// Parse returns the keys, or an error that says which one cannot be read and
// what to write.
func (k PublicKeys) Parse() ([]ssh.PublicKey, error) {
	keys := make([]ssh.PublicKey, 0, len(k))
	for _, line := range k {
		key, err := parsePublicKey(line)
		if err != nil {
			return nil, err
		}
		for _, other := range keys {
			if bytes.Equal(other.Marshal(), key.Marshal()) {
				return nil, fmt.Errorf("the key %s stands there twice", ssh.FingerprintSHA256(key))
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// errKeyForm is the answer to everything that is not one line of a .pub file.
var errKeyForm = errors.New(`not a public key; write the line of the .pub file, like "ssh-ed25519 AAAA…"`)

func parsePublicKey(line string) (ssh.PublicKey, error) {
	if strings.Contains(line, "PRIVATE KEY") {
		return nil, errors.New("this is a private key, which must never stand here; write the public one (the .pub file) and make a new pair")
	}
	if strings.HasPrefix(line, "SHA256:") {
		return nil, errors.New(`a fingerprint is not enough; write the key itself, like "ssh-ed25519 AAAA…"`)
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errKeyForm
	}
	if len(options) > 0 {
		// A line of known_hosts reads as a key with the host as its option.
		return nil, fmt.Errorf("the key has %q before it; write only the part from %q on", options[0], key.Type())
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
		return key, nil
	}
	return nil, fmt.Errorf("keys of type %s are not taken; write an ssh-ed25519 key", key.Type())
}
