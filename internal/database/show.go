package database

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"caisseauto/internal/change"
)

// showBytes is how much of a long value an error shows.
const showBytes = 64

// ShowValue returns a value as SQL would have it, for a message.
func ShowValue(v change.Value) string {
	b, more := v.Bytes, ""
	if len(b) > showBytes {
		b, more = b[:showBytes], "…"
	}
	switch v.Kind {
	case change.Integer:
		return strconv.FormatInt(v.Int, 10)
	case change.Real:
		return strconv.FormatFloat(v.Real, 'g', -1, 64)
	case change.Text:
		if utf8.Valid(v.Bytes) {
			// Quoted as in Go inside, so that a line feed or an escape
			// sequence of a terminal stays harmless.
			q := strconv.Quote(strings.ToValidUTF8(string(b), ""))
			return "'" + q[1:len(q)-1] + more + "'"
		}
		fallthrough
	case change.Blob:
		return "x'" + hex.EncodeToString(b) + more + "'"
	}
	return "NULL"
}
