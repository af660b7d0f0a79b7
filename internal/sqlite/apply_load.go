package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const (
	// loadIndexRows is from how many rows on a table is loaded without its
	// indexes, which are then made at once: a B-tree that is filled in
	// order costs a third of one that is filled at random.
	loadIndexRows = 50_000
	// loadSortKiB bounds the memory of CREATE INDEX, whose sorter takes as
	// much as the page cache may have, on top of it.
	loadSortKiB = 16 << 10
)

// errNotEmpty says that the first load is none.
var errNotEmpty = errors.New("not empty")

// firstLoad streams the rows straight into the transaction when all tables of
// the batch are empty: nobody waits for the lock of a till without articles.
// It reports whether it has taken the rows.
func (r *applyRun) firstLoad(m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (bool, error) {
	if empty, err := r.empty(); err != nil || !empty {
		return false, err
	}
	r.t.hook("first load")
	r.first = true
	defer func() { r.first = false }()
	held, err := r.t.locked(r.ctx, r.plan, func() error {
		if err := r.t.expect(r.ctx, m, p); err != nil {
			return err
		}
		if empty, err := r.empty(); err != nil {
			return err
		} else if !empty {
			return errNotEmpty
		}
		if err := r.begin(m); err != nil {
			return err
		}
		if err := r.load(rows); err != nil {
			return err
		}
		if err := r.end(m); err != nil {
			return err
		}
		if err := r.recordDrifts(m, p); err != nil {
			return err
		}
		return r.t.record(r.ctx, m, p, *r.res)
	})
	if errors.Is(err, errNotEmpty) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	r.res.Locked = held
	r.t.checkpoint()
	return true, nil
}

// empty reports whether no table of the batch has a row.
func (r *applyRun) empty() (bool, error) {
	for _, t := range r.plan.tables {
		found := false
		err := r.t.conn.Query("SELECT 1 FROM "+database.Quote(t.Name)+" LIMIT 1", func(*sqlite3.Stmt) error { found = true; return nil })
		if err != nil || found {
			return false, err
		}
	}
	return true, nil
}

// load applies the rows, with the indexes out of the way where that pays.
func (r *applyRun) load(rows change.BlockReader) error {
	dropped, err := r.dropIndexes()
	if err != nil {
		return err
	}
	if err := r.all(&countingReader{rows: rows, run: r}); err != nil {
		return err
	}
	if len(dropped) == 0 {
		return nil
	}
	r.t.hook("making indexes")
	start := time.Now()
	if err := r.t.conn.Flush(); err != nil {
		return err
	}
	if err := r.t.conn.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", min(loadSortKiB, r.t.o.CacheKiB))); err != nil {
		return err
	}
	defer func() { _ = r.t.conn.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", r.t.o.CacheKiB)) }()
	for _, x := range dropped {
		if err := r.t.conn.Exec(x.sql); err != nil {
			return r.duplicates(x, err)
		}
	}
	r.t.o.Log.Debug("indexes made again", "count", len(dropped), "took", time.Since(start).String())
	return nil
}

// A countingReader counts and checks the rows that pass.
type countingReader struct {
	rows change.BlockReader
	run  *applyRun
}

func (c *countingReader) Next() (*change.Block, error) {
	b, err := c.rows.Next()
	if err != nil {
		return nil, err
	}
	op, err := c.run.op(b.Header)
	if err != nil {
		return nil, err
	}
	n := b.Rows()
	for i := range n {
		if err := op.checkRow(b.Row(i)); err != nil {
			return nil, err
		}
	}
	c.run.res.Rows += int64(n)
	return b, nil
}

// A droppedIndex is an index that is to be made again exactly as it was.
type droppedIndex struct {
	table *applyTable
	Index
	sql string
}

// dropIndexes drops the indexes of tables that get many rows. With triggers
// in the database nothing is dropped: they may name an index, or need one for
// an UPSERT of their own. Ours, which every till has, write into our own
// tables alone.
func (r *applyRun) dropIndexes() ([]droppedIndex, error) {
	triggers := false
	err := r.t.conn.Query(`SELECT 1 FROM sqlite_schema WHERE type='trigger' AND name NOT LIKE 'caisseauto\_%' ESCAPE '\' LIMIT 1`, func(*sqlite3.Stmt) error { triggers = true; return nil })
	if err != nil || triggers {
		return nil, err
	}
	var list []droppedIndex
	for _, t := range r.plan.tables {
		if t.rows < r.t.limits.indexRows {
			continue
		}
		for _, unique := range []bool{true, false} {
			indexes := t.Indexes
			if unique {
				indexes = t.Unique
			}
			for _, x := range indexes {
				sql, err := r.droppable(t, x, unique)
				if err != nil {
					return nil, err
				}
				if sql != "" {
					list = append(list, droppedIndex{t, x, sql})
				}
			}
		}
	}
	for _, x := range list {
		if err := r.t.conn.Exec("DROP INDEX main." + database.Quote(x.Name)); err != nil {
			return nil, fmt.Errorf("index %s: %w", database.Quote(x.Name), err)
		}
	}
	return list, nil
}

// droppable returns the SQL of an index that the load can do without, else "".
func (r *applyRun) droppable(t *applyTable, x Index, unique bool) (string, error) {
	if x.Origin != "c" || len(x.Columns) == 0 {
		return "", nil
	}
	if unique {
		if x.Plain() && sameNames(x.Columns, t.sent.Key) {
			return "", nil // rows are found by it
		}
		if parent, err := r.t.isParent(t.Name); err != nil || parent {
			return "", err // a foreign key may rest on it
		}
	}
	for _, f := range t.ForeignKeys {
		if slices.ContainsFunc(f.From, func(c string) bool { return sameName(c, x.Columns[0].Name) }) {
			return "", nil // parents that come later look for their children by it
		}
	}
	return r.t.indexSQL(x.Name)
}

// isParent reports whether a foreign key refers to the table.
func (t *Till) isParent(table string) (bool, error) {
	names, err := Tables(t.conn)
	if err != nil {
		return false, err
	}
	found := false
	for _, n := range names {
		err := t.conn.Query(`SELECT 1 FROM pragma_foreign_key_list(?1) WHERE "table"=?2 COLLATE NOCASE`,
			func(*sqlite3.Stmt) error { found = true; return nil }, n, table)
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// indexSQL returns the statement that makes an index; "" when ANALYZE has
// left figures about it, which DROP INDEX would take along.
func (t *Till) indexSQL(name string) (sql string, err error) {
	err = t.conn.Query("SELECT sql FROM sqlite_schema WHERE type='index' AND name=?1", func(s *sqlite3.Stmt) error {
		sql = s.Text(0)
		return nil
	}, name)
	if err != nil {
		return "", err
	}
	if ok, err := Exists(t.conn, "sqlite_stat1"); err != nil || !ok {
		return sql, err
	}
	err = t.conn.Query("SELECT 1 FROM sqlite_stat1 WHERE idx=?1", func(*sqlite3.Stmt) error { sql = ""; return nil }, name)
	return sql, err
}

// duplicates names two rows that a unique index does not take together.
func (r *applyRun) duplicates(x droppedIndex, err error) error {
	if !sqlite3.IsUnique(err) {
		return fmt.Errorf("making index %s again: %w", database.Quote(x.Name), err)
	}
	list := ""
	for i, c := range x.Columns {
		if i > 0 {
			list += ", "
		}
		if c.Name != "" {
			list += database.Quote(c.Name)
		} else {
			list += "(" + c.Expr + ")"
		}
		list += " COLLATE " + database.Quote(c.Collation)
	}
	where := ""
	if x.Where != "" {
		where = " WHERE " + x.Where
	}
	keys := make([]string, len(x.table.key))
	for i, k := range x.table.key {
		keys[i] = k.Name
	}
	two := ""
	sql := fmt.Sprintf("SELECT min(%[1]s), max(%[1]s) FROM %[2]s%[3]s GROUP BY %[4]s HAVING count(*)>1 LIMIT 1", database.Quote(keys[0]), database.Quote(x.table.Name), where, list)
	_ = r.t.conn.Query(sql, func(s *sqlite3.Stmt) error {
		two = fmt.Sprintf(" (for instance rows %s=%s and %s)", database.Quote(keys[0]), database.ShowValue(s.Value(0)), database.ShowValue(s.Value(1)))
		return nil
	})
	return refuseTable(x.table.Name, "two rows of the batch are the same to its unique index %s on (%s)%s; correct them at the server", database.Quote(x.Name), list, two)
}
