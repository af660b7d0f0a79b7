package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// What a till's triggers do beyond those of trigger.go:
//
//   - They journal the rows of this till alone.
//   - The mask tells an entry for a row that was not there before (1, or 2: see
//     part) from one for a row that was (-1, or NULL when it may be gone).
//   - Of a table that both sides change, base is the row as it was before, and
//     nothing is journaled while a batch from the server is being applied:
//     what came from there is no change of the till's.

// An upTable is what a till is to send of one table.
type upTable struct {
	manifest.Upload
	dossier, till string // what the two columns hold in the till's rows
	mines         []owner
	part          *part  // nil: every row is journaled
	newest        string // the SQL of the journal's highest number
}

// An owner is a column that says whose row it is.
type owner struct{ column, literal string }

// resolve completes u by the table as it is declared here.
func (u *upTable) resolve(c *captured) error {
	u.mines = nil
	for _, o := range []struct{ setting, column, value string }{
		{"dossier_column", u.Dossier, u.dossier}, {"till_column", u.Till, u.till},
	} {
		if o.column == "" {
			continue
		}
		col := c.Column(o.column)
		if col == nil {
			return fmt.Errorf("its %s %s does not exist here; the table has %q", o.setting, database.Quote(o.column), columnNames(c.Table))
		}
		literal := quoteText(o.value)
		if v := stored(o.value, col.Type); v.Kind == change.Integer {
			literal = fmt.Sprint(v.Int)
		}
		u.mines = append(u.mines, owner{col.Name, literal})
	}
	if u.Mode != manifest.Append && u.Mode != manifest.Replace && u.Mode != manifest.Both {
		return fmt.Errorf("its mode %q is none that this version knows; update the program", u.Mode)
	}
	for _, name := range slices.Concat(u.Sums, u.Link) {
		if c.Column(name) == nil {
			return fmt.Errorf("it has no column %s, which the server wants to know of; the table has %q", database.Quote(name), columnNames(c.Table))
		}
	}
	if u.Number != "" && c.Column(u.Number) == nil {
		return fmt.Errorf("its number_column %s does not exist here; the table has %q", database.Quote(u.Number), columnNames(c.Table))
	}
	return nil
}

func (u *upTable) owners() []owner {
	if u == nil {
		return nil
	}
	return u.mines
}

func (u *upTable) both() bool { return u != nil && u.Mode == manifest.Both }

// mine returns the condition that a row is this till's.
func (u *upTable) mine(row string) string {
	terms := []string{"1"}
	for i, m := range u.owners() {
		term := row + "." + database.Quote(m.column) + " = " + m.literal + " COLLATE BINARY"
		if i == 0 {
			terms[0] = term
		} else {
			terms = append(terms, term)
		}
	}
	return strings.Join(terms, " AND ")
}

// when adds to a trigger's condition that no batch is being applied.
func (u *upTable) when(condition string) string {
	if !u.both() {
		return condition
	}
	const quiet = " WHEN NOT EXISTS (SELECT 1 FROM caisseauto_applying)"
	if rest, ok := strings.CutPrefix(condition, " WHEN "); ok {
		return quiet + " AND (" + rest + ")"
	}
	return quiet
}

// guardsKey reports whether REPLACE under the key of a row that is there must
// be journaled by what was there: for its content, or because it may have been
// this till's when the row that takes its place is not.
func (u *upTable) guardsKey(c *captured) bool {
	if u == nil {
		return false
	}
	return u.both() || slices.ContainsFunc(u.mines, func(m owner) bool { return !containsName(c.names(), m.column) })
}

// declared returns the digest of what must not change without all rows being
// journaled once more. A new column is nothing of that kind: the triggers hear
// of its changes as of those of any other.
func (u *upTable) declared(c *captured) string {
	text := fmt.Sprintf("%#v %#v", c.key, c.Unique)
	if u.part != nil {
		// Entries that were left out are found by this alone.
		text += c.apart()
	}
	return database.Fingerprint(text)
}

// upTriggers returns suffix, event, condition and statements of the AFTER
// triggers.
func (c *captured) upTriggers() [][]string {
	note := func(row, mask, base string) string {
		return c.entry(row, mask+", "+base) + " WHERE " + c.up.mine(row)
	}
	when, inserted := c.up.mine("new"), c.inserted("VALUES(", ")")
	if c.up.part != nil { // most do not come as far as to ask whose they are
		when, inserted = c.apart(), c.inserted("SELECT ", " WHERE "+when)
	}
	moved := c.moved()
	return [][]string{
		{"ai", "AFTER INSERT", " WHEN " + when, inserted},
		{"ad", "AFTER DELETE", "", note("old", "NULL", c.base("old"))},
		{"au", "AFTER UPDATE", " WHEN NOT (" + moved + ")", note("new", "-1", c.base("old"))},
		{"am", "AFTER UPDATE", " WHEN " + moved, note("old", "NULL", c.base("old")), note("new", "1", "NULL")},
	}
}

// inserted returns the entry of a new row, which is what a ticket costs: it is
// as plain as can be. The time of a row that is a part of another is left out,
// for the other has it; to compute it costs a quarter of the entry.
func (c *captured) inserted(before, after string) string {
	columns, values := "seq, tab, mask", fmt.Sprintf("1 + %s, %d, 1", c.up.newest, c.tab)
	if c.up.Parent != "" {
		columns, values = columns+", at", values+", NULL"
	}
	for i, k := range c.key {
		columns += fmt.Sprintf(", k%d", i+1)
		values += ", new." + database.Quote(k.Name)
	}
	return fmt.Sprintf("INSERT INTO %s(%s) %s%s%s", c.journal, columns, before, values, after)
}

// sent returns the columns that go up: all that can be written to.
func (c *captured) sent() []Column {
	return slices.DeleteFunc(slices.Clone(c.Columns), func(col Column) bool {
		return col.Generated || c.up != nil && containsName(c.up.Exclude, col.Name)
	})
}

// base returns the SQL of a row's content for the journal: the fingerprint of
// its columns, then a literal for each. Text goes in hex, for quote() ends at a
// NUL byte; quote() of a number is exact.
func (c *captured) base(row string) string {
	if !c.up.both() {
		return "NULL"
	}
	terms := []string{quoteText(c.baseShape())}
	for _, col := range c.sent() {
		v := row + "." + database.Quote(col.Name)
		terms = append(terms, fmt.Sprintf("CASE typeof(%[1]s) WHEN 'text' THEN 't' || hex(%[1]s) ELSE quote(%[1]s) END", v))
	}
	return strings.Join(terms, " || ',' || ")
}

// baseShape tells bases of other columns apart.
func (c *captured) baseShape() string {
	var names []string
	for _, col := range c.sent() {
		names = append(names, col.Name)
	}
	return database.Fingerprint(names...)[:8]
}

var errBase = errors.New("is not what our triggers write")

// rejournal plans the entries of rows that are to go up although nothing has
// changed them since the triggers were made. On the first time these are the
// rows of the till alone: those that both sides change come from the server.
func (p *plan) rejournal(t *captured, first, lost bool) {
	if s := t.up.part; s != nil { // entries from before these triggers
		p.add("UPDATE %s SET mask=2 WHERE mask=1 AND tab=%d", t.journal, s.tab)
	}
	if !lost || first && t.up.both() {
		return
	}
	mask := "-1"
	if first {
		mask = "1"
	}
	name := database.Quote(t.Name)
	keys := database.QuoteAll(name+".", t.names())
	number := t.up.newest + " + row_number() OVER (ORDER BY " + keys + ")"
	p.statements = append(p.statements, t.numbered(number, name, mask+", NULL")+" FROM "+name+" WHERE "+t.up.mine(name)+" ORDER BY "+keys)
}
