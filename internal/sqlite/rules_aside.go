package sqlite

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A baseline brings the users of all tills. Inserting them only to filter them
// out again would make a living till write, under its lock, what changes
// nothing. So their rows, and those of their attachments, are set aside while
// the batch is read, until it is known who is attached to this till. It is an
// optimisation and no more: what stays is decided by the filter, in the
// transaction.

// An aside holds the rows that may not be needed.
type aside struct {
	r    *applyRun
	rows *stage
	// attached are the users of this till: those who are so already, and
	// those whom the batch attaches. Users whom it detaches are among them.
	attached map[string]bool
	done     bool // the rows were given on
}

// newAside returns nil where nothing is to be set aside.
func (r *applyRun) newAside(page int64) (*aside, error) {
	s := r.rules
	if s == nil || s.users == nil && !s.deletesOthers() {
		return nil, nil
	}
	a := &aside{r: r, rows: newStage(r.t.o.StageDir, page, r.t.limits), attached: map[string]bool{}}
	if s.attach == nil {
		return a, nil
	}
	u := s.Users
	err := r.t.conn.Query(fmt.Sprintf("SELECT %s FROM %s WHERE %s IS ?1", database.Quote(u.AttachmentUser), database.Quote(s.attach.Name), database.Quote(u.AttachmentTill)),
		func(q *sqlite3.Stmt) error { a.attached[fold(q.Value(0))] = true; return nil }, s.till)
	return a, err
}

func (s *ruleSet) deletesOthers() bool { return s.registry != nil && s.Registry.DeleteOthers }

// fold makes one text of all values that can be the same to a column, whatever
// its affinity and collation: too many would only be filtered later.
func fold(v change.Value) string {
	text := ""
	switch v.Kind {
	case change.Integer, change.Real:
		return strconv.FormatFloat(number(v), 'g', -1, 64)
	case change.Text, change.Blob:
		text = strings.Trim(string(v.Bytes), " \t\n\v\f\r")
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return foldName(text)
}

// value returns a column of a row, and whether the batch has it.
func (op *applyOp) value(row []change.Value, column string) (change.Value, bool) {
	for i, c := range op.columns {
		if sameName(c, column) {
			return row[i], true
		}
	}
	return change.Value{}, false
}

// mine reports whether a value can be the till's number in a column.
func (s *ruleSet) mine(v change.Value) bool { return fold(v) == s.number }

// take sets a row aside, or drops it; it reports whether it did.
func (a *aside) take(op *applyOp, row []change.Value) (bool, error) {
	if a == nil || a.done || op.header.Op != change.Upsert {
		return false, nil
	}
	s, name := a.r.rules, op.table.Name
	if s.deletesOthers() && a.others(op, row) {
		there, err := a.r.there(op, row)
		return !there, err
	}
	switch {
	case s.is(name, s.attach):
		till, ok := op.value(row, s.Users.AttachmentTill)
		user, also := op.value(row, s.Users.AttachmentUser)
		if !ok || !also {
			return false, nil
		}
		if s.mine(till) {
			a.attached[fold(user)] = true
			return false, nil
		}
	case s.is(name, s.users) && s.attach == nil:
		if till, ok := op.value(row, s.Users.TillColumn); !ok || s.mine(till) {
			return false, nil
		}
		there, err := a.r.there(op, row)
		return !there, err
	case !s.is(name, s.users):
		return false, nil
	}
	return true, a.rows.add(op.header, row)
}

// others reports whether a row is of another till: its own row in the
// registry, or one that refers to that.
func (a *aside) others(op *applyOp, row []change.Value) bool {
	s := a.r.rules
	if s.is(op.table.Name, s.registry) {
		v, ok := op.value(row, s.Registry.Key)
		return ok && !s.mine(v)
	}
	for _, f := range op.table.ForeignKeys {
		if !sameName(f.Table, s.registry.Name) {
			continue
		}
		to := f.To
		if len(to) == 0 {
			to = s.registry.Key
		}
		for i, c := range to {
			if !sameName(c, s.Registry.Key) {
				continue
			}
			if v, ok := op.value(row, f.From[i]); ok && v.Kind != change.Null && !s.mine(v) {
				return true
			}
		}
	}
	return false
}

// give passes on the rows of the users who are attached, once: before the
// first delete, or at the end.
func (a *aside) give(to *stage) error {
	if a == nil || a.done {
		return nil
	}
	a.done = true
	if err := a.rows.rewind(); err != nil {
		return err
	}
	s := a.r.rules
	for {
		b, err := a.rows.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		op, err := a.r.op(b.Header)
		if err != nil {
			return err
		}
		column := s.userKey.Name
		if s.is(op.table.Name, s.attach) {
			column = s.Users.AttachmentUser
		}
		if err := a.r.reading(func() error { return a.giveBlock(to, op, column, b) }); err != nil {
			return err
		}
	}
}

// giveBlock passes on some of them. A row that is here already goes on
// whoever's it becomes: by a key of its own it may have been another user's.
func (a *aside) giveBlock(to *stage, op *applyOp, column string, b *change.Block) error {
	for i := range b.Rows() {
		row := b.Row(i)
		if user, ok := op.value(row, column); ok && !a.attached[fold(user)] {
			if there, err := a.r.there(op, row); err != nil {
				return err
			} else if !there {
				continue
			}
		}
		if err := to.add(op.header, row); err != nil {
			return err
		}
	}
	return nil
}

func (a *aside) close() {
	if a != nil {
		a.rows.close()
	}
}

// absent reports whether a patch is of a row that the rules keep from being
// here. It is refused where it makes the row this till's: only the whole row
// would do.
func (r *applyRun) absent(op *applyOp, row []change.Value) (bool, error) {
	s, name, column := r.rules, op.table.Name, ""
	switch {
	case s == nil:
		return false, nil
	case s.is(name, s.attach):
		column = s.Users.AttachmentTill
	case s.is(name, s.users):
		column = s.Users.TillColumn
	default:
		return s.deletesOthers() && (s.is(name, s.registry) || s.refers(op)), nil
	}
	if till, ok := op.value(row, column); ok && column != "" && s.mine(till) {
		return false, refuseTable(name, "row%s comes to this till by a change of %s alone, and is not here; write capture = \"key\" for this table in server.toml, %s",
			op.table.showKey(op.keyOf(row)), database.Quote(column), baselineHint)
	}
	return true, nil
}

// refers reports whether rows of the table refer to the registry.
func (s *ruleSet) refers(op *applyOp) bool {
	for _, f := range op.table.ForeignKeys {
		if sameName(f.Table, s.registry.Name) {
			return true
		}
	}
	return false
}

// keyOf returns the key of a row.
func (op *applyOp) keyOf(row []change.Value) []change.Value {
	key := make([]change.Value, len(op.key))
	for j, i := range op.key {
		key[j] = row[i]
	}
	return key
}
