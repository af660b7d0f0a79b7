package collect

import (
	"context"
	"fmt"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Run is one batch of a till, or one unit out of quarantine, on its way into
// the database. What is exported is for the engine to read; it counts in Res
// what became of the rows.
type Run struct {
	Stream, Dossier, Till string
	At                    manifest.Position // the batch
	Uploads               []*database.Upload
	Tables                []*Table
	Ops                   []*Op // by Number
	Decided               bool  // an operator takes the till's version of what is held
	Res                   change.Applied

	c           *Collector
	ctx         context.Context
	batch       Batch
	ops         map[*change.Header]*Op
	terms       func() *manifest.Tally
	tally, held *manifest.Tally // of all rows, and of those that go into quarantine
	refused     bool            // a rule refuses some row
	alarms      []alarm
	reason      string // why the first unit was refused
}

// Context returns the context of the call that the run is a part of.
func (r *Run) Context() context.Context { return r.ctx }

// A Table is one table of a batch.
type Table struct {
	Sent    manifest.Table
	Number  int
	Upload  *database.Upload // nil: not taken from tills
	Bad     string           // why no row of it can be taken
	Base    *Op              // of the rows as they were before the till changed them, nil: there are none
	Own     [2]change.Value  // what stands in the columns of dossier and till
	Parents [2]change.Value  // the same in the parent

	numbers manifest.Ranges
}

// An Op is one operation on one table, with one list of columns.
type Op struct {
	Table     *Table
	Header    *change.Header
	Number    int
	Key, Link []int // places in a row of the upload's Key and Link; empty: not all there

	bad, alarm           string // why no row of it can be taken
	dossier, till, count int    // places in a row, -1: not there
	sums                 []int
	tally, held          *manifest.TableTally
}

// Bad reports why no row of it can be taken, "" when some can.
func (op *Op) Bad() string { return op.bad }

// newRun looks what a batch's tables mean for this database. Terms are the
// totals that count the rows. The caller closes its batch.
func (c *Collector) newRun(ctx context.Context, stream string, at manifest.Position, tables []manifest.Table, terms func() *manifest.Tally) (*Run, error) {
	dossier, till, err := c.configured(stream)
	if err != nil {
		return nil, err
	}
	r := &Run{c: c, ctx: ctx, Stream: stream, Dossier: dossier, Till: till, At: at,
		ops: map[*change.Header]*Op{}, terms: terms, tally: terms(), held: terms()}
	if r.Uploads, err = c.db.Uploads(ctx, manifest.StreamDown(dossier)); err != nil {
		return nil, err
	}
	r.batch = c.db.Batch(r)
	for i := range tables {
		t := &Table{Sent: tables[i], Number: i, Upload: database.FindUpload(r.Uploads, tables[i].Name)}
		if err := r.plan(t); err != nil {
			r.batch.Close()
			return nil, err
		}
		r.Tables = append(r.Tables, t)
	}
	return r, nil
}

// terms returns the totals that the configuration asks for now.
func (c *Collector) terms(ctx context.Context, stream string) (func() *manifest.Tally, error) {
	dossier, _, err := c.configured(stream)
	if err != nil {
		return nil, err
	}
	list, err := c.db.Uploads(ctx, manifest.StreamDown(dossier))
	if err != nil {
		return nil, err
	}
	var uploads []manifest.Upload
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	return func() *manifest.Tally { return manifest.NewTally(uploads) }, nil
}

// plan finds out why the rows of a table cannot be taken, if so.
func (r *Run) plan(t *Table) (err error) {
	columns := make([]string, len(t.Sent.Columns))
	for i, col := range t.Sent.Columns {
		columns[i] = col.Name
	}
	switch u := t.Upload; {
	case u == nil:
		t.Bad = fmt.Sprintf("table %s is not among those that dossier %s takes from its tills", database.Quote(t.Sent.Name), r.Dossier)
	case len(t.Sent.Key) != len(u.Key) || slices.ContainsFunc(t.Sent.Key, func(k string) bool { return !u.Live.Has(u.Key, k) }):
		t.Bad = fmt.Sprintf("the till knows the rows of table %s by %q, the server by %q", database.Quote(u.Table), t.Sent.Key, u.Key)
	default:
		for _, name := range columns {
			if u.Live.Has(u.Config.Exclude, name) {
				t.Bad = fmt.Sprintf("column %s of table %s is excluded: no till may write it", database.Quote(name), database.Quote(u.Table))
			}
		}
		for _, name := range slices.Concat([]string{u.Dossier, u.Till, u.Number}, u.Link, u.Sums) {
			if name != "" && !u.Live.Has(columns, name) {
				t.Bad = fmt.Sprintf("the rows of table %s come without column %s", database.Quote(u.Table), database.Quote(name))
			}
		}
	}
	if t.Bad != "" {
		return nil
	}
	t.Own = r.own(t.Upload)
	if t.Upload.Above != nil {
		t.Parents = r.own(t.Upload.Above)
	}
	t.Bad, err = r.batch.Table(t)
	return err
}

// own returns what must stand in a table's columns of dossier and till.
func (r *Run) own(u *database.Upload) (own [2]change.Value) {
	if u.Dossier != "" {
		own[0] = r.c.db.Stored(u.Live.Column(u.Dossier), u.Config.Dossier)
	}
	if u.Till != "" {
		own[1] = r.c.db.Stored(u.Live.Column(u.Till), r.Till)
	}
	return own
}

// op finds what a header means, once for all members alike.
func (r *Run) op(h *change.Header) (*Op, error) {
	if op := r.ops[h]; op != nil {
		return op, nil
	}
	op := &Op{Header: h, Number: len(r.Ops), dossier: -1, till: -1, count: -1}
	for _, t := range r.Tables {
		if t.Sent.Name == h.Table {
			op.Table = t
		}
	}
	if op.Table == nil {
		return nil, fmt.Errorf("table %s: %w: has rows in the batch, but does not stand in its manifest; nothing was applied", database.Quote(h.Table), manifest.ErrRefused)
	}
	op.tally, op.held = r.tally.Table(h.Table), r.held.Table(h.Table)
	op.bad, op.alarm = op.Table.refuses(h)
	if op.Table.Upload != nil {
		op.places(op.Table.Upload)
	}
	for _, column := range op.tally.Columns() {
		if h.Op == change.Upsert {
			op.sums = append(op.sums, op.place(column))
		}
	}
	r.Ops = append(r.Ops, op)
	if op.bad == "" {
		var err error
		if op.bad, err = r.batch.Op(op); err != nil {
			return nil, err
		}
	}
	r.ops[h] = op
	return op, nil
}

// refuses says why no row under a header can be taken, "" when some can, and
// what kind of alarm it is worth.
func (t *Table) refuses(h *change.Header) (why, alarm string) {
	whole := len(h.Columns) == len(t.Sent.Columns)
	for i := 0; whole && i < len(h.Columns); i++ {
		whole = h.Columns[i] == t.Sent.Columns[i].Name
	}
	switch u := t.Upload; {
	case t.Bad != "":
		return t.Bad, ""
	case h.Op == change.Delete && u.Mode == manifest.Append:
		return fmt.Sprintf("a row of table %s was deleted on the till, and rows of it are only ever added", database.Quote(u.Table)), AlarmDeleted
	case h.Op == change.Patch || h.Op == change.Base && u.Mode != manifest.Both:
		return fmt.Sprintf("table %s is of mode %s, which has no %s", database.Quote(u.Table), u.Mode, h.Op), ""
	case h.Op != change.Delete && !whole:
		return fmt.Sprintf("a row of table %s has other columns than its manifest says", database.Quote(u.Table)), ""
	}
	return "", ""
}

// place returns the place of a column in a row, -1 when it is not there.
func (op *Op) place(name string) int {
	return slices.IndexFunc(op.Header.Columns, func(c string) bool {
		return name != "" && (c == name || op.Table.Upload != nil && op.Table.Upload.Live.Same(c, name))
	})
}

// places finds the columns that the rules look at.
func (op *Op) places(u *database.Upload) {
	all := func(names []string) (list []int) {
		for _, name := range names {
			if list = append(list, op.place(name)); list[len(list)-1] < 0 {
				return nil
			}
		}
		return list
	}
	op.dossier, op.till = op.place(u.Dossier), op.place(u.Till)
	op.Key, op.Link = all(u.Key), all(u.Link)
	if op.Header.Op == change.Upsert {
		op.count = op.place(u.Number)
	}
}
