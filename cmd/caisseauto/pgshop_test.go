//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/testdata/schema"
)

// shopKinds make a shop for each kind of ERP database.
var shopKinds = map[string]func(*testing.T) *shop{"sqlite": newShop, "postgres": newPostgresShop}

// newPostgresShop is newShop with a PostgreSQL database at the server.
func newPostgresShop(t *testing.T) *shop {
	t.Helper()
	s := newShop(t)
	dsn := pgtest.Get(t).NewDatabase(t, schema.Postgres(schema.Retail), shopRows)
	s.erp = &postgresDB{t, dsn + " application_name=caisseauto"}
	s.world.remove(erpFile)
	for _, left := range []string{"server/outbox", "server/inbox", "drop/ACME"} {
		s.world.remove(left)
	}
	s.write(s.config("server"), []byte(strings.Replace(shopServer, `dsn = "erp.db"`, fmt.Sprintf("driver = \"postgres\"\ndsn = %q", dsn), 1)))
	s.must("server", "init", "server")
	s.must("server", "export")
	for _, n := range shopTills {
		for _, left := range []string{"till.db", "till.db-wal", "till.db-shm", "outbox", "inbox"} {
			s.world.remove("till-" + n + "/" + left)
		}
		if err := execFile(s.path("till-"+n+"/till.db"), sqlite3.Create, schema.Retail); err != nil {
			t.Fatal(err)
		}
		s.must(n, "init", "till")
		s.must(n, "import")
	}
	return s
}

// A postgresDB is the ERP's database in a cluster of the tests.
type postgresDB struct {
	t   *testing.T
	dsn string
}

func (d *postgresDB) exec(sql string) {
	d.t.Helper()
	pgtest.Exec(d.t, d.dsn, sql)
}

// rows reads the values out of JSON, which tells numbers from texts.
func (d *postgresDB) rows(sql string) (list [][]change.Value) {
	d.t.Helper()
	unescape := strings.NewReplacer(`\\`, `\`) // pgtest.Query writes rows as COPY does
	for _, line := range pgtest.Query(d.t, d.dsn, "SET search_path = public, caisseauto; SELECT row_to_json(q) FROM ("+sql+") AS q") {
		dec := json.NewDecoder(strings.NewReader(unescape.Replace(line)))
		dec.UseNumber()
		var row []change.Value
		for key := false; ; key = !key {
			token, err := dec.Token()
			if err != nil {
				d.t.Fatalf("%s: %v", line, err)
			}
			if token == json.Delim('}') {
				break
			}
			if token != json.Delim('{') && !key {
				row = append(row, jsonValue(d.t, token))
			}
		}
		list = append(list, row)
	}
	return list
}

func jsonValue(t *testing.T, token json.Token) change.Value {
	t.Helper()
	switch v := token.(type) {
	case nil:
		return change.Value{}
	case string:
		return change.Value{Kind: change.Text, Bytes: []byte(v)}
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			t.Fatal(err)
		}
		return change.Value{Kind: change.Integer, Int: n}
	}
	t.Fatalf("a %T", token)
	return change.Value{}
}
