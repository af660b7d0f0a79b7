package sftpd

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

// Filelist implements sftp.FileLister: OPENDIR and STAT.
func (s *session) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	return guard(s, strings.ToLower(r.Method), r.Filepath, func() (sftp.ListerAt, error) {
		p, err := s.look(r.Filepath)
		if err != nil {
			return nil, err
		}
		if r.Method != "List" {
			fi, err := s.stat(p)
			return fixed{fi}, err
		}
		if p.base != "" {
			return nil, sftp.ErrSSHFxFailure
		}
		return s.openFolder(p, r.Filepath)
	})
}

// Readlink implements sftp.ReadlinkFileLister: there are no links here.
func (s *session) Readlink(string) (string, error) { return "", sftp.ErrSSHFxOpUnsupported }

// stat describes what stands at p, links unfollowed. What is neither a
// regular file nor a folder is not there.
func (s *session) stat(p place) (os.FileInfo, error) {
	if p.dossier == "" {
		return entry{name: "/", kind: fs.ModeDir}, nil
	}
	fi, err := s.root.Lstat(p.onDisk())
	if err != nil {
		return nil, err
	}
	if e, ok := describe(fi, p.base == ""); ok {
		return e, nil
	}
	return nil, sftp.ErrSSHFxNoSuchFile
}

// An entry is all that a client learns of a file: no owner, no real mode.
type entry struct {
	name string
	size int64
	kind fs.FileMode // type bits
	time time.Time
}

func describe(fi fs.FileInfo, wantDir bool) (entry, bool) {
	if fi.IsDir() != wantDir || !wantDir && !fi.Mode().IsRegular() {
		return entry{}, false
	}
	e := entry{name: fi.Name(), kind: fi.Mode().Type(), time: fi.ModTime()}
	if !wantDir {
		e.size = fi.Size()
	}
	return e, true
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) ModTime() time.Time { return e.time }
func (e entry) IsDir() bool        { return e.kind.IsDir() }
func (e entry) Sys() any           { return nil }
func (e entry) Mode() fs.FileMode {
	if e.kind.IsDir() {
		return e.kind | 0o755
	}
	return e.kind | 0o644
}

// fixed is a short listing that is known beforehand.
type fixed []os.FileInfo

// ListAt implements sftp.ListerAt.
func (l fixed) ListAt(to []os.FileInfo, off int64) (int, error) {
	if off >= int64(len(l)) {
		return 0, io.EOF
	}
	return copy(to, l[off:]), nil
}

// openFolder opens a folder for listing.
func (s *session) openFolder(p place, path string) (sftp.ListerAt, error) {
	if err := s.hold(); err != nil {
		return nil, err
	}
	l := &listing{s: s, path: path, own: s.user.writes(p)}
	if p.dossier == "" {
		l.rest = fixed{entry{name: s.user.Dossier, kind: fs.ModeDir}}
		return l, nil
	}
	d, err := s.root.Open(p.dir())
	if err != nil {
		s.release()
		return nil, err
	}
	l.dir = d
	return l, nil
}

// A listing is a folder open for reading. It reads on as the client asks, so
// that a folder of any size takes the memory of one reply.
type listing struct {
	s    *session
	path string
	own  bool // the user writes here
	once sync.Once

	mu   sync.Mutex
	dir  *os.File // nil: the root
	rest fixed    // read and not sent yet
}

// ListAt implements sftp.ListerAt: READDIR.
func (l *listing) ListAt(to []os.FileInfo, _ int64) (int, error) {
	return guard(l.s, "readdir", l.path, func() (int, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for len(l.rest) == 0 {
			if l.dir == nil {
				return 0, io.EOF
			}
			entries, err := l.dir.ReadDir(256)
			for _, e := range entries {
				if fi, ok := l.pick(e); ok {
					l.rest = append(l.rest, fi)
				}
			}
			if err != nil && len(l.rest) == 0 {
				return 0, err
			}
		}
		n := copy(to, l.rest)
		l.rest = l.rest[n:]
		return n, nil
	})
}

// pick lets through what belongs to the format and to the user. In a folder
// that the user writes, strangers are named too, with their kind and nothing
// else, so that its writer can report what lies there.
func (l *listing) pick(e fs.DirEntry) (os.FileInfo, bool) {
	p, ok := parsePlace(strings.TrimSuffix(l.path, "/") + "/" + e.Name())
	if ok && l.s.user.visible(p) {
		fi, err := e.Info()
		if err != nil {
			return nil, false // went away meanwhile
		}
		if known, ok := describe(fi, p.base == ""); ok {
			return known, true
		}
	}
	stranger := entry{name: e.Name(), kind: e.Type()}
	return stranger, l.own
}

// Close implements io.Closer.
func (l *listing) Close() (err error) {
	l.once.Do(func() {
		l.s.release()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.dir != nil {
			err = l.dir.Close()
			l.dir = nil
		}
	})
	return err
}
