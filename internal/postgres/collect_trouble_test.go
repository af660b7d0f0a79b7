//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/testdata/schema"
)

// kindOn is the kind, on a cluster of the test's own.
func kindOn(c *pgtest.Cluster) *collecttest.Kind {
	k := collectKind()
	k.New = func(t testing.TB, sql string, config database.SourceConfig) collecttest.Database {
		return newCollectDB(t, c, sql, config)
	}
	return k
}

// state shows everything that a batch can write to, by value: the ERP's tables
// and ours, without the numbers that a sequence gave and the time of day.
func state(t testing.TB, dsn string) []string {
	t.Helper()
	var list []string
	for _, table := range pgtest.Query(t, dsn, `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
		WHERE table_schema IN ('public', 'caisseauto') AND table_type = 'BASE TABLE' AND table_name NOT IN ('caisseauto_stream', 'caisseauto_table') ORDER BY 1`) {
		for _, row := range pgtest.Query(t, dsn, "SELECT to_jsonb(x) - '{id,unit,at,applied_at,created,xid}'::text[] FROM "+table+" AS x ORDER BY 1") {
			list = append(list, table+" "+row)
		}
	}
	return list
}

// mixed returns a batch with something of everything: tickets, one that is
// refused, a customer that both sides have changed, parameters.
func mixed(s *collecttest.Server, n int) *collecttest.Batch {
	b := s.Batch("017").Tickets("017", 10*n+1, 10*n+2, 10*n+3)
	b.Set("ticket_ligne", 2, 1, "018")
	b.Add("client", change.Base, "dossier code nom carte modifie_le", []any{"ACME", "C1", "base", nil, "1"}).
		Add("client", change.Upsert, "dossier code nom carte modifie_le", []any{"ACME", "C1", fmt.Sprint("till ", n), nil, fmt.Sprint(3 + n)}, []any{"ACME", fmt.Sprint("N", n), "new", nil, "1"}).
		Add("parametre_caisse", change.Upsert, "dossier caisse nom valeur", []any{"ACME", "017", "p", fmt.Sprint(n)})
	return b.Seal()
}

func newMixed(t *testing.T, k *collecttest.Kind) (*collecttest.Server, *collectDB) {
	s := collecttest.NewRetailServer(t, k, database.ConflictTill)
	s.Exec("INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME','C1','server','2')")
	return s, s.DB.(*collectDB)
}

// reference returns what the database holds before a batch and after it, when
// nothing goes wrong.
func reference(t *testing.T, batches int) [][]string {
	s, e := newMixed(t, collectKind())
	states := [][]string{state(t, e.dsn)}
	for n := range batches {
		mixed(s, n).Send()
		states = append(states, state(t, e.dsn))
	}
	return states
}

// TestCollectConnectionLost: the connection is cut after every single message,
// in either direction. The batch is then there, or nothing of it, and it can
// be taken in by the same collector, once.
func TestCollectConnectionLost(t *testing.T) {
	want := reference(t, 1)
	for _, d := range []pgtest.Direction{pgtest.ToServer, pgtest.ToClient} {
		t.Run(d.String(), func(t *testing.T) {
			s, e := newMixed(t, collectKind())
			proxy := e.cluster.Proxy(t)
			b := mixed(s, 0)
			s.Close()
			e.erp.Close(t.Context())
			cuts, done := 0, 0
			for n := 9; ; n += 1 + n/12 { // before, the connection is only looked at, and replaced
				c, _, err := e.open(proxy.DSN(pgtest.Database(t, e.dsn), "postgres"), collecttest.Options{})
				if err != nil {
					t.Fatal(err)
				}
				proxy.CutAfterMessages(d, n)
				_, err = b.ApplyTo(c)
				cut := proxy.WasCut()
				proxy.Count()
				if cut {
					cuts++
				}
				if err != nil && (!cut || !errors.Is(err, database.ErrUnavailable)) {
					t.Fatalf("message %d: %v", n, err)
				}
				c.Close()
				e.cluster.Quiet(t, pgtest.Database(t, e.dsn)) // the server may still be at it
				got := state(t, e.dsn)
				switch {
				case cmp.Equal(got, want[0]) && err != nil:
				case cmp.Equal(got, want[1]):
					done++
				default:
					t.Fatalf("message %d (%v): neither before nor after\n%s", n, err, cmp.Diff(want[1], got))
				}
				if err != nil && done > 0 { // only the answer was lost
					if _, err := b.ApplyTo(c); !errors.Is(err, database.ErrMoved) {
						t.Errorf("once more: %v", err)
					}
				}
				if done > 0 {
					break
				}
			}
			t.Logf("%d cuts", cuts)
			if cuts < 20 {
				t.Error("the cuts show nothing")
			}
		})
	}
}

// TestCollectKilled: the server is killed with SIGKILL while batches are taken
// in, at any moment, and started again. Each batch is there whole or not at
// all, and the same collector goes on.
func TestCollectKilled(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	want := reference(t, rounds)
	cluster := pgtest.Start(t, pgtest.Options{})
	s, e := newMixed(t, kindOn(cluster))
	rnd := rand.New(rand.NewPCG(5, 5))
	kills := map[bool]int{}
	for n, tries := 0, 1; n < rounds; tries++ {
		b := mixed(s, n)
		result := make(chan error)
		go func() { _, err := b.ApplyTo(s.Collector); result <- err }()
		time.Sleep(time.Duration(rnd.IntN(50*tries)) * time.Millisecond) // the more the slower the machine is today
		cluster.Kill(t)
		err := <-result
		cluster.Start(t)
		e.erp.Close(t.Context())
		got := state(t, e.dsn)
		switch {
		case cmp.Equal(got, want[n]) && err != nil:
			kills[false]++
		case cmp.Equal(got, want[n+1]):
			kills[true]++
			n, tries = n+1, 0
		default:
			t.Fatalf("batch %d (%v): neither before nor after\n%s", n, err, cmp.Diff(want[n+1], got))
		}
		if err != nil && !errors.Is(err, database.ErrUnavailable) {
			t.Errorf("batch %d: %v", n, err)
		}
	}
	t.Logf("killed before and after: %v", kills)
}

// TestCollectRestarted: a server that was restarted between two calls is no
// error.
func TestCollectRestarted(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	s := collecttest.NewRetailServer(t, kindOn(cluster), "")
	s.Batch("017").Tickets("017", 1).Send()
	cluster.Restart(t)
	s.Batch("017").Tickets("017", 2).Send()
	cluster.Restart(t)
	if list, err := s.Tills(t.Context(), "ACME"); err != nil || len(list) != 1 || list[0].Integrated.Sequence != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	cluster.Restart(t)
	if _, ok, err := s.Claim(t.Context(), "ACME/up/017"); !ok || err != nil {
		t.Error(ok, err)
	}
	cluster.Stop(t, pgtest.Fast)
	if _, err := s.Position(t.Context(), "ACME/up/017"); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("a server that is stopped: %v", err)
	}
	cluster.Start(t)
	if p, err := s.Position(t.Context(), "ACME/up/017"); err != nil || p.Sequence != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestCollectReplica: a replica says what is known, and takes nothing.
func TestCollectReplica(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	s, e := newMixed(t, kindOn(primary))
	mixed(s, 0).Send()
	b := mixed(s, 1)
	standby := primary.Standby(t)
	c, _, err := e.open(standby.DSN(pgtest.Database(t, e.dsn), "postgres"), collecttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Init(t.Context()); err != nil {
		t.Error(err)
	}
	if list, err := c.Tills(t.Context(), "ACME"); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if r, _, err := c.Receipt(t.Context(), "ACME/up/017"); err != nil || r.Sequence != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for what, f := range map[string]func() error{
		"apply": func() error { _, err := b.ApplyTo(c); return err },
		"raise": func() error { return c.Raise(t.Context(), "ACME", "017", "fork", "x") },
		"claim": func() error { _, _, err := c.Claim(t.Context(), "ACME/up/017"); return err },
	} {
		if err := f(); !errors.Is(err, database.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Promoted, it is a server like any other.
	standby.Promote(t)
	if _, err := b.ApplyTo(c); err != nil {
		t.Error(err)
	}
}

// TestCollectRights: a role with the rights that init server --print-sql gives
// it collects; without one of them nothing is changed, and the error says so.
func TestCollectRights(t *testing.T) {
	s, e := newMixed(t, &collecttest.Kind{New: func(t testing.TB, sql string, config database.SourceConfig) collecttest.Database {
		e := &collectDB{t: t, cluster: pgtest.Get(t), capture: NewCapture(map[string]database.SourceConfig{"ACME/down": config})}
		e.dsn = e.cluster.NewDatabase(t)
		e.erp = pgtest.Connect(t, e.dsn)
		if err := e.Exec("SET search_path = public, caisseauto;" + schema.Postgres(sql)); err != nil {
			t.Fatal(err)
		}
		role := e.cluster.NewRole(t, "")
		dsn := e.cluster.DSN(pgtest.Database(t, e.dsn), role)
		script, err := e.capture.SQL(context.Background(), dsn, SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Exec(script); err != nil {
			t.Fatalf("%v\n%s", err, script)
		}
		e.dsn = dsn
		return e
	}})
	mixed(s, 0).Send()
	role := s.Text("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'caisseauto'")
	super := strings.Replace(e.dsn, role, "postgres", 1)
	before := state(t, super)
	b := mixed(s, 1)
	for _, right := range []string{"INSERT ON ticket", "SELECT ON reglement", "UPDATE ON client", "DELETE ON parametre_caisse", "USAGE ON SCHEMA public", "TEMPORARY ON DATABASE " + pgtest.Database(t, e.dsn)} {
		from := role
		if strings.HasPrefix(right, "USAGE") || strings.HasPrefix(right, "TEMPORARY") {
			from += ", PUBLIC"
		}
		s.Exec("REVOKE " + right + " FROM " + from)
		c, _, err := e.open(e.dsn, collecttest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = b.ApplyTo(c); !errors.Is(err, database.ErrDenied) && !(strings.HasPrefix(right, "USAGE") && errors.Is(err, database.ErrNoTable)) {
			t.Errorf("without %s: %v", right, err)
		}
		c.Close()
		if got := state(t, super); !cmp.Equal(before, got) {
			t.Errorf("without %s something changed:\n%s", right, cmp.Diff(before, got))
		}
		s.Exec("GRANT " + right + " TO " + from)
	}
	if _, err := b.ApplyTo(s.Collector); err != nil {
		t.Error(err)
	}
	// What row level security does not let in is a ticket's own trouble.
	s.Exec("ALTER TABLE ticket ENABLE ROW LEVEL SECURITY; CREATE POLICY small ON ticket USING (true) WITH CHECK (total_ttc < 120000)")
	res := s.Batch("017").Tickets("017", 500, 5000).Send()
	if res.Inserted != 4 || res.Quarantined != 4 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	if u := s.Units(); !strings.Contains(u[len(u)-1].Reason, `new row violates row-level security policy for table "ticket"`) {
		t.Errorf("%+v", u)
	}
}

// TestCollectAmongWriters: the ERP's programs change the same customers
// meanwhile. None of their changes is lost, none of the tills' either, and
// whoever is chosen to be rolled back is tried again.
func TestCollectAmongWriters(t *testing.T) {
	const customers, batches = 20, 12
	s, e := newMixed(t, collectKind())
	s.Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', current_database()); END $$`)
	c, err := s.DB.Open(collecttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range customers {
		s.Exec(fmt.Sprintf("INSERT INTO client(dossier, code, nom) VALUES('ACME','W%02d','')", i))
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	var mu sync.Mutex
	points := map[string]int{}
	for w := range 4 {
		conn := pgtest.Connect(t, e.dsn)
		rnd := rand.New(rand.NewPCG(uint64(w), 9))
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, b := fmt.Sprintf("W%02d", rnd.IntN(customers)), fmt.Sprintf("W%02d", rnd.IntN(customers))
				_, err := conn.Exec(context.Background(), fmt.Sprintf("BEGIN; UPDATE client SET points=points+1 WHERE code='%s'; UPDATE client SET points=points+1 WHERE code='%s'; COMMIT", a, b))
				if clash(err) {
					_, err = conn.Exec(context.Background(), "ROLLBACK")
					a, b = "", ""
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				points[a]++
				points[b]++
				mu.Unlock()
			}
		})
	}
	for n := range batches {
		b := s.Batch("017")
		for i := range customers {
			code := fmt.Sprintf("W%02d", (i*7+n)%customers)
			b.Add("client", change.Upsert, "dossier code nom carte modifie_le", []any{"ACME", code, fmt.Sprint("till ", n), fmt.Sprint(n%2, code), ""})
		}
		if res, err := b.Seal().ApplyTo(c); err != nil || res.Quarantined > 0 || res.Updated != customers {
			t.Fatalf("batch %d: %s, %v", n, collecttest.Counts(res), err)
		}
	}
	close(stop)
	group.Wait()
	var want []string
	delete(points, "")
	for i := range customers {
		code := fmt.Sprintf("W%02d", i)
		want = append(want, fmt.Sprintf("%s|till %d|%d", code, batches-1, points[code]))
	}
	s.Want(strings.Join(want, " "), "SELECT code, nom, points FROM client WHERE code LIKE 'W%' ORDER BY 1")
	if len(points) < customers {
		t.Error("the writers show nothing")
	}
}

// TestCollectDeadlock: the server rolls one of two back that wait for each
// other; the batch is done again, out of the rows that were sent before.
func TestCollectDeadlock(t *testing.T) {
	s, e := newMixed(t, collectKind())
	s.Exec("INSERT INTO client(dossier, code, nom) VALUES('ACME','D1',''),('ACME','D2','')")
	other := pgtest.Connect(t, e.dsn)
	for _, sql := range []string{"SET deadlock_timeout = '1h'", "BEGIN", "UPDATE client SET points = 1 WHERE code = 'D2'"} {
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	b := s.Batch("017").Tickets("017", 1).Add("client", change.Upsert, "dossier code nom carte modifie_le", []any{"ACME", "D1", "till", nil, ""}, []any{"ACME", "D2", "till", nil, ""}).Seal()
	done := make(chan error)
	go func() { _, err := b.ApplyTo(s.Collector); done <- err }()
	for s.Text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "0" {
		time.Sleep(time.Millisecond)
	}
	// The collector has D1 and waits for D2; whoever waits longest is chosen.
	if _, err := other.Exec(t.Context(), "UPDATE client SET points = 1 WHERE code = 'D1'"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.Want("D1|till|1 D2|till|1", "SELECT code, nom, points FROM client WHERE code LIKE 'D%' ORDER BY 1")
	s.Want("1", "SELECT numero FROM ticket")
}

// Errors that nobody has caused by a row.
func TestCollectNotInstalled(t *testing.T) {
	dsn := pgtest.Get(t).NewDatabase(t)
	c, err := OpenCollector(t.Context(), dsn, NewCapture(map[string]database.SourceConfig{"ACME/down": {}}), CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Init(t.Context()); !errors.Is(err, database.ErrNotInstalled) {
		t.Errorf("no schema: %v", err)
	}
	if _, err := c.Tills(t.Context(), "ACME"); !errors.Is(err, database.ErrNotInstalled) {
		t.Errorf("no tables: %v", err)
	}
	if _, err := OpenCollector(t.Context(), "host=/nowhere dbname=x", nil, CollectOptions{}); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("no server: %v", err)
	}
}
