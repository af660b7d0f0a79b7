package sqlite

import (
	"fmt"
	"slices"

	"caisseauto/internal/database"
)

// findKey returns the columns that name a row, as the unique index compares
// them that keeps them unique, and the name of that index.
func findKey(t *Table, names []string) ([]IndexColumn, string, error) {
	if len(names) == 0 {
		names = t.Key
	}
	if len(names) == 0 {
		return nil, "", fmt.Errorf(`has no PRIMARY KEY; name columns with a UNIQUE index on them: key = ["…"]`)
	}
	key := make([]IndexColumn, len(names))
	for i, name := range names {
		col := t.Column(name)
		if col == nil {
			return nil, "", fmt.Errorf("key names column %s, which does not exist; the table has %q", database.Quote(name), columnNames(t))
		}
		if col.Generated {
			return nil, "", fmt.Errorf("key names column %s, which is generated and cannot be written to on the other side", database.Quote(name))
		}
		key[i] = IndexColumn{Name: col.Name, Collation: "BINARY"}
	}
	if len(key) == 1 && key[0].Name == t.RowidKey() {
		return key, "", nil
	}
	for _, primary := range []bool{true, false} {
		for i := range t.Unique {
			x := &t.Unique[i]
			if (x.Origin == "pk") == primary && x.covers(key) {
				return key, x.Name, nil
			}
		}
	}
	return nil, "", fmt.Errorf("nothing keeps its key %q unique; choose a key with a PRIMARY KEY or a UNIQUE index on exactly these columns", names)
}

// covers reports whether the index is on the columns of key and no others,
// in any order; if so key gets its collations.
func (x *Index) covers(key []IndexColumn) bool {
	if !x.Plain() || len(x.Columns) != len(key) {
		return false
	}
	collations := make([]string, len(key))
	for i := range key {
		j := slices.IndexFunc(x.Columns, func(c IndexColumn) bool { return sameName(c.Name, key[i].Name) })
		if j < 0 {
			return false
		}
		collations[i] = x.Columns[j].Collation
	}
	for i := range key {
		key[i].Collation = collations[i]
	}
	return true
}

func columnNames(t *Table) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

func columnsOf(key []IndexColumn) []string {
	names := make([]string, len(key))
	for i, k := range key {
		names[i] = k.Name
	}
	return names
}
