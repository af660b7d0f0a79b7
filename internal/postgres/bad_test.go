//go:build unix

package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// An exportRun does what the seal engine does with a Source: what it has read
// is put away under its digest, reserved and published; it finishes what an
// earlier run has left; and it gives the reader every published batch once.
type exportRun struct {
	t      testing.TB
	src    *Source
	name   string
	model  *sourcetest.Model
	outbox map[string]*recorded // by digest
	given  manifest.Position    // the last batch that the reader has
}

// recorded is a batch in the outbox.
type recorded struct {
	x     manifest.Extract
	calls []any // change.Header, or a line
	hash  hash.Hash
}

func (r *recorded) Start(h change.Header) error {
	r.calls = append(r.calls, h)
	fmt.Fprintf(r.hash, "%v", h)
	return nil
}

func (r *recorded) Row(line []byte) error {
	r.calls = append(r.calls, append([]byte{}, line...))
	r.hash.Write(line)
	return nil
}

// deliver gives the reader the batch that was published last, if it has not
// got it. A number that was given to two contents, or skipped, fails the test.
func (r *exportRun) deliver(last manifest.Position) {
	r.t.Helper()
	if last == r.given || last.Digest == "" {
		return
	}
	b := r.outbox[last.Digest]
	if b == nil || last.Sequence != r.given.Sequence+1 {
		r.t.Fatalf("batch %v was published after %v, and the outbox has it: %t", last, r.given, b != nil)
	}
	r.model.Begin()
	for _, c := range b.calls {
		var err error
		switch c := c.(type) {
		case change.Header:
			err = r.model.Start(c)
		case []byte:
			err = r.model.Row(c)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.model.End(b.x)
	r.given = last
}

// run is one export.
func (r *exportRun) run(ctx context.Context) error {
	st, err := r.src.Stand(ctx, r.name)
	if err != nil {
		return err
	}
	r.deliver(st.Last)
	p := st.Pending
	if p == nil {
		b := &recorded{hash: sha256.New()}
		if b.x, err = r.src.Read(ctx, r.name, false, b); err != nil {
			return err
		}
		if b.x.Kind == manifest.Delta && len(b.x.Tables) == 0 {
			return r.src.Advance(ctx, r.name, b.x.Cursor)
		}
		fmt.Fprint(b.hash, st.Last.Sequence)
		p = &manifest.Pending{Kind: b.x.Kind, Cursor: b.x.Cursor, Position: manifest.Position{Epoch: max(1, st.Last.Epoch), Sequence: st.Last.Sequence + 1, Digest: fmt.Sprintf("%x", b.hash.Sum(nil))}}
		r.outbox[p.Digest] = b
		if err := r.src.Reserve(ctx, r.name, *p); err != nil {
			return err
		}
	}
	if err := r.src.Publish(ctx, r.name, *p); err != nil {
		return err
	}
	r.deliver(p.Position)
	return nil
}

// through returns an export of a stream by another way to the server.
func (s *stream) through(dsn string) *exportRun {
	src := NewSource(dsn, s.capture, SourceOptions{LockTimeout: time.Second})
	s.e.t.Cleanup(func() { src.Close() })
	return &exportRun{t: s.e.t, src: src, name: s.name, model: s.model, outbox: map[string]*recorded{}}
}

// The connection is lost after each message of an export, in either direction:
// that is said, the next run finishes, and the reader has what the database
// has, each batch once.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.keys()
	c := pgtest.Get(t)
	p := c.Proxy(t)
	r := s.through(p.DSN(pgtest.Database(t, e.dsn), "postgres"))
	run := func(i int) error {
		e.do(fmt.Sprintf("UPDATE article SET label = '%d' WHERE id = %d; DELETE FROM article WHERE id = 11; INSERT INTO article VALUES (11, 'A')", i, i%5*2))
		if i%3 == 0 { // nothing new: Advance
			if err := r.run(t.Context()); err != nil {
				return err
			}
			e.do("UPDATE article SET price = price WHERE id = 1")
		}
		return r.run(t.Context())
	}
	if err := run(1); err != nil {
		t.Fatal(err)
	}
	stride := 11 // each message, over some runs of the test
	if seeds(0) > 0 {
		stride = 1
	}
	cuts := 0
	for _, d := range []pgtest.Direction{pgtest.ToServer, pgtest.ToClient} {
		for n := rand.IntN(stride); ; n += stride {
			cuts++
			p.Reset(n%2 == 0)
			if n%4 == 3 {
				r.src.Close() // and on the way in
			}
			p.CutAfterMessages(d, n)
			err := run(cuts)
			if !p.WasCut() {
				if err != nil {
					t.Fatalf("no cut: %v", err)
				}
				break
			}
			if err != nil && (!errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), "run it again")) {
				t.Errorf("cut after %d messages %s: %v", n, d, err)
			}
			p.Count()
			if err := r.run(t.Context()); err != nil {
				t.Fatalf("after a cut after %d messages %s: %v", n, d, err)
			}
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check()
		}
	}
	t.Logf("%d cuts, %d batches", cuts, r.given.Sequence)
}

// The server is killed, and restarted in order, at any moment of an export and
// of the ERP's writes.
func TestServerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{Durable: true})
	dsn := c.NewDatabase(t, articleSQL)
	e := &erp{t: t, dsn: dsn}
	s := e.capture(articles("A"))["A/down"]
	r := s.through(dsn)
	r.model.Keys["article"] = []string{"id"}
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { // the ERP, which takes no notice of failures
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			conn, err := pgx.Connect(context.Background(), dsn)
			for err == nil && i%20 != 19 {
				i++
				_, err = conn.Exec(context.Background(), fmt.Sprintf("BEGIN; UPDATE article SET label = '%d' WHERE id = %d; DELETE FROM article WHERE id = 20; INSERT INTO article VALUES (20, 'A', 'c20'); COMMIT", i, 2+i%3*2))
			}
			if conn != nil {
				conn.Close(context.Background())
			}
		}
	})
	failed, done := 0, 0
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := r.run(context.Background())
			switch {
			case err == nil:
				done++
			case errors.Is(err, database.ErrUnavailable):
				failed++
				time.Sleep(10 * time.Millisecond)
			default:
				t.Error(err)
				return
			}
		}
	})
	for i := range 4 {
		time.Sleep(time.Duration(200+rand.IntN(300)) * time.Millisecond)
		switch i % 2 {
		case 0:
			c.Kill(t)
		case 1:
			c.Stop(t, pgtest.Fast)
		}
		time.Sleep(50 * time.Millisecond)
		c.Start(t)
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	work.Wait()
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	own, err := open(t.Context(), dsn, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(context.Background())
	e.own, e.Conn = own, own.Conn
	s.check()
	if failed == 0 || done == 0 {
		t.Errorf("%d exports failed, %d did not", failed, done)
	}
	t.Logf("%d exports, %d failed, %d batches", done, failed, r.given.Sequence)
}

// What the server or the way to it has against an export is told apart.
func TestNoWayIn(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "6", "superuser_reserved_connections": "1"}})
	dsn := c.NewDatabase(t, articleSQL)
	db := pgtest.Database(t, dsn)
	role := c.NewRole(t, "right")
	capture := NewCapture(articles("A"))
	if err := capture.Install(t.Context(), dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	try := func(dsn string) error {
		src := NewSource(dsn, capture, SourceOptions{})
		defer src.Close()
		_, err := src.Stand(t.Context(), "A/down")
		return err
	}
	check := func(name, dsn string, kind error, says ...string) {
		t.Helper()
		err := try(dsn)
		if !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", name, err, kind)
			return
		}
		for _, s := range append(says, db) {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: no %q in %v", name, s, err)
			}
		}
		if strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
	check("wrong password", c.TCP(db, role)+" password=wrong", database.ErrDenied, "PGPASSFILE")
	check("no password", c.TCP(db, role), database.ErrDenied, "~/.pgpass")
	check("no such role", c.TCP(db, "nobody")+" password=wrong", database.ErrDenied)
	check("no such role, trusted", c.DSN(db, "nobody"), database.ErrDenied)
	check("nobody listens", strings.Replace(c.TCP(db, role), fmt.Sprint(c.Port()), "1", 1), database.ErrUnavailable, "run it again", "database.dsn")
	check("no such host", strings.Replace(c.TCP(db, role), "127.0.0.1", "nowhere.invalid", 1), database.ErrUnavailable, "database.dsn")
	check("no socket", strings.Replace(c.DSN(db, role), "host=", "host=/nowhere", 1), database.ErrUnavailable)
	db = "nodb"
	check("no such database", c.DSN(db, "postgres"), database.ErrNotInstalled, "database.dsn")
	db = "postgres"
	check("not installed", c.DSN(db, "postgres"), database.ErrNotInstalled, "init server")
	db = pgtest.Database(t, dsn)
	for _, dsn := range []string{"host=/x port=99999999 password=hunter2", "host=/x password='hunter2", "postgres://u:hunter2@h:99999999/", "postgres://u:hunter2@[/", "postgres://u:hunter2@h/%zz", "host /x password=hunter2", "host=/x sslmode=maybe password=hunter2"} {
		if err := try(dsn); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "database.dsn") {
			t.Errorf("a connection string that cannot be read: %v", err)
		}
	}

	var others []*pgx.Conn
	for range 5 { // a superuser has one more
		others = append(others, pgtest.Connect(t, c.DSN(db, role)))
	}
	check("too many connections", c.DSN(db, role), database.ErrBusy)
	for _, conn := range others {
		conn.Close(t.Context())
	}
	c.Quiet(t, db)
	if err := os.WriteFile(filepath.Join(c.Data(), "pg_hba.conf"), []byte("local all postgres trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, dsn, "SELECT pg_reload_conf(), pg_sleep(0.2)")
	check("not in pg_hba.conf", c.DSN(db, role), database.ErrDenied, "pg_hba.conf")
}

// Time limits that are set for the role or the database stop no export.
func TestTimeLimits(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.do(`DO $$ DECLARE s text; BEGIN FOREACH s IN ARRAY ARRAY['statement_timeout = ''500ms''', 'lock_timeout = ''500ms''', 'idle_in_transaction_session_timeout = ''500ms''', 'idle_session_timeout = ''500ms''',
		'default_transaction_isolation = serializable', 'default_transaction_read_only = on', 'default_transaction_deferrable = on', 'row_security = off', 'synchronous_commit = off', 'search_path = public', 'client_encoding = latin1']
		LOOP BEGIN EXECUTE format('ALTER DATABASE %I SET ', current_database()) || s; EXCEPTION WHEN undefined_object THEN NULL; END; END LOOP; END $$`)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	e.do("UPDATE article SET label = 'é€' WHERE id = 2")
	time.Sleep(time.Second)
	slow := sinkOf(func() { time.Sleep(time.Second) })
	if _, err := s.Read(t.Context(), s.name, true, slow); err != nil {
		t.Error(err)
	}
	if got := s.round(); got != "delta article:changes 1" {
		t.Error(got)
	}
}

// A sinkOf runs something for every table.
type sinkOf func()

func (f sinkOf) Start(change.Header) error { f(); return nil }

func (f sinkOf) Row([]byte) error { return nil }

// An administrator ends our sessions and our statements: the next export is
// whole.
func TestTerminated(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	for call, kind := range map[string]error{"pg_terminate_backend": database.ErrUnavailable, "pg_cancel_backend": database.ErrBusy} {
		e.do("INSERT INTO article SELECT n, 'A', n, repeat('x', 5000) FROM generate_series(1000, 1999) AS n ON CONFLICT (id) DO UPDATE SET price = 5")
		end := &rowFunc{f: func() {
			e.do(fmt.Sprintf("SELECT %s(pid) FROM pg_stat_activity WHERE application_name = 'caisseauto' AND datname = current_database() AND pid <> %d", call, e.own.PgConn().PID()))
		}}
		if _, err := s.Read(t.Context(), s.name, true, end); !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", call, err, kind)
		}
		if got := s.round(); got != "delta article:changes 1000" {
			t.Errorf("%s: %s", call, got)
		}
	}
}

// A rowFunc runs something at the first row.
type rowFunc struct {
	f func()
	n int
}

func (f *rowFunc) Start(change.Header) error { return nil }

func (f *rowFunc) Row([]byte) error {
	if f.n++; f.n == 1 {
		f.f()
	}
	return nil
}

// A call whose context ends leaves nothing open and nothing half done.
func TestStopped(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Read(ctx, s.name, false, sinkOf(cancel)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Stand(ctx, s.name); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := s.round(); got != "baseline article:whole 5" {
		t.Error(got)
	}
}
