package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
)

// A touch says that a change of a row ships another row once more: an
// attachment the user whom it attaches. A till that has deleted the user,
// because he was attached to other tills alone, gets him back complete.
type touch struct {
	table   *Table
	key     []string // its key
	columns []string // the columns here that hold it, in its order
	tab     int64    // its number in the journal; set by plan
}

// Masks of the journal's entries for touched rows. Such an entry has no
// dossier: it names a row that may not be there, by a key as another table
// holds it, and only the reader looks whether it is, and whose.
const (
	touchedNow = "-2" // touched by a row as it is now
	touchedOld = "-3" // by a row as it was
)

// touches finds out what a change of a row of w touches, as the streams want
// it.
func (c *catalog) touches(w *captured) error {
	for _, stream := range c.capture.sorted() {
		for _, config := range c.capture.streams[stream].Tables {
			if config.Touches == "" || c.tables[tableRef{config.Schema, config.Name}] != w.Table {
				continue
			}
			t, err := c.touch(w, stream, config)
			if err != nil {
				return fmt.Errorf("touches %s: %w", quote(config.Touches), err)
			}
			if w.touch != nil && !t.equal(w.touch) {
				return fmt.Errorf("two dossiers disagree on what it touches (%s by %q and %s by %q); both share one journal, give both the same",
					w.touch.table.sql(), w.touch.columns, t.table.sql(), t.columns)
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
func (c *catalog) touch(w *captured, stream string, config database.TableConfig) (*touch, error) {
	list := c.capture.streams[stream].Tables
	i := slices.IndexFunc(list, func(t database.TableConfig) bool { return t.Name == config.Touches })
	if i < 0 || c.tables[tableRef{list[i].Schema, list[i].Name}] == w.Table {
		return nil, fmt.Errorf("stream %s ships no other table of that name; correct touches in the configuration", stream)
	}
	other, err := c.bare(tableRef{list[i].Schema, list[i].Name})
	if err != nil {
		return nil, err
	}
	t := &touch{table: other.Table, key: other.names(), columns: config.TouchesColumns}
	if len(t.columns) == 0 {
		if t.columns = w.reference(other); t.columns == nil {
			return nil, fmt.Errorf("no foreign key leads from here to its key %q; name the columns here that hold it: touches_columns = [\"…\"]", t.key)
		}
	}
	if len(t.columns) != len(t.key) {
		return nil, fmt.Errorf("its key %q has %d columns, and touches_columns names %d", t.key, len(t.key), len(t.columns))
	}
	for i, name := range t.columns {
		col, key := w.Column(name), other.key[i]
		if col == nil {
			return nil, fmt.Errorf("touches_columns names %s, which does not exist; the table has %q", quote(name), w.columnNames())
		}
		if !key.holds(col) {
			return nil, fmt.Errorf("column %s is of type %s, and the key there of type %s; not every value of the one is one of the other", quote(name), col.Type, key.Type)
		}
	}
	return t, nil
}

// reference returns the columns of the table's foreign key to the key of
// another table, in the order of that key; nil when there is none.
func (t *Table) reference(other *captured) []string {
	for _, f := range t.ForeignKeys {
		if f.OID != other.OID || len(f.To) != len(other.key) {
			continue
		}
		var columns []string
		for _, k := range other.key {
			if i := slices.Index(f.To, k.Name); i >= 0 {
				columns = append(columns, f.From[i])
			}
		}
		if len(columns) == len(other.key) {
			return columns
		}
	}
	return nil
}

// number gives every table its number in the journal, before the function of
// one names the number of another.
func (p *plan) number(tables []*captured) error {
	tabs := map[uint32]int64{}
	for _, t := range tables {
		k, ok := p.known[t.sql()]
		if !ok {
			p.top++
			k.tab = p.top
		}
		t.tab = k.tab
		tabs[t.OID] = t.tab
	}
	for _, t := range tables {
		if t.touch == nil {
			continue
		}
		if t.touch.tab = tabs[t.touch.table.OID]; t.touch.tab == 0 {
			return errors.New("table " + t.sql() + " touches " + t.touch.table.sql() + ", which is not captured") // cannot happen: touch looks
		}
	}
	return nil
}

// scopeTouched adds the tables that those of one stream touch because another
// stream wants it so: the triggers are everybody's.
func (c *catalog) scopeTouched(tables []*captured) ([]*captured, error) {
	for i := 0; i < len(tables); i++ {
		t := tables[i].touch
		if t == nil || slices.ContainsFunc(tables, func(o *captured) bool { return o.OID == t.table.OID }) {
			continue
		}
		other, err := c.table(c.refOf(t.table))
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.table.sql(), err)
		}
		tables = append(tables, other)
	}
	return tables, nil
}

// refOf returns how the configuration names a table.
func (c *catalog) refOf(t *Table) tableRef {
	for ref, o := range c.tables {
		if o == t {
			return ref
		}
	}
	return tableRef{t.Schema, t.Name}
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

// source returns what a FROM clause has for the journal's entries of a table:
// those of its changes, those of its rows that were touched, and those of its
// rows that come with one that they touch. The latter two are rows that are
// there, and the stream's: nothing is told of others.
func (d *delta) source() string {
	where := d.entries()
	var more string
	if d.touched {
		where += " AND (mask IS NULL OR mask >= -1)"
		more = d.wholeRows(d.journaled(d.captured, "mask IN ("+touchedNow+", "+touchedOld+")"), d.rowOf(d.captured, "r", "j"))
	}
	if u := d.touches; u != nil {
		// What is new under its key or to its dossier comes with them, too: a
		// till that has not had the user has not kept what touches him.
		on := []string{d.rowOf(u.captured, "u", "j")}
		if u.dossier != "" {
			on = append(on, u.mine("u", d.touchedDossier))
		}
		from := d.journaled(u.captured, "mask = "+touchedNow+" OR mask IS NULL") + " JOIN " + u.sql() + " AS u ON " + strings.Join(on, " AND ")
		var same []string
		for i, k := range u.key {
			same = append(same, fmt.Sprintf("r.%s::%s%s %s u.%s", quote(d.touch.columns[i]), k.Type, k.collate(), u.equals[i], quote(k.Name)))
		}
		more += d.wholeRows(from, strings.Join(same, " AND "))
	}
	return "(SELECT mask, " + d.castKeys() + " FROM " + journal + " WHERE " + where + more + ") AS e"
}

// journaled returns the subquery j of the keys of a table that have a certain
// kind of entry in the journal.
func (d *delta) journaled(t *captured, which string) string {
	return fmt.Sprintf("(SELECT DISTINCT %s FROM "+journal+" WHERE %s AND tab = %d AND (%s)) AS j",
		t.castKeys(), d.e.window(), t.tab, which)
}

// rowOf returns the condition that a row of t has the journaled key j.
func (d *delta) rowOf(t *captured, row, j string) string {
	var terms []string
	for i, k := range t.key {
		terms = append(terms, fmt.Sprintf("%s.%s %s %s.k%d", row, quote(k.Name), t.equals[i], j, i+1))
	}
	return strings.Join(terms, " AND ")
}

// wholeRows returns the UNION ALL of entries for the rows r of the table that
// a FROM clause leads to.
func (d *delta) wholeRows(from, on string) string {
	keys := make([]string, len(d.key))
	for i, k := range d.key {
		keys[i] = "r." + quote(k.Name) + "::" + k.Type
	}
	if d.dossier != "" {
		on += " AND " + d.mine("r", d.ownDossier)
	}
	return " UNION ALL SELECT -1, " + strings.Join(keys, ", ") + " FROM " + from + " JOIN " + d.sql() + " AS r ON " + on
}
