package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncDir makes the names in the folder path survive a power cut. Where the
// system cannot sync a folder (Windows, some network file systems) it does
// nothing: there the names are as safe as that file system makes them.
func (t Tree) SyncDir(path string) error {
	if !canSyncDir {
		return nil
	}
	d, err := t.openDir(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !cannotSync(err) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// openDir opens the folder path for reading its names. A FIFO there does not
// make it wait.
func (t Tree) openDir(path string) (*os.File, error) {
	return t.system().OpenFile(path, os.O_RDONLY|openNonblock, 0)
}

// MkdirAll makes the folder path and those above it that are missing, with
// perm (before umask), and syncs the folder that holds each new name. A
// folder that is there already is no error; anything else in the way is.
//
// An earlier call may have died between making a folder and syncing its name.
// Such a folder is always the lowest that exists, so the folder above this
// one is synced too. That is skipped where reading that folder is not
// permitted: then another account made what is there.
func (t Tree) MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	fi, err := t.system().Lstat(path)
	switch {
	case err == nil && fi.Mode()&fs.ModeSymlink != 0 && t.sys == nil:
		// An operator's own link to a folder is welcome outside a Root.
		fi, err = os.Stat(path)
		if err != nil {
			return err
		}
		fallthrough
	case err == nil:
		if !fi.IsDir() {
			return fmt.Errorf("%s is in the way: not a folder (%s)", path, fi.Mode().Type())
		}
		if parent == path {
			return nil
		}
		if err := t.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist) || parent == path:
		return err
	}
	if err := t.MkdirAll(parent, perm); err != nil {
		return err
	}
	if err := t.system().Mkdir(path, perm); errors.Is(err, fs.ErrExist) {
		return t.MkdirAll(path, perm) // someone made it meanwhile: look what it is
	} else if err != nil {
		return err
	}
	return t.SyncDir(parent)
}

// Remove removes the file path and makes that survive a power cut. One that
// is not there is no error. What a power cut undoes is the removal as a
// whole: the file is there again, with all its bytes.
func (t Tree) Remove(path string) error {
	err := t.system().Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.SyncDir(filepath.Dir(path))
}
