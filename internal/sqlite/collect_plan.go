package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A collectRun is one batch of a till, or one unit out of quarantine, on its
// way into the database.
type collectRun struct {
	c                     *Collector
	ctx                   context.Context
	stream, dossier, till string
	at                    manifest.Position // the batch
	uploads               []*database.Upload
	apply                 *applyRun // its statements
	tables                []*collectTable
	ops                   map[*change.Header]*collectOp
	list                  []*collectOp // by number
	stage                 *stage
	terms                 func() *manifest.Tally
	tally, held           *manifest.Tally // of all rows, and of those that go into quarantine
	refused               bool            // a rule refuses some row
	bases                 bool            // there are base rows
	decided               bool            // an operator takes the till's version of what is held
	alarms                []alarm
	judged                []bool                // of rows that both sides change, in their order: to be written
	reason                string                // why the first unit was refused
	dead                  map[int64]*refusedRow // units that ended the transaction
}

// A collectTable is one table of a batch.
type collectTable struct {
	sent    manifest.Table
	number  int
	up      *database.Upload // nil: not taken from tills
	apply   *applyTable      // nil: bad
	bad     string           // why no row of it can be taken
	numbers manifest.Ranges
	base    *collectOp // of the rows as they were before the till changed them

	own, parents [2]change.Value // what stands in the columns of dossier and till, here and in the parent
	linked       bool            // foreign keys see to it that parents are there
	touch        string          // SQL that journals a key for the stream down, "" where nothing is to be
	touchOrder   []int           // the journal's key columns in up.Key
	tab          int64
	touchDossier any
}

// A collectOp is one operation on one table.
type collectOp struct {
	table                 *collectTable
	header                *change.Header
	number                int
	apply                 *applyOp // nil: base, or bad
	bad, alarm            string   // why no row of it can be taken
	dossier, till, count  int      // places in a row, -1: not there
	key, link             []int    // empty: not all there
	sums                  []int
	tally, held           *manifest.TableTally
	lastLink              []byte // of the parent that was found last
	sameSQL, ownSQL       string
	parentSQL, serversSQL string
}

// newRun looks what a batch's tables mean for this database. Terms are the
// totals that count the rows.
func (c *Collector) newRun(ctx context.Context, stream string, at manifest.Position, tables []manifest.Table, terms func() *manifest.Tally) (*collectRun, error) {
	dossier, till, err := c.configured(stream)
	if err != nil {
		return nil, err
	}
	r := &collectRun{c: c, ctx: ctx, stream: stream, dossier: dossier, till: till, at: at,
		ops: map[*change.Header]*collectOp{}, terms: terms, tally: terms(), held: terms()}
	if r.uploads, err = c.capture.uploads(c.t.conn, manifest.StreamDown(dossier)); err != nil {
		return nil, err
	}
	plan := &applyPlan{}
	for i := range tables {
		t := &collectTable{sent: tables[i], number: i, up: database.FindUpload(r.uploads, tables[i].Name)}
		if err := r.plan(t); err != nil {
			return nil, err
		}
		if t.apply != nil {
			t.apply.number = len(plan.tables)
			plan.tables = append(plan.tables, t.apply)
		}
		r.tables = append(r.tables, t)
	}
	r.apply = newApplyRun(c.t, ctx, plan)
	return r, nil
}

// terms returns the totals that the configuration asks for now.
func (c *Collector) terms(stream string) (func() *manifest.Tally, error) {
	dossier, _, err := c.configured(stream)
	if err != nil {
		return nil, err
	}
	list, err := c.capture.uploads(c.t.conn, manifest.StreamDown(dossier))
	if err != nil {
		return nil, err
	}
	var uploads []manifest.Upload
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	return func() *manifest.Tally { return manifest.NewTally(uploads) }, nil
}

func (r *collectRun) close() {
	r.apply.close()
	if r.stage != nil {
		r.stage.close()
	}
}

// plan finds the table, or why its rows cannot be taken.
func (r *collectRun) plan(t *collectTable) error {
	columns := make([]string, len(t.sent.Columns))
	for i, col := range t.sent.Columns {
		columns[i] = col.Name
	}
	switch u := t.up; {
	case u == nil:
		t.bad = fmt.Sprintf("table %s is not among those that dossier %s takes from its tills", database.Quote(t.sent.Name), r.dossier)
	case len(t.sent.Key) != len(u.Key) || slices.ContainsFunc(t.sent.Key, func(k string) bool { return !containsName(u.Key, k) }):
		t.bad = fmt.Sprintf("the till knows the rows of table %s by %q, the server by %q", database.Quote(u.Table), t.sent.Key, u.Key)
	default:
		for _, name := range columns {
			if containsName(u.Config.Exclude, name) {
				t.bad = fmt.Sprintf("column %s of table %s is excluded: no till may write it", database.Quote(name), database.Quote(u.Table))
			}
		}
		for _, name := range slices.Concat([]string{u.Dossier, u.Till, u.Number}, u.Link, u.Sums) {
			if name != "" && !containsName(columns, name) {
				t.bad = fmt.Sprintf("the rows of table %s come without column %s", database.Quote(u.Table), database.Quote(name))
			}
		}
	}
	if t.bad != "" {
		return nil
	}
	var err error
	t.apply, err = r.c.t.planTable(&t.sent)
	var drift *DriftError
	if errors.As(err, &drift) {
		t.bad = drift.what()
		return nil
	}
	if errors.Is(err, manifest.ErrRefused) {
		t.bad = strings.ReplaceAll(err.Error(), "; nothing was applied", "")
		return nil
	}
	if err != nil {
		return err
	}
	t.own = r.own(t.up)
	if t.up.Above != nil {
		t.parents, t.linked = r.own(t.up.Above), r.linked(t.up)
	}
	return r.planTouch(t)
}

// own returns what must stand in a table's columns of dossier and till.
func (r *collectRun) own(u *database.Upload) (own [2]change.Value) {
	if u.Dossier != "" {
		own[0] = stored(u.Config.Dossier, u.Live.Column(u.Dossier).Type)
	}
	if u.Till != "" {
		own[1] = stored(r.till, u.Live.Column(u.Till).Type)
	}
	return own
}

// linked reports whether the database itself sees to it that a row's parent
// is there, and that it is of the same till.
func (r *collectRun) linked(u *database.Upload) bool {
	if r.c.t.o.IgnoreForeignKeys {
		return false
	}
	for _, own := range [][2]string{{u.Above.Dossier, u.Dossier}, {u.Above.Till, u.Till}} {
		if i := slices.Index(u.Above.Key, own[0]); own[0] != "" && (i < 0 || u.Link[i] != own[1]) {
			return false
		}
	}
	return u.Linked()
}

// planTouch finds how a key of the table is journaled for the stream down.
func (r *collectRun) planTouch(t *collectTable) error {
	if t.up.Mode != manifest.Both {
		return nil
	}
	if !r.c.capture.carries(t.up.Table) {
		return nil // it does not go down
	}
	w, err := r.c.capture.table(r.c.t.conn, t.up.Table)
	if err != nil {
		return err
	}
	names, params := "", ""
	for n, k := range w.key {
		place := slices.Index(t.up.Key, k.Name)
		if place < 0 {
			return fmt.Errorf("table %s is known by %q on its way down and by %q on its way up; give it one key", database.Quote(t.up.Table), w.names(), t.up.Key)
		}
		t.touchOrder = append(t.touchOrder, place)
		names += fmt.Sprintf(", k%d", n+1)
		params += fmt.Sprintf(", ?%d", n+3)
	}
	if w.dossier != "" {
		t.touchDossier = t.own[0]
	}
	err = r.c.t.conn.Query("SELECT tab FROM caisseauto_table WHERE name=?1", func(s *sqlite3.Stmt) error { t.tab = s.Int(0); return nil }, w.Name)
	t.touch = "INSERT INTO " + r.c.capture.journal() + "(tab, dossier" + names + ") VALUES(?1, ?2" + params + ")"
	return err
}

// carries reports whether some stream takes the table down.
func (c *Capture) carries(table string) bool {
	for _, config := range c.streams {
		if slices.ContainsFunc(config.tables, func(t tableConfig) bool { return sameName(t.Name, table) }) {
			return true
		}
	}
	return false
}

// op finds what a header means, once for all members alike.
func (r *collectRun) op(h *change.Header) (*collectOp, error) {
	if op := r.ops[h]; op != nil {
		return op, nil
	}
	op := &collectOp{header: h, number: len(r.list), dossier: -1, till: -1, count: -1}
	for _, t := range r.tables {
		if t.sent.Name == h.Table {
			op.table = t
		}
	}
	if op.table == nil {
		return nil, refuseTable(h.Table, "has rows in the batch, but does not stand in its manifest")
	}
	op.tally, op.held = r.tally.Table(h.Table), r.held.Table(h.Table)
	op.bad, op.alarm = op.table.refuses(h)
	if up := op.table.up; up != nil {
		op.places(up)
	}
	if op.bad == "" {
		written := h
		if h.Op == change.Base { // it is not written, but compared as a row that is
			written = &change.Header{Table: h.Table, Op: change.Upsert, Columns: h.Columns}
		}
		var err error
		if op.apply, err = r.apply.op(written); errors.Is(err, manifest.ErrRefused) {
			op.bad = err.Error()
		} else if err != nil {
			return nil, err
		}
		op.sqls()
	}
	for _, column := range op.tally.Columns() {
		if h.Op == change.Upsert {
			op.sums = append(op.sums, slices.IndexFunc(h.Columns, func(c string) bool { return sameName(c, column) }))
		}
	}
	r.ops[h] = op
	r.list = append(r.list, op)
	return op, nil
}

// refuses says why no row under a header can be taken, "" when some can, and
// what kind of alarm it is worth.
func (t *collectTable) refuses(h *change.Header) (why, alarm string) {
	whole := len(h.Columns) == len(t.sent.Columns)
	for i := 0; whole && i < len(h.Columns); i++ {
		whole = h.Columns[i] == t.sent.Columns[i].Name
	}
	switch {
	case t.bad != "":
		return t.bad, ""
	case h.Op == change.Delete && t.up.Mode == manifest.Append:
		return fmt.Sprintf("a row of table %s was deleted on the till, and rows of it are only ever added", database.Quote(t.up.Table)), AlarmDeleted
	case h.Op == change.Patch || h.Op == change.Base && t.up.Mode != manifest.Both:
		return fmt.Sprintf("table %s is of mode %s, which has no %s", database.Quote(t.up.Table), t.up.Mode, h.Op), ""
	case h.Op != change.Delete && !whole:
		return fmt.Sprintf("a row of table %s has other columns than its manifest says", database.Quote(t.up.Table)), ""
	}
	return "", ""
}

// places finds the columns that the rules look at.
func (op *collectOp) places(u *database.Upload) {
	at := func(name string) int {
		return slices.IndexFunc(op.header.Columns, func(c string) bool { return name != "" && sameName(c, name) })
	}
	all := func(names []string) (list []int) {
		for _, name := range names {
			if list = append(list, at(name)); list[len(list)-1] < 0 {
				return nil
			}
		}
		return list
	}
	op.dossier, op.till = at(u.Dossier), at(u.Till)
	op.key, op.link = all(u.Key), all(u.Link)
	if op.header.Op == change.Upsert {
		op.count = at(u.Number)
	}
}
