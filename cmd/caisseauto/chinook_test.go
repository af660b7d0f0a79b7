package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
)

// chinook is a database that nobody here wrote: 11 tables with foreign keys,
// a self-reference and a composite key. It lies beside the project.
const chinook = "../../../shared/data/chinook/chinook.sqlite"

// TestChinook exchanges it, then changes it a thousand times in every way
// that SQL knows, and compares both databases by value after each round.
func TestChinook(t *testing.T) {
	data, err := os.ReadFile(chinook)
	if err != nil {
		t.Skip("no Chinook database beside the project")
	}
	for _, capture := range []string{"key", "columns"} {
		t.Run(capture, func(t *testing.T) {
			t.Parallel()
			w := newChinook(t, data, capture)
			w.exchange(t)
			rnd := rand.New(rand.NewPCG(1, uint64(len(capture))))
			c, err := sqlite3.Open(w.path("server/erp.db"), sqlite3.ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Exec("PRAGMA foreign_keys=ON"); err != nil {
				t.Fatal(err)
			}
			total := 0
			for round := 0; total < 1000; round++ {
				total += mutate(t, c, rnd, 125)
				w.exchange(t)
			}
		})
	}
}

type chinookWorld struct {
	*world
	tables []string
}

func newChinook(t *testing.T, data []byte, capture string) *chinookWorld {
	t.Helper()
	w := &chinookWorld{world: &world{t: t, dir: t.TempDir()}}
	for _, d := range []string{"server/keys", "till", "drop"} {
		if err := os.MkdirAll(w.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write(w.path("server/erp.db"), data)
	c, err := sqlite3.Open(w.path("server/erp.db"), sqlite3.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ddl strings.Builder
	err = c.Query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'", func(s *sqlite3.Stmt) error {
		ddl.WriteString(s.Text(0) + ";\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := execFile(w.path("till/till.db"), sqlite3.Create, ddl.String()); err != nil {
		t.Fatal(err)
	}
	if w.tables, err = sqlite.Tables(c); err != nil {
		t.Fatal(err)
	}
	if len(w.tables) != 11 {
		t.Fatalf("%d tables: %q", len(w.tables), w.tables)
	}
	config := strings.Split(worldServer, "  [[dossier.table]]")[0]
	for _, table := range w.tables {
		config += fmt.Sprintf("  [[dossier.table]]\n  name = %q\n  capture = %q\n", table, capture)
	}
	w.write(w.path("server/server.toml"), []byte(config))
	w.write(w.path("till/till.toml"), []byte(worldTill))
	pub, err := keys.Generate(w.path("server/keys/server"), "")
	if err != nil {
		t.Fatal(err)
	}
	line := keys.AllowedLine([]string{"server@acme"}, nil, pub, "") + "\n"
	w.write(w.path("server/allowed_signers"), []byte(line))
	w.write(w.path("till/allowed_signers"), []byte(line))
	if code, _, stderr := w.run("init", "server", "--config", w.path("server/server.toml")); code != 0 {
		t.Fatal(stderr)
	}
	return w
}

// exchange exports, imports, and compares.
func (w *chinookWorld) exchange(t *testing.T) {
	t.Helper()
	if code, _, stderr := w.exportNow(); code != 0 {
		t.Fatalf("export: %d: %s", code, stderr)
	}
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatalf("import: %d: %s", code, stderr)
	}
	for _, table := range w.tables {
		want, got := dumpTable(t, w.path("server/erp.db"), table), dumpTable(t, w.path("till/till.db"), table)
		if want != got {
			t.Fatalf("table %s (-server +till):\n%s", table, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
		}
	}
}

// dumpTable returns every value of every row, with its type.
func dumpTable(t *testing.T, path, table string) string {
	t.Helper()
	c, err := sqlite3.Open(path, sqlite3.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b strings.Builder
	err = c.Query("SELECT * FROM "+database.Quote(table)+" ORDER BY 1, 2", func(s *sqlite3.Stmt) error {
		for i := range s.Columns() {
			v := s.Value(i)
			fmt.Fprintf(&b, "%d:%d:%v:%q|", v.Kind, v.Int, v.Real, v.Bytes)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// mutations change Chinook. %d is a random number, the same one throughout a
// statement; a statement that a constraint refuses does not count.
var mutations = []string{
	"UPDATE Track SET UnitPrice = %d / 100.0 WHERE TrackId = 1 + %[1]d %% 3503",
	"UPDATE Track SET Name = 'Été ''%d''', Composer = NULL WHERE TrackId = 1 + %[1]d %% 3503",
	"UPDATE Customer SET City = 'Besançon', PostalCode = '%d' WHERE CustomerId = 1 + %[1]d %% 59",
	"UPDATE Employee SET ReportsTo = 1 + %d %% 8 WHERE EmployeeId = 1 + %[1]d / 8 %% 8",
	"UPDATE Employee SET BirthDate = '%d' WHERE EmployeeId = 1 + %[1]d %% 8",
	"INSERT INTO Artist VALUES(10000 + %d %% 90000, 'Nouveau ' || %[1]d)",
	"INSERT INTO Album SELECT 10000 + %d %% 90000, 'Album', ArtistId FROM Artist ORDER BY ArtistId DESC LIMIT 1",
	"INSERT INTO Track SELECT 10000 + %d %% 90000, Name, AlbumId, MediaTypeId, GenreId, Composer, Milliseconds, NULL, 1e300 FROM Track ORDER BY TrackId LIMIT 1 OFFSET %[1]d %% 3000",
	"INSERT OR IGNORE INTO PlaylistTrack SELECT 1 + %d %% 18, TrackId FROM Track LIMIT 1 OFFSET %[1]d %% 3000",
	"REPLACE INTO Artist VALUES(1 + %d %% 275, 'Remplacé ' || %[1]d)",
	"REPLACE INTO Track SELECT TrackId, Name || '!', AlbumId, MediaTypeId, GenreId, Composer, %d, Bytes, UnitPrice FROM Track LIMIT 3 OFFSET %[1]d %% 3000",
	"INSERT INTO Genre VALUES(1 + %d %% 40, 'Genre') ON CONFLICT DO UPDATE SET Name = excluded.Name || %[1]d",
	"DELETE FROM PlaylistTrack WHERE rowid %% 500 = %d %% 500",
	"DELETE FROM InvoiceLine WHERE InvoiceLineId = 1 + %d %% 2240",
	"DELETE FROM Artist WHERE ArtistId = 10000 + %d %% 90000 OR Name = 'Nouveau ' || (%[1]d - 1)",
	"DELETE FROM Track WHERE TrackId = (SELECT TrackId FROM Track WHERE TrackId > 9999 ORDER BY TrackId LIMIT 1 OFFSET %d %% 7)",
	"UPDATE InvoiceLine SET InvoiceLineId = InvoiceLineId + 100000 WHERE InvoiceLineId = 1 + %d %% 2240",
	"UPDATE PlaylistTrack SET PlaylistId = 1 + %d %% 18 WHERE rowid = 1 + %[1]d %% 8000",
	"UPDATE OR REPLACE PlaylistTrack SET TrackId = TrackId + 1 WHERE rowid = 1 + %d %% 8000",
	"UPDATE Track SET TrackId = TrackId + 200000 WHERE TrackId = (SELECT TrackId FROM Track WHERE TrackId BETWEEN 10000 AND 199999 LIMIT 1 OFFSET %d %% 3)",
	"UPDATE Invoice SET Total = -0.0, BillingState = x'00ff' WHERE InvoiceId = 1 + %d %% 412",
}

// mutate runs n of them and returns how many did something.
func mutate(t *testing.T, c *sqlite3.Conn, rnd *rand.Rand, n int) int {
	t.Helper()
	done := 0
	for done < n {
		sql := fmt.Sprintf(mutations[rnd.IntN(len(mutations))], rnd.IntN(1_000_000))
		err := c.Exec(sql)
		if err != nil && !sqlite3.IsConstraint(err) {
			t.Fatalf("%s: %v", sql, err)
		}
		if err == nil {
			done++
		}
	}
	return done
}

// TestChinookSums: the copy that is exchanged is the one that was published.
func TestChinookSums(t *testing.T) {
	if _, err := os.Stat(filepath.FromSlash(chinook)); err != nil {
		t.Skip("no Chinook database beside the project")
	}
	tracks := strings.Count(dumpTable(t, chinook, "Track"), "\n")
	if tracks != 3503 {
		t.Errorf("%d tracks, want 3503", tracks)
	}
}
