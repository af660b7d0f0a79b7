package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// A collectTable is what this database knows of a table of a batch.
type collectTable struct {
	apply  *applyTable
	linked bool   // foreign keys see to it that parents are there
	touch  string // SQL that journals a key for the stream down, "" where nothing is to be

	touchOrder   []int // the journal's key columns in the upload's key
	tab          int64
	touchDossier any
}

// A collectOp is what this database does with the rows of an operation.
type collectOp struct {
	*collect.Op
	table *collectTable // nil: bad
	apply *applyOp      // nil: bad

	lastLink              []byte // of the parent that was found last
	sameSQL, ownSQL       string
	parentSQL, serversSQL string
}

// own returns what is ours of an operation.
func (b *collectBatch) own(op *collect.Op) *collectOp {
	for len(b.ops) <= op.Number {
		b.ops = append(b.ops, nil)
	}
	if b.ops[op.Number] == nil {
		b.ops[op.Number] = &collectOp{Op: op, table: b.tables[op.Table.Number]}
		b.byHead[op.Header] = b.ops[op.Number]
	}
	return b.ops[op.Number]
}

// Table implements collect.Batch.
func (b *collectBatch) Table(t *collect.Table) (bad string, err error) {
	own := &collectTable{}
	own.apply, err = b.t.planTable(&t.Sent)
	var drift *DriftError
	switch {
	case errors.As(err, &drift):
		return drift.what(), nil
	case errors.Is(err, manifest.ErrRefused):
		return strings.ReplaceAll(err.Error(), "; nothing was applied", ""), nil
	case err != nil:
		return "", err
	}
	plan := b.apply.plan
	own.apply.number = len(plan.tables)
	plan.tables = append(plan.tables, own.apply)
	if t.Upload.Above != nil {
		own.linked = b.linked(t.Upload)
	}
	b.tables[t.Number] = own
	return "", b.planTouch(t, own)
}

// linked reports whether the database itself sees to it that a row's parent
// is there, and that it is of the same till.
func (b *collectBatch) linked(u *database.Upload) bool {
	if b.t.o.IgnoreForeignKeys {
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
func (b *collectBatch) planTouch(t *collect.Table, own *collectTable) error {
	if t.Upload.Mode != manifest.Both {
		return nil
	}
	if !b.capture.carries(t.Upload.Table) {
		return nil // it does not go down
	}
	w, err := b.capture.table(b.t.conn, t.Upload.Table)
	if err != nil {
		return err
	}
	names, params := "", ""
	for n, k := range w.key {
		place := slices.Index(t.Upload.Key, k.Name)
		if place < 0 {
			return fmt.Errorf("table %s is known by %q on its way down and by %q on its way up; give it one key", database.Quote(t.Upload.Table), w.names(), t.Upload.Key)
		}
		own.touchOrder = append(own.touchOrder, place)
		names += fmt.Sprintf(", k%d", n+1)
		params += fmt.Sprintf(", ?%d", n+3)
	}
	if w.dossier != "" {
		own.touchDossier = t.Own[0]
	}
	err = b.t.conn.Query("SELECT tab FROM caisseauto_table WHERE name=?1", func(s *sqlite3.Stmt) error { own.tab = s.Int(0); return nil }, w.Name)
	own.touch = "INSERT INTO " + b.capture.journal() + "(tab, dossier" + names + ") VALUES(?1, ?2" + params + ")"
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

// Touch implements collect.Batch.
func (b *collectBatch) Touch(op *collect.Op, row []change.Value) error {
	t := b.own(op).table
	if t == nil || t.touch == "" {
		return nil
	}
	args := []any{t.tab, t.touchDossier}
	for _, place := range t.touchOrder {
		args = append(args, row[op.Key[place]])
	}
	return b.apply.run(t.touch, args...)
}

// Op implements collect.Batch.
func (b *collectBatch) Op(op *collect.Op) (bad string, err error) {
	h := op.Header
	if h.Op == change.Base { // it is not written, but compared as a row that is
		h = &change.Header{Table: h.Table, Op: change.Upsert, Columns: h.Columns}
	}
	own := b.own(op)
	if own.apply, err = b.apply.op(h); errors.Is(err, manifest.ErrRefused) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	own.sqls()
	return "", nil
}
