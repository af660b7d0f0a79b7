// Package sourcetest is what every kind of ERP database must pass as the
// writer of a stream: a [Model], which does by value what the format says of a
// batch's rows and so is the oracle of what Read sends, and [Stand], the rules
// of the writer's record.
package sourcetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// A Model is a reader of one stream, in memory. It is the change.Sink of Read.
type Model struct {
	T testing.TB
	// Keys are the columns of each table's key, by the table's name; KeyOf
	// says them for tables that are not in it.
	Keys  map[string][]string
	KeyOf func(table string) []string
	// Canonical makes one text of keys that the database holds for equal;
	// nil: those alone are that are written alike.
	Canonical func(table, key string) string
	// Ops are "table op columns" of every Start of the batch, Rows the number
	// of its rows, Seen "table key" of each.
	Ops  []string
	Rows int
	Seen map[string]bool

	tables map[string]map[string]row // by table and key
	head   change.Header
	batch  map[string]map[string]bool // keys upserted in this batch
}

type row map[string]string // column → JSON

// Begin makes the model ready for a batch.
func (m *Model) Begin() {
	m.batch, m.Seen, m.Ops, m.Rows, m.head = map[string]map[string]bool{}, map[string]bool{}, nil, 0, change.Header{}
	if m.tables == nil {
		m.tables = map[string]map[string]row{}
	}
}

// Start implements change.Sink. Deletes stand behind everything else.
func (m *Model) Start(h change.Header) error {
	if err := h.Check(); err != nil {
		m.T.Errorf("header %v: %v", h, err)
	}
	if m.head.Op == change.Delete && h.Op != change.Delete {
		m.T.Errorf("%s of %s after a delete", h.Op, h.Table)
	}
	m.head = h
	m.Ops = append(m.Ops, fmt.Sprintf("%s %s %s", h.Table, h.Op, strings.Join(h.Columns, ",")))
	return nil
}

// Row implements change.Sink.
func (m *Model) Row(line []byte) error {
	if !bytes.HasSuffix(line, []byte("]\n")) || bytes.Count(line, []byte("\n")) != 1 {
		m.T.Errorf("line %q", line)
	}
	values := make([]change.Value, len(m.head.Columns))
	if _, err := change.ParseRow(line, values, nil); err != nil {
		m.T.Fatalf("%v: line %s: %v", m.head, line, err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		m.T.Fatalf("%v: line %s: %v", m.head, line, err)
	}
	m.Rows++
	r := row{}
	for i, c := range m.head.Columns {
		r[c] = string(raw[i])
	}
	if m.tables[m.head.Table] == nil {
		m.tables[m.head.Table] = map[string]row{}
	}
	m.apply(r)
	return nil
}

func (m *Model) key(r row) string {
	columns, ok := m.Keys[m.head.Table]
	if !ok && m.KeyOf != nil {
		columns = m.KeyOf(m.head.Table)
	}
	var parts []string
	for _, k := range columns {
		parts = append(parts, r[k])
	}
	key := strings.Join(parts, "|")
	if m.Canonical != nil {
		key = m.Canonical(m.head.Table, key)
	}
	return key
}

func (m *Model) apply(r row) {
	table, key := m.tables[m.head.Table], m.key(r)
	m.Seen[m.head.Table+" "+key] = true
	switch m.head.Op {
	case change.Upsert:
		if m.batch[m.head.Table] == nil {
			m.batch[m.head.Table] = map[string]bool{}
		}
		if m.batch[m.head.Table][key] {
			m.T.Errorf("table %s: key %s twice", m.head.Table, key)
		}
		m.batch[m.head.Table][key] = true
		table[key] = r
	case change.Patch:
		have := table[key]
		if have == nil {
			m.T.Errorf("table %s: patch of the row %s, which the reader does not have", m.head.Table, key)
			return
		}
		maps.Copy(have, r)
	case change.Delete:
		delete(table, key)
	}
}

// End does what the scopes of the batch's tables say.
func (m *Model) End(x manifest.Extract) {
	for _, t := range x.Tables {
		if t.Scope != manifest.Whole {
			continue
		}
		for key := range m.tables[t.Name] {
			if !m.batch[t.Name][key] {
				delete(m.tables[t.Name], key)
			}
		}
	}
}

// Forget takes a table's rows out of the model, as a reader does that keeps a
// part of them alone.
func (m *Model) Forget(table string) { delete(m.tables, table) }

// Whole returns the keys of a table's rows that came whole in the batch,
// sorted.
func (m *Model) Whole(table string) []string {
	return slices.Sorted(maps.Keys(m.batch[table]))
}

// Lines returns the rows of a table in the model, sorted; each as a map of
// columns to JSON values is printed.
func (m *Model) Lines(table string) []string {
	list := []string{}
	for _, r := range m.tables[table] {
		list = append(list, fmt.Sprint(map[string]string(r)))
	}
	slices.Sort(list)
	return list
}
