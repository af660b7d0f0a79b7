package sqlite

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

func TestCollectTickets(t *testing.T) {
	s := newRetailServer(t, "")
	wantCounts(t, s.batch("017").tickets("017", 1, 2, 3).send(), "rows 12: +12 ~0 -0 =0 q0 c0")
	wantCounts(t, s.batch("018").tickets("018", 1).send(), "rows 4: +4 ~0 -0 =0 q0 c0")
	// The same rows once more, and new ones: a till whose triggers were lost.
	wantCounts(t, s.batch("017").tickets("017", 2, 3, 4).send(), "rows 12: +4 ~0 -0 =8 q0 c0")
	s.want("017|1|120 017|2|240 017|3|360 017|4|480 018|1|120", "SELECT caisse, numero, total_ttc FROM ticket ORDER BY 1, 2")
	s.want("10|5", "SELECT count(*), (SELECT count(*) FROM reglement) FROM ticket_ligne")
	r := s.receipt("017")
	if r.Sequence != 2 || r.Issue != 2 || r.Integrated != 3 || r.Waiting != 0 {
		t.Errorf("receipt %+v", r)
	}
	want := "[{ticket,6,[{total_ttc,1800}],[1-4]},{ticket_ligne,12,[{montant,1800}],[]},{reglement,6,[{montant,1800}],[]}]"
	if got := totalsText(t, r.Totals); got != want {
		t.Errorf("totals\n got %s\nwant %s", got, want)
	}
	if a := s.alarms(); a != "" {
		t.Errorf("alarms: %s", a)
	}
}

// Each way in which a unit is refused: the whole ticket is kept verbatim, the
// ones behind it go on, and the receipt and the totals say so.
func TestCollectQuarantine(t *testing.T) {
	for _, tt := range []struct {
		name, reason, alarm string
		before              func(s *upServer)
		break_              func(b *tillBatch)
	}{
		// A line of another till's ticket is no part of this one.
		{name: "another till's line", reason: "is of another till: \"caisse\" is '018', and the batch is of '017'", alarm: collect.AlarmForeign,
			break_: func(b *tillBatch) { b.value("ticket_ligne", 2, 1, "018"); b.value("ticket_ligne", 3, 1, "018") }},
		{name: "another dossier's header", reason: `is of another dossier: "dossier" is 'BETA'`, alarm: collect.AlarmForeign,
			break_: func(b *tillBatch) { b.value("ticket", 1, 0, "BETA") }},
		{name: "no header", reason: "no parent|refers to a row of \"ticket\" that is not there", break_: func(b *tillBatch) { b.value("ticket", 1, 2, 77) }},
		{name: "a constraint", reason: "NOT NULL constraint failed: reglement.moyen", break_: func(b *tillBatch) { b.value("reglement", 1, 4, nil) }},
		{name: "NULL in the key", reason: `has NULL in "ligne", which is in the key`, break_: func(b *tillBatch) { b.value("ticket_ligne", 2, 3, nil) }},
		{name: "a trigger of the ERP", reason: "too \u00ab dear \u00bb", before: func(s *upServer) {
			s.exec("CREATE TRIGGER x BEFORE INSERT ON reglement WHEN new.montant=240 BEGIN SELECT RAISE(ABORT, 'too \u00ab\ndear \u00bb'); END")
		}},
		{name: "a trigger that rolls back", reason: "no such thing", before: func(s *upServer) {
			s.exec("CREATE TRIGGER x BEFORE INSERT ON reglement WHEN new.montant=240 BEGIN SELECT RAISE(ROLLBACK, 'no such thing'); END")
		}},
		{name: "a trigger that says nothing", reason: "a trigger of the database kept the row", before: func(s *upServer) {
			s.exec("CREATE TRIGGER x BEFORE INSERT ON reglement WHEN new.montant=240 BEGIN SELECT RAISE(IGNORE); END")
		}},
		{name: "other content", reason: "is on the server already, with other content", alarm: collect.AlarmAltered, before: func(s *upServer) {
			s.batch("017").tickets("017", 2).send()
			s.exec("DELETE FROM caisseauto_ledger; UPDATE ticket_ligne SET prix=7 WHERE ligne=2; DELETE FROM caisseauto_collected")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newRetailServer(t, "")
			if tt.before != nil {
				tt.before(s)
			}
			b := s.batch("017").tickets("017", 1, 2, 3)
			if tt.break_ != nil {
				tt.break_(b)
			}
			res := b.send()
			if res.Quarantined < 2 || res.Quarantined+res.Inserted+res.Acknowledged != 12 {
				t.Errorf("became of the rows: %s", counts(res))
			}
			s.want("1 3", "SELECT numero FROM ticket WHERE total_ttc<>240 ORDER BY 1")
			if tt.name != "another till's line" {
				s.want("0", "SELECT (SELECT count(*) FROM ticket WHERE numero=2) <> (SELECT count(*) FROM reglement WHERE ticket=2)")
			}
			s.want("1|2 3|2", "SELECT ticket, count(*) FROM ticket_ligne WHERE ticket<>2 GROUP BY 1")
			units := s.units()
			found := false
			for _, u := range units {
				for r := range strings.SplitSeq(tt.reason, "|") {
					found = found || strings.Contains(u.Reason, r)
				}
			}
			if !found {
				t.Errorf("no unit says %q: %+v", tt.reason, units)
			}
			if a := s.alarms(); tt.alarm != "" && !strings.Contains(a, tt.alarm+": ") {
				t.Errorf("no alarm %s: %s", tt.alarm, a)
			}
			r := s.receipt("017")
			if r.Waiting != res.Quarantined || len(r.Held) != len(units) || r.Sequence != b.p.Sequence {
				t.Errorf("the receipt says %+v", r)
			}
		})
	}
}

// value changes one value of a batch that is not sealed yet.
func (b *tillBatch) value(table string, row, column int, v any) {
	for _, blk := range b.blocks {
		if blk.Header.Table == table {
			blk.Row(row)[column] = testValue(v)
		}
	}
}

// Whole tables that cannot be taken: unknown ones, forbidden ones, other keys,
// excluded columns, deletes of what is only ever added.
func TestCollectRefusedTables(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		add          func(b *tillBatch)
	}{
		{"unknown", `table "article" is not among those that dossier ACME takes`, func(b *tillBatch) { b.add("article", change.Upsert, "dossier code prix", []any{"ACME", "1", 1}) }},
		{"ours", `table "caisseauto_ledger" is not among those`, func(b *tillBatch) { b.add("caisseauto_ledger", change.Upsert, "stream", []any{"ACME/up/018"}) }},
		{"a column that is not there", `has no column "tip"`, func(b *tillBatch) {
			b.add("jet", change.Upsert, jetCols+" tip", []any{"ACME", "017", 1, "", "X", 1})
		}},
		{"an excluded column", `column "donnees" of table "jet" is excluded`, func(b *tillBatch) {
			b.add("jet", change.Upsert, jetCols+" donnees", []any{"ACME", "017", 1, "", "X", nil})
		}},
		{"no till", `come without column "caisse"`, func(b *tillBatch) { b.add("jet", change.Upsert, "dossier numero code", []any{"ACME", 1, "X"}) }},
		{"a delete", "a row of table \"jet\" was deleted on the till", func(b *tillBatch) {
			b.add("jet", change.Upsert, jetCols)
			b.add("jet", change.Delete, jetCols, []any{"ACME", "017", 1})
		}},
		{"a patch", "is of mode replace, which has no patch", func(b *tillBatch) {
			b.add("parametre_caisse", change.Patch, paramCols, []any{"ACME", "017", "p", "v"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uploads := collectUploads("")
			uploads[4].Exclude = []string{"donnees"}
			s := newUpServer(t, retailTill(), uploads)
			b := s.batch("017").tickets("017", 1)
			tt.add(b)
			res := b.tickets("017", 2).send()
			wantCounts(t, res, "rows 9: +8 ~0 -0 =0 q1 c0")
			s.want("1 2", "SELECT numero FROM ticket ORDER BY 1")
			list := s.units()
			if len(list) != 1 || !strings.Contains(list[0].Reason, tt.reason) {
				t.Fatalf("units %+v, want one that says %s", list, tt.reason)
			}
			u, err := s.Unit(context.Background(), list[0].ID)
			if err != nil || len(u.Members) != 1 || !strings.Contains(u.Members[0], `"table":"`+u.Table+`"`) || u.Rows != 1 {
				t.Errorf("unit %+v, %v", u, err)
			}
			if _, err := s.Retry(context.Background(), u.ID); !errors.Is(err, collect.ErrStillHeld) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("retry: %v", err)
			}
		})
	}
}

func TestCollectMoved(t *testing.T) {
	s := newRetailServer(t, "")
	b := s.batch("017").tickets("017", 1).seal()
	s.batch("017").tickets("017", 5).send()
	if _, err := s.Apply(context.Background(), b.m, b.p, b.reader()); !errors.Is(err, database.ErrMoved) {
		t.Errorf("a second first batch: %v", err)
	}
	n := s.batch("017").tickets("017", 6)
	n.m.Previous, n.m.Epoch, n.m.Sequence = collect.NoneBefore, 2, 9
	n.send()
	s.want("5 6", "SELECT numero FROM ticket ORDER BY 1")
	other := s.batch("017")
	other.m.Stream = "BETA/up/017"
	if err := s.Check(context.Background(), other.m); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("a dossier that takes nothing: %v", err)
	}
}

// A collect that is stopped, or cannot have the lock, leaves everything as it
// was, and can be done again.
func TestCollectStopped(t *testing.T) {
	s := newRetailServer(t, "")
	s.t0().o.BusyTimeout = 10 * time.Millisecond
	b := s.batch("017").tickets("017", 1, 2)
	b.value("reglement", 0, 4, nil)
	b.seal()
	ctx, cancel := context.WithCancel(context.Background())
	s.t0().hook = func(string) { cancel() }
	if _, err := s.Apply(ctx, b.m, b.p, b.reader()); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	s.t0().hook = func(string) {}
	s.exec("BEGIN IMMEDIATE")
	if _, err := s.Apply(context.Background(), b.m, b.p, b.reader()); !errors.Is(err, database.ErrBusy) {
		t.Errorf("no lock: %v", err)
	}
	s.exec("ROLLBACK")
	s.want("0|0|0|0|0", `SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM caisseauto_ledger), (SELECT count(*) FROM caisseauto_quarantine),
		(SELECT count(*) FROM caisseauto_collected), (SELECT count(*) FROM caisseauto_number)`)
	res, err := s.Apply(context.Background(), b.m, b.p, b.reader())
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +4 ~0 -0 =0 q4 c0")
}
