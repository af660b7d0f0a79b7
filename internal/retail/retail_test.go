package retail

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/testdata/schema"
)

func open(t testing.TB) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(filepath.Join(t.TempDir(), "erp.db"), sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := conn.Exec("PRAGMA foreign_keys = ON"); err != nil {
		t.Fatal(err)
	}
	if err := CreateSchema(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func fill(t testing.TB, conn *sqlite3.Conn, o Options) int64 {
	t.Helper()
	n, err := Fill(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func number(t testing.TB, conn *sqlite3.Conn, sql string, args ...any) (n int64) {
	t.Helper()
	err := conn.Query(sql, func(s *sqlite3.Stmt) error { n = s.Int(0); return nil }, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

var tables = []string{"tva", "article", "code_barre", "tarif", "moyen_paiement", "caisse", "utilisateur", "utilisateur_caisse",
	"client", "parametre_caisse", "ticket", "ticket_ligne", "reglement", "jet"}

func TestFill(t *testing.T) {
	conn := open(t)
	start := time.Now()
	rows := fill(t, conn, Options{})
	t.Logf("%d rows in %v", rows, time.Since(start))
	rows += fill(t, conn, Other())
	var sum int64
	for _, table := range tables {
		n := number(t, conn, "SELECT count(*) FROM "+table)
		sum += n
		upward := strings.HasPrefix(table, "ticket") || table == "reglement" || table == "jet"
		if (n == 0) != upward {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	if sum != rows {
		t.Errorf("Fill counted %d rows, the tables hold %d", rows, sum)
	}
	for what, sql := range map[string]string{
		"broken references":                     "SELECT count(*) FROM pragma_foreign_key_check",
		"articles that share a name":            "SELECT count(*) - count(DISTINCT libelle) FROM article WHERE dossier = 'ACME'",
		"free articles":                         "SELECT count(*) FROM article WHERE prix <= 0 OR prix_achat <= 0 OR prix_achat >= prix",
		"fewer than 10,000 articles":            "SELECT 10000 - count(*) FROM article WHERE dossier = 'ACME'",
		"service users missing at a till":       "SELECT count(*) FROM caisse c WHERE NOT EXISTS (SELECT 1 FROM utilisateur_caisse u WHERE u.dossier = c.dossier AND u.caisse = c.numero AND u.utilisateur LIKE 'SYNC%')",
		"tills without an account of their own": "SELECT count(*) FROM caisse c WHERE NOT EXISTS (SELECT 1 FROM utilisateur_caisse u WHERE u.caisse = c.numero AND u.utilisateur = 'CAISSE' || c.numero)",
		"attachments over dossiers":             "SELECT count(*) FROM utilisateur_caisse a JOIN utilisateur u ON u.code = a.utilisateur WHERE u.dossier <> a.dossier",
	} {
		if n := number(t, conn, sql); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
	for what, sql := range map[string]string{
		"users at no till":        "SELECT count(*) FROM utilisateur WHERE code NOT IN (SELECT utilisateur FROM utilisateur_caisse)",
		"users at two tills":      "SELECT count(*) FROM (SELECT 1 FROM utilisateur_caisse WHERE utilisateur LIKE 'V%' GROUP BY utilisateur HAVING count(*) > 1)",
		"codes in both dossiers":  "SELECT count(*) FROM article a JOIN article b USING (code) WHERE a.dossier = 'ACME' AND b.dossier = 'BETA'",
		"prices that differ":      "SELECT count(*) FROM article a JOIN article b USING (code) WHERE a.dossier = 'ACME' AND b.dossier = 'BETA' AND a.prix <> b.prix",
		"articles with 3 rates":   "SELECT count(DISTINCT tva) = 3 FROM article",
		"customers with no phone": "SELECT count(*) FROM client WHERE telephone IS NULL",
	} {
		if n := number(t, conn, sql); n == 0 {
			t.Errorf("%s: none", what)
		}
	}
}

func TestBarcodes(t *testing.T) {
	conn := open(t)
	fill(t, conn, Options{Articles: 2_000})
	n := 0
	err := conn.Query("SELECT ean FROM code_barre UNION ALL SELECT carte FROM client WHERE carte IS NOT NULL", func(s *sqlite3.Stmt) error {
		n++
		code := s.Text(0)
		if national := code >= "300" && code < "380"; !ValidEAN13(code) || !national && code[0] != '2' {
			t.Errorf("%q", code)
		}
		return nil
	})
	if err != nil || n < 2_000 {
		t.Errorf("%d codes, %v", n, err)
	}
}

// The same options give the same bytes, others give others.
func TestDeterministic(t *testing.T) {
	small := Options{Articles: 100, Customers: 10}
	digest := func(o Options) string {
		conn := open(t)
		fill(t, conn, o)
		if _, err := ChangePrices(t.Context(), conn, "ACME", 10, 5); err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, table := range tables {
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
	first, again := digest(small), digest(small)
	small.Seed = 7
	if first != again {
		t.Errorf("%s, then %s", first, again)
	}
	if first == digest(small) {
		t.Error("another seed gave the same rows")
	}
}

func TestChangePrices(t *testing.T) {
	conn := open(t)
	fill(t, conn, Options{Articles: 300, Customers: 1})
	fill(t, conn, Other())
	prices := func() map[string]int64 {
		m := map[string]int64{}
		err := conn.Query("SELECT dossier || '/' || code, prix FROM article", func(s *sqlite3.Stmt) error {
			m[s.Text(0)] = s.Int(1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, tt := range []struct{ ask, want int }{{0, 0}, {1, 1}, {77, 77}, {300, 300}, {1000, 300}} {
		before := prices()
		n, err := ChangePrices(t.Context(), conn, "ACME", tt.ask, 3)
		if err != nil || n != tt.want {
			t.Errorf("%d: changed %d, %v", tt.ask, n, err)
		}
		changed := 0
		for key, p := range prices() {
			if p != before[key] {
				changed++
				if !strings.HasPrefix(key, "ACME/") {
					t.Errorf("%s changed", key)
				}
			}
		}
		if changed != tt.want {
			t.Errorf("%d: %d prices differ, want %d", tt.ask, changed, tt.want)
		}
	}
}

// A failure in the middle leaves nothing of the dossier.
func TestAllOrNothing(t *testing.T) {
	conn := open(t)
	fill(t, conn, Options{Articles: 50, Customers: 5})
	count := func() (n []int64) {
		for _, table := range tables {
			n = append(n, number(t, conn, "SELECT count(*) FROM "+table))
		}
		return n
	}
	before := count()
	// Its tills' accounts have the codes of the first dossier's.
	if _, err := Fill(t.Context(), conn, Options{Dossier: "GAMMA", Articles: 50, Customers: 5}); err == nil {
		t.Error("two accounts of one code")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fill(ctx, conn, Other()); err == nil {
		t.Error("filled though cancelled")
	}
	if diff := cmp.Diff(before, count()); diff != "" {
		t.Error(diff)
	}
}

func TestLabels(t *testing.T) {
	accents := 0
	for _, s := range shelves() {
		for i := range 50 {
			l := s.label(i)
			if !utf8.ValidString(l) || strings.Contains(l, "  ") {
				t.Errorf("%q", l)
			}
			if len(l) != utf8.RuneCountInString(l) {
				accents++
			}
		}
	}
	if accents < 100 {
		t.Errorf("only %d labels with accents", accents)
	}
}

// The table of the measurements is the one that the figures speak of.
func TestBenchSchema(t *testing.T) {
	conn, err := sqlite3.Open(filepath.Join(t.TempDir(), "bench.db"), sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(schema.Bench); err != nil {
		t.Fatal(err)
	}
	if n := number(t, conn, "SELECT count(*) FROM pragma_table_info('article')"); n != 16 {
		t.Errorf("%d columns", n)
	}
	if n := number(t, conn, "SELECT count(*) FROM pragma_index_list('article')"); n != 3 {
		t.Errorf("%d indexes", n)
	}
}

func TestExchangeNamesEveryTable(t *testing.T) {
	conn := open(t)
	seen := map[string]bool{}
	for _, x := range Exchange() {
		seen[x.Name] = true
		for _, col := range slices.Concat([]string{x.DossierColumn, x.TillColumn, x.NumberColumn, x.VersionColumn}, x.Exclude, x.Totals, x.ParentColumns) {
			if col != "" && number(t, conn, "SELECT count(*) FROM pragma_table_xinfo(?) WHERE name = ?", x.Name, col) != 1 {
				t.Errorf("%s has no column %s", x.Name, col)
			}
		}
	}
	err := conn.Query("SELECT name FROM sqlite_schema WHERE type = 'table'", func(s *sqlite3.Stmt) error {
		if !seen[s.Text(0)] {
			t.Errorf("%s is not exchanged", s.Text(0))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
