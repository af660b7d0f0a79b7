package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"
)

// ErrPermission: a file of keys may be read or changed by others, or may not
// be read by this account. Exit code 77.
var ErrPermission = errors.New("not permitted")

const (
	// maxKeyFile: an RSA key of 8192 bits takes 7 KiB.
	maxKeyFile = 64 << 10
	// pemOpenSSH is the armor of the format that ssh-keygen writes since
	// OpenSSH 7.8 (PROTOCOL.key).
	pemOpenSSH = "OPENSSH PRIVATE KEY"
)

// An Ask gives the passphrase of a private key, whose file is named. Its errors
// come back wrapped.
type Ask func(name string) ([]byte, error)

// Load reads an OpenSSH private key: Ed25519, ECDSA P-256, or RSA of at least
// 2048 bits. The passphrase of an encrypted one comes from ask; nil: there is
// nobody to ask, and an encrypted key is [ErrPermission]. So is a wrong
// passphrase and, on unix, a file that others than its owner can read. A file
// that is not there is fs.ErrNotExist. Every error names the file and the next
// step, and none holds a part of the key or of the passphrase.
func Load(path string, ask Ask) (Signer, error) {
	s, err := LoadSSH(path, ask)
	if err != nil {
		return nil, err
	}
	return signer{s}, nil
}

// LoadSSH is [Load] for a key that logs in to a server.
func LoadSSH(path string, ask Ask) (ssh.Signer, error) {
	data, err := readFile(path, maxKeyFile, checkPrivateMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("private key: %w; make one with: caisseauto keys new %s, or ssh-keygen -t ed25519 -N '' -f %s", err, path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return parseSSH(path, data, ask)
}

// ParsePrivate is [Load] for bytes that are at hand; name stands in errors.
func ParsePrivate(name string, data []byte, ask Ask) (Signer, error) {
	s, err := parseSSH(name, data, ask)
	if err != nil {
		return nil, err
	}
	return signer{s}, nil
}

func parseSSH(name string, data []byte, ask Ask) (ssh.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("private key %s: this is not a private key file (the .pub file has the public half)", name)
	}
	if block.Type != pemOpenSSH {
		return nil, fmt.Errorf("private key %s: the file holds %q, not an OpenSSH key; convert a copy of it with: ssh-keygen -p -N '' -f %s",
			name, block.Type, name)
	}
	s, err := ssh.ParsePrivateKey(data)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		s, err = decrypt(name, data, ask)
		if err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("private key %s: damaged or of a kind that is not supported: %w; make a new one with: ssh-keygen -t ed25519", name, err)
	}
	if err := checkKey(s.PublicKey()); err != nil {
		return nil, fmt.Errorf("private key %s: %w", name, err)
	}
	return s, nil
}

// decrypt opens an encrypted key. Of OpenSSH's ciphers the library reads those
// two that ssh-keygen has used by default (aes256-cbc, then aes256-ctr).
func decrypt(name string, data []byte, ask Ask) (ssh.Signer, error) {
	if ask == nil {
		return nil, fmt.Errorf("private key %s: %w: it is encrypted, and there is nobody to ask for the passphrase", name, ErrPermission)
	}
	passphrase, err := ask(name)
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", name, err)
	}
	defer clear(passphrase)
	s, err := ssh.ParsePrivateKeyWithPassphrase(data, passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, fmt.Errorf("private key %s: %w: the passphrase is wrong", name, ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("private key %s: %w: it is encrypted in a way that cannot be read here (%v); write it again with: ssh-keygen -p -Z aes256-ctr -f %s", name, ErrPermission, err, name)
	}
	return s, nil
}

// readFile reads a regular file of at most limit bytes whose mode check
// accepts. The mode is checked on the open file, so that it cannot be swapped
// in between; the look before keeps a named pipe from blocking the open.
func readFile(path string, limit int64, check func(path string, mode fs.FileMode) error) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, permission(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, permission(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := check(path, info.Mode()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: not a file of this kind", path, limit)
	}
	return data, nil
}

// permission adds ErrPermission to the system's own "permission denied".
func permission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w; run as the account that owns the file", ErrPermission, err)
	}
	return err
}

// CheckPrivate refuses, with [ErrPermission], a file that other accounts can
// read.
func CheckPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return checkPrivateMode(f.Name(), info.Mode())
}
