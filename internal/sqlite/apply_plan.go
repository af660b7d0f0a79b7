package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// An applyPlan is what a manifest means for this database.
type applyPlan struct {
	tables []*applyTable // in the manifest's order, parents first
	rows   int64         // in the batch
	bytes  int64         // of its members
}

// An applyTable is the till's table beside the manifest's.
type applyTable struct {
	*Table
	sent    manifest.Table
	rows    int64         // of it in the batch
	key     []IndexColumn // the manifest's key; Collation empty for the rowid
	rivals  []Index       // every other unique index; a rowid alias without a name
	cold    map[string]bool
	trigger bool   // the POS has triggers on it
	touched bool   // a trigger or a foreign key's action may write to it while others are written
	or      string // " OR ABORT" where the table itself says ON CONFLICT something
	number  int    // its place in the plan
	policy  DriftPolicy
	drifts  []Drift // between the manifest's columns and the table's, ignored
}

// table returns the plan of a table, nil when the batch does not touch it.
func (p *applyPlan) table(name string) *applyTable {
	for _, t := range p.tables {
		if sameName(t.Name, name) {
			return t
		}
	}
	return nil
}

// plan reads the schema of every table of a manifest and refuses what does
// not fit.
func (t *Till) plan(m *manifest.Manifest) (*applyPlan, error) {
	p := &applyPlan{}
	var drifted error // of all tables at once: they are mended together
	for i := range m.Tables {
		sent := &m.Tables[i]
		tab, err := t.planTable(sent)
		var drift *DriftError
		if errors.As(err, &drift) {
			drifted = errors.Join(drifted, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.table(tab.Name) != nil {
			return nil, refuseTable(sent.Name, "stands in the manifest twice")
		}
		tab.number = i
		p.tables = append(p.tables, tab)
	}
	if drifted != nil {
		return nil, drifted
	}
	for _, mem := range m.Members {
		tab := p.table(mem.Table)
		if tab == nil {
			return nil, refuseTable(mem.Table, "has rows in the batch, but does not stand in its manifest")
		}
		tab.rows += mem.Rows
		p.rows += mem.Rows
		p.bytes += mem.Size
	}
	if err := t.planHeld(p); err != nil {
		return nil, err
	}
	return p, t.findTouched(p)
}

// refuseTable makes the error for a table that does not fit.
func refuseTable(table, format string, args ...any) error {
	return fmt.Errorf("table %s: %w: %s; nothing was applied", database.Quote(table), manifest.ErrRefused, fmt.Sprintf(format, args...))
}

func (t *Till) planTable(sent *manifest.Table) (*applyTable, error) {
	if err := t.allowed(sent.Name); err != nil {
		return nil, err
	}
	have, err := ReadTable(t.conn, sent.Name)
	if errors.Is(err, database.ErrNoTable) {
		n := newTable{name: sent.Name, columns: sent.Columns, key: sent.Key}
		return nil, refuseTable(sent.Name, "%s does not have it; make it with: %s; or let caisseauto init till --create-schema make all that are missing", t.conn.Path(), n.sql())
	}
	if err != nil {
		return nil, err
	}
	tab := &applyTable{Table: have, sent: *sent, policy: t.o.Drift}
	if err := t.columns(tab); err != nil {
		return nil, err
	}
	if err := tab.findKey(); err != nil {
		return nil, err
	}
	tab.findCold()
	return tab, t.readQuirks(tab)
}

// allowed refuses tables that no batch may touch. A batch that could write
// the ledger could say of itself what it likes.
func (t *Till) allowed(name string) error {
	if err := t.reserved(name); err != nil {
		return err
	}
	if t.o.Tables != nil && !containsName(t.o.Tables, name) {
		return refuseTable(name, "it is not among the tables that this till takes (%s); add it to the configuration, or take it out of the server's", strings.Join(t.o.Tables, ", "))
	}
	return nil
}

// reserved refuses SQLite's own tables and ours.
func (t *Till) reserved(name string) error {
	low := foldName(name)
	outbox := t.o.Outbox != nil && sameName(name, t.o.Outbox.table())
	if strings.HasPrefix(low, "sqlite_") || strings.HasPrefix(low, "caisseauto_") || outbox {
		return refuseTable(name, "it is not for batches to write")
	}
	return nil
}

func containsName(list []string, name string) bool {
	for _, n := range list {
		if sameName(n, name) {
			return true
		}
	}
	return false
}

// sends reports whether the batch brings the column.
func (t *applyTable) sends(name string) bool {
	for _, c := range t.sent.Columns {
		if sameName(c.Name, name) {
			return true
		}
	}
	return false
}

// findKey finds the manifest's key among the till's unique constraints; all
// others are rivals: they can refuse a row whose key is new.
func (t *applyTable) findKey() error {
	for i, k := range t.sent.Key {
		c := t.Column(k)
		if c == nil || c.Generated || !t.sends(k) || containsName(t.sent.Key[:i], k) {
			return refuseTable(t.Name, "%s is in the manifest's key, but is not a plain column of the table and of the manifest", database.Quote(k))
		}
	}
	if alias := t.RowidKey(); alias != "" {
		if len(t.sent.Key) == 1 && sameName(alias, t.sent.Key[0]) {
			t.key = []IndexColumn{{Name: alias}}
		} else {
			t.rivals = append(t.rivals, Index{Columns: []IndexColumn{{Name: alias}}})
		}
	}
	for _, x := range t.Unique {
		if t.key == nil && x.Plain() && sameNames(x.Columns, t.sent.Key) {
			for _, k := range t.sent.Key {
				for _, c := range x.Columns {
					if sameName(c.Name, k) {
						t.key = append(t.key, c)
					}
				}
			}
			continue
		}
		t.rivals = append(t.rivals, x)
	}
	if t.key == nil {
		return refuseTable(t.Name, "rows of the batch are known by (%s), which is neither the table's primary key nor a unique index without a condition; make one with: CREATE UNIQUE INDEX %s ON %s(%s);",
			database.QuoteAll("", t.sent.Key), database.Quote(t.Name+"_key"), database.Quote(t.Name), database.QuoteAll("", t.sent.Key))
	}
	return nil
}

// sameNames reports whether the columns of an index are those of key, in any
// order.
func sameNames(columns []IndexColumn, key []string) bool {
	if len(columns) != len(key) {
		return false
	}
	for _, c := range columns {
		if !containsName(key, c.Name) {
			return false
		}
	}
	return true
}

// isKey reports whether a column is in the key.
func (t *applyTable) isKey(name string) bool { return containsName(t.sent.Key, name) }

// findCold marks the columns that are dear to set, because SQLite then
// rewrites an index or looks for parents, equal value or not: an update
// leaves them out where they do not change.
func (t *applyTable) findCold() {
	t.cold = map[string]bool{}
	for _, list := range [][]Index{t.Unique, t.Indexes} {
		for _, x := range list {
			for _, c := range x.Columns {
				t.cold[foldName(c.Name)] = true
			}
		}
	}
	for _, f := range t.ForeignKeys {
		for _, c := range f.From {
			t.cold[foldName(c)] = true
		}
	}
	for _, r := range t.rivals {
		for _, c := range r.Columns {
			t.cold[foldName(c.Name)] = true
		}
	}
	// A key column that compares without regard to case, or to the storage
	// class, can differ although it is equal: 'a' is to become 'A'.
	for _, k := range t.key {
		delete(t.cold, foldName(k.Name))
	}
}

// softKey reports whether a key column can change and still be the same key.
func (t *applyTable) softKey(i int) bool {
	k := t.key[i]
	if k.Collation == "" { // the rowid
		return false
	}
	return !strings.EqualFold(k.Collation, "BINARY") || t.keeps(k.Name)
}

// readQuirks looks for what the POS has declared that changes how a statement
// of ours behaves.
func (t *Till) readQuirks(tab *applyTable) error {
	return t.conn.Query(`SELECT type, coalesce(sql,'') FROM sqlite_schema WHERE tbl_name=?1 COLLATE NOCASE AND type IN ('table','trigger') AND `+notOurs,
		func(s *sqlite3.Stmt) error {
			if s.Text(0) == "trigger" {
				tab.trigger = true
				return nil
			}
			// UNIQUE ON CONFLICT REPLACE would delete rows behind our back.
			// An OR clause overrules it; but it also overrules those in the
			// POS's triggers, so it is said only where it is needed.
			list := tokens(s.Text(1))
			for i := 1; i < len(list); i++ {
				if strings.EqualFold(list[i-1].text, "ON") && strings.EqualFold(list[i].text, "CONFLICT") {
					tab.or = " OR ABORT"
				}
			}
			return nil
		}, tab.Name)
}

// notOurs leaves out our own triggers: all they do is to append to a journal.
const notOurs = `NOT (type='trigger' AND name LIKE 'caisseauto\_%' ESCAPE '\')`

// findTouched marks the tables that change by themselves while the batch is
// written: a row of theirs that equals the live one now may not do so then.
func (t *Till) findTouched(p *applyPlan) error {
	for _, child := range p.tables {
		for _, f := range child.ForeignKeys {
			parent := p.table(f.Table)
			acts := !strings.EqualFold(f.OnUpdate, "NO ACTION") && !strings.EqualFold(f.OnUpdate, "RESTRICT")
			if parent != nil && acts && !parent.fixed(f.To) {
				child.touched = true
			}
		}
	}
	type trigger struct {
		table string
		body  []token
		done  bool
	}
	var list []*trigger
	err := t.conn.Query("SELECT tbl_name, sql FROM sqlite_schema WHERE type='trigger' AND "+notOurs, func(s *sqlite3.Stmt) error {
		x := &trigger{table: foldName(s.Text(0)), body: tokens(s.Text(1))}
		for len(x.body) > 0 && !strings.EqualFold(x.body[0].text, "BEGIN") {
			x.body = x.body[1:]
		}
		list = append(list, x)
		return nil
	})
	written := map[string]bool{}
	for _, tab := range p.tables {
		written[foldName(tab.Name)] = true
	}
	for again := true; again; {
		again = false
		for _, x := range list {
			if x.done || !written[x.table] {
				continue
			}
			x.done, again = true, true
			for _, tok := range x.body { // any name in it: too many do no harm
				written[foldName(tok.name)] = true
				if tab := p.table(tok.name); tab != nil {
					tab.touched = true
				}
			}
		}
	}
	return err
}

// fixed reports whether a batch never changes these columns of a row, because
// rows are known by them; none are the primary key.
func (t *applyTable) fixed(columns []string) bool {
	if len(columns) == 0 {
		columns = t.Key
	}
	for _, c := range columns {
		i := slices.IndexFunc(t.key, func(k IndexColumn) bool { return sameName(k.Name, c) })
		if i < 0 || t.softKey(i) {
			return false
		}
	}
	return len(columns) > 0
}

// keeps reports whether a column stores every value in its own storage class,
// so that 1 and 1.0, which compare equal, are two different contents.
func (t *applyTable) keeps(column string) bool {
	return affinityOf(t.Column(column).Type) == affinityBlob
}
