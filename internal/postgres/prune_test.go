//go:build unix

package postgres

import (
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// Entries go when the last stream has them, also those of a stream that this
// configuration has not; until the journal would grow without end.
func TestPrune(t *testing.T) {
	e := newERP(t, "CREATE TABLE t(id int PRIMARY KEY, v int)")
	tables := database.SourceConfig{Tables: []database.TableConfig{{Name: "t"}}}
	streams := e.capture(map[string]database.SourceConfig{"A/down": tables, "B/down": tables})
	a, b := streams["A/down"], streams["B/down"]
	a.round()
	b.round()
	entries := func() string { return pgtest.Query(t, e.dsn, "SELECT count(*) FROM caisseauto.caisseauto_journal")[0] }
	e.do("INSERT INTO t SELECT n, n FROM generate_series(1, 120000) AS n") // more than two chunks
	a.round()
	if n := entries(); n != "120000" {
		t.Errorf("%s entries while B needs them", n)
	}
	b.round()
	if n := entries(); n != "0" {
		t.Errorf("%s entries when all have them", n)
	}

	alone := e.stream(NewCapture(map[string]database.SourceConfig{"A/down": tables}), "A/down")
	alone.model = a.model
	e.do("UPDATE t SET v = 0 WHERE id <= 100")
	alone.round()
	if n := entries(); n != "100" {
		t.Errorf("%s entries while B, which is not configured here, needs them", n)
	}
	alone.maxBehind = 50
	e.do("ANALYZE caisseauto.caisseauto_journal; DELETE FROM t WHERE id = 7")
	alone.round()
	e.do("UPDATE t SET v = 1 WHERE id = 8")
	alone.round()
	if n := entries(); n != "0" {
		t.Errorf("%s entries after B was given up", n)
	}
	if !strings.Contains(alone.log.String(), "their next batch will be a baseline") {
		t.Errorf("nobody was told: %s", alone.log)
	}
	if x := b.export(false); x.Kind != manifest.Baseline {
		t.Errorf("B, which was given up, got a %s", x.Kind)
	}
	b.check()
	e.do("UPDATE t SET v = 2 WHERE id = 9")
	if got := b.round(); got != "delta t:changes 1" {
		t.Errorf("and then %s", got)
	}
}

// A transaction that stays open keeps its own rows from being read, and
// nobody else's from being read or removed.
func TestOpenWriter(t *testing.T) {
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	open := pgtest.Connect(t, e.dsn)
	if _, err := open.Exec(t.Context(), "BEGIN; UPDATE article SET label = 'open' WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e.do("UPDATE article SET price = price + 1 WHERE id = 4")
		if got := s.round(); got != "delta article:changes 1" {
			t.Error(got)
		}
		if n := pgtest.Query(t, e.dsn, "SELECT count(*) FROM caisseauto.caisseauto_journal")[0]; n != "0" {
			t.Errorf("%s entries stay", n)
		}
	}
	if _, err := open.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if got := s.round(); got != "delta article:changes 1" {
		t.Error(got)
	}
}
