package postgres

import (
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
)

// What the triggers are to do, and why so:
//
//   - They only ever append to the journal. It has no constraint that could
//     fail, and nobody ever locks it against inserts.
//   - What could fail happens in a block that catches it: a column that was
//     renamed, dropped or is of another type now, a type's own output function.
//     The entry names no row then, and the whole table goes once.
//   - They look at the columns that they need, one by one: a row as a whole may
//     be larger than any value can be, and a json column may hold what jsonb
//     refuses (\u0000, 1e1000000).
//   - The function runs with the rights of its owner, so that the ERP's roles
//     need none on the journal, and with settings of its own.
//   - Row triggers, because a statement's trigger on a partitioned table does
//     not see what is written to a partition directly. ENABLE ALWAYS, because
//     session_replication_role = replica passes over ordinary ones.
//   - TRUNCATE, which fires no row trigger, is journaled as an entry without a
//     key: the whole table is to be looked at.
//
// The journal's mask is NULL when the row may be gone or is new under its key
// or to its dossier, -1 when all of it is to be shipped, less where another row
// touched it (see touches.go), and otherwise has a bit for every tracked column
// that changed.

const journal = "caisseauto.caisseauto_journal"

func (c *captured) function() string { return fmt.Sprintf("caisseauto_%d", c.tab) }

func (c *captured) rowTrigger() string { return fmt.Sprintf("caisseauto_%d_row", c.tab) }

func (c *captured) truncateTrigger() string { return fmt.Sprintf("caisseauto_%d_truncate", c.tab) }

// keySettings are those under which a key is written as sessionSQL has it
// read: as pg_proc.proconfig has them, and as SQL. Each costs every row some
// time, and most keys need none.
var keySettings = [][2]string{{"DateStyle=iso, ymd", "DateStyle = iso, ymd"}, {"TimeZone=UTC", "TimeZone = 'UTC'"},
	{"IntervalStyle=postgres", "IntervalStyle = postgres"}, {"extra_float_digits=1", "extra_float_digits = 1"},
	{"bytea_output=hex", "bytea_output = hex"}, {"lc_monetary=C", "lc_monetary = 'C'"}}

// functionConfig returns pg_proc.proconfig of the function, and its SQL.
func (c *captured) functionConfig() (stored []string, sql string) {
	stored, sql = []string{"search_path=pg_catalog"}, " SET search_path = pg_catalog"
	if slices.ContainsFunc(c.looked(), func(col *Column) bool { return !col.plain() }) {
		for _, s := range keySettings {
			stored, sql = append(stored, s[0]), sql+" SET "+s[1]
		}
	}
	return stored, sql
}

// functionSQL returns the statement that makes the table's function.
func (c *captured) functionSQL() string {
	_, set := c.functionConfig()
	body, tag := c.body(), "$caisseauto$"
	for strings.Contains(body, tag) { // in a column's name
		tag = tag[:len(tag)-1] + "_$"
	}
	return fmt.Sprintf("CREATE OR REPLACE FUNCTION caisseauto.%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER%s AS %s%s%[3]s",
		c.function(), set, tag, body)
}

// body returns the function's text, word for word as pg_proc keeps it.
func (c *captured) body() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("\n-- Journals the changes of %s for caisseauto.", strings.ReplaceAll(c.sql(), "\n", " "))
	// A session keeps the plans for a column's type until the text changes.
	line("-- The columns that it looks at, as they are declared: %s.", c.lookedPrint())
	line("DECLARE usable boolean; seen boolean := false; m bigint;")
	line("  ok text[]; od text; nk text[]; nd text; -- key and dossier of the old and the new row")
	if c.touch != nil {
		line("  ot text[]; nt text[]; -- the key of the row that it touches")
	}
	line("BEGIN")
	line("  BEGIN")
	line("    usable := has_table_privilege(to_regclass('%s'), 'INSERT');", journal)
	line("    IF TG_OP IN ('UPDATE', 'DELETE') THEN%s END IF;", c.look("o", "OLD"))
	line("    IF TG_OP IN ('INSERT', 'UPDATE') THEN%s END IF;", c.look("n", "NEW"))
	if c.masks {
		line("    IF TG_OP = 'UPDATE' THEN m := %s; END IF;", c.mask())
	}
	line("    seen := true;")
	line("  EXCEPTION WHEN OTHERS THEN NULL; -- the table is not as it was: it goes whole")
	line("  END;")
	line("  IF usable IS NOT TRUE THEN RETURN NULL; END IF; -- no journal: the next export ships every table whole")
	line("  IF TG_OP = 'TRUNCATE' OR NOT seen THEN")
	line("    INSERT INTO %s(tab) VALUES (%d)%s;", journal, c.tab, c.touchedWhole())
	line("  ELSIF TG_OP = 'INSERT' THEN")
	c.insert(line, c.entry("n", c.newMask())+c.touching("n"))
	line("  ELSIF TG_OP = 'DELETE' THEN")
	c.insert(line, c.entry("o", "NULL")+c.touching("o"))
	line("  ELSIF ok IS DISTINCT FROM nk OR od IS DISTINCT FROM nd THEN")
	c.insert(line, c.entry("o", "NULL")+", "+c.entry("n", "NULL")+c.touching("o", "n"))
	c.update(line)
	line("  END IF;")
	line("  RETURN NULL;")
	line("END ")
	return b.String()
}

// insert writes the statement that appends entries to the journal.
func (c *captured) insert(line func(string, ...any), entries string) {
	line("    INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, entries)
}

// update writes the branches of an update that leaves key and dossier alone.
func (c *captured) update(line func(string, ...any)) {
	if !c.masks {
		line("  ELSE")
		c.insert(line, c.entry("n", "-1")+c.touching("o", "n"))
		return
	}
	line("  ELSIF m <> 0 THEN")
	c.insert(line, c.entry("n", "m")+c.touching("o", "n"))
	if c.touch != nil {
		// An update that changes no tracked column touches nothing, unless
		// it is another row that is touched now.
		line("  ELSIF ot IS DISTINCT FROM nt THEN")
		c.insert(line, strings.TrimPrefix(c.touching("o", "n"), ", "))
	}
}

// looked returns the columns whose text goes into the journal.
func (c *captured) looked() []*Column {
	list := slices.Clone(c.key)
	if c.dossier != "" {
		list = append(list, c.Column(c.dossier))
	}
	if c.touch != nil {
		for _, name := range c.touch.columns {
			list = append(list, c.Column(name))
		}
	}
	return list
}

// lookedPrint returns a digest of what the function knows of the columns that
// it looks at.
func (c *captured) lookedPrint() string {
	list := c.looked()
	for _, name := range c.tracked {
		list = append(list, c.Column(name))
	}
	texts := make([]string, len(list))
	for i, col := range list {
		texts[i] = col.Name + " " + col.Declared
	}
	return database.Fingerprint(texts...)
}

// look returns the statements that read from a row what goes into the journal.
func (c *captured) look(variable, row string) string {
	sql := fmt.Sprintf(" %sk := %s;", variable, c.array(row, c.names()))
	if c.dossier != "" {
		sql += fmt.Sprintf(" %sd := %s;", variable, c.Column(c.dossier).text(row))
	}
	if c.touch != nil {
		sql += fmt.Sprintf(" %st := %s;", variable, c.array(row, c.touch.columns))
	}
	return sql
}

// array returns some columns of a row as a text array.
func (c *captured) array(row string, columns []string) string {
	list := make([]string, len(columns))
	for i, name := range columns {
		list[i] = c.Column(name).text(row)
	}
	return "ARRAY[" + strings.Join(list, ", ") + "]"
}

// entry returns the VALUES of one journal entry.
func (c *captured) entry(variable, mask string) string {
	return fmt.Sprintf("(%d, %[2]sd, %s, %[2]sk)", c.tab, variable, mask)
}

// touching returns the VALUES of the entries of what states of the row touch,
// each with a comma before it.
func (c *captured) touching(variables ...string) string {
	if c.touch == nil {
		return ""
	}
	var b strings.Builder
	for _, v := range variables {
		mask := touchedOld
		if v == "n" {
			mask = touchedNow
		}
		fmt.Fprintf(&b, ", (%d, NULL, %s, %st)", c.touch.tab, mask, v)
	}
	return b.String()
}

// touchedWhole returns the entry of the touched table when nobody knows which
// of its rows it is.
func (c *captured) touchedWhole() string {
	if c.touch == nil {
		return ""
	}
	return fmt.Sprintf(", (%d)", c.touch.tab)
}

// newMask returns the mask of a new row. What touches it may be older than
// the row itself.
func (c *captured) newMask() string {
	if c.touched {
		return "NULL"
	}
	return "-1"
}

// mask returns the expression of the changed columns.
func (c *captured) mask() string {
	var bits, beyond []string
	for i, name := range c.tracked {
		differs := c.Column(name).differs()
		if i < maskBits {
			bits = append(bits, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", differs, int64(1)<<i))
		} else {
			beyond = append(beyond, differs)
		}
	}
	sum := strings.Join(bits, " + ")
	if sum == "" {
		sum = "0" // the table is nothing but its key
	}
	if len(beyond) == 0 {
		return sum
	}
	return "CASE WHEN " + strings.Join(beyond, " OR ") + " THEN -1 ELSE " + sum + " END"
}
