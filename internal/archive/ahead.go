package archive

import (
	"io"
	"sync"
)

const (
	aheadSize  = 128 << 10 // one zstd block
	aheadDepth = 4
)

// ahead reads from r in a goroutine of its own, a few buffers in front of
// whoever reads from it, so that decompressing and parsing share the work of
// two processors.
type ahead struct {
	full chan read
	free chan []byte
	quit chan struct{}
	once sync.Once
	done chan struct{}
	cur  read   // being read
	buf  []byte // to be given back
}

type read struct {
	b   []byte
	err error // after b
}

func newAhead(r io.Reader) *ahead {
	a := &ahead{
		full: make(chan read, aheadDepth),
		free: make(chan []byte, aheadDepth),
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadDepth {
		a.free <- nil // made when it is needed: most archives are small
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.done)
	for {
		select {
		case <-a.quit:
			return
		case b := <-a.free:
			if b == nil {
				b = make([]byte, aheadSize)
			}
			n, err := io.ReadFull(r, b)
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			a.full <- read{b[:n], err} // never blocks, there are no more buffers than places
			if err != nil {
				return
			}
		}
	}
}

// Read returns what r returned, in order; its error when all before it was
// read.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.cur.b) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.buf != nil {
			a.free <- a.buf[:aheadSize]
			a.buf = nil
		}
		select {
		case a.cur = <-a.full:
			a.buf = a.cur.b
		case <-a.quit:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, a.cur.b)
	a.cur.b = a.cur.b[n:]
	return n, nil
}

// close stops the goroutine and waits for its end.
func (a *ahead) close() {
	a.once.Do(func() { close(a.quit) })
	<-a.done
}
