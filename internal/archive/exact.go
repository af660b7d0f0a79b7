package archive

import (
	"fmt"
	"hash"
	"io"
)

// exact passes on what r gives as long as that is size bytes, and hashes it.
// Another length is an error at the place where it shows, before anything
// else is written.
type exact struct {
	r    io.Reader
	size int64
	read int64
	sum  hash.Hash
	done chan struct{} // closed when nobody reads any more
}

// Read returns io.EOF after size bytes, when r ends there.
func (e *exact) Read(p []byte) (int, error) {
	left := e.size - e.read
	if left == 0 {
		return 0, e.end()
	}
	n, err := e.r.Read(p[:min(int64(len(p)), left)])
	e.read += int64(n)
	e.sum.Write(p[:n])
	if err == io.EOF {
		err = nil
		if e.read < e.size {
			err = fmt.Errorf("body ends after %d of %d bytes", e.read, e.size)
		}
	}
	return n, err
}

// end returns io.EOF when r has not one byte more.
func (e *exact) end() error {
	_, err := io.ReadFull(e.r, make([]byte, 1))
	if err == nil {
		err = fmt.Errorf("body goes on after %d bytes", e.size)
	}
	return err
}
