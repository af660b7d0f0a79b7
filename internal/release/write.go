package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"caisseauto/manifest"
)

// folderMode is that of every folder in a release.
const folderMode fs.FileMode = 0o755

// A writer writes the files of a package into a folder of its own, which
// nothing else writes to: through an os.Root, so that no name leads out of it,
// and each with O_EXCL, so that none is written through.
type writer struct {
	ctx  context.Context
	root *os.Root
	made map[string]bool // folders
	buf  []byte
	done int64
	told func(int64)
}

// newWriter makes the folder dir, of which nothing may be there.
func newWriter(ctx context.Context, dir string, told func(int64)) (*writer, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, folderMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if err := root.Chmod(".", folderMode); err != nil {
		root.Close()
		return nil, err
	}
	return &writer{ctx: ctx, root: root, made: map[string]bool{".": true}, buf: make([]byte, 256<<10), told: told}, nil
}

func (w *writer) close() { w.root.Close() }

// file writes one file with exactly the bytes of body, which has the signed
// size or fails.
func (w *writer) file(f manifest.File, body io.Reader) (err error) {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.folder(path.Dir(f.Name)); err != nil {
		return err
	}
	mode, err := fileMode(f.Mode)
	if err != nil {
		return err
	}
	out, err := w.root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	n, err := io.CopyBuffer(onlyWriter{out}, onlyReader{body}, w.buf)
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("%s has %d bytes, the manifest says %d", f.Name, n, f.Size)
	}
	w.done += n
	w.told(w.done)
	return out.Chmod(mode) // the umask may have taken something away
}

// folder makes a folder and those above it.
func (w *writer) folder(dir string) error {
	if w.made[dir] {
		return nil
	}
	if err := w.folder(path.Dir(dir)); err != nil {
		return err
	}
	w.made[dir] = true
	if err := w.root.Mkdir(dir, folderMode); err != nil {
		return err
	}
	return w.root.Chmod(dir, folderMode) // the umask, as with files
}

// fileMode returns one of the two modes that files of a package have.
func fileMode(s string) (fs.FileMode, error) {
	if s != manifest.ModeData && s != manifest.ModeProgram {
		return 0, fmt.Errorf("mode %q", s)
	}
	n, err := strconv.ParseUint(s, 8, 32)
	return fs.FileMode(n), err
}

// onlyWriter and onlyReader hide the shortcuts that would go around the buffer,
// or around what is counted.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// A sum hashes what is read through it.
type sum struct {
	r    io.Reader
	hash hash.Hash
}

func newSum(r io.Reader) *sum { return &sum{r, sha256.New()} }

func (s *sum) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	return n, err
}

func (s *sum) check(f manifest.File) error {
	if got := hex.EncodeToString(s.hash.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %s, the manifest says %s", f.Name, got, f.SHA256)
	}
	return nil
}
