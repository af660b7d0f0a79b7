package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
)

// guards returns the statements of the BEFORE INSERT or BEFORE UPDATE trigger
// that journal the rows which the statement may push out by REPLACE: per
// unique constraint, those that are equal to the new row in it. Where nothing
// is replaced after all, the entry is one too many and does no harm.
func (c *captured) guards(update bool) []string {
	var list []string
	for i := range c.Unique {
		list = append(list, c.guard(&c.Unique[i], update)...)
	}
	if id := c.RowidKey(); id != "" {
		list = append(list, c.guard(&Index{Columns: []IndexColumn{{Name: id, Collation: "BINARY"}}}, update)...)
	}
	return list
}

// guarded reports whether a constraint needs a guard. The key's own does not
// need one against an INSERT: the row that takes a key is journaled under that
// very key; unless the row that lost it may belong to another dossier, which
// must hear of it. An UPDATE is not to be trusted so far: the row that takes
// the key can be a child of the row that it pushes out, and be deleted itself
// by ON DELETE CASCADE before anything is journaled.
func (c *captured) guarded(name string, update bool) bool {
	return update || name != c.keyName || c.dossier != "" || c.up.guardsKey(c)
}

// guard returns the statements of one constraint.
func (c *captured) guard(x *Index, update bool) []string {
	t := database.Quote(c.Name)
	var terms, changed []string
	for _, k := range x.Columns {
		now := c.newValue(k.Name)
		before := t + "." + database.Quote(k.Name)
		if k.Name == "" {
			now, before = "(SELECT "+k.Expr+" FROM "+c.newRow()+")", "("+k.Expr+")"
		} else if c.Column(k.Name).Generated {
			now = "(SELECT " + database.Quote(k.Name) + " FROM " + c.newRow() + ")"
		}
		terms = append(terms, before+" = "+now+" COLLATE "+database.Quote(k.Collation))
		if k.Name != "" {
			changed = append(changed, fmt.Sprintf("new.%[1]s IS NOT old.%[1]s COLLATE %[2]s", database.Quote(k.Name), database.Quote(k.Collation)))
		}
	}
	if x.Where != "" {
		terms = append(terms, "("+x.Where+")", "(SELECT "+x.Where+" FROM "+c.newRow()+")")
	}
	if update {
		if c.simple(x) { // what did not change cannot collide
			terms = slices.Insert(terms, 0, "("+strings.Join(changed, " OR ")+")")
		}
		terms = append(terms, "NOT ("+c.sameKey("old")+")")
	}
	list := c.touchGuard(x, terms)
	if !c.guarded(x.Name, update) {
		return list
	}
	if !update && x.Name == c.keyName && c.up == nil {
		d := database.Quote(c.dossier)
		terms = append(terms, t+"."+d+" IS NOT new."+d+" COLLATE BINARY")
	}
	mask := "NULL"
	if c.up != nil {
		terms = append(terms, c.up.mine(t))
		mask += ", " + c.base(t)
	}
	return append(list, c.entry(t, mask)+" FROM "+t+" WHERE "+strings.Join(terms, " AND "))
}

// simple reports whether an index is on plain columns that are not generated.
func (c *captured) simple(x *Index) bool {
	return x.Plain() && !slices.ContainsFunc(x.Columns, func(k IndexColumn) bool { return c.Column(k.Name).Generated })
}

// sameKey returns the condition that a row of the table has the key of the
// row that the trigger calls old or new.
func (c *captured) sameKey(row string) string {
	var terms []string
	for _, k := range c.key {
		terms = append(terms, fmt.Sprintf("%s.%s IS %s.%s COLLATE BINARY", database.Quote(c.Name), database.Quote(k.Name), row, database.Quote(k.Name)))
	}
	return strings.Join(terms, " AND ")
}

// newValue returns a column of the new row. In a BEFORE trigger a NULL in a
// NOT NULL column is still NULL, and OR REPLACE puts the default in its place
// only afterwards (https://www.sqlite.org/lang_conflict.html).
func (c *captured) newValue(column string) string {
	col := c.Column(column)
	if col == nil {
		return ""
	}
	v := "new." + database.Quote(column)
	if col.NotNull && col.HasDefault && !col.Generated {
		return "ifnull(" + v + ", (" + col.Default + "))"
	}
	return v
}

// newRow returns the new row as a table of the same name and columns, in
// which an index's expression means what it means in the index. It also names
// every column of the row in the trigger: SQLite loads only those for a
// BEFORE UPDATE trigger, and computed a generated column from NULLs where its
// sources were not named (seen in 3.54).
func (c *captured) newRow() string {
	columns := make([]string, len(c.Columns))
	for i, col := range c.Columns {
		columns[i] = c.newValue(col.Name) + " AS " + database.Quote(col.Name)
	}
	return "(SELECT " + strings.Join(columns, ", ") + ") AS " + database.Quote(c.Name)
}

// guardColumns returns the OF clause of the BEFORE UPDATE trigger: with it an
// update of other columns does not even start the trigger. There is none
// where a constraint depends on columns in ways that only an expression knows,
// or is on the rowid, which SET rowid = … changes without naming the column.
// That spelling is let go only where the key's guard matters least.
func (c *captured) guardColumns() string {
	var columns []string
	id := c.RowidKey()
	if id != "" {
		if c.keyName != "" || c.dossier != "" || c.up != nil || c.touch != nil || c.cascades() {
			return ""
		}
		columns = append(columns, id)
	}
	for i := range c.Unique {
		x := &c.Unique[i]
		if !c.simple(x) {
			return ""
		}
		for _, k := range x.Columns {
			if !slices.Contains(columns, k.Name) {
				columns = append(columns, k.Name)
			}
		}
	}
	return " OF " + database.QuoteAll("", columns)
}

// cascades reports whether rows of the table go when rows elsewhere do.
func (c *captured) cascades() bool {
	return slices.ContainsFunc(c.ForeignKeys, func(f ForeignKey) bool { return f.OnDelete == "CASCADE" })
}
