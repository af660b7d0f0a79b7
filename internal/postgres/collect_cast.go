package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"caisseauto/internal/change"
)

// A typeInfo is what there is to know of a column's base type.
type typeInfo struct {
	bare     string // in SQL, without a length or precision
	category byte   // pg_type.typcategory
	compares bool   // its = tells two contents apart
}

// same are the built-in types, beside enumerations, whose = tells two contents
// apart, whatever their text. Of an interval it does not: a month is 30 days.
var same = []uint32{16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 790, 829, 869, 650, 774, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 1560, 1562, 1700, 2950, 3220, 3802}

// loadTypes reads what is not known yet of the types of columns.
func (d *collecting) loadTypes(ctx context.Context, t *Table) error {
	var missing []uint32
	for _, c := range t.Columns {
		if _, ok := d.types[c.Base]; !ok {
			missing = append(missing, c.Base)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// With -1 for a length, "character" is not character(1).
	rows, err := d.s.Query(ctx, "SELECT oid, format_type(oid, -1), typcategory::text, typtype::text FROM pg_type WHERE oid = ANY ($1)", missing)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var i typeInfo
		var category, kind string
		if err := rows.Scan(&oid, &i.bare, &category, &kind); err != nil {
			return err
		}
		i.category, i.compares = category[0], kind == "e" || slices.Contains(same, oid)
		d.types[oid] = i
	}
	return rows.Err()
}

// unfit says why a value cannot be what a column holds, "" when it may be: the
// rest is for the cast to find out.
func (d *collecting) unfit(c *Column, v *change.Value) string {
	i := d.types[c.Base]
	switch {
	case v.Kind == change.Null:
	case c.Base == byteaOID && v.Kind != change.Blob:
		return "is no blob"
	case c.Base != byteaOID && v.Kind == change.Blob:
		return "is a blob"
	case v.Kind == change.Text && !utf8.Valid(v.Bytes):
		return "is no UTF-8"
	case v.Kind == change.Text && bytes.IndexByte(v.Bytes, 0) >= 0:
		return "has a zero byte, which no text of PostgreSQL has"
	case (v.Kind == change.Integer || v.Kind == change.Real) && (i.category == 'D' || i.category == 'T'):
		return "is a number" // 20260302 would be taken for a date
	}
	return ""
}

// zoned is the pattern of a time with its zone; minutes may have none.
const zoned = `':[0-9.]+\s*([zZ]|[uU][tT][cC]|[+-][0-9]{1,2}(:?[0-9]{2}){0,2})\s*(BC)?$'`

// cast returns the SQL that makes a value of a column's type, though not of
// its length or precision, of a text that a batch brings. What has no time
// zone is UTC, whatever the session's is.
func (d *collecting) cast(c *Column, s string) string {
	bare := d.types[c.Base].bare
	switch c.Base {
	case byteaOID:
		return "decode(" + s + ", 'hex')"
	case stampOID:
		return fmt.Sprintf("CASE WHEN %[1]s ~ %[2]s THEN %[1]s::timestamptz AT TIME ZONE 'UTC' ELSE %[1]s::timestamp END", s, zoned)
	case stampTZOID:
		return fmt.Sprintf("CASE WHEN %[1]s ~ %[2]s THEN %[1]s::timestamptz ELSE %[1]s::timestamp AT TIME ZONE 'UTC' END", s, zoned)
	}
	return s + "::" + bare
}

// asKey returns cast for a comparison with the column.
func (d *collecting) asKey(c *Column, s string) string {
	return "(" + d.cast(c, s) + ")" + c.collate()
}

// exact returns the condition that a column can hold a text as it is, "" when
// nothing can be lost: else digits would be rounded away, a text cut off, in
// silence.
func (d *collecting) exact(c *Column, s string) string {
	var terms []string
	i := d.types[c.Base]
	switch c.Base {
	case float4OID:
		terms = append(terms, fmt.Sprintf("%[1]s::float4::text::float8 = %[1]s::float8", s))
	case dateOID:
		terms = append(terms, fmt.Sprintf("%[1]s !~ '[:T]'", s))
	case timeOID, timetzOID, stampOID, stampTZOID:
		terms = append(terms, fmt.Sprintf(`%s !~ '\.[0-9]{6}[0-9]*[1-9]'`, s)) // a microsecond is the least
	}
	if i.category == 'D' {
		terms = append(terms, s+" ~* '[0-9]|infinity'") // "now" is another time each time
	}
	if c.Type != i.bare && c.Base != byteaOID {
		value := "(" + d.cast(c, s) + ")"
		terms = append(terms, fmt.Sprintf("%s%s = %s::%s%s", value, i.binary(), value, c.Type, i.binary()))
	}
	if len(terms) == 0 {
		return ""
	}
	return "(" + s + " IS NULL OR " + strings.Join(terms, " AND ") + ")"
}

// binary returns the COLLATE under which texts are equal only when their bytes
// are.
func (i typeInfo) binary() string {
	if i.category == 'S' {
		return ` COLLATE "C"`
	}
	return ""
}

// same returns the condition that a column's value, in SQL, is what a text
// that a batch brings becomes.
func (d *collecting) same(c *Column, live, s string) string {
	i := d.types[c.Base]
	if !i.compares {
		return fmt.Sprintf("%s::text IS NOT DISTINCT FROM (%s)::text", live, d.cast(c, s))
	}
	return fmt.Sprintf("%s IS NOT DISTINCT FROM (%s)%s", live, d.cast(c, s), i.binary())
}

// value returns a value that was read from the column.
func (c *Column) value(text []byte) (v change.Value, err error) {
	if text == nil {
		return v, nil
	}
	line, err := c.wire.appendValue([]byte{'['}, text)
	if err != nil {
		return v, fmt.Errorf("column %s: %w", quote(c.Name), err)
	}
	row := make([]change.Value, 1)
	_, err = change.ParseRow(append(line, ']', '\n'), row, nil)
	return row[0], err
}
