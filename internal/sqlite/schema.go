package sqlite

import (
	"fmt"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A Table is an ordinary table as the database declares it.
type Table struct {
	Name         string // as declared; SQLite finds it in any case of ASCII letters
	Columns      []Column
	Key          []string // columns of the PRIMARY KEY in its order; empty when none is declared
	WithoutRowid bool
	Strict       bool
	Unique       []Index // unique indexes, also those of PRIMARY KEY and UNIQUE
	Indexes      []Index // the others
	ForeignKeys  []ForeignKey
}

// A Column is one column of a table. Only Name, Type and Generated are known
// of a generated column's content: it cannot be written to.
type Column struct {
	Name       string
	Type       string // as declared, may be empty
	NotNull    bool
	Default    string // SQL text, when HasDefault
	HasDefault bool
	PK         int // place in the primary key from 1, 0: not in it
	Generated  bool
}

// An Index is one index. Origin is "c" for CREATE INDEX, "u" for a UNIQUE
// constraint, "pk" for a PRIMARY KEY (https://www.sqlite.org/pragma.html#pragma_index_list).
type Index struct {
	Name    string
	Origin  string
	Columns []IndexColumn
	Where   string // the condition of a partial index
}

// An IndexColumn is a column or, when Name is empty, an expression. Collation
// is the one by which the index compares.
type IndexColumn struct {
	Name      string
	Expr      string
	Collation string
}

// A ForeignKey is one reference to a parent table. To is what the child
// declares, or the parent's primary key when it declares nothing.
type ForeignKey struct {
	Table    string
	From, To []string
	OnUpdate string
	OnDelete string
}

// Plain reports whether the index holds every row and columns alone, no
// expressions: what UPSERT can name as its conflict target without a copy of
// the index's SQL.
func (x *Index) Plain() bool {
	for _, c := range x.Columns {
		if c.Name == "" {
			return false
		}
	}
	return x.Where == ""
}

// Column returns the column of that name, nil when there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if sameName(t.Columns[i].Name, name) {
			return &t.Columns[i]
		}
	}
	return nil
}

// RowidKey returns the column that is an alias of the rowid, an INTEGER
// PRIMARY KEY, which no index lists; "" when there is none
// (https://www.sqlite.org/lang_createtable.html#rowid).
func (t *Table) RowidKey() string {
	if t.WithoutRowid || len(t.Key) != 1 || !sameName(t.Column(t.Key[0]).Type, "integer") {
		return ""
	}
	for _, x := range t.Unique {
		if x.Origin == "pk" { // INTEGER PRIMARY KEY DESC has an index and is no alias
			return ""
		}
	}
	return t.Key[0]
}

// Exists reports whether the main database has an ordinary table of that name.
func Exists(c *sqlite3.Conn, name string) (bool, error) {
	found := false
	err := c.Query(`SELECT 1 FROM sqlite_schema WHERE type='table' AND name=?1 COLLATE NOCASE`,
		func(*sqlite3.Stmt) error { found = true; return nil }, name)
	return found, err
}

// Tables returns the names of the main database's ordinary tables, sorted,
// without SQLite's own and ours.
func Tables(c *sqlite3.Conn) ([]string, error) {
	var names []string
	err := c.Query(`SELECT name FROM pragma_table_list WHERE schema='main' AND type='table'
		AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'caisseauto\_%' ESCAPE '\' ORDER BY name`,
		func(s *sqlite3.Stmt) error { names = append(names, s.Text(0)); return nil })
	return names, err
}

// ReadTable reads what the main database declares of a table. A name that is
// not there, or is that of a view or of a virtual table, is an error that
// wraps database.ErrNoTable.
func ReadTable(c *sqlite3.Conn, name string) (*Table, error) {
	t := &Table{}
	kind := ""
	err := c.Query(`SELECT name, type, wr, strict FROM pragma_table_list WHERE schema='main' AND name=?1 COLLATE NOCASE`,
		func(s *sqlite3.Stmt) error {
			t.Name, kind = s.Text(0), s.Text(1)
			t.WithoutRowid, t.Strict = s.Int(2) != 0, s.Int(3) != 0
			return nil
		}, name)
	if err != nil {
		return nil, err
	}
	if kind == "" {
		return nil, fmt.Errorf("table %s: %w in %s", database.Quote(name), database.ErrNoTable, c.Path())
	}
	if kind != "table" {
		return nil, fmt.Errorf("%s in %s is a %s, not an ordinary table: %w of that name", database.Quote(name), c.Path(), kind, database.ErrNoTable)
	}
	for _, read := range []func(*sqlite3.Conn, *Table) error{readColumns, readIndexes, readForeignKeys} {
		if err := read(c, t); err != nil {
			return nil, fmt.Errorf("reading the schema of table %s: %w", database.Quote(t.Name), err)
		}
	}
	return t, nil
}

func readColumns(c *sqlite3.Conn, t *Table) error {
	err := c.Query(`SELECT name, type, "notnull", dflt_value, dflt_value IS NOT NULL, pk, hidden
		FROM pragma_table_xinfo(?1) ORDER BY cid`, func(s *sqlite3.Stmt) error {
		hidden := s.Int(6)
		t.Columns = append(t.Columns, Column{
			Name: s.Text(0), Type: s.Text(1), NotNull: s.Int(2) != 0,
			Default: s.Text(3), HasDefault: s.Int(4) != 0, PK: int(s.Int(5)),
			Generated: hidden == 2 || hidden == 3,
		})
		return nil
	}, t.Name)
	if err != nil {
		return err
	}
	t.Key, err = primaryKey(c, t.Name)
	return err
}

// primaryKey returns the columns of a table's primary key, in its order.
func primaryKey(c *sqlite3.Conn, table string) ([]string, error) {
	var key []string
	err := c.Query(`SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk`,
		func(s *sqlite3.Stmt) error { key = append(key, s.Text(0)); return nil }, table)
	return key, err
}

func readIndexes(c *sqlite3.Conn, t *Table) error {
	type entry struct {
		Index
		unique, partial bool
		sql             string
	}
	var list []entry
	err := c.Query(`SELECT l.name, l."unique", l.origin, l.partial, coalesce(s.sql,'') FROM pragma_index_list(?1) AS l
		LEFT JOIN sqlite_schema AS s ON s.type='index' AND s.name=l.name ORDER BY l.name`, func(s *sqlite3.Stmt) error {
		list = append(list, entry{Index: Index{Name: s.Text(0), Origin: s.Text(2)},
			unique: s.Int(1) != 0, partial: s.Int(3) != 0, sql: s.Text(4)})
		return nil
	}, t.Name)
	if err != nil {
		return err
	}
	for _, e := range list {
		expressions := false
		err := c.Query(`SELECT coalesce(name,''), coalesce(coll,'BINARY'), cid FROM pragma_index_xinfo(?1) WHERE key=1 ORDER BY seqno`,
			func(s *sqlite3.Stmt) error {
				e.Columns = append(e.Columns, IndexColumn{Name: s.Text(0), Collation: s.Text(1)})
				expressions = expressions || s.Int(2) < 0
				return nil
			}, e.Name)
		if err != nil {
			return err
		}
		if e.partial || expressions {
			if err := e.parse(e.sql); err != nil {
				return fmt.Errorf("index %s: %w", database.Quote(e.Name), err)
			}
		}
		if e.unique {
			t.Unique = append(t.Unique, e.Index)
		} else {
			t.Indexes = append(t.Indexes, e.Index)
		}
	}
	return nil
}

func readForeignKeys(c *sqlite3.Conn, t *Table) error {
	last := int64(-1)
	err := c.Query(`SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq`,
		func(s *sqlite3.Stmt) error {
			if id := s.Int(0); id != last {
				last = id
				t.ForeignKeys = append(t.ForeignKeys, ForeignKey{Table: s.Text(1), OnUpdate: s.Text(4), OnDelete: s.Text(5)})
			}
			f := &t.ForeignKeys[len(t.ForeignKeys)-1]
			f.From = append(f.From, s.Text(2))
			if to := s.Text(3); to != "" {
				f.To = append(f.To, to)
			}
			return nil
		}, t.Name)
	if err != nil {
		return err
	}
	for i := range t.ForeignKeys {
		if f := &t.ForeignKeys[i]; len(f.To) == 0 {
			if f.To, err = primaryKey(c, f.Table); err != nil {
				return err
			}
		}
	}
	return nil
}
