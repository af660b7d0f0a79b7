//go:build unix

package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// number makes names of databases and roles unique.
var number atomic.Int64

// NewDatabase makes an empty database, runs the SQL in it as the superuser,
// and returns how to connect to it as the superuser, without a password. Each
// string may hold several statements. The database is dropped at the test's
// end, and whoever is still connected is disconnected.
func (c *Cluster) NewDatabase(t testing.TB, sql ...string) (dsn string) {
	t.Helper()
	name := fmt.Sprintf("erp_%d", number.Add(1))
	admin := c.DSN("postgres", "postgres")
	Exec(t, admin, "CREATE DATABASE "+name+" TEMPLATE template0")
	t.Cleanup(func() {
		if c.running() && c.writable() {
			Exec(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	dsn = c.DSN(name, "postgres")
	Exec(t, dsn, sql...)
	return dsn
}

// writable is false where a database cannot be dropped, and need not be.
func (c *Cluster) writable() bool {
	rows, err := query(c.DSN("postgres", "postgres"), "SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::bool")
	return err == nil && rows[0] == "t"
}

// DSN returns how to connect through the socket, where every role is let in
// without a password: a keyword/value string, to which more may be added.
func (c *Cluster) DSN(db, user string) string {
	return dsn(c.dir, c.port, db, user)
}

// TCP returns how to connect to 127.0.0.1, where a password is asked for: add
// one, or a passfile.
func (c *Cluster) TCP(db, user string) string {
	return dsn("127.0.0.1", c.port, db, user)
}

func dsn(host string, port int, db, user string) string {
	return fmt.Sprintf("host=%s port=%d dbname=%s user=%s sslmode=disable", quote(host), port, quote(db), quote(user))
}

// quote writes a value of a connection string.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, ` '\`) {
		return s
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// Database returns the database that a connection string names.
func Database(t testing.TB, dsn string) string {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return config.Database
}

// NewRole makes a role that may log in and nothing more, and returns its name.
// With a password it can come over TCP. It lasts as long as the cluster.
func (c *Cluster) NewRole(t testing.TB, password string) string {
	t.Helper()
	name := fmt.Sprintf("role_%d", number.Add(1))
	sql := "CREATE ROLE " + name + " LOGIN"
	if password != "" {
		sql += " PASSWORD '" + strings.ReplaceAll(password, "'", "''") + "'"
	}
	Exec(t, c.DSN("postgres", "postgres"), sql)
	return name
}

// PassFile writes a file for PGPASSFILE with the role's password for this
// cluster over TCP, and returns its name.
func (c *Cluster) PassFile(t testing.TB, user, password string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pgpass")
	esc := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace
	line := strings.Join([]string{"127.0.0.1", strconv.Itoa(c.port), "*", esc(user), esc(password)}, ":") + "\n"
	if err := os.WriteFile(name, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Connect opens a connection that is closed at the test's end: for a
// transaction that stays open, say.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) }) // it may be broken on purpose
	return conn
}

// Exec runs SQL on a connection of its own; each string may hold several
// statements, which are then one transaction.
func Exec(t testing.TB, dsn string, sql ...string) {
	t.Helper()
	if len(sql) == 0 {
		return
	}
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, s := range sql {
		if _, err := conn.Exec(ctx, s).ReadAll(); err != nil {
			t.Fatalf("%v\n%s", err, s)
		}
	}
}

// Try is Exec of one string, for what may fail.
func Try(dsn, sql string) error {
	_, err := query(dsn, sql)
	return err
}

// Query returns the rows of a query as COPY writes them: the server's text of
// each column with tabs between, and \N for NULL.
func Query(t testing.TB, dsn, sql string) []string {
	t.Helper()
	rows, err := query(dsn, sql)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return rows
}

func query(dsn, sql string) (rows []string, err error) {
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	esc := strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
	for _, r := range results {
		for _, row := range r.Rows {
			fields := make([]string, len(row))
			for i, v := range row {
				fields[i] = `\N`
				if v != nil {
					fields[i] = esc.Replace(string(v))
				}
			}
			rows = append(rows, strings.Join(fields, "\t"))
		}
	}
	return rows, nil
}

// Quiet waits until nobody is connected to the database: a server notices
// only after a while that a client is gone, and until then may still commit.
func (c *Cluster) Quiet(t testing.TB, db string) {
	t.Helper()
	conn := Connect(t, c.DSN("postgres", "postgres"))
	defer conn.Close(context.Background())
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var n int
		err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", db).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("pgtest: %d connections to %s are still there after %s", n, db, patience)
		}
	}
}
