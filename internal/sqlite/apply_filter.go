package sqlite

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const (
	// filterTrial is every how many blocks of a large delta one is compared
	// with the live rows, to see whether comparing pays.
	filterTrial = 16
	// filterWorth is the share of unchanged rows, one in so many, from which
	// on it does: comparing costs a quarter of writing.
	filterWorth = 4
)

// A filtered is what prepare knows of one table on the way.
type filtered struct {
	last    []change.Value // key of the row before; its own memory
	arena   []byte
	unsure  bool // a key may come twice: nothing may be dropped
	blocks  int
	seen    int64 // rows compared
	same    int64 // of them unchanged
	matched int64 // live rows of a whole table that the batch has
}

// prepare does before the lock what can be done without it: it reads the rows
// to their end, drops those that would change nothing, finds those that a
// whole table has too many, and keeps the rest. On the way the live rows come
// into the page cache, where they stay if nobody writes until the lock is got.
func (r *applyRun) prepare(rows change.BlockReader) (_ *stage, err error) {
	var page int64
	if err := r.t.conn.Query("PRAGMA page_size", func(q *sqlite3.Stmt) error { page = q.Int(0); return nil }); err != nil {
		return nil, err
	}
	s := newStage(r.t.o.StageDir, page, r.t.limits)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	tables := make([]filtered, len(r.plan.tables))
	apart, err := r.newAside(page)
	if err != nil {
		return nil, err
	}
	defer apart.close()
	for {
		b, err := rows.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		op, err := r.op(b.Header)
		if err != nil {
			return nil, err
		}
		r.res.Rows += int64(b.Rows())
		if op.header.Op == change.Delete {
			if err := apart.give(s); err != nil {
				return nil, err
			}
		}
		err = r.reading(func() error { return r.filter(s, apart, op, &tables[op.table.number], b) })
		if err != nil {
			return nil, err
		}
	}
	if err := apart.give(s); err != nil {
		return nil, err
	}
	for i := len(r.plan.tables) - 1; i >= 0; i-- { // children before parents
		t := r.plan.tables[i]
		if t.sent.Scope != manifest.Whole {
			continue
		}
		if err := r.reading(func() error { return r.surplus(s, t, &tables[i]) }); err != nil {
			return nil, err
		}
	}
	if err := s.rewind(); err != nil {
		return nil, err
	}
	return s, r.warmStage(s)
}

// reading runs work in a read transaction: without one, every statement
// takes and leaves the locks anew. It is short, so that the log of a WAL
// database can be checkpointed, and one with a journal be written.
func (r *applyRun) reading(work func() error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.t.conn.KeepCache()
	if err := r.t.conn.Exec("BEGIN"); err != nil {
		return err
	}
	stop := r.t.conn.Watch(r.ctx)
	err := work()
	stop()
	if rerr := r.t.conn.Exec("COMMIT"); err == nil {
		err = rerr
	}
	if r.t.conn.InTransaction() {
		_ = r.t.rollback()
	}
	return err
}

// filter passes on the rows of a block that would change something.
func (r *applyRun) filter(s *stage, apart *aside, op *applyOp, f *filtered, b *change.Block) error {
	whole := op.table.sent.Scope == manifest.Whole
	compare := whole || !op.table.touched && f.worth() || r.plan.rows <= r.t.limits.rows
	f.blocks++
	for i := range b.Rows() {
		row := b.Row(i)
		if err := op.checkRow(row); err != nil {
			return err
		}
		if !f.unsure {
			f.order(op, row)
		}
		if compare {
			same, err := r.compare(s, op, f, row, whole)
			if err != nil {
				return err
			}
			if same && !f.unsure && !op.table.touched && !r.up.waits(op, row) {
				continue
			}
		}
		if taken, err := apart.take(op, row); taken || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := s.add(op.header, row); err != nil {
			return err
		}
	}
	return nil
}

// worth reports whether to compare the next block of a large delta.
func (f *filtered) worth() bool {
	return f.blocks%filterTrial == 0 || f.seen > 0 && f.same*filterWorth >= f.seen
}

// checkRow refuses a row without a whole key: NULL is equal to nothing, and
// such a row could be inserted again and again.
func (op *applyOp) checkRow(row []change.Value) error {
	for j, i := range op.key {
		if row[i].Kind == change.Null {
			return refuseTable(op.table.Name, "a row has NULL in %s, which is in the key", database.Quote(op.table.key[j].Name))
		}
	}
	return nil
}

// order sees to it that no key comes twice. Rows come in the order of their
// keys; where this order is not the till's, or begins anew with another
// operation, dropping a row that seems unchanged could let an earlier row of
// the same key win.
func (f *filtered) order(op *applyOp, row []change.Value) {
	key := make([]change.Value, 0, 4)
	for _, i := range op.key {
		key = append(key, row[i])
	}
	if f.last != nil {
		c, known := 0, true
		for j := range key {
			if c = compareValues(f.last[j], key[j], op.table.key[j].Collation, &known); c != 0 {
				break
			}
		}
		f.unsure = c >= 0 || !known
	}
	f.last, f.arena = append(f.last[:0], key...), f.arena[:0]
	size := 0
	for i := range key {
		size += len(key[i].Bytes)
	}
	f.arena = slices.Grow(f.arena, size)
	for i := range f.last {
		if v := &f.last[i]; v.Bytes != nil {
			from := len(f.arena)
			f.arena = append(f.arena, v.Bytes...)
			v.Bytes = f.arena[from:]
		}
	}
}

// compareValues orders two values as SQLite does under a collation
// (https://www.sqlite.org/datatype3.html, 4.1). known becomes false for a
// collation that only the POS's program has.
func compareValues(a, b change.Value, collation string, known *bool) int {
	class := func(k change.Kind) int {
		switch k {
		case change.Null:
			return 0
		case change.Integer, change.Real:
			return 1
		case change.Text:
			return 2
		}
		return 3
	}
	if c := cmp.Compare(class(a.Kind), class(b.Kind)); c != 0 {
		return c
	}
	switch a.Kind {
	case change.Integer, change.Real:
		if a.Kind == change.Integer && b.Kind == change.Integer {
			return cmp.Compare(a.Int, b.Int)
		}
		return cmp.Compare(number(a), number(b))
	case change.Blob:
		return bytes.Compare(a.Bytes, b.Bytes)
	case change.Text:
		switch strings.ToUpper(collation) {
		case "BINARY", "":
			return bytes.Compare(a.Bytes, b.Bytes)
		case "NOCASE":
			return strings.Compare(foldName(string(a.Bytes)), foldName(string(b.Bytes)))
		case "RTRIM":
			return bytes.Compare(bytes.TrimRight(a.Bytes, " "), bytes.TrimRight(b.Bytes, " "))
		}
		*known = false
	}
	return 0
}

func number(v change.Value) float64 {
	if v.Kind == change.Integer {
		return float64(v.Int)
	}
	return v.Real
}

// compare reports whether a row would change nothing. The keys of live rows
// that a whole table keeps are remembered as the live rows spell them.
func (r *applyRun) compare(s *stage, op *applyOp, f *filtered, row []change.Value, whole bool) (bool, error) {
	look := op.look
	if look == nil { // a delete: only warm the page
		look = op.exists
	}
	if err := look.BindRow(row[:look.Params()]); err != nil {
		return false, err
	}
	defer look.Reset()
	found, err := look.Step()
	if err == nil && (!found && op.header.Op == change.Upsert || found && op.header.Op == change.Delete) && r.plan.rows <= r.t.limits.rows {
		err = op.warm(r.t.conn, row)
	}
	if err != nil || !found || op.look == nil {
		return false, err
	}
	f.seen++
	if whole {
		if err := r.match(s, op, f, look); err != nil {
			return false, err
		}
	}
	for j, i := range op.write {
		if op.converts[j] && look.Int(j) != 0 {
			continue
		}
		if op.converts[j] || !sameContent(&row[i], look, j) {
			return false, nil
		}
	}
	f.same++
	return true, nil
}

// match remembers that the batch has a live row.
func (r *applyRun) match(s *stage, op *applyOp, f *filtered, look *sqlite3.Stmt) error {
	r.key = r.key[:0]
	for j := range op.key {
		r.key = append(r.key, look.Value(len(op.write)+j))
	}
	r.keyBytes = appendKey(append(r.keyBytes[:0], byte(op.table.number), byte(op.table.number>>8)), r.key)
	isNew, err := s.remember(r.keyBytes)
	if isNew {
		f.matched++
	}
	return err
}

// sameContent reports whether column i of the current row holds v exactly.
func sameContent(v *change.Value, s *sqlite3.Stmt, i int) bool {
	if s.Kind(i) != v.Kind {
		return false
	}
	switch v.Kind {
	case change.Integer:
		return s.Int(i) == v.Int
	case change.Real:
		return s.Real(i) == v.Real
	case change.Text, change.Blob:
		return bytes.Equal(s.Bytes(i), v.Bytes)
	}
	return true
}

// surplus adds a delete for every live row of a whole table that the batch
// does not have.
func (r *applyRun) surplus(s *stage, t *applyTable, f *filtered) error {
	live := int64(0)
	name := database.Quote(t.Name)
	err := r.t.conn.Query("SELECT count(*) FROM "+name, func(q *sqlite3.Stmt) error { live = q.Int(0); return nil })
	if err != nil || live == f.matched {
		return err
	}
	h := &change.Header{Table: t.Name, Op: change.Delete}
	for _, k := range t.key {
		h.Columns = append(h.Columns, k.Name)
	}
	if _, err := r.op(h); err != nil {
		return err
	}
	err = r.t.conn.Query("SELECT "+database.QuoteAll("", h.Columns)+" FROM "+name, func(q *sqlite3.Stmt) error {
		r.key = r.key[:0]
		for j := range h.Columns {
			r.key = append(r.key, q.Value(j))
		}
		r.keyBytes = appendKey(append(r.keyBytes[:0], byte(t.number), byte(t.number>>8)), r.key)
		if ok, err := s.remembers(r.keyBytes); ok || err != nil {
			return err
		}
		return s.add(h, r.key)
	})
	if err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	return nil
}
