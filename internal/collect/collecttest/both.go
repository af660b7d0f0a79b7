package collecttest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// An encounter is a row that both sides may have changed: what the till began
// from, what the server has, what the till made of it, and by each rule what
// is there in the end.
type encounter struct {
	name                       string
	base, server, till         []any // name and version; nil: no row
	newest, fromServer, byTill string
	conflict                   bool
}

func encounters() []encounter {
	row := func(name, version string) []any { return []any{name, version} }
	const old, mid, young = "2026-01-01", "2026-02-01", "2026-03-01"
	base := row("base", old)
	return []encounter{
		{"only the till", base, base, row("till", mid), "till", "till", "till", false},
		{"only the server", base, row("server", mid), base, "server", "server", "base", true},
		{"both, the till later", base, row("server", mid), row("till", young), "till", "server", "till", true},
		{"both, the server later", base, row("server", young), row("till", mid), "server", "server", "till", true},
		{"both, a tie", base, row("server", mid), row("till", mid), "server", "server", "till", true},
		{"both the same", base, row("same", mid), row("same", mid), "same", "same", "same", false},
		{"new on the till", nil, nil, row("till", mid), "till", "till", "till", false},
		{"new on both", nil, row("server", mid), row("till", young), "till", "server", "till", true},
		{"new on both the same", nil, row("same", mid), row("same", mid), "same", "same", "same", false},
		{"deleted here, changed there", base, nil, row("till", mid), "till", "", "till", true},
		{"changed here, deleted there", base, row("server", mid), nil, "server", "server", "", true},
		{"deleted there", base, base, nil, "", "", "", false},
		{"deleted on both", base, nil, nil, "", "", "", false},
	}
}

func testConflicts(t *testing.T, k *Kind) {
	for _, rule := range []string{database.ConflictNewest, database.ConflictServer, database.ConflictTill, database.ConflictHold} {
		s := NewRetailServer(t, k, rule)
		after := int64(0)
		for i, e := range encounters() {
			t.Run(e.name+" "+rule, func(t *testing.T) {
				s.t = t
				after = s.meet(fmt.Sprintf("C%d", i), rule, e, after)
			})
		}
	}
}

// meet lets one row meet another, and returns the newest conflict.
func (s *Server) meet(code, rule string, e encounter, after int64) int64 {
	s.t.Helper()
	full := func(row []any) []any { return []any{"ACME", code, row[0], nil, row[1]} }
	if e.server != nil {
		s.Exec(fmt.Sprintf("INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME', '%s', %s, %s)", code, literal(e.server[0]), literal(e.server[1])))
	}
	s.Exec("DELETE FROM caisseauto_journal")
	b := s.Batch("017").Add("client", change.Base, clientCols)
	if e.base != nil {
		b.Add("client", change.Base, clientCols, full(e.base))
	}
	if e.till != nil {
		b.Add("client", change.Upsert, clientCols, full(e.till))
	} else {
		b.Add("client", change.Delete, clientCols, []any{"ACME", code})
	}
	res := b.Send()
	want := map[string]string{database.ConflictNewest: e.newest, database.ConflictServer: e.fromServer, database.ConflictTill: e.byTill}[rule]
	held := e.conflict && rule == database.ConflictHold
	if rule == database.ConflictHold {
		want = nameOf(e.till)
		if held {
			want = nameOf(e.server)
		}
	}
	s.Want(want, "SELECT nom FROM client WHERE code='"+code+"'")
	if (res.Conflicts == 1) != e.conflict || (res.Quarantined == 1) != held {
		s.t.Errorf("%s", Counts(res))
	}
	// It goes down again, whatever came of it, unless it waits.
	if touched := s.Text(s.touched()); (touched == code) == held {
		s.t.Errorf("journaled: %q", touched)
	}
	return s.recorded(code, rule, e, after)
}

// touched is the query of the codes that go down again.
func (s *Server) touched() string { return s.kind.Touched }

func nameOf(row []any) string {
	if row == nil {
		return ""
	}
	return row[0].(string)
}

// recorded checks the record of the only conflict after the last one, and
// returns its ID.
func (s *Server) recorded(code, rule string, e encounter, after int64) int64 {
	s.t.Helper()
	list, err := s.Conflicts(context.Background(), collect.ConflictFilter{Stream: "ACME/up/017", After: after})
	if err != nil {
		s.t.Fatal(err)
	}
	if !e.conflict {
		if len(list) > 0 {
			s.t.Errorf("recorded: %+v", list)
		}
		return after
	}
	if len(list) != 1 {
		s.t.Fatalf("%d conflicts recorded", len(list))
	}
	c := list[0]
	for what, v := range map[string]struct {
		row  []any
		text string
	}{"base": {e.base, c.Base}, "server": {e.server, c.Server}, "till": {e.till, c.Sent}} {
		switch {
		case v.row == nil && what == "till":
			if !strings.Contains(v.text, `"op":"delete"`) {
				s.t.Errorf("the till's version is %q", v.text)
			}
		case v.row == nil && v.text != "", v.row != nil && !strings.Contains(v.text, `"`+nameOf(v.row)+`"`):
			s.t.Errorf("the version of %s is %q, want %v", what, v.text, v.row)
		}
	}
	if c.Rule != rule || c.Key != `["ACME","`+code+`"]` || (c.Winner == "nobody") != (rule == database.ConflictHold) {
		s.t.Errorf("recorded: %+v", c)
	}
	return c.ID
}

// testSwap: two customers swap their cards on the till.
func testSwap(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, database.ConflictTill)
	s.Exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C1','a','1'),('ACME','C2','b','2')")
	b := s.Batch("017").Add("client", change.Base, clientCols, []any{"ACME", "C1", "a", "1", ""}, []any{"ACME", "C2", "b", "2", ""}).
		Add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C2", "b", "1", ""})
	wantCounts(t, b.Send(), "rows 2: +0 ~2 -0 =0 q0 c0")
	s.Want("C1|2 C2|1", "SELECT code, carte FROM client ORDER BY 1")
}

// testForeignRow: a row that names neither dossier nor till in its key is not
// to be taken over.
func testForeignRow(t *testing.T, k *Kind) {
	up := database.UploadConfig{Name: "client", Mode: "replace", DossierColumn: "dossier", Dossier: "ACME", TillColumn: "caisse"}
	s := NewServer(t, k, `CREATE TABLE client(id INTEGER PRIMARY KEY, dossier TEXT, caisse TEXT, v TEXT);
		INSERT INTO client VALUES(1,'ACME','018','a'),(2,'BETA','017','b'),(3,'ACME','017','c'),(4,'ACME','018','d')`, []database.UploadConfig{up})
	b := s.Batch("017").Add("client", change.Upsert, "id dossier caisse v",
		[]any{1, "ACME", "017", "x"}, []any{2, "ACME", "017", "x"}, []any{3, "ACME", "017", "x"}, []any{5, "ACME", "017", "x"})
	b.M.Tables[0].Key = []string{"id"}
	b.Add("client", change.Delete, "", []any{4})
	wantCounts(t, b.Send(), "rows 5: +1 ~1 -0 =0 q3 c0")
	s.Want("1|018|a 2|017|b 3|017|x 4|018|d 5|017|x", "SELECT id, caisse, v FROM client ORDER BY 1")
	if a := s.alarms(); !strings.HasPrefix(a, "foreign: batch 1 of till 017: 3 units, in quarantine now") {
		t.Error(a)
	}
}

// testHeldCustomer: retrying and discarding what both sides changed.
func testHeldCustomer(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, database.ConflictHold)
	ctx := context.Background()
	s.Exec("INSERT INTO client(dossier, code, nom, carte, modifie_le) VALUES('ACME','C1','server',NULL,'2'),('ACME','C2','server',NULL,'2')")
	b := s.Batch("017").Add("client", change.Base, clientCols, []any{"ACME", "C1", "base", nil, "1"}, []any{"ACME", "C2", "base", nil, "1"}).
		Add("client", change.Upsert, clientCols, []any{"ACME", "C1", "till", nil, "3"}, []any{"ACME", "C2", "till", nil, "3"})
	wantCounts(t, b.Send(), "rows 2: +0 ~0 -0 =0 q2 c2")
	units := s.Units()
	// The decision: the server's row is made what it was, and the till's wins.
	s.Exec("UPDATE client SET nom='base', modifie_le='1' WHERE code='C1'; DELETE FROM caisseauto_journal")
	res, err := s.Retry(ctx, units[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 1: +0 ~1 -0 =0 q0 c0")
	if err := s.Discard(ctx, units[1].ID, "the server's\nis right"); err != nil {
		t.Fatal(err)
	}
	s.Want("C1|till C2|server", "SELECT code, nom FROM client ORDER BY 1")
	s.Want("C1 C2", s.touched())
	r := s.receipt("017")
	if r.Waiting != 0 || r.Discarded != 1 || r.Issue != 3 || len(r.Held) != 1 || r.Held[0].Closed != "the server's is right" {
		t.Errorf("%+v", r)
	}
	if got := totalsText(t, r.Totals); got != "[{client,1,[],[]}]" {
		t.Error(got)
	}
	for _, f := range []func() error{
		func() error { _, err := s.Retry(ctx, units[0].ID); return err },
		func() error { return s.Discard(ctx, units[1].ID, "again") },
		func() error { return s.Discard(ctx, 99, "none") },
		func() error { return s.Discard(ctx, 1, "") },
	} {
		if err := f(); err == nil {
			t.Error("no error")
		}
	}
}

// testTouchReachesReader: what lost a conflict goes down again, and nothing
// else does.
func testTouchReachesReader(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, database.ConflictServer)
	s.Exec("INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME','C1','server','2')")
	read := func(full bool) (manifest.Extract, []string) {
		t.Helper()
		l := &lines{}
		x, err := s.DB.Source(s.Config).Read(context.Background(), "ACME/down", full, l)
		if err != nil {
			t.Fatal(err)
		}
		return x, l.list
	}
	x, _ := read(true)
	if len(x.Uploads) != 6 || x.Integrated != 0 {
		t.Errorf("a baseline with %d uploads, integrated %d", len(x.Uploads), x.Integrated)
	}
	s.publish(1, x.Kind, x.Cursor)
	s.Batch("017").Add("client", change.Upsert, clientCols, []any{"ACME", "C1", "till", nil, "1"}).Send()
	x, rows := read(false)
	if len(x.Uploads) != 0 || x.Integrated != 1 || len(rows) != 1 || !strings.Contains(rows[0], `"server"`) {
		t.Errorf("after a lost conflict goes down: %+v, %q", x, rows)
	}
}

// testRounds: one that needs what another brings is tried again, when a third
// has taken the way of all at once.
func testRounds(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, database.ConflictTill)
	s.Exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C1','a','1'),('ACME','C2','b','2')")
	b := s.Batch("017").Add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C2", "b", "3", ""},
		[]any{"ACME", "C3", nil, "4", ""})
	res := b.Send()
	if res.Quarantined != 1 || res.Updated != 2 {
		t.Errorf("%s", Counts(res))
	}
	s.Want("C1|2 C2|3", "SELECT code, carte FROM client ORDER BY 1")
}

// testRival: a value that a row of the server keeps. The till's row waits, and
// the server's is left as it was.
func testRival(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, database.ConflictTill)
	s.Exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C2','b','2')")
	b := s.Batch("017").Add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C3", "c", "3", ""})
	wantCounts(t, b.Send(), "rows 2: +1 ~0 -0 =0 q1 c0")
	s.Want("C2|2 C3|3", "SELECT code, carte FROM client ORDER BY 1")
	if u := s.Units(); !strings.Contains(u[0].Reason, k.Unique) {
		t.Errorf("%+v", u)
	}
}
