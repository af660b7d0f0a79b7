package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// window is what the encoder looks back on. Over 176 MiB of rows 8 MiB gains
// nothing (22.76 % against 22.75 %) and costs 8 MiB more of memory.
const window = 4 << 20

// A Writer writes an archive. It compresses in the background: while one
// member is on its way, the caller makes the next. The same members make the
// same bytes, on every machine.
//
// Its methods are for one goroutine.
type Writer struct {
	form   Form
	jobs   chan job
	free   chan []byte
	done   chan struct{} // closed when the goroutine has ended
	failed atomic.Pointer[error]
	names  map[string]bool
	large  bool // a body of more than firstBuffer bytes was seen
	closed bool
	tar    int64 // bytes of the tar so far
	sum    Sum   // set at the end by the goroutine
}

type job struct {
	name string
	body []byte
	file *exact // in place of body
}

const (
	buffers     = 2         // one being filled, one being compressed
	firstBuffer = 256 << 10 // enough for the common delta; grown ones are used again
)

// NewWriter starts an archive of [Rows] on w. The caller must call Close or
// Abort; w is written to until then, from another goroutine.
func NewWriter(w io.Writer) (*Writer, error) { return Rows.NewWriter(w) }

// NewWriter is [NewWriter] for archives of this form. Its Writer refuses what
// [Form.NewReader] refuses.
func (f Form) NewWriter(w io.Writer) (*Writer, error) {
	s := &sink{w: w, hash: sha256.New()}
	z, err := zstd.NewWriter(s,
		zstd.WithEncoderLevel(zstd.SpeedDefault), // level 3
		zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(window),
		zstd.WithEncoderConcurrency(2)) // not of GOMAXPROCS: the same bytes everywhere
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	t, err := newTarWriter(z)
	if err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	a := &Writer{
		form:  f,
		jobs:  make(chan job),
		free:  make(chan []byte, buffers),
		done:  make(chan struct{}),
		names: map[string]bool{},
	}
	go a.run(t, z, s)
	return a, nil
}

// Buffer returns an empty buffer to append a body to and hand to Add. It is
// one that an earlier Add took, when it is free again.
func (a *Writer) Buffer() []byte {
	select {
	case b := <-a.free:
		return b[:0]
	default:
	}
	if a.large {
		return make([]byte, 0, MaxMember)
	}
	return make([]byte, 0, firstBuffer)
}

// Add writes a member and returns its SHA-256 in lower-case hex. body belongs
// to the Writer from then on, whatever is returned. Add waits while a member
// before it is being compressed. The errors are those of the name and the
// size of this member, and whatever befell the members before it.
func (a *Writer) Add(name string, body []byte) (sha256hex string, err error) {
	if err := a.admit(name, int64(len(body))); err != nil {
		return "", err
	}
	a.large = a.large || len(body) > firstBuffer
	digest := sha256.Sum256(body)
	a.jobs <- job{name: name, body: body}
	return hex.EncodeToString(digest[:]), nil
}

// AddFile writes a member of size bytes, which r must give and not one more,
// and returns its SHA-256 in lower-case hex. It makes the same bytes as Add,
// holds no more than a buffer of the body, and waits until r is read: nobody
// reads from it afterwards. A name or size that is refused leaves the archive
// as it was. Any error after that, of r or because r is shorter or longer,
// gives the archive up: Close returns it again.
func (a *Writer) AddFile(name string, size int64, r io.Reader) (sha256hex string, err error) {
	if err := a.admit(name, size); err != nil {
		return "", err
	}
	e := &exact{r: r, size: size, sum: sha256.New(), done: make(chan struct{})}
	a.jobs <- job{name: name, file: e}
	<-e.done
	if p := a.failed.Load(); p != nil {
		return "", *p
	}
	return hex.EncodeToString(e.sum.Sum(nil)), nil
}

// admit takes a member into the books, or says why it cannot be one.
func (a *Writer) admit(name string, size int64) error {
	switch err := a.form.checkName(name); {
	case a.closed:
		return errClosed
	case err != nil:
		return err
	case a.names[name]:
		return fmt.Errorf("member %q is added twice", name)
	case size < 0 || size > a.form.maxMember():
		return fmt.Errorf("member %q has %d bytes, at most %d fit", name, size, a.form.maxMember())
	}
	if p := a.failed.Load(); p != nil {
		return *p
	}
	a.names[name] = true
	a.tar += block + size + padding(size)
	return nil
}

// Close ends the archive and returns what the manifest says of it. Nothing is
// written to w after it. With an error what w has got is not an archive.
func (a *Writer) Close() (Sum, error) {
	if a.closed {
		return Sum{}, errClosed
	}
	a.closed = true
	close(a.jobs)
	<-a.done
	if p := a.failed.Load(); p != nil {
		return Sum{}, *p
	}
	a.sum.TarSize = a.tar + 2*block
	return a.sum, nil
}

// Abort gives the archive up. It does nothing after Close, so that it can be
// deferred.
func (a *Writer) Abort() {
	if a.closed {
		return
	}
	a.fail(errAborted)
	_, _ = a.Close()
}

var (
	errClosed  = errors.New("archive: writer is closed")
	errAborted = errors.New("archive: writer is aborted")
)

// fail keeps the first error.
func (a *Writer) fail(err error) { a.failed.CompareAndSwap(nil, &err) }

// run does the work of Add and Close in the background.
func (a *Writer) run(t *tarWriter, z *zstd.Encoder, s *sink) {
	defer close(a.done)
	for j := range a.jobs {
		if a.failed.Load() == nil {
			if err := j.write(t); err != nil {
				a.fail(fmt.Errorf("writing member %q: %w", j.name, err))
			}
		}
		if j.file != nil {
			close(j.file.done)
		} else {
			a.recycle(j.body)
		}
	}
	if a.failed.Load() == nil {
		a.end(t, z, s)
	}
	if a.failed.Load() != nil {
		s.stop.Store(true)
		z.Reset(nil) // waits for the encoder's own goroutines, which may still write
	}
}

func (j job) write(t *tarWriter) error {
	if j.file != nil {
		return t.add(j.name, j.file.size, j.file)
	}
	return t.add(j.name, int64(len(j.body)), bytes.NewReader(j.body))
}

// end closes the tar and the frame. The frame's error matters: its last block
// and checksum are written there.
func (a *Writer) end(t *tarWriter, z *zstd.Encoder, s *sink) {
	if err := t.close(); err != nil {
		a.fail(fmt.Errorf("ending the tar: %w", err))
		return
	}
	if err := z.Close(); err != nil {
		a.fail(fmt.Errorf("ending the zstd frame: %w", err))
		return
	}
	a.sum = Sum{Size: s.size, SHA256: hex.EncodeToString(s.hash.Sum(nil))}
}

func (a *Writer) recycle(b []byte) {
	select {
	case a.free <- b:
	default: // the caller brings buffers of its own
	}
}

// sink counts and hashes what goes to the file.
type sink struct {
	w    io.Writer
	hash hash.Hash
	size int64
	stop atomic.Bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.stop.Load() {
		return 0, errAborted
	}
	n, err := s.w.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}
