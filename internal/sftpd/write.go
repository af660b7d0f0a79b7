package sftpd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/pkg/sftp"

	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
)

// A folder is what is being written in one stream's folder, by all
// connections of its one writer. Its lock is held while a name changes hands.
type folder struct {
	mu   sync.Mutex
	open map[string]*writing // by name of the part
}

// lockFolder takes the lock of the place's folder.
func (s *session) lockFolder(p place) *folder {
	key := s.user.Dossier + "/" + p.dir()
	s.server.mu.Lock()
	f := s.server.folders[key]
	if f == nil {
		f = &folder{open: map[string]*writing{}}
		s.server.folders[key] = f
	}
	s.server.mu.Unlock()
	f.mu.Lock()
	return f
}

// revoke closes the handle that writes the part, if one does. Without it a
// client could keep a handle, rename, and write into the sealed file; and
// after a cut line the handle of the dead connection would stand in the way.
func (f *folder) revoke(part string) {
	if w := f.open[part]; w != nil {
		delete(f.open, part)
		w.shut()
	}
}

// A writing is a part open for writing.
type writing struct {
	s      *session
	folder *folder
	place  place
	path   string
	commit bool // opened under the final name: Close gives it that name

	mu     sync.RWMutex // many WriteAt, one shut
	f      *os.File     // nil: revoked or closed
	failed bool
	once   sync.Once
}

// Filewrite implements sftp.FileWriter: OPEN for writing. All bytes go to
// NAME.part. A client that opens the final name, as `put` of stock clients
// does, gets its name at Close; one that is cut off leaves only the part.
func (s *session) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	return guard(s, "open", r.Filepath, func() (io.WriterAt, error) {
		p, err := s.take(r.Filepath)
		if err != nil {
			return nil, err
		}
		if err := s.hold(); err != nil {
			return nil, err
		}
		w, err := s.openPart(p, r)
		if err != nil {
			s.release()
			return nil, err
		}
		return w, nil
	})
}

func (s *session) openPart(p place, r *sftp.Request) (*writing, error) {
	folder := s.lockFolder(p)
	defer folder.mu.Unlock()
	part := p.final() + partSuffix
	flags := r.Pflags()
	if _, err := s.root.Lstat(p.final()); err == nil {
		again := p.replaceable() && (p.part || flags.Trunc && !flags.Excl)
		if !again {
			return nil, errThere // also: the part may be a second name of it
		}
	} else if !p.part && !flags.Creat {
		return nil, sftp.ErrSSHFxNoSuchFile
	}
	fresh := flags.Excl || flags.Trunc || !p.part
	if p.part && flags.Excl {
		if _, err := s.root.Lstat(part); err == nil {
			return nil, errThere
		}
	}
	folder.revoke(part)
	f, err := s.openOnDisk(part, fresh, flags.Creat || !p.part)
	if err != nil {
		return nil, err
	}
	w := &writing{s: s, folder: folder, place: p, path: r.Filepath, commit: !p.part, f: f}
	folder.open[part] = w
	return w, nil
}

// openOnDisk opens the part, new or to go on with. A fresh one is another
// file: nothing that still has the old one open can reach it.
func (s *session) openOnDisk(part string, fresh, create bool) (*os.File, error) {
	if !fresh {
		f, err := s.tree.OpenRegularFlag(part, os.O_WRONLY)
		if err == nil || !create || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	if err := s.tree.Remove(part); err != nil {
		return nil, err
	}
	if err := s.roomFor(part); err != nil {
		return nil, err
	}
	return s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
}

// roomFor refuses one file more in a full folder.
func (s *session) roomFor(name string) error {
	d, err := s.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	for n := 0; ; {
		names, err := d.Readdirnames(1024)
		if n += len(names); n >= s.server.cfg.Limits.Entries {
			return errFolder
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// WriteAt implements io.WriterAt: WRITE. Eight workers call it at a time and
// out of order.
func (w *writing) WriteAt(b []byte, off int64) (int, error) {
	return guard(w.s, "write", w.path, func() (n int, err error) {
		w.mu.RLock()
		defer w.mu.RUnlock()
		limit := w.s.server.cfg.Limits.FileSize
		switch {
		case w.f == nil:
			return 0, errRevoked
		case off < 0 || off > limit || int64(len(b)) > limit-off:
			err = errTooLarge
		default:
			n, err = w.f.WriteAt(b, off)
		}
		if err != nil {
			w.fail()
		}
		return n, err
	})
}

// fail marks the file incomplete; WriteAt holds only the read lock.
func (w *writing) fail() {
	w.s.server.mu.Lock()
	w.failed = true
	w.s.server.mu.Unlock()
}

func (w *writing) hasFailed() bool {
	w.s.server.mu.Lock()
	defer w.s.server.mu.Unlock()
	return w.failed
}

// TransferError implements sftp.TransferError: the session ended with the
// file open. What is there stays a part.
func (w *writing) TransferError(error) { w.fail() }

// shut closes the file; later writes are refused. The folder's lock is held.
func (w *writing) shut() (open bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return false, nil
	}
	err = w.f.Close()
	w.f = nil
	return true, err
}

// Close implements io.Closer: CLOSE, or the end of the session.
func (w *writing) Close() (err error) {
	w.once.Do(func() {
		defer w.s.release()
		_, err = guard(w.s, "close", w.path, func() (struct{}, error) { return struct{}{}, w.finish() })
	})
	return err
}

func (w *writing) finish() error {
	w.folder.mu.Lock()
	defer w.folder.mu.Unlock()
	open, err := w.shut()
	part := w.place.final() + partSuffix
	if w.folder.open[part] == w {
		delete(w.folder.open, part)
	}
	switch {
	case err != nil || !w.commit:
		return err
	case !open:
		return errRevoked
	case w.hasFailed():
		return fmt.Errorf("%s is incomplete: %w", w.path, sftp.ErrSSHFxFailure)
	}
	return w.s.publish(w.place, true)
}

// publish gives the part its final name, synced, file and folder. Nothing
// there is replaced, except heads and receipts when replace is set. The
// folder's lock is held.
func (s *session) publish(p place, replace bool) error {
	part := p.final() + partSuffix
	f, err := s.tree.OpenRegularFlag(part, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if !replace || !p.replaceable() {
		if err := errors.Join(durable.SyncFile(f), f.Close()); err != nil {
			return err
		}
		return s.tree.Publish(part, p.final())
	}
	data, err := io.ReadAll(io.LimitReader(f, drop.MaxReceipt+1))
	if err != nil {
		return err
	}
	if err := drop.CheckReplace(p.dossier+"/"+p.final(), data); errors.Is(err, drop.ErrTooLarge) {
		return errTooLarge
	} else if err != nil {
		return err
	}
	if err := s.tree.WriteFile(p.final(), data, filePerm); err != nil {
		return err
	}
	return s.tree.Remove(part)
}
