//go:build unix

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// TestShopCrashUp kills sync and collect with SIGKILL at random moments while the
// tills sell. No number may get a second content, no row may leave an outbox
// before it is integrated, and in the end the server must hold, by value,
// exactly what the tills sold, every ticket once. 30 kills by default (8 with PostgreSQL); with
// CAISSEAUTO_CRASH=5m as many as fit that time (scripts/crash).
func TestShopCrashUp(t *testing.T) { onEach(t, testShopCrashUp) }

func testShopCrashUp(t *testing.T, newShop func(*testing.T) *shop) {
	if testing.Short() {
		t.Skip("processes are killed for some seconds")
	}
	s := newShop(t)
	program := programLink(t)
	most := 30
	if s.erp != nil {
		most = 8
	}
	more := func(kills int) bool { return kills < most }
	if d, err := time.ParseDuration(os.Getenv("CAISSEAUTO_CRASH")); err == nil {
		end := time.Now().Add(d)
		more = func(int) bool { return time.Now().Before(end) }
	}
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	next := map[string]int{"001": 1, "002": 1}
	seen := map[string]string{}
	kills, byCommand := 0, map[string]int{}
	// How long each command takes by itself, so that kills come at every
	// moment of it and some commands come to their end.
	takes := map[string]time.Duration{}
	for _, step := range crashSteps {
		start := time.Now()
		killed(t, program, []string{step[1], "--config", s.config(step[0])}, time.Minute)
		takes[step[1]] = max(takes[step[1]], time.Since(start))
	}
	for round := 0; more(kills); round++ {
		for _, n := range shopTills {
			sold := rnd.IntN(4)
			s.sell(n, next[n], next[n]+sold-1)
			next[n] += sold
		}
		if round%3 == 0 {
			s.sql("till-001/till.db", fmt.Sprintf("UPDATE client SET nom='till %d', modifie_le='2026-03-01T00:00:%02dZ' WHERE code='C1'", round, round%60))
		}
		for _, step := range crashSteps {
			after := time.Duration(rnd.Int64N(int64(takes[step[1]]) * 3 / 2))
			if killed(t, program, []string{step[1], "--config", s.config(step[0])}, after) {
				kills++
				byCommand[step[1]]++
			}
			s.oneContent(seen)
			s.nothingLost()
		}
		if round%8 == 7 {
			s.exchange()
			s.complete()
		}
	}
	s.exchange()
	s.complete()
	for _, n := range shopTills {
		s.must("server", "prove", "--till", n)
		if left := s.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK"); left != 0 {
			t.Errorf("till %s: %d rows left in the outbox", n, left)
		}
		if d := cmp.Diff(s.values("server/erp.db", "client", "dossier='ACME'"), s.values("till-"+n+"/till.db", "client", "dossier='ACME'")); d != "" {
			t.Errorf("till %s: customers are not the server's (-server +till):\n%s", n, d)
		}
	}
	if n := s.count("server/erp.db", "SELECT count(*) FROM caisseauto_quarantine"); n != 0 {
		t.Errorf("%d units in quarantine", n)
	}
	t.Logf("%d kills %v, %d and %d tickets, %d published files", kills, byCommand, next["001"]-1, next["002"]-1, len(seen))
}

// crashSteps are what is killed, in turn.
var crashSteps = [][2]string{{"001", "sync"}, {"002", "sync"}, {"server", "collect"}, {"001", "sync"}, {"server", "export"}, {"001", "import"}}

// oneContent holds every published file of the tills' streams against what it
// was when it was first seen.
func (s *shop) oneContent(seen map[string]string) {
	s.t.Helper()
	for _, n := range shopTills {
		for _, dir := range []string{"till-" + n + "/outbox/ACME/up/" + n, "drop/ACME/up/" + n} {
			entries, _ := os.ReadDir(s.path(dir))
			for _, e := range entries {
				_, ext, ok := manifest.ParseFileName(e.Name())
				if !ok || ext == manifest.SignatureExt {
					continue
				}
				sum := sha256.Sum256(s.read(filepath.Join(s.path(dir), e.Name())))
				key, digest := n+"/"+e.Name(), hex.EncodeToString(sum[:])
				if first, ok := seen[key]; ok && first != digest {
					s.t.Fatalf("%s/%s has another content than before", dir, e.Name())
				}
				seen[key] = digest
			}
		}
	}
}

// nothingLost checks that every ticket which is not on the server is still in
// its till's outbox.
func (s *shop) nothingLost() {
	s.t.Helper()
	for _, n := range shopTills {
		sold := s.count("till-"+n+"/till.db", "SELECT count(*) FROM ticket")
		there := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='"+n+"'")
		waits := s.count("till-"+n+"/till.db", "SELECT count(DISTINCT k3) FROM MICPTRACK WHERE tab=(SELECT tab FROM caisseauto_table WHERE name='ticket')")
		if sold > there+waits {
			s.t.Fatalf("till %s has sold %d tickets; %d are on the server and %d wait: some are lost", n, sold, there, waits)
		}
	}
}
