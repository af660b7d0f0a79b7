package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A ticket is one entry, not one for each of its rows: a row that is inserted
// while the newest entry of the journal is that of the insert of the very row
// that it is a part of leaves no entry of its own, and goes up because that
// row does. So:
//
//   - A seal closes the newest entry before it takes its snapshot (mask 2 for
//     1). A part that comes later then leaves an entry of its own; one that
//     came earlier is in the snapshot, in the same batch as the entry. The
//     newest entry up to a cursor is never open.
//   - A part with entries that begin after the insert of its whole, in one
//     window of the journal, was not there before.
//   - Triggers that leave out entries are replaced by others only with all
//     rows journaled anew: see declared.

// A part is how the rows of a table belong to those of another.
type part struct {
	tab   int64         // of the other table, in the journal
	link  []string      // columns here that hold the other's key, in its order
	index []IndexColumn // the same as an index has them that begins with them
}

// parts finds the tables of p whose rows leave out entries. All else is
// journaled row by row: where parts are not found by an index, or where a key
// that is gone does not say what it was a part of.
func (p *plan) parts() {
	tabs, top := map[string]int64{}, p.top
	for _, t := range p.tables { // as plan.table will number them
		name := foldName(t.Name)
		if k, ok := p.known[name]; ok {
			tabs[name] = k.tab
		} else {
			top++
			tabs[name] = top
		}
	}
	for _, t := range p.tables {
		t.up.part = nil
		for _, whole := range p.tables {
			if t != whole && sameName(whole.Name, t.up.Parent) {
				t.up.part = newPart(t.captured, whole.captured, tabs[foldName(whole.Name)])
			}
		}
	}
}

func newPart(t, whole *captured, tab int64) *part {
	link := t.up.Link
	if t.up.Mode != manifest.Append || whole.up.Mode != manifest.Append || len(link) != len(whole.key) {
		return nil
	}
	s := &part{tab: tab}
	for i, name := range link {
		col := t.Column(name)
		// What both columns hold is then the same by value when it is equal.
		same := affinityOf(col.Type) == affinityOf(whole.Column(whole.key[i].Name).Type)
		if !same || !containsName(t.names(), name) || containsName(s.link, name) {
			return nil
		}
		s.link = append(s.link, col.Name)
	}
	for _, x := range slices.Concat(t.Unique, t.Indexes) {
		if s.index = x.begins(s.link); s.index != nil {
			return s
		}
	}
	return nil
}

// begins returns columns as the index has them that begins with them in any
// order; nil when it does not.
func (x *Index) begins(columns []string) []IndexColumn {
	if !x.Plain() || len(x.Columns) < len(columns) {
		return nil
	}
	var list []IndexColumn
	for _, name := range columns {
		i := slices.IndexFunc(x.Columns[:len(columns)], func(c IndexColumn) bool { return sameName(c.Name, name) })
		if i < 0 {
			return nil
		}
		list = append(list, x.Columns[i])
	}
	return list
}

// apart returns the condition that a new row of a table with parts needs an
// entry of its own.
func (c *captured) apart() string {
	s := c.up.part
	terms := []string{fmt.Sprintf("tab = %d AND mask = 1", s.tab)}
	for i, name := range s.link {
		terms = append(terms, fmt.Sprintf("k%d = new.%s COLLATE BINARY", i+1, database.Quote(name)))
	}
	for _, k := range c.key {
		// A key with NULL is for refuseNullKeys to find.
		if col := c.Column(k.Name); !col.NotNull && !c.WithoutRowid && !containsName(s.link, k.Name) {
			terms = append(terms, "new."+database.Quote(k.Name)+" IS NOT NULL")
		}
	}
	return "(SELECT " + strings.Join(terms, " AND ") + " FROM " + c.journal + " ORDER BY seq DESC LIMIT 1) IS NOT 1"
}

// entriesSQL returns the query of the entries of a table in the window, with
// those that its rows left out: m is 1 for a row that was not there before.
func (d *delta) entriesSQL() string {
	s := d.up.part
	if s == nil {
		return "SELECT min(mask, 1) AS m, " + d.keys + ", seq FROM " + d.journal + " WHERE " + inRange
	}
	var own, there, whole []string
	for i, name := range s.link {
		k := fmt.Sprintf("k%d", i+1)
		whole = append(whole, k)
		place := slices.Index(d.names(), name)
		own = append(own, fmt.Sprintf("w.%s = j.k%d COLLATE BINARY", k, place+1))
		there = append(there, fmt.Sprintf("r.%s = w.%s COLLATE %s", database.Quote(name), k, database.Quote(s.index[i].Collation)))
		if s.index[i].Collation != "BINARY" {
			there = append(there, fmt.Sprintf("r.%s = w.%s COLLATE BINARY", database.Quote(name), k))
		}
	}
	wholes := fmt.Sprintf("(SELECT %[1]s, min(seq) AS since FROM %[2]s WHERE seq > ?1 AND seq <= ?2 AND tab = %[3]d AND mask > 0 GROUP BY %[1]s)",
		strings.Join(whole, ", "), d.journal, s.tab)
	return "SELECT CASE WHEN w.since < j.seq THEN 1 ELSE min(j.mask, 1) END AS m, j." + strings.ReplaceAll(d.keys, ", ", ", j.") +
		", j.seq AS seq FROM (SELECT * FROM " + d.journal + " WHERE " + inRange + ") AS j LEFT JOIN " + wholes + " AS w ON " + strings.Join(own, " AND ") +
		" UNION ALL SELECT 1, " + database.QuoteAll("r.", d.names()) + ", w.since FROM " + wholes + " AS w CROSS JOIN " + database.Quote(d.Name) + " AS r ON " +
		strings.Join(there, " AND ") + " WHERE " + d.up.mine("r")
}

// changed reports whether the table may have rows to send, when the tables
// with entries are known.
func (t *extracted) changed(tables map[int64]bool) bool {
	return tables[t.tab] || t.up.part != nil && tables[t.up.part.tab]
}

// open returns the condition that an entry lets parts leave out theirs while
// it is the newest.
func (p *plan) open() string {
	tabs := []int64{}
	for _, t := range p.tables {
		if t.up.part != nil {
			tabs = append(tabs, t.up.part.tab)
		}
	}
	return "mask = 1 AND tab IN (" + join(tabs) + ")"
}

// newestOpen reports whether the newest entry up to one is open.
func (p *plan) newestOpen(db *sqlite3.Conn, to int64) (open bool, err error) {
	err = db.Query("SELECT "+p.open()+" FROM "+p.capture.journal()+" WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1",
		func(s *sqlite3.Stmt) error { open = s.Int(0) == 1; return nil }, to)
	return open, err
}

// closed runs work in a snapshot whose newest entry is closed. Between the one
// and the other the POS may write: work then reports that there is an open one
// once more.
func (b *Outbox) closed(ctx context.Context, open string, work func(*sqlite3.Conn) (again bool, err error)) error {
	db, closeDB, err := b.s.open(ctx, sqlite3.ReadWrite)
	if err != nil {
		return b.s.explain(ctx, err)
	}
	defer closeDB()
	j := database.Quote(b.o.table())
	const attempts = 100
	for range attempts {
		err := db.Exec("PRAGMA synchronous=FULL; BEGIN IMMEDIATE; UPDATE " + j + " SET mask = 2 WHERE seq = (SELECT max(seq) FROM " + j + ") AND " + open + "; COMMIT")
		if err != nil {
			return b.s.explain(ctx, err)
		}
		if b.gap != nil {
			b.gap()
		}
		if err = b.s.begin(db); err != nil {
			return b.s.explain(ctx, err)
		}
		again, err := work(db)
		if err != nil || !again {
			return b.s.explain(ctx, err)
		}
		if err := rollback(db); err != nil {
			return b.s.explain(ctx, err)
		}
	}
	return fmt.Errorf("%s: %w: tickets are written without a pause, so that no moment was found to seal them; nothing was sealed, run it again", b.s.path, database.ErrBusy)
}
