package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// A Kind is a kind of key that can be made.
type Kind string

// The kinds: Ed25519 unless a fiscal regime lists others (NF525 lists ECDSA and
// RSA, and not Ed25519).
const (
	Ed25519 Kind = "ed25519"
	ECDSA   Kind = "ecdsa" // on the curve P-256
)

// NewOptions say what key to make. The zero value is an Ed25519 key without
// comment and passphrase.
type NewOptions struct {
	Kind       Kind
	Comment    string
	Passphrase []byte // encrypts the private half (aes256-ctr, bcrypt); nil: it is not encrypted
}

// Generate makes an Ed25519 key without a passphrase; see [New].
func Generate(path, comment string) (pub ssh.PublicKey, err error) {
	return New(path, NewOptions{Comment: comment})
}

// New makes a key: the private half in path (mode 0600, OpenSSH
// format), the public half in path.pub. Both are on disk when it returns. It
// overwrites nothing: when one of the two is there already, the error is
// fs.ErrExist and neither is touched. The folder must exist.
func New(path string, o NewOptions) (pub ssh.PublicKey, err error) {
	comment := oneLine(o.Comment)
	private, err := draw(o.Kind)
	if err != nil {
		return nil, fmt.Errorf("new key %s: %w", path, err)
	}
	pub, err = ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("new key %s: %w", path, err)
	}
	block, err := marshal(private, comment, o.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("new key %s: %w", path, err)
	}
	if err := create(path, 0o600, pem.EncodeToMemory(block)); err != nil {
		return nil, newKeyError(path, err)
	}
	if err := create(path+".pub", 0o644, []byte(AuthorizedLine(pub, comment)+"\n")); err != nil {
		// A private key without its public half would stop the next attempt.
		return nil, newKeyError(path, errors.Join(err, os.Remove(path)))
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, newKeyError(path, err)
	}
	return pub, nil
}

// draw draws a private key.
func draw(kind Kind) (crypto.Signer, error) {
	switch kind {
	case Ed25519, "":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("keys of kind %q are not made here: write %s or %s", kind, Ed25519, ECDSA)
}

func marshal(private crypto.Signer, comment string, passphrase []byte) (*pem.Block, error) {
	if passphrase == nil {
		return ssh.MarshalPrivateKey(private, comment)
	}
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	return ssh.MarshalPrivateKeyWithPassphrase(private, comment, passphrase)
}

func newKeyError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("new key: %w; nothing was changed: use that key, or choose another name", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("new key: %w; make the folder first: mkdir -m 700 -p %s", err, filepath.Dir(path))
	}
	return fmt.Errorf("new key: %w", permission(err))
}

// create writes a new file and leaves none behind when it fails.
func create(path string, mode fs.FileMode, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if _, err = f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
