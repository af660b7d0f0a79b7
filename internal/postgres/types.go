package postgres

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"caisseauto/internal/change"
)

// A wire says how the text that PostgreSQL writes for a value becomes a value
// of a batch, one of SQLite's five kinds, and so what a till stores.
type wire uint8

const (
	wireText wire = iota
	wireInteger
	wireBool // 0 or 1
	wireReal
	wireBlob
)

// wires has the built-in types that do not travel as text, by their OIDs,
// which never change (src/include/catalog/pg_type.dat).
var wires = map[uint32]wire{
	16: wireBool, 17: wireBlob,
	20: wireInteger, 21: wireInteger, 23: wireInteger, 26: wireInteger, // int8, int2, int4, oid
	700: wireReal, 701: wireReal,
}

// The built-in types by their OIDs, where one is treated apart.
const (
	boolOID    = 16
	byteaOID   = 17
	charOID    = 18 // "char"
	nameOID    = 19
	int8OID    = 20
	int2OID    = 21
	int4OID    = 23
	textOID    = 25
	oidOID     = 26
	float4OID  = 700
	bpcharOID  = 1042 // character(n), whose trailing blanks count for nothing
	varcharOID = 1043
	dateOID    = 1082
	timeOID    = 1083
	stampOID   = 1114
	stampTZOID = 1184
	timetzOID  = 1266
	numericOID = 1700
	uuidOID    = 2950
	// From here on a type is somebody's own
	// (src/include/access/transam.h, FirstNormalObjectId).
	firstOwnOID = 16384
)

// plain reports whether the text of the column's values is the same under all
// settings that a session can have.
func (c *Column) plain() bool {
	switch c.Base {
	case boolOID, charOID, nameOID, int8OID, int2OID, int4OID, textOID, oidOID, bpcharOID, varcharOID, numericOID, uuidOID:
		return true
	}
	return false
}

// text returns the expression of the text of a column of a row: that which
// PostgreSQL writes for it. A cast to text may be somebody's own function, for
// a type of his.
func (c *Column) text(row string) string {
	column := row + "." + quote(c.Name)
	if c.Base < firstOwnOID {
		return column + "::text"
	}
	return fmt.Sprintf("CASE WHEN %[1]s IS DISTINCT FROM NULL THEN concat(%[1]s) END", column)
}

// exact reports whether values of the column that are equal are equally
// written.
func (c *Column) exact() bool {
	switch c.Base {
	case boolOID, charOID, int8OID, int2OID, int4OID, oidOID, uuidOID, dateOID, timeOID, stampOID, stampTZOID:
		return true
	case textOID, varcharOID, nameOID:
		return !c.Folding
	case numericOID:
		return c.Type != "numeric" // with a scale
	}
	return false
}

// differs returns the condition that OLD and NEW have other values in the
// column. Where equal ones may be written otherwise (1.0 and 1.00), or nobody
// knows what is equal (json), their bytes are compared.
func (c *Column) differs() string {
	o, n := "OLD."+quote(c.Name), "NEW."+quote(c.Name)
	if c.exact() {
		return n + " IS DISTINCT FROM " + o
	}
	return fmt.Sprintf("record_image_ne(ROW(%s), ROW(%s))", n, o)
}

// sentType returns the type that a manifest declares for a column: the
// server's own word for it where SQLite makes the right affinity of that, and
// else a word from which it makes TEXT. SQLite looks for INT before it looks
// for TEXT, so that "interval" or "integer[]" cannot be called by their names
// (https://www.sqlite.org/datatype3.html#determination_of_column_affinity).
func sentType(w wire, declared string) string {
	switch w {
	case wireInteger, wireBool, wireReal:
		return declared
	case wireBlob:
		return "blob"
	}
	low := strings.ToLower(declared)
	switch {
	case strings.Contains(low, "int"):
		return "text"
	case strings.Contains(low, "char"), strings.Contains(low, "text"), strings.Contains(low, "clob"):
		return declared
	}
	return declared + " as text"
}

// appendValue appends the text of a value, nil for NULL, in the form of a
// batch.
func (w wire) appendValue(dst, text []byte) ([]byte, error) {
	if text == nil {
		return change.AppendNull(dst), nil
	}
	switch w {
	case wireInteger:
		return append(dst, text...), nil // bare digits on both sides
	case wireBool:
		if len(text) == 1 && text[0] == 't' {
			return append(dst, '1'), nil
		}
		return append(dst, '0'), nil
	case wireReal:
		return appendReal(dst, text)
	case wireBlob:
		return appendBytea(dst, text)
	}
	return change.AppendText(dst, text), nil
}

// appendReal appends a float. NaN, which SQLite has not, travels as a text.
func appendReal(dst, text []byte) ([]byte, error) {
	if string(text) == "NaN" {
		return change.AppendText(dst, text), nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return dst, fmt.Errorf("%q is no number: %w", text, err)
	}
	return change.AppendReal(dst, f), nil
}

// appendBytea appends the bytes of a bytea in its hexadecimal form
// (https://www.postgresql.org/docs/current/datatype-binary.html).
func appendBytea(dst, text []byte) ([]byte, error) {
	digits, ok := strings.CutPrefix(string(text), `\x`)
	if !ok {
		return dst, fmt.Errorf("%.40q is no bytea in hexadecimal digits", text)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return dst, fmt.Errorf("%.40q is no bytea: %w", text, err)
	}
	return change.AppendBlob(dst, b), nil
}

// holds reports whether every value of another column can be looked for in a
// key column k: it is of the same type, or a text or whole number of a kind
// that k's has room for.
func (k *Column) holds(c *Column) bool {
	width := map[uint32]int{21: 2, 23: 4, 20: 8}
	texts := map[uint32]bool{25: true, 1043: true}
	return k.Base == c.Base || texts[k.Base] && texts[c.Base] || width[c.Base] > 0 && width[c.Base] <= width[k.Base]
}

// collate returns the COLLATE of a column that has one of its own.
func (c *Column) collate() string {
	if c.Collation == "" {
		return ""
	}
	return " COLLATE " + c.Collation
}
