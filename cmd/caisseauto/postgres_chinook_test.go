//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/internal/sqlite/sqlite3"
)

const chinookPostgres = "../../../shared/data/chinook/chinook-postgresql.sql"

// TestChinookPostgres has the same database in PostgreSQL at the server, and
// two tills with SQLite. Four connections change it at the same time, in
// transactions of every size of which some are rolled back, while exports and
// imports go on; at the end all three hold the same values. With
// CAISSEAUTO_SEEDS set, once more with capture = "key".
func TestChinookPostgres(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("hundreds of commands")
	}
	data, err := os.ReadFile(chinookPostgres)
	if err != nil {
		t.Skip("no Chinook database beside the project")
	}
	_, script, _ := strings.Cut(string(data), `\c chinook;`)
	captures := []string{"columns"}
	if os.Getenv("CAISSEAUTO_SEEDS") != "" {
		captures = append(captures, "key")
	}
	for _, capture := range captures {
		t.Run(capture, func(t *testing.T) {
			dsn := pgtest.Get(t).NewDatabase(t, script)
			w := newPostgresWorld(t, dsn, capture, chinookTables(t, dsn))
			w.exchange()
			var total atomic.Int64
			stop, done := make(chan struct{}), &sync.WaitGroup{}
			for i := range 4 {
				done.Go(func() { w.mutate(rand.New(rand.NewPCG(uint64(i), 1)), &total, stop) })
			}
			for total.Load() < 1000 && !t.Failed() {
				w.exchange()
			}
			close(stop)
			done.Wait()
			w.exchange()
			w.compare()
			t.Logf("%d changes, %d batches", total.Load(), w.batches())
		})
	}
}

// A postgresWorld is a server on PostgreSQL, a drop and two tills.
type postgresWorld struct {
	*world
	dsn    string
	tables []string
}

func chinookTables(t *testing.T, dsn string) []string {
	t.Helper()
	list := pgtest.Query(t, dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	if len(list) != 11 {
		t.Fatalf("%d tables: %q", len(list), list)
	}
	return list
}

func newPostgresWorld(t *testing.T, dsn, capture string, tables []string) *postgresWorld {
	t.Helper()
	w := &postgresWorld{&world{t: t, dir: t.TempDir()}, dsn, tables}
	for _, d := range []string{"server", "till-001", "till-002", "drop"} {
		if err := os.MkdirAll(w.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf("[database]\ndriver = \"postgres\"\ndsn = %q\n", dsn) + strings.Split(strings.SplitN(worldServer, "\n", 3)[2], "  [[dossier.table]]")[0]
	for _, table := range tables {
		config += fmt.Sprintf("  [[dossier.table]]\n  name = %q\n  capture = %q\n", table, capture)
	}
	w.write(w.path("server/server.toml"), []byte(config))
	w.must("init", "server", "--config", w.path("server/server.toml"))
	w.must("export", "--config", w.path("server/server.toml"))
	for _, n := range []string{"001", "002"} {
		till := "till-" + n + "/"
		w.write(w.path(till+"till.toml"), []byte(strings.Replace(worldTill, "001", n, 1)))
		w.must("init", "till", "--config", w.path(till+"till.toml"), "--trust", w.path("server/allowed_signers"), "--create-schema")
	}
	return w
}

// must runs a command that has to succeed.
func (w *postgresWorld) must(args ...string) {
	w.t.Helper()
	if code, _, stderr := w.run(args...); code != 0 {
		w.t.Fatalf("caisseauto %q: %d: %s", args, code, stderr)
	}
}

func (w *postgresWorld) exchange() {
	w.t.Helper()
	// Writers that truncate all the time may keep an export out for longer than
	// it waits: then it says so, and the next one does it.
	for n := 0; ; n++ {
		code, _, stderr := w.run("export", "--config", w.path("server/server.toml"))
		if code == exitDone {
			break
		}
		if code != exitBusy || n == 20 {
			w.t.Fatalf("export: %d: %s", code, stderr)
		}
	}
	for _, n := range []string{"001", "002"} {
		w.must("import", "--config", w.path("till-"+n+"/till.toml"))
	}
}

func (w *postgresWorld) batches() int {
	entries, err := os.ReadDir(w.path("drop/ACME/down"))
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".manifest.json") {
			n++
		}
	}
	return n
}

// compare holds every value of every table against the tills'.
func (w *postgresWorld) compare() {
	w.t.Helper()
	for _, table := range w.tables {
		columns := pgtest.Query(w.t, w.dsn, "SELECT attname FROM pg_attribute WHERE attrelid = '"+table+"'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum")
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = "coalesce('<' || CAST(" + database.Quote(c) + " AS TEXT) || '>', 'NULL')"
		}
		sql := "SELECT " + strings.Join(list, " || ") + " FROM " + database.Quote(table)
		want := pgtest.Query(w.t, w.dsn, sql)
		slices.Sort(want)
		for _, n := range []string{"001", "002"} {
			if d := cmp.Diff(want, sqliteTexts(w.t, w.path("till-"+n+"/till.db"), sql)); d != "" {
				w.t.Errorf("table %s (-server +till %s):\n%s", table, n, d)
			}
		}
	}
}

// sqliteTexts returns the first column of a query, sorted.
func sqliteTexts(t *testing.T, path, sql string) []string {
	t.Helper()
	c, err := sqlite3.Open(path, sqlite3.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list := []string{}
	escape := strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`) // as pgtest.Query does
	if err := c.Query(sql, func(s *sqlite3.Stmt) error { list = append(list, escape.Replace(s.Text(0))); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// postgresMutations change Chinook; see mutations.
var postgresMutations = []string{
	"UPDATE track SET unit_price = %d / 100.0 WHERE track_id = 1 + %[1]d %% 3503",
	"UPDATE track SET name = 'Été ''%d''', composer = NULL WHERE track_id = 1 + %[1]d %% 3503",
	"UPDATE customer SET city = 'Besançon', postal_code = '%d' WHERE customer_id = 1 + %[1]d %% 59",
	"UPDATE employee SET reports_to = 1 + %d %% 8 WHERE employee_id = 1 + %[1]d / 8 %% 8",
	"UPDATE employee SET birth_date = '1970-01-01'::timestamp + %d * interval '1 second' WHERE employee_id = 1 + %[1]d %% 8",
	"UPDATE employee SET birth_date = 'infinity' WHERE employee_id = 1 + %d %% 8",
	"INSERT INTO artist VALUES(10000 + %d %% 90000, 'Nouveau ' || %[1]d)",
	"INSERT INTO album SELECT 10000 + %d %% 90000, 'Album', artist_id FROM artist ORDER BY artist_id DESC LIMIT 1",
	"INSERT INTO track SELECT 10000 + %d %% 90000, name, album_id, media_type_id, genre_id, composer, milliseconds, NULL, 99999999.99 FROM track ORDER BY track_id LIMIT 1 OFFSET %[1]d %% 3000",
	"INSERT INTO playlist_track SELECT 1 + %d %% 18, track_id FROM track LIMIT 1 OFFSET %[1]d %% 3000 ON CONFLICT DO NOTHING",
	"INSERT INTO artist VALUES(1 + %d %% 275, 'Remplacé ' || %[1]d) ON CONFLICT (artist_id) DO UPDATE SET name = excluded.name",
	"WITH gone AS (DELETE FROM playlist_track WHERE playlist_id = 1 + %d %% 18 AND track_id %% 100 = %[1]d %% 100 RETURNING *) INSERT INTO playlist_track SELECT playlist_id, track_id + 1 FROM gone ON CONFLICT DO NOTHING",
	"INSERT INTO genre VALUES(1 + %d %% 40, 'Genre') ON CONFLICT (genre_id) DO UPDATE SET name = excluded.name || %[1]d",
	"DELETE FROM playlist_track WHERE track_id %% 500 = %d %% 500",
	"DELETE FROM invoice_line WHERE invoice_line_id = 1 + %d %% 2240",
	"DELETE FROM artist WHERE artist_id = 10000 + %d %% 90000 OR name = 'Nouveau ' || (%[1]d - 1)",
	"DELETE FROM track WHERE track_id = (SELECT track_id FROM track WHERE track_id > 9999 ORDER BY track_id LIMIT 1 OFFSET %d %% 7)",
	"UPDATE invoice_line SET invoice_line_id = invoice_line_id + 100000 WHERE invoice_line_id = 1 + %d %% 2240",
	"UPDATE playlist_track SET playlist_id = 1 + %d %% 18 WHERE track_id = 1 + %[1]d %% 3503 AND playlist_id = 1",
	"UPDATE track SET track_id = track_id + 200000 WHERE track_id = (SELECT track_id FROM track WHERE track_id BETWEEN 10000 AND 199999 LIMIT 1 OFFSET %d %% 3)",
	"UPDATE invoice SET total = -0.00, billing_state = E'\\t\\\\%d' WHERE invoice_id = 1 + %[1]d %% 412",
	"TRUNCATE playlist_track; INSERT INTO playlist_track SELECT 1 + %d %% 18, track_id FROM track WHERE track_id %% 7 = %[1]d %% 7 AND track_id < 3504",
}

// mutate changes the database from one connection until stop is closed. A
// statement that a constraint or a deadlock refuses ends its transaction.
func (w *postgresWorld) mutate(rnd *rand.Rand, total *atomic.Int64, stop <-chan struct{}) {
	c := pgtest.Connect(w.t, w.dsn)
	ctx := context.Background()
	for {
		select {
		case <-stop:
			return
		default:
		}
		sql, n := "BEGIN", 1+rnd.IntN(4)
		for range n {
			sql += "; " + fmt.Sprintf(postgresMutations[rnd.IntN(len(postgresMutations))], rnd.IntN(1_000_000))
			if rnd.IntN(3) == 0 {
				sql += fmt.Sprintf("; SELECT pg_sleep(%f)", rnd.Float64()/20)
			}
		}
		end := "; COMMIT"
		if rnd.IntN(10) == 0 {
			end = "; ROLLBACK"
		}
		if _, err := c.Exec(ctx, sql+end); err != nil {
			if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
				w.t.Errorf("%s: %v", sql, err)
				return
			}
		} else if end == "; COMMIT" {
			total.Add(int64(n))
		}
	}
}
