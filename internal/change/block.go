package change

// valuesPerBlock bounds a block of a very wide table: 32 columns of BlockRows
// rows, 768 KiB of values, and not 768 MiB.
const valuesPerBlock = 32 * BlockRows

// keepBuffer is the largest buffer that a recycled block keeps. A single huge
// row must not stay in memory in each of a pipe's blocks.
const keepBuffer = 1 << 20

// rowsPerBlock returns how many rows of n columns a block takes.
func rowsPerBlock(n int) int { return min(BlockRows, max(1, valuesPerBlock/n)) }

// reset makes b ready for rows of h. What was read from b before is gone.
func (b *Block) reset(h *Header) {
	if cap(b.lines) > keepBuffer {
		b.lines = nil
	}
	if cap(b.arena) > keepBuffer {
		b.arena = nil
	}
	if b.lines == nil {
		b.lines = make([]byte, 0, chunk)
	}
	b.Header, b.lines, b.arena = h, b.lines[:0], b.arena[:0]
	n := len(h.Columns)
	if need := n * rowsPerBlock(n); cap(b.Values) < need {
		b.Values = make([]Value, 0, need)
	}
	b.Values = b.Values[:0]
}

// Clone returns a copy of b that borrows nothing from it but the header.
func (b *Block) Clone() *Block {
	c := &Block{Header: b.Header, Values: append([]Value(nil), b.Values...)}
	size := 0
	for i := range c.Values {
		size += len(c.Values[i].Bytes)
	}
	c.arena = make([]byte, 0, size) // never grown below, so all can borrow it
	for i := range c.Values {
		if v := &c.Values[i]; v.Bytes != nil {
			from := len(c.arena)
			c.arena = append(c.arena, v.Bytes...)
			v.Bytes = c.arena[from:len(c.arena):len(c.arena)]
		}
	}
	return c
}
