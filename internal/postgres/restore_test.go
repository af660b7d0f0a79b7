//go:build unix

package postgres

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// on returns the same stream and reader on another server or database.
func (s *stream) on(t testing.TB, dsn string) *stream {
	t.Helper()
	own, err := open(t.Context(), dsn, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close(context.Background()) })
	e := &erp{pgtest.Connect(t, dsn), t, dsn, own}
	return e.continued(s, e.stream(s.capture, s.name))
}

// alone makes a cluster of the test's own with articles, exported once.
func alone(t *testing.T) (*pgtest.Cluster, *stream) {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	c := pgtest.Start(t, pgtest.Options{})
	dsn := c.NewDatabase(t, articleSQL)
	if err := NewCapture(articles("A")).Install(t.Context(), dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	first := &stream{Source: NewSource(dsn, NewCapture(articles("A")), SourceOptions{}), name: "A/down"}
	own, err := open(t.Context(), dsn, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close(context.Background()) })
	e := &erp{pgtest.Connect(t, dsn), t, dsn, own}
	s := e.stream(first.capture, first.name)
	s.round()
	return c, s
}

// expect fails the test unless the next batch is a baseline, with a word in
// the log, and what changes after it comes as changes.
func (s *stream) expect() {
	s.e.t.Helper()
	if got := s.round(); !strings.HasPrefix(got, "baseline ") {
		s.e.t.Errorf("%s, want a baseline", got)
	}
	if !strings.Contains(s.log.String(), "restored, failed over or rewritten") {
		s.e.t.Errorf("nobody was told: %q", s.log)
	}
	s.e.do("UPDATE article SET label = label || 'x' WHERE id = 2")
	if got := s.round(); got != "delta article:changes 1" {
		s.e.t.Errorf("after the baseline: %s", got)
	}
	if got := s.round(); got != "delta  0" {
		s.e.t.Errorf("at rest: %s", got)
	}
}

// A replica is read by nobody, since it cannot keep the record. When it is
// promoted, the connections that are open go on, and a baseline comes.
func TestReplica(t *testing.T) {
	t.Parallel()
	c, s := alone(t)
	standby := c.Standby(t)
	s.e.do("UPDATE article SET label = 'last' WHERE id = 2")
	standby.Follow(t, c)
	dsn := standby.DSN(pgtest.Database(t, s.e.dsn), "postgres")
	r := s.on(t, dsn)
	stand, err := r.Stand(t.Context(), r.name)
	if err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"Install":  r.capture.Install(t.Context(), dsn, SourceOptions{}),
		"Read":     func() error { _, err := r.Read(t.Context(), r.name, false, r.model); return err }(),
		"Reserve":  r.Reserve(t.Context(), r.name, manifest.Pending{}),
		"Publish":  r.Publish(t.Context(), r.name, manifest.Pending{}),
		"NewEpoch": r.NewEpoch(t.Context(), r.name, stand.Last, "x"),
	} {
		if !errors.Is(err, database.ErrReadOnly) || !strings.Contains(err.Error(), "primary") {
			t.Errorf("%s: %v, want %v", what, err, database.ErrReadOnly)
		}
	}
	standby.Promote(t)
	r.expect()
}

// A database that was restored from a backup, on a new timeline, tells so.
func TestRestored(t *testing.T) {
	t.Parallel()
	c, s := alone(t)
	backup := c.Backup(t)
	s.e.do("UPDATE article SET label = 'lost' WHERE id = 2; INSERT INTO article VALUES (40, 'A')")
	s.round()
	c.Restore(t, backup)
	r := s.on(t, s.e.dsn)
	r.expect()
}

// One that was dumped and restored has numbers of transactions that mean
// nothing where it is now.
func TestDumped(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"pg_dump", "psql"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	c, s := alone(t)
	for range 300 { // this cluster is further than the other one
		s.e.do("SELECT pg_current_xact_id()")
	}
	other := database.SourceConfig{Tables: articles("B")["B/down"].Tables}
	if err := NewCapture(map[string]database.SourceConfig{"A/down": articles("A")["A/down"], "B/down": other}).Install(t.Context(), s.e.dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	s.e.do("UPDATE article SET label = 'seen' WHERE id = 2")
	s.round() // stays in the journal, for B
	s.e.do("UPDATE article SET label = 'not seen' WHERE id = 4")
	dump := filepath.Join(t.TempDir(), "dump.sql")
	if out, err := exec.Command("pg_dump", "-f", dump, "-d", s.e.dsn).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*pgtest.Cluster{"same cluster": c, "other cluster": pgtest.Get(t)} {
		dsn := c.NewDatabase(t)
		if out, err := psql(t, dsn, string(script)); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		r := s.on(t, dsn)
		r.log.Reset()
		r.expect()
		// What the dump brought into the journal goes, too.
		b := s.on(t, dsn)
		b.capture = NewCapture(map[string]database.SourceConfig{"A/down": articles("A")["A/down"]})
		r.e.do("DELETE FROM caisseauto.caisseauto_stream WHERE stream = 'B/down'; UPDATE article SET label = 'z' WHERE id = 2")
		r.round()
		if got := pgtest.Query(t, dsn, "SELECT count(*) FROM caisseauto.caisseauto_journal"); got[0] != "0" {
			t.Errorf("%s: %s entries in the journal", name, got[0])
		}
	}
}

// A copy of the database, and a journal that was rewritten, are other places.
func TestOtherPlaces(t *testing.T) {
	t.Parallel()
	c, s := alone(t)
	s.e.do("UPDATE article SET label = 'x' WHERE id = 2")
	s.e.do("VACUUM FULL caisseauto.caisseauto_journal")
	s.expect()
	s.Close()
	name := pgtest.Database(t, s.e.dsn)
	s.e.Close(context.Background())
	s.e.own.Close(context.Background())
	pgtest.Exec(t, c.DSN("postgres", "postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'", "CREATE DATABASE copy TEMPLATE "+name)
	r := s.on(t, c.DSN("copy", "postgres"))
	r.expect()
}
