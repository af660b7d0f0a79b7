package sqlite

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A plan is what has to be done until the database captures what it should.
type plan struct {
	statements []string
	tables     []*carried       // of the stream that was asked for
	generation map[int64]int64  // by table number, as it will be
	own        map[string]bool  // our tables that are there
	known      map[string]known // what caisseauto_table says, by folded name
	actual     []actualTrigger  // our triggers that are there
	top        int64            // highest table number given
	capture    *Capture
}

type known struct {
	tab, generation    int64
	declared, triggers string
}

type actualTrigger struct{ name, table, sql string }

func (p *plan) add(format string, args ...any) {
	p.statements = append(p.statements, fmt.Sprintf(format, args...))
}

func (p *plan) run(db *sqlite3.Conn) error {
	for _, sql := range p.statements {
		if err := db.Exec(sql); err != nil {
			return err
		}
	}
	return nil
}

// plan compares the database with what it should have for one stream, or with
// stream "" for all of them.
func (c *Capture) plan(db *sqlite3.Conn, stream string) (*plan, error) {
	p := &plan{capture: c, generation: map[int64]int64{}, own: map[string]bool{}, known: map[string]known{}}
	if err := p.load(db); err != nil {
		return nil, err
	}
	tables, streams, err := c.scope(db, p, stream)
	if err != nil {
		return nil, err
	}
	journalLost := p.own["caisseauto_table"] && !p.own[foldName(c.journalName())]
	for _, t := range c.ownTables() {
		if !p.own[t.name] {
			p.statements = append(p.statements, t.sql)
		}
	}
	if err := p.keyColumns(db, tables); err != nil {
		return nil, err
	}
	if c.outbox != "" {
		// Rows that are journaled below come after the place where the
		// stream begins.
		if err := p.outbox(db, journalLost); err != nil {
			return nil, err
		}
		if err := p.streams(db, streams); err != nil {
			return nil, err
		}
		streams = nil
	}
	if err := p.number(tables); err != nil {
		return nil, err
	}
	configured := map[int64]bool{}
	for _, t := range tables {
		p.table(t, journalLost)
		configured[t.tab] = true
	}
	if stream == "" || c.outbox != "" {
		p.dropStale(configured)
	}
	return p, p.streams(db, streams)
}

// scope returns the tables and the streams that a plan is about.
func (c *Capture) scope(db *sqlite3.Conn, p *plan, stream string) ([]*captured, []string, error) {
	if stream == "" {
		tables, err := c.all(db)
		return tables, slices.Sorted(maps.Keys(c.streams)), err
	}
	carried, err := c.stream(db, stream)
	p.tables = carried
	var tables []*captured
	for _, t := range carried {
		tables = append(tables, t.captured)
	}
	if err == nil {
		tables, err = c.scopeTouched(db, tables)
	}
	return tables, []string{stream}, err
}

// load reads what is there.
func (p *plan) load(db *sqlite3.Conn) error {
	err := db.Query(`SELECT type, name, tbl_name, sql FROM sqlite_schema
		WHERE (name LIKE 'caisseauto\_%' ESCAPE '\' OR name = ?1 COLLATE NOCASE) AND type IN ('table', 'trigger') ORDER BY name`, func(s *sqlite3.Stmt) error {
		if s.Text(0) == "table" {
			p.own[foldName(s.Text(1))] = true
		} else {
			p.actual = append(p.actual, actualTrigger{s.Text(1), s.Text(2), s.Text(3)})
		}
		return nil
	}, p.capture.journalName())
	if err != nil || !p.own["caisseauto_table"] {
		return err
	}
	return db.Query(`SELECT tab, name, generation, declared, triggers FROM caisseauto_table`, func(s *sqlite3.Stmt) error {
		p.known[foldName(s.Text(1))] = known{s.Int(0), s.Int(2), s.Text(3), s.Text(4)}
		p.top = max(p.top, s.Int(0))
		return nil
	})
}

// keyColumns widens the journal to the widest key.
func (p *plan) keyColumns(db *sqlite3.Conn, tables []*captured) error {
	have := 1
	if p.own[foldName(p.capture.journalName())] {
		have = 0
		err := db.Query(`SELECT 1 FROM pragma_table_info(?1) WHERE name GLOB 'k[0-9]*'`,
			func(*sqlite3.Stmt) error { have++; return nil }, p.capture.journalName())
		if err != nil {
			return err
		}
	}
	for _, t := range tables {
		for ; have < len(t.key); have++ {
			p.add("ALTER TABLE %s ADD COLUMN k%d", p.capture.journal(), have+1)
		}
	}
	return nil
}

// table plans one table's triggers. When they are not the ones that we wrote
// last, or the table is declared otherwise than it was then, changes may have
// gone by them: the table's generation rises, and every stream that carries
// it ships it whole once.
func (p *plan) table(t *captured, journalLost bool) {
	k, ok := p.known[foldName(t.Name)]
	k.tab = t.tab
	expected := t.triggers()
	actual := p.triggersOf(t)
	inPlace := slices.Equal(digests(expected, t.Name), actual)
	if ok && inPlace && !journalLost {
		p.generation[t.tab] = k.generation
		return
	}
	declared := database.Fingerprint(fmt.Sprintf("%#v %#v", t.Columns, t.Unique))
	if t.up != nil {
		declared = t.up.declared(t)
	}
	lost := journalLost || database.Fingerprint(actual...) != k.triggers || declared != k.declared
	if lost {
		k.generation++
	}
	p.generation[t.tab] = k.generation
	if !inPlace {
		for _, name := range p.names(t.triggerPrefix()) {
			p.add("DROP TRIGGER %s", database.Quote(name))
		}
		for _, trigger := range expected {
			p.statements = append(p.statements, trigger.sql)
		}
	}
	k.declared, k.triggers = declared, database.Fingerprint(digests(expected, t.Name)...)
	p.record(t, k, ok, lost)
	if t.up != nil {
		p.rejournal(t, !ok, lost)
	}
}

// record plans what our tables say of a table's new triggers.
func (p *plan) record(t *captured, k known, renewed, lost bool) {
	if !renewed {
		p.add("INSERT INTO caisseauto_table(tab, name, generation, declared, triggers) VALUES(%d, %s, %d, '%s', '%s')",
			t.tab, quoteText(t.Name), k.generation, k.declared, k.triggers)
		return
	}
	p.add("UPDATE caisseauto_table SET name=%s, generation=%d, declared='%s', triggers='%s' WHERE tab=%d",
		quoteText(t.Name), k.generation, k.declared, k.triggers, t.tab)
	if t.up == nil && p.own["caisseauto_journal"] {
		// The bits of masks written before may mean other columns now.
		p.add("UPDATE caisseauto_journal SET mask=-1 WHERE tab=%d AND mask>=0", t.tab)
	}
	what := "the triggers of table " + t.Name + " were renewed"
	if lost && t.up != nil {
		what += "; changes may have gone by them, so all rows of this till go up once more"
	} else if lost {
		what += "; changes may have gone by them, so every stream ships the table whole once"
	}
	p.add("INSERT INTO caisseauto_event(at, what) VALUES(strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ','now'), %s)", quoteText(what))
}

// names returns our triggers that are there and begin so. A table that was
// renamed has taken its triggers with it.
func (p *plan) names(prefix string) []string {
	var list []string
	for _, a := range p.actual {
		if strings.HasPrefix(a.name, prefix) {
			list = append(list, a.name)
		}
	}
	return list
}

// triggersOf returns what is there for t, in the form of digests.
func (p *plan) triggersOf(t *captured) []string {
	var list []string
	for _, a := range p.actual {
		if strings.HasPrefix(a.name, t.triggerPrefix()) {
			list = append(list, a.name+" "+a.table+" "+a.sql)
		}
	}
	slices.Sort(list)
	return list
}

// digests returns triggers in a form that compares with triggersOf.
func digests(list []trigger, table string) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.name+" "+table+" "+t.sql)
	}
	slices.Sort(out)
	return out
}

// dropStale plans the end of the triggers of tables that no stream carries
// any more. Without them recorded, a table that comes back is a table whose
// triggers were lost: every stream ships it whole.
func (p *plan) dropStale(configured map[int64]bool) {
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		k := p.known[name]
		if configured[k.tab] {
			continue
		}
		for _, trigger := range p.names(fmt.Sprintf("caisseauto_%d_", k.tab)) {
			p.add("DROP TRIGGER %s", database.Quote(trigger))
		}
		if k.triggers != "" {
			p.add("UPDATE caisseauto_table SET triggers='' WHERE tab=%d", k.tab)
		}
	}
}

// streams plans the rows of streams that have none: from here on the journal
// is kept for them.
func (p *plan) streams(db *sqlite3.Conn, streams []string) error {
	there := map[string]bool{}
	if p.own["caisseauto_stream"] {
		err := db.Query(`SELECT stream FROM caisseauto_stream`, func(s *sqlite3.Stmt) error { there[s.Text(0)] = true; return nil })
		if err != nil {
			return err
		}
	}
	for _, stream := range streams {
		if !there[stream] {
			p.add(`INSERT INTO caisseauto_stream(stream, cursor) SELECT %s, '{"seq":' || %s || '}'`, quoteText(stream), p.capture.newest())
		}
	}
	return nil
}
