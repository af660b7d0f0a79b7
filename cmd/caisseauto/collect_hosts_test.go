//go:build unix

package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"caisseauto/internal/postgres/pgtest"
)

// secondHost copies the server's folder: another host with the same key, with
// an inbox and an outbox of its own.
func (s *shop) secondHost() (config string) {
	s.t.Helper()
	if err := os.CopyFS(s.path("server-2"), os.DirFS(s.path("server"))); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(s.path("server-2/keys/server"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, left := range []string{"server-2/outbox", "server-2/inbox"} {
		s.world.remove(left)
	}
	return s.path("server-2/server.toml")
}

// TestShopCollectorsShare: two hosts collect at the same time from tills that go
// on selling; each is killed now and then. Every row is integrated once, each
// till has one receipt after the other, and nobody had to know.
func TestShopCollectorsShare(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are killed for some seconds")
	}
	s := newPostgresShop(t)
	program := programLink(t)
	configs := []string{s.config("server"), s.secondHost()}
	end := time.Now().Add(4 * time.Second)
	var work sync.WaitGroup
	var mu sync.Mutex
	runs, kills := 0, 0
	for i, config := range configs {
		rnd := rand.New(rand.NewPCG(uint64(i), 3))
		work.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				after := time.Minute
				if rnd.IntN(3) == 0 {
					after = time.Duration(rnd.IntN(150)) * time.Millisecond
				}
				dead := killed(t, program, []string{"collect", "--config", config}, after)
				mu.Lock()
				runs++
				if dead {
					kills++
				}
				mu.Unlock()
			}
		})
	}
	next := map[string]int{"001": 1, "002": 1}
	for time.Now().Before(end) {
		for _, n := range shopTills {
			s.sell(n, next[n], next[n]+2)
			next[n] += 3
			s.must(n, "sync")
		}
	}
	work.Wait()
	s.exchange()
	s.complete()
	for _, n := range shopTills {
		s.must("server", "prove", "--till", n)
	}
	if n := s.count(erpFile, "SELECT count(*) FROM caisseauto_alarm"); n != 0 {
		t.Errorf("%d alarms: %s", n, s.text(erpFile, "SELECT string_agg(text, '; ') FROM caisseauto_alarm"))
	}
	if n := s.count(erpFile, "SELECT count(*) FROM (SELECT stream, epoch, sequence FROM caisseauto_ledger GROUP BY 1, 2, 3 HAVING count(*) > 1) AS twice"); n != 0 {
		t.Errorf("%d batches twice in the ledger", n)
	}
	t.Logf("%d runs, %d killed, %d tickets", runs, kills, next["001"]+next["002"]-2)
}

// TestShopCollectElsewhere: a till that another host is at is left to it, and
// the others are collected.
func TestShopCollectElsewhere(t *testing.T) {
	s := newPostgresShop(t)
	s.sell("001", 1, 2)
	s.sell("002", 1, 2)
	for _, n := range shopTills {
		s.must(n, "sync")
	}
	s.must("server", "collect", "--till", "002") // the tables are made
	other := pgtest.Connect(t, s.erp.(*postgresDB).dsn)
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock(hashtext('caisseauto collect'), hashtext('ACME/up/001'))"); err != nil {
		t.Fatal(err)
	}
	out := s.must("server", "collect")
	if !strings.Contains(out, "another host collects from 1 tills") {
		t.Errorf("%s", out)
	}
	var list []collectResult
	if err := json.Unmarshal([]byte(s.must("server", "collect", "--json")), &list); err != nil || len(list) != 2 || !list[0].Elsewhere || list[1].Elsewhere {
		t.Errorf("%+v, %v", list, err)
	}
	if n := s.count(erpFile, "SELECT count(*) FROM ticket"); n != 2 {
		t.Errorf("%d tickets", n)
	}
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_unlock_all()"); err != nil {
		t.Fatal(err)
	}
	s.must("server", "collect")
	s.exchange()
	s.complete()
}
