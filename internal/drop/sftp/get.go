package sftp

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pkg/sftp"
)

// errShort: fewer bytes came than the server said the file has.
var errShort = fmt.Errorf("the file is shorter than the server said: %w", io.ErrUnexpectedEOF)

// Get copies the file from offset to its end into w. The size is what the
// server says of the opened file; exactly that many bytes come or it is an
// error. An error of w is returned as it is and leaves the connection good.
//
// Three round trips for a small file: Lstat, Open, then Fstat and the data
// together; nobody waits for the close.
func (c *Client) Get(ctx context.Context, name string, offset int64, w io.Writer) error {
	p, err := c.file(name)
	if err != nil {
		return err
	}
	if offset < 0 {
		return fmt.Errorf("sftp: get %s: offset %d: %w", name, offset, fs.ErrInvalid)
	}
	f, err := c.open(ctx, p)
	if err != nil {
		return c.explain("get", name, err)
	}
	defer c.closeLater(f)
	err = c.do(ctx, c.receiving(), func() error { return c.copyFrom(f, offset, w) })
	return c.explain("get", name, err)
}

// open opens p for reading, unless it is a link, a folder or a device: a
// server follows links, and OpenSSH opens folders and waits in a FIFO. That
// is why the two requests cannot share a round trip.
func (c *Client) open(ctx context.Context, p string) (f *sftp.File, err error) {
	err = c.do(ctx, c.metadata(), func() (err error) {
		if _, err := c.lstat(p); err != nil {
			return err
		}
		f, err = c.sftp.Open(p)
		return err
	})
	return f, err
}

// closeLater closes a file that was only read. Nothing depends on the
// answer, so nobody waits for it; it still counts as owed, so the watchdog
// sees a server that swallows it.
func (c *Client) closeLater(f *sftp.File) {
	c.conn.begin()
	c.background.Go(func() {
		defer c.conn.end()
		f.Close() //nolint:errcheck // see above
	})
}

// firstPiece is asked for before the size is known: enough for a head, a
// signature and most manifests.
const firstPiece = packetSize

func (c *Client) copyFrom(f *sftp.File, offset int64, w io.Writer) error {
	var fi os.FileInfo
	var statErr, readErr error
	var n int
	first := make([]byte, firstPiece)
	both(func() { fi, statErr = f.Stat() }, func() { n, readErr = f.ReadAt(first, offset) })
	if statErr != nil {
		return statErr
	}
	size, err := regularSize(fi)
	if err != nil {
		return err
	}
	left := size - offset
	switch {
	case readErr != nil && readErr != io.EOF:
		return readErr
	case left < 0:
		return fmt.Errorf("%w: %d bytes, %d are here already", errShort, size, offset)
	case int64(n) < min(left, firstPiece):
		return fmt.Errorf("%w: %d of %d bytes", errShort, offset+int64(n), size)
	}
	n = int(min(int64(n), left)) // a file that grew meanwhile is read to the size it had
	if _, err := w.Write(first[:n]); err != nil {
		return &localError{err}
	}
	return c.readAhead(f, offset+int64(n), size, w)
}

// A piece is one READ under way.
type piece struct {
	buf  []byte
	off  int64
	n    int
	err  error
	done chan struct{}
}

// readAhead copies [off, size) in order, with ReadRequests requests of one
// packet each always under way. One packet a request is the case in which
// pkg/sftp asks again after a short reply (readChunkAt); its WriteTo leaves a
// silent gap instead (pkg/sftp#658).
func (c *Client) readAhead(f *sftp.File, off, size int64, w io.Writer) (err error) {
	queue := make(chan *piece, c.cfg.ReadRequests)
	defer func() {
		for len(queue) > 0 { // after an error: the rest must not outlive f
			<-(<-queue).done
		}
	}()
	var spare *piece
	for next := off; ; {
		for ; next < size && len(queue) < cap(queue); next += packetSize {
			queue <- start(f, spare, next, min(packetSize, size-next))
			spare = nil
		}
		if len(queue) == 0 {
			return nil
		}
		p := <-queue
		<-p.done
		if p.n < len(p.buf) {
			if p.err != nil && p.err != io.EOF {
				return p.err
			}
			return fmt.Errorf("%w: %d of %d bytes", errShort, p.off+int64(p.n), size)
		}
		if _, err := w.Write(p.buf); err != nil {
			return &localError{err}
		}
		spare = p
	}
}

func start(f *sftp.File, spare *piece, off, n int64) *piece {
	p := &piece{off: off, done: make(chan struct{})}
	if spare != nil {
		p.buf = spare.buf[:n]
	} else {
		p.buf = make([]byte, n, packetSize)
	}
	go func() {
		defer close(p.done)
		p.n, p.err = f.ReadAt(p.buf, p.off)
	}()
	return p
}
