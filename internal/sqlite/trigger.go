package sqlite

import (
	"fmt"
	"strings"

	"caisseauto/internal/database"
)

// What the triggers are to do, and why so:
//
//   - They only ever append to the journal, which has no constraint that could
//     fail: the conflict clause of the ERP's own statement (INSERT OR IGNORE,
//     UPDATE OR FAIL, …) reaches into triggers and overrides theirs, and a
//     unique journal would lose changes or break that statement
//     (https://www.sqlite.org/lang_createtrigger.html).
//   - A row that REPLACE pushes out has no delete trigger unless the ERP's
//     connection has recursive_triggers on. The BEFORE triggers journal such
//     rows while they are still there; see guard.go.
//   - They read no table but their own: a trigger that names another one stands
//     in the way of whoever replaces that table by a new one.
//   - They use no syntax later than SQLite 3.6.19 beside what the table's own
//     indexes use: they run in the ERP's library, not in ours.
//
// The journal's mask is NULL when the row may be gone or is new under its key
// or to its dossier, -1 when all of it is to be shipped, less where another row
// touched it (see touches.go), and otherwise has a bit for every tracked column
// that changed.

// A trigger is one CREATE TRIGGER statement, word for word as sqlite_schema
// keeps it.
type trigger struct {
	name string
	sql  string
}

// triggerPrefix begins the names of a table's triggers.
func (c *captured) triggerPrefix() string { return fmt.Sprintf("caisseauto_%d_", c.tab) }

// triggers returns the table's triggers.
func (c *captured) triggers() []trigger {
	var list []trigger
	add := func(suffix, event, when string, body ...string) {
		when = c.up.when(when)
		name := c.triggerPrefix() + suffix
		list = append(list, trigger{name, "CREATE TRIGGER " + name + " " + event + " ON " + database.Quote(c.Name) +
			when + " BEGIN " + strings.Join(body, "; ") + "; END"})
	}
	if body := c.guards(false); len(body) > 0 {
		add("bi", "BEFORE INSERT", "", body...)
	}
	if body := c.guards(true); len(body) > 0 {
		add("bu", "BEFORE UPDATE"+c.guardColumns(), "", body...)
	}
	if c.up != nil {
		for _, t := range c.upTriggers() {
			add(t[0], t[1], t[2], t[3:]...)
		}
		return list
	}
	add("ai", "AFTER INSERT", "", append([]string{c.entry("new", c.newMask())}, c.touchedBy("new")...)...)
	add("ad", "AFTER DELETE", "", append([]string{c.entry("old", "NULL")}, c.touchedBy("old")...)...)
	// A row that is the same row as before, of the same dossier, gets one
	// entry; one that changed its key or its dossier gets one for what it was
	// and one for what it is.
	moved := c.moved()
	same := c.entry("new", "-1")
	if c.masks {
		same = c.entry("new", "m") + " FROM (SELECT " + c.mask() + " AS m) WHERE m <> 0"
	}
	add("au", "AFTER UPDATE", " WHEN NOT ("+moved+")", append([]string{same}, c.touchedIfChanged()...)...)
	add("am", "AFTER UPDATE", " WHEN "+moved, append([]string{c.entry("old", "NULL"), c.entry("new", "NULL")}, c.touchedBy("old", "new")...)...)
	return list
}

// entry returns the INSERT … SELECT of one journal entry; a FROM and a WHERE
// may follow it.
func (c *captured) entry(row, mask string) string {
	number := ""
	if c.up != nil { // a statement makes one entry at most
		number = "1 + " + c.up.newest
	}
	return c.numbered(number, row, mask)
}

// numbered is entry with the number given, where the till gives them.
func (c *captured) numbered(number, row, mask string) string {
	var columns, values strings.Builder
	for i, k := range c.key {
		fmt.Fprintf(&columns, ", k%d", i+1)
		values.WriteString(", " + row + "." + database.Quote(k.Name))
	}
	dossier := "NULL"
	if c.dossier != "" {
		dossier = row + "." + database.Quote(c.dossier)
	}
	if c.up != nil { // whose row it is, is a condition; see mine
		return fmt.Sprintf("INSERT INTO %s(seq, tab, mask, base%s) SELECT %s, %d, %s%s", c.journal, columns.String(), number, c.tab, mask, values.String())
	}
	return fmt.Sprintf("INSERT INTO %s(tab, dossier, mask%s) SELECT %d, %s, %s%s",
		c.journal, columns.String(), c.tab, dossier, mask, values.String())
}

// moved returns the condition that an update gave the row another key or
// another dossier, be it only in the writing.
func (c *captured) moved() string {
	var terms []string
	for _, k := range c.key {
		terms = append(terms, c.differs(k.Name))
	}
	if c.dossier != "" && !containsName(c.names(), c.dossier) {
		terms = append(terms, c.differs(c.dossier))
	}
	for _, m := range c.up.owners() {
		if !containsName(c.names(), m.column) {
			terms = append(terms, c.differs(m.column))
		}
	}
	return strings.Join(terms, " OR ")
}

// differs returns the condition that an update changed a column by value: in
// a NOCASE column 'a' and 'A' are different values that compare as equal, in
// a column that converts nothing 1 and 1.0 are.
func (c *captured) differs(column string) string {
	q := database.Quote(column)
	term := "new." + q + " IS NOT old." + q + " COLLATE BINARY"
	if affinityOf(c.Column(column).Type) == affinityBlob {
		term += " OR typeof(new." + q + ") <> typeof(old." + q + ")"
	}
	return term
}

// mask returns the expression of the changed columns.
func (c *captured) mask() string {
	var bits, beyond []string
	for i, column := range c.tracked {
		if i < maskBits {
			bits = append(bits, fmt.Sprintf("((%s) << %d)", c.differs(column), i))
		} else {
			beyond = append(beyond, c.differs(column))
		}
	}
	sum := strings.Join(bits, " | ")
	if sum == "" {
		sum = "0" // the table is nothing but its key
	}
	if len(beyond) == 0 {
		return sum
	}
	return "CASE WHEN " + strings.Join(beyond, " OR ") + " THEN -1 ELSE " + sum + " END"
}
