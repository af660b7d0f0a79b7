//go:build unix

package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// session is one more connection of the ERP's.
func (e *erp) session() *erp { return &erp{pgtest.Connect(e.t, e.dsn), e.t, e.dsn, e.own} }

// What a transaction writes is shipped when it is over, however long it was
// open and whatever was exported and pruned meanwhile; it delays nobody.
func TestOpenWriters(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	long, nested := e.session(), e.session()
	long.do("BEGIN; UPDATE article SET label = 'long' WHERE id = 2")
	nested.do("BEGIN; SAVEPOINT a; UPDATE article SET label = 'nested' WHERE id = 4; SAVEPOINT b; UPDATE article SET label = 'never' WHERE id = 8; ROLLBACK TO b; RELEASE a")
	for i := range 5 {
		e.do(fmt.Sprintf("UPDATE article SET label = 'x%d' WHERE id = 6", i))
		begin := time.Now()
		if got := s.round(); got != "delta article:changes 1" {
			t.Error(got)
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("the export took %s", d)
		}
	}
	nested.do("COMMIT")
	if got := s.round(); got != "delta article:changes 1" {
		t.Error(got)
	}
	e.do("UPDATE article SET label = 'y' WHERE id = 6")
	long.do("UPDATE article SET label = 'long, too' WHERE id = 10")
	s.round()
	long.do("COMMIT")
	if got := s.round(); got != "delta article:changes 2" {
		t.Error(got)
	}
	var left int
	if err := e.QueryRow(t.Context(), "SELECT count(*) FROM caisseauto.caisseauto_journal").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d entries are left in the journal, %v", left, err)
	}
}

// A prepared transaction is open until it is committed, through restarts of
// whoever prepared it.
func TestPreparedTransactions(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	one := e.session()
	one.do("BEGIN; UPDATE article SET label = 'prepared' WHERE id = 2; PREPARE TRANSACTION 'one'; BEGIN; UPDATE article SET label = 'gone' WHERE id = 4; PREPARE TRANSACTION 'two'")
	one.Close(t.Context())
	for range 2 {
		e.do("UPDATE article SET label = label || 'x' WHERE id = 6")
		if got := s.round(); got != "delta article:changes 1" {
			t.Error(got)
		}
	}
	e.do("COMMIT PREPARED 'one'")
	e.do("ROLLBACK PREPARED 'two'")
	if got := s.round(); got != "delta article:changes 1" {
		t.Error(got)
	}
}

// Who replaces a function waits for nobody who is at work with the old one:
// what such a transaction writes is shipped all the same.
func TestFunctionReplacedUnderWriters(t *testing.T) {
	t.Parallel()
	const lossy = "CREATE OR REPLACE FUNCTION caisseauto.caisseauto_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
	for _, tt := range []struct {
		name, schema, table string
		columns             bool
	}{
		{"table", articleSQL, "article", false},
		{"partition", partsSQL, "p1", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newERP(t, tt.schema)
			config := articles("A")
			if tt.columns {
				config["A/down"] = database.SourceConfig{Tables: parts}
			}
			s := e.capture(config)["A/down"]
			s.round()
			e.do(lossy)
			a, b := e.session(), e.session()
			a.do("BEGIN; DELETE FROM " + tt.table + " WHERE id = 2")
			b.do("BEGIN; DELETE FROM " + tt.table + " WHERE id = 1")
			if got := s.round(); !strings.Contains(got, "whole") {
				t.Error(got)
			}
			c := e.session() // begins with what is in place now
			c.do("BEGIN; INSERT INTO " + tt.table + " VALUES (0, 'A')")
			a.do("COMMIT")
			s.round()
			s.round()
			b.do("COMMIT")
			if got := s.round(); !strings.Contains(got, "whole") {
				t.Error(got)
			}
			c.do("COMMIT")
			if got := s.round(); strings.Contains(got, "whole") {
				t.Errorf("all who knew the old function are over: %s", got)
			}
		})
	}
}

// Another stream's configuration gives the masks' bits other meanings, also
// those of entries that are being written.
func TestMasksUnderWriters(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	table := func(dossier string, exclude ...string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "article", DossierColumn: "dossier", Dossier: dossier, Columns: true, Exclude: exclude}}}
	}
	s := e.capture(map[string]database.SourceConfig{"A/down": table("A", "code"), "B/down": table("B", "code")})["A/down"]
	s.round()
	open := e.session()
	open.do("BEGIN; UPDATE article SET label = 'open' WHERE id = 2")
	e.do("UPDATE article SET price = 77 WHERE id = 4")
	s = e.continued(s, e.capture(map[string]database.SourceConfig{"A/down": table("A", "code"), "B/down": table("B")})["A/down"])
	s.round()
	open.do("COMMIT")
	s.round()
	if got := s.round(); got != "delta  0" {
		t.Error(got)
	}
}

// continued gives the reader of an old stream what a new one sends.
func (e *erp) continued(old, s *stream) *stream {
	s.model = old.model
	return s
}

// Rows may be larger than anything that could hold them as JSON, or as one
// value: the ERP writes them, and the export names them until they are
// excluded.
func TestHugeRows(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("gigabytes")
	}
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY, v int, b bytea, c text, d text, j json); INSERT INTO a VALUES (1, 1)")
	config := database.TableConfig{Name: "a", Columns: true}
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{config}}})["A/down"]
	s.round()
	// The server makes no row of more than 1 GB, but a row can grow to it.
	e.do(`INSERT INTO a(id, v, b) SELECT 2, 2, decode(repeat('00', 20000000), 'hex');
		INSERT INTO a(id, v, c) SELECT 3, 3, repeat('x', 550000000); UPDATE a SET d = c WHERE id = 3; DELETE FROM a WHERE id = 3`)
	s.model.Begin()
	if _, err := s.Read(t.Context(), s.name, false, s.model); err == nil || !strings.Contains(err.Error(), `table "public"."a": the row with key (2)`) {
		t.Errorf("%.300v", err)
	}
	config.Exclude = []string{"b"}
	s = e.continued(s, e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{config}}})["A/down"])
	s.round()
	e.do("UPDATE a SET v = 3, j = '{\"a\" : 1e1000000}' WHERE id = 2")
	if got := s.round(); got != "delta a:changes 1" {
		t.Error(got)
	}
	e.do("UPDATE a SET j = '{\"a\" :  1e1000000}', c = '\\u00e9' WHERE id = 2; DELETE FROM a WHERE id = 1")
	if got := s.round(); got != "delta a:changes 2" {
		t.Error(got)
	}
}

// What another server's subscription brings is captured, too: its worker
// writes as a replica, for whom ordinary triggers do not fire.
func TestLogicalReplication(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"}})
	from := c.NewDatabase(t, articleSQL, "CREATE PUBLICATION p FOR TABLE article", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
	to := c.NewDatabase(t, strings.SplitN(articleSQL, ";", 2)[0])
	own, err := open(t.Context(), to, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(context.Background())
	e := &erp{pgtest.Connect(t, to), t, to, own}
	s := e.capture(articles("A"))["A/down"]
	s.round()
	e.do("CREATE SUBSCRIPTION s CONNECTION '" + strings.ReplaceAll(from, "'", "''") + "' PUBLICATION p WITH (create_slot = false, slot_name = 's')")
	defer e.do("DROP SUBSCRIPTION s")
	arrives := func(sql string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			var there bool
			if err := e.QueryRow(t.Context(), sql).Scan(&there); err != nil {
				t.Fatal(err)
			}
			if there {
				return
			}
			if time.Now().After(end) {
				t.Fatal("nothing arrives")
			}
		}
	}
	arrives("SELECT count(*) = 10 FROM article")
	s.round()
	arrives("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
	pgtest.Exec(t, from, "UPDATE article SET label = 'replicated' WHERE id = 2; DELETE FROM article WHERE id = 4; INSERT INTO article VALUES (50, 'A')")
	arrives("SELECT EXISTS (SELECT 1 FROM article WHERE id = 50)")
	if got := s.round(); got != "delta article:changes 3" {
		t.Error(got)
	}
	pgtest.Exec(t, from, "TRUNCATE article; INSERT INTO article VALUES (60, 'A')")
	arrives("SELECT EXISTS (SELECT 1 FROM article WHERE id = 60)")
	if got := s.round(); got != "delta article:whole 1" {
		t.Error(got)
	}
}
