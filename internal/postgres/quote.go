package postgres

import (
	"strings"

	"caisseauto/internal/database"
)

// quote returns a name, or one with its schema before it, as an SQL
// identifier, whatever characters it holds.
func quote(names ...string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = database.Quote(n)
	}
	return strings.Join(list, ".")
}

// literal returns s as an SQL literal. With standard_conforming_strings a
// backslash in it is nothing special.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// quotedSQL returns the SQL expression of what quote makes of two columns.
func quotedSQL(schema, name string) string {
	q := func(column string) string { return `'"' || replace(` + column + `, '"', '""') || '"'` }
	return q(schema) + " || '.' || " + q(name)
}
