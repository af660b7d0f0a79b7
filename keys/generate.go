package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// Generate makes an Ed25519 key: the private half in path (mode 0600, OpenSSH
// format), the public half in path.pub. Both are on disk when it returns. It
// overwrites nothing: when one of the two is there already, the error is
// fs.ErrExist and neither is touched. The folder must exist.
func Generate(path, comment string) (pub ssh.PublicKey, err error) {
	comment = oneLine(comment)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new key %s: %w", path, err)
	}
	pub, err = ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("new key %s: %w", path, err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
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
