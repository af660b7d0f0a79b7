package proof_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/proof"
	"caisseauto/keys"
	"caisseauto/manifest"
)

func TestAllArrived(t *testing.T) {
	w := newWorld(t, 12)
	r := w.prove(proof.Options{})
	if !r.OK() || r.Batches != 12 || r.Delivered != 12 || r.Receipt != 12 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]string{
		"batches: 12 of 12 delivered, each signed and naming the one before it",
		"ticket: 120 of 120, numbers 1-120 without a gap; total_ttc 12000 of 12000",
		"ligne: 300 of 300 rows; montant 12003 of 12003",
	}, r.Lines); diff != "" {
		t.Error(diff)
	}
}

// The order in which the server sums is its own business.
func TestOrderOfTotals(t *testing.T) {
	w := newWorld(t, 2)
	m := w.batch()
	m.Totals[0].Sums = append(m.Totals[0].Sums, manifest.Sum{Column: "total_ht", Sum: "833"})
	w.seal(m)
	w.head(w.last, nil)
	w.receipt(func(r *manifest.Receipt) {
		slices.Reverse(r.Totals)
		slices.Reverse(r.Totals[1].Sums)
		// And it may sum more than the till was asked for then.
		r.Totals[1].Sums = append(r.Totals[1].Sums, manifest.Sum{Column: "total_tva", Sum: "0.01"})
	})
	r := w.prove(proof.Options{})
	if !r.OK() {
		t.Errorf("%q", r.Missing)
	}
	want(t, r.Lines, "total_ttc 3000 of 3000; total_ht 833 of 833")
}

// Each of these is missing, and is named.
func TestMissing(t *testing.T) {
	held := func(seq int64, closed string) []manifest.Held {
		return []manifest.Held{{Sequence: seq, Table: "ticket", Key: "[17]", Rows: 3, Reason: "no such article", Closed: closed}}
	}
	// less is a receipt that lacks one ticket and its two lines.
	less := func(r *manifest.Receipt) {
		r.Totals[0].Rows, r.Totals[0].Sums[0].Sum, r.Totals[0].Numbers = "49", "4900", []string{"1-16", "18-50"}
		r.Totals[1].Rows, r.Totals[1].Sums[0].Sum = "123", "4901"
	}
	for _, tt := range []struct {
		name  string
		spoil func(w *world)
		says  []string
	}{
		{"no receipt", func(w *world) { delete(w.files, "receipts/017.json") }, []string{"no receipt", "not delivered yet: batches 1 to 5"}},
		{"no signature of the receipt", func(w *world) { delete(w.files, "receipts/017.json.sig") }, []string{"no receipt"}},
		{"receipt signed by the till", func(w *world) {
			doc := w.files["receipts/017.json"]
			sig, err := w.till.Sign(doc, manifest.ReceiptNamespace)
			w.check(err)
			w.put("receipts/017.json", doc, sig)
		}, []string{"receipts/017.json: refused (rule S6)"}},
		{"receipt of another till", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { r.Stream = "ACME/up/018" })
		}, []string{"refused (rule P1)"}},
		{"receipt of a forked stream", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { r.Digest = w.positions[0].Digest })
		}, []string{"the receipt names another batch 5", "forked"}},
		{"receipt of a batch that is not here", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { r.Sequence = 6 })
		}, []string{"names batch 6, whose manifest is not here"}},
		{"manifest in the middle", func(w *world) { delete(w.files, w.name(3)) }, []string{"manifests 3 are missing", "numbers 21-30 were never sealed",
			"ticket: the receipt counts 10 rows; 1000 of total_ttc more", "ticket: the receipt counts numbers 21-30"}},
		{"first manifest", func(w *world) { delete(w.files, w.name(1)) }, []string{"the manifests before batch 2 are missing"}},
		{"last manifest", func(w *world) { delete(w.files, w.name(5)) }, []string{"the till's head names batch 5, the newest manifest here is 4", "whose manifest is not here"}},
		{"all manifests", func(w *world) {
			for n := range int64(5) {
				delete(w.files, w.name(n+1))
			}
		}, []string{"the newest manifest here is 0"}},
		{"signature of a manifest", func(w *world) { delete(w.files, w.name(2)+".sig") }, []string{w0(2) + ": it has no signature"}},
		{"manifest signed by a stranger", func(w *world) {
			sig, err := w.stranger.Sign(w.files[w.name(2)], "tickets@caisseauto")
			w.check(err)
			w.files[w.name(2)+".sig"] = sig
		}, []string{w0(2) + ": refused (rule S4)"}},
		{"manifest with one byte changed", func(w *world) { w.files[w.name(2)] = append(slices.Clone(w.files[w.name(2)]), ' ') }, []string{"refused (rule S5)"}},
		{"manifest under another number", func(w *world) { w.put(w.name(2), w.files[w.name(3)], w.files[w.name(3)+".sig"]) }, []string{"refused (rule P1)"}},
		{"manifest signed again with other content", func(w *world) {
			w.last = w.positions[1]
			m := w.batch()
			m.Totals[0].Sums[0].Sum = "999"
			w.seal(m)
		}, []string{"batch 4 does not name batch 3 here", "the receipt counts 1 of total_ttc more"}},
		{"head of a forked till", func(w *world) {
			w.head(manifest.Position{Epoch: 1, Sequence: 5, Digest: w.positions[0].Digest}, nil)
		}, []string{"the till's head names another batch 5"}},
		{"head of another till", func(w *world) {
			w.head(w.last, func(h *manifest.Head) { h.Stream = "ACME/up/018" })
		}, []string{"up/017/HEAD.json: refused"}},
		{"batch behind the receipt", func(w *world) { w.seal(w.batch()); w.head(w.last, nil) },
			[]string{"not delivered yet: batches 6, sealed from 2026-03-01 18:00:00Z", "10 ticket, 25 ligne"}},
		{"a cent", func(w *world) { w.receipt(func(r *manifest.Receipt) { r.Totals[1].Sums[0].Sum = "5001.24" }) }, []string{"ligne: not integrated: 0.01 of montant"}},
		{"a row", func(w *world) { w.receipt(func(r *manifest.Receipt) { r.Totals[1].Rows = "124" }) }, []string{"ligne: not integrated: 1 rows"}},
		{"a number", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { r.Totals[0].Numbers = []string{"1-16", "18-50"} })
		}, []string{"ticket: not integrated: numbers 17"}},
		{"a number that nobody sent", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { r.Totals[0].Numbers = []string{"1-51"} })
		}, []string{"ticket: the receipt counts numbers 51, which no manifest here holds"}},
		{"a table", func(w *world) { w.receipt(func(r *manifest.Receipt) { r.Totals = r.Totals[:1] }) }, []string{"ligne: not integrated: 125 rows; 5001.25 of montant"}},
		{"a number that was never sealed", func(w *world) {
			m := w.batch()
			m.Totals[0].Numbers = []string{"51-55", "57-61"}
			w.seal(m)
			w.head(w.last, nil)
			w.receipt(nil)
		}, []string{"ticket: numbers 56 were never sealed"}},
		{"quarantine", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { less(r); r.Waiting, r.Held = 3, held(2, "") })
		}, []string{"3 rows of batch 2, ticket [17]: in quarantine: no such article", "ticket: not integrated: 1 rows; 100 of total_ttc; numbers 17", "ligne: not integrated: 2 rows; 100.25 of montant"}},
		{"discarded", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { less(r); r.Discarded, r.Held = 3, held(2, "a test") })
		}, []string{"discarded by an operator (a test)"}},
		{"quarantine without names", func(w *world) {
			w.receipt(func(r *manifest.Receipt) { less(r); r.Waiting = 3 })
		}, []string{"3 more rows are in quarantine"}},
		{"epoch that does not begin at its beginning", func(w *world) {
			m := w.batch()
			m.Epoch = 2
			w.seal(m)
		}, []string{"batch 6 of epoch 2 does not follow batch 5 of epoch 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 5)
			tt.spoil(w)
			r := w.prove(proof.Options{})
			if r.OK() {
				t.Error("nothing is missing")
			}
			want(t, r.Missing, tt.says...)
		})
	}
}

func w0(n int64) string { return (*world)(nil).name(n) }

func TestLinesOfWhatIsMissing(t *testing.T) {
	w := newWorld(t, 2)
	w.seal(w.batch())
	w.head(w.last, func(h *manifest.Head) { h.Till.Waiting = 7 })
	r := w.prove(proof.Options{})
	want(t, r.Lines, "batches: 2 of 3 delivered", "ticket: 20 of 30, numbers 1-30 without a gap; total_ttc 2000 of 3000", "ligne: 50 of 75 rows",
		"on the till: 7 rows in its outbox")
	if r.Waiting != 7 || r.Delivered != 2 || len(r.Missing) != 1 {
		t.Errorf("%+v", r)
	}
	delete(w.files, "up/017/HEAD.json")
	want(t, w.prove(proof.Options{}).Lines, "no head of the till is here")
}

// A till whose database was made anew goes on in a new epoch; numbers that
// were sealed and never published are no hole.
func TestNewEpoch(t *testing.T) {
	w := newWorld(t, 3)
	m := w.batch()
	m.Epoch, m.Sequence, m.Previous = 2, 6, manifest.NoPrevious()
	m.Archive.Name = manifest.FileName(6, manifest.ArchiveExt)
	w.seal(m)
	w.seal(w.batch()) // brings 61-70; 41-60 belong to nobody
	w.head(w.last, nil)
	w.receipt(nil)
	r := w.prove(proof.Options{})
	if diff := cmp.Diff([]string{"ticket: numbers 41-60 were never sealed: a gap in what the till numbers without gaps"}, r.Missing); diff != "" {
		t.Error(diff)
	}
	want(t, r.Lines, "epoch 2 begins with batch 6, after batch 3")
}

func TestPart(t *testing.T) {
	w := newWorld(t, 10)
	hour := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
	for _, o := range []proof.Options{{From: 3, To: 5}, {Since: hour(3), Until: hour(6)}, {From: 3, Until: hour(6)}} {
		r := w.prove(o)
		if !r.OK() || r.Batches != 3 || r.Delivered != 3 {
			t.Errorf("%+v: %+v", o, r)
		}
		want(t, r.Lines, "batches: 3 of 3", "ticket: 30 of 30, numbers 21-50 without a gap; total_ttc 3000 of 3000", "ligne: 75 of 75 rows; montant 3000.75 of 3000.75")
	}
	if r := w.prove(proof.Options{From: 11}); !r.OK() || r.Batches != 0 {
		t.Errorf("a part without batches: %+v", r)
	}
}

// What is in quarantine is missing from the part it was sent in, and from no
// other, as long as it explains all that the receipt lacks.
func TestPartWithQuarantine(t *testing.T) {
	w := newWorld(t, 5)
	in := proof.Options{From: 2, To: 2}
	out := proof.Options{From: 3, To: 5}
	receipt := func(rows int64) {
		w.receipt(func(r *manifest.Receipt) {
			r.Totals[0].Rows, r.Totals[0].Sums[0].Sum, r.Totals[0].Numbers = "49", "4900", []string{"1-16", "18-50"}
			r.Waiting, r.Held = rows, []manifest.Held{{Sequence: 2, Table: "ticket", Key: "[17]", Rows: rows, Reason: "no"}}
		})
	}
	receipt(1)
	if r := w.prove(out); !r.OK() {
		t.Errorf("%q", r.Missing)
	}
	r := w.prove(in)
	want(t, r.Missing, "1 rows of batch 2, ticket [17]: in quarantine: no", "numbers 17")
	want(t, r.Lines, "ticket: 9 of 10, numbers 11-20 without a gap; total_ttc 1000 sealed", "ligne: 25 sealed rows")
	receipt(2) // one row more than is lacking: so nobody can say what it is
	if r := w.prove(out); r.OK() {
		t.Error("a difference that nothing explains is nowhere")
	}
}

// A number that is missing in a part and was sent in another one is no hole;
// the numbers of tickets need not rise from batch to batch.
func TestPartWithMixedNumbers(t *testing.T) {
	w := newWorld(t, 0+1)
	for _, numbers := range [][]string{{"11-15", "17-20"}, {"16", "21-30"}} {
		m := w.batch()
		m.Totals[0].Numbers = numbers
		w.seal(m)
	}
	w.head(w.last, nil)
	w.receipt(nil)
	r := w.prove(proof.Options{From: 2, To: 2})
	if !r.OK() {
		t.Errorf("%q", r.Missing)
	}
	want(t, r.Lines, "ticket: 9 of 9, numbers 11-15, 17-20;")
}

// A pair that is replaced between the readings of its two files is no forgery.
func TestReplacedMeanwhile(t *testing.T) {
	w := newWorld(t, 2)
	old := w.files["receipts/017.json.sig"]
	w.receipt(func(r *manifest.Receipt) { r.Issue = 2 })
	f := &replacing{world: w, name: "receipts/017.json.sig", old: old}
	r, err := proof.Prove(t.Context(), f, "ACME", "017", w.trust, proof.Options{})
	if err != nil || !r.OK() {
		t.Errorf("%v %+v", err, r)
	}
	if f.times != 2 {
		t.Errorf("read %d times", f.times)
	}
}

// replacing gives the old bytes of a file once.
type replacing struct {
	*world
	name  string
	old   []byte
	times int
}

func (f *replacing) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == f.name {
		if f.times++; f.times == 1 {
			return f.old, nil
		}
	}
	return f.world.Read(ctx, name, limit)
}

// broken is a network that fails at the nth reading.
type broken struct {
	*world
	left int
}

var errNetwork = errors.New("no network")

func (f *broken) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, errNetwork
	}
	return f.world.Read(ctx, name, limit)
}

// A file that cannot be read is no missing file: there is no report then.
func TestNetwork(t *testing.T) {
	w := newWorld(t, 3)
	n := 0
	for ; ; n++ {
		r, err := proof.Prove(t.Context(), &broken{w, n}, "ACME", "017", w.trust, proof.Options{})
		if err == nil {
			break
		}
		if !errors.Is(err, errNetwork) || r != nil {
			t.Fatalf("reading %d: %v %+v", n, err, r)
		}
	}
	if n != 10 { // two files of the receipt, of the head, and of each batch
		t.Errorf("%d readings", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proof.Prove(ctx, w, "ACME", "017", w.trust, proof.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Where the receipt does not name all that is in quarantine, it may be of any
// part.
func TestPartWithUnnamedQuarantine(t *testing.T) {
	w := newWorld(t, 5)
	w.receipt(func(r *manifest.Receipt) {
		r.Totals[1].Rows = "124"
		r.Waiting = 1
	})
	r := w.prove(proof.Options{From: 3, To: 5})
	want(t, r.Missing, "1 more rows are in quarantine", "ligne: not integrated: 1 rows")
	want(t, r.Lines, "ligne: 75 sealed rows")
}

// One key for two tills: the head of one says nothing of the other.
func TestHeadOfAnotherTillWithTheSameKey(t *testing.T) {
	w := newWorld(t, 2)
	var err error
	w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(
		keys.AllowedLine([]string{"server@acme"}, []string{keys.NamespaceReceipt}, w.server.Public(), "")+"\n"+
			keys.AllowedLine([]string{"till-017@acme", "till-018@acme"}, []string{keys.NamespaceHead, keys.NamespaceTickets}, w.till.Public(), "")+"\n"))
	w.check(err)
	if r := w.prove(proof.Options{}); !r.OK() {
		t.Errorf("%q", r.Missing)
	}
	w.head(w.last, func(h *manifest.Head) { h.Stream = "ACME/up/018" })
	want(t, w.prove(proof.Options{}).Missing, "up/017/HEAD.json: refused (rule P1)")
}
