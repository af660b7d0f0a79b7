package drop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"caisseauto/internal/durable"
)

// Folders and files of a drop are for the account that writes them and its
// group: they hold a company's data. The umask can only narrow this.
const (
	dirPerm  = 0o750
	filePerm = 0o640
)

// Local is a drop that is a folder of this machine: a `file:` drop, an outbox,
// an inbox, a USB stick. Nothing it does reaches outside that folder, and it
// follows no symbolic links inside. Make one with [OpenLocal].
type Local struct {
	root *os.Root
	tree durable.Tree
}

var _ Drop = (*Local)(nil)

// OpenLocal opens the folder dir as a drop. It does not make it: a missing
// folder is more often a disk that is not mounted than a wish for a new one.
// That error wraps ErrUnavailable and fs.ErrNotExist.
func OpenLocal(dir string) (*Local, error) {
	// A root is opened like a file, and opening a FIFO would wait.
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("drop %s: %w: mount the disk or make the folder: %w", dir, ErrUnavailable, err)
	}
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("not a folder (%s)", fi.Mode().Type())
	}
	if err != nil {
		return nil, fmt.Errorf("drop %s: %w", dir, classify(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("drop %s: %w", dir, classify(err))
	}
	return &Local{root: root, tree: durable.In(root)}, nil
}

// Close gives the folder back.
func (l *Local) Close() error { return l.root.Close() }

// fail adds what an error lacks: the drop's folder, and the kind of failure
// that callers branch on.
func (l *Local) fail(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, filepath.Join(l.root.Name(), filepath.FromSlash(name)), classify(err))
}

// classify wraps err in the package's sentinel for its kind.
func classify(err error) error {
	switch {
	case durable.IsNoSpace(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, fs.ErrPermission) || readOnly(err):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case errors.Is(err, durable.ErrDifferent):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case gone(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// folder checks that dir is a folder and no part of it a symbolic link: a
// stranger's link from one dossier to another stays inside the root, but it
// mixes two streams.
func (l *Local) folder(dir string) error {
	parts := strings.Split(dir, "/")
	for i := range parts {
		p := path.Join(parts[:i+1]...)
		fi, err := l.root.Lstat(p)
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			return fmt.Errorf("%s is in the way: not a folder (%s): %w", p, fi.Mode().Type(), ErrConflict)
		}
	}
	return nil
}

// Stat implements [Drop]. Something that is no regular file is ErrConflict.
func (l *Local) Stat(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(CheckPath(name), ctx.Err()); err != nil {
		return 0, err
	}
	size, err := l.size(name)
	return size, l.fail("stat", name, err)
}

func (l *Local) size(name string) (int64, error) {
	if err := l.folder(path.Dir(name)); err != nil {
		return 0, err
	}
	fi, err := l.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() {
		return 0, fmt.Errorf("not a regular file (%s): %w", fi.Mode().Type(), ErrConflict)
	}
	return fi.Size(), nil
}

// Get implements [Drop]. An offset behind the end of the file is
// io.ErrUnexpectedEOF, and so is a file that shrinks while it is read.
func (l *Local) Get(ctx context.Context, name string, offset int64, w io.Writer) error {
	if err := errors.Join(CheckPath(name), ctx.Err()); err != nil {
		return err
	}
	return l.fail("read", name, l.get(ctx, name, offset, w))
}

func (l *Local) get(ctx context.Context, name string, offset int64, w io.Writer) error {
	if err := l.folder(path.Dir(name)); err != nil {
		return err
	}
	f, err := l.tree.OpenRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if offset < 0 {
		return fmt.Errorf("offset %d: %w", offset, fs.ErrInvalid)
	}
	if offset > fi.Size() {
		return fmt.Errorf("offset %d is behind its end at %d: %w", offset, fi.Size(), io.ErrUnexpectedEOF)
	}
	return copyRange(ctx, w, f, offset, fi.Size())
}

// copyRange copies the bytes from offset to end and looks at ctx between the
// pieces.
func copyRange(ctx context.Context, w io.Writer, r io.ReaderAt, offset, end int64) error {
	buf := make([]byte, min(256<<10, end-offset))
	for offset < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), end-offset)], offset)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			offset += int64(n)
		}
		if err == io.EOF && offset < end {
			return fmt.Errorf("it ends at %d and had %d bytes when it was opened: %w", offset, end, io.ErrUnexpectedEOF)
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// Remove implements [Drop]. Only a regular file is removed; the remains of an
// interrupted Put go with it, so that a damaged copy is fetched from its
// first byte again.
func (l *Local) Remove(ctx context.Context, name string) error {
	if err := errors.Join(CheckPath(name), ctx.Err()); err != nil {
		return err
	}
	if err := l.folder(path.Dir(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return l.fail("remove", name, err)
	}
	// The part goes first: were it left alone by a crash, the next Put would
	// go on with it.
	for _, n := range []string{name + partSuffix, name} {
		_, err := l.size(n)
		if err == nil {
			err = l.tree.Remove(n)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return l.fail("remove", n, err)
		}
	}
	return nil
}

// Replace implements [Drop].
func (l *Local) Replace(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(CheckReplace(name, data), ctx.Err()); err != nil {
		return err
	}
	if err := l.makeFolder(path.Dir(name)); err != nil {
		return l.fail("replace", name, err)
	}
	return l.fail("replace", name, l.tree.WriteFile(name, data, filePerm))
}

// makeFolder makes the folder dir where it is missing.
func (l *Local) makeFolder(dir string) error {
	err := l.folder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = l.tree.MkdirAll(dir, dirPerm)
	}
	return err
}
