// Package schema holds the SQL of the databases that the demo, the tests and
// the measurements use, so that all of them speak of the same tables.
package schema

import (
	_ "embed"
	"strings"
)

// Retail makes the empty tables of a shop, on a server or on a till (SQLite).
//
//go:embed retail.sql
var Retail string

// Bench makes the one wide table of the speed measurements (SQLite).
//
//go:embed bench.sql
var Bench string

// Postgres returns one of these texts in PostgreSQL's words, with the same
// columns.
func Postgres(sql string) string {
	return strings.NewReplacer("INTEGER", "BIGINT", "BLOB", "BYTEA", "REAL", "DOUBLE PRECISION", " WITHOUT ROWID", "").Replace(sql)
}
