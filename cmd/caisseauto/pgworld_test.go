//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"caisseauto/internal/postgres/pgtest"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
)

// A pgWorld is a server whose ERP has a PostgreSQL database, a drop and a
// till without a database yet, in one folder.
type pgWorld struct {
	*world
	dsn string // of the ERP's database, as the superuser
}

const pgServer = `[database]
driver = "postgres"
dsn = %q
[drop]
url = "file:../drop"
[signing]
principal = "server@acme"
key = "keys/server"
[trust]
allowed_signers = "allowed_signers"
`

// newPGWorld makes the folder. The server's configuration ends with the
// dossiers that are given.
func newPGWorld(t *testing.T, dsn, dossiers string) *pgWorld {
	t.Helper()
	if raceEnabled {
		t.Skip("many commands, which scripts/test runs without the race detector")
	}
	w := &pgWorld{&world{t: t, dir: t.TempDir()}, dsn}
	for _, d := range []string{"server/keys", "till", "drop"} {
		if err := os.MkdirAll(w.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pub, err := keys.Generate(w.path("server/keys/server"), "server@acme")
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(keys.AllowedLine([]string{"server@acme"}, nil, pub, "") + "\n")
	w.write(w.path("server/allowed_signers"), line)
	w.write(w.path("till/allowed_signers"), line)
	w.write(w.path("till/till.toml"), []byte(worldTill))
	w.serverConfig(dsn, dossiers)
	return w
}

func (w *pgWorld) serverConfig(dsn, dossiers string) {
	w.t.Helper()
	w.write(w.path("server/server.toml"), []byte(fmt.Sprintf(pgServer, dsn)+dossiers))
}

// do runs one command line that must succeed.
func (w *pgWorld) do(args ...string) (stdout string) {
	w.t.Helper()
	code, stdout, stderr := w.run(args...)
	if code != 0 {
		w.t.Fatalf("%v: exit code %d: %s%s", args, code, stdout, stderr)
	}
	return stdout
}

func (w *pgWorld) erp(sql ...string) { pgtest.Exec(w.t, w.dsn, sql...) }

func (w *pgWorld) initServer() {
	w.t.Helper()
	w.do("init", "server", "--config", w.path("server/server.toml"))
}

func (w *pgWorld) export() string {
	w.t.Helper()
	return w.do("export", "--config", w.path("server/server.toml"))
}

func (w *pgWorld) importNow() {
	w.t.Helper()
	w.do("import", "--config", w.path("till/till.toml"))
}

func (w *pgWorld) createSchema() {
	w.t.Helper()
	w.do("init", "till", "--config", w.path("till/till.toml"), "--create-schema")
}

// till calls row for each row of a query in the till's database.
func (w *pgWorld) till(sql string, row func(*sqlite3.Stmt)) {
	w.t.Helper()
	c, err := sqlite3.Open(w.path("till/till.db"), sqlite3.ReadOnly)
	if err == nil {
		defer c.Close()
		err = c.Query(sql, func(s *sqlite3.Stmt) error { row(s); return nil })
	}
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// tillRows returns the rows of a query in the till's database as text.
func (w *pgWorld) tillRows(sql string) []string {
	w.t.Helper()
	list := []string{}
	w.till(sql, func(s *sqlite3.Stmt) {
		fields := make([]string, s.Columns())
		for i := range fields {
			fields[i] = s.Text(i)
		}
		list = append(list, strings.Join(fields, "|"))
	})
	return list
}
