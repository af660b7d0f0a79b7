package retail

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
)

func sell(t testing.TB, conn *sqlite3.Conn, o SellOptions) Sales {
	t.Helper()
	s, err := Sell(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// consistent checks what has to hold of every ticket in the database.
func consistent(t testing.TB, conn *sqlite3.Conn) {
	t.Helper()
	for what, sql := range map[string]string{
		"broken references":                  "SELECT count(*) FROM pragma_foreign_key_check",
		"totals that do not add up":          "SELECT count(*) FROM ticket WHERE total_ht + total_tva <> total_ttc",
		"tickets without lines":              "SELECT count(*) FROM ticket t WHERE NOT EXISTS (SELECT 1 FROM ticket_ligne l WHERE (l.dossier, l.caisse, l.ticket) = (t.dossier, t.caisse, t.numero))",
		"lines that are not the total":       "SELECT count(*) FROM ticket t WHERE total_ttc <> (SELECT sum(montant) FROM ticket_ligne l WHERE (l.dossier, l.caisse, l.ticket) = (t.dossier, t.caisse, t.numero))",
		"payments that are not the total":    "SELECT count(*) FROM ticket t WHERE total_ttc <> (SELECT sum(montant) FROM reglement l WHERE (l.dossier, l.caisse, l.ticket) = (t.dossier, t.caisse, t.numero))",
		"amounts that are not price by unit": "SELECT count(*) FROM ticket_ligne WHERE montant <> prix * quantite / 1000 - remise",
		"tax that is no tax":                 "SELECT count(*) FROM ticket WHERE abs(total_tva) * 6 > abs(total_ttc) + 6 * (SELECT count(*) FROM ticket_ligne l WHERE (l.dossier, l.caisse, l.ticket) = (dossier, caisse, numero)) OR total_tva * total_ttc < 0",
		"holes in the tickets' numbers":      "SELECT count(*) FROM (SELECT max(numero) - count(*) AS n FROM ticket GROUP BY dossier, caisse) WHERE n <> 0",
		"holes in the events' numbers":       "SELECT count(*) FROM (SELECT max(numero) - count(*) AS n FROM jet GROUP BY dossier, caisse) WHERE n <> 0",
		"tickets that go back in time":       "SELECT count(*) FROM ticket a JOIN ticket b ON (b.dossier, b.caisse, b.numero) = (a.dossier, a.caisse, a.numero + 1) WHERE b.horodatage <= a.horodatage",
	} {
		if n := number(t, conn, sql); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
}

func TestSell(t *testing.T) {
	conn := open(t)
	fill(t, conn, Options{Articles: 500, Customers: 50})
	count := func(table string) int64 { return number(t, conn, "SELECT count(*) FROM "+table) }
	var rows, amount int64
	first := sell(t, conn, SellOptions{Count: 1000})
	if first.Tickets != 1000 || first.First != 1 || first.Last != 1000 {
		t.Errorf("%+v", first)
	}
	next := sell(t, conn, SellOptions{Count: 10, Seed: 9, At: time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)})
	if next.First != 1001 || next.Last != 1010 {
		t.Errorf("the tickets after the newest: %+v", next)
	}
	other := sell(t, conn, SellOptions{Till: "002", Count: 300, Lines: 5, PerTransaction: 100, NoJET: true})
	if n := number(t, conn, "SELECT count(*) FROM ticket_ligne WHERE caisse = '002'"); n != 1500 {
		t.Errorf("%d lines of 300 tickets with 5", n)
	}
	if n := number(t, conn, "SELECT count(*) FROM jet WHERE caisse = '002'"); n != 0 {
		t.Errorf("%d events that nobody wanted", n)
	}
	for _, s := range []Sales{first, next, other} {
		rows, amount = rows+s.Rows, amount+s.Amount
	}
	if n := count("ticket") + count("ticket_ligne") + count("reglement") + count("jet"); n != rows {
		t.Errorf("Sell counted %d rows, the tables hold %d", rows, n)
	}
	if n := number(t, conn, "SELECT sum(total_ttc) FROM ticket"); n != amount {
		t.Errorf("Sell counted %d cents, the tables hold %d", amount, n)
	}
	consistent(t, conn)
	for what, sql := range map[string]string{
		"payments with change":   "SELECT count(*) FROM reglement WHERE montant < 0 AND moyen = 'ESP'",
		"payments in two ways":   "SELECT count(*) FROM reglement a JOIN reglement b USING (dossier, caisse, ticket) WHERE a.moyen < b.moyen",
		"returns":                "SELECT count(*) FROM ticket WHERE total_ttc < 0",
		"tickets of a customer":  "SELECT count(*) FROM ticket JOIN client ON client.dossier = ticket.dossier AND client.code = ticket.client",
		"tickets of nobody":      "SELECT count(*) FROM ticket WHERE client IS NULL",
		"rebates":                "SELECT count(*) FROM ticket_ligne WHERE remise <> 0",
		"articles of the shop":   "SELECT count(*) FROM ticket_ligne l JOIN article a ON a.dossier = l.dossier AND a.code = l.article AND a.prix = l.prix",
		"openings and closings":  "SELECT count(*) = 4 FROM jet WHERE code IN ('OUVERTURE', 'FERMETURE')",
		"drawers opened in vain": "SELECT count(*) = 20 FROM jet WHERE code = 'TIROIR'",
	} {
		if n := number(t, conn, sql); n == 0 {
			t.Errorf("%s: none", what)
		}
	}
}

// A till without any reference data sells too.
func TestSellInAnEmptyShop(t *testing.T) {
	conn := open(t)
	if s := sell(t, conn, SellOptions{Count: 100}); s.Tickets != 100 {
		t.Errorf("%+v", s)
	}
	consistent(t, conn)
}

func TestSellDeterministic(t *testing.T) {
	digest := func(o SellOptions) string {
		conn := open(t)
		fill(t, conn, Options{Articles: 100, Customers: 10})
		sell(t, conn, o)
		h := sha256.New()
		for _, table := range []string{"ticket", "ticket_ligne", "reglement", "jet"} {
			err := conn.Query("SELECT * FROM "+table, func(s *sqlite3.Stmt) error {
				for i := range s.Columns() {
					fmt.Fprintf(h, "%d %q,", s.Kind(i), s.Bytes(i))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	first := digest(SellOptions{Count: 60})
	if again := digest(SellOptions{Count: 60}); first != again {
		t.Errorf("%s, then %s", first, again)
	}
	if first == digest(SellOptions{Count: 60, Seed: 2}) {
		t.Error("another seed gave the same tickets")
	}
}

// What is committed is counted, and a ticket that fails leaves nothing.
func TestSellStops(t *testing.T) {
	conn := open(t)
	sell(t, conn, SellOptions{From: 5, Count: 1, NoJET: true, At: time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC)})
	s, err := Sell(t.Context(), conn, SellOptions{From: 1, Count: 10, NoJET: true})
	if err == nil || !strings.Contains(err.Error(), "ticket 5") || s.Tickets != 4 || s.Last != 4 {
		t.Errorf("%+v %v", s, err)
	}
	if n := number(t, conn, "SELECT count(*) FROM ticket"); n != 5 {
		t.Errorf("%d tickets", n)
	}
	consistent(t, conn)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Sell(ctx, conn, SellOptions{Till: "007"}); !errors.Is(err, context.Canceled) || s.Tickets != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if n := number(t, conn, "SELECT count(*) FROM ticket WHERE caisse = '007'"); n != 0 {
		t.Errorf("%d tickets after the end", n)
	}
}

// A ticket is one transaction: at no moment does another connection see a
// part of one.
func TestSellOneTransactionATicket(t *testing.T) {
	dir := t.TempDir()
	conn, err := sqlite3.Open(filepath.Join(dir, "till.db"), sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := errors.Join(CreateSchema(conn), conn.Exec("PRAGMA journal_mode = WAL")); err != nil {
		t.Fatal(err)
	}
	other, err := sqlite3.Open(filepath.Join(dir, "till.db"), sqlite3.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn.BusyTimeout(10 * time.Second)
	other.BusyTimeout(10 * time.Second)
	done := make(chan error, 1)
	go func() {
		_, err := Sell(context.Background(), conn, SellOptions{Count: 200})
		done <- err
	}()
	for looks := 0; ; looks++ {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d looks", looks)
			return
		default:
		}
		if n := number(t, other, `SELECT count(*) FROM ticket t WHERE
			total_ttc <> (SELECT coalesce(sum(montant), 0) FROM ticket_ligne l WHERE (l.dossier, l.caisse, l.ticket) = (t.dossier, t.caisse, t.numero)) OR
			total_ttc <> (SELECT coalesce(sum(montant), 0) FROM reglement l WHERE (l.dossier, l.caisse, l.ticket) = (t.dossier, t.caisse, t.numero))`); n > 0 {
			t.Fatalf("%d tickets in parts", n)
		}
	}
}

func TestTaxIn(t *testing.T) {
	for _, tt := range []struct{ gross, rate, want int64 }{
		{0, 2000, 0}, {120, 2000, 20}, {100, 2000, 17}, {-100, 2000, -17}, {1055, 550, 55}, {1, 550, 0}, {3, 2000, 1}, {-3, 2000, -1}, {100, 0, 0},
	} {
		if got := taxIn(tt.gross, tt.rate); got != tt.want {
			t.Errorf("tax in %d at %d: %d, want %d", tt.gross, tt.rate, got, tt.want)
		}
	}
}

func TestChangeClient(t *testing.T) {
	conn := open(t)
	fill(t, conn, Options{Articles: 1, Customers: 2})
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.FixedZone("", 7200))
	if err := ChangeClient(conn, "ACME", "C00001", at, map[string]any{"ville": "Brest", "courriel": nil, "points": 7}); err != nil {
		t.Fatal(err)
	}
	if n := number(t, conn, "SELECT count(*) FROM client WHERE code = 'C00001' AND ville = 'Brest' AND courriel IS NULL AND points = 7 AND version = 2 AND modifie_le = '2026-05-06T05:08:09Z'"); n != 1 {
		t.Error("the customer is not what was written")
	}
	if n := number(t, conn, "SELECT count(*) FROM client WHERE version > 1"); n != 1 {
		t.Errorf("%d customers changed", n)
	}
	for _, bad := range []struct {
		code, column string
	}{{"NOBODY", "ville"}, {"C00001", "nothing"}, {"C00001", `ville" = 'x', "nom`}} {
		if err := ChangeClient(conn, "ACME", bad.code, at, map[string]any{bad.column: "x"}); err == nil {
			t.Errorf("%+v succeeded", bad)
		}
	}
}
