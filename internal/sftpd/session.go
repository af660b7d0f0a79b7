package sftpd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/pkg/sftp"

	"caisseauto/internal/durable"
)

// Folders and files are for the account that serves and its group.
const (
	dirPerm  = 0o750
	filePerm = 0o640
)

// A session is one user's view of the drop: the dossier's folder as its own
// os.Root, so that not even a link an administrator made leads from one
// dossier to another. It implements the handlers of sftp.RequestServer.
type session struct {
	server *Server
	user   User
	root   *os.Root
	tree   durable.Tree
	log    *slog.Logger
	conn   *conn
}

// newSession makes the folders that are the user's own (nobody else can) and
// opens the dossier's folder.
func (s *Server) newSession(c *conn, u User, log *slog.Logger) (*session, error) {
	own := []string{"up/" + u.Till}
	switch {
	case u.Writer:
		own = []string{"down", "trust", "receipts"}
	case u.Release:
		own = []string{"packages"}
	}
	for _, dir := range own {
		if err := durable.In(s.root).MkdirAll(u.Dossier+"/"+dir, dirPerm); err != nil {
			return nil, err
		}
	}
	if err := plainFolder(s.root, u.Dossier); err != nil {
		return nil, err
	}
	root, err := s.root.OpenRoot(u.Dossier)
	if err != nil {
		return nil, err
	}
	return &session{server: s, conn: c, user: u, root: root, tree: durable.In(root), log: log}, nil
}

func (s *session) close() error { return s.root.Close() }

func (s *session) handlers() sftp.Handlers {
	return sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s}
}

// plainFolder: dir and every folder above it is a folder, not a link to one.
// A link inside the dossier would mix two streams.
func plainFolder(root *os.Root, dir string) error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		fi, err := root.Lstat(dir[:i])
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			return fmt.Errorf("%s: not a folder (%s): %w", dir[:i], fi.Mode().Type(), fs.ErrPermission)
		}
	}
	return nil
}

// look finds a place to read: what the user may not see is not there.
func (s *session) look(path string) (place, error) {
	p, ok := parsePlace(path)
	if !ok || !s.user.visible(p) {
		return place{}, sftp.ErrSSHFxNoSuchFile
	}
	if p.dossier == "" {
		return p, nil
	}
	return p, plainFolder(s.root, p.dir())
}

// take finds a file to change: one that is not the user's own to write is
// refused, whether it is there or not.
func (s *session) take(path string) (place, error) {
	p, ok := parsePlace(path)
	if !ok || !s.user.writable(p) {
		return place{}, sftp.ErrSSHFxPermissionDenied
	}
	return p, plainFolder(s.root, p.dir())
}

// hold counts one more open handle; release gives it back.
func (s *session) hold() error {
	if s.conn.busy.Add(1) > int32(s.server.cfg.Limits.Handles) {
		s.release()
		return errHandles
	}
	return nil
}

func (s *session) release() { s.conn.busy.Add(-1) }

// Fileread implements sftp.FileReader: OPEN for reading.
func (s *session) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	return guard(s, "open", r.Filepath, func() (io.ReaderAt, error) {
		p, err := s.look(r.Filepath)
		if err != nil {
			return nil, err
		}
		if p.base == "" {
			return nil, sftp.ErrSSHFxPermissionDenied
		}
		if err := s.hold(); err != nil {
			return nil, err
		}
		f, err := s.tree.OpenRegular(p.onDisk())
		if err != nil {
			s.release()
			return nil, err
		}
		return &reading{s: s, f: f, path: r.Filepath}, nil
	})
}

// A reading is a file open for reading.
type reading struct {
	s    *session
	f    *os.File
	path string
	once sync.Once
}

// ReadAt implements io.ReaderAt: READ.
func (r *reading) ReadAt(b []byte, off int64) (int, error) {
	return guard(r.s, "read", r.path, func() (int, error) {
		if off < 0 {
			return 0, sftp.ErrSSHFxBadMessage
		}
		n, err := r.f.ReadAt(b, off)
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return n, err
	})
}

// Close implements io.Closer: CLOSE, or the end of the session.
func (r *reading) Close() (err error) {
	r.once.Do(func() {
		r.s.release()
		err = r.f.Close()
	})
	return err
}
