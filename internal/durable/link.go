package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Point makes the symbolic link link point to target, whatever it pointed to
// before. target is what will stand in the link; whether it exists is not
// looked at. What is there under that name and is no symbolic link stays, and
// is [ErrDifferent]. The folder must exist. On Windows, where links need a
// right that accounts do not have by default, the result wraps [errors.ErrUnsupported].
//
// Steps: temporary link beside it, rename, sync the folder. A crash leaves the
// old target or the new one, never none. Between looking at the name and the
// rename a second writer could put a file there, which the rename would
// replace; there is one writer, which holds its [Lock].
func Point(link, target string) error {
	link = filepath.Clean(link) // with a slash at its end the name would be the target's
	if !canPoint {
		return fmt.Errorf("%s is left as it was: symbolic links: %w", link, errors.ErrUnsupported)
	}
	if err := mustBeLink(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is left as it was: %w", link, err)
	}
	tmp := tempName(link)
	if err := os.Symlink(target, tmp); err != nil {
		return fmt.Errorf("%s is left as it was: %w", link, err)
	}
	if err := rename(osSystem{}, tmp, link); err != nil {
		return fmt.Errorf("%s is left as it was: %w", link, errors.Join(err, os.Remove(tmp)))
	}
	return SyncDir(filepath.Dir(link))
}

// Unpoint removes the symbolic link link and makes that survive a power cut.
// One that is not there is no error. What is there and is no symbolic link
// stays, and is [ErrDifferent].
func Unpoint(link string) error {
	link = filepath.Clean(link)
	err := mustBeLink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s is left as it was: %w", link, err)
	}
	return Tree{}.Remove(link)
}

func mustBeLink(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("not a symbolic link (%s): %w", fi.Mode(), ErrDifferent)
	}
	return nil
}
