package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncTree makes everything below the folder dir, the bytes of its files and
// the names, survive a power cut. The name dir itself is not included: that is
// for [SyncDir] of the folder that holds it, or for [RenameNew]. Symbolic
// links are not followed, and dir must not be one. What a crash leaves before
// SyncTree has returned is any part of the tree.
//
// Linux is asked once for the whole file system, see syncFileSystem; another
// one that is mounted below dir is not included. Elsewhere each file is
// synced, then each folder.
func SyncTree(dir string) error {
	fi, err := os.Lstat(dir)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s is not a folder (%s)", dir, fi.Mode().Type())
	}
	if err != nil {
		return fmt.Errorf("sync tree: %w", err)
	}
	err = syncFileSystem(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		err = syncEach(dir)
	}
	if err != nil {
		return fmt.Errorf("sync tree %s: %w", dir, err)
	}
	return nil
}

// syncEach syncs what is below dir one by one, a folder after all in it.
// Links and other special files have no bytes but those of their folder.
func syncEach(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = syncEach(path)
		case e.Type().IsRegular():
			err = syncOne(path)
		}
		if err != nil {
			return err
		}
	}
	return SyncDir(dir)
}

func syncOne(path string) error {
	f, err := Tree{}.OpenRegularFlag(path, openToSync)
	if err != nil {
		return err
	}
	return errors.Join(SyncFile(f), f.Close())
}

// RenameNew gives the folder or file from its final name to, on the same file
// system. A name to that is taken, by whatever it be, is an error that wraps
// [fs.ErrExist], and both names stay as they are. What is below from must have
// been synced before, see [SyncTree].
//
// Steps: rename, sync the folder of to, then that of from when it is another.
// A crash leaves all under from or all under to. On Linux the rename itself
// fails when the name is taken; elsewhere, and on file systems that cannot do
// that, the name is looked at first. Between the two a second writer could
// slip in; there is one writer, which holds its [Lock].
func RenameNew(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to) // Dir of a name with a slash at its end is the name
	err := renameNoReplace(from, to)
	if errors.Is(err, errors.ErrUnsupported) {
		err = renameChecked(from, to)
	}
	if err != nil {
		return fmt.Errorf("%s keeps its name: %w", from, err)
	}
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// renameChecked would else put a folder in the place of an empty one, and a
// file in that of any.
func renameChecked(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rename(osSystem{}, from, to)
}
