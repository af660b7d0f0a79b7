package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// driftError makes the error for what does not fit, with the statements that
// make it fit.
func (t *Till) driftError(tab *applyTable, bad []Drift) error {
	e := &DriftError{Path: t.conn.Path(), Table: tab.Name, Drifts: bad}
	fixes := map[string]columnFix{}
	var added []string
	for _, d := range bad {
		c := tab.Column(d.Column)
		switch {
		case d.Kind == DriftMissingColumn:
			added = append(added, d.Column)
		case d.Kind == DriftNotNull && c.PK > 0:
			e.Why = fmt.Sprintf("%s is in the table's primary key: add it to the export at the server, or give the table the server's key", database.Quote(c.Name))
			return e
		case d.Kind == DriftNotNull:
			fix := fixes[foldName(c.Name)]
			fix.value = emptySQL(c)
			fixes[foldName(c.Name)] = fix
		default:
			fixes[foldName(c.Name)] = columnFix{typ: tillType(d.Sent, tab.Strict)}
		}
	}
	var b strings.Builder
	if len(fixes) > 0 {
		sql, err := t.rebuildSQL(tab.Table, fixes)
		if err != nil {
			return err
		}
		if sql == "" {
			e.Why = "make the table anew by hand, as in https://www.sqlite.org/lang_altertable.html#otheralter"
			return e
		}
		b.WriteString(sql)
	}
	for _, name := range added {
		i := slices.IndexFunc(bad, func(d Drift) bool { return d.Kind == DriftMissingColumn && d.Column == name })
		typ := typeSQL(bad[i].Sent)
		if tab.Strict {
			typ = tillType(bad[i].Sent, true)
		}
		fmt.Fprintf(&b, "ALTER TABLE %s ADD COLUMN %s;\n", database.Quote(tab.Name), strings.TrimSpace(database.Quote(name)+" "+typ))
	}
	key, err := t.keySQL(tab, added)
	if err != nil {
		return err
	}
	e.SQL = b.String() + key
	return e
}

// keySQL returns the unique index that the key needs when the table lacks
// some of its columns.
func (t *Till) keySQL(tab *applyTable, added []string) (string, error) {
	if !slices.ContainsFunc(added, tab.isKey) {
		return "", nil
	}
	name, err := t.freeName(tab.Name + "_key")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("CREATE UNIQUE INDEX %s ON %s(%s);\n", database.Quote(name), database.Quote(tab.Name), database.QuoteAll("", tab.sent.Key)), nil
}

// freeName returns a name that nothing in the database has.
func (t *Till) freeName(name string) (string, error) {
	taken := map[string]bool{}
	err := t.conn.Query("SELECT name FROM sqlite_schema", func(s *sqlite3.Stmt) error { taken[foldName(s.Text(0))] = true; return nil })
	free := name
	for n := 2; taken[foldName(free)]; n++ {
		free = fmt.Sprintf("%s_%d", name, n)
	}
	return free, err
}

// tillType returns the type that a till's column needs to keep what comes
// from one of the type sent. A STRICT table knows six types.
func tillType(sent string, strict bool) string {
	if !strict {
		return typeSQL(sent)
	}
	switch affinityOf(sent) {
	case affinityInteger:
		return "INTEGER"
	case affinityText:
		return "TEXT"
	case affinityReal:
		return "REAL"
	case affinityBlob:
		if sent != "" && !strings.EqualFold(sent, "ANY") {
			return "BLOB"
		}
	}
	return "ANY"
}

// A columnFix is what is to change of one column: another type, a default, or
// both.
type columnFix struct {
	typ   string // SQL; "": as it is
	value string // SQL of the default; "": none
}

// rebuildSQL returns the statements that make a table anew with some columns
// declared otherwise, the way of https://www.sqlite.org/lang_altertable.html#otheralter:
// everything else of it stays as its own CREATE statements have it, and its
// indexes and triggers are made again word for word. It returns "" when the
// table's CREATE statement cannot be understood.
//
// Values are converted as the new column converts any value, which loses
// nothing; a STRICT table needs CAST. A shell goes on behind a statement that
// failed; so the last word is a row that a CHECK refuses, and takes everything
// back, unless rows, indexes and triggers are all there.
func (t *Till) rebuildSQL(tab *Table, fixes map[string]columnFix) (string, error) {
	made, err := t.schemaSQL(tab.Name)
	if err != nil {
		return "", err
	}
	if len(made) == 0 {
		return "", nil
	}
	fresh, err := t.freeName(tab.Name + "_new")
	if err != nil {
		return "", err
	}
	create := redeclared(made[0], fresh, tab, fixes)
	if create == "" {
		return "", nil
	}
	var names, values []string
	sequence := strings.Contains(strings.ToUpper(create), "AUTOINCREMENT")
	for i := range tab.Columns {
		c := &tab.Columns[i]
		if c.Generated {
			continue
		}
		value := database.Quote(c.Name)
		if fix := fixes[foldName(c.Name)]; tab.Strict && fix.typ != "" && fix.typ != "ANY" {
			value = "CAST(" + value + " AS " + fix.typ + ")"
		}
		names, values = append(names, c.Name), append(values, value)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	line("PRAGMA foreign_keys=OFF")
	line("PRAGMA legacy_alter_table=ON")
	line("CREATE TEMP TABLE caisseauto_rebuild(done INTEGER NOT NULL CHECK(done))")
	line("BEGIN IMMEDIATE")
	line("%s", ended(create))
	line("INSERT INTO %s(%s) SELECT %s FROM %s", database.Quote(fresh), database.QuoteAll("", names), strings.Join(values, ", "), database.Quote(tab.Name))
	line("INSERT INTO temp.caisseauto_rebuild SELECT 1 WHERE (SELECT count(*) FROM %s) = (SELECT count(*) FROM %s)", database.Quote(fresh), database.Quote(tab.Name))
	if sequence {
		line("DELETE FROM sqlite_sequence WHERE name=%s", quoteText(fresh))
		line("INSERT INTO sqlite_sequence(name, seq) SELECT %s, seq FROM sqlite_sequence WHERE name=%s", quoteText(fresh), quoteText(tab.Name))
	}
	line("DROP TABLE %s", database.Quote(tab.Name))
	line("ALTER TABLE %s RENAME TO %s", database.Quote(fresh), database.Quote(tab.Name))
	for _, sql := range made[1:] {
		line("%s", ended(sql))
	}
	line("INSERT INTO temp.caisseauto_rebuild SELECT 1 WHERE (SELECT count(*) FROM sqlite_master WHERE tbl_name=%s COLLATE NOCASE AND sql IS NOT NULL) = %d",
		quoteText(tab.Name), len(made))
	line("INSERT OR ROLLBACK INTO temp.caisseauto_rebuild SELECT (SELECT count(*) FROM temp.caisseauto_rebuild) = 2")
	line("COMMIT")
	line("DROP TABLE IF EXISTS temp.caisseauto_rebuild")
	line("PRAGMA legacy_alter_table=OFF")
	line("PRAGMA foreign_key_check(%s)", database.Quote(tab.Name))
	return b.String(), nil
}

// ended returns a statement that a semicolon can follow: SQLite may keep a
// comment at its end.
func ended(sql string) string {
	list := tokens(sql)
	if rest := sql[list[len(list)-1].end:]; strings.Contains(rest, "--") && !strings.HasSuffix(rest, "\n") {
		return sql + "\n"
	}
	return sql
}

// schemaSQL returns the CREATE statements of a table, of its indexes and of
// its triggers, in that order. Our own triggers are among them: without them
// changes would count as lost.
func (t *Till) schemaSQL(table string) (list []string, err error) {
	err = t.conn.Query(`SELECT sql FROM sqlite_schema WHERE tbl_name=?1 COLLATE NOCASE AND sql IS NOT NULL
		ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END, rowid`,
		func(s *sqlite3.Stmt) error { list = append(list, s.Text(0)); return nil }, table)
	return list, err
}

// A textEdit replaces a part of a statement.
type textEdit struct {
	start, end int
	text       string
}

// redeclared returns a CREATE TABLE statement under another name and with some
// columns declared otherwise; "" when it is not understood.
func redeclared(sql, name string, tab *Table, fixes map[string]columnFix) string {
	// SQLite keeps the statement from the name on, behind CREATE TABLE.
	list := tokens(sql)
	if len(list) < 5 || list[3].text != "(" {
		return ""
	}
	edits := []textEdit{{list[2].start, list[2].end, database.Quote(name)}}
	defs := definitions(list[3:])
	if len(defs) < len(tab.Columns) {
		return ""
	}
	for i := range tab.Columns {
		c := &tab.Columns[i]
		fix, ok := fixes[foldName(c.Name)]
		if !ok {
			continue
		}
		def := defs[i]
		if len(def) == 0 || !sameName(def[0].name, c.Name) {
			return ""
		}
		n := typeTokens(def)
		start, end := def[0].end, def[n].end
		if declared := sql[start:end]; !sameType(declared, c.Type) {
			return ""
		}
		text := sql[start:end]
		if fix.typ != "" {
			text = " " + fix.typ
			for _, tok := range def[n+1:] {
				if strings.EqualFold(tok.text, "AUTOINCREMENT") && !strings.EqualFold(fix.typ, "INTEGER") {
					edits = append(edits, textEdit{tok.start, tok.end, ""})
				}
			}
		}
		if fix.value != "" {
			text += " DEFAULT " + fix.value
		}
		if n+1 < len(def) && def[n+1].start == end { // "c"TEXT/**/NOT
			text += " "
		}
		edits = append(edits, textEdit{start, end, text})
	}
	slices.SortFunc(edits, func(a, b textEdit) int { return b.start - a.start })
	for _, e := range edits {
		sql = sql[:e.start] + e.text + sql[e.end:]
	}
	return sql
}

// definitions cuts what stands in the first parentheses at its commas.
func definitions(list []token) (defs [][]token) {
	depth, first := 0, 1
	for i, tok := range list {
		switch tok.text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return append(defs, list[first:i])
			}
		case ",":
			if depth == 1 {
				defs, first = append(defs, list[first:i]), i+1
			}
		}
	}
	return nil
}

// typeEnds are the words that begin a column's constraints; no type has them
// unless it is quoted.
var typeEnds = []string{"CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE", "REFERENCES", "AS"}

// typeTokens returns the place of the last token of a column's type in its
// definition, whose first token is the name; 0 when there is no type.
func typeTokens(def []token) int {
	n := 0
	for n+1 < len(def) && def[n+1].name != "" && !containsName(typeEnds, def[n+1].text) {
		if n+3 < len(def) && sameName(def[n+1].text, "GENERATED") && sameName(def[n+2].text, "ALWAYS") && sameName(def[n+3].text, "AS") {
			break
		}
		n++
	}
	if n == 0 || n+1 >= len(def) || def[n+1].text != "(" {
		return n
	}
	for n++; n < len(def)-1 && def[n].text != ")"; n++ {
	}
	return n
}

// sameType reports whether a piece of a statement is the type that SQLite
// reports: but for comments, blanks and the quotes that SQLite takes off.
func sameType(piece, declared string) bool {
	flat := func(s string) string {
		var b strings.Builder
		for _, tok := range tokens(s) {
			if tok.name != "" {
				b.WriteString(strings.Join(strings.Fields(tok.name), ""))
			} else {
				b.WriteString(tok.text)
			}
		}
		return b.String()
	}
	return flat(piece) == flat(declared)
}
