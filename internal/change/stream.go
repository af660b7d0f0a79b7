package change

import "bytes"

// BlockRows is the largest number of rows in a Block: enough to make the hand
// over between two goroutines cheap, few enough to stay in a processor cache.
const BlockRows = 512

// A Sink takes encoded rows, in the order in which they are to stand in the
// archive. The seal engine gives one to the database room, which reads rows
// and encodes them with the Append functions of this package.
type Sink interface {
	// Start says what the rows after it are, until the next Start.
	Start(h Header) error
	// Row takes one encoded line with its line feed. The bytes are the
	// caller's again when Row returns.
	Row(line []byte) error
}

// SendLines gives a sink encoded lines that stand one after the other, and
// returns how many there were.
func SendLines(sink Sink, lines []byte) (n int64, err error) {
	// A line feed ends a line and nothing else: JSON has it escaped in texts.
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n') + 1
		if err := sink.Row(lines[:end]); err != nil {
			return n, err
		}
		n, lines = n+1, lines[end:]
	}
	return n, nil
}

// A Block holds some rows of one member. Header stays the same pointer for
// all blocks of a member. The values borrow the block's own memory.
type Block struct {
	Header *Header
	Values []Value // len(Header.Columns) values a row, one row after the other
	lines  []byte  // as they were read; most texts borrow them
	arena  []byte  // what had to be decoded
}

// Rows returns the number of rows in the block.
func (b *Block) Rows() int {
	if b.Header == nil || len(b.Header.Columns) == 0 {
		return 0
	}
	return len(b.Values) / len(b.Header.Columns)
}

// Row returns row i of the block, borrowed.
func (b *Block) Row(i int) []Value {
	n := len(b.Header.Columns)
	return b.Values[i*n : (i+1)*n : (i+1)*n]
}

// A BlockReader hands out the rows of a verified batch, block after block, in
// the order of the archive; io.EOF after the last one. What Next returns is
// good until the call after it: a reader that keeps blocks copies them with
// [Block.Clone].
type BlockReader interface {
	Next() (*Block, error)
}
