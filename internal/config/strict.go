package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// An index knows on which line each key of a document stands. Keys are paths
// with the number of the entry: "dossier[0].table[2].name".
//
// The TOML library forgets lines once it has decoded, and it takes keys
// whatever their case; so the document is walked a second time, here, for
// both.
type index struct {
	ends    []uint32 // offsets of the line feeds
	lines   map[string]int
	entries map[string]int // arrays of tables: how many there were so far
	unknown *Error         // the first key that no field has, or has otherwise
	bare    *Error         // the first duration that is not in quotes
}

// indexOf walks a document that has been decoded without a syntax error into
// a value of type root.
func indexOf(data []byte, root reflect.Type) *index {
	x := &index{lines: map[string]int{}, entries: map[string]int{}}
	for i, b := range data {
		if b == '\n' {
			x.ends = append(x.ends, uint32(i))
		}
	}
	p := &unstable.Parser{}
	p.Reset(data)
	prefix, at := "", root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			prefix, at = x.key(e, "", root)
		case unstable.KeyValue:
			x.value(e, prefix, at)
		}
	}
	return x
}

// key enters the key of e under prefix, and returns its path and the type
// that the key stands for: nil when it is unknown.
func (x *index) key(e *unstable.Node, prefix string, at reflect.Type) (string, reflect.Type) {
	it := e.Key()
	for it.Next() {
		part := it.Node()
		name, line := string(part.Data), x.line(part.Raw.Offset)
		at = x.child(at, prefix, name, line)
		prefix = join(prefix, name)
		if e.Kind == unstable.ArrayTable && it.IsLast() {
			x.entries[prefix]++
		}
		if n := x.entries[prefix]; n > 0 {
			prefix = fmt.Sprintf("%s[%d]", prefix, n-1)
		} else if manyTables(at) && !(it.IsLast() && e.Kind == unstable.KeyValue) {
			x.single(prefix, line)
		}
		if _, there := x.lines[prefix]; !there {
			x.lines[prefix] = line
		}
	}
	return prefix, at
}

// value enters a key and, when its value is a table or a list of tables, the
// keys in it.
func (x *index) value(e *unstable.Node, prefix string, at reflect.Type) {
	path, t := x.key(e, prefix, at)
	switch v := e.Value(); v.Kind {
	case unstable.InlineTable:
		x.inline(v, path, t)
	case unstable.Integer, unstable.Float, unstable.Bool:
		if t == reflect.TypeFor[Duration]() && x.bare == nil {
			x.bare = &Error{Line: x.lines[path], Key: plain(path), Problem: "not a duration", Hint: "write " + wanted(t)}
		}
	case unstable.Array:
		it := v.Children()
		for i := 0; it.Next(); i++ {
			if n := it.Node(); n.Kind == unstable.InlineTable {
				x.inline(n, fmt.Sprintf("%s[%d]", path, i), t)
			}
		}
	}
}

func (x *index) inline(table *unstable.Node, prefix string, at reflect.Type) {
	it := table.Children()
	for it.Next() {
		x.value(it.Node(), prefix, at)
	}
}

// manyTables reports whether a field holds one table for each of several
// things.
func manyTables(t reflect.Type) bool {
	return t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// single notes a single table where a list of them is wanted. The library
// takes it for a list of one; the next one would then be a riddle.
func (x *index) single(path string, line int) {
	if x.unknown == nil {
		key := plain(path)
		x.unknown = &Error{Line: line, Key: key, Problem: "a single table where there may be several", Hint: "write [[" + key + "]]"}
	}
}

// line returns the line, from 1, of an offset.
func (x *index) line(offset uint32) int {
	n, _ := slices.BinarySearch(x.ends, offset)
	return n + 1
}

// child returns the type of the field name of at, and notes the first one
// that is not there.
func (x *index) child(at reflect.Type, prefix, name string, line int) reflect.Type {
	if at == nil {
		return nil
	}
	fields := fieldsOf(at)
	t, ok := fields[name]
	if !ok && x.unknown == nil {
		x.unknown = unknownKey(join(prefix, name), name, line, fields)
	}
	return t
}

func unknownKey(path, name string, line int, fields map[string]reflect.Type) *Error {
	e := &Error{Line: line, Key: plain(path), Problem: "unknown key"}
	known := make([]string, 0, len(fields))
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	switch near := nearest(name, known); {
	case near != "":
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	case len(known) > 0:
		e.Hint = "the keys here are " + strings.Join(known, ", ")
	default:
		e.Hint = "no keys may stand here"
	}
	return e
}

// fieldsOf returns the TOML keys of a struct, of the struct behind a pointer
// or of a slice's elements. Other types have none.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	fields := map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for k, ft := range fieldsOf(f.Type) {
				fields[k] = ft
			}
		} else if tag := f.Tag.Get("toml"); tag != "-" {
			fields[tag] = f.Type
		}
	}
	return fields
}

// typeAt follows a dotted key from t; nil when there is no such field.
func typeAt(t reflect.Type, key []string) reflect.Type {
	for _, k := range key {
		if t == nil {
			return nil
		}
		t = fieldsOf(t)[k]
	}
	return t
}

// plain takes the entry numbers out of a path: people go by the line.
func plain(path string) string {
	for {
		open := strings.IndexByte(path, '[')
		if open < 0 {
			return path
		}
		end := strings.IndexByte(path[open:], ']')
		if end < 0 {
			return path
		}
		path = path[:open] + path[open+end+1:]
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
