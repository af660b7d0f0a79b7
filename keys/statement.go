package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Why the bytes of a statement were refused.
var (
	// ErrNotJSON: not JSON of the fields and types of the statement.
	ErrNotJSON = errors.New("not the JSON of this format")
	// ErrEncoding: JSON, but not in the one encoding of the statement.
	ErrEncoding = errors.New("not in the one encoding that the format allows")
)

// EncodeStatement writes v in the one encoding of signed statements: two
// spaces, LF, no HTML escapes, a final LF. encoding/json's way with everything
// else (order of fields, integers, escapes in strings) is written down in
// SPEC.md.
func EncodeStatement(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// DecodeStatement reads doc into v, and demands that again, the encoding of
// what was read, gives the same bytes. Decoding alone would take duplicate
// keys, "SEQ" for "seq", null, missing fields, floats that are whole, bad UTF-8
// and trailing data: all of them end up in other bytes than they came from.
//
// The signature is to be verified first. The errors are [ErrNotJSON] and
// [ErrEncoding].
func DecodeStatement(doc []byte, v any, again func() ([]byte, error)) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", ErrNotJSON, err)
	}
	same, err := again()
	if err != nil {
		return fmt.Errorf("%w: it cannot be encoded again: %v", ErrEncoding, err)
	}
	if !bytes.Equal(same, doc) {
		return fmt.Errorf("%w: line %d differs", ErrEncoding, firstDifference(doc, same))
	}
	return nil
}

// firstDifference returns the number of the first line that is not equal.
func firstDifference(a, b []byte) int {
	line := 1
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			line++
		}
	}
	return line
}
