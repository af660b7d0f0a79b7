package change

import (
	"encoding/base64"
	"fmt"
)

// A RowError says where a line stops being a row of the format.
type RowError struct {
	Column int // 0 for the first; len(row) when all the values were read
	Offset int // byte in the line
	Reason string
}

func (e *RowError) Error() string {
	return fmt.Sprintf("column %d, byte %d: %s", e.Column+1, e.Offset+1, e.Reason)
}

// ParseRow reads one line, with its line feed, into row, whose length says
// how many values there must be. Texts without an escape borrow the line;
// whatever has to be decoded is appended to arena, which is returned.
//
// Only what [AppendRow] writes is accepted: no white space, one form for each
// value, valid UTF-8, integers within int64. Every error is a [*RowError],
// and row is then filled in part.
func ParseRow(line []byte, row []Value, arena []byte) ([]byte, error) {
	p := rowParser{line: line, arena: arena}
	if len(line) == 0 || line[0] != '[' {
		return arena, &RowError{0, 0, "a row begins with ["}
	}
	i, reason := 1, ""
	for col := range row {
		if col > 0 {
			if p.at(i) != ',' {
				return p.arena, &RowError{col, i, p.separator(i, len(row))}
			}
			i++
		}
		if i, reason = p.value(&row[col], i); reason != "" {
			return p.arena, &RowError{col, i, reason}
		}
	}
	if p.at(i) != ']' {
		return p.arena, &RowError{len(row), i, p.separator(i, len(row))}
	}
	if i+2 != len(line) || line[i+1] != '\n' {
		return p.arena, &RowError{len(row), i + 1, "a row ends with ] and one line feed"}
	}
	return p.arena, nil
}

type rowParser struct {
	line  []byte
	arena []byte
}

// at returns the byte at i, and 0 after the end: no value begins with it.
func (p *rowParser) at(i int) byte {
	if i < len(p.line) {
		return p.line[i]
	}
	return 0
}

// separator says what is wrong at i, where a comma or the end of the row was
// expected.
func (p *rowParser) separator(i, n int) string {
	switch p.at(i) {
	case ']':
		return fmt.Sprintf("too few values, want %d", n)
	case ',':
		return fmt.Sprintf("too many values, want %d", n)
	}
	return "expected a comma or the end of the row"
}

// value reads the value at i and returns the index behind it, or where it is
// wrong and why.
func (p *rowParser) value(v *Value, i int) (int, string) {
	c := p.at(i)
	switch {
	case c == '"':
		return p.text(v, i+1)
	case c-'0' < 10 || c == '-':
		return p.number(v, i)
	case c == 'n':
		if len(p.line)-i < 4 || string(p.line[i:i+4]) != "null" {
			return i, "expected null"
		}
		*v = Value{}
		return i + 4, ""
	case c == '{':
		return p.tagged(v, i)
	}
	return i, "expected a value"
}

// text reads the string whose first byte, after the quote, is at i.
func (p *rowParser) text(v *Value, i int) (int, string) {
	end, high := indexSpecial(p.line, i)
	if end == len(p.line) || p.line[end] != '"' {
		return p.escaped(v, i, end, high)
	}
	s := p.line[i:end:end]
	if high && !validUTF8(s) {
		return i, "text is not valid UTF-8"
	}
	*v = Value{Kind: Text, Bytes: s}
	return end + 1, ""
}

// escaped reads a string that has a backslash at at, or is wrong there.
func (p *rowParser) escaped(v *Value, i, at int, high bool) (int, string) {
	from := len(p.arena)
	start := i
	for {
		p.arena = append(p.arena, p.line[i:at]...)
		switch p.at(at) {
		case '"':
			s := p.arena[from:len(p.arena):len(p.arena)]
			if high && !validUTF8(s) {
				return start, "text is not valid UTF-8"
			}
			*v = Value{Kind: Text, Bytes: s}
			return at + 1, ""
		case '\\':
			c, n := unescape(p.line[at:])
			if n == 0 {
				return at, "escape is unknown or not in its shortest form"
			}
			p.arena = append(p.arena, c)
			i = at + n
		default:
			if at >= len(p.line) || p.line[at] == '\n' {
				return at, "text does not end"
			}
			return at, "control character is not escaped"
		}
		var more bool
		at, more = indexSpecial(p.line, i)
		high = high || more
	}
}

// unescape reads the escape at the start of s and returns its length, 0 when
// it is none that appendEscape writes.
func unescape(s []byte) (c byte, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\':
		return s[1], 2
	case 'n':
		return '\n', 2
	case 't':
		return '\t', 2
	case 'r':
		return '\r', 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	}
	if len(s) < 6 || string(s[1:4]) != "u00" || s[4] > '1' {
		return 0, 0
	}
	c = (s[4]-'0')<<4 | unhex(s[5])
	var canon [6]byte
	if string(appendEscape(canon[:0], c)) != string(s[:6]) {
		return 0, 0
	}
	return c, 6
}

func unhex(c byte) byte {
	if c >= 'a' {
		return (c - 'a' + 10) & 15
	}
	return (c - '0') & 15
}

// tagged reads {"b":…}, {"t":…} or {"r":…} at i.
func (p *rowParser) tagged(v *Value, i int) (int, string) {
	const open = len(`{"b":"`)
	if len(p.line)-i < open || p.line[i+1] != '"' || string(p.line[i+3:i+open]) != `":"` {
		return i, `expected {"b":"…"}, {"t":"…"} or {"r":"…"}`
	}
	end, _ := indexSpecial(p.line, i+open)
	if p.at(end) != '"' || p.at(end+1) != '}' {
		return end, `expected "} after the value`
	}
	body, after := p.line[i+open:end], end+2
	switch p.line[i+2] {
	case 'b':
		if !p.base64(v, Blob, body) {
			return i + open, "base64 is not in its one padded form"
		}
		return after, ""
	case 't':
		if !p.base64(v, Text, body) {
			return i + open, "base64 is not in its one padded form"
		}
		if validUTF8(v.Bytes) {
			return i, "text is valid UTF-8 and must be a string"
		}
		return after, ""
	case 'r':
		return p.infinity(v, i, after)
	}
	return i + 2, `expected "b", "t" or "r"`
}

// base64 decodes src to the arena. The decoder skips line breaks by itself,
// but none can be in src, which ends at the first control character; Strict
// makes it refuse bits after the last byte.
func (p *rowParser) base64(v *Value, kind Kind, src []byte) bool {
	from := len(p.arena)
	arena, err := base64.StdEncoding.Strict().AppendDecode(p.arena, src)
	if err != nil {
		return false
	}
	p.arena = arena
	*v = Value{Kind: kind, Bytes: arena[from:len(arena):len(arena)]}
	if v.Bytes == nil {
		v.Bytes = []byte{} // an empty blob is not NULL, and drivers tell them apart by this
	}
	return true
}
