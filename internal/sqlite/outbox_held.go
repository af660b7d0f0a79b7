package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// waits reports whether a row that comes down is, or may be, for a key that
// waits.
func (u *upRun) waits(op *applyOp, row []change.Value) bool {
	if u == nil {
		return false
	}
	k := u.tables[op.table.number]
	return k != nil && k.waits(op.foldKey(row))
}

// foldKey returns the key of a row of the batch, folded.
func (op *applyOp) foldKey(row []change.Value) string {
	key := make([]change.Value, len(op.key))
	for j, i := range op.key {
		key[j] = row[i]
	}
	return foldKey(op.table.Table, op.table.key, key)
}

// hold keeps a row back when its key waits.
func (u *upRun) hold(op *applyOp, row []change.Value) (bool, error) {
	if u == nil {
		return false, nil
	}
	k := u.tables[op.table.number]
	if k == nil {
		return false, nil
	}
	key := op.foldKey(row)
	if !k.waits(key) {
		return false, nil
	}
	if op.header.Op == change.Patch && !k.held[key] {
		// It changes a row of which the till has another. The server's
		// whole row comes when it has judged.
		return true, nil
	}
	return true, u.keep(k, op, key, row)
}

// holdBehind keeps a row back whose unique value is with a row that waits: the
// server gave it away, and the till cannot know yet whether that stands.
func (r *applyRun) holdBehind(op *applyOp, row []change.Value, cause error) (bool, error) {
	if r.up == nil || r.up.tables[op.table.number] == nil {
		return false, nil
	}
	k := r.up.tables[op.table.number]
	for n := range op.table.rivals {
		if !op.table.violated(n, cause) {
			continue
		}
		holders, err := r.holders(op, n, row)
		if err != nil {
			return false, err
		}
		for _, holder := range holders {
			if k.waits(foldKey(op.table.Table, op.table.key, holder)) {
				return true, r.up.keep(k, op, op.foldKey(row), row)
			}
		}
	}
	return false, nil
}

// keep writes a row down. One that is whole makes those before it pointless.
func (u *upRun) keep(k *upKeys, op *applyOp, key string, row []change.Value) error {
	if op.header.Op != change.Patch {
		if err := u.r.run("DELETE FROM caisseauto_held WHERE tab=?1 AND key=?2", k.tab, key); err != nil {
			return err
		}
	}
	columns, err := json.Marshal(op.columns)
	if err != nil {
		return err
	}
	k.held[key] = true
	return u.r.run("INSERT INTO caisseauto_held(tab, key, op, columns, row) VALUES(?1, ?2, ?3, ?4, ?5)",
		k.tab, key, string(op.header.Op), string(columns), string(change.AppendRow(nil, row)))
}

// A heldRow is a row of caisseauto_held.
type heldRow struct {
	op      change.Op
	columns []string
	line    []byte
}

// release applies what was held back of keys that wait no more. Of a table that
// the batch brings whole it only lets go of it: what is to be deleted of that
// was found before.
func (u *upRun) release() error {
	for _, number := range slices.Sorted(maps.Keys(u.tables)) {
		k := u.tables[number]
		for _, key := range slices.Sorted(maps.Keys(k.held)) {
			if k.journaled[key] || k.pending[key] {
				continue
			}
			rows, err := u.take(k, key)
			if err != nil {
				return err
			}
			if u.r.plan.tables[number].sent.Scope == manifest.Whole {
				continue
			}
			for i := range rows {
				if err := u.apply(u.r.plan.tables[number], &rows[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// take removes the rows held back of one key, and returns them.
func (u *upRun) take(k *upKeys, key string) (rows []heldRow, err error) {
	err = u.t.conn.Query("SELECT op, columns, row FROM caisseauto_held WHERE tab=?1 AND key=?2 ORDER BY id", func(s *sqlite3.Stmt) error {
		h := heldRow{op: change.Op(s.Text(0)), line: slices.Clone(s.Bytes(2))}
		if err := json.Unmarshal(s.Bytes(1), &h.columns); err != nil {
			return fmt.Errorf("caisseauto_held, key %s: %w", key, err)
		}
		rows = append(rows, h)
		return nil
	}, k.tab, key)
	if err != nil {
		return nil, err
	}
	delete(k.held, key)
	return rows, u.r.run("DELETE FROM caisseauto_held WHERE tab=?1 AND key=?2", k.tab, key)
}

// apply applies one of them as a row of the batch.
func (u *upRun) apply(t *applyTable, h *heldRow) error {
	for _, c := range h.columns {
		if t.Column(c) == nil && !t.lacks(c) {
			return nil // the table has changed; the server sends it whole then
		}
	}
	row := make([]change.Value, len(h.columns))
	if _, err := change.ParseRow(h.line, row, nil); err != nil {
		return fmt.Errorf("a row of table %s in caisseauto_held: %w", database.Quote(t.Name), err)
	}
	op, err := u.r.op(&change.Header{Table: t.Name, Op: h.op, Columns: h.columns})
	if err != nil {
		return err
	}
	return u.r.row(op, row)
}
