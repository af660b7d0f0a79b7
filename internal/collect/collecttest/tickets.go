package collecttest

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
	"caisseauto/testdata/schema"
)

func testTickets(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	wantCounts(t, s.Batch("017").Tickets("017", 1, 2, 3).Send(), "rows 12: +12 ~0 -0 =0 q0 c0")
	wantCounts(t, s.Batch("018").Tickets("018", 1).Send(), "rows 4: +4 ~0 -0 =0 q0 c0")
	// The same rows once more, and new ones: a till whose triggers were lost.
	wantCounts(t, s.Batch("017").Tickets("017", 2, 3, 4).Send(), "rows 12: +4 ~0 -0 =8 q0 c0")
	s.Want("017|1|120 017|2|240 017|3|360 017|4|480 018|1|120", "SELECT caisse, numero, total_ttc FROM ticket ORDER BY 1, 2")
	s.Want("10|5", "SELECT count(*), (SELECT count(*) FROM reglement) FROM ticket_ligne")
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

// A refusal is a way in which a unit is refused.
type refusal struct {
	name, reason, alarm string
	before              func(s *Server)
	spoil               func(b *Batch)
}

func refusals(k *Kind) []refusal {
	trigger := func(name, reason, sql string) refusal {
		return refusal{name: name, reason: reason, before: func(s *Server) { s.Exec(sql) }}
	}
	list := []refusal{
		// A line of another till's ticket is no part of this one.
		{name: "another till's line", reason: "is of another till: \"caisse\" is '018', and the batch is of '017'", alarm: collect.AlarmForeign,
			spoil: func(b *Batch) { b.Set("ticket_ligne", 2, 1, "018"); b.Set("ticket_ligne", 3, 1, "018") }},
		{name: "another dossier's header", reason: `is of another dossier: "dossier" is 'BETA'`, alarm: collect.AlarmForeign,
			spoil: func(b *Batch) { b.Set("ticket", 1, 0, "BETA") }},
		{name: "no header", reason: "no parent|refers to a row of \"ticket\" that is not there", spoil: func(b *Batch) { b.Set("ticket", 1, 2, 77) }},
		{name: "a constraint", reason: k.NotNull("reglement", "moyen"), spoil: func(b *Batch) { b.Set("reglement", 1, 4, nil) }},
		{name: "NULL in the key", reason: `has NULL in "ligne", which is in the key`, spoil: func(b *Batch) { b.Set("ticket_ligne", 2, 3, nil) }},
		trigger("a trigger of the ERP", "too « dear »", k.Refuse("reglement", "new.montant=240", "too «\ndear »")),
		trigger("a trigger that says nothing", "a trigger of the database kept the row", k.Silent("reglement", "new.montant=240")),
		{name: "other content", reason: "is on the server already, with other content", alarm: collect.AlarmAltered, before: func(s *Server) {
			s.Batch("017").Tickets("017", 2).Send()
			s.Exec("DELETE FROM caisseauto_ledger; UPDATE ticket_ligne SET prix=7 WHERE ligne=2; DELETE FROM caisseauto_collected")
		}},
	}
	if k.RollBack != nil {
		list = append(list, trigger("a trigger that rolls back", "no such thing", k.RollBack("reglement", "new.montant=240", "no such thing")))
	}
	return list
}

// testQuarantine: each way in which a unit is refused. The whole ticket is
// kept verbatim, the ones behind it go on, and the receipt and the totals say
// so.
func testQuarantine(t *testing.T, k *Kind) {
	for _, tt := range refusals(k) {
		t.Run(tt.name, func(t *testing.T) {
			s := NewRetailServer(t, k, "")
			if tt.before != nil {
				tt.before(s)
			}
			b := s.Batch("017").Tickets("017", 1, 2, 3)
			if tt.spoil != nil {
				tt.spoil(b)
			}
			res := b.Send()
			if res.Quarantined < 2 || res.Quarantined+res.Inserted+res.Acknowledged != 12 {
				t.Errorf("became of the rows: %s", Counts(res))
			}
			s.Want("1 3", "SELECT numero FROM ticket WHERE total_ttc<>240 ORDER BY 1")
			if tt.name != "another till's line" {
				s.Want(s.Text("SELECT count(*) FROM ticket WHERE numero=2"), "SELECT count(*) FROM reglement WHERE ticket=2")
			}
			s.Want("1|2 3|2", "SELECT ticket, count(*) FROM ticket_ligne WHERE ticket<>2 GROUP BY 1 ORDER BY 1")
			units := s.Units()
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
			if r.Waiting != res.Quarantined || len(r.Held) != len(units) || r.Sequence != b.P.Sequence {
				t.Errorf("the receipt says %+v", r)
			}
		})
	}
}

// testRefusedTables: whole tables that cannot be taken. Unknown ones, forbidden
// ones, excluded columns, deletes of what is only ever added.
func testRefusedTables(t *testing.T, k *Kind) {
	for _, tt := range []struct {
		name, reason string
		add          func(b *Batch)
	}{
		{"unknown", `table "article" is not among those that dossier ACME takes`, func(b *Batch) { b.Add("article", change.Upsert, "dossier code prix", []any{"ACME", "1", 1}) }},
		{"ours", `table "caisseauto_ledger" is not among those`, func(b *Batch) { b.Add("caisseauto_ledger", change.Upsert, "stream", []any{"ACME/up/018"}) }},
		{"a column that is not there", `has no column "tip"`, func(b *Batch) {
			b.Add("jet", change.Upsert, jetCols+" tip", []any{"ACME", "017", 1, "", "X", 1})
		}},
		{"a column that must be there", `column "horodatage"`, func(b *Batch) {
			b.Add("jet", change.Upsert, "dossier caisse numero code", []any{"ACME", "017", 1, "X"})
		}},
		{"an excluded column", `column "donnees" of table "jet" is excluded`, func(b *Batch) {
			b.Add("jet", change.Upsert, jetCols+" donnees", []any{"ACME", "017", 1, "", "X", nil})
		}},
		{"no till", `come without column "caisse"`, func(b *Batch) { b.Add("jet", change.Upsert, "dossier numero code", []any{"ACME", 1, "X"}) }},
		{"a delete", "a row of table \"jet\" was deleted on the till", func(b *Batch) {
			b.Add("jet", change.Upsert, jetCols)
			b.Add("jet", change.Delete, jetCols, []any{"ACME", "017", 1})
		}},
		{"a patch", "is of mode replace, which has no patch", func(b *Batch) {
			b.Add("parametre_caisse", change.Patch, paramCols, []any{"ACME", "017", "p", "v"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uploads := RetailUploads("")
			uploads[4].Exclude = []string{"donnees"}
			s := NewServer(t, k, schema.Retail+retailTill, uploads)
			b := s.Batch("017").Tickets("017", 1)
			tt.add(b)
			res := b.Tickets("017", 2).Send()
			wantCounts(t, res, "rows 9: +8 ~0 -0 =0 q1 c0")
			s.Want("1 2", "SELECT numero FROM ticket ORDER BY 1")
			list := s.Units()
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

// testKeyTwice: a batch that has a key twice is taken in as it was written,
// one row after the other.
func testKeyTwice(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	b := s.Batch("017").Add("parametre_caisse", change.Upsert, paramCols, []any{"ACME", "017", "p", "1"}, []any{"ACME", "017", "q", "1"}, []any{"ACME", "017", "p", "2"})
	b.Add("parametre_caisse", change.Delete, "", []any{"ACME", "017", "q"}).
		Add("parametre_caisse", change.Upsert, paramCols, []any{"ACME", "017", "r", "1"}, []any{"ACME", "017", "p", "3"})
	jet := []any{"ACME", "017", 1, "", "X"}
	b.Add("jet", change.Upsert, jetCols, jet, jet)
	wantCounts(t, b.Send(), "rows 8: +4 ~2 -1 =1 q0 c0")
	s.Want("p|3 r|1", "SELECT nom, valeur FROM parametre_caisse ORDER BY 1")
	// Twice with other content: both are one unit.
	b = s.Batch("017").Add("jet", change.Upsert, jetCols, []any{"ACME", "017", 2, "", "X"}, []any{"ACME", "017", 2, "", "Y"}, []any{"ACME", "017", 3, "", "Z"})
	wantCounts(t, b.Send(), "rows 3: +1 ~0 -0 =0 q2 c0")
	s.Want("1|X 3|Z", "SELECT numero, code FROM jet ORDER BY 1")
}

func testMoved(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	b := s.Batch("017").Tickets("017", 1).Seal()
	s.Batch("017").Tickets("017", 5).Send()
	if _, err := b.ApplyTo(s.Collector); !errors.Is(err, database.ErrMoved) {
		t.Errorf("a second first batch: %v", err)
	}
	n := s.Batch("017").Tickets("017", 6)
	n.M.Previous, n.M.Epoch, n.M.Sequence = collect.NoneBefore, 2, 9
	n.Send()
	s.Want("5 6", "SELECT numero FROM ticket ORDER BY 1")
	other := s.Batch("017")
	other.M.Stream = "BETA/up/017"
	if err := s.Check(context.Background(), other.M); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("a dossier that takes nothing: %v", err)
	}
}

// everything is what a batch can write to.
const everything = `SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM caisseauto_ledger), (SELECT count(*) FROM caisseauto_quarantine),
	(SELECT count(*) FROM caisseauto_collected), (SELECT count(*) FROM caisseauto_number)`

// testStopped: a collect that is stopped, or cannot have the lock, leaves
// everything as it was, and can be done again.
func testStopped(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	b := s.Batch("017").Tickets("017", 1, 2)
	b.Set("reglement", 0, 4, nil)
	b.Seal()
	stop := func(where string, o Options, ctx context.Context, rows change.BlockReader) {
		t.Helper()
		if _, err := s.open(o).Apply(ctx, b.M, b.P, rows); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped %s: %v", where, err)
		}
		s.Want("0|0|0|0|0", everything)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stop("while rows are read", Options{}, ctx, &canceller{b.Reader(), cancel})
	ctx, cancel = context.WithCancel(context.Background())
	stop("before the lock", Options{Hook: func(string) { cancel() }}, ctx, b.Reader())
	release, err := s.DB.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ApplyTo(s.open(Options{BusyTimeout: 10 * time.Millisecond})); !errors.Is(err, database.ErrBusy) {
		t.Errorf("no lock: %v", err)
	}
	release()
	s.Want("0|0|0|0|0", everything)
	res, err := b.ApplyTo(s.Collector)
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +4 ~0 -0 =0 q4 c0")
}

// A canceller ends a context when the first rows are read.
type canceller struct {
	change.BlockReader
	cancel context.CancelFunc
}

func (c *canceller) Next() (*change.Block, error) {
	c.cancel()
	return c.BlockReader.Next()
}
