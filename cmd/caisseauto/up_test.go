package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"caisseauto/manifest"
)

// TestShopTicketsTravel is the whole way: sold, sealed, shipped, integrated,
// receipted, pruned, proven.
func TestShopTicketsTravel(t *testing.T) { onEach(t, testShopTicketsTravel) }

func testShopTicketsTravel(t *testing.T, newShop func(*testing.T) *shop) {
	s := newShop(t)
	s.sell("001", 1, 5)
	s.sell("002", 1, 3)
	if n := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK"); n < 6 {
		t.Fatalf("%d rows in the outbox, want the 5 of the tickets and the JET", n)
	}
	s.must("001", "sync")
	if n := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK"); n < 6 {
		t.Errorf("%d rows in the outbox before any receipt: something was pruned", n)
	}
	s.must("002", "sync")
	s.must("server", "collect")
	s.complete()
	s.exchange()
	s.complete()
	for _, n := range shopTills {
		if left := s.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK"); left != 0 {
			t.Errorf("till %s: %d rows left in the outbox after their receipt", n, left)
		}
		out := s.must("server", "prove", "--till", n)
		if !strings.Contains(out, "5 of 5") && !strings.Contains(out, "3 of 3") {
			t.Errorf("till %s: prove says %s", n, out)
		}
		s.must(n, "status")
	}
	s.must("server", "status")
}

// TestShopHeaderAndLinesTogether: whatever the moment of the sync, a ticket is in
// one batch.
func TestShopHeaderAndLinesTogether(t *testing.T) {
	s := newShop(t)
	for n := 1; n <= 6; n++ {
		s.sell("001", n, n)
		s.must("001", "sync")
	}
	s.must("server", "collect")
	for n := int64(1); n <= 6; n++ {
		var m manifest.Manifest
		if err := json.Unmarshal(s.read(s.up("001", name(n, manifest.ManifestExt))), &m); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, total := range m.Totals {
			got[total.Table] = total.Rows
		}
		if got["ticket"] != "1" || got["ticket_ligne"] != "2" || got["reglement"] != "1" {
			t.Errorf("batch %d: %v", n, got)
		}
	}
	s.exchange()
	s.complete()
}

// TestShopCustomersBothWays: each policy, both versions recorded, the winner
// everywhere, no echo.
func TestShopCustomersBothWays(t *testing.T) { onEach(t, testShopCustomersBothWays) }

func testShopCustomersBothWays(t *testing.T, newShop func(*testing.T) *shop) {
	for _, tt := range []struct{ policy, till, server, want string }{
		{"newest", "2026-02-03T12:00:00Z", "2026-02-03T11:00:00Z", "Till"},
		{"newest", "2026-02-03T11:00:00Z", "2026-02-03T12:00:00Z", "Server"},
		{"server", "2026-02-03T12:00:00Z", "2026-02-03T11:00:00Z", "Server"},
		{"till", "2026-02-03T11:00:00Z", "2026-02-03T12:00:00Z", "Till"},
		{"hold", "2026-02-03T12:00:00Z", "2026-02-03T11:00:00Z", "Server"},
	} {
		t.Run(tt.policy+" "+tt.want, func(t *testing.T) {
			s := newShop(t)
			if s.erp != nil && tt.policy != "hold" && tt.policy != "till" {
				t.Skip("the suite of internal/collect has it")
			}
			config := strings.Replace(string(s.read(s.config("server"))), `conflict = "newest"`, `conflict = "`+tt.policy+`"`, 1)
			if tt.policy != "newest" {
				config = strings.Replace(config, "  version_column = \"modifie_le\"\n", "", 1)
			}
			s.write(s.config("server"), []byte(config))
			s.sql("till-001/till.db", "UPDATE client SET nom='Till', modifie_le='"+tt.till+"' WHERE code='C1'")
			s.sql("server/erp.db", "UPDATE client SET nom='Server', modifie_le='"+tt.server+"' WHERE dossier='ACME' AND code='C1'")
			s.must("server", "export")
			s.must("001", "import") // must not overwrite what the till has not sent yet
			if got := s.values("till-001/till.db", "client", "code='C1'"); !strings.Contains(got[0], `"Till"`) {
				t.Fatalf("the import overwrote a change that was not sent yet: %v", got)
			}
			s.must("001", "sync")
			wantCode := 0
			if tt.policy == "hold" {
				wantCode = exitRefused
			}
			if code, out, errs := s.on("server", "collect"); code != wantCode {
				t.Fatalf("collect: %d: %s%s", code, out, errs)
			}
			if n := s.count("server/erp.db", "SELECT count(*) FROM caisseauto_conflict"); n != 1 {
				t.Errorf("%d conflicts recorded, want 1", n)
			}
			if tt.policy == "hold" {
				s.must("server", "quarantine", "list")
				return
			}
			s.exchange()
			for _, file := range []string{"server/erp.db", "till-001/till.db", "till-002/till.db"} {
				if got := s.values(file, "client", "dossier='ACME' AND code='C1'"); !strings.Contains(got[0], `"`+tt.want+`"`) {
					t.Errorf("%s: %v, want the version of the %s", file, got, tt.want)
				}
			}
			before := s.read(s.path("drop/ACME/down/HEAD.json"))
			s.exchange() // no echo: nothing new comes of nothing
			for _, n := range shopTills {
				if left := s.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK"); left != 0 {
					t.Errorf("till %s: %d rows in the outbox after everything was applied", n, left)
				}
			}
			var a, b manifest.Head
			if json.Unmarshal(before, &a) != nil || json.Unmarshal(s.read(s.path("drop/ACME/down/HEAD.json")), &b) != nil || a.Sequence != b.Sequence {
				t.Errorf("batches went on travelling: %d, then %d", a.Sequence, b.Sequence)
			}
		})
	}
}

// TestShopRestoredTill: a till whose database came back from a backup stops before
// it gives a number out twice, says which command goes on, and goes on by it.
func TestShopRestoredTill(t *testing.T) { onEach(t, testShopRestoredTill) }

func testShopRestoredTill(t *testing.T, newShop func(*testing.T) *shop) {
	s := newShop(t)
	s.sell("001", 1, 2)
	backup := s.read(s.path("till-001/till.db"))
	s.must("001", "sync")
	s.sell("001", 3, 4)
	s.must("001", "sync")
	s.must("server", "collect")
	for _, tail := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(s.path("till-001/till.db" + tail))
	}
	s.write(s.path("till-001/till.db"), backup)
	if err := os.RemoveAll(s.path("till-001/outbox")); err != nil {
		t.Fatal(err)
	}
	s.sell("001", 3, 3)
	s.fails(exitOperator, "001", "sync", "sync --new-epoch --reason")
	if code, _, errs := s.on("001", "sync", "--new-epoch", "--reason", "restored from the backup of Monday"); code != 0 {
		t.Fatalf("new epoch: %d: %s", code, errs)
	}
	var m manifest.Manifest
	if err := json.Unmarshal(s.read(s.up("001", name(3, manifest.ManifestExt))), &m); err != nil {
		t.Fatal(err)
	}
	if m.Epoch != 2 || m.Previous != manifest.NoPrevious() {
		t.Errorf("batch 3: epoch %d, previous %s", m.Epoch, m.Previous)
	}
	s.must("server", "collect") // tickets 1 to 3 are known: acknowledged
	if n := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='001'"); n != 4 {
		t.Errorf("%d tickets of till 001 on the server, want 4", n)
	}
}

// TestShopClonedTill: two tills that run from one image.
func TestShopClonedTill(t *testing.T) {
	t.Run("under one number", func(t *testing.T) {
		s := newShop(t)
		s.sell("001", 1, 1)
		s.must("001", "sync")
		s.must("server", "collect")
		if err := os.CopyFS(s.path("till-clone"), os.DirFS(s.path("till-001"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.path("till-clone/keys/till"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.sell("001", 2, 2)
		s.must("001", "sync")
		s.must("server", "collect")
		s.sell("clone", 2, 3)
		s.fails(exitOperator, "clone", "sync", "a copy of it runs elsewhere")
		s.fails(exitOperator, "server", "collect", "till 001", "batch 1", "batch 2")
		if n := s.count("server/erp.db", "SELECT count(*) FROM caisseauto_alarm WHERE kind='fork' AND cleared_at IS NULL"); n == 0 {
			t.Error("no alarm stands")
		}
		s.fails(exitOperator, "server", "status")
	})
	t.Run("under two numbers", func(t *testing.T) {
		s := newShop(t)
		id := s.text("till-001/till.db", "SELECT incarnation FROM caisseauto_till")
		s.sql("till-002/till.db", "UPDATE caisseauto_till SET incarnation='"+id+"'")
		for _, n := range shopTills {
			s.sell(n, 1, 1)
			s.must(n, "sync")
		}
		s.fails(exitOperator, "server", "collect", "001", "002", id)
		s.complete() // both tills' tickets are in all the same
	})
}

// TestShopCollectWithoutDrop: files carried by hand, in both directions.
func TestShopCollectWithoutDrop(t *testing.T) {
	s := newShop(t)
	s.sell("001", 1, 2)
	s.must("001", "sync", "--no-ship")
	if err := os.CopyFS(s.path("server/inbox/ACME/up/001"), os.DirFS(s.path("till-001/outbox/ACME/up/001"))); err != nil {
		t.Fatal(err)
	}
	s.must("server", "collect", "--no-fetch")
	if _, err := os.Stat(s.path("server/outbox/ACME/receipts/001.json")); err != nil {
		t.Error(err)
	}
	if n := s.count("server/erp.db", "SELECT count(*) FROM ticket"); n != 2 {
		t.Errorf("%d tickets", n)
	}
	if err := os.CopyFS(s.path("till-001/inbox/ACME/receipts"), os.DirFS(s.path("server/outbox/ACME/receipts"))); err != nil {
		t.Fatal(err)
	}
	s.must("001", "sync", "--no-ship")
	if n := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK"); n != 1 { // the event of the purge
		t.Errorf("%d rows in the outbox after a receipt that was carried by hand, want 1", n)
	}
}

// TestShopShipAndFetch: the mirror alone, on both sides.
func TestShopShipAndFetch(t *testing.T) {
	s := newShop(t)
	s.sell("001", 1, 2)
	s.must("001", "sync", "--no-ship")
	s.must("001", "ship")
	s.must("server", "fetch")
	s.must("server", "collect", "--no-fetch")
	s.must("server", "ship")
	s.must("001", "fetch")
	if out := s.must("001", "sync", "--no-ship", "--json"); !strings.Contains(out, `"receipt": 1,`) {
		t.Errorf("the receipt did not travel: %s", out)
	}
}

// TestShopOneTillsTrouble holds up nobody else.
func TestShopOneTillsTrouble(t *testing.T) {
	s := newShop(t)
	for _, n := range shopTills {
		s.sell(n, 1, 2)
		s.must(n, "sync")
	}
	s.write(s.up("001", name(1, manifest.SignatureExt)), []byte("rubbish"))
	s.fails(exitRefused, "server", "collect", "till 001", "0000000001.manifest.json", "signature")
	if a, b := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='001'"), s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='002'"); a != 0 || b != 2 {
		t.Errorf("%d tickets of till 001, %d of till 002", a, b)
	}
}

// TestShopCanceled: a command that is told to end leaves nothing half done.
func TestShopCanceled(t *testing.T) {
	s := newShop(t)
	s.sell("001", 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if code := run(ctx, []string{"sync", "--config", s.config("001")}, nil, &out, &out); code == 0 {
		t.Error("a canceled sync says it is done")
	}
	s.exchange()
	s.complete()
}

// TestShopLongAbsence: a till that was off line for weeks is no alarm, whatever
// its head once promised.
func TestShopLongAbsence(t *testing.T) {
	s := newShop(t)
	s.sell("001", 1, 2)
	s.write(s.config("001"), append([]byte("[head]\nexpires = \"1s\"\n"), s.read(s.config("001"))...))
	s.must("001", "sync")
	time.Sleep(2100 * time.Millisecond)
	s.must("server", "collect")
	s.must("server", "collect")
	s.must("server", "status")
}

// TestShopExcludedColumn: what never leaves the server never comes back either,
// and a change beside it is no conflict.
func TestShopExcludedColumn(t *testing.T) {
	s := newShop(t)
	s.write(s.config("server"), []byte(strings.Replace(shopServer, "  name = \"client\"\n", "  name = \"client\"\n  exclude = [\"courriel\"]\n", 1)))
	if code, _, errs := s.run("init", "server", "--config", s.config("server")); code != 0 {
		t.Fatal(errs)
	}
	s.sql("server/erp.db", "UPDATE client SET courriel='secret' WHERE code='C1'")
	s.exchange()
	s.sql("till-001/till.db", "UPDATE client SET nom='Nouveau', courriel='till', modifie_le='2026-05-01T00:00:00Z' WHERE code='C1'")
	s.exchange()
	if got := s.text("server/erp.db", "SELECT nom || ' ' || courriel FROM client WHERE dossier='ACME' AND code='C1'"); got != "Nouveau secret" {
		t.Errorf("the server has %q", got)
	}
	if n := s.count("server/erp.db", "SELECT count(*) FROM caisseauto_conflict"); n != 0 {
		t.Errorf("%d conflicts", n)
	}
	if got := s.text("till-002/till.db", "SELECT nom FROM client WHERE code='C1'"); got != "Nouveau" {
		t.Errorf("till 002 has %q", got)
	}
}
