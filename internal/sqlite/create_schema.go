package sqlite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A newTable is a table as a manifest describes it: by its columns and its
// key. What else the server's table has, its indexes, constraints, defaults
// and foreign keys, does not travel.
type newTable struct {
	name    string
	columns []manifest.Column
	key     []string
	up      bool // only tills send it
}

// newTables returns the tables that a manifest speaks of, each once: those
// that it brings, then those that tills are to send. A table that goes both
// ways has the columns of both.
func newTables(m *manifest.Manifest) []newTable {
	var list []newTable
	for i := range m.Tables {
		t := &m.Tables[i]
		list = append(list, newTable{name: t.Name, columns: t.Columns, key: t.Key})
	}
	for i := range m.Uploads {
		u := &m.Uploads[i]
		t := findNewTable(list, u.Table)
		if t == nil {
			list = append(list, newTable{name: u.Table, columns: u.Columns, key: u.Key, up: true})
			continue
		}
		columns := append([]manifest.Column{}, t.columns...)
		for _, c := range u.Columns {
			if !hasColumn(columns, c.Name) {
				columns = append(columns, c)
			}
		}
		t.columns = columns
	}
	return list
}

func findNewTable(list []newTable, name string) *newTable {
	for i := range list {
		if sameName(list[i].name, name) {
			return &list[i]
		}
	}
	return nil
}

func hasColumn(list []manifest.Column, name string) bool {
	for _, c := range list {
		if sameName(c.Name, name) {
			return true
		}
	}
	return false
}

// sql returns the CREATE TABLE statement. A single key column of the type
// INTEGER is the rowid, as it is at the server in all but contrived tables.
func (t *newTable) sql() string {
	var b strings.Builder
	for _, c := range t.columns {
		b.WriteString(database.Quote(c.Name))
		if typ := typeSQL(c.Type); typ != "" {
			b.WriteString(" " + typ)
		}
		if containsName(t.key, c.Name) {
			b.WriteString(" NOT NULL")
		}
		b.WriteString(", ")
	}
	return fmt.Sprintf("CREATE TABLE %s(%sPRIMARY KEY(%s))", database.Quote(t.name), b.String(), database.QuoteAll("", t.key))
}

// plainType is what a declared type looks like that can stand in a statement
// as it is: words that begin no constraint, and a size.
var plainType = regexp.MustCompile(`(?i)^(big|small|tiny|medium|unsigned|native|varying|character|double|precision|` +
	`int|int2|int4|int8|integer|bigint|smallint|tinyint|mediumint|text|clob|blob|char|varchar|nchar|nvarchar|` +
	`real|float|float4|float8|numeric|decimal|number|money|bool|boolean|date|datetime|time|timestamp|uuid|json| )+(\([0-9]{1,9}( ?, ?[0-9]{1,9})?\))?$`)

// typeSQL returns a declared type so that nothing but a type can come of it.
// The manifest is signed, but a type is free text: what is not plain goes
// between quotes, which SQLite takes off a type as it does off a name
// (build.c, sqlite3AddColumn). ANY keeps what it gets in STRICT tables only;
// in others it would make 7 of '007', and BLOB does not.
func typeSQL(declared string) string {
	switch {
	case declared == "":
		return ""
	case strings.EqualFold(declared, "ANY"):
		return "BLOB"
	case plainType.MatchString(declared) && strings.TrimSpace(declared) == declared:
		return declared
	}
	return database.Quote(declared)
}

// CreateSchemaSQL returns the statements that make the tables of a manifest,
// for a database administrator to read or to run: those that the batch
// brings, and those that tills are to send. They have the server's columns,
// types and keys, and no more: indexes, foreign keys, defaults and triggers
// do not travel, and the till's own program may add them.
func CreateSchemaSQL(m *manifest.Manifest) []string {
	var list []string
	for _, t := range newTables(m) {
		list = append(list, t.sql())
	}
	return list
}

// CreateSchema makes those tables of a verified manifest that are not there,
// see [CreateSchemaSQL], in one transaction, and returns their names. A table
// that is there is left alone, whatever its columns are. The error wraps
// [manifest.ErrRefused] when a name is not for batches; see also [database.ErrBusy],
// [database.ErrNoSpace] and [database.ErrReadOnly]. After any error nothing was made.
func (t *Till) CreateSchema(ctx context.Context, m *manifest.Manifest) (made []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list := newTables(m)
	for i := range list {
		if err := t.mayCreate(&list[i]); err != nil {
			return nil, err
		}
	}
	if missing, err := t.absent(list); err != nil || len(missing) == 0 {
		return nil, environment(err)
	}
	_, err = t.locked(ctx, nil, func() error {
		missing, err := t.absent(list) // somebody may have made some meanwhile
		if err != nil {
			return err
		}
		for i := range missing {
			if err := t.conn.Exec(missing[i].sql()); err != nil {
				return fmt.Errorf("table %s: %w", database.Quote(missing[i].name), err)
			}
			made = append(made, missing[i].name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making the tables of stream %s in %s: %w; no table was made", m.Stream, t.conn.Path(), environment(err))
	}
	return made, nil
}

// mayCreate refuses a table that is not for batches, and one that nothing can
// be made of.
func (t *Till) mayCreate(n *newTable) error {
	check := t.allowed
	if n.up { // the list of tables is of those that a batch may write
		check = t.reserved
	}
	if err := check(n.name); err != nil {
		return err
	}
	if len(n.columns) == 0 || len(n.key) == 0 {
		return refuseTable(n.name, "the manifest names no columns or no key of it; export once more with a newer version at the server")
	}
	for i, c := range n.columns {
		if hasColumn(n.columns[:i], c.Name) {
			return refuseTable(n.name, "the manifest names column %s twice", database.Quote(c.Name))
		}
	}
	for i, k := range n.key {
		if !hasColumn(n.columns, k) || containsName(n.key[:i], k) {
			return refuseTable(n.name, "%s is in its key, but not once, or is none of its columns", database.Quote(k))
		}
	}
	return nil
}

// absent returns the tables that the database does not have.
func (t *Till) absent(list []newTable) ([]newTable, error) {
	var missing []newTable
	for _, n := range list {
		_, err := ReadTable(t.conn, n.name)
		switch {
		case errors.Is(err, database.ErrNoTable):
			missing = append(missing, n)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}
