package change

import (
	"encoding/base64"
	"math"
	"strconv"
)

// AppendRow appends row as one line, a JSON array with its line feed. Whoever
// reads values one by one from a database appends "[", the values with the
// functions below and commas between them, and "]\n" instead.
func AppendRow(dst []byte, row []Value) []byte {
	dst = append(dst, '[')
	for i := range row {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendValue(dst, &row[i])
	}
	return append(dst, ']', '\n')
}

// AppendValue appends v in the form of its kind. A kind that does not exist is
// written as NULL.
func AppendValue(dst []byte, v *Value) []byte {
	switch v.Kind {
	case Integer:
		return AppendInt(dst, v.Int)
	case Real:
		return AppendReal(dst, v.Real)
	case Text:
		return AppendText(dst, v.Bytes)
	case Blob:
		return AppendBlob(dst, v.Bytes)
	default:
		return AppendNull(dst)
	}
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, "null"...) }

// AppendInt appends i as bare digits, over the whole range of int64. (Tools
// that read JSON numbers as doubles, jq among them, round beyond 2^53.)
func AppendInt(dst []byte, i int64) []byte { return strconv.AppendInt(dst, i, 10) }

// AppendReal appends the shortest decimal that reads back as f, bit for bit,
// and always with "." or "e" in it so that 3.0 does not come back as the
// integer 3. Infinities, which JSON has no number for, are {"r":"+Inf"} and
// {"r":"-Inf"}. NaN becomes null, as it does in SQLite itself
// (https://www.sqlite.org/datatype3.html, https://www.sqlite.org/floatingpoint.html).
func AppendReal(dst []byte, f float64) []byte {
	switch {
	case f != f:
		return AppendNull(dst)
	case f > math.MaxFloat64:
		return append(dst, plusInf...)
	case f < -math.MaxFloat64:
		return append(dst, minusInf...)
	}
	if k, ok := tenThousandths(f); ok {
		return appendDecimal(dst, k, f < 0)
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	for _, c := range dst[n:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

const (
	plusInf  = `{"r":"+Inf"}`
	minusInf = `{"r":"-Inf"}`
)

// AppendText appends s as a JSON string when it is valid UTF-8, and as
// {"t":"<base64>"} when it is not: SQLite keeps whatever bytes a program calls
// text, and they must arrive as they are.
func AppendText(dst, s []byte) []byte {
	at, high := indexSpecial(s, 0)
	if at == len(s) && (!high || validUTF8(s)) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	if !validUTF8(s) {
		return appendTagged(dst, 't', s)
	}
	return appendString(dst, s)
}

// AppendBlob appends {"b":"<base64>"}.
func AppendBlob(dst, b []byte) []byte { return appendTagged(dst, 'b', b) }

func appendTagged(dst []byte, tag byte, b []byte) []byte {
	dst = append(dst, '{', '"', tag, '"', ':', '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"', '}')
}

// appendString appends s, which must be valid UTF-8, as a JSON string. Each
// text has one form only: the short escape where JSON has one, \u00xx in lower
// case for the other controls, and every other character as it is (RFC 8259,
// section 7).
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for {
		at, _ := indexSpecial(s, 0)
		dst = append(dst, s[:at]...)
		if at == len(s) {
			return append(dst, '"')
		}
		dst = appendEscape(dst, s[at])
		s = s[at+1:]
	}
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\t':
		return append(dst, '\\', 't')
	case '\r':
		return append(dst, '\\', 'r')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

const hexDigits = "0123456789abcdef"
