package sqlite

import (
	"context"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
)

func clientRow(name, version string) []any { return []any{"ACME", "C1", name, nil, version} }

// Every case of a row that both sides may have changed: what the till began
// from, what the server has, what the till made of it, and by each rule what
// is there in the end.
func TestCollectConflicts(t *testing.T) {
	const old, mid, young = "2026-01-01", "2026-02-01", "2026-03-01"
	base := clientRow("base", old)
	for _, tt := range []struct {
		name                       string
		base, server, till         []any // nil: no row
		newest, fromServer, byTill string
		conflict                   bool
	}{
		{"only the till", base, base, clientRow("till", mid), "till", "till", "till", false},
		{"only the server", base, clientRow("server", mid), base, "server", "server", "base", true},
		{"both, the till later", base, clientRow("server", mid), clientRow("till", young), "till", "server", "till", true},
		{"both, the server later", base, clientRow("server", young), clientRow("till", mid), "server", "server", "till", true},
		{"both, a tie", base, clientRow("server", mid), clientRow("till", mid), "server", "server", "till", true},
		{"both the same", base, clientRow("same", mid), clientRow("same", mid), "same", "same", "same", false},
		{"new on the till", nil, nil, clientRow("till", mid), "till", "till", "till", false},
		{"new on both", nil, clientRow("server", mid), clientRow("till", young), "till", "server", "till", true},
		{"new on both the same", nil, clientRow("same", mid), clientRow("same", mid), "same", "same", "same", false},
		{"deleted here, changed there", base, nil, clientRow("till", mid), "till", "", "till", true},
		{"changed here, deleted there", base, clientRow("server", mid), nil, "server", "server", "", true},
		{"deleted there", base, base, nil, "", "", "", false},
		{"deleted on both", base, nil, nil, "", "", "", false},
	} {
		for rule, want := range map[string]string{database.ConflictNewest: tt.newest, database.ConflictServer: tt.fromServer, database.ConflictTill: tt.byTill, database.ConflictHold: ""} {
			t.Run(tt.name+" "+rule, func(t *testing.T) {
				s := newRetailServer(t, rule)
				if tt.server != nil {
					if err := s.erp.Run("INSERT INTO client(dossier, code, nom, carte, modifie_le) VALUES(?,?,?,?,?)", tt.server...); err != nil {
						t.Fatal(err)
					}
				}
				s.exec("DELETE FROM caisseauto_journal")
				b := s.batch("017").add("client", change.Base, clientCols)
				if tt.base != nil {
					b.add("client", change.Base, clientCols, tt.base)
				}
				if tt.till != nil {
					b.add("client", change.Upsert, clientCols, tt.till)
				} else {
					b.add("client", change.Delete, clientCols, []any{"ACME", "C1"})
				}
				res := b.send()
				held := tt.conflict && rule == database.ConflictHold
				if rule == database.ConflictHold {
					want = map[bool]string{true: nameOf(tt.server), false: nameOf(tt.till)}[tt.conflict]
				}
				s.want(want, "SELECT nom FROM client")
				if (res.Conflicts == 1) != tt.conflict || (res.Quarantined == 1) != held {
					t.Errorf("%s", counts(res))
				}
				// It goes down again, whatever came of it, unless it waits.
				touched := rowsText(t, s.erp, "SELECT DISTINCT k2 FROM caisseauto_journal WHERE dossier='ACME'")
				if (touched == "C1") == held {
					t.Errorf("journaled: %q", touched)
				}
				s.recorded(tt.conflict, rule, tt.base, tt.server, tt.till)
			})
		}
	}
}

func nameOf(row []any) string {
	if row == nil {
		return ""
	}
	return row[2].(string)
}

// recorded checks the record of the only conflict.
func (s *upServer) recorded(conflict bool, rule string, base, server, till []any) {
	s.t.Helper()
	list, err := s.Conflicts(context.Background(), collect.ConflictFilter{Stream: "ACME/up/017"})
	if err != nil {
		s.t.Fatal(err)
	}
	if !conflict {
		if len(list) > 0 {
			s.t.Errorf("recorded: %+v", list)
		}
		return
	}
	if len(list) != 1 {
		s.t.Fatalf("%d conflicts recorded", len(list))
	}
	c := list[0]
	for what, v := range map[string]struct {
		row  []any
		text string
	}{"base": {base, c.Base}, "server": {server, c.Server}, "till": {till, c.Sent}} {
		switch {
		case v.row == nil && what == "till":
			if !strings.Contains(v.text, `"op":"delete"`) {
				s.t.Errorf("the till's version is %q", v.text)
			}
		case v.row == nil && v.text != "", v.row != nil && !strings.Contains(v.text, `"`+nameOf(v.row)+`"`):
			s.t.Errorf("the version of %s is %q, want %v", what, v.text, v.row)
		}
	}
	if c.Rule != rule || c.Key != `["ACME","C1"]` || (c.Winner == "nobody") != (rule == database.ConflictHold) {
		s.t.Errorf("recorded: %+v", c)
	}
}

// Two customers swap their cards on the till.
func TestCollectSwap(t *testing.T) {
	s := newRetailServer(t, database.ConflictTill)
	s.exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C1','a','1'),('ACME','C2','b','2')")
	b := s.batch("017").add("client", change.Base, clientCols, []any{"ACME", "C1", "a", "1", ""}, []any{"ACME", "C2", "b", "2", ""}).
		add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C2", "b", "1", ""})
	wantCounts(t, b.send(), "rows 2: +0 ~2 -0 =0 q0 c0")
	s.want("C1|2 C2|1", "SELECT code, carte FROM client ORDER BY 1")
}

// A row that names neither dossier nor till in its key is not to be taken over.
func TestCollectForeignRow(t *testing.T) {
	up := database.UploadConfig{Name: "client", Mode: "replace", DossierColumn: "dossier", Dossier: "ACME", TillColumn: "caisse"}
	s := newUpServer(t, `CREATE TABLE client(id INTEGER PRIMARY KEY, dossier TEXT, caisse TEXT, v);
		INSERT INTO client VALUES(1,'ACME','018','a'),(2,'BETA','017','b'),(3,'ACME','017','c'),(4,'ACME','018','d')`, []database.UploadConfig{up})
	b := s.batch("017").add("client", change.Upsert, "id dossier caisse v",
		[]any{1, "ACME", "017", "x"}, []any{2, "ACME", "017", "x"}, []any{3, "ACME", "017", "x"}, []any{5, "ACME", "017", "x"})
	b.m.Tables[0].Key = []string{"id"}
	b.add("client", change.Delete, "", []any{4})
	wantCounts(t, b.send(), "rows 5: +1 ~1 -0 =0 q3 c0")
	s.want("1|018|a 2|017|b 3|017|x 4|018|d 5|017|x", "SELECT id, caisse, v FROM client ORDER BY 1")
	if a := s.alarms(); !strings.HasPrefix(a, "foreign: batch 1 of till 017: 3 units, in quarantine now") {
		t.Error(a)
	}
}

// Retrying and discarding what both sides changed.
func TestCollectHeldCustomer(t *testing.T) {
	s := newRetailServer(t, database.ConflictHold)
	ctx := context.Background()
	s.exec("INSERT INTO client(dossier, code, nom, carte, modifie_le) VALUES('ACME','C1','server',NULL,'2'),('ACME','C2','server',NULL,'2')")
	b := s.batch("017").add("client", change.Base, clientCols, []any{"ACME", "C1", "base", nil, "1"}, []any{"ACME", "C2", "base", nil, "1"}).
		add("client", change.Upsert, clientCols, []any{"ACME", "C1", "till", nil, "3"}, []any{"ACME", "C2", "till", nil, "3"})
	wantCounts(t, b.send(), "rows 2: +0 ~0 -0 =0 q2 c2")
	units := s.units()
	// The decision: the server's row is made what it was, and the till's wins.
	s.exec("UPDATE client SET nom='base', modifie_le='1' WHERE code='C1'; DELETE FROM caisseauto_journal")
	res, err := s.Retry(ctx, units[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 1: +0 ~1 -0 =0 q0 c0")
	if err := s.Discard(ctx, units[1].ID, "the server's\nis right"); err != nil {
		t.Fatal(err)
	}
	s.want("C1|till C2|server", "SELECT code, nom FROM client ORDER BY 1")
	s.want("C1 C2", "SELECT DISTINCT k2 FROM caisseauto_journal ORDER BY 1")
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

// What the ERP's own triggers journal while a row comes in names no more than
// the rows that came.
func TestCollectTouchReachesReader(t *testing.T) {
	s := newRetailServer(t, database.ConflictServer)
	s.exec("INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME','C1','server','2')")
	m := newSrcModel(t)
	m.Begin()
	srcKeys.Store("client", []string{"dossier", "code"})
	x, err := s.source.Read(context.Background(), "ACME/down", true, m)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Uploads) != 6 || x.Integrated != 0 {
		t.Errorf("a baseline with %d uploads, integrated %d", len(x.Uploads), x.Integrated)
	}
	s.publish(1, x.Kind, x.Cursor)
	s.batch("017").add("client", change.Upsert, clientCols, clientRow("till", "1")).send()
	m.Begin()
	if x, err = s.source.Read(context.Background(), "ACME/down", false, m); err != nil {
		t.Fatal(err)
	}
	if len(x.Uploads) != 0 || x.Integrated != 1 || m.Rows != 1 || !strings.Contains(strings.Join(m.Lines("client"), ""), `"server"`) {
		t.Errorf("after a lost conflict goes down: %+v, %v", x, m.Ops)
	}
}

// Unit by unit, one that needs what another brings is tried again.
func TestCollectRounds(t *testing.T) {
	s := newRetailServer(t, database.ConflictTill)
	s.exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C1','a','1'),('ACME','C2','b','2')")
	b := s.batch("017").add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C2", "b", "3", ""},
		[]any{"ACME", "C3", nil, "4", ""})
	res := b.send()
	if res.Quarantined != 1 || res.Updated != 2 {
		t.Errorf("%s", counts(res))
	}
	s.want("C1|2 C2|3", "SELECT code, carte FROM client ORDER BY 1")
}

// A value that a row of the server keeps: the till's row waits, and the
// server's is left as it was.
func TestCollectRival(t *testing.T) {
	s := newRetailServer(t, database.ConflictTill)
	s.exec("INSERT INTO client(dossier, code, nom, carte) VALUES('ACME','C2','b','2')")
	b := s.batch("017").add("client", change.Upsert, clientCols, []any{"ACME", "C1", "a", "2", ""}, []any{"ACME", "C3", "c", "3", ""})
	wantCounts(t, b.send(), "rows 2: +1 ~0 -0 =0 q1 c0")
	s.want("C2|2 C3|3", "SELECT code, carte FROM client ORDER BY 1")
	if u := s.units(); !strings.Contains(u[0].Reason, "UNIQUE constraint failed: client.dossier, client.carte") {
		t.Errorf("%+v", u)
	}
}
