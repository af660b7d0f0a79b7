package sqlite_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/collect"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
)

// kind is SQLite, for the suite.
func kind() *collecttest.Kind {
	trigger := func(table, condition, raise string) string {
		return fmt.Sprintf("CREATE TRIGGER x BEFORE INSERT ON %s WHEN %s BEGIN SELECT RAISE(%s); END", table, condition, raise)
	}
	return &collecttest.Kind{
		New:     newERP,
		Touched: "SELECT DISTINCT k2 FROM caisseauto_journal WHERE dossier='ACME' ORDER BY 1",
		NotNull: func(table, column string) string { return "NOT NULL constraint failed: " + table + "." + column },
		Unique:  "UNIQUE constraint failed: client.dossier, client.carte",
		Refuse: func(table, condition, words string) string {
			return trigger(table, condition, "ABORT, '"+words+"'")
		},
		RollBack: func(table, condition, words string) string {
			return trigger(table, condition, "ROLLBACK, '"+words+"'")
		},
		Silent: func(table, condition string) string { return trigger(table, condition, "IGNORE") },
	}
}

// An erp is a database with the connection of an ERP's program.
type erp struct {
	t       testing.TB
	path    string
	conn    *sqlite3.Conn
	capture *sqlite.Capture
}

func newERP(t testing.TB, sql string, config database.SourceConfig) collecttest.Database {
	t.Helper()
	e := &erp{t: t, path: filepath.Join(t.TempDir(), "erp.db"), capture: captureOf(config)}
	var err error
	if e.conn, err = sqlite3.Open(e.path, sqlite3.Create); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.conn.Close() })
	e.conn.BusyTimeout(5 * time.Second)
	if err := e.Exec("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + sql); err != nil {
		t.Fatal(err)
	}
	if err := e.capture.Install(t.Context(), e.path, sqlite.SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	return e
}

func captureOf(config database.SourceConfig) *sqlite.Capture {
	return sqlite.NewCapture(map[string]database.SourceConfig{"ACME/down": config})
}

func (e *erp) Exec(sql string) error { return e.conn.Exec(sql) }

func (e *erp) Rows(sql string) (rows [][]string, err error) {
	err = e.conn.Query(sql, func(r *sqlite3.Stmt) error {
		var cells []string
		for i := range r.Columns() {
			cells = append(cells, r.Text(i))
		}
		rows = append(rows, cells)
		return nil
	})
	return rows, err
}

func (e *erp) Open(o collecttest.Options) (*collect.Collector, error) {
	return sqlite.OpenHooked(e.path, e.capture, sqlite.CollectOptions{BusyTimeout: o.BusyTimeout, Now: o.Now, StageDir: e.t.TempDir()}, o.Small, o.Hook)
}

func (e *erp) Uploads(config database.SourceConfig) ([]*database.Upload, error) {
	return sqlite.UploadsOf(e.conn, captureOf(config), "ACME/down")
}

func (e *erp) Source(config database.SourceConfig) collecttest.Source {
	return sqlite.NewSource(e.path, captureOf(config), sqlite.SourceOptions{})
}

func (e *erp) Hold() (release func(), err error) {
	return func() {
		if err := e.Exec("ROLLBACK"); err != nil {
			e.t.Error(err)
		}
	}, e.Exec("BEGIN IMMEDIATE")
}

func TestCollect(t *testing.T) { collecttest.Run(t, kind()) }

// A trigger that dies with every row would end the transaction without end.
func TestCollectManyDead(t *testing.T) {
	s := collecttest.NewRetailServer(t, kind(), "")
	s.Exec(kind().RollBack("reglement", "new.montant>0", "no such thing"))
	b := s.Batch("017").Tickets("017", 1, 2, 3).Send()
	if b.Quarantined != 12 {
		t.Errorf("%s", collecttest.Counts(b))
	}
	for _, u := range s.Units() {
		if !strings.Contains(u.Reason, "no such thing") {
			t.Errorf("%+v", u)
		}
	}
}

// Ten thousand tickets, on a disk and in one transaction. The bar is a third
// of what was measured, because other tests run beside.
func TestCollectSpeed(t *testing.T) {
	if testing.Short() || sqlite.RaceSlow > 1 {
		t.Skip("a measurement")
	}
	const n, least = 10_000, 30_000.0
	for _, broken := range []bool{false, true} {
		s := collecttest.NewRetailServer(t, kind(), "")
		b := s.BigBatch("017", n)
		if broken { // one bad ticket: everything is done unit by unit
			b.Set("reglement", 17, 4, nil)
		}
		src := collecttest.Blocks(b.Blocks)
		start := time.Now()
		res, err := s.Apply(t.Context(), b.M, b.P, &src)
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		if res.Inserted+res.Quarantined != res.Rows || (res.Quarantined > 0) != broken {
			t.Errorf("%s", collecttest.Counts(res))
		}
		speed := float64(res.Rows) / took.Seconds()
		t.Logf("broken %v: %d rows in %s, the lock held for %s: %.0f rows/s", broken, res.Rows, took, res.Locked, speed)
		if speed < least && !broken {
			t.Errorf("%.0f rows/s, want %.0f", speed, least)
		}
		s.Want(fmt.Sprint(res.Inserted), "SELECT (SELECT count(*) FROM ticket)+(SELECT count(*) FROM ticket_ligne)+(SELECT count(*) FROM reglement)")
	}
}

// A stage that cannot be written is an error, and no loss.
func TestCollectNoStage(t *testing.T) {
	s := collecttest.NewRetailServer(t, kind(), "")
	e := s.DB.(*erp)
	c, err := sqlite.OpenHooked(e.path, e.capture, sqlite.CollectOptions{StageDir: filepath.Join(e.path, "no folder")}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := s.Batch("017").Tickets("017", 1, 2).Seal()
	if _, err := b.ApplyTo(c); err == nil || errors.Is(err, database.ErrBusy) {
		t.Errorf("%v", err)
	}
	if _, err := b.ApplyTo(s.Collector); err != nil {
		t.Error(err)
	}
}
