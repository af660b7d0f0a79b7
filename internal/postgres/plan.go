package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A plan is what has to be done until the database captures what it should.
type plan struct {
	statements []statement
	tables     []*carried       // of the stream that was asked for
	generation map[int64]int64  // by table number; of no use while there are statements
	own        map[string]bool  // our tables that are there
	known      map[string]known // what caisseauto_table says, by the table's name as SQL
	functions  map[string]string
	unable     map[string]bool  // functions whose owner may not write to the journal
	triggers   []trigger        // ours that are there
	prints     map[int64]string // digest of them, by table number
	streams    map[string]bool  // that have a row
	top        int64            // highest table number given
	schema     bool             // our schema is there
	role       string           // ours
	heads      bool             // caisseauto_stream has what heads need
	catalog    *catalog
}

type known struct {
	tab, generation    int64
	declared, triggers string
}

// A trigger is one of ours as pg_trigger has it.
type trigger struct {
	tab      int64
	relation string // as SQL
	name     string
	good     bool // it is what we would make, and fires always
	clone    bool // of a partitioned table's
	first    bool // its function was not replaced since it was made
}

// A statement is one step of a plan, and whose rights it takes; of one on a
// table of the ERP's the table, as SQL.
type statement struct {
	sql   string
	who   owner
	table string
}

type owner int

const (
	ours   owner = iota // of our schema
	erps                // of the ERP's tables
	master              // whoever may make a schema
)

func (p *plan) add(who owner, format string, args ...any) {
	p.statements = append(p.statements, statement{sql: fmt.Sprintf(format, args...), who: who})
}

// on adds a statement on a table of the ERP's.
func (p *plan) on(table, format string, args ...any) {
	p.statements = append(p.statements, statement{fmt.Sprintf(format, args...), erps, table})
}

// plan compares the database with what it should have for one stream, or with
// stream "" for all of them.
func (c *Capture) plan(ctx context.Context, q querier, path []string, stream string) (*plan, error) {
	cat, err := c.catalog(ctx, q, path)
	if err != nil {
		return nil, err
	}
	p := &plan{catalog: cat, generation: map[int64]int64{}, own: map[string]bool{}, known: map[string]known{},
		functions: map[string]string{}, unable: map[string]bool{}, prints: map[int64]string{}, streams: map[string]bool{}}
	if err := p.load(ctx, q); err != nil {
		return nil, err
	}
	tables, streams, err := cat.scope(p, stream)
	if err != nil {
		return nil, err
	}
	journalLost := p.own["caisseauto_table"] && !p.own["caisseauto_journal"]
	p.ownTables()
	if err := p.number(tables); err != nil {
		return nil, err
	}
	configured := map[int64]bool{}
	for _, t := range tables {
		p.table(t, journalLost)
		configured[t.tab] = true
	}
	if stream == "" {
		p.dropStale(configured)
	}
	for _, s := range streams {
		if !p.streams[s] {
			// From here on the journal is kept for it.
			p.add(ours, `INSERT INTO caisseauto.caisseauto_stream(stream, cursor) VALUES (%s, json_build_object('snapshot', pg_current_snapshot()::text, 'place', (%s))::text)`,
				literal(s), placeSQL)
		}
	}
	return p, nil
}

// scope returns the tables and the streams that a plan is about.
func (c *catalog) scope(p *plan, stream string) ([]*captured, []string, error) {
	if stream == "" {
		tables, err := c.all()
		return tables, c.capture.sorted(), err
	}
	carried, err := c.stream(stream)
	p.tables = carried
	var tables []*captured
	for _, t := range carried {
		tables = append(tables, t.captured)
	}
	if err == nil {
		tables, err = c.scopeTouched(tables)
	}
	return tables, []string{stream}, err
}

// table plans one table's function and triggers. When they are not the ones
// that we wrote last, untouched since, or the table is declared otherwise than
// it was then, changes may have gone by them: the table's generation rises, and
// every stream that carries it ships it whole once.
func (p *plan) table(t *captured, journalLost bool) {
	k, ok := p.known[t.sql()]
	k.tab = t.tab
	before := len(p.statements)
	p.function(t)
	p.triggersOf(t)
	inPlace := len(p.statements) == before
	declared := t.declared()
	lost := ok && (journalLost || k.triggers != p.prints[t.tab] || k.declared != declared)
	p.generation[t.tab] = k.generation
	if !ok || !inPlace || lost {
		p.record(t, declared, ok, lost)
	}
}

// function plans the table's trigger function.
func (p *plan) function(t *captured) {
	if p.unable[t.function()] {
		p.add(erps, "ALTER FUNCTION caisseauto.%s() OWNER TO %s", t.function(), quote(p.role))
	}
	config, _ := t.functionConfig()
	if p.functions[t.function()] != signature(t.body(), true, config) {
		p.add(ours, "%s", t.functionSQL())
	}
}

// triggersOf plans the triggers of a table and of its partitions. Row triggers
// of a partitioned table are cloned by the server, but may be switched off one
// by one; TRUNCATE of a partition fires its own trigger alone.
func (p *plan) triggersOf(t *captured) {
	at := map[string]trigger{}
	for _, x := range p.triggers {
		switch {
		case x.tab != t.tab:
		case x.relation == t.sql() || slices.Contains(t.Partitions, x.relation):
			at[x.relation+" "+x.name] = x
		case !x.clone: // the table had this name once, or was a partition
			p.on(x.relation, "DROP TRIGGER %s ON %s", x.name, x.relation)
		}
	}
	make := func(relation, name, event string) {
		x, there := at[relation+" "+name]
		if there && x.good {
			return
		}
		if there && !x.clone {
			p.on(relation, "DROP TRIGGER %s ON %s", name, relation)
		}
		if !x.clone {
			p.on(relation, "CREATE TRIGGER %s AFTER %s EXECUTE FUNCTION caisseauto.%s()", name, fmt.Sprintf(event, relation), t.function())
		}
		p.on(relation, "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", relation, name)
	}
	const row, truncate = "INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW", "TRUNCATE ON %s FOR EACH STATEMENT"
	before := len(p.statements)
	make(t.sql(), t.rowTrigger(), row)
	made := len(p.statements) > before
	make(t.sql(), t.truncateTrigger(), truncate)
	for _, relation := range t.Partitions {
		if x := at[relation+" "+t.rowTrigger()]; made || x.clone && !x.good {
			p.on(relation, "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", relation, t.rowTrigger())
		}
		make(relation, t.truncateTrigger(), truncate)
	}
}

// nextGeneration is a number that no table's generation had before, also when
// caisseauto_table was lost.
const nextGeneration = "pg_current_xact_id()::text::bigint"

// record plans what our tables say of a table's new triggers.
func (p *plan) record(t *captured, declared string, renewed, lost bool) {
	if !renewed {
		p.add(ours, "INSERT INTO caisseauto.caisseauto_table(tab, name, generation, declared, triggers) VALUES (%d, %s, %s, '%s', (%s))",
			t.tab, literal(t.sql()), nextGeneration, declared, printSQL(t.tab))
		return
	}
	generation := "generation"
	if lost {
		generation = nextGeneration
	}
	p.add(ours, "UPDATE caisseauto.caisseauto_table SET generation = %s, declared = '%s', triggers = (%s) WHERE tab = %d",
		generation, declared, printSQL(t.tab), t.tab)
	// The bits of masks written before may mean other columns now.
	p.add(ours, "UPDATE caisseauto.caisseauto_journal SET mask = -1 WHERE tab = %d AND mask >= 0", t.tab)
	what := "the triggers of table " + t.sql() + " were renewed"
	if lost {
		what += "; changes may have gone by them, so every stream ships the table whole once"
		if t.touch != nil { // what they touched is not known either
			p.add(ours, "INSERT INTO caisseauto.caisseauto_journal(tab) VALUES (%d)", t.touch.tab)
		}
	}
	p.add(ours, "INSERT INTO caisseauto.caisseauto_event(at, what) VALUES (%s, %s)", nowSQL, literal(what))
}

// nowSQL is the time as our tables have it, with a second's precision.
const nowSQL = `to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`

// dropStale plans the end of the triggers of tables that no stream carries
// any more. Without them recorded, a table that comes back is a table whose
// triggers were lost: every stream ships it whole.
func (p *plan) dropStale(configured map[int64]bool) {
	for _, x := range p.triggers {
		if !configured[x.tab] && !x.clone {
			p.on(x.relation, "DROP TRIGGER %s ON %s", x.name, x.relation)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		if k := p.known[name]; !configured[k.tab] && k.triggers != "" {
			p.add(ours, "UPDATE caisseauto.caisseauto_table SET triggers = '' WHERE tab = %d", k.tab)
		}
	}
}

// locks returns the statements that lock the ERP's tables on which there is
// something to do. Only the first may wait: who waits while holding a lock can
// be one of two in a deadlock, and the server may choose the ERP's transaction
// to end. What a DROP takes is taken at once, for the same reason.
func (p *plan) locks() (list []string) {
	exclusive := map[string]bool{}
	var tables []string
	for _, s := range p.statements {
		if s.table == "" {
			continue
		}
		if !slices.Contains(tables, s.table) {
			tables = append(tables, s.table)
		}
		exclusive[s.table] = exclusive[s.table] || strings.HasPrefix(s.sql, "DROP")
	}
	slices.Sort(tables)
	for i, t := range tables {
		mode := "SHARE ROW EXCLUSIVE"
		if exclusive[t] {
			mode = "ACCESS EXCLUSIVE"
		}
		lock := "LOCK TABLE " + t + " IN " + mode + " MODE"
		if i > 0 {
			lock += " NOWAIT"
		}
		list = append(list, lock)
	}
	return list
}

// replaced reports whether the table's function was written anew while the
// trigger stayed: who was at work with the old one then, nobody waited for.
func (p *plan) replaced(t *captured) bool {
	return slices.ContainsFunc(p.triggers, func(x trigger) bool {
		return x.tab == t.tab && x.relation == t.sql() && x.name == t.rowTrigger() && !x.first
	})
}

// problem says what is not as it should be, for a message: the first table of
// the ERP's on which there is something to do.
func (p *plan) problem() string {
	for _, s := range p.statements {
		if s.table != "" {
			return "those of table " + s.table
		}
	}
	return "the journal's own tables"
}
