package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// lockPause is the time between two tries for a lock. SQLite's own busy
// handler backs off to 100 ms, and does not hear of a context that ends.
const lockPause = 5 * time.Millisecond

// locked runs work in a write transaction and commits it. It returns how long
// the lock was held. After an error everything is rolled back.
func (t *Till) locked(ctx context.Context, plan *applyPlan, work func() error) (time.Duration, error) {
	if err := t.patiently(ctx, "BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	start := time.Now()
	stop := t.conn.Watch(ctx)
	err := t.conn.Exec("PRAGMA defer_foreign_keys=ON; DELETE FROM temp.caisseauto_parked; DELETE FROM temp.caisseauto_deferred")
	if err == nil {
		err = work()
	}
	stop()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		t.hook("commit")
		err = t.commit(ctx, plan)
	}
	if err != nil {
		return 0, errors.Join(err, t.rollback())
	}
	t.hook("committed")
	return time.Since(start), nil
}

// patiently runs one statement that needs a lock, until it gets it or the
// busy timeout has passed.
func (t *Till) patiently(ctx context.Context, sql string) error {
	t.conn.BusyTimeout(0)
	defer t.conn.BusyTimeout(t.o.BusyTimeout)
	deadline := time.Now().Add(t.o.BusyTimeout)
	for {
		t.conn.KeepCache() // what another program has written meanwhile is a few pages
		err := t.conn.Exec(sql)
		if err == nil || !sqlite3.IsBusy(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: no lock within %s: %w", sql, t.o.BusyTimeout, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// rollback ends an open transaction. Some errors have ended it already.
func (t *Till) rollback() error {
	if !t.conn.InTransaction() {
		return nil
	}
	if err := t.conn.Exec("ROLLBACK"); err != nil && t.conn.InTransaction() {
		return fmt.Errorf("rolling back: %w", err)
	}
	return nil
}

// commit commits. When foreign keys are violated the transaction is still
// open after COMMIT has failed, so that the culprits can be named.
func (t *Till) commit(ctx context.Context, plan *applyPlan) error {
	err := t.patiently(ctx, "COMMIT")
	if err == nil || !sqlite3.IsForeignKey(err) || plan == nil {
		return err
	}
	list := t.violations(plan)
	if len(list) == 0 {
		list = []string{err.Error()}
	}
	return fmt.Errorf("%w: after the batch, rows would refer to rows that are not there; nothing was applied: %s; let the batch bring the missing rows (are all tables of the reference in the export?), or remove the till's own rows that refer to what the server has deleted",
		manifest.ErrRefused, strings.Join(list, "; "))
}

const (
	// violationsShown is how many broken references an error names.
	violationsShown = 5
	// violationsTime bounds the search for them: the lock is held meanwhile.
	violationsTime = 3 * time.Second
)

var errEnough = errors.New("enough")

// violations names some of the rows whose parents are missing.
func (t *Till) violations(plan *applyPlan) []string {
	ctx, cancel := context.WithTimeout(context.Background(), violationsTime)
	defer cancel()
	defer t.conn.Watch(ctx)()
	names, err := t.concerned(plan)
	if err != nil {
		return nil
	}
	var list []string
	for _, name := range names {
		err := t.conn.Query(`SELECT rowid, parent, fkid FROM pragma_foreign_key_check(?1)`, func(s *sqlite3.Stmt) error {
			list = append(list, t.violation(name, s))
			if len(list) >= violationsShown {
				return errEnough
			}
			return nil
		}, name)
		if err != nil {
			break // enough, out of time, or a reference that SQLite calls a mismatch
		}
	}
	return list
}

// violation describes one row of foreign_key_check.
func (t *Till) violation(name string, s *sqlite3.Stmt) string {
	text := fmt.Sprintf("table %s", database.Quote(name))
	tab, err := ReadTable(t.conn, name)
	if err != nil {
		return text + " refers to " + database.Quote(s.Text(1))
	}
	var cols []string
	for _, f := range t.foreignKey(name, s.Int(2)) {
		if !containsName(tab.Key, f) {
			cols = append(cols, f)
		}
	}
	cols = append(append([]string{}, tab.Key...), cols...)
	if !tab.WithoutRowid && len(cols) > 0 {
		_ = t.conn.Query("SELECT "+database.QuoteAll("", cols)+" FROM "+database.Quote(name)+" WHERE rowid=?1", func(r *sqlite3.Stmt) error {
			for i, c := range cols {
				text += fmt.Sprintf(" %s=%s", database.Quote(c), database.ShowValue(r.Value(i)))
			}
			return nil
		}, s.Int(0))
	}
	return text + " has no parent in " + database.Quote(s.Text(1))
}

// foreignKey returns the child columns of a table's foreign key by its id.
func (t *Till) foreignKey(table string, id int64) []string {
	var cols []string
	_ = t.conn.Query(`SELECT "from" FROM pragma_foreign_key_list(?1) WHERE id=?2 ORDER BY seq`, func(s *sqlite3.Stmt) error {
		cols = append(cols, s.Text(0))
		return nil
	}, table, id)
	return cols
}

// concerned returns the tables whose foreign keys a batch can break: its own,
// and those that refer to them.
func (t *Till) concerned(plan *applyPlan) ([]string, error) {
	all, err := Tables(t.conn)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		hit := plan.table(name) != nil
		err := t.conn.Query(`SELECT "table" FROM pragma_foreign_key_list(?1)`, func(s *sqlite3.Stmt) error {
			hit = hit || plan.table(s.Text(0)) != nil
			return nil
		}, name)
		if err != nil {
			return nil, err
		}
		if hit {
			names = append(names, name)
		}
	}
	return names, nil
}

// checkpointPages is the length of a WAL from which on it is copied back at
// once; below it, the automatic checkpoint of the next writer does it
// (https://www.sqlite.org/c3ref/wal_autocheckpoint.html, 1000 by default).
const checkpointPages = 1000

// checkpoint copies a long WAL back into the database without making anyone
// wait, and truncates it when nobody is using it. A failure is no failure of
// the batch, which is committed.
func (t *Till) checkpoint() {
	pages := int64(-1)
	run := func(mode string) (busy int64) {
		err := t.conn.Query("PRAGMA wal_checkpoint("+mode+")", func(s *sqlite3.Stmt) error {
			busy, pages = s.Int(0), s.Int(1)
			return nil
		})
		if err != nil {
			t.o.Log.Warn("checkpoint of the write-ahead log", "mode", mode, "error", err.Error())
			return 1
		}
		return busy
	}
	t.conn.BusyTimeout(0)
	defer t.conn.BusyTimeout(t.o.BusyTimeout)
	run("NOOP")
	if pages < checkpointPages {
		return
	}
	// PASSIVE waits for nobody and blocks nobody; after it there is next to
	// nothing left for TRUNCATE, which keeps writers out, to do.
	if run("PASSIVE") == 0 {
		run("TRUNCATE")
	}
}
