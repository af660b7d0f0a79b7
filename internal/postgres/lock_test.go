//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
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

// Whoever waits for a lock has others queue up behind him. Installing waits in
// short stretches, so that an ERP that waits for some seconds only never fails.
func TestInstallLetsOthersPass(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY)")
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a"}}}})
	long := e.session()
	long.do("BEGIN; INSERT INTO a VALUES (0)")
	done := make(chan error, 1)
	go func() { done <- c.Install(context.Background(), e.dsn, SourceOptions{LockTimeout: time.Minute}) }()
	e.do("SET lock_timeout = '3s'")
	for i := range 5 {
		time.Sleep(300 * time.Millisecond)
		e.do(fmt.Sprintf("INSERT INTO a VALUES (%d)", i+1))
	}
	long.do("COMMIT")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An export waits for a table that the ERP rebuilds, and holds no other one
// meanwhile: the ERP would be the victim of the deadlock.
func TestReadMeetsMigration(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b(id int PRIMARY KEY)")
	c := map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a"}, {Name: "b"}}}}
	s := e.capture(c)["A/down"]
	s.round()
	migration := e.session()
	migration.do("SET deadlock_timeout = '50ms'; BEGIN; ALTER TABLE b ADD x int DEFAULT 7")
	done := make(chan string, 1)
	go func() { done <- s.round() }()
	time.Sleep(300 * time.Millisecond)
	migration.do("ALTER TABLE a ADD x int DEFAULT 8; INSERT INTO a VALUES (1)")
	time.Sleep(300 * time.Millisecond)
	migration.do("INSERT INTO b VALUES (1); COMMIT")
	if got := <-done; got != "delta a:whole,b:whole 2" {
		t.Error(got)
	}

	// One that does not end makes busy, and the next run has it all.
	migration.do("BEGIN; TRUNCATE a; INSERT INTO a VALUES (5)")
	quick := NewSource(e.dsn, s.capture, SourceOptions{LockTimeout: 300 * time.Millisecond})
	defer quick.Close()
	if _, err := quick.Read(t.Context(), s.name, false, s.model); !errors.Is(err, database.ErrBusy) {
		t.Errorf("got %v, want %v", err, database.ErrBusy)
	}
	migration.do("COMMIT")
	if got := s.round(); got != "delta a:whole 1" {
		t.Error(got)
	}
}
