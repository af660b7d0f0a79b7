package drop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"caisseauto/internal/durable"
)

// partSuffix is what the name of a file that is still being written ends in.
// No reader takes such a name.
const partSuffix = ".part"

// syncEvery returns how many bytes of a part are written between two syncs, for
// a file of that size. After a power cut a part can be longer than what reached
// the disk; everything below the last full step did. So a resumed Put repeats at
// most this much: 1 MiB, 8 seconds at 1 Mbit/s, or of a larger file a 32nd, up
// to 16 MiB. Each sync takes some milliseconds, which a fast source would else
// spend most of its time in.
func syncEvery(size int64) int64 {
	const least, most = 1 << 20, 16 << 20
	step := (size/32 + least - 1) / least * least
	return min(max(step, least), most)
}

// Put implements [Drop]. The bytes go to name.part, are synced, and get their
// name by [durable.Tree.Publish]. After any failure the part stays, for the
// next call to go on with. The feed's own errors are returned as they are,
// wrapped.
func (l *Local) Put(ctx context.Context, name string, size int64, feed Feed) error {
	if err := errors.Join(CheckPut(name), ctx.Err()); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: size %d: %w", name, size, fs.ErrInvalid)
	}
	return l.fail("put", name, l.put(ctx, name, size, feed))
}

func (l *Local) put(ctx context.Context, name string, size int64, feed Feed) error {
	if err := l.makeFolder(path.Dir(name)); err != nil {
		return err
	}
	have, err := l.size(name)
	if err == nil {
		return l.already(name, have, size)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, offset, err := l.openPart(name+partSuffix, size)
	if err != nil {
		return err
	}
	err = fill(ctx, f, offset, size, feed)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.tree.Publish(name+partSuffix, name)
}

// already settles a Put whose name is there. A crash after the link can have
// left the part and the folder unsynced.
func (l *Local) already(name string, have, size int64) error {
	if have != size {
		return fmt.Errorf("it has %d bytes, the new one %d: %w; nothing was changed", have, size, ErrConflict)
	}
	if _, err := l.size(name + partSuffix); err == nil {
		return l.tree.Remove(name + partSuffix)
	}
	return l.tree.SyncDir(path.Dir(name))
}

// openPart opens the part for writing and returns from where to go on. A part
// that cannot be the beginning of this file is replaced by a new one; so is
// anything a stranger put under that name, a link above all, for writing
// through it would write elsewhere.
func (l *Local) openPart(part string, size int64) (*os.File, int64, error) {
	f, err := l.tree.OpenRegularFlag(part, os.O_WRONLY)
	if err == nil {
		fi, err := f.Stat()
		if err == nil && fi.Size() <= size && links(fi) <= 1 {
			return f, resumeAt(fi.Size(), size), nil
		}
		f.Close()
	} else if errors.Is(err, fs.ErrPermission) {
		return nil, 0, err
	}
	if fi, err := l.root.Lstat(part); err == nil && fi.IsDir() {
		return nil, 0, fmt.Errorf("%s is in the way: a folder; move it away: %w", part, ErrConflict)
	} else if err == nil {
		// Unlinked, not truncated: should another process be writing it
		// still, it keeps its own file.
		if err := l.tree.Remove(part); err != nil {
			return nil, 0, err
		}
	}
	f, err = l.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
	return f, 0, err
}

// resumeAt returns the length of the beginning of a part that is certain to
// be on the disk, of a file of that size.
func resumeAt(length, size int64) int64 {
	if length <= 0 {
		return 0
	}
	step := syncEvery(size)
	return (length - 1) / step * step
}

// fill asks feed for the bytes from offset on, writes them at their place and
// makes sure of them. The file is never cut: what was there behind offset is
// written over with the same bytes.
func fill(ctx context.Context, f *os.File, offset, size int64, feed Feed) error {
	w := &partWriter{ctx: ctx, f: f, at: offset, size: size, step: syncEvery(size)}
	if err := feed(ctx, offset, w); err != nil {
		return err
	}
	if w.err != nil {
		return w.err
	}
	if w.at != size {
		return fmt.Errorf("the source ended at %d of %d bytes: %w", w.at, size, io.ErrUnexpectedEOF)
	}
	if err := durable.SyncFile(f); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != size {
		return fmt.Errorf("%d bytes arrived on the disk, %d were written: %w", fi.Size(), size, io.ErrUnexpectedEOF)
	}
	return nil
}

// partWriter writes a part from its offset on and refuses more than size. Its
// first error stays, for a feed that overlooks it.
type partWriter struct {
	ctx      context.Context
	f        *os.File
	at, size int64
	step     int64 // between two syncs
	err      error
}

func (w *partWriter) Write(p []byte) (n int, err error) {
	defer func() { w.err = err }()
	if w.err != nil {
		return 0, w.err
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(p)) > w.size-w.at {
		return 0, fmt.Errorf("the source gives more than the %d bytes it announced: %w", w.size, ErrTooLarge)
	}
	for len(p) > 0 {
		step := min(int64(len(p)), w.step-w.at%w.step)
		k, err := w.f.WriteAt(p[:step], w.at)
		n, w.at, p = n+k, w.at+int64(k), p[k:]
		if err != nil {
			return n, err
		}
		if w.at%w.step == 0 {
			if err := durable.SyncFile(w.f); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
