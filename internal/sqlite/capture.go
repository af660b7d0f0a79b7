package sqlite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A tableConfig is what a stream takes of one table, and in a till's outbox
// what goes up of it.
type tableConfig struct {
	database.TableConfig
	up *upTable
}

// A streamConfig is what one stream carries.
type streamConfig struct {
	tables  []tableConfig
	uploads []database.UploadConfig
}

// A Capture is what all streams of one ERP database carry together. They
// share a journal, and one set of triggers on each table; so every program
// that works on the database must be given the same streams.
type Capture struct {
	streams map[string]streamConfig
	outbox  string // the journal of a till's outbox; empty: the ERP's
}

// NewCapture returns the Capture of the streams, by their names
// ("ACME/down"). Nothing is read or checked yet.
func NewCapture(streams map[string]database.SourceConfig) *Capture {
	c := &Capture{streams: map[string]streamConfig{}}
	for name, s := range streams {
		own := streamConfig{uploads: slices.Clone(s.Uploads)}
		for _, t := range s.Tables {
			own.tables = append(own.tables, tableConfig{TableConfig: t})
		}
		c.streams[name] = own
	}
	return c
}

// maskBits is the number of columns that a mask tells apart: with 62 of them
// no mask is negative, and a sum of bits never overflows.
const maskBits = 62

// captured is one table as its triggers see it, whatever stream reads it.
type captured struct {
	*Table
	tab     int64         // its number in the journal
	key     []IndexColumn // the columns of the key, as its index compares them
	keyName string        // of the index that keeps the key unique, "" for the rowid
	dossier string        // the column that says whose row it is, "" when the rows are everybody's
	masks   bool          // updates are journaled with the changed columns
	tracked []string      // the columns that count as changes: bit 0, 1, …
	journal string        // name of the journal, an SQL identifier
	up      *upTable      // in a till's outbox, else nil
	touch   *touch        // nil: a change here touches no other row
	touched bool          // a change of another table touches rows here
}

// carried is one table as one stream ships it.
type carried struct {
	*captured
	columns []manifest.Column
	value   change.Value // what the dossier column holds in the stream's rows
	patches bool         // ship changes as patches
	touches *carried     // the table that a change here touches, where the stream carries it
}

// journal returns the journal's name as an SQL identifier.
func (c *Capture) journal() string {
	if c.outbox != "" {
		return database.Quote(c.outbox)
	}
	return "caisseauto_journal"
}

// journalName returns the journal's name as it is.
func (c *Capture) journalName() string {
	if c.outbox != "" {
		return c.outbox
	}
	return "caisseauto_journal"
}

// names returns the names of the key's columns.
func (c *captured) names() []string {
	names := make([]string, len(c.key))
	for i, k := range c.key {
		names[i] = k.Name
	}
	return names
}

// stream returns the tables of one stream, parents first.
func (c *Capture) stream(db *sqlite3.Conn, stream string) ([]*carried, error) {
	config, ok := c.streams[stream]
	if !ok {
		return nil, fmt.Errorf("stream %s is not configured; the configuration has %q", stream, c.sorted())
	}
	if len(config.tables)+len(config.uploads) == 0 && c.outbox == "" {
		return nil, fmt.Errorf("stream %s carries no table; give it one in the configuration", stream)
	}
	byName := make(map[string]*carried, len(config.tables))
	tables := make([]*Table, 0, len(config.tables))
	for _, t := range config.tables {
		w, err := c.table(db, t.Name)
		if err == nil {
			var r *carried
			if r, err = w.carry(t); err == nil && byName[foldName(w.Name)] != nil {
				err = errors.New("is there twice; leave one of them out")
			}
			byName[foldName(w.Name)] = r
			tables = append(tables, w.Table)
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s, table %s: %w", stream, database.Quote(t.Name), err)
		}
	}
	var list []*carried
	for _, t := range parentsFirst(tables) {
		r := byName[foldName(t.Name)]
		if r.touch != nil {
			r.touches = byName[foldName(r.touch.table)]
		}
		list = append(list, r)
	}
	return list, nil
}

// all returns every captured table of every stream once, by name.
func (c *Capture) all(db *sqlite3.Conn) ([]*captured, error) {
	byName := map[string]*captured{}
	for _, stream := range c.sorted() {
		list, err := c.stream(db, stream)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			byName[foldName(t.Name)] = t.captured
		}
	}
	var list []*captured
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list, nil
}

// sorted returns the names of the streams.
func (c *Capture) sorted() []string { return slices.Sorted(maps.Keys(c.streams)) }

// table brings together what all streams want of one table.
func (c *Capture) table(db *sqlite3.Conn, name string) (*captured, error) {
	w, err := c.bare(db, name)
	if err != nil {
		return nil, err
	}
	return w, c.touches(db, w)
}

// bare is table without what its rows touch.
func (c *Capture) bare(db *sqlite3.Conn, name string) (*captured, error) {
	t, err := ReadTable(db, name)
	if errors.Is(err, database.ErrNoTable) {
		return nil, fmt.Errorf("%w; correct its name in the configuration or leave it out", err)
	}
	if err != nil {
		return nil, err
	}
	if sameName(t.Name, "new") || sameName(t.Name, "old") {
		return nil, errors.New("a trigger cannot tell a table of that name from the row it runs for; rename the table or leave it out")
	}
	w := &captured{Table: t, journal: c.journal()}
	shipped := map[string]bool{}
	first := true
	for _, stream := range c.sorted() {
		for _, config := range c.streams[stream].tables {
			w.touched = w.touched || sameName(config.Touches, t.Name)
			if !sameName(config.Name, t.Name) {
				continue
			}
			if err := w.join(config, first); err != nil {
				return nil, err
			}
			first = false
			for _, col := range t.Columns {
				if !containsName(config.Exclude, col.Name) {
					shipped[col.Name] = true
				}
			}
		}
	}
	if !w.masks {
		return w, nil
	}
	for _, col := range t.Columns {
		if shipped[col.Name] && !col.Generated && !containsName(w.names(), col.Name) {
			w.tracked = append(w.tracked, col.Name)
		}
	}
	return w, nil
}

// join adds what one stream wants of the table, and refuses what does not
// agree with the others.
func (w *captured) join(config tableConfig, first bool) error {
	key, name, err := findKey(w.Table, config.Key)
	if err != nil {
		return err
	}
	dossier := ""
	if config.DossierColumn != "" {
		col := w.Column(config.DossierColumn)
		if col == nil {
			return fmt.Errorf("dossier_column %s does not exist; the table has %q", database.Quote(config.DossierColumn), columnNames(w.Table))
		}
		if config.Dossier == "" {
			return fmt.Errorf("dossier_column %s is set, but no dossier to look for in it", database.Quote(config.DossierColumn))
		}
		dossier = col.Name
	}
	if !first && (!slices.Equal(key, w.key) || dossier != w.dossier) {
		return fmt.Errorf("two dossiers disagree on its key (%q and %q) or its dossier_column (%q and %q); both share one journal, give both the same",
			columnsOf(w.key), columnsOf(key), w.dossier, dossier)
	}
	w.key, w.keyName, w.dossier = key, name, dossier
	w.masks = w.masks || config.Columns
	if config.up != nil {
		w.up = config.up
		return w.up.resolve(w)
	}
	return nil
}

// carry returns the table as one stream ships it.
func (w *captured) carry(config tableConfig) (*carried, error) {
	for _, name := range config.Exclude {
		if w.Column(name) == nil && config.up != nil {
			continue // the server's column, which a till need not have
		}
		if w.Column(name) == nil {
			return nil, fmt.Errorf("exclude names column %s, which does not exist; the table has %q", database.Quote(name), columnNames(w.Table))
		}
		if containsName(w.names(), name) {
			return nil, fmt.Errorf("exclude names column %s, which is part of the key; without it no row could be found again", database.Quote(name))
		}
	}
	r := &carried{captured: w, patches: config.Columns}
	for _, col := range w.Columns {
		if !col.Generated && !containsName(config.Exclude, col.Name) {
			r.columns = append(r.columns, manifest.Column{Name: col.Name, Type: col.Type})
		}
	}
	if w.dossier != "" {
		r.value = stored(config.Dossier, w.Column(w.dossier).Type)
	}
	return r, nil
}

// stored returns text as a column of the declared type stores it: a column
// of a numeric affinity turns "12" into 12
// (https://www.sqlite.org/datatype3.html#type_affinity).
func stored(text, declared string) change.Value {
	if a := affinityOf(declared); a != affinityText && a != affinityBlob {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return change.Value{Kind: change.Integer, Int: n}
		}
	}
	return change.Value{Kind: change.Text, Bytes: []byte(text)}
}
