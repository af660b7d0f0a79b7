package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"caisseauto/internal/change"
)

// ErrKey: a key that cannot be read, or does not fit a table's.
var ErrKey = errors.New("the key does not fit")

// A Key says which rows are meant, by the values of their key. The zero Key
// means all.
//
// What a person writes is one of three:
//
//	3017620422003            a word for each column of the key, with commas
//	ACME,100001              between them; a key of one column is taken whole
//	code=100001              some of the key's columns by name, with commas
//	["ACME",100001]          a JSON array of all of them, exactly
//
// A word fits a TEXT that has just these characters, an INTEGER or a REAL that
// is written so, and nothing else: 007 is not 7. In a JSON array "7" is a TEXT,
// 7 an INTEGER, 7.0 a REAL, null is NULL, {"b":"Bw=="} a BLOB, as in the
// archives.
type Key struct {
	text  string
	exact []change.Value // of a JSON array
}

// ParseKey reads a key. An error wraps [ErrKey].
func ParseKey(s string) (Key, error) {
	k := Key{text: s}
	switch {
	case s == "":
		return k, fmt.Errorf("%w: it is empty", ErrKey)
	case len(s) > maxKey:
		return k, fmt.Errorf("%w: %d bytes, more than %d", ErrKey, len(s), maxKey)
	case s[0] != '[':
		return k, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(s), &parts); err != nil {
		return k, fmt.Errorf("%w: %s is no JSON array: %w", ErrKey, s, err)
	}
	if len(parts) == 0 {
		return k, fmt.Errorf("%w: %s is empty", ErrKey, s)
	}
	for _, p := range parts {
		v, err := exactValue(p)
		if err != nil {
			return k, err
		}
		k.exact = append(k.exact, v)
	}
	return k, nil
}

// maxKey: a command line's argument; SQLite keys beyond it are none that a
// person types.
const maxKey = 64 << 10

// exactValue reads one value of a JSON array. A text may have any escapes; for
// everything else there is one form.
func exactValue(raw json.RawMessage) (change.Value, error) {
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return change.Value{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		return change.Value{Kind: change.Text, Bytes: []byte(s)}, nil
	}
	var line bytes.Buffer
	line.WriteByte('[')
	if err := json.Compact(&line, raw); err != nil {
		return change.Value{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	line.WriteString("]\n")
	v := make([]change.Value, 1)
	if _, err := change.ParseRow(line.Bytes(), v, nil); err != nil {
		return change.Value{}, fmt.Errorf(`%w: %s is no value; write a text "…", an integer 7, a real 7.0, null, or {"b":"BASE64"}: %w`, ErrKey, raw, err)
	}
	return v[0], nil
}

// A part is what one column of a key has to be.
type part struct {
	column string
	word   []byte
	number int64         // word, where it is written as an integer
	isInt  bool          //
	exact  *change.Value // in place of word
}

// A boundKey is a key held against the key of a table.
type boundKey struct {
	table string
	key   []string // all of the table's
	parts []part
}

// named is how a column of a key is named.
var named = regexp.MustCompile(`^[\pL_][\pL\pN_ ]*=`)

// bind holds the key against the columns of a table's.
func (k Key) bind(table string, columns []string) (*boundKey, error) {
	b := &boundKey{table: table, key: columns}
	switch {
	case k.text == "":
		return b, nil
	case k.exact != nil:
		if len(k.exact) != len(columns) {
			return nil, misfit(table, columns, len(k.exact))
		}
		for i := range k.exact {
			b.parts = append(b.parts, part{column: columns[i], exact: &k.exact[i]})
		}
		return b, nil
	case named.MatchString(k.text):
		return k.byName(b)
	}
	words := []string{k.text}
	if len(columns) > 1 {
		words = strings.Split(k.text, ",")
	}
	if len(words) != len(columns) {
		return nil, misfit(table, columns, len(words))
	}
	for i, w := range words {
		b.parts = append(b.parts, word(columns[i], w))
	}
	return b, nil
}

// byName reads NAME=VALUE,NAME=VALUE. A piece without a name belongs to the
// value before it, which then holds a comma.
func (k Key) byName(b *boundKey) (*boundKey, error) {
	for _, piece := range strings.Split(k.text, ",") {
		name, value, ok := strings.Cut(piece, "=")
		switch {
		case ok && slices.Contains(b.key, name):
			if slices.ContainsFunc(b.parts, func(p part) bool { return p.column == name }) {
				return nil, fmt.Errorf("%w: %s is named twice in %q", ErrKey, name, k.text)
			}
			b.parts = append(b.parts, word(name, value))
		case len(b.parts) == 0:
			return nil, fmt.Errorf(`%w: %s has no key column %s; its key is %s. For a value with = in it write a JSON array, ["…"]`, ErrKey, b.table, name, strings.Join(b.key, ", "))
		default:
			last := &b.parts[len(b.parts)-1]
			*last = word(last.column, string(last.word)+","+piece)
		}
	}
	return b, nil
}

func word(column, w string) part {
	p := part{column: column, word: []byte(w)}
	n, err := strconv.ParseInt(w, 10, 64)
	p.number, p.isInt = n, err == nil && strconv.FormatInt(n, 10) == w
	return p
}

func misfit(table string, columns []string, n int) error {
	return fmt.Errorf("%w: the key of %s is %s, and %d values are given; write all of them with commas between, or some by name: --key %s=…",
		ErrKey, table, strings.Join(columns, ","), n, columns[len(columns)-1])
}

// fits reports whether a value is the one that is asked for.
func (p *part) fits(v *change.Value) bool {
	if p.exact != nil {
		return bytes.Equal(change.AppendValue(nil, p.exact), change.AppendValue(nil, v))
	}
	switch v.Kind {
	case change.Text:
		return bytes.Equal(v.Bytes, p.word)
	case change.Integer:
		return p.isInt && v.Int == p.number
	case change.Real:
		return string(change.AppendReal(nil, v.Real)) == string(p.word)
	}
	return false
}

// each calls visit for the rows of a block that the key fits.
func (b *boundKey) each(block *change.Block, visit func(Row) error) error {
	h := block.Header
	at := make([]int, len(b.parts))
	for i := range b.parts {
		// Every operation has the columns of the key: the reader has checked it.
		if at[i] = slices.Index(h.Columns, b.parts[i].column); at[i] < 0 {
			return fmt.Errorf("%w: rows of %s lack its key column %s", ErrKey, h.Table, b.parts[i].column)
		}
	}
rows:
	for n := range block.Rows() {
		values := block.Row(n)
		for i := range at {
			if !b.parts[i].fits(&values[at[i]]) {
				continue rows
			}
		}
		if err := visit(Row{Table: h.Table, Op: h.Op, Columns: h.Columns, Key: b.key, Values: values}); err != nil {
			return err
		}
	}
	return nil
}
