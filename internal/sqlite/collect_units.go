package sqlite

import (
	"errors"
	"fmt"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

const (
	// maxRounds is how often the units that were refused are tried again, as
	// long as some could be taken: one may need what another brings.
	maxRounds = 10
	// maxDead is how many units of a batch may end the whole transaction,
	// by RAISE(ROLLBACK) in a trigger of the ERP.
	maxDead = 100
)

// errDead says that a unit ended the transaction. It is known now.
var errDead = errors.New("a trigger of the database rolled everything back")

// group finds the unit of every row, and writes them into temporary tables:
// a row with a parent is of its parent's unit. Tables come by their depth, so
// that a parent is there before.
func (r *collectRun) group() (err error) {
	if r.dead == nil {
		r.dead = map[int64]*refusedRow{}
	}
	conn := r.c.t.conn
	if err := conn.Exec("BEGIN; DELETE FROM temp.caisseauto_unit; DELETE FROM temp.caisseauto_member; DELETE FROM temp.caisseauto_middle"); err != nil {
		return err
	}
	deepest := 0
	for _, t := range r.tables {
		deepest = max(deepest, t.depth())
	}
	for depth := 0; depth <= deepest && err == nil; depth++ {
		err = r.groupDepth(depth)
	}
	if err == nil {
		err = conn.Exec("COMMIT")
	}
	if err != nil {
		return errors.Join(err, r.c.t.rollback())
	}
	return nil
}

func (t *collectTable) depth() int {
	if t.up == nil {
		return 0
	}
	return t.up.Depth
}

func (r *collectRun) groupDepth(depth int) error {
	seq := int64(0)
	return r.each(func(op *collectOp, row []change.Value) error {
		if seq++; op.table.depth() != depth {
			return nil
		}
		return r.groupRow(op, row, seq)
	})
}

// groupRow puts one row into its unit.
func (r *collectRun) groupRow(op *collectOp, row []change.Value, seq int64) error {
	root, err := r.root(op, row, seq)
	if err != nil {
		return err
	}
	// The unit's place is that of its first row, at the least depth.
	if err := r.apply.run("INSERT INTO temp.caisseauto_unit(root, seq) VALUES(?1,?2) ON CONFLICT(root) DO NOTHING", root, seq); err != nil {
		return err
	}
	s, err := r.apply.cached("SELECT id FROM temp.caisseauto_unit WHERE root=?1")
	if err != nil {
		return err
	}
	if err := s.BindArgs(root); err != nil {
		return err
	}
	if _, err := s.Step(); err != nil {
		return err
	}
	id := s.Int(0)
	s.Reset()
	return r.apply.run("INSERT INTO temp.caisseauto_member(unit, depth, seq, op, data) VALUES(?1,?2,?3,?4,?5)", id, op.table.depth(), seq, op.number, appendRow(nil, row))
}

// root returns what names the unit of a row: the key of the row at its root,
// and the table.
func (r *collectRun) root(op *collectOp, row []change.Value, seq int64) ([]byte, error) {
	name := func(table string, places []int) []byte {
		key := make([]change.Value, 0, len(places)+1)
		key = append(key, change.Value{Kind: change.Text, Bytes: []byte(foldName(table))})
		for _, i := range places {
			key = append(key, row[i])
		}
		return appendKey(nil, key)
	}
	u := op.table.up
	if u == nil || len(op.key) == 0 { // nobody knows what it is a part of
		return appendKey(nil, []change.Value{{Kind: change.Integer, Int: seq}}), nil
	}
	own := name(u.Table, op.key)
	root := own
	if u.Above != nil && len(op.link) > 0 && !slices.ContainsFunc(op.link, func(i int) bool { return row[i].Kind == change.Null }) {
		root = name(u.Parent, op.link)
		if u.Above.Above != nil {
			above, found, err := r.apply.one("SELECT root FROM temp.caisseauto_middle WHERE key=?1", change.Value{Kind: change.Blob, Bytes: root})
			if err != nil {
				return nil, err
			}
			if found {
				root = above.Bytes
			}
		}
	}
	if u.Above == nil || !slices.ContainsFunc(r.uploads, func(o *database.Upload) bool { return o.Above == u }) {
		return root, nil
	}
	return root, r.apply.run("INSERT INTO temp.caisseauto_middle(key, root) VALUES(?1,?2) ON CONFLICT(key) DO NOTHING", own, root)
}

// slow takes the batch in unit by unit; each that is refused leaves no trace
// but in quarantine. The transaction is open.
func (r *collectRun) slow() error {
	var ids []int64
	err := r.c.t.conn.Query("SELECT id FROM temp.caisseauto_unit ORDER BY seq", func(s *sqlite3.Stmt) error { ids = append(ids, s.Int(0)); return nil })
	if err != nil {
		return err
	}
	reasons := map[int64]*refusedRow{}
	for round := 0; len(ids) > 0 && round < maxRounds; round++ {
		var left []int64
		for _, id := range ids {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			ref, err := r.unit(id)
			if err != nil {
				return err
			}
			if reasons[id] = ref; ref == nil {
				delete(reasons, id)
			} else if !ref.final {
				left = append(left, id)
			}
		}
		if len(left) == len(ids) {
			break
		}
		ids = left
	}
	return r.quarantine(reasons)
}

// unit takes one unit in, whole or not at all.
func (r *collectRun) unit(id int64) (*refusedRow, error) {
	if ref := r.dead[id]; ref != nil {
		return ref, nil
	}
	before := r.apply.res
	if err := r.c.t.conn.Exec("SAVEPOINT caisseauto_unit"); err != nil {
		return nil, err
	}
	var ref *refusedRow
	err := r.members(id, func(op *collectOp, row []change.Value) (err error) {
		if ref, err = r.integrate(op, row, false); err == nil && ref != nil {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && ref == nil {
		ref, err = r.references(id)
	}
	if err != nil {
		return nil, err
	}
	if !r.c.t.conn.InTransaction() {
		if ref == nil {
			return nil, errDead
		}
		ref.final = true
		r.dead[id] = ref
		return nil, fmt.Errorf("%w: %s", errDead, ref.reason)
	}
	if ref != nil {
		r.apply.res = before
		for _, op := range r.list {
			op.lastLink = nil
		}
		if err := r.c.t.conn.Exec("ROLLBACK TO caisseauto_unit"); err != nil {
			return nil, err
		}
	}
	return ref, r.c.t.conn.Exec("RELEASE caisseauto_unit")
}

// members calls each for the rows of a unit, parents first.
func (r *collectRun) members(id int64, each func(*collectOp, []change.Value) error) error {
	var row []change.Value
	return r.c.t.conn.Query("SELECT op, data FROM temp.caisseauto_member WHERE unit=?1 ORDER BY depth, seq", func(s *sqlite3.Stmt) (err error) {
		op := r.list[s.Int(0)]
		if row, _, err = decodeRow(row[:0], append([]byte(nil), s.Bytes(1)...), len(op.header.Columns)); err != nil {
			return err
		}
		return each(op, row)
	}, id)
}

// references refuses a unit that leaves a foreign key broken.
func (r *collectRun) references(id int64) (*refusedRow, error) {
	broken, err := r.c.t.conn.BrokenReferences()
	if err != nil || !broken {
		return nil, err
	}
	ref := &refusedRow{reason: "with it, a row would refer by a foreign key to a row that is not there"}
	err = r.members(id, func(op *collectOp, row []change.Value) error {
		if op.header.Op == change.Delete {
			return nil
		}
		for _, f := range op.apply.table.ForeignKeys {
			if text, err := r.missing(op, row, f); text != "" || err != nil {
				ref.reason = text
				return errors.Join(err, errEnough)
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return ref, err
}

// missing describes a row's reference to a row that is not there, "" when it
// is there.
func (r *collectRun) missing(op *collectOp, row []change.Value, f ForeignKey) (string, error) {
	sql, text := "SELECT 1 FROM "+database.Quote(f.Table)+" WHERE 1", ""
	for n, from := range f.From {
		i := slices.IndexFunc(op.header.Columns, func(c string) bool { return sameName(c, from) })
		if i < 0 || n >= len(f.To) || row[i].Kind == change.Null {
			return "", nil
		}
		sql += " AND " + database.Quote(f.To[n]) + " = " + param(i)
		text += fmt.Sprintf(" %s=%s", database.Quote(f.To[n]), showValue(row[i]))
	}
	if _, there, err := r.ask(sql, row); there || err != nil {
		return "", err
	}
	return fmt.Sprintf("%s refers to a row of %s that is not there:%s", op.apply.name(row), database.Quote(f.Table), text), nil
}
