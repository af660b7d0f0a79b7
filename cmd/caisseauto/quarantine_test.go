package main

import (
	"strings"
	"testing"
)

// TestShopQuarantine: a ticket that the ERP does not take is kept whole and word
// for word, those behind it go on, and it is integrated or closed by an
// operator; the proof says so at every step.
func TestShopQuarantine(t *testing.T) { onEach(t, testShopQuarantine) }

func testShopQuarantine(t *testing.T, newShop func(*testing.T) *shop) {
	held := func(t *testing.T) *shop {
		s := newShop(t)
		s.refuseLine(2, "the period is closed")
		s.sell("001", 1, 3)
		s.must("001", "sync")
		s.fails(exitRefused, "server", "collect", "4 rows could not be integrated", "quarantine list")
		for table, want := range map[string]int64{"ticket": 2, "ticket_ligne": 4, "reglement": 2} {
			if n := s.count("server/erp.db", "SELECT count(*) FROM "+table); n != want {
				t.Errorf("%s: %d rows, want %d: the ticket is the unit", table, n, want)
			}
		}
		if out := s.must("server", "quarantine", "list"); !strings.Contains(out, "the period is closed") || !strings.Contains(out, "waiting") {
			t.Errorf("list: %s", out)
		}
		out := s.must("server", "quarantine", "show", "1")
		for _, want := range []string{`{"table":"ticket","op":"upsert"`, `["ACME","001",2,1,"A","Café",1000,700,0,2000,702]`, "the period is closed"} {
			if !strings.Contains(out, want) {
				t.Errorf("show does not have %s: %s", want, out)
			}
		}
		s.fails(exitOperator, "server", "status", "1 units are in quarantine")
		if code, out, _ := s.on("server", "prove", "--till", "001"); code != exitRefused || !strings.Contains(out, "ticket: 2 of 3") || !strings.Contains(out, "in quarantine") {
			t.Errorf("prove: %d: %s", code, out)
		}
		return s
	}
	t.Run("retry", func(t *testing.T) {
		s := held(t)
		if code, _, errs := s.on("server", "quarantine", "retry", "1"); code == 0 || !strings.Contains(errs, "the period is closed") {
			t.Errorf("a retry before the cause is removed: %d: %s", code, errs)
		}
		s.refuseLine(2, "")
		s.must("server", "quarantine", "retry", "1")
		s.must("server", "collect")
		if out := s.must("server", "prove", "--till", "001"); !strings.Contains(out, "ticket: 3 of 3") {
			t.Errorf("prove: %s", out)
		}
		s.must("server", "status")
		s.exchange()
		s.complete()
		if code, _, _ := s.on("server", "quarantine", "retry", "1"); code == 0 {
			t.Error("a unit was integrated twice")
		}
	})
	t.Run("discard", func(t *testing.T) {
		s := held(t)
		if code, _, _ := s.on("server", "quarantine", "discard", "1"); code != exitUsage {
			t.Errorf("discarded without a reason: %d", code)
		}
		s.must("server", "quarantine", "discard", "1", "--reason", "test of the installer")
		s.must("server", "collect")
		if code, out, _ := s.on("server", "prove", "--till", "001"); code != exitRefused || !strings.Contains(out, "test of the installer") {
			t.Errorf("prove after a discard: %d: %s", code, out)
		}
		s.must("001", "sync") // the receipt counts it: nothing waits for ever
		if n := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK WHERE tab > 0"); n > 1 {
			t.Errorf("%d rows left in the outbox", n)
		}
	})
	t.Run("hold", func(t *testing.T) {
		s := newShop(t)
		s.write(s.config("server"), []byte(strings.Replace(strings.Replace(string(s.read(s.config("server"))), `"newest"`, `"hold"`, 1), "  version_column = \"modifie_le\"\n", "", 1)))
		s.sql("till-001/till.db", "UPDATE client SET nom='Till' WHERE code='C1'")
		s.sql("server/erp.db", "UPDATE client SET nom='Server' WHERE dossier='ACME' AND code='C1'")
		s.must("001", "sync")
		s.fails(exitRefused, "server", "collect")
		s.must("server", "quarantine", "retry", "1")
		s.exchange()
		for _, file := range []string{"server/erp.db", "till-001/till.db", "till-002/till.db"} {
			if got := s.values(file, "client", "dossier='ACME' AND code='C1'"); !strings.Contains(got[0], `"Till"`) {
				t.Errorf("%s: %v, want the till's version, which the operator has taken", file, got)
			}
		}
	})
}
