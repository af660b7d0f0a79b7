package collecttest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// testNumbers: numbers without gaps. A hole is an alarm, and clears when it is filled; what
// is in quarantine has come.
func testNumbers(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	send := func(want string, numbers ...int) {
		t.Helper()
		s.Batch("017").Tickets("017", numbers...).Send()
		if got := s.alarms(); got != want {
			t.Errorf("after %v:\n got %s\nwant %s", numbers, got, want)
		}
	}
	send("", 500)
	send("numbers: ticket numbers 501-503 of till 017 are missing", 504, 505)
	send("numbers: ticket number 501 of till 017 is missing\nnumbers: ticket number 503 of till 017 is missing", 502)
	send("numbers: ticket number 503 of till 017 is missing", 501)
	b := s.Batch("017").Tickets("017", 503)
	b.Set("reglement", 0, 4, nil)
	wantCounts(t, b.Send(), "rows 4: +0 ~0 -0 =0 q4 c0")
	if got := s.alarms(); got != "" {
		t.Errorf("a ticket in quarantine is not missing: %s", got)
	}
	send("numbers: ticket numbers 300-499 of till 017 are missing", 299)
	s.Want("299|299 500|505", "SELECT lo, hi FROM caisseauto_number WHERE tab='ticket' ORDER BY lo")
	if got := totalsText(t, s.receipt("017").Totals); !strings.Contains(got, "[299,500-502,504-505]") {
		t.Errorf("totals %s", got)
	}
	// Another till's numbers are not this one's.
	b = s.Batch("017").Tickets("018", 900)
	b.Send()
	s.Want("0", "SELECT count(*) FROM caisseauto_number WHERE hi=900")
}

// testTotals: a batch whose rows are not what its totals say is held whole, and its rows
// can be taken in once somebody has looked.
func testTotals(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	ctx := context.Background()
	b := s.Batch("017").Tickets("017", 1, 2).Seal()
	b.M.Totals[0].Sums[0].Sum = "999"
	res, err := s.Apply(ctx, b.M, b.P, b.Reader())
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +0 ~0 -0 =0 q8 c0")
	s.Want("0", "SELECT count(*) FROM ticket")
	if a := s.alarms(); !strings.HasPrefix(a, "batch: batch 1 of till 017 is in quarantine whole: control total of ticket: the sum of total_ttc is 360 here") {
		t.Error(a)
	}
	r := s.receipt("017")
	if r.Sequence != 1 || r.Waiting != 8 || len(r.Totals) != 0 || r.Held[0].Table != "" || r.Held[0].Rows != 8 {
		t.Errorf("%+v", r)
	}
	s.Batch("017").Tickets("017", 3).Send() // what is behind goes on
	s.Exec("INSERT INTO ticket SELECT 'ACME','017',2,'','',NULL,0,1,1,1")
	if res, err = s.Retry(ctx, s.Units()[0].ID); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +4 ~0 -0 =0 q4 c0")
	if list := s.Units(); len(list) != 1 || list[0].Key != `["ACME","017",2]` || list[0].Rows != 4 {
		t.Errorf("units %+v", list)
	}
	if got := totalsText(t, s.receipt("017").Totals); !strings.Contains(got, "{ticket,2,[{total_ttc,480}],[1,3]}") {
		t.Error(got)
	}
	u, err := s.Unit(ctx, s.Units()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	// Byte for byte what the till sent.
	want := `{"table":"reglement","op":"upsert","columns":["dossier","caisse","ticket","rang","moyen","montant"]}` + "\n" + `["ACME","017",2,1,"CB",240]` + "\n"
	if len(u.Members) != 3 || u.Members[2] != want {
		t.Errorf("members %q", u.Members)
	}
}

func testHold(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	ctx := context.Background()
	b := s.Batch("017").Tickets("017", 1, 2).Seal()
	b.M.Archive.Name = "0000000001.tar.zst"
	dir := t.TempDir()
	bytes := strings.Repeat("not an archive ", 40_000)
	if err := os.WriteFile(filepath.Join(dir, b.M.Archive.Name), []byte(bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(ctx, b.M, b.P, dir, errors.New("bad magic")); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(ctx, b.M, b.P, dir, errors.New("bad magic")); !errors.Is(err, database.ErrMoved) {
		t.Errorf("the same again: %v", err)
	}
	r := s.receipt("017")
	if r.Position() != b.P || r.Waiting != 8 || !strings.Contains(r.Held[0].Reason, "0000000001.tar.zst cannot be read: bad magic") {
		t.Errorf("%+v", r)
	}
	s.Want("1|2", "SELECT lo, hi FROM caisseauto_number WHERE tab='ticket'")
	u, err := s.Unit(ctx, s.Units()[0].ID)
	if err != nil || string(u.Archive) != bytes {
		t.Errorf("the archive was kept as %d bytes, %v", len(u.Archive), err)
	}
	if _, err := s.Retry(ctx, u.ID); !errors.Is(err, collect.ErrStillHeld) {
		t.Errorf("retry: %v", err)
	}
	if err := s.Discard(ctx, u.ID, "sent again by hand"); err != nil {
		t.Error(err)
	}
	s.Batch("017").Tickets("017", 3).Send()
}

// A headCase is heads of a till, and the alarm that they are worth.
type headCase struct {
	name, kind, text string
	heads            func(s *Server) []*manifest.Head
	till             string // empty: 017
}

func head(issue, sequence int64, what string) *manifest.Head {
	return &manifest.Head{Stream: "ACME/up/017", Epoch: 1, Sequence: sequence, Digest: what, Issue: issue, Issued: time.Date(2026, 3, 2, 0, 0, int(issue), 0, time.UTC),
		Till: &manifest.TillState{Incarnation: digest("017")[:32], Host: "shop", Waiting: 3, Alarms: []string{"disk"}}}
}

func headCases() []headCase {
	two := func(a, b *manifest.Head) func(*Server) []*manifest.Head {
		return func(*Server) []*manifest.Head { return []*manifest.Head{a, b} }
	}
	applied := func(sequence int64, what func(down string) string) func(*Server) []*manifest.Head {
		return func(s *Server) []*manifest.Head {
			h := head(1, 1, s.stands("017").Digest)
			h.Till.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: sequence, Digest: what(s.published().Digest)}
			return []*manifest.Head{h}
		}
	}
	other := func(string) string { return digest("n") }
	return []headCase{
		{name: "nothing wrong", heads: func(s *Server) []*manifest.Head {
			return []*manifest.Head{head(1, 1, s.stands("017").Digest), head(2, 2, digest("2"))}
		}},
		{name: "another batch than the one here", kind: collect.AlarmFork, text: "its head 1 names another batch 1 than the one integrated here",
			heads: func(*Server) []*manifest.Head { return []*manifest.Head{head(1, 1, digest("x"))} }},
		{name: "one issue twice", kind: collect.AlarmFork, text: "two different heads bear the issue 5", heads: two(head(5, 7, digest("x")), head(5, 8, digest("y")))},
		{name: "one batch twice", kind: collect.AlarmFork, text: "its heads 5 and 6 name two different batches 7", heads: two(head(5, 7, digest("x")), head(6, 7, digest("y")))},
		{name: "newer, at an older place", kind: collect.AlarmFork, text: "its head 6 stands at batch 6, and the older head 5 stood at batch 7 already",
			heads: two(head(5, 7, digest("x")), head(6, 6, digest("y")))},
		{name: "a clone under another number", kind: collect.AlarmFork, text: "till 018 and till 017 of dossier ACME", till: "018",
			heads: func(*Server) []*manifest.Head {
				h := head(1, 1, digest("z"))
				h.Stream = "ACME/up/018"
				return []*manifest.Head{h}
			}},
		{name: "ahead of this server", kind: collect.AlarmAhead, text: "has applied a batch 9 of epoch 1 of ACME/down that this server did not publish", heads: applied(9, other)},
		{name: "another batch down", kind: collect.AlarmAhead, text: "has applied a batch 1 of epoch 1 of ACME/down", heads: applied(1, other)},
		{name: "what was published", heads: applied(1, func(down string) string { return down })},
	}
}

// stands returns the last integrated batch of a till.
func (s *Server) stands(till string) manifest.Position {
	s.t.Helper()
	p, err := s.Position(context.Background(), "ACME/up/"+till)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func testHeads(t *testing.T, k *Kind) {
	ctx := context.Background()
	for _, tt := range headCases() {
		t.Run(tt.name, func(t *testing.T) {
			s := NewRetailServer(t, k, "")
			s.Batch("017").Tickets("017", 1).Send()
			till := tt.till
			if till == "" {
				till = "017"
			}
			var last []collect.Alarm
			for i, h := range tt.heads(s) {
				for range 2 { // the same once more says nothing new
					list, err := s.SaveTill(ctx, "ACME", till, h, digest(tt.name+string(rune('a'+i))))
					if err != nil {
						t.Fatal(err)
					}
					last = append(last, list...)
				}
			}
			if tt.kind == "" {
				if len(last) > 0 || s.alarms() != "" {
					t.Errorf("alarms %+v", last)
				}
				list, err := s.Tills(ctx, "ACME")
				if err != nil || len(list) != 1 || list[0].Waiting != 3 || list[0].Says[0] != "disk" || list[0].Integrated.Sequence != 1 || !list[0].ReceiptDue {
					t.Errorf("%+v, %v", list, err)
				}
				return
			}
			if len(last) != 1 || last[0].Kind != tt.kind || !strings.Contains(last[0].Text, tt.text) || !strings.Contains(s.alarms(), tt.text) {
				t.Errorf("alarms %+v, want %s", last, tt.text)
			}
		})
	}
}

// testIncarnation: a second database that goes on where the first stood.
func testIncarnation(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	s.Batch("017").Tickets("017", 1).Send()
	b := s.Batch("017").Tickets("017", 2)
	b.M.Incarnation = digest("other")[:32]
	b.Send()
	if a := s.alarms(); !strings.Contains(a, "fork: batch 2 of till 017 was sealed by database "+b.M.Incarnation) {
		t.Error(a)
	}
	list, err := s.Alarms(context.Background(), collect.AlarmFilter{Till: "017"})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := s.ClearAlarm(context.Background(), list[0].ID, ""); err == nil {
		t.Error("cleared without a reason")
	}
	if err := s.ClearAlarm(context.Background(), list[0].ID, "the till was replaced"); err != nil || s.alarms() != "" {
		t.Error(err, s.alarms())
	}
	c := s.Batch("018").Add("jet", change.Upsert, jetCols, []any{"ACME", "018", 1, "", "X"})
	c.M.Incarnation = b.M.Incarnation
	c.Send()
	if a := s.alarms(); !strings.Contains(a, "till 018 and till 017 of dossier ACME have one database") {
		t.Error(a)
	}
}

func testReceiptDue(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	ctx := context.Background()
	const stream = "ACME/up/017"
	if r, due, err := s.Receipt(ctx, stream); r != nil || due || err != nil {
		t.Error(r, due, err)
	}
	s.Batch("017").Tickets("017", 1).Send()
	if _, due, _ := s.Receipt(ctx, stream); !due {
		t.Error("no receipt is due")
	}
	if err := s.ReceiptDone(ctx, stream, 1); err != nil {
		t.Fatal(err)
	}
	if r, due, _ := s.Receipt(ctx, stream); due || r.Issue != 1 {
		t.Errorf("due %v, %+v", due, r)
	}
	s.Batch("017").Tickets("017", 2).Send()
	if err := s.ReceiptDone(ctx, stream, 1); err != nil { // a late answer
		t.Fatal(err)
	}
	if r, due, _ := s.Receipt(ctx, stream); !due || r.Issue != 2 {
		t.Errorf("due %v, %+v", due, r)
	}
}
