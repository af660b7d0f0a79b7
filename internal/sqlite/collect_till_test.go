package sqlite

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

// Numbers without gaps: a hole is an alarm, and clears when it is filled; what
// is in quarantine has come.
func TestCollectNumbers(t *testing.T) {
	s := newRetailServer(t, "")
	send := func(want string, numbers ...int) {
		t.Helper()
		s.batch("017").tickets("017", numbers...).send()
		if got := s.alarms(); got != want {
			t.Errorf("after %v:\n got %s\nwant %s", numbers, got, want)
		}
	}
	send("", 500)
	send("numbers: ticket numbers 501-503 of till 017 are missing", 504, 505)
	send("numbers: ticket number 501 of till 017 is missing\nnumbers: ticket number 503 of till 017 is missing", 502)
	send("numbers: ticket number 503 of till 017 is missing", 501)
	b := s.batch("017").tickets("017", 503)
	b.value("reglement", 0, 4, nil)
	wantCounts(t, b.send(), "rows 4: +0 ~0 -0 =0 q4 c0")
	if got := s.alarms(); got != "" {
		t.Errorf("a ticket in quarantine is not missing: %s", got)
	}
	send("numbers: ticket numbers 300-499 of till 017 are missing", 299)
	s.want("299|299 500|505", "SELECT lo, hi FROM caisseauto_number WHERE tab='ticket' ORDER BY lo")
	if got := totalsText(t, s.receipt("017").Totals); !strings.Contains(got, "[299,500-502,504-505]") {
		t.Errorf("totals %s", got)
	}
	// Another till's numbers are not this one's.
	b = s.batch("017").tickets("018", 900)
	b.send()
	s.want("0", "SELECT count(*) FROM caisseauto_number WHERE hi=900")
}

// A batch whose rows are not what its totals say is held whole, and its rows
// can be taken in once somebody has looked.
func TestCollectTotals(t *testing.T) {
	s := newRetailServer(t, "")
	ctx := context.Background()
	b := s.batch("017").tickets("017", 1, 2).seal()
	b.m.Totals[0].Sums[0].Sum = "999"
	res, err := s.Apply(ctx, b.m, b.p, b.reader())
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +0 ~0 -0 =0 q8 c0")
	s.want("0", "SELECT count(*) FROM ticket")
	if a := s.alarms(); !strings.HasPrefix(a, "batch: batch 1 of till 017 is in quarantine whole: control total of ticket: the sum of total_ttc is 360 here") {
		t.Error(a)
	}
	r := s.receipt("017")
	if r.Sequence != 1 || r.Waiting != 8 || len(r.Totals) != 0 || r.Held[0].Table != "" || r.Held[0].Rows != 8 {
		t.Errorf("%+v", r)
	}
	s.batch("017").tickets("017", 3).send() // what is behind goes on
	s.exec("INSERT INTO ticket SELECT 'ACME','017',2,'','',NULL,0,1,1,1")
	if res, err = s.Retry(ctx, s.units()[0].ID); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, res, "rows 8: +4 ~0 -0 =0 q4 c0")
	if list := s.units(); len(list) != 1 || list[0].Key != `["ACME","017",2]` || list[0].Rows != 4 {
		t.Errorf("units %+v", list)
	}
	if got := totalsText(t, s.receipt("017").Totals); !strings.Contains(got, "{ticket,2,[{total_ttc,480}],[1,3]}") {
		t.Error(got)
	}
	u, err := s.Unit(ctx, s.units()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	// Byte for byte what the till sent.
	want := `{"table":"reglement","op":"upsert","columns":["dossier","caisse","ticket","rang","moyen","montant"]}` + "\n" + `["ACME","017",2,1,"CB",240]` + "\n"
	if len(u.Members) != 3 || u.Members[2] != want {
		t.Errorf("members %q", u.Members)
	}
}

func TestCollectHold(t *testing.T) {
	s := newRetailServer(t, "")
	ctx := context.Background()
	b := s.batch("017").tickets("017", 1, 2).seal()
	b.m.Archive.Name = "0000000001.tar.zst"
	dir := t.TempDir()
	bytes := strings.Repeat("not an archive ", 40_000)
	if err := os.WriteFile(filepath.Join(dir, b.m.Archive.Name), []byte(bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(ctx, b.m, b.p, dir, errors.New("bad magic")); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(ctx, b.m, b.p, dir, errors.New("bad magic")); !errors.Is(err, database.ErrMoved) {
		t.Errorf("the same again: %v", err)
	}
	r := s.receipt("017")
	if r.Position() != b.p || r.Waiting != 8 || !strings.Contains(r.Held[0].Reason, "0000000001.tar.zst cannot be read: bad magic") {
		t.Errorf("%+v", r)
	}
	s.want("1|2", "SELECT lo, hi FROM caisseauto_number WHERE tab='ticket'")
	u, err := s.Unit(ctx, s.units()[0].ID)
	if err != nil || string(u.Archive) != bytes {
		t.Errorf("the archive was kept as %d bytes, %v", len(u.Archive), err)
	}
	if _, err := s.Retry(ctx, u.ID); !errors.Is(err, collect.ErrStillHeld) {
		t.Errorf("retry: %v", err)
	}
	if err := s.Discard(ctx, u.ID, "sent again by hand"); err != nil {
		t.Error(err)
	}
	s.batch("017").tickets("017", 3).send()
}

func TestCollectHeads(t *testing.T) {
	ctx := context.Background()
	head := func(issue, sequence int64, digest string) *manifest.Head {
		return &manifest.Head{Stream: "ACME/up/017", Epoch: 1, Sequence: sequence, Digest: digest, Issue: issue, Issued: time.Date(2026, 3, 2, 0, 0, int(issue), 0, time.UTC),
			Till: &manifest.TillState{Incarnation: applyDigest("017")[:32], Host: "shop", Waiting: 3, Alarms: []string{"disk"}}}
	}
	for _, tt := range []struct {
		name, kind, text string
		heads            func(s *upServer) []*manifest.Head
		till             string
	}{
		{name: "nothing wrong", heads: func(s *upServer) []*manifest.Head {
			p, _ := s.Position(ctx, "ACME/up/017")
			return []*manifest.Head{head(1, 1, p.Digest), head(2, 2, applyDigest("2"))}
		}},
		{name: "another batch than the one here", kind: collect.AlarmFork, text: "its head 1 names another batch 1 than the one integrated here",
			heads: func(*upServer) []*manifest.Head { return []*manifest.Head{head(1, 1, applyDigest("x"))} }},
		{name: "one issue twice", kind: collect.AlarmFork, text: "two different heads bear the issue 5",
			heads: func(*upServer) []*manifest.Head {
				return []*manifest.Head{head(5, 7, applyDigest("x")), head(5, 8, applyDigest("y"))}
			}},
		{name: "one batch twice", kind: collect.AlarmFork, text: "its heads 5 and 6 name two different batches 7",
			heads: func(*upServer) []*manifest.Head {
				return []*manifest.Head{head(5, 7, applyDigest("x")), head(6, 7, applyDigest("y"))}
			}},
		{name: "newer, at an older place", kind: collect.AlarmFork, text: "its head 6 stands at batch 6, and the older head 5 stood at batch 7 already",
			heads: func(*upServer) []*manifest.Head {
				return []*manifest.Head{head(5, 7, applyDigest("x")), head(6, 6, applyDigest("y"))}
			}},
		{name: "a clone under another number", kind: collect.AlarmFork, text: "till 018 and till 017 of dossier ACME", till: "018",
			heads: func(*upServer) []*manifest.Head {
				h := head(1, 1, applyDigest("z"))
				h.Stream = "ACME/up/018"
				return []*manifest.Head{h}
			}},
		{name: "ahead of this server", kind: collect.AlarmAhead, text: "has applied a batch 9 of epoch 1 of ACME/down that this server did not publish",
			heads: func(s *upServer) []*manifest.Head {
				p, _ := s.Position(ctx, "ACME/up/017")
				s.publish(1, manifest.Baseline, `{"seq":0}`)
				h := head(1, 1, p.Digest)
				h.Till.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: 9, Digest: applyDigest("n")}
				return []*manifest.Head{h}
			}},
		{name: "another batch down", kind: collect.AlarmAhead, text: "has applied a batch 1 of epoch 1 of ACME/down",
			heads: func(s *upServer) []*manifest.Head {
				p, _ := s.Position(ctx, "ACME/up/017")
				s.publish(1, manifest.Baseline, `{"seq":0}`)
				h := head(1, 1, p.Digest)
				h.Till.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: 1, Digest: applyDigest("n")}
				return []*manifest.Head{h}
			}},
		{name: "what was published", heads: func(s *upServer) []*manifest.Head {
			p, _ := s.Position(ctx, "ACME/up/017")
			down := s.publish(1, manifest.Baseline, `{"seq":0}`)
			h := head(1, 1, p.Digest)
			h.Till.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: 1, Digest: down.Digest}
			return []*manifest.Head{h}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newRetailServer(t, "")
			s.batch("017").tickets("017", 1).send()
			till := tt.till
			if till == "" {
				till = "017"
			}
			var last []collect.Alarm
			for i, h := range tt.heads(s) {
				var err error
				for range 2 { // the same once more says nothing new
					var list []collect.Alarm
					if list, err = s.SaveTill(ctx, "ACME", till, h, applyDigest(tt.name+string(rune('a'+i)))); err != nil {
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

// A second database that goes on where the first stood.
func TestCollectIncarnation(t *testing.T) {
	s := newRetailServer(t, "")
	s.batch("017").tickets("017", 1).send()
	b := s.batch("017").tickets("017", 2)
	b.m.Incarnation = applyDigest("other")[:32]
	b.send()
	if a := s.alarms(); !strings.Contains(a, "fork: batch 2 of till 017 was sealed by database "+b.m.Incarnation) {
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
	c := s.batch("018").add("jet", change.Upsert, jetCols, []any{"ACME", "018", 1, "", "X"})
	c.m.Incarnation = b.m.Incarnation
	c.send()
	if a := s.alarms(); !strings.Contains(a, "till 018 and till 017 of dossier ACME have one database") {
		t.Error(a)
	}
}

func TestCollectReceiptDue(t *testing.T) {
	s := newRetailServer(t, "")
	ctx := context.Background()
	const stream = "ACME/up/017"
	if r, due, err := s.Receipt(ctx, stream); r != nil || due || err != nil {
		t.Error(r, due, err)
	}
	s.batch("017").tickets("017", 1).send()
	if _, due, _ := s.Receipt(ctx, stream); !due {
		t.Error("no receipt is due")
	}
	if err := s.ReceiptDone(ctx, stream, 1); err != nil {
		t.Fatal(err)
	}
	if r, due, _ := s.Receipt(ctx, stream); due || r.Issue != 1 {
		t.Errorf("due %v, %+v", due, r)
	}
	s.batch("017").tickets("017", 2).send()
	if err := s.ReceiptDone(ctx, stream, 1); err != nil { // a late answer
		t.Fatal(err)
	}
	if r, due, _ := s.Receipt(ctx, stream); !due || r.Issue != 2 {
		t.Errorf("due %v, %+v", due, r)
	}
}
