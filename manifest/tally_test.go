package manifest_test

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"caisseauto/manifest"
)

func TestTally(t *testing.T) {
	u := uploads()
	u[1].Sums = []string{"qte", "prix"}
	y := manifest.NewTally(u)
	for n := range int64(5) {
		y.Row("ticket")
		y.Int("ticket", "total", 1000-n)
		y.Int("ticket", "tva", 7) // not summed
		if n != 2 {
			y.Number("ticket", n+1)
		}
	}
	y.Number("ticket", -1)
	line := y.Table("ligne")
	for range 3 {
		line.Row()
		line.AddReal(line.Column("qte"), 0.1) // 0.1+0.1+0.1 is 0.3 here
		if err := line.AddText(line.Column("prix"), "-12.50"); err != nil {
			t.Error(err)
		}
	}
	line.AddReal(0, math.Inf(1))
	line.AddReal(0, math.NaN())
	if err := line.AddText(1, "12,50"); err == nil || !strings.Contains(err.Error(), "ligne.prix") {
		t.Errorf("a comma: %v", err)
	}
	if line.Column("rang") != -1 || line.Name() != "ligne" || !slices.Equal(line.Columns(), []string{"qte", "prix"}) {
		t.Errorf("%v", line)
	}
	y.Row("unheard of")
	want := []manifest.Total{
		{Table: "ticket", Rows: "5", Sums: []manifest.Sum{{Column: "total", Sum: "4990"}}, Numbers: []string{"1-2", "4-5"}},
		{Table: "ligne", Rows: "3", Sums: []manifest.Sum{{Column: "qte", Sum: "0.3"}, {Column: "prix", Sum: "-37.5"}}, Numbers: []string{}},
		{Table: "unheard of", Rows: "1", Sums: []manifest.Sum{}, Numbers: []string{}},
	}
	if d := cmp.Diff(want, y.Totals()); d != "" {
		t.Error(d)
	}
	if manifest.NewTally(uploads()).Totals() != nil {
		t.Error("totals of nothing")
	}
	if got := manifest.TallyLike(want).Table("ligne").Columns(); !slices.Equal(got, []string{"qte", "prix"}) {
		t.Errorf("like totals: %v", got)
	}
	tables := []manifest.Table{{Name: "ligne"}, {Name: "ticket"}}
	if got := manifest.OrderTotals(want, tables); got[0].Table != "ligne" || got[1].Table != "ticket" || got[2].Table != "unheard of" || want[0].Table != "ticket" {
		t.Errorf("%v", got)
	}
}

// Whatever is added, in whatever kinds of values, the sum is exact.
func TestTallySums(t *testing.T) {
	form := regexp.MustCompile(`^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]*[1-9])$`)
	rapid.Check(t, func(t *rapid.T) {
		y := manifest.NewTally([]manifest.Upload{{Table: "t", Sums: []string{"v"}}})
		h := y.Table("t")
		h.Row()
		want := new(big.Rat)
		for range rapid.IntRange(0, 12).Draw(t, "values") {
			text := ""
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				v := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, 0, -1})).Draw(t, "int")
				h.AddInt(0, v)
				text = strconv.FormatInt(v, 10)
			case 1:
				f := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{5e-324, -1.5, 1e22, 0.1, math.Copysign(0, -1)})).Draw(t, "real")
				if math.IsInf(f, 0) || math.IsNaN(f) {
					f = 0
				}
				h.AddReal(0, f)
				text = strconv.FormatFloat(f, 'g', -1, 64)
			default:
				text = rapid.StringMatching(`[+-]?[0-9]{1,25}(\.[0-9]{1,10})?`).Draw(t, "text")
				if err := h.AddText(0, text); err != nil {
					t.Fatal(err)
				}
			}
			v, ok := new(big.Rat).SetString(text)
			if !ok {
				t.Fatalf("%q is no number", text)
			}
			want.Add(want, v)
		}
		got := y.Totals()[0].Sums[0].Sum
		v, ok := new(big.Rat).SetString(got)
		if !ok || v.Cmp(want) != 0 || !form.MatchString(got) {
			t.Fatalf("sum %q, want %s", got, want.RatString())
		}
	})
	y := manifest.NewTally([]manifest.Upload{{Table: "t", Sums: []string{"v"}}})
	for _, bad := range []string{"", "-", "+", ".", "1.", ".5", "1e3", "0x1", "1_000", " 1", "1 ", "1.2.3", "--1", "NaN", "Inf", "١", "1\x00", strings.Repeat("1", 1001)} {
		if err := y.Decimal("t", "v", bad); err == nil {
			t.Errorf("%q is taken for a decimal", bad)
		}
	}
	if err := y.Decimal("t", "w", "x"); err != nil {
		t.Error("a column that is not summed:", err)
	}
}

// Adding up batches gives the totals of all rows, and taking them away leaves
// what was not in them.
func TestAddTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := manifest.NewTally(uploads())
		var sum []manifest.Total
		var parts [][]manifest.Total
		number := int64(0)
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			one := manifest.NewTally(uploads())
			for range rapid.IntRange(0, 6).Draw(t, "rows") {
				table := rapid.SampledFrom([]string{"ticket", "ligne", "client"}).Draw(t, "table")
				number += rapid.Int64Range(1, 2).Draw(t, "step")
				v := rapid.Int64Range(-500, 500).Draw(t, "amount")
				for _, y := range []*manifest.Tally{all, one} {
					y.Row(table)
					y.Int(table, "total", v)
					if table == "ticket" {
						y.Number(table, number)
					}
				}
			}
			var err error
			if sum, err = manifest.AddTotals(sum, one.Totals()); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, one.Totals())
		}
		if !manifest.EqualTotals(sum, all.Totals()) {
			t.Fatalf("%v, want %v", sum, all.Totals())
		}
		if len(sum) > 0 && manifest.EqualTotals(sum, sum[1:]) {
			t.Fatal("a table less is equal")
		}
		left := sum
		for _, p := range parts {
			var err error
			if left, err = manifest.SubTotals(left, p); err != nil {
				t.Fatal(err)
			}
		}
		if len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
	})
	a := []manifest.Total{{Table: "t", Rows: "1", Sums: []manifest.Sum{{Column: "a", Sum: "0.5"}}, Numbers: []string{"1-3"}}}
	b := []manifest.Total{{Table: "t", Rows: "3", Sums: []manifest.Sum{{Column: "b", Sum: "1"}}, Numbers: []string{"2"}}}
	got, err := manifest.SubTotals(a, b)
	want := []manifest.Total{{Table: "t", Rows: "-2", Sums: []manifest.Sum{{Column: "a", Sum: "0.5"}, {Column: "b", Sum: "-1"}}, Numbers: []string{"1", "3"}}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := manifest.AddTotals(want, a); err == nil {
		t.Error("negative totals were added")
	}
	if manifest.EqualTotals(want, want) {
		t.Error("totals that are none are equal")
	}
}

// Numbers in too many pieces are left out, and nothing else is.
func TestTooManyPieces(t *testing.T) {
	y := manifest.NewTally(uploads())
	for n := range int64(manifest.MaxPieces + 1) {
		y.Row("ticket")
		y.Number("ticket", 2*n)
	}
	got := y.Totals()[0]
	if len(got.Numbers) != 0 || got.Rows != fmt.Sprint(manifest.MaxPieces+1) {
		t.Errorf("%d pieces, %s rows", len(got.Numbers), got.Rows)
	}
	y.Number("ticket", 1) // two pieces become one
	if got := y.Totals()[0]; len(got.Numbers) != manifest.MaxPieces {
		t.Errorf("%d pieces", len(got.Numbers))
	}
}

func TestCheckTotals(t *testing.T) {
	said := tickets().Totals
	y := manifest.TallyLike(said)
	y.Row("Prix <é>")
	a := y.Table("article")
	for range 4 {
		a.Row()
	}
	a.AddInt(0, 1290)
	if err := a.AddText(1, "-12.50"); err != nil {
		t.Fatal(err)
	}
	for n := range int64(1000) {
		a.AddNumber(n + 1)
	}
	a.AddNumber(1003)
	good := y.Totals()
	if err := manifest.CheckTotals(said, good); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		says  string
		spoil func(t *manifest.Total)
	}{
		{"4 rows are here, the manifest says 5", func(t *manifest.Total) { t.Rows = "5" }},
		{"the sum of price is 1290 here, the manifest says 1291", func(t *manifest.Total) { t.Sums[0].Sum = "1291" }},
		{"the sum of other is not here", func(t *manifest.Total) { t.Sums[1].Column = "other" }},
		{"the numbers are", func(t *manifest.Total) { t.Numbers[1] = "1004" }},
		{"0 rows are here", func(t *manifest.Total) { t.Table = "elsewhere" }},
	} {
		said := tickets().Totals
		c.spoil(&said[0])
		if err := manifest.CheckTotals(said, good); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
	if err := manifest.CheckTotals(said[:1], good); err == nil || !strings.Contains(err.Error(), "has no total") {
		t.Errorf("a total that is missing: %v", err)
	}
	older := tickets().Totals // the till did not know yet which column counts
	older[0].Numbers = nil
	if err := manifest.CheckTotals(older, good); err != nil {
		t.Error(err)
	}
}

// What a row costs to count.
func BenchmarkTally(b *testing.B) {
	h := manifest.NewTally(uploads()).Table("ticket")
	for i := range b.N {
		h.Row()
		h.AddInt(0, 1290)
		h.AddNumber(int64(i))
	}
}
