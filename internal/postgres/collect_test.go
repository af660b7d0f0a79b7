//go:build unix

package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/collect"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/testdata/schema"
)

// collectKind is PostgreSQL, for the suite.
func collectKind() *collecttest.Kind {
	trigger := func(table, condition, then string) string {
		return fmt.Sprintf(`CREATE FUNCTION x() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF %s THEN %s END IF; RETURN new; END $$;
			CREATE TRIGGER x BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION x()`, condition, then, table)
	}
	return &collecttest.Kind{
		New: func(t testing.TB, sql string, config database.SourceConfig) collecttest.Database {
			return newCollectDB(t, pgtest.Get(t), sql, config)
		},
		Touched: "SELECT DISTINCT k[2] FROM caisseauto_journal WHERE dossier='ACME' ORDER BY 1",
		NotNull: func(table, column string) string {
			return fmt.Sprintf("null value in column %q of relation %q violates not-null constraint", column, table)
		},
		Unique: `duplicate key value violates unique constraint "client_carte" (Key (dossier, carte)=(ACME, 2) already exists.)`,
		Refuse: func(table, condition, words string) string {
			return trigger(table, condition, "RAISE EXCEPTION '"+words+"' USING ERRCODE = '55P03';") // a code of a lock's, to deceive us
		},
		Silent: func(table, condition string) string { return trigger(table, condition, "RETURN NULL;") },
		Claims: true,
	}
}

// A collectDB is a database with the connection of an ERP's program.
type collectDB struct {
	t       testing.TB
	cluster *pgtest.Cluster
	dsn     string
	erp     *pgx.Conn
	capture *Capture
}

func newCollectDB(t testing.TB, c *pgtest.Cluster, sql string, config database.SourceConfig) *collectDB {
	t.Helper()
	skipAlone(t)
	e := &collectDB{t: t, cluster: c, dsn: c.NewDatabase(t), capture: NewCapture(map[string]database.SourceConfig{"ACME/down": config})}
	e.erp = pgtest.Connect(t, e.dsn)
	if err := e.Exec("SET search_path = public, caisseauto;" + schema.Postgres(sql)); err != nil {
		t.Fatal(err)
	}
	if err := e.capture.Install(context.Background(), e.dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *collectDB) Exec(sql string) error {
	_, err := e.erp.PgConn().Exec(context.Background(), sql).ReadAll()
	return err
}

func (e *collectDB) Rows(sql string) (rows [][]string, err error) {
	err = each(context.Background(), e.erp, sql, nil, func(values [][]byte) error {
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = string(v)
		}
		rows = append(rows, cells)
		return nil
	})
	return rows, err
}

func (e *collectDB) Open(o collecttest.Options) (*collect.Collector, error) {
	c, _, err := e.open(e.dsn, o)
	return c, err
}

func (e *collectDB) open(dsn string, o collecttest.Options) (*collect.Collector, *collecting, error) {
	d, err := openCollecting(context.Background(), dsn, e.capture, CollectOptions{LockTimeout: o.BusyTimeout})
	if err != nil {
		return nil, nil, err
	}
	if o.Small {
		d.chunk = 1
	}
	if o.Hook != nil {
		d.hook = o.Hook
	}
	return collect.New(d, o.Now), d, nil
}

func (e *collectDB) Uploads(config database.SourceConfig) ([]*database.Upload, error) {
	cat, err := NewCapture(map[string]database.SourceConfig{"ACME/down": config}).catalog(context.Background(), e.erp, []string{"public"})
	if err != nil {
		return nil, err
	}
	return cat.uploads("ACME/down")
}

func (e *collectDB) Source(config database.SourceConfig) collecttest.Source {
	s := NewSource(e.dsn, NewCapture(map[string]database.SourceConfig{"ACME/down": config}), SourceOptions{})
	e.t.Cleanup(func() { s.Close() })
	return s
}

func (e *collectDB) Hold() (release func(), err error) {
	return func() {
		if err := e.Exec("ROLLBACK"); err != nil {
			e.t.Error(err)
		}
	}, e.Exec("BEGIN; LOCK TABLE ticket IN EXCLUSIVE MODE")
}

func TestCollect(t *testing.T) { collecttest.Run(t, collectKind()) }

// Ten thousand tickets, and the same with a bad one, which has to be found. How
// fast is for scripts/bench-postgres to say; other tests run beside this one.
func TestCollectMany(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("takes long, and proves nothing more with the race detector")
	}
	const n = 10_000
	for _, broken := range []bool{false, true} {
		s := collecttest.NewRetailServer(t, collectKind(), "")
		b := s.BigBatch("017", n)
		if broken { // one bad ticket: it has to be found
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
		s.Want(fmt.Sprint(res.Inserted), "SELECT (SELECT count(*) FROM ticket)+(SELECT count(*) FROM ticket_ligne)+(SELECT count(*) FROM reglement)")
	}
}
