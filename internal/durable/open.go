package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

var (
	errIrregular = errors.New("not a regular file")
	errExchanged = errors.New("exchanged for another file while it was opened")
)

// OpenRegular opens the regular file path for reading. A symbolic link is not
// followed, and a FIFO or device does not make it wait: in a folder that
// others write to, a reader must not hang on what carries an archive's name.
// What is not a regular file is an error that names its kind.
func (t Tree) OpenRegular(path string) (*os.File, error) {
	return t.OpenRegularFlag(path, os.O_RDONLY)
}

// OpenRegularFlag is [Tree.OpenRegular] for an existing file with other open
// flags, for instance os.O_WRONLY to go on with a partial file.
func (t Tree) OpenRegularFlag(path string, flag int) (f *os.File, err error) {
	// A file that is replaced just now can be another one after Lstat: look
	// again. Whoever replaces it without pause is no writer of ours.
	for range 20 {
		f, err = t.openRegularOnce(path, flag)
		if !errors.Is(err, errExchanged) {
			break
		}
	}
	return f, err
}

func (t Tree) openRegularOnce(path string, flag int) (*os.File, error) {
	before, err := t.system().Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, irregular(path, before)
	}
	f, err := t.system().OpenFile(path, flag|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	// Between Lstat and OpenFile the name can have been given to a link or
	// a FIFO: what counts is what was opened.
	after, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !os.SameFile(before, after) {
		f.Close()
		return nil, fmt.Errorf("%s was %w", path, errExchanged)
	}
	return f, nil
}

func irregular(path string, fi fs.FileInfo) error {
	return fmt.Errorf("%s is %w (%s)", path, errIrregular, fi.Mode().Type())
}
