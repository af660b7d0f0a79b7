package collecttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A chain is the batches of one till, in order.
type chain struct {
	till    string
	batches []*Batch
	forks   []*Batch // of the same numbers, with other content
}

func (s *Server) chain(till string, n int) chain {
	c := chain{till: till}
	last := manifest.Position{}
	for i := range n {
		b := s.follow(till, last).Tickets(till, 2*i+1, 2*i+2).Seal()
		f := s.follow(till, last).Tickets(till, 1000+i).Seal()
		c.batches, c.forks = append(c.batches, b), append(c.forks, f)
		last = b.P
	}
	return c
}

// tally counts what became of deliveries.
type tally struct{ applied, moved, stopped atomic.Int64 }

// deliver hands one batch to a collector of its own kind of luck: now and then
// the work is stopped at one of its places. What became of it is only said
// where it is sure.
func (n *tally) deliver(s *Server, c *collect.Collector, stop func(cancel func()), b *Batch) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop(cancel)
	_, err := c.Apply(ctx, b.M, b.P, b.Reader())
	switch {
	case err == nil:
		n.applied.Add(1)
	case errors.Is(err, database.ErrMoved):
		n.moved.Add(1)
	case errors.Is(err, context.Canceled), errors.Is(err, database.ErrBusy):
		n.stopped.Add(1)
	default:
		return err
	}
	return nil
}

// testExactlyOnce: eight collectors are given the batches of four tills out of
// order, each many times, and batches of the same numbers with other content
// behind them; some deliveries are stopped at any place. In the end everything
// is there once, nothing of the other content, and each number bears one
// digest.
func testExactlyOnce(t *testing.T, k *Kind) {
	const length = 12
	tills := []string{"017", "018", "019", "020"}
	s := NewRetailServer(t, k, "")
	var chains []chain
	for _, till := range tills {
		chains = append(chains, s.chain(till, length))
	}
	var n tally
	var group sync.WaitGroup
	for w := range 8 {
		var stop atomic.Pointer[func(string)]
		c := s.open(Options{BusyTimeout: time.Minute, Hook: func(place string) {
			if f := stop.Load(); f != nil {
				(*f)(place)
			}
		}})
		rnd := rand.New(rand.NewPCG(uint64(w), 3))
		group.Go(func() {
			for range 3 * length * len(tills) / 2 {
				ch := chains[rnd.IntN(len(chains))]
				last, err := c.Position(context.Background(), ch.batches[0].M.Stream)
				if err != nil {
					t.Error(err)
					return
				}
				// Around the place where it stands: before it, the next one, beyond.
				i := min(max(int(last.Sequence)+rnd.IntN(4)-2, 0), length-1)
				b := ch.batches[i]
				if i < int(last.Sequence) && rnd.IntN(2) == 0 {
					b = ch.forks[i]
				}
				at := []string{"prepared", "commit", "committed", "never", "never", "never"}[rnd.IntN(6)]
				arm := func(cancel func()) {
					f := func(place string) {
						if place == at {
							cancel()
						}
					}
					stop.Store(&f)
				}
				if err := n.deliver(s, c, arm, b); err != nil {
					t.Errorf("batch %d of till %s: %v", i+1, ch.till, err)
				}
			}
		})
	}
	group.Wait()
	for _, ch := range chains { // what is left, in order
		for _, b := range ch.batches {
			if _, err := b.ApplyTo(s.Collector); err != nil && !errors.Is(err, database.ErrMoved) {
				t.Error(err)
			}
		}
	}
	t.Logf("applied %d, in vain %d, stopped %d", n.applied.Load(), n.moved.Load(), n.stopped.Load())
	if n.applied.Load() == 0 || n.moved.Load() == 0 || n.stopped.Load() == 0 {
		t.Error("the deliveries show nothing")
	}
	s.onceEach(t, chains)
}

// onceEach compares the database with the batches, each taken in once.
func (s *Server) onceEach(t *testing.T, chains []chain) {
	t.Helper()
	tickets, ledger := "", ""
	for _, ch := range chains {
		for i, b := range ch.batches {
			tickets += fmt.Sprintf(" %[1]s|%[2]d|%[3]d|2|1 %[1]s|%[4]d|%[5]d|2|1", ch.till, 2*i+1, 120*(2*i+1), 2*i+2, 120*(2*i+2))
			ledger += fmt.Sprintf(" %s|%d|%s", b.M.Stream, i+1, b.P.Digest)
		}
		r := s.receipt(ch.till)
		n := 2 * len(ch.batches)
		want := fmt.Sprintf("[{ticket,%d,[{total_ttc,%d}],[1-%d]}", n, 120*n*(n+1)/2, n)
		if got := totalsText(t, r.Totals); len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("totals of till %s: %s, want %s", ch.till, got, want)
		}
	}
	s.Want(tickets[1:], `SELECT caisse, numero, total_ttc, (SELECT count(*) FROM ticket_ligne AS l WHERE l.caisse=t.caisse AND l.ticket=t.numero),
		(SELECT count(*) FROM reglement AS r WHERE r.caisse=t.caisse AND r.ticket=t.numero) FROM ticket AS t ORDER BY caisse, numero`)
	s.Want(ledger[1:], "SELECT stream, sequence, digest FROM caisseauto_ledger ORDER BY stream, sequence")
	s.Want(fmt.Sprint(len(chains)*len(chains[0].batches)), "SELECT integrated FROM caisseauto_dossier")
	if u := s.Units(); len(u) > 0 {
		t.Errorf("in quarantine: %+v", u)
	}
}

// testClaim: a till is one collector's at a time, where a kind of database has
// collectors on several hosts; and nobody waits for another one's till.
func testClaim(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	ctx := context.Background()
	other := s.open(Options{BusyTimeout: time.Second})
	release, ok, err := s.Claim(ctx, "ACME/up/017")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := other.Claim(ctx, "ACME/up/017"); err != nil || ok != !k.Claims {
		t.Errorf("a claimed till is claimed again: %v, %v", ok, err)
	}
	if done, ok, err := other.Claim(ctx, "ACME/up/018"); err != nil || !ok {
		t.Error(ok, err)
	} else {
		done()
	}
	s.Batch("017").Tickets("017", 1).Send()
	release()
	if done, ok, err := other.Claim(ctx, "ACME/up/017"); err != nil || !ok {
		t.Errorf("after it was released: %v, %v", ok, err)
	} else {
		done()
	}
	// Whoever is gone has released everything.
	gone, err := s.DB.Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := gone.Claim(ctx, "ACME/up/017"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, ok, err := other.Claim(ctx, "ACME/up/017"); err != nil || ok {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("a till stays claimed by a collector that is gone")
		}
	}
}
