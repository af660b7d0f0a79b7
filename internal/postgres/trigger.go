package postgres

import (
	"fmt"
	"slices"
	"strings"
)

// What the triggers are to do, and why so:
//
//   - They only ever append to the journal. It has no constraint that could
//     fail, and nobody ever locks it against inserts.
//   - The function names no column of the table: a row is looked at as JSON,
//     where a column that was renamed or dropped is NULL and no error. A NULL in
//     a key makes the whole table go once.
//   - It runs with the rights of its owner, so that the ERP's roles need none
//     on the journal, and with a search_path of its own.
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

// hugeRow is the size, in bytes, from which on the JSON of a row may be more
// than jsonb can hold: a string there ends at 256 MiB, and a bytea is written
// in hexadecimal digits.
const hugeRow = 100_000_000

func (c *captured) function() string { return fmt.Sprintf("caisseauto_%d", c.tab) }

func (c *captured) rowTrigger() string { return fmt.Sprintf("caisseauto_%d_row", c.tab) }

func (c *captured) truncateTrigger() string { return fmt.Sprintf("caisseauto_%d_truncate", c.tab) }

// functionConfig is pg_proc.proconfig of the functions, in its order.
var functionConfig = []string{"search_path=pg_catalog", "extra_float_digits=1", "bytea_output=hex"}

// functionSQL returns the statement that makes the table's function.
func (c *captured) functionSQL() string {
	return fmt.Sprintf("CREATE OR REPLACE FUNCTION caisseauto.%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"+
		" SET search_path = pg_catalog SET extra_float_digits = 1 SET bytea_output = 'hex' AS $caisseauto$%s$caisseauto$",
		c.function(), c.body())
}

// body returns the function's text, word for word as pg_proc keeps it. Names
// stand in it as literals alone.
func (c *captured) body() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("\n-- Journals the changes of %s for caisseauto.", strings.ReplaceAll(strings.ReplaceAll(c.sql(), "$caisseauto$", ""), "\n", " "))
	line("DECLARE o jsonb; n jsonb;%s", c.maskVariables())
	line("BEGIN")
	line("  IF to_regclass('%s') IS NULL THEN RETURN NULL; END IF; -- dropped: the next export ships the table whole", journal)
	line("  IF TG_OP = 'TRUNCATE' THEN")
	line("    INSERT INTO %s(tab) VALUES (%d)%s;", journal, c.tab, c.touchedWhole())
	line("    RETURN NULL;")
	line("  END IF;")
	line("  IF TG_OP <> 'INSERT' THEN%s END IF;", c.asJSON("o", "OLD"))
	line("  IF TG_OP <> 'DELETE' THEN%s END IF;", c.asJSON("n", "NEW"))
	line("  IF TG_OP = 'INSERT' THEN")
	line("    INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, c.values(c.entry("n", c.newMask()), "n"))
	line("  ELSIF TG_OP = 'DELETE' THEN")
	line("    INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, c.values(c.entry("o", "NULL"), "o"))
	line("  ELSIF %s THEN", c.moved())
	line("    INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, c.values(c.entry("o", "NULL")+", "+c.entry("n", "NULL"), "o", "n"))
	if !c.masks {
		line("  ELSE")
		line("    INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, c.values(c.entry("n", "-1"), "o", "n"))
	} else {
		c.maskedUpdate(line)
	}
	line("  END IF;")
	line("  RETURN NULL;")
	line("END ")
	return b.String()
}

// asJSON returns the statements that put a row into a variable.
func (c *captured) asJSON(variable, row string) string {
	return fmt.Sprintf(" IF pg_column_size(%[2]s) < %[3]d THEN %[1]s := to_jsonb(%[2]s);"+
		" ELSE BEGIN %[1]s := to_jsonb(%[2]s); EXCEPTION WHEN OTHERS THEN %[1]s := NULL; END; END IF;", variable, row, hugeRow)
}

// field returns a column of a row as text.
func field(row, column string) string { return row + "->>" + literal(column) }

// array returns some columns of a row as a text array.
func array(row string, columns []string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = field(row, c)
	}
	return "ARRAY[" + strings.Join(list, ", ") + "]"
}

// entry returns the VALUES of one journal entry.
func (c *captured) entry(row, mask string) string {
	dossier := "NULL"
	if c.dossier != "" {
		dossier = field(row, c.dossier)
	}
	return fmt.Sprintf("(%d, %s, %s, %s)", c.tab, dossier, mask, array(row, c.names()))
}

// values adds to entries those of what some states of the row touch.
func (c *captured) values(entries string, rows ...string) string {
	if c.touch == nil {
		return entries
	}
	return entries + c.touching(rows...)
}

// touching returns the VALUES of the entries of what states of the row touch,
// each with a comma before it.
func (c *captured) touching(rows ...string) string {
	var b strings.Builder
	for _, row := range rows {
		mask := touchedOld
		if row == "n" {
			mask = touchedNow
		}
		fmt.Fprintf(&b, ", (%d, NULL, %s, %s)", c.touch.tab, mask, array(row, c.touch.columns))
	}
	return b.String()
}

// touchedWhole returns the entry of the touched table after a TRUNCATE here.
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

// moved returns the condition that an update gave the row another key or
// another dossier, be it only in the writing.
func (c *captured) moved() string {
	columns := c.names()
	if c.dossier != "" && !slices.Contains(columns, c.dossier) {
		columns = append(columns, c.dossier)
	}
	return array("o", columns) + " IS DISTINCT FROM " + array("n", columns)
}

// jsonOID is the type json, which keeps its text as it was written. jsonb does
// not, so that columns of that type are compared out of another form.
const jsonOID = 114

func (c *captured) maskVariables() string {
	if !c.masks {
		return ""
	}
	return " m bigint; oj json; nj json;"
}

// maskedUpdate writes the branch of an update that changed some columns.
func (c *captured) maskedUpdate(line func(string, ...any)) {
	line("  ELSE")
	if slices.ContainsFunc(c.tracked, func(name string) bool { return c.Column(name).Base == jsonOID }) {
		line("    oj := row_to_json(OLD); nj := row_to_json(NEW);")
	}
	line("    m := %s;", c.mask())
	line("    IF o IS NULL OR n IS NULL THEN m := -1; END IF;")
	line("    IF m <> 0 THEN")
	line("      INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, c.entry("n", "m"))
	line("    END IF;")
	if c.touch == nil {
		return
	}
	// An update that changes no tracked column touches nothing, unless it
	// is another row that is touched now.
	line("    IF m <> 0 OR %s IS DISTINCT FROM %s THEN", array("o", c.touch.columns), array("n", c.touch.columns))
	line("      INSERT INTO %s(tab, dossier, mask, k) VALUES %s;", journal, strings.TrimPrefix(c.touching("o", "n"), ", "))
	line("    END IF;")
}

// mask returns the expression of the changed columns.
func (c *captured) mask() string {
	var bits, beyond []string
	for i, name := range c.tracked {
		o, n := field("o", name), field("n", name)
		if c.Column(name).Base == jsonOID {
			o, n = field("oj", name), field("nj", name)
		}
		differs := "(" + n + ") IS DISTINCT FROM (" + o + ")"
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
