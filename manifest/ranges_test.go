package manifest_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"caisseauto/manifest"
)

// Ranges against a plain set, in any order of additions and removals.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r manifest.Ranges
		set := map[int64]bool{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			lo := rapid.Int64Range(-3, 40).Draw(t, "lo")
			hi := lo + rapid.Int64Range(-1, 6).Draw(t, "more")
			remove := rapid.IntRange(0, 3).Draw(t, "remove") == 0
			if remove {
				r.Remove(lo, hi)
			} else {
				r.Add(lo, hi)
			}
			for n := lo; n <= hi; n++ {
				if set[n] = !remove && n >= 0; !set[n] {
					delete(set, n)
				}
			}
		}
		if got := r.Count(); got != int64(len(set)) {
			t.Fatalf("%v: count %d, want %d", r, got, len(set))
		}
		holes := r.Holes()
		for n := int64(-5); n < 60; n++ {
			if r.Contains(n) != set[n] {
				t.Fatalf("%v contains %d: %v", r, n, r.Contains(n))
			}
			inside := len(r) > 0 && n > r[0].Lo && n < r[len(r)-1].Hi
			if holes.Contains(n) != (inside && !set[n]) {
				t.Fatalf("%v: holes %v", r, holes)
			}
		}
		text := manifest.FormatRanges(r)
		again, err := manifest.ParseRanges(text)
		if err != nil || !slices.Equal(again, r) {
			t.Fatalf("%v reads as %v, %v", text, again, err)
		}
	})
}

func TestRangesAtTheEnds(t *testing.T) {
	const top = math.MaxInt64
	var r manifest.Ranges
	for _, add := range []manifest.Range{{top, top}, {top - 2, top - 2}, {top - 1, top - 1}, {0, 0}, {top, top}, {math.MinInt64, -1}, {5, 4}} {
		r.Add(add.Lo, add.Hi)
	}
	if got := r.String(); got != "0, 9223372036854775805-9223372036854775807" || r.Count() != 4 {
		t.Errorf("%s, %d", got, r.Count())
	}
	r.Add(1, top-3)
	if len(r) != 1 || r.Count() != top {
		t.Errorf("%v, count %d", r, r.Count())
	}
	r.Remove(0, top)
	if len(r) != 0 || r.Count() != 0 || len(r.Holes()) != 0 {
		t.Errorf("%v", r)
	}
	for _, bad := range [][]string{{""}, {"-"}, {"1-"}, {"-1"}, {"1-2-3"}, {"1", "2"}, {"3", "1"}, {"1-3", "3"}, {"2-2"}, {"3-2"}, {"01"}, {"1-02"}, {" 1"}, {"+1"}, {"9223372036854775808"}, {"9223372036854775807", "0"}} {
		if got, err := manifest.ParseRanges(bad); err == nil {
			t.Errorf("%q reads as %v", bad, got)
		}
	}
}
