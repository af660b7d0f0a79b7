package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// WriteFile makes path hold data, whatever was there before: one file, or a
// symbolic link, which is replaced and not followed. The folder must exist.
//
// Steps: temporary file beside it (O_EXCL, so that no stranger's file or link
// is written through), write, sync, close, rename, sync the folder. A crash
// before the rename leaves the old bytes under path, a crash after it the new
// ones, because the bytes were on disk before the name pointed at them. A
// power cut between the rename and the sync of the folder may still show the
// old bytes, whole; when WriteFile has returned nil, no more.
//
// On an error before the rename path is as it was and the temporary file is
// removed.
func (t Tree) WriteFile(path string, data []byte, perm fs.FileMode) error {
	tmp, err := t.writeTemp(path, data, perm)
	if err != nil {
		return fmt.Errorf("%s is left as it was: %w", path, err)
	}
	if err := rename(t.system(), tmp, path); err != nil {
		return fmt.Errorf("%s is left as it was: %w", path, errors.Join(err, t.system().Remove(tmp)))
	}
	return t.SyncDir(filepath.Dir(path))
}

// writeTemp writes and syncs data under a new temporary name beside path. On
// an error nothing is left. Bytes whose write, sync or close failed are given
// up: after a failed fsync the kernel may have dropped them, and a second
// fsync would report success over a torn file.
func (t Tree) writeTemp(path string, data []byte, perm fs.FileMode) (string, error) {
	tmp := tempName(path)
	f, err := t.system().OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, t.system().Remove(tmp))
	}
	return tmp, nil
}

// tempName returns a hidden name beside path that nobody else uses: two
// processes that write the same path must not share a temporary file.
func tempName(path string) string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	dir, base := filepath.Split(path)
	return dir + "." + base + "." + hex.EncodeToString(b[:]) + ".tmp"
}

var tempPattern = regexp.MustCompile(`^\..+\.[0-9a-f]{16}\.tmp$`)

// Sweep removes the temporary files and links that crashed calls of WriteFile,
// Create and Point left in dir, and returns how many. Call it only where nobody else
// writes at the same time, for instance while holding the stream's [Lock]. A
// folder that does not exist holds none.
func (t Tree) Sweep(dir string) (n int, err error) {
	d, err := t.openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if !tempPattern.MatchString(name) {
			continue
		}
		if err := t.system().Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		n++
	}
	return n, nil
}
