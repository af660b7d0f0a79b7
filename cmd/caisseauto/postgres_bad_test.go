//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/postgres/pgtest"
)

const badSQL = "CREATE TABLE article(id int PRIMARY KEY, dossier text, label text); INSERT INTO article SELECT n, 'ACME', 'l' FROM generate_series(1, 5) AS n"

const badDossier = "[[dossier]]\ncode = \"ACME\"\n[[dossier.table]]\nname = \"article\"\ndossier_column = \"dossier\"\n"

// newBadWorld is a world whose till has the first batch, on a cluster of the
// test's own.
func newBadWorld(t *testing.T) (*pgtest.Cluster, *pgWorld) {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	c := pgtest.Start(t, pgtest.Options{})
	w := newPGWorld(t, c.NewDatabase(t, badSQL), badDossier)
	w.initServer()
	w.export()
	w.createSchema()
	w.importNow()
	return c, w
}

func (w *pgWorld) server() string { return w.path("server/server.toml") }

// fails runs an export that must fail with that code, and say these things.
func (w *pgWorld) fails(want int, says ...string) {
	w.t.Helper()
	code, out, errs := w.run("export", "--config", w.server())
	if code != want {
		w.t.Errorf("exit code %d, want %d: %s%s", code, want, out, errs)
	}
	for _, s := range says {
		if !strings.Contains(errs, s) {
			w.t.Errorf("no %q in %s", s, errs)
		}
	}
}

// same fails the test unless the till has the articles of the server.
func (w *pgWorld) same() {
	w.t.Helper()
	w.importNow()
	want := pgtest.Query(w.t, w.dsn, "SELECT id, label FROM article WHERE dossier = 'ACME' ORDER BY id")
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\t", "|")
	}
	if got := w.tillRows("SELECT id, label FROM article ORDER BY id"); !slices.Equal(got, want) {
		w.t.Errorf("the till has %q, the server %q", got, want)
	}
}

// Each thing that a server can have against an export has its exit code, and
// when it is mended the till gets all.
func TestPostgresExitCodes(t *testing.T) {
	c, w := newBadWorld(t)
	db := pgtest.Database(t, w.dsn)
	role := c.NewRole(t, "right")
	for _, tt := range []struct {
		name, dsn string
		code      int
		says      []string
	}{
		{"no password", c.TCP(db, role) + " passfile=/nowhere", 77, []string{"PGPASSFILE"}},
		{"wrong password", c.TCP(db, role) + " passfile=" + c.PassFile(t, role, "wrong"), 77, []string{"password"}},
		{"no rights", c.DSN(db, role), 77, []string{"--print-sql"}},
		{"nobody listens", strings.Replace(c.TCP(db, role), fmt.Sprint(c.Port()), "1", 1), 69, []string{"run it again"}},
		{"no such database", c.DSN("nodb", "postgres"), 2, []string{"database.dsn"}},
		{"not installed", c.DSN("postgres", "postgres"), 2, []string{"caisseauto init server"}},
		{"unreadable", "host", 2, []string{"database.dsn"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.serverConfig(tt.dsn, badDossier)
			w.t = t
			w.fails(tt.code, tt.says...)
		})
	}
	w.t = t
	w.serverConfig(w.dsn, badDossier)

	lock := pgtest.Connect(t, w.dsn)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE article; UPDATE article SET label = 'locked'"); err != nil {
		t.Fatal(err)
	}
	w.fails(75, "article", "run it again")
	if _, err := lock.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	w.export()
	w.same()

	w.erp("DROP TABLE article CASCADE")
	w.fails(1, `"article"`, "no such table", "correct its name")
	w.erp(badSQL)
	w.export()
	w.same()

	c.Stop(t, pgtest.Fast)
	w.fails(69, "run it again")
	c.Start(t)
	w.erp("UPDATE article SET label = 'after'")
	w.export()
	w.same()
}

// A replica is refused; when it is promoted, it goes on with a baseline.
func TestPostgresFailover(t *testing.T) {
	c, w := newBadWorld(t)
	standby := c.Standby(t)
	w.erp("UPDATE article SET label = 'last' WHERE id = 1")
	standby.Follow(t, c)
	db := pgtest.Database(t, w.dsn)
	w.serverConfig(standby.DSN(db, "postgres"), badDossier)
	w.fails(73, "primary")
	if code, _, errs := w.run("init", "server", "--config", w.server()); code != 73 {
		t.Errorf("init server: exit code %d: %s", code, errs)
	}
	c.Kill(t)
	standby.Promote(t)
	w.dsn = standby.DSN(db, "postgres")
	if out := w.export(); !strings.Contains(out, "baseline") {
		t.Errorf("after the failover: %s", out)
	}
	w.same()
	w.erp("DELETE FROM article WHERE id = 2")
	if out := w.export(); !strings.Contains(out, "delta") {
		t.Errorf("and then: %s", out)
	}
	w.same()
}

// A database that was put back to a backup would give numbers a second time:
// an operator decides, whether the server knows of it or not, and whether the
// drop can be seen or not.
func TestPostgresRestored(t *testing.T) {
	for name, restore := range map[string]func(c *pgtest.Cluster, t testing.TB, backup string){
		"recovery": (*pgtest.Cluster).Restore, "cold copy": (*pgtest.Cluster).Rollback,
	} {
		t.Run(name, func(t *testing.T) {
			c, w := newBadWorld(t)
			backup := c.Backup(t)
			w.erp("UPDATE article SET label = 'lost' WHERE id = 1; INSERT INTO article VALUES (9, 'ACME')")
			w.export()
			w.importNow()
			restore(c, t, backup)
			w.erp("UPDATE article SET label = 'other' WHERE id = 3") // of the same transaction numbers
			w.fails(78, "--new-epoch", "ahead")
			if code, _, errs := w.run("export", "--config", w.server(), "--no-ship"); code != 78 {
				t.Errorf("without a look at the drop: exit code %d: %s", code, errs)
			}
			w.do("export", "--config", w.server(), "--new-epoch", "--reason", "restored from a backup")
			w.same()
			w.erp("DELETE FROM article WHERE id = 2")
			w.export()
			w.same()
		})
	}
}

// A backup that is as new as the last batch loses nobody a number: the stream
// goes on, with a baseline where the server knows of it.
func TestPostgresRestoredInTime(t *testing.T) {
	c, w := newBadWorld(t)
	backup := c.Backup(t)
	w.erp("UPDATE article SET label = 'never sent' WHERE id = 1")
	c.Restore(t, backup)
	w.erp("UPDATE article SET label = 'other' WHERE id = 3")
	if out := w.export(); !strings.Contains(out, "baseline") {
		t.Error(out)
	}
	w.same()
}

// What is ours was dropped: the export says so, and an operator decides when
// it is made again.
func TestPostgresSchemaDropped(t *testing.T) {
	_, w := newBadWorld(t)
	w.erp("UPDATE article SET label = 'x'; DROP SCHEMA caisseauto CASCADE", "UPDATE article SET label = 'y' WHERE id = 2")
	w.fails(2, "caisseauto init server")
	w.initServer()
	w.fails(78, "--new-epoch")
	w.do("export", "--config", w.server(), "--new-epoch", "--reason", "the schema was dropped")
	w.same()
}

// The script of --print-sql, which a superuser runs, is all that a role without
// any right needs.
func TestPostgresPrintSQL(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip(err)
	}
	c := pgtest.Get(t)
	dsn := c.NewDatabase(t, badSQL)
	role := c.NewRole(t, "")
	db := pgtest.Database(t, dsn)
	pgtest.Exec(t, dsn, "REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE "+db+" FROM PUBLIC; GRANT CONNECT ON DATABASE "+db+" TO "+role)
	w := newPGWorld(t, dsn, badDossier)
	w.serverConfig(c.DSN(db, role), badDossier)
	if code, _, errs := w.run("init", "server", "--config", w.server()); code != 77 || !strings.Contains(errs, "--print-sql") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	w.fails(2, "caisseauto init server")
	script := w.do("init", "server", "--config", w.server(), "--print-sql")
	file := w.path("script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(context.Background(), psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, dsn).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	if again := w.do("init", "server", "--config", w.server(), "--print-sql"); again != "" {
		t.Errorf("a second time: %s", again)
	}
	w.initServer()
	w.export()
	w.createSchema()
	w.same()
	w.erp("UPDATE article SET label = 'x' WHERE id = 2; DELETE FROM article WHERE id = 3")
	w.export()
	w.same()
}
