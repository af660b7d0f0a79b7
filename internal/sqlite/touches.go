package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/sqlite/sqlite3"
)

// A touch says that a change of a row ships another row once more: an
// attachment the user whom it attaches. A till that has deleted the user,
// because he was attached to other tills alone, gets him back complete.
type touch struct {
	table   string        // the other table, as it is spelled
	key     []IndexColumn // its key
	columns []string      // the columns here that hold it, in its order
	dossier string        // its dossier column, "" for none
	tab     int64         // its number in the journal; set by plan
}

// touches finds out what a change of a row of w touches, as the streams want
// it.
func (c *Capture) touches(db *sqlite3.Conn, w *captured) error {
	for _, stream := range c.sorted() {
		for _, config := range c.streams[stream].Tables {
			if config.Touches == "" || !sameName(config.Name, w.Name) {
				continue
			}
			t, err := c.touch(db, w, stream, config)
			if err != nil {
				return fmt.Errorf("touches %s: %w", Quote(config.Touches), err)
			}
			if w.touch != nil && !t.equal(w.touch) {
				return fmt.Errorf("two dossiers disagree on what it touches (%s by %q and %s by %q); both share one journal, give both the same",
					Quote(w.touch.table), w.touch.columns, Quote(t.table), t.columns)
			}
			w.touch = t
		}
	}
	return nil
}

func (t *touch) equal(o *touch) bool {
	return t.table == o.table && slices.Equal(t.columns, o.columns) && slices.Equal(t.key, o.key) && t.dossier == o.dossier
}

// touch resolves one stream's setting.
func (c *Capture) touch(db *sqlite3.Conn, w *captured, stream string, config TableConfig) (*touch, error) {
	i := slices.IndexFunc(c.streams[stream].Tables, func(t TableConfig) bool { return sameName(t.Name, config.Touches) })
	if i < 0 || sameName(config.Touches, w.Name) {
		return nil, fmt.Errorf("stream %s ships no other table of that name; correct touches in the configuration", stream)
	}
	other, err := c.bare(db, config.Touches)
	if err != nil {
		return nil, err
	}
	t := &touch{table: other.Name, key: other.key, columns: slices.Clone(config.TouchesColumns), dossier: other.dossier}
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
			return nil, fmt.Errorf("touches_columns names %s, which does not exist; the table has %q", Quote(name), columnNames(w.Table))
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

// touched returns the statement that journals the touched row of one state of
// a row ("new" or "old"), to be shipped whole. It takes key and dossier from
// the touched row itself: nothing is journaled for one that is not there, and
// nothing under a dossier that is not its own. Its conditions are those of the
// key's index, so that it is one step, however large the table is.
func (t *touch) touched(journal, row string) string {
	var columns, values, where strings.Builder
	for i, k := range t.key {
		q := Quote(t.table) + "." + Quote(k.Name)
		fmt.Fprintf(&columns, ", k%d", i+1)
		values.WriteString(", " + q)
		if i > 0 {
			where.WriteString(" AND ")
		}
		where.WriteString(q + " = " + row + "." + Quote(t.columns[i]))
		if k.Collation != "" {
			where.WriteString(" COLLATE " + Quote(k.Collation))
		}
	}
	dossier := "NULL"
	if t.dossier != "" {
		dossier = Quote(t.table) + "." + Quote(t.dossier)
	}
	return fmt.Sprintf("INSERT INTO %s(tab, dossier, mask%s) SELECT %d, %s, -1%s FROM %s WHERE %s",
		journal, columns.String(), t.tab, dossier, values.String(), Quote(t.table), where.String())
}

// siblings returns the statement that journals the other rows here that touch
// the same row as the new one: a till that had no use for the user had none for
// his other attachments either.
func (c *captured) siblings() string {
	var columns, values, where strings.Builder
	for i, k := range c.key {
		fmt.Fprintf(&columns, ", k%d", i+1)
		values.WriteString(", " + Quote(c.Name) + "." + Quote(k.Name))
	}
	for i, name := range c.touch.columns {
		if i > 0 {
			where.WriteString(" AND ")
		}
		fmt.Fprintf(&where, "%s.%s = new.%s", Quote(c.Name), Quote(name), Quote(name))
	}
	dossier := "NULL"
	if c.dossier != "" {
		dossier = Quote(c.Name) + "." + Quote(c.dossier)
	}
	return fmt.Sprintf("INSERT INTO %s(tab, dossier, mask%s) SELECT %d, %s, -1%s FROM %s WHERE %s",
		c.journal, columns.String(), c.tab, dossier, values.String(), Quote(c.Name), where.String())
}

// touchedBy returns the statements for some states of a row; none where the
// table touches nothing.
func (c *captured) touchedBy(rows ...string) (list []string) {
	if c.touch == nil {
		return nil
	}
	for _, row := range rows {
		if list = append(list, c.touch.touched(c.journal, row)); row == "new" {
			list = append(list, c.siblings())
		}
	}
	return list
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
			return errors.New("table " + Quote(t.Name) + " touches " + Quote(t.touch.table) + ", which is not captured") // cannot happen: touch looks
		}
	}
	return nil
}
