package database

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// A Table is an ordinary table as its database declares it, as far as the
// rules of collecting look at it.
type Table struct {
	Schema      string // that has it; empty on SQLite
	Name        string // as declared
	Columns     []Column
	Key         []string // the columns that name a row: those of the configuration or of the PRIMARY KEY, as declared
	ForeignKeys []ForeignKey
	// Fold maps the names that are one to the database onto one text: SQLite
	// folds the letters of ASCII. Nil is a database that folds nothing.
	Fold func(string) string
}

// A Column is one column of a table.
type Column struct {
	Name      string
	Type      string // as declared, may be empty on SQLite
	Generated bool   // it cannot be written to
	Integer   bool   // it holds whole numbers
}

// A ForeignKey is one reference to a parent table: the columns here and those
// there, in one order.
type ForeignKey struct {
	Schema   string // of the parent; empty on SQLite
	Table    string
	From, To []string
}

// Same reports whether two names of tables or columns are one to the database.
func (t *Table) Same(a, b string) bool { return a == b || t.fold(a) == t.fold(b) }

func (t *Table) fold(name string) string {
	if t.Fold == nil {
		return name
	}
	return t.Fold(name)
}

// Has reports whether the list has the name.
func (t *Table) Has(list []string, name string) bool {
	return slices.ContainsFunc(list, func(o string) bool { return t.Same(o, name) })
}

// Column returns the column of that name, nil when there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Same(t.Columns[i].Name, name) {
			return &t.Columns[i]
		}
	}
	return nil
}

// ColumnNames returns the names of all columns, in their order.
func (t *Table) ColumnNames() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// Quote returns name as an SQL identifier, whatever characters it holds:
// between double quotes, with those inside doubled
// (https://www.sqlite.org/lang_keywords.html,
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html).
func Quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteAll returns the names as identifiers, each with prefix before it (an
// alias with its dot, or nothing), between commas.
func QuoteAll(prefix string, names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix)
		b.WriteString(Quote(n))
	}
	return b.String()
}

// Fingerprint returns a short digest of texts, for comparing only.
func Fingerprint(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%q\n", t)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
