package change

import (
	"fmt"
	"unicode/utf8"
)

const (
	// MaxLine is the longest row with its line feed, 8 MiB: what a member
	// may hold of rows at all, and what a reader must be ready to buffer.
	MaxLine = 8 << 20
	// MaxHeader is the longest header line, 256 KiB: room for the 2000
	// columns that SQLite allows by default, with names of 120 bytes.
	MaxHeader = 256 << 10
	// MaxColumns is SQLite's own highest setting
	// (https://www.sqlite.org/limits.html, SQLITE_MAX_COLUMN).
	MaxColumns = 32767
)

// Check reports what keeps h from being the header of a member: an unknown
// operation, no table, no columns or too many, one that is named twice, a
// name that is not valid UTF-8, a line beyond [MaxHeader].
func (h Header) Check() error {
	switch h.Op {
	case Upsert, Patch, Delete, Base:
	default:
		return fmt.Errorf("operation %q is not upsert, patch, delete or base", h.Op)
	}
	if h.Table == "" || !utf8.ValidString(h.Table) {
		return fmt.Errorf("table name %q is empty or not valid UTF-8", h.Table)
	}
	if n := len(h.Columns); n == 0 || n > MaxColumns {
		return fmt.Errorf("table %q has %d columns, want 1 to %d", h.Table, n, MaxColumns)
	}
	seen := make(map[string]bool, len(h.Columns))
	for _, c := range h.Columns {
		if !utf8.ValidString(c) {
			return fmt.Errorf("table %q: column name %q is not valid UTF-8", h.Table, c)
		}
		if seen[c] {
			return fmt.Errorf("table %q: column %q is named twice", h.Table, c)
		}
		seen[c] = true
	}
	if n := len(AppendHeader(nil, h)); n > MaxHeader {
		return fmt.Errorf("table %q: header line of %d bytes is longer than %d", h.Table, n, MaxHeader)
	}
	return nil
}

// AppendHeader appends the first line of a member, with its line feed. For a
// header that [Header.Check] refuses the line is one that [ParseHeader]
// refuses.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, headTable...)
	dst = AppendText(dst, []byte(h.Table))
	dst = append(dst, headOp...)
	dst = AppendText(dst, []byte(h.Op))
	dst = append(dst, headColumns...)
	for i, c := range h.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendText(dst, []byte(c))
	}
	return append(dst, headEnd...)
}

const (
	headTable   = `{"table":`
	headOp      = `,"op":`
	headColumns = `,"columns":[`
	headEnd     = "]}\n"
)

// ParseHeader reads the first line of a member, with its line feed. Only what
// [AppendHeader] writes is accepted, so that a header has one form; what it
// returns passes [Header.Check] and borrows nothing.
func ParseHeader(line []byte) (Header, error) {
	if len(line) > MaxHeader {
		return Header{}, fmt.Errorf("header line is longer than %d bytes", MaxHeader)
	}
	p := headerParser{rowParser: rowParser{line: line}}
	var h Header
	p.literal(headTable)
	h.Table = p.name()
	p.literal(headOp)
	h.Op = Op(p.name())
	p.literal(headColumns)
	h.Columns = append(h.Columns, p.name())
	for p.reason == "" && p.at(p.i) == ',' {
		p.i++
		h.Columns = append(h.Columns, p.name())
	}
	p.literal(headEnd)
	if p.reason == "" && p.i != len(line) {
		p.reason = "more bytes after the header"
	}
	if p.reason != "" {
		return Header{}, fmt.Errorf("header line, byte %d: %s", p.i+1, p.reason)
	}
	if err := h.Check(); err != nil {
		return Header{}, fmt.Errorf("header line: %w", err)
	}
	return h, nil
}

// headerParser does nothing more after its first error, which is in reason.
type headerParser struct {
	rowParser
	i      int
	reason string
}

func (p *headerParser) literal(s string) {
	if p.reason != "" {
		return
	}
	if len(p.line)-p.i < len(s) || string(p.line[p.i:p.i+len(s)]) != s {
		p.reason = fmt.Sprintf("expected %q", s)
		return
	}
	p.i += len(s)
}

func (p *headerParser) name() string {
	if p.reason != "" {
		return ""
	}
	if p.at(p.i) != '"' {
		p.reason = "expected a string"
		return ""
	}
	var v Value
	p.i, p.reason = p.text(&v, p.i+1)
	if p.reason != "" {
		return ""
	}
	return string(v.Bytes)
}
