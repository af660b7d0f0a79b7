package keys

import (
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

// Load reads an unencrypted OpenSSH private key: Ed25519, ECDSA P-256, or RSA
// of at least 2048 bits. A file that is not there is fs.ErrNotExist; on unix,
// one that others than its owner can read is [ErrPermission]. Every error
// names the file and the next step.
func Load(path string) (Signer, error) {
	s, err := LoadSSH(path)
	if err != nil {
		return nil, err
	}
	return signer{s}, nil
}

// LoadSSH is [Load] for a key that logs in to a server.
func LoadSSH(path string) (ssh.Signer, error) {
	data, err := readFile(path, maxKeyFile, checkPrivateMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("private key: %w; make one with: ssh-keygen -t ed25519 -N '' -f %s", err, path)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return parseSSH(path, data)
}

// ParsePrivate is [Load] for bytes that are at hand; name stands in errors.
func ParsePrivate(name string, data []byte) (Signer, error) {
	s, err := parseSSH(name, data)
	if err != nil {
		return nil, err
	}
	return signer{s}, nil
}

func parseSSH(name string, data []byte) (ssh.Signer, error) {
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
		return nil, fmt.Errorf("private key %s: the key is encrypted, which is not supported yet; take the passphrase off with: ssh-keygen -p -N '' -f %s",
			name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("private key %s: damaged or of a kind that is not supported: %w; make a new one with: ssh-keygen -t ed25519", name, err)
	}
	if err := checkKey(s.PublicKey()); err != nil {
		return nil, fmt.Errorf("private key %s: %w", name, err)
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
