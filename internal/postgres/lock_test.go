//go:build unix

package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// Whoever installs waits with empty hands only: a transaction of the ERP's that
// holds one table and then wants another is never the victim of a deadlock.
func TestInstallMeetsWriters(t *testing.T) {
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b(id int PRIMARY KEY)")
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a"}, {Name: "b"}}}})
	writer := pgtest.Connect(t, e.dsn)
	ctx := context.Background()
	if _, err := writer.Exec(ctx, "SET deadlock_timeout = '50ms'; BEGIN; INSERT INTO b VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Install(ctx, e.dsn, SourceOptions{}) }()
	time.Sleep(300 * time.Millisecond) // it has had a several times by now, and not b
	if _, err := writer.Exec(ctx, "INSERT INTO a VALUES (1)"); err != nil {
		t.Errorf("the ERP's own write: %v", err)
	}
	time.Sleep(300 * time.Millisecond)
	if _, err := writer.Exec(ctx, "INSERT INTO a VALUES (2); COMMIT"); err != nil {
		t.Errorf("the ERP's own write: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}

	// One that never ends makes busy, and leaves nothing behind.
	e = newERP(t, "CREATE TABLE a(id int PRIMARY KEY)")
	writer = pgtest.Connect(t, e.dsn)
	if _, err := writer.Exec(ctx, "BEGIN; INSERT INTO a VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	c = NewCapture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a"}}}})
	if err := c.Install(ctx, e.dsn, SourceOptions{LockTimeout: 200 * time.Millisecond}); !errors.Is(err, database.ErrBusy) {
		t.Errorf("got %v, want %v", err, database.ErrBusy)
	}
	if n := pgtest.Query(t, e.dsn, "SELECT count(*) FROM pg_namespace WHERE nspname = 'caisseauto'")[0]; n != "0" {
		t.Error("half of it is there")
	}
}
