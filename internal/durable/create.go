package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrDifferent says that the name is taken by a file with other bytes, or by
// something that is no regular file. Nothing was changed.
var ErrDifferent = errors.New("there already, with other bytes")

// Create makes a file with data under path if there is none. When path holds
// the same bytes already, Create succeeds: the call before was interrupted
// after its work was done. Anything else there is [ErrDifferent]. The folder
// must exist.
//
// Steps: temporary file, write, sync, then as [Tree.Publish]. A crash leaves
// no file under path or the whole one.
func (t Tree) Create(path string, data []byte, perm fs.FileMode) error {
	if _, err := t.system().Lstat(path); err == nil {
		return t.confirm(path, int64(len(data)), bytes.NewReader(data))
	}
	tmp, err := t.writeTemp(path, data, perm)
	if err != nil {
		return fmt.Errorf("%s is not created: %w", path, err)
	}
	if err := t.Publish(tmp, path); err != nil {
		if rm := t.system().Remove(tmp); !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return err
	}
	return nil
}

// Publish gives the file tmp, which its writer has synced and closed, its
// final name, on the same file system, and removes the name tmp. When final
// holds the same bytes already, only tmp is removed. When it holds anything
// else, the result is [ErrDifferent] and both names stay as they are.
//
// Steps: link, sync the folder, remove tmp. Link fails when the name is taken,
// so of two writers one wins, and no reader ever sees another file go away. A
// crash before the link leaves tmp alone; between link and removal both names
// of the one file, and the next Publish removes tmp. The folder is synced
// before tmp goes, because a file system that orders nothing could otherwise
// lose both names.
//
// A file system without hard links (FAT on a USB stick, some network shares)
// gets a check that the name is free, then a rename. Between the two a second
// writer could slip in; a stream has one writer, which holds its [Lock].
func (t Tree) Publish(tmp, final string) error {
	if fi, err := t.system().Lstat(tmp); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not published: not a regular file (%s)", tmp, fi.Mode().Type())
	}
	err := t.system().Link(tmp, final)
	if noHardLinks(err) {
		return t.publishByRename(tmp, final)
	}
	if errors.Is(err, fs.ErrExist) {
		err = t.confirmFile(final, tmp)
	}
	if err != nil {
		return err
	}
	if err := t.SyncDir(filepath.Dir(final)); err != nil {
		return err
	}
	if err := t.system().Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is published, but its temporary name stays: %w", final, err)
	}
	return nil
}

func (t Tree) publishByRename(tmp, final string) error {
	_, err := t.system().Lstat(final)
	switch {
	case err == nil:
		if err := t.confirmFile(final, tmp); err != nil {
			return err
		}
		return t.system().Remove(tmp)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := rename(t.system(), tmp, final); err != nil {
		return err
	}
	return t.SyncDir(filepath.Dir(final))
}

// confirmFile succeeds when the files final and tmp hold the same bytes.
func (t Tree) confirmFile(final, tmp string) error {
	f, err := t.OpenRegular(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return t.confirm(final, fi.Size(), f)
}

// confirm succeeds when path holds exactly the size bytes of want, and makes
// sure of them: whoever put them there may have crashed before the sync.
func (t Tree) confirm(path string, size int64, want io.Reader) error {
	f, err := t.OpenRegular(path)
	if errors.Is(err, errIrregular) {
		return fmt.Errorf("%w: %w", err, ErrDifferent)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	same, err := equal(f, want, size)
	if err != nil {
		return fmt.Errorf("compare %s: %w", path, err)
	}
	if !same {
		return fmt.Errorf("%s is %w", path, ErrDifferent)
	}
	if err := syncReadOnly(f); err != nil {
		return err
	}
	return t.SyncDir(filepath.Dir(path))
}

// equal reports whether f holds exactly the size bytes that want gives.
func equal(f *os.File, want io.Reader, size int64) (bool, error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() != size {
		return false, err
	}
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for size > 0 {
		n := min(size, int64(len(a)))
		if _, err := io.ReadFull(f, a[:n]); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(want, b[:n]); err != nil {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		size -= n
	}
	return true, nil
}
