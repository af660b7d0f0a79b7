package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Capture is what all streams of one ERP database carry together. They
// share a journal, and one function with its triggers for each table; so every
// program that works on the database must be given the same streams.
type Capture struct {
	streams map[string]database.SourceConfig
}

// NewCapture returns the Capture of the streams, by their names
// ("ACME/down"). Nothing is read or checked yet.
func NewCapture(streams map[string]database.SourceConfig) *Capture {
	return &Capture{streams: maps.Clone(streams)}
}

// maskBits is the number of columns that a mask tells apart: with 62 of them
// no mask is negative.
const maskBits = 62

// captured is one table as its triggers see it, whatever stream reads it.
type captured struct {
	*Table
	tab     int64     // its number in the journal
	key     []*Column // the columns that name a row
	equals  []string  // how the key's index compares each
	dossier string    // the column that says whose row it is, "" when the rows are everybody's
	masks   bool      // updates are journaled with the changed columns
	tracked []string  // the columns that count as changes: bit 0, 1, …
	touch   *touch    // nil: a change here touches no other row
	touched bool      // a change of another table touches rows here
}

// carried is one table as one stream ships it.
type carried struct {
	*captured
	columns []*Column
	value   string   // what the dossier column holds in the stream's rows
	patches bool     // ship changes as patches
	touches *carried // the table that a change here touches, where the stream carries it
}

// names returns the names of the key's columns.
func (c *captured) names() []string {
	names := make([]string, len(c.key))
	for i, k := range c.key {
		names[i] = k.Name
	}
	return names
}

// A catalog is what the streams' tables look like in one transaction.
type catalog struct {
	capture *Capture
	tables  map[tableRef]*Table
}

// catalog reads every table that is configured.
func (c *Capture) catalog(ctx context.Context, q querier, path []string) (*catalog, error) {
	seen := map[tableRef]bool{}
	for _, config := range c.streams {
		for _, t := range config.Tables {
			seen[tableRef{t.Schema, t.Name}] = true
		}
		for _, u := range config.Uploads {
			seen[tableRef{u.Schema, u.Name}] = true
		}
	}
	tables, err := readTables(ctx, q, path, slices.Collect(maps.Keys(seen)))
	return &catalog{c, tables}, err
}

// sorted returns the names of the streams.
func (c *Capture) sorted() []string { return slices.Sorted(maps.Keys(c.streams)) }

// stream returns the tables of one stream, parents first.
func (c *catalog) stream(stream string) ([]*carried, error) {
	config, ok := c.capture.streams[stream]
	if !ok {
		return nil, fmt.Errorf("stream %s is not configured; the configuration has %q", stream, c.capture.sorted())
	}
	if len(config.Tables)+len(config.Uploads) == 0 {
		return nil, fmt.Errorf("stream %s carries no table; give it one in the configuration", stream)
	}
	byName := map[string]*carried{} // by the name that the tills' SQLite folds
	var list []*carried
	for _, t := range config.Tables {
		w, err := c.table(tableRef{t.Schema, t.Name})
		var r *carried
		if err == nil {
			if r, err = w.carry(t); err == nil && byName[strings.ToLower(w.Name)] != nil {
				err = errors.New("is there twice, or differs from another table in the case of its letters or in its schema alone, which a till's SQLite does not tell apart; leave one of them out")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s, table %s: %w", stream, tableRef{t.Schema, t.Name}, err)
		}
		byName[strings.ToLower(w.Name)] = r
		list = append(list, r)
	}
	for _, r := range list {
		if r.touch != nil {
			if i := slices.IndexFunc(list, func(o *carried) bool { return o.OID == r.touch.table.OID }); i >= 0 {
				r.touches = list[i]
			}
		}
	}
	return database.ParentsFirst(list, (*carried).order, (*carried).parents), nil
}

func (r *carried) order() string { return r.Schema + "." + r.Name }

func (r *carried) parents() (list []string) {
	for _, f := range r.ForeignKeys {
		list = append(list, f.Schema+"."+f.Table)
	}
	return list
}

// all returns every captured table of every stream once, by name.
func (c *catalog) all() ([]*captured, error) {
	byName := map[string]*captured{}
	for _, stream := range c.capture.sorted() {
		list, err := c.stream(stream)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			byName[t.sql()] = t.captured
		}
	}
	var list []*captured
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list, nil
}

// find returns a table that is there.
func (c *catalog) find(ref tableRef) (*Table, error) {
	t := c.tables[ref]
	if t == nil {
		return nil, fmt.Errorf("%w in a schema of the search_path; correct its name in the configuration, write schema = \"…\" beside it, or leave it out", database.ErrNoTable)
	}
	return t, t.usable()
}

// table brings together what all streams want of one table.
func (c *catalog) table(ref tableRef) (*captured, error) {
	w, err := c.bare(ref)
	if err != nil {
		return nil, err
	}
	return w, c.touches(w)
}

// bare is table without what its rows touch.
func (c *catalog) bare(ref tableRef) (*captured, error) {
	t, err := c.find(ref)
	if err != nil {
		return nil, err
	}
	w := &captured{Table: t}
	shipped := map[string]bool{}
	first := true
	for _, stream := range c.capture.sorted() {
		for _, config := range c.capture.streams[stream].Tables {
			w.touched = w.touched || config.Touches == t.Name && c.same(config, config.Touches, t)
			if c.tables[tableRef{config.Schema, config.Name}] != t {
				continue
			}
			if err := w.join(config, first); err != nil {
				return nil, err
			}
			first = false
			for _, col := range t.Columns {
				if !slices.Contains(config.Exclude, col.Name) {
					shipped[col.Name] = true
				}
			}
		}
	}
	if !w.masks {
		return w, nil
	}
	for _, col := range t.Columns {
		if shipped[col.Name] && !col.Generated && !slices.Contains(w.names(), col.Name) {
			w.tracked = append(w.tracked, col.Name)
		}
	}
	return w, nil
}

// same reports whether the other table that a configuration names is t: one
// of the same stream.
func (c *catalog) same(config database.TableConfig, name string, t *Table) bool {
	for _, stream := range c.capture.streams {
		if !slices.ContainsFunc(stream.Tables, func(o database.TableConfig) bool { return o.Name == config.Name && o.Schema == config.Schema }) {
			continue
		}
		for _, o := range stream.Tables {
			if o.Name == name && c.tables[tableRef{o.Schema, o.Name}] == t {
				return true
			}
		}
	}
	return false
}

// join adds what one stream wants of the table, and refuses what does not
// agree with the others.
func (w *captured) join(config database.TableConfig, first bool) error {
	x, err := w.keyOf(config.Key)
	if err != nil {
		return err
	}
	if config.DossierColumn != "" {
		if w.Column(config.DossierColumn) == nil {
			return fmt.Errorf("dossier_column %s does not exist; the table has %q", quote(config.DossierColumn), w.columnNames())
		}
		if config.Dossier == "" {
			return fmt.Errorf("dossier_column %s is set, but no dossier to look for in it", quote(config.DossierColumn))
		}
	}
	if !first && (!slices.Equal(x.Columns, w.names()) || config.DossierColumn != w.dossier) {
		return fmt.Errorf("two dossiers disagree on its key (%q and %q) or its dossier_column (%q and %q); both share one journal, give both the same",
			w.names(), x.Columns, w.dossier, config.DossierColumn)
	}
	w.key, w.equals, w.dossier = nil, x.Equals, config.DossierColumn
	for _, name := range x.Columns {
		w.key = append(w.key, w.Column(name))
	}
	w.masks = w.masks || config.Columns
	return nil
}

// carry returns the table as one stream ships it.
func (w *captured) carry(config database.TableConfig) (*carried, error) {
	for _, name := range config.Exclude {
		if w.Column(name) == nil {
			return nil, fmt.Errorf("exclude names column %s, which does not exist; the table has %q", quote(name), w.columnNames())
		}
		if slices.Contains(w.names(), name) {
			return nil, fmt.Errorf("exclude names column %s, which is part of the key; without it no row could be found again", quote(name))
		}
	}
	r := &carried{captured: w, patches: config.Columns}
	folded := map[string]string{}
	for i := range w.Columns {
		col := &w.Columns[i]
		if col.Generated || slices.Contains(config.Exclude, col.Name) {
			continue
		}
		if other, ok := folded[strings.ToLower(col.Name)]; ok {
			return nil, fmt.Errorf("its columns %s and %s differ in the case of their letters alone, which a till's SQLite does not tell apart; exclude one of them", quote(other), quote(col.Name))
		}
		folded[strings.ToLower(col.Name)] = col.Name
		r.columns = append(r.columns, col)
	}
	if w.dossier != "" {
		r.value = config.Dossier
	}
	return r, nil
}

// described returns the columns as a manifest has them.
func (r *carried) described() []manifest.Column {
	list := make([]manifest.Column, len(r.columns))
	for i, c := range r.columns {
		list[i] = manifest.Column{Name: c.Name, Type: sentType(c.wire, c.Type)}
	}
	return list
}

// shape returns the digest that stands in a mark: of what is shipped, and
// where it matters of what the bits of a mask mean.
func (r *carried) shape() string {
	if r.patches {
		return database.Fingerprint(fmt.Sprintf("%q %q %q", r.described(), r.names(), r.tracked), r.sql(), r.dossier, r.value)
	}
	return database.Fingerprint(fmt.Sprintf("%q %q", r.described(), r.names()), r.sql(), r.dossier, r.value)
}
