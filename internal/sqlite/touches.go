package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A touch says that a change of a row ships another row once more: an
// attachment the user whom it attaches. A till that has deleted the user,
// because he was attached to other tills alone, gets him back complete.
type touch struct {
	table   string        // the other table, as it is spelled
	key     []IndexColumn // its key
	columns []string      // the columns here that hold it, in its order
	tab     int64         // its number in the journal; set by plan
}

// touches finds out what a change of a row of w touches, as the streams want
// it.
func (c *Capture) touches(db *sqlite3.Conn, w *captured) error {
	for _, stream := range c.sorted() {
		for _, config := range c.streams[stream].tables {
			if config.Touches == "" || !sameName(config.Name, w.Name) {
				continue
			}
			t, err := c.touch(db, w, stream, config)
			if err != nil {
				return fmt.Errorf("touches %s: %w", database.Quote(config.Touches), err)
			}
			if w.touch != nil && !t.equal(w.touch) {
				return fmt.Errorf("two dossiers disagree on what it touches (%s by %q and %s by %q); both share one journal, give both the same",
					database.Quote(w.touch.table), w.touch.columns, database.Quote(t.table), t.columns)
			}
			w.touch = t
		}
	}
	return nil
}

func (t *touch) equal(o *touch) bool {
	return t.table == o.table && slices.Equal(t.columns, o.columns) && slices.Equal(t.key, o.key)
}

// touch resolves one stream's setting.
func (c *Capture) touch(db *sqlite3.Conn, w *captured, stream string, config tableConfig) (*touch, error) {
	i := slices.IndexFunc(c.streams[stream].tables, func(t tableConfig) bool { return sameName(t.Name, config.Touches) })
	if i < 0 || sameName(config.Touches, w.Name) {
		return nil, fmt.Errorf("stream %s ships no other table of that name; correct touches in the configuration", stream)
	}
	other, err := c.bare(db, config.Touches)
	if err != nil {
		return nil, err
	}
	t := &touch{table: other.Name, key: other.key, columns: slices.Clone(config.TouchesColumns)}
	if len(t.columns) == 0 {
		if t.columns = reference(w.Table, other); t.columns == nil {
			return nil, fmt.Errorf("no foreign key leads from here to its key %q; name the columns here that hold it: touches_columns = [\"…\"]", other.names())
		}
	}
	if len(t.columns) != len(t.key) {
		return nil, fmt.Errorf("its key %q has %d columns, and touches_columns names %d", other.names(), len(t.key), len(t.columns))
	}
	for i, name := range t.columns {
		col := w.Column(name)
		if col == nil {
			return nil, fmt.Errorf("touches_columns names %s, which does not exist; the table has %q", database.Quote(name), columnNames(w.Table))
		}
		t.columns[i] = col.Name
	}
	return t, nil
}

// reference returns the columns of t's foreign key to the key of another
// table, in the order of that key; nil when there is none.
func reference(t *Table, other *captured) []string {
	for _, f := range t.ForeignKeys {
		to := f.To
		if len(to) == 0 {
			to = other.Table.Key
		}
		if !sameName(f.Table, other.Name) || len(f.From) != len(other.key) || len(to) != len(f.From) {
			continue
		}
		var columns []string
		for _, k := range other.key {
			for i, name := range to {
				if sameName(name, k.Name) {
					columns = append(columns, f.From[i])
				}
			}
		}
		if len(columns) == len(other.key) {
			return columns
		}
	}
	return nil
}

// Masks of the journal's entries for touched rows. Such an entry has no
// dossier: it names a row that may not be there, by a key as another table
// holds it, and only the reader looks whether it is, and whose. A trigger that
// looked would name the touched table, and with SQLite 3.26 and later nobody
// could replace that table by a new one as long as the trigger is there
// (https://www.sqlite.org/lang_altertable.html).
const (
	touchedNow = "-2" // touched by a row as it is now
	touchedOld = "-3" // by a row as it was
)

// touching returns the INSERT … SELECT that journals what a row touches; a FROM
// and a WHERE may follow it.
func (c *captured) touching(row, mask string) string {
	var columns, values strings.Builder
	for i, name := range c.touch.columns {
		fmt.Fprintf(&columns, ", k%d", i+1)
		values.WriteString(", " + row + "." + database.Quote(name))
	}
	return fmt.Sprintf("INSERT INTO %s(tab, mask%s) SELECT %d, %s%s", c.journal, columns.String(), c.touch.tab, mask, values.String())
}

// touchedBy returns the statements of a trigger that journal what some states
// of a row touch; none where the table touches nothing.
func (c *captured) touchedBy(rows ...string) (list []string) {
	if c.touch == nil {
		return nil
	}
	for _, row := range rows {
		mask := touchedOld
		if row == "new" {
			mask = touchedNow
		}
		list = append(list, c.touching(row, mask))
	}
	return list
}

// newMask returns the mask of a new row. What touches it may be older than
// the row itself.
func (c *captured) newMask() string {
	if c.touched {
		return "NULL"
	}
	return "-1"
}

// touchedIfChanged is touchedBy for an update of the row in its place. Where
// the journal tells columns apart, an update that changes none touches nothing.
func (c *captured) touchedIfChanged() []string {
	list := c.touchedBy("old", "new")
	if c.touch == nil || !c.masks {
		return list
	}
	var terms []string
	for _, name := range c.tracked {
		terms = append(terms, c.differs(name))
	}
	for _, name := range c.touch.columns {
		if !containsName(c.tracked, name) {
			terms = append(terms, c.differs(name))
		}
	}
	for i := range list {
		list[i] += " WHERE " + strings.Join(terms, " OR ")
	}
	return list
}

// touchGuard returns the statement that journals what the rows touch which a
// statement may push out by REPLACE, given the conditions of their guard. None
// is wanted where such a row touches what the new row does.
func (c *captured) touchGuard(x *Index, terms []string) []string {
	if c.touch == nil || c.touch.within(x) {
		return nil
	}
	return []string{c.touching(database.Quote(c.Name), touchedOld) + " FROM " + database.Quote(c.Name) + " WHERE " + strings.Join(terms, " AND ")}
}

// within reports whether rows that are equal in an index touch the same row.
func (t *touch) within(x *Index) bool {
	for i, name := range t.columns {
		if !slices.ContainsFunc(x.Columns, func(k IndexColumn) bool {
			return k.Name != "" && sameName(k.Name, name) && (k.Collation == "BINARY" || k.Collation == t.key[i].Collation)
		}) {
			return false
		}
	}
	return true
}

// source returns what a FROM clause has for the journal's entries of a table,
// with their WHERE: those of its changes, those of its rows that were touched,
// and those of its rows that come with one that they touch. The latter two are
// rows that are there, and the stream's: nothing is told of others.
func (d *delta) source() string {
	sql := d.journal + " WHERE " + d.entries()
	var more string
	if d.touched {
		sql += " AND (mask IS NULL OR mask >= -1)"
		more = d.wholeRows(d.journaled(d.captured, "mask IN ("+touchedNow+", "+touchedOld+")"), d.rowOf(d.captured, "r", "j"))
	}
	if u := d.touches; u != nil {
		// What is new under its key or to its dossier comes with them, too: a
		// till that has not had the user has not kept what touches him.
		on := []string{d.rowOf(u.captured, "u", "j")}
		if u.dossier != "" {
			on = append(on, fmt.Sprintf("u.%s = ?%d COLLATE BINARY", database.Quote(u.dossier), len(d.bound)))
		}
		from := d.journaled(u.captured, "mask = "+touchedNow+" OR mask IS NULL") + " CROSS JOIN " + database.Quote(u.Name) + " AS u ON " + strings.Join(on, " AND ")
		var same []string
		for i, k := range u.key {
			same = append(same, fmt.Sprintf("r.%s = u.%s COLLATE %s", database.Quote(d.touch.columns[i]), database.Quote(k.Name), database.Quote(k.Collation)))
		}
		more += d.wholeRows(from, strings.Join(same, " AND "))
	}
	if more == "" {
		return sql
	}
	return "(SELECT mask, " + d.keys + " FROM " + sql + more + ")"
}

// journaled returns the subquery j of the keys of a table that have a certain
// kind of entry in the journal.
func (d *delta) journaled(t *captured, which string) string {
	names := make([]string, len(t.key))
	for i := range names {
		names[i] = fmt.Sprintf("k%d", i+1)
	}
	return fmt.Sprintf("(SELECT DISTINCT %s FROM %s WHERE seq > ?1 AND seq <= ?2 AND tab = %d AND (%s)) AS j",
		strings.Join(names, ", "), d.journal, t.tab, which)
}

// rowOf returns the condition that a row of t has the journaled key j.
func (d *delta) rowOf(t *captured, row, j string) string {
	var terms []string
	for i, k := range t.key {
		terms = append(terms, fmt.Sprintf("%s.%s = %s.k%d COLLATE %s", row, database.Quote(k.Name), j, i+1, database.Quote(k.Collation)))
	}
	return strings.Join(terms, " AND ")
}

// wholeRows returns the UNION ALL of entries for the rows r of the table that
// a FROM clause leads to.
func (d *delta) wholeRows(from, on string) string {
	keys := make([]string, len(d.key))
	for i, k := range d.key {
		keys[i] = "r." + database.Quote(k.Name)
	}
	if d.dossier != "" {
		on += " AND r." + database.Quote(d.dossier) + " = ?4 COLLATE BINARY"
	}
	return " UNION ALL SELECT -1, " + strings.Join(keys, ", ") + " FROM " + from + " CROSS JOIN " + database.Quote(d.Name) + " AS r ON " + on
}

// wholeWithTouched lets tables go whole that touch one which does: nobody knows
// which of its rows are new to the stream.
func wholeWithTouched(list []*extracted) {
	for again := true; again; {
		again = false
		for _, t := range list {
			if t.touches == nil || t.whole {
				continue
			}
			i := slices.IndexFunc(list, func(o *extracted) bool { return o.carried == t.touches })
			t.whole = list[i].whole
			again = again || t.whole
		}
	}
}

// scopeTouched adds the tables that those of one stream touch because another
// stream wants it so: the triggers are everybody's.
func (c *Capture) scopeTouched(db *sqlite3.Conn, tables []*captured) ([]*captured, error) {
	for i := 0; i < len(tables); i++ {
		t := tables[i].touch
		if t == nil || slices.ContainsFunc(tables, func(o *captured) bool { return sameName(o.Name, t.table) }) {
			continue
		}
		other, err := c.table(db, t.table)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", database.Quote(t.table), err)
		}
		tables = append(tables, other)
	}
	return tables, nil
}

// number gives every table its number in the journal, before the triggers of
// one name the number of another.
func (p *plan) number(tables []*captured) error {
	tabs := map[string]int64{}
	for _, t := range tables {
		k, ok := p.known[foldName(t.Name)]
		if !ok {
			p.top++
			k.tab = p.top
		}
		t.tab = k.tab
		tabs[foldName(t.Name)] = t.tab
	}
	for _, t := range tables {
		if t.touch == nil {
			continue
		}
		if t.touch.tab = tabs[foldName(t.touch.table)]; t.touch.tab == 0 {
			return errors.New("table " + database.Quote(t.Name) + " touches " + database.Quote(t.touch.table) + ", which is not captured") // cannot happen: touch looks
		}
	}
	return nil
}
