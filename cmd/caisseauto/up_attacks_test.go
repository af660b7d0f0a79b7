package main

import (
	"os"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// An upAttack is something that a till, a stranger or a bad disk does to what
// goes up. Till 001 has sold tickets 1 and 2 in batch 1, which is integrated
// and receipted; before the attack it has sold 3 and 4 and sealed them in
// batch 2. The server's next collect must end with code and every word of
// says; then it must hold tickets of till 001, and the till must keep its rows
// unless pruned.
type upAttack struct {
	name    string
	do      func(s *shop)
	code    int
	says    []string
	tickets int64
	moves   bool // the position moves on, the till gets its receipt
	forges  bool // with the till's own key: the honest till then knows of a fork
}

var upAttacks = []upAttack{
	{"rows of another till", func(s *shop) {
		// A till that was tampered with: its triggers no longer look at the number.
		s.sql("till-001/till.db", `UPDATE caisseauto_till SET uploads=replace(uploads, '"till_column":"caisse"', '"till_column":""')`)
		s.must("001", "sync")
		s.sell("001", 5, 5)
		s.sql("till-001/till.db", sale("002", 77))
		s.must("001", "sync")
	}, exitRefused, []string{"till 001", "quarantine"}, 5, true, false},
	{"an unknown table", func(s *shop) {
		s.sql("till-001/till.db", `UPDATE caisseauto_till SET uploads=replace(uploads, '[{', '[{"table":"utilisateur","mode":"append","key":["code"],"dossier_column":"dossier","till_column":"","number_column":"","sums":[],"parent":"","parent_columns":[]},{')`)
		s.must("001", "sync")
		s.sql("till-001/till.db", "INSERT INTO utilisateur(code, dossier, nom) VALUES('EVIL','ACME','x')")
		s.must("001", "sync")
	}, exitRefused, []string{"till 001", "quarantine"}, 4, true, false},
	{"a delete of a sealed ticket", func(s *shop) {
		s.sql("till-001/till.db", "DELETE FROM ticket WHERE numero=1")
		s.must("001", "sync")
	}, exitRefused, []string{"till 001", "quarantine"}, 4, true, false},
	{"a sealed ticket with other content", func(s *shop) {
		s.sql("till-001/till.db", "UPDATE ticket SET total_ttc=1 WHERE numero=1")
		s.must("001", "sync")
	}, exitRefused, []string{"till 001", "quarantine"}, 4, true, false},
	{"unsigned", func(s *shop) {
		if err := os.Remove(s.up("001", name(2, manifest.SignatureExt))); err != nil {
			s.t.Fatal(err)
		}
	}, exitRefused, []string{"till 001", "batch 2"}, 2, false, false},
	{"signed by another till", func(s *shop) {
		s.remanifest("001", 2, s.key("002"), func(*manifest.Manifest) {})
	}, exitRefused, []string{"0000000002.manifest.json", "till-002@acme"}, 2, false, false},
	{"signed by another till in its own name", func(s *shop) {
		s.remanifest("001", 2, s.key("002"), func(m *manifest.Manifest) { m.Signer = "till-002@acme" })
	}, exitRefused, []string{"0000000002.manifest.json", "till-002@acme"}, 2, false, false},
	{"signed by a stranger", func(s *shop) {
		s.remanifest("001", 2, stranger(s.t), func(*manifest.Manifest) {})
	}, exitRefused, []string{"0000000002.manifest.json", "unknown key"}, 2, false, false},
	{"a server's signature on tickets", func(s *shop) {
		s.remanifest("001", 2, s.key("server"), func(m *manifest.Manifest) { m.Signer = "server@acme" })
	}, exitRefused, []string{"0000000002.manifest.json"}, 2, false, false},
	{"another till's folder", func(s *shop) {
		s.sell("002", 1, 1)
		s.must("002", "sync")
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			s.write(s.up("001", name(2, ext)), s.read(s.up("002", name(1, ext))))
		}
	}, exitRefused, []string{"till 001", "0000000002.manifest.json"}, 2, false, false},
	{"a batch skipped", func(s *shop) {
		s.sell("001", 5, 5)
		s.must("001", "sync")
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			if err := os.Remove(s.up("001", name(2, ext))); err != nil {
				s.t.Fatal(err)
			}
		}
	}, exitRefused, []string{"till 001", "batch 2"}, 2, false, false},
	{"a batch repeated under the next number", func(s *shop) {
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			s.write(s.up("001", name(2, ext)), s.read(s.up("001", name(1, ext))))
		}
	}, exitRefused, []string{"till 001", "0000000002.manifest.json"}, 2, false, false},
	{"an integrated number with other content", func(s *shop) {
		s.rehead("001", 1, strings.Repeat("ab", 32))
	}, exitOperator, []string{"till 001", "fork", strings.Repeat("ab", 32)}, 2, false, false},
	{"an archive that is none, under a good signature", func(s *shop) {
		s.write(s.up("001", name(2, manifest.ArchiveExt)), []byte("these are no rows"))
		s.remanifest("001", 2, s.key("001"), func(m *manifest.Manifest) {
			m.Archive.Size, m.Archive.SHA256 = 17, manifest.Digest([]byte("these are no rows"))
		})
		s.rehead("001", 2, manifest.Digest(s.read(s.up("001", name(2, manifest.ManifestExt)))))
	}, exitRefused, []string{"till 001", "quarantine"}, 2, true, true},
	{"totals that the rows do not make", func(s *shop) {
		s.remanifest("001", 2, s.key("001"), func(m *manifest.Manifest) { m.Totals[0].Rows = "999" })
		s.rehead("001", 2, manifest.Digest(s.read(s.up("001", name(2, manifest.ManifestExt)))))
	}, exitRefused, []string{"till 001", "quarantine"}, 2, true, true},
}

func TestShopUpAttacks(t *testing.T) {
	for _, a := range upAttacks {
		t.Run(a.name, func(t *testing.T) {
			s := newShop(t)
			// Without the event of a purge the second batch is the second sale's.
			s.write(s.config("001"), append(s.read(s.config("001")), "[jet.codes]\npurge = \"\"\n"...))
			s.sell("001", 1, 2)
			s.must("001", "sync")
			s.must("server", "collect")
			s.must("001", "sync")
			s.sell("001", 3, 4)
			s.must("001", "sync")
			a.do(s)
			s.fails(a.code, "server", "collect", a.says...)
			if n := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='001'"); n != a.tickets {
				t.Errorf("%d tickets of till 001 on the server, want %d", n, a.tickets)
			}
			if n := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='002'"); n > 1 {
				t.Errorf("%d tickets of till 002 came from till 001", n)
			}
			if n := s.count("server/erp.db", "SELECT total_ttc FROM ticket WHERE caisse='001' AND numero=1"); n != 1201 {
				t.Errorf("ticket 1 was changed: %d", n)
			}
			before := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK")
			if !a.moves {
				_, _, _ = s.on("001", "sync")
				if after := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK"); after < before {
					t.Errorf("the outbox went from %d to %d rows without a receipt for them", before, after)
				}
				return
			}
			if n := s.count("server/erp.db", "SELECT count(*) FROM caisseauto_quarantine"); n == 0 {
				t.Error("nothing is in quarantine")
			}
			if code, out, _ := s.on("server", "prove", "--till", "001"); code != exitRefused {
				t.Errorf("prove: exit code %d although rows are in quarantine: %s", code, out)
			}
			if a.forges {
				s.fails(exitOperator, "001", "sync", "--new-epoch")
				return
			}
			s.sell("001", 8, 9) // the rows behind go on
			s.must("001", "sync")
			_, _, _ = s.on("server", "collect")
			if n := s.count("server/erp.db", "SELECT count(*) FROM ticket WHERE caisse='001' AND numero IN (8,9)"); n != 2 {
				t.Error("the tickets behind the quarantine were held up")
			}
		})
	}
}

// A receiptAttack is done to the receipt of till 001, whose batch 1 is
// integrated and whose batch 2 is not receipted yet.
func TestShopReceiptAttacks(t *testing.T) {
	const receipt = "drop/ACME/receipts/001.json"
	old := map[string][]byte{}
	for _, a := range []struct {
		name string
		do   func(s *shop)
		code int
		says []string
	}{
		{"forged", func(s *shop) {
			var r manifest.Receipt
			s.restate(s.path(receipt), &r, func() { r.Issue++ }, stranger(s.t), keys.NamespaceReceipt)
		}, exitRefused, []string{"receipts/001.json", "unknown key"}},
		{"changed", func(s *shop) {
			s.write(s.path(receipt), []byte(strings.Replace(string(s.read(s.path(receipt))), `"issue": `, `"issue": 1`, 1)))
		}, exitRefused, []string{"receipts/001.json", "signature"}},
		{"signed by the till itself", func(s *shop) {
			var r manifest.Receipt
			s.restate(s.path(receipt), &r, func() { r.Signer = "till-001@acme" }, s.key("001"), keys.NamespaceReceipt)
		}, exitRefused, []string{"receipts/001.json"}},
		{"in another namespace", func(s *shop) {
			var r manifest.Receipt
			s.restate(s.path(receipt), &r, func() {}, s.key("server"), keys.NamespaceManifest)
		}, exitRefused, []string{"receipts/001.json", "namespace"}},
		{"older", func(s *shop) {
			s.must("001", "sync")
			s.write(s.path(receipt), old["doc"])
			s.write(s.path(receipt+".sig"), old["sig"])
		}, exitRefused, []string{"receipts/001.json", "old file"}},
		{"of another till", func(s *shop) {
			s.sell("002", 1, 1)
			s.must("002", "sync")
			s.must("server", "collect")
			s.write(s.path(receipt), s.read(s.path("drop/ACME/receipts/002.json")))
			s.write(s.path(receipt+".sig"), s.read(s.path("drop/ACME/receipts/002.json.sig")))
		}, exitRefused, []string{"receipts/001.json", "ACME/up/002"}},
		{"naming a batch that was never sealed", func(s *shop) {
			var r manifest.Receipt
			s.restate(s.path(receipt), &r, func() { r.Sequence, r.Issue = 900, r.Issue+1 }, s.key("server"), keys.NamespaceReceipt)
		}, exitOperator, []string{"900", "--new-epoch"}},
	} {
		t.Run(a.name, func(t *testing.T) {
			s := newShop(t)
			s.sell("001", 1, 2)
			s.must("001", "sync")
			s.must("server", "collect")
			old["doc"], old["sig"] = s.read(s.path(receipt)), s.read(s.path(receipt+".sig"))
			if a.name == "older" {
				s.must("001", "sync")
				s.sell("001", 3, 3)
				s.must("001", "sync")
				s.must("server", "collect")
			}
			a.do(s)
			before := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK")
			s.fails(a.code, "001", "sync", a.says...)
			if after := s.count("till-001/till.db", "SELECT count(*) FROM MICPTRACK"); after < before {
				t.Errorf("the outbox went from %d to %d rows by a bad receipt", before, after)
			}
			// A good receipt heals it, without anybody at the till.
			if a.code == exitOperator {
				return
			}
			s.sell("001", 5, 5)
			_, _, _ = s.on("001", "sync")
			s.must("server", "collect")
			s.exchange()
			s.complete()
		})
	}
}
