package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/mholt/archiver/v3"
)

// This is the only file that imports mholt/archiver, and a test keeps it so.
// The library is no longer maintained; of its parts only NewTar with Create,
// Write, Open, Read and Close are used. They never touch the file system:
// the calls that do can be led out of their folder (CVE-2024-0406,
// CVE-2025-3445), and no repair will come.

// tarWriter writes regular files.
type tarWriter struct{ t *archiver.Tar }

func newTarWriter(w io.Writer) (*tarWriter, error) {
	t := archiver.NewTar()
	if err := t.Create(w); err != nil {
		return nil, err
	}
	return &tarWriter{t}, nil
}

// add writes a file with all that body gives, which must be size bytes: the
// library complains of more, and of less only with the file after it.
func (w *tarWriter) add(name string, size int64, body io.Reader) error {
	return w.t.Write(archiver.File{
		FileInfo:   member{name, size},
		ReadCloser: io.NopCloser(body),
	})
}

// close writes the two blocks of zeros that end a tar.
func (w *tarWriter) close() error { return w.t.Close() }

// tarReader reads any file. That it is one of ours, the bytes were checked
// for before they come here; see expect.
type tarReader struct{ t *archiver.Tar }

func newTarReader(r io.Reader) (*tarReader, error) {
	t := archiver.NewTar()
	if err := t.Open(r, 0); err != nil {
		return nil, err
	}
	return &tarReader{t}, nil
}

// next returns the next file and its body; io.EOF after the last.
func (r *tarReader) next() (*tar.Header, io.Reader, error) {
	f, err := r.t.Read()
	if err != nil {
		return nil, nil, err
	}
	h, ok := f.Header.(*tar.Header) // File.Name would be the base name only
	if !ok {
		return nil, nil, fmt.Errorf("tar header is a %T", f.Header)
	}
	return h, f.ReadCloser, nil
}

// member describes a file to the library. From a FileInfo whose Sys is nil it
// makes the same header on every system: no owner, no times but the one here.
type member struct {
	name string
	size int64
}

func (m member) Name() string       { return m.name }
func (m member) Size() int64        { return m.size }
func (m member) Mode() fs.FileMode  { return 0o644 }
func (m member) ModTime() time.Time { return time.Unix(0, 0) }
func (m member) IsDir() bool        { return false }
func (m member) Sys() any           { return nil }
