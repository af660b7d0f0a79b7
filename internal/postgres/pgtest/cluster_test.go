//go:build unix

package pgtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sees fails the test unless a query has exactly these rows.
func sees(t *testing.T, dsn, sql string, want ...string) {
	t.Helper()
	if got := Query(t, dsn, sql); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", sql, got, want)
	}
}

// refused fails the test unless SQL fails with this code of PostgreSQL's.
func refused(t *testing.T, dsn, sql, code string) {
	t.Helper()
	_, err := query(dsn, sql)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != code {
		t.Errorf("%s: %v, want %s", sql, err, code)
	}
}

func TestNewDatabase(t *testing.T) {
	begin := time.Now()
	c := Get(t)
	t.Logf("cluster in %s", time.Since(begin))
	begin = time.Now()
	a := c.NewDatabase(t, "CREATE TABLE a (x int, y text); INSERT INTO a VALUES (1, E'\\t\\\\N')", "INSERT INTO a VALUES (2)")
	t.Logf("database in %s", time.Since(begin))
	b := Get(t).NewDatabase(t, "CREATE TABLE a (x int)")
	sees(t, a, "SELECT * FROM a ORDER BY x", `1	\t\\N`, `2	\N`)
	sees(t, b, "SELECT * FROM a")
	sees(t, a, "SELECT pg_encoding_to_char(encoding), current_setting('max_connections') FROM pg_database WHERE datname = current_database()", "UTF8	200")
	if Database(t, a) == Database(t, b) {
		t.Error("one database for two")
	}
}

// A database is gone with the test that it was for, whoever is connected.
func TestDatabaseIsDropped(t *testing.T) {
	var name string
	t.Run("test", func(t *testing.T) {
		dsn := Get(t).NewDatabase(t)
		name = Database(t, dsn)
		conn, err := pgx.Connect(context.Background(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn // left open
	})
	sees(t, Get(t).DSN("postgres", "postgres"), "SELECT datname FROM pg_database WHERE datname = '"+name+"'")
}

// Over TCP the password counts, also that of a PGPASSFILE.
func TestPassword(t *testing.T) {
	c := Get(t)
	const password = `p:a\ss'w`
	role := c.NewRole(t, password)
	db := Database(t, c.NewDatabase(t))
	refused(t, c.TCP(db, role), "SELECT 1", "28P01")
	refused(t, c.TCP(db, role)+" password=wrong", "SELECT 1", "28P01")
	sees(t, c.TCP(db, role)+" password="+quote(password), "SELECT current_user", role)
	sees(t, c.TCP(db, role)+" passfile="+c.PassFile(t, role, password), "SELECT current_user", role)
	t.Setenv("PGPASSFILE", c.PassFile(t, role, password))
	sees(t, c.TCP(db, role), "SELECT current_user", role)
	sees(t, c.DSN(db, role), "SELECT current_user", role)
	sees(t, c.DSN(db, "postgres"), "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = '"+role+"'", "SCRAM-SHA-256")
}

func TestRestart(t *testing.T) {
	c := Start(t, Options{Durable: true, Settings: map[string]string{"work_mem": "12MB", "search_path": `"it's", public`}})
	a := c.NewDatabase(t, "CREATE TABLE a (x int); INSERT INTO a VALUES (1)")
	sees(t, a, "SELECT current_setting('fsync'), current_setting('work_mem'), current_setting('search_path')", `on	12MB	"it's", public`)
	stop := map[string]func(){
		"restart":   func() { c.Restart(t) },
		"smart":     func() { c.Stop(t, Smart); c.Start(t) },
		"immediate": func() { c.Stop(t, Immediate); c.Start(t) },
		"kill":      func() { c.Kill(t); c.Start(t) },
	}
	for name, f := range stop {
		conn := Connect(t, a)
		if name == "smart" {
			conn.Close(context.Background())
		} else if _, err := conn.Exec(context.Background(), "BEGIN; INSERT INTO a VALUES (2)"); err != nil {
			t.Fatal(err)
		}
		f()
		if err := conn.Ping(context.Background()); err == nil {
			t.Errorf("%s leaves a connection", name)
		}
		sees(t, a, "SELECT x FROM a", "1")
	}
	c.Stop(t, Fast)
	if _, err := pgx.Connect(context.Background(), a); err == nil {
		t.Error("a stopped server answers")
	}
}

// A killed server is gone at once, with all its processes and its memory, and
// has kept what it had committed.
func TestKill(t *testing.T) {
	c := Start(t, Options{})
	a := c.NewDatabase(t, "CREATE TABLE a (x int)")
	busy := Connect(t, a) // in a loop that does not look whether the postmaster lives
	go busy.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 10000000000)")
	Exec(t, a, "INSERT INTO a VALUES (1)")
	pids, memory := processes(t, c), c.memory()
	if len(pids) < 5 || memory < 0 {
		t.Fatalf("processes %v, memory %d", pids, memory)
	}
	c.Kill(t)
	gone(t, pids, memory)
	c.Start(t)
	sees(t, a, "SELECT x FROM a", "1")
	if log := c.Log(t); !strings.Contains(log, "was not properly shut down") {
		t.Errorf("no crash recovery in\n%s", log)
	}
}

// A test's own cluster is gone with the test, however it ended.
func TestStartClears(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *Cluster){
		"running": func(t *testing.T, c *Cluster) {},
		"stopped": func(t *testing.T, c *Cluster) { c.Stop(t, Fast) },
		"killed":  func(t *testing.T, c *Cluster) { c.Kill(t) },
		"skipped": func(t *testing.T, c *Cluster) { t.SkipNow() },
	} {
		var c *Cluster
		var pids []int
		var memory int
		t.Run(name, func(t *testing.T) {
			c = Start(t, Options{})
			pids, memory = processes(t, c), c.memory()
			end(t, c)
		})
		gone(t, pids, memory)
		if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s leaves %s: %v", name, c.dir, err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := Folder(t)
	t.Run("test", func(t *testing.T) {
		c := Start(t, Options{Folder: dir})
		if c.Data() != filepath.Join(dir, "data") {
			t.Error(c.Data())
		}
		sees(t, c.NewDatabase(t), "SELECT 1", "1")
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("leaves %v, %v", left, err)
	}
}

// What would take the cluster away from other tests is refused.
func TestSharedStays(t *testing.T) {
	c := Get(t)
	for name, f := range map[string]func(t testing.TB){
		"Stop":     func(t testing.TB) { c.Stop(t, Fast) },
		"Restart":  func(t testing.TB) { c.Restart(t) },
		"Kill":     func(t testing.TB) { c.Kill(t) },
		"Restore":  func(t testing.TB) { c.Restore(t, "") },
		"Rollback": func(t testing.TB) { c.Rollback(t, "") },
	} {
		if !fails(t, f) {
			t.Errorf("%s of the shared cluster", name)
		}
	}
	sees(t, c.DSN("postgres", "postgres"), "SELECT 1", "1")
}

// doomed is a test that may fail.
type doomed struct {
	testing.TB
	failed bool
}

func (d *doomed) Helper() {}

func (d *doomed) Fatal(...any) {
	d.failed = true
	panic(d)
}

func fails(t *testing.T, f func(t testing.TB)) bool {
	d := &doomed{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(d) {
				panic(r)
			}
		}()
		f(d)
	}()
	return d.failed
}

func TestQuiet(t *testing.T) {
	c := Get(t)
	a := c.NewDatabase(t)
	conn := Connect(t, a)
	go func() {
		time.Sleep(200 * time.Millisecond)
		conn.Close(context.Background())
	}()
	begin := time.Now()
	c.Quiet(t, Database(t, a))
	if d := time.Since(begin); d < 150*time.Millisecond {
		t.Errorf("quiet after %s, with a connection open", d)
	}
}
