package inspect

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"caisseauto/internal/change"
	"caisseauto/internal/term"
)

// A Row is one row of an archive: all columns of an upsert or a base, the key
// and what changed of a patch, the key of a delete.
type Row struct {
	Table   string
	Op      change.Op
	Columns []string
	Key     []string
	Values  []change.Value
}

// Clone returns a copy that borrows no values.
func (r Row) Clone() Row {
	r.Values = slices.Clone(r.Values)
	for i := range r.Values {
		if b := r.Values[i].Bytes; b != nil {
			r.Values[i].Bytes = append([]byte{}, b...)
		}
	}
	return r
}

// size is about what a copy takes.
func (r Row) size() int {
	n := 100 + 60*len(r.Values)
	for i := range r.Values {
		n += len(r.Values[i].Bytes)
	}
	return n
}

// AppendJSON appends the row as one line of JSON, with its line feed: table,
// op, and the row as an object of its columns. The values are written as they
// are in the archive, so that none of them loses anything: integers in full,
// BLOBs as {"b":"…"}. What a terminal would obey is escaped, which is the same
// JSON.
func (r Row) AppendJSON(dst []byte) []byte {
	from := len(dst)
	dst = append(r.appendFields(append(dst, '{')), "}\n"...)
	return append(dst[:from], term.CleanJSON(dst[from:])...)
}

func (r Row) appendFields(dst []byte) []byte {
	dst = appendField(dst, "table", r.Table)
	dst = appendField(append(dst, ','), "op", string(r.Op))
	dst = append(dst, `,"row":{`...)
	for i := range r.Values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = change.AppendText(dst, []byte(r.Columns[i]))
		dst = append(dst, ':')
		dst = change.AppendValue(dst, &r.Values[i])
	}
	return append(dst, '}')
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return change.AppendText(dst, []byte(value))
}

// AppendJSON appends the hit as one line of JSON: where it was found, and the
// fields of [Row.AppendJSON].
func (h Hit) AppendJSON(dst []byte) []byte {
	from := len(dst)
	dst = appendField(append(dst, '{'), "stream", h.Stream)
	dst = fmt.Appendf(dst, `,"epoch":%d,"sequence":%d,`, h.Epoch, h.Sequence)
	dst = appendField(dst, "kind", string(h.Kind))
	dst = appendField(append(dst, ','), "created", h.Created.Format(time.RFC3339))
	dst = appendField(append(dst, ','), "signer", h.Signer)
	dst = fmt.Appendf(dst, `,"trusted":%t,`, h.Trusted)
	dst = append(h.Row.appendFields(dst), "}\n"...)
	return append(dst[:from], term.CleanJSON(dst[from:])...)
}

// maxShown is how many characters of a value a person is shown.
const maxShown = 200

// AppendText appends the row for a person: column=value, the key first, TEXT in
// quotes. Long values are cut, and say how long they are; nothing in it is
// obeyed by a terminal.
func (r Row) AppendText(dst []byte) []byte {
	some := false
	for _, key := range []bool{true, false} {
		for i := range r.Values {
			if slices.Contains(r.Key, r.Columns[i]) != key {
				continue
			}
			if some {
				dst = append(dst, ' ')
			}
			some = true
			dst = append(dst, term.Clean(r.Columns[i])...)
			dst = append(dst, '=')
			dst = appendShown(dst, &r.Values[i])
		}
	}
	return dst
}

func appendShown(dst []byte, v *change.Value) []byte {
	switch {
	case v.Kind == change.Null:
		return append(dst, "NULL"...)
	case v.Kind == change.Blob, v.Kind == change.Text && !utf8.Valid(v.Bytes):
		short := v.Bytes[:min(len(v.Bytes), 16)]
		return fmt.Appendf(dst, "%s(%s bytes: %x%s)", map[bool]string{true: "blob", false: "text"}[v.Kind == change.Blob], term.Count(len(v.Bytes)), short, more(len(v.Bytes) > len(short)))
	case v.Kind != change.Text:
		return change.AppendValue(dst, v)
	}
	n := cut(v.Bytes)
	dst = append(dst, term.Clean(string(change.AppendText(nil, v.Bytes[:n])))...)
	if n < len(v.Bytes) {
		dst = fmt.Appendf(dst, "…(%s bytes)", term.Count(len(v.Bytes)))
	}
	return dst
}

func more(yes bool) string {
	if yes {
		return "…"
	}
	return ""
}

// cut returns how many bytes of a text are shown.
func cut(s []byte) int {
	if len(s) <= maxShown {
		return len(s)
	}
	at := 0
	for range maxShown {
		_, n := utf8.DecodeRune(s[at:])
		if at += n; at >= len(s) {
			return len(s)
		}
	}
	return at
}
