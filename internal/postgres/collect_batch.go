package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A collectBatch takes the rows of one batch in, in sets. They are sent into
// temporary tables before the till's row is locked, in the same transaction,
// so that nobody has to clean up; then a few statements judge and write all of
// them. When the database refuses something, which it does for a whole
// statement, the units are halved until the culprits are found: as often as
// there are powers of two in a batch, and not once for each row.
//
// It implements collect.Batch.
type collectBatch struct {
	d   *collecting
	ctx context.Context
	run *collect.Run

	tables map[int]*collectTable // by number
	byOp   map[int]*shape        // by number of the operation
	shapes []*shape
	raw    rawRows
	seq    int64
	runs   []stretch // which rows stand where, in their order
	open   bool      // the transaction
	units  unitList
	parked bool // rows make way for each other

	scratch []byte
	cursors int
}

// A stretch is rows, one after the other, that are in one temporary table.
type stretch struct {
	s        *shape // nil: raw
	from, to int64
}

// Batch implements collect.Driver.
func (d *collecting) Batch(r *collect.Run) collect.Batch {
	return &collectBatch{d: d, ctx: r.Context(), run: r, tables: map[int]*collectTable{}, byOp: map[int]*shape{}}
}

// Close implements collect.Batch.
func (b *collectBatch) Close() {
	if b.open {
		b.d.rollback()
		b.open = false
	}
}

// staged is the place in the transaction at which all rows are there and
// nothing is locked.
const staged = "caisseauto_staged"

// Read implements collect.Batch.
func (b *collectBatch) Read(read func() error) error {
	if err := b.begin(); err != nil {
		return err
	}
	err := read()
	if err == nil {
		err = b.flushAll()
	}
	if err == nil {
		err = b.resolve()
	}
	if err == nil {
		err = b.findWaves()
	}
	if err == nil {
		_, err = b.d.run(b.ctx, "SAVEPOINT "+staged)
	}
	if err != nil {
		b.Close()
	}
	return err
}

// begin opens the batch's transaction.
func (b *collectBatch) begin() error {
	if err := b.d.begin(b.ctx); err != nil {
		return err
	}
	b.open = true
	_, err := b.d.run(b.ctx, "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL random_page_cost = 1.1; "+
		"CREATE TEMPORARY TABLE IF NOT EXISTS caisseauto_raw(seq bigint, unit bigint, own bigint, op integer, data bytea) ON COMMIT DELETE ROWS; "+
		"CREATE TEMPORARY TABLE IF NOT EXISTS caisseauto_unit(unit bigint PRIMARY KEY, ord integer UNIQUE, state integer DEFAULT 0) ON COMMIT DELETE ROWS; "+
		"CREATE TEMPORARY TABLE IF NOT EXISTS caisseauto_judged(shape integer, seq bigint, act text) ON COMMIT DELETE ROWS")
	return err
}

// Table implements collect.Batch.
func (b *collectBatch) Table(t *collect.Table) (bad string, err error) {
	u := t.Upload
	live, err := b.d.catalog.find(tableRef{u.Config.Schema, u.Config.Name})
	if err != nil {
		return "", err
	}
	own := &collectTable{Table: live, sent: t, waves: 1}
	if bad = own.lacks(); bad != "" {
		return bad, nil
	}
	x, err := live.keyOf(u.Config.Key)
	if err != nil {
		return "", err
	}
	own.equals, own.prompt = x.Equals, x.Immediate
	if bad, err = b.d.empty(b.ctx, own); bad != "" || err != nil {
		return bad, err
	}
	if u.Above != nil {
		if err := b.findAbove(own); err != nil {
			return "", err
		}
	}
	own.findRivals(x)
	if err := b.d.loadTypes(b.ctx, live); err != nil {
		return "", explain(b.ctx, b.d.where, err)
	}
	b.tables[t.Number] = own
	return "", b.planTouch(own)
}

// lacks says which column the table has not got that is sent.
func (t *collectTable) lacks() string {
	seen := map[string]bool{}
	for _, c := range t.sent.Sent.Columns {
		if t.Column(c.Name) == nil {
			return fmt.Sprintf("table %s has no column %s, which the till declares as %q", quote(t.Name), quote(c.Name), c.Type)
		}
		if seen[c.Name] {
			return fmt.Sprintf("the rows of table %s have column %s twice", quote(t.Name), quote(c.Name))
		}
		seen[c.Name] = true
	}
	return ""
}

// empty says which column would be left empty that must not be, and refuses a
// table that this role may not write.
func (d *collecting) empty(ctx context.Context, t *collectTable) (bad string, err error) {
	var sent []string
	for _, c := range t.sent.Sent.Columns {
		sent = append(sent, c.Name)
	}
	rights := "INSERT"
	if t.sent.Upload.Mode != manifest.Append {
		rights = "INSERT, UPDATE, DELETE"
	}
	var may bool
	var column *string
	err = d.s.QueryRow(ctx, `SELECT (SELECT a.attname::text FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
			WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR y.typnotnull) AND NOT a.atthasdef
			AND a.attidentity = '' AND y.typdefault IS NULL AND a.attname <> ALL ($2::text[]) ORDER BY a.attnum LIMIT 1),
		has_table_privilege($1::oid, 'SELECT') AND (SELECT bool_and(has_table_privilege($1::oid, x)) FROM unnest(string_to_array($3, ', ')) AS x)`,
		t.OID, sent, rights).Scan(&column, &may)
	switch {
	case err != nil:
		return "", explain(ctx, d.where, err)
	case !may:
		return "", fmt.Errorf("%s: %w: this role needs SELECT, %s on %s; nothing was changed; let the owner of the tables, or a superuser, run what this prints: caisseauto init server --print-sql",
			d.where, database.ErrDenied, rights, t.sql())
	case column != nil:
		return fmt.Sprintf("column %s of table %s takes no NULL and has no default, and the till's rows come without it", quote(*column), quote(t.Name)), nil
	}
	return "", nil
}

// findAbove finds the table of the parents, and whether the database itself
// sees to it that a row's parent is there, and that it is of the same till.
func (b *collectBatch) findAbove(t *collectTable) (err error) {
	u := t.sent.Upload
	if t.above, err = b.d.catalog.find(tableRef{u.Above.Config.Schema, u.Above.Config.Name}); err != nil {
		return err
	}
	x, err := t.above.keyOf(u.Above.Config.Key)
	if err != nil {
		return err
	}
	t.parent = x.Equals
	t.linked = u.Linked()
	for _, own := range [][2]string{{u.Above.Dossier, u.Dossier}, {u.Above.Till, u.Till}} {
		if i := slices.Index(u.Above.Key, own[0]); own[0] != "" && (i < 0 || u.Link[i] != own[1]) {
			t.linked = false
		}
	}
	return b.loadAbove(t)
}

func (b *collectBatch) loadAbove(t *collectTable) error {
	return explain(b.ctx, b.d.where, b.d.loadTypes(b.ctx, t.above))
}

// findRivals finds for each other unique index a column that can be emptied
// while rows change places.
func (t *collectTable) findRivals(key *Index) {
	for _, x := range t.Unique {
		if x.Name == key.Name {
			continue
		}
		for _, name := range x.Columns {
			if c := t.Column(name); !c.NotNull && !c.Generated && !slices.Contains(key.Columns, name) {
				t.rivals = append(t.rivals, name)
				break
			}
		}
	}
}

// Op implements collect.Batch.
func (b *collectBatch) Op(op *collect.Op) (bad string, err error) {
	if op.Header.Op != change.Base && len(op.Key) == 0 {
		return fmt.Sprintf("the rows of table %s come without their key", database.Quote(op.Table.Upload.Table)), nil
	}
	t := b.tables[op.Table.Number]
	name := func(h *change.Header) string { return string(h.Op) + "\x00" + strings.Join(h.Columns, "\x00") }
	for _, s := range b.shapes {
		if s.table == t && name(s.op.Header) == name(op.Header) {
			b.byOp[op.Number] = s
			return "", nil
		}
	}
	for _, c := range op.Header.Columns {
		if t.Column(c) == nil {
			return fmt.Sprintf("table %s has no column %s", quote(t.Name), quote(c)), nil
		}
	}
	s, err := b.newShape(op, t)
	if err != nil {
		return "", err
	}
	b.byOp[op.Number] = s
	if op.Header.Op == change.Base {
		t.base = s
	} else {
		t.shapes = append(t.shapes, s)
	}
	return "", nil
}

// unfit returns why a row cannot even be compared with this database's.
func (b *collectBatch) unfit(op *collect.Op, row []change.Value) *collect.Refused {
	s := b.byOp[op.Number]
	if s == nil {
		return nil
	}
	for i, c := range s.columns {
		if why := b.d.unfit(c, &row[i]); why != "" && !c.Generated {
			return &collect.Refused{Final: true, Reason: fmt.Sprintf("%s: the value %s of column %s %s, and the column is of type %s",
				op.Name(row), database.ShowValue(row[i]), quote(c.Name), why, c.Type)}
		}
	}
	return nil
}

// Keep implements collect.Batch.
func (b *collectBatch) Keep(op *collect.Op, row []change.Value, ref *collect.Refused) error {
	b.seq++
	unit, own := b.unitOf(op, row, b.seq)
	s := b.byOp[op.Number]
	if ref != nil || s == nil || b.unfit(op, row) != nil {
		b.stretch(nil)
		return b.raw.add(b, op, row, unit, own)
	}
	b.stretch(s)
	s.append(b.seq, unit, own, row)
	if len(op.Key) > 0 {
		s.table.keys = append(s.table.keys, own)
	}
	return b.full(s)
}

// KeepBase implements collect.Batch.
func (b *collectBatch) KeepBase(op *collect.Op, row []change.Value) error {
	b.seq++
	unit, own := b.unitOf(op, row, b.seq)
	s := b.byOp[op.Number]
	if s == nil || b.unfit(op, row) != nil || op.RefusedByRule(row) != nil {
		return b.raw.add(b, op, row, unit, own)
	}
	s.append(b.seq, unit, own, row)
	return b.full(s)
}

// stretch notes where the row with the number seq is.
func (b *collectBatch) stretch(s *shape) {
	if n := len(b.runs); n > 0 && b.runs[n-1].s == s && b.runs[n-1].to == b.seq-1 {
		b.runs[n-1].to = b.seq
		return
	}
	b.runs = append(b.runs, stretch{s, b.seq, b.seq})
}

// full sends the rows of a shape when there are enough of them.
func (b *collectBatch) full(s *shape) error {
	if len(s.buf) < b.d.chunk {
		return nil
	}
	return b.flush(s)
}

func (b *collectBatch) flush(s *shape) error {
	if len(s.buf) == 0 {
		return nil
	}
	err := b.d.copyIn(b.ctx, bytes.NewReader(s.buf), "COPY "+s.slot+"("+s.shapeColumns()+") FROM STDIN")
	s.buf = s.buf[:0]
	return err
}

func (b *collectBatch) flushAll() error {
	for _, s := range b.shapes {
		if err := b.flush(s); err != nil {
			return err
		}
	}
	return b.raw.flush(b)
}

// Locked implements collect.Batch.
func (b *collectBatch) Locked(work func() error) (held time.Duration, err error) {
	for n := 0; ; n++ {
		held, err = b.locked(work)
		if err == nil || !clash(err) || n >= retries || b.d.s == nil || b.d.s.IsClosed() {
			break
		}
		if _, err := b.d.run(b.ctx, "ROLLBACK TO SAVEPOINT "+staged); err != nil {
			break
		}
	}
	if err != nil {
		b.Close()
	}
	return held, err
}

func (b *collectBatch) locked(work func() error) (time.Duration, error) {
	if !b.open {
		if err := b.begin(); err != nil {
			return 0, err
		}
		if _, err := b.d.run(b.ctx, "SAVEPOINT "+staged); err != nil {
			return 0, err
		}
	}
	if err := b.d.lock(b.ctx, b.run.Stream); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return 0, err
	}
	b.d.hook("commit")
	if err := b.d.commit(b.ctx); err != nil {
		return 0, err
	}
	b.open = false
	held := time.Since(start)
	b.d.hook("committed")
	return held, nil
}

// Integrate implements collect.Batch.
func (b *collectBatch) Integrate(_ bool, before, after func() error) (time.Duration, error) {
	b.d.hook("prepared")
	return b.Locked(func() error {
		for _, step := range []func() error{before, b.take, after} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}
