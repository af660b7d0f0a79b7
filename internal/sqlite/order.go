package sqlite

import "caisseauto/internal/database"

// parentsFirst orders tables by their foreign keys, see
// [database.ParentsFirst].
func parentsFirst(tables []*Table) []*Table {
	return database.ParentsFirst(tables, func(t *Table) string { return foldName(t.Name) }, func(t *Table) (names []string) {
		for _, f := range t.ForeignKeys {
			names = append(names, foldName(f.Table))
		}
		return names
	})
}
