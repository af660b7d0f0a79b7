package change

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// chunk is how much of a member is read at a time: some hundred rows of
// common width, which fit a processor's second-level cache.
const chunk = 64 << 10

// A MemberReader reads one member of an archive: a header line, then rows.
// It stops at the first line that is not exactly what this package writes.
type MemberReader struct {
	r      io.Reader
	header *Header
	carry  []byte // read but not handed out yet
	rows   int64
	err    error // of r
	bad    error // what Fill answers for good
	own    Block // of Next
}

// NewMemberReader reads the header line from r. An error of r is wrapped; any
// other says what is wrong with the line.
func NewMemberReader(r io.Reader) (*MemberReader, error) {
	m := &MemberReader{r: r, carry: make([]byte, 0, chunk)}
	end := -1
	for end < 0 {
		if len(m.carry) >= MaxHeader {
			return nil, fmt.Errorf("header line is longer than %d bytes", MaxHeader)
		}
		from := len(m.carry)
		m.carry = fill(m, m.carry)
		if end = bytes.IndexByte(m.carry[from:], '\n'); end >= 0 {
			end += from
		} else if m.err != nil {
			return nil, m.cut("header line")
		}
	}
	h, err := ParseHeader(m.carry[:end+1])
	if err != nil {
		return nil, err
	}
	m.header = &h
	m.carry = slices.Delete(m.carry, 0, end+1)
	return m, nil
}

// Header returns the first line.
func (m *MemberReader) Header() *Header { return m.header }

// Rows returns the number of rows that were read so far.
func (m *MemberReader) Rows() int64 { return m.rows }

// Next returns the next rows, good until the call after it, and io.EOF when
// there are no more.
func (m *MemberReader) Next() (*Block, error) {
	if err := m.Fill(&m.own); err != nil {
		return nil, err
	}
	return &m.own, nil
}

// Fill reads the next rows into b, at least one, and returns io.EOF when
// there are no more. The caller says when b is read anew, so that several
// blocks can be under way; see [Pipe]. After an error b holds nothing of use.
func (m *MemberReader) Fill(b *Block) error {
	if m.bad != nil {
		return m.bad
	}
	b.reset(m.header)
	b.lines = append(b.lines, m.carry...)
	m.carry = m.carry[:0]
	n := len(m.header.Columns)
	for at, limit := 0, n*rowsPerBlock(n); ; {
		end := bytes.IndexByte(b.lines[at:], '\n') + 1
		switch {
		case end > MaxLine || end == 0 && len(b.lines)-at >= MaxLine:
			return m.fail(fmt.Errorf("row %d: line is longer than %d bytes", m.rows+1, MaxLine))
		case end > 0 && len(b.Values) < limit:
			if err := m.row(b, b.lines[at:at+end], n); err != nil {
				return err
			}
			at += end
		case len(b.Values) > 0:
			m.carry = append(m.carry, b.lines[at:]...)
			return nil
		case m.err == nil:
			b.lines = fill(m, b.lines)
		case len(b.lines) == 0:
			return m.fail(m.err) // io.EOF when all is well
		default:
			return m.cut(fmt.Sprintf("row %d", m.rows+1))
		}
	}
}

// row parses one line into the next row of b.
func (m *MemberReader) row(b *Block, line []byte, n int) (err error) {
	from := len(b.Values)
	b.Values = b.Values[:from+n]
	if b.arena, err = ParseRow(line, b.Values[from:], b.arena); err == nil {
		m.rows++
		return nil
	}
	if bad := (*RowError)(nil); errors.As(err, &bad) && bad.Column < n {
		return m.fail(fmt.Errorf("row %d (column %q): %w", m.rows+1, m.header.Columns[bad.Column], err))
	}
	return m.fail(fmt.Errorf("row %d: %w", m.rows+1, err))
}

// cut returns the error for a line that the end of the member, or an error of
// the reader under it, has cut.
func (m *MemberReader) cut(what string) error {
	if m.err == io.EOF {
		return m.fail(fmt.Errorf("%s: the member ends without a line feed", what))
	}
	return m.fail(fmt.Errorf("%s: %w", what, m.err))
}

// fail makes err the answer to every later call.
func (m *MemberReader) fail(err error) error {
	m.bad = err
	return err
}

// fill reads once into buf behind what it holds, growing it when it is full,
// and until it is full or m.err is set.
func fill(m *MemberReader, buf []byte) []byte {
	if len(buf) == cap(buf) {
		buf = slices.Grow(buf, max(chunk, len(buf)))
	}
	for idle := 0; m.err == nil && len(buf) < cap(buf); idle++ {
		n, err := m.r.Read(buf[len(buf):cap(buf)])
		buf, m.err = buf[:len(buf)+n], err
		if n > 0 {
			idle = 0
		} else if err == nil && idle > 100 {
			m.err = io.ErrNoProgress // a reader that breaks its contract must not hang us
		}
	}
	return buf
}
