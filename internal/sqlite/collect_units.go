package sqlite

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
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

// collectTempSQL makes what a connection needs to sort a batch into units:
// temporary tables, so that memory stays bounded.
const collectTempSQL = `CREATE TEMP TABLE caisseauto_base(tab INTEGER, key BLOB, data BLOB, PRIMARY KEY(tab, key)) WITHOUT ROWID;
CREATE TEMP TABLE caisseauto_unit(id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0);
CREATE TEMP TABLE caisseauto_member(unit INTEGER, depth INTEGER, seq INTEGER, op INTEGER, data BLOB, PRIMARY KEY(unit, depth, seq)) WITHOUT ROWID;
CREATE TEMP TABLE caisseauto_middle(key BLOB PRIMARY KEY, root BLOB) WITHOUT ROWID;`

// errDead says that a unit ended the transaction. It is known now.
var errDead = errors.New("a trigger of the database rolled everything back")

// group finds the unit of every row, and writes them into temporary tables:
// a row with a parent is of its parent's unit. Tables come by their depth, so
// that a parent is there before.
func (b *collectBatch) group() (err error) {
	if b.dead == nil {
		b.dead = map[int64]*collect.Refused{}
	}
	conn := b.t.conn
	if err := conn.Exec("BEGIN; DELETE FROM temp.caisseauto_unit; DELETE FROM temp.caisseauto_member; DELETE FROM temp.caisseauto_middle"); err != nil {
		return err
	}
	deepest := 0
	for _, t := range b.run.Tables {
		deepest = max(deepest, depthOf(t))
	}
	for depth := 0; depth <= deepest && err == nil; depth++ {
		err = b.groupDepth(depth)
	}
	if err == nil {
		err = conn.Exec("COMMIT")
	}
	if err != nil {
		return errors.Join(err, b.t.rollback())
	}
	return nil
}

// depthOf is that of a table's upload.
func depthOf(t *collect.Table) int {
	if t.Upload == nil {
		return 0
	}
	return t.Upload.Depth
}

func (b *collectBatch) groupDepth(depth int) error {
	seq := int64(0)
	return b.each(func(op *collectOp, row []change.Value) error {
		if seq++; depthOf(op.Op.Table) != depth {
			return nil
		}
		return b.groupRow(op.Op, row, seq)
	})
}

// groupRow puts one row into its unit.
func (b *collectBatch) groupRow(op *collect.Op, row []change.Value, seq int64) error {
	root, err := b.root(op, row, seq)
	if err != nil {
		return err
	}
	// The unit's place is that of its first row, at the least depth.
	if err := b.apply.run("INSERT INTO temp.caisseauto_unit(root, seq) VALUES(?1,?2) ON CONFLICT(root) DO NOTHING", root, seq); err != nil {
		return err
	}
	s, err := b.apply.cached("SELECT id FROM temp.caisseauto_unit WHERE root=?1")
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
	return b.apply.run("INSERT INTO temp.caisseauto_member(unit, depth, seq, op, data) VALUES(?1,?2,?3,?4,?5)", id, depthOf(op.Table), seq, op.Number, appendRow(nil, row))
}

// root returns what names the unit of a row: the key of the row at its root,
// and the table.
func (b *collectBatch) root(op *collect.Op, row []change.Value, seq int64) ([]byte, error) {
	name := func(table string, places []int) []byte {
		key := make([]change.Value, 0, len(places)+1)
		key = append(key, change.Value{Kind: change.Text, Bytes: []byte(foldName(table))})
		for _, i := range places {
			key = append(key, row[i])
		}
		return appendKey(nil, key)
	}
	u := op.Table.Upload
	if u == nil || len(op.Key) == 0 { // nobody knows what it is a part of
		return appendKey(nil, []change.Value{{Kind: change.Integer, Int: seq}}), nil
	}
	own := name(u.Table, op.Key)
	root := own
	if u.Above != nil && len(op.Link) > 0 && !slices.ContainsFunc(op.Link, func(i int) bool { return row[i].Kind == change.Null }) {
		root = name(u.Parent, op.Link)
		if u.Above.Above != nil {
			above, found, err := b.apply.one("SELECT root FROM temp.caisseauto_middle WHERE key=?1", change.Value{Kind: change.Blob, Bytes: root})
			if err != nil {
				return nil, err
			}
			if found {
				root = above.Bytes
			}
		}
	}
	if u.Above == nil || !slices.ContainsFunc(b.run.Uploads, func(o *database.Upload) bool { return o.Above == u }) {
		return root, nil
	}
	return root, b.apply.run("INSERT INTO temp.caisseauto_middle(key, root) VALUES(?1,?2) ON CONFLICT(key) DO NOTHING", own, root)
}

// slow takes the batch in unit by unit; each that is refused leaves no trace
// but in quarantine. The transaction is open.
func (b *collectBatch) slow() error {
	var ids []int64
	err := b.t.conn.Query("SELECT id FROM temp.caisseauto_unit ORDER BY seq", func(s *sqlite3.Stmt) error { ids = append(ids, s.Int(0)); return nil })
	if err != nil {
		return err
	}
	reasons := map[int64]*collect.Refused{}
	for round := 0; len(ids) > 0 && round < maxRounds; round++ {
		var left []int64
		for _, id := range ids {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			ref, err := b.unit(id)
			if err != nil {
				return err
			}
			if reasons[id] = ref; ref == nil {
				delete(reasons, id)
			} else if !ref.Final {
				left = append(left, id)
			}
		}
		if len(left) == len(ids) {
			break
		}
		ids = left
	}
	var units []collect.Unit
	for _, id := range slices.Sorted(maps.Keys(reasons)) {
		units = append(units, collect.Unit{Refused: reasons[id], Members: func(work func(*collect.Op, []change.Value) error) error { return b.members(id, work) }})
	}
	return b.run.Quarantine(units)
}

// unit takes one unit in, whole or not at all.
func (b *collectBatch) unit(id int64) (*collect.Refused, error) {
	if ref := b.dead[id]; ref != nil {
		return ref, nil
	}
	before := b.run.Res
	if err := b.t.conn.Exec("SAVEPOINT caisseauto_unit"); err != nil {
		return nil, err
	}
	var ref *collect.Refused
	err := b.members(id, func(op *collect.Op, row []change.Value) (err error) {
		if ref, err = b.integrate(b.own(op), row, false); err == nil && ref != nil {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && ref == nil {
		ref, err = b.references(id)
	}
	if err != nil {
		return nil, err
	}
	if !b.t.conn.InTransaction() {
		if ref == nil {
			return nil, errDead
		}
		ref.Final = true
		b.dead[id] = ref
		return nil, fmt.Errorf("%w: %s", errDead, ref.Reason)
	}
	if ref != nil {
		b.run.Res = before
		b.forgetParents()
		if err := b.t.conn.Exec("ROLLBACK TO caisseauto_unit"); err != nil {
			return nil, err
		}
	}
	return ref, b.t.conn.Exec("RELEASE caisseauto_unit")
}

// members calls each for the rows of a unit, parents first.
func (b *collectBatch) members(id int64, each func(*collect.Op, []change.Value) error) error {
	var row []change.Value
	return b.t.conn.Query("SELECT op, data FROM temp.caisseauto_member WHERE unit=?1 ORDER BY depth, seq", func(s *sqlite3.Stmt) (err error) {
		op := b.run.Ops[s.Int(0)]
		if row, _, err = decodeRow(row[:0], append([]byte(nil), s.Bytes(1)...), len(op.Header.Columns)); err != nil {
			return err
		}
		return each(op, row)
	}, id)
}

// references refuses a unit that leaves a foreign key broken.
func (b *collectBatch) references(id int64) (*collect.Refused, error) {
	broken, err := b.t.conn.BrokenReferences()
	if err != nil || !broken {
		return nil, err
	}
	ref := &collect.Refused{Reason: "with it, a row would refer by a foreign key to a row that is not there"}
	err = b.members(id, func(op *collect.Op, row []change.Value) error {
		if op.Header.Op == change.Delete {
			return nil
		}
		for _, f := range b.own(op).apply.table.ForeignKeys {
			if text, err := b.missing(op, row, f); text != "" || err != nil {
				ref.Reason = text
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
func (b *collectBatch) missing(op *collect.Op, row []change.Value, f ForeignKey) (string, error) {
	sql, text := "SELECT 1 FROM "+database.Quote(f.Table)+" WHERE 1", ""
	for n, from := range f.From {
		i := slices.IndexFunc(op.Header.Columns, func(c string) bool { return sameName(c, from) })
		if i < 0 || n >= len(f.To) || row[i].Kind == change.Null {
			return "", nil
		}
		sql += " AND " + database.Quote(f.To[n]) + " = " + param(i)
		text += fmt.Sprintf(" %s=%s", database.Quote(f.To[n]), database.ShowValue(row[i]))
	}
	if _, there, err := b.ask(sql, row); there || err != nil {
		return "", err
	}
	return fmt.Sprintf("%s refers to a row of %s that is not there:%s", op.Name(row), database.Quote(f.Table), text), nil
}
