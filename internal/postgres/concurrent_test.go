//go:build unix

package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// Eight writers insert rows in transactions of any length, with nested ones
// and some that are rolled back, and one keeps a transaction open all the
// time; the stream is read as fast as it can be. Every committed row comes
// once, and before the open transaction is over. In the same run a reader that asks for "all ids
// above the last one" loses rows: without that the test would prove nothing.
func TestNothingIsLostUnderWriters(t *testing.T) {
	duration := 3 * time.Second
	if testing.Short() {
		duration = time.Second
	}
	e := newERP(t, "CREATE TABLE ticket(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, writer int)")
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "ticket"}}}})["A/down"]
	s.round()
	long := e.session()
	long.do("BEGIN; INSERT INTO ticket(writer) VALUES (-1)")

	r := &readers{read: map[int64]int{}, naive: map[int64]bool{}, at: map[int64]time.Time{}, committed: map[int64]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writing, reading sync.WaitGroup
	for i := range 8 {
		conn := pgtest.Connect(t, e.dsn)
		writing.Go(func() { r.write(t, ctx, conn, i) })
	}
	done := make(chan struct{})
	naive := pgtest.Connect(t, e.dsn)
	reading.Go(func() { r.readNaively(t, naive, done) })
	reading.Go(func() {
		for last := false; !last; {
			select {
			case <-done:
				last = true // what was committed until now comes with this one
			default:
			}
			x, err := s.Read(t.Context(), s.name, false, r)
			if err != nil {
				t.Error(err)
				return
			}
			s.publish(x)
			time.Sleep(5 * time.Millisecond)
		}
	})
	time.Sleep(duration)
	cancel()
	writing.Wait()
	close(done)
	reading.Wait()

	lost, twice, naiveLost, slowest := 0, 0, 0, time.Duration(0)
	for id, at := range r.committed {
		switch r.read[id] {
		case 0:
			lost++
		case 1:
			slowest = max(slowest, r.at[id].Sub(at))
		default:
			twice++
		}
		if !r.naive[id] {
			naiveLost++
		}
	}
	t.Logf("committed %d, lost %d, twice %d, longest wait %s; the naive cursor lost %d", len(r.committed), lost, twice, slowest.Round(time.Millisecond), naiveLost)
	if lost > 0 || twice > 0 || len(r.read) != len(r.committed) {
		t.Errorf("read %d rows", len(r.read))
	}
	if naiveLost == 0 {
		t.Error("the naive cursor lost nothing: the writers do not overlap, so that nothing was tested")
	}
	long.do("COMMIT")
	var now []int64
	if _, err := s.Read(t.Context(), s.name, false, sinkFunc(func(id int64) { now = append(now, id) })); err != nil || len(now) != 1 {
		t.Errorf("the long transaction's row: %v, %v", now, err)
	}
}

// readers are what two readers have seen, and what there was to see.
type readers struct {
	mu        sync.Mutex
	read      map[int64]int
	at        map[int64]time.Time
	naive     map[int64]bool
	committed map[int64]time.Time // just before the commit
}

// Start and Row implement change.Sink.
func (r *readers) Start(change.Header) error { return nil }

func (r *readers) Row(line []byte) error {
	var id int64
	if _, err := fmt.Sscanf(string(line), "[%d", &id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read[id]++
	r.at[id] = time.Now()
	return nil
}

// A sinkFunc is told the first column of every row.
type sinkFunc func(int64)

func (f sinkFunc) Start(change.Header) error { return nil }

func (f sinkFunc) Row(line []byte) error {
	var id int64
	_, err := fmt.Sscanf(string(line), "[%d", &id)
	f(id)
	return err
}

// write runs transactions until ctx ends.
func (r *readers) write(t *testing.T, ctx context.Context, conn *pgx.Conn, writer int) {
	random := rand.New(rand.NewPCG(uint64(writer), 1))
	pause := func() { time.Sleep(time.Duration(random.IntN(4000)) * time.Microsecond) }
	for ctx.Err() == nil {
		var ids []int64
		tx, err := conn.Begin(context.Background())
		for n := 1 + random.IntN(4); err == nil && n > 0; n-- {
			insert := func(tx pgx.Tx) (id int64, err error) {
				err = tx.QueryRow(context.Background(), "INSERT INTO ticket(writer) VALUES ($1) RETURNING id", writer).Scan(&id)
				return id, err
			}
			var id int64
			switch random.IntN(4) {
			case 0: // a nested transaction that stays
				err = pgx.BeginFunc(context.Background(), tx, func(tx pgx.Tx) (err error) { id, err = insert(tx); return err })
			case 1: // one that does not
				nested, e := tx.Begin(context.Background())
				if err = e; err == nil {
					_, err = insert(nested)
				}
				if err == nil {
					err = nested.Rollback(context.Background())
				}
			default:
				id, err = insert(tx)
			}
			if id != 0 {
				ids = append(ids, id)
			}
			pause()
		}
		if err != nil {
			t.Error(err)
			return
		}
		if random.IntN(10) == 0 {
			err = tx.Rollback(context.Background())
			ids = nil
		} else {
			at := time.Now()
			err = tx.Commit(context.Background())
			r.mu.Lock()
			for _, id := range ids {
				r.committed[id] = at
			}
			r.mu.Unlock()
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// readNaively reads what is above the highest id that it has seen.
func (r *readers) readNaively(t *testing.T, conn *pgx.Conn, done chan struct{}) {
	var last int64
	for end := false; !end; {
		select {
		case <-done:
			end = true
		default:
		}
		rows, err := conn.Query(context.Background(), "SELECT id FROM ticket WHERE id > $1", last)
		if err != nil {
			t.Error(err)
			return
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Error(err)
			return
		}
		r.mu.Lock()
		for _, id := range ids {
			r.naive[id] = true
		}
		r.mu.Unlock()
		if len(ids) > 0 {
			last = slices.Max(ids)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
