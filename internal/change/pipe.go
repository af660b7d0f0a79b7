package change

import (
	"context"
	"errors"
)

// A Pipe reads blocks ahead in a goroutine of its own, so that one processor
// decodes while another writes rows to a database. It is a [BlockReader].
type Pipe struct {
	full   chan filled
	free   chan *Block
	done   chan struct{} // closed when the goroutine has ended
	ctx    context.Context
	cancel context.CancelFunc
	last   *Block // what Next returned
	err    error
}

type filled struct {
	block *Block
	err   error
}

// ErrClosed is what [Pipe.Next] returns after Close.
var ErrClosed = errors.New("change: pipe is closed")

// NewPipe starts to read ahead up to depth blocks (at least 1). It calls fill
// from its goroutine, each time with a block to fill, until fill returns an
// error; io.EOF says that all was well. The caller must call Close, also when
// ctx ends first.
func NewPipe(ctx context.Context, depth int, fill func(*Block) error) *Pipe {
	depth = max(1, depth)
	p := &Pipe{
		full: make(chan filled, depth),
		free: make(chan *Block, depth+1), // one more is with the caller
		done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	for range depth + 1 {
		p.free <- new(Block)
	}
	go p.run(fill)
	return p
}

func (p *Pipe) run(fill func(*Block) error) {
	defer close(p.done)
	for {
		var b *Block
		select {
		case b = <-p.free:
		case <-p.ctx.Done():
			return
		}
		err := fill(b)
		select {
		case p.full <- filled{b, err}:
		case <-p.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Next returns the next block, good until the call after it. After the last
// block it returns the error of fill; when the context has ended, its error.
func (p *Pipe) Next() (*Block, error) {
	if p.err != nil {
		return nil, p.err
	}
	if p.last != nil {
		p.free <- p.last
		p.last = nil
	}
	select {
	case f := <-p.full:
		if f.err != nil {
			p.err = f.err
			return nil, p.err
		}
		p.last = f.block
		return f.block, nil
	case <-p.ctx.Done():
		p.err = p.ctx.Err()
		return nil, p.err
	}
}

// Close stops the goroutine and waits until it has ended: what fill reads
// from can be closed after it. It does not interrupt a fill under way. Close
// can be called more than once, but not while Next runs.
func (p *Pipe) Close() error {
	p.cancel()
	<-p.done
	if p.err == nil {
		p.err = ErrClosed
	}
	return nil
}
