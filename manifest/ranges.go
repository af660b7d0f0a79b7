package manifest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Range is the integers from Lo to Hi, both included.
type Range struct{ Lo, Hi int64 }

// Ranges is a set of integers from 0 on, as the fewest ranges in rising order.
// The zero value is the empty set.
type Ranges []Range

// MaxPieces is the most ranges that a total names. Numbers without holes are
// one.
const MaxPieces = 10_000

// Add adds the integers from lo to hi. Those below 0 are no numbers of
// anything; they are passed over.
func (r *Ranges) Add(lo, hi int64) {
	lo = max(lo, 0)
	if hi < lo {
		return
	}
	s := *r
	if n := len(s); n > 0 && lo > s[n-1].Hi && lo-1 == s[n-1].Hi { // the next one, nearly always
		s[n-1].Hi = hi
		return
	}
	i, j := s.touched(lo, hi)
	if i < j {
		lo, hi = min(lo, s[i].Lo), max(hi, s[j-1].Hi)
	}
	*r = slices.Replace(s, i, j, Range{lo, hi})
}

// touched returns which ranges overlap the integers from lo to hi or lie next
// to them.
func (r Ranges) touched(lo, hi int64) (i, j int) {
	i, _ = slices.BinarySearchFunc(r, lo, func(x Range, lo int64) int {
		if x.Hi < lo && lo-x.Hi > 1 {
			return -1
		}
		return 1
	})
	for j = i; j < len(r) && (r[j].Lo <= hi || r[j].Lo-1 == hi); j++ {
	}
	return i, j
}

// Remove takes the integers from lo to hi away.
func (r *Ranges) Remove(lo, hi int64) {
	if hi < lo {
		return
	}
	var left Ranges
	for _, x := range *r {
		if x.Hi < lo || x.Lo > hi {
			left = append(left, x)
			continue
		}
		if x.Lo < lo {
			left = append(left, Range{x.Lo, lo - 1})
		}
		if x.Hi > hi {
			left = append(left, Range{hi + 1, x.Hi})
		}
	}
	*r = left
}

// Contains reports whether n is in the set.
func (r Ranges) Contains(n int64) bool {
	_, found := slices.BinarySearchFunc(r, n, func(x Range, n int64) int {
		switch {
		case x.Hi < n:
			return -1
		case x.Lo > n:
			return 1
		}
		return 0
	})
	return found
}

// Holes returns what is missing between the smallest and the largest integer.
func (r Ranges) Holes() Ranges {
	var holes Ranges
	for i := 1; i < len(r); i++ {
		holes = append(holes, Range{r[i-1].Hi + 1, r[i].Lo - 1})
	}
	return holes
}

// Count returns how many integers are in the set, or the largest int64.
func (r Ranges) Count() int64 {
	n := int64(0)
	for _, x := range r {
		if x.Hi-x.Lo == math.MaxInt64 || n > math.MaxInt64-(x.Hi-x.Lo+1) {
			return math.MaxInt64
		}
		n += x.Hi - x.Lo + 1
	}
	return n
}

// String returns for example "1-1000, 1003".
func (r Ranges) String() string { return strings.Join(FormatRanges(r), ", ") }

// FormatRanges returns one string for each range, as a [Total] has them.
func FormatRanges(r Ranges) []string {
	out := make([]string, len(r))
	for i, x := range r {
		out[i] = strconv.FormatInt(x.Lo, 10)
		if x.Hi > x.Lo {
			out[i] += "-" + strconv.FormatInt(x.Hi, 10)
		}
	}
	return out
}

// ParseRanges is the reverse of [FormatRanges]. It takes nothing else.
func ParseRanges(s []string) (Ranges, error) {
	r := make(Ranges, 0, len(s))
	for _, text := range s {
		low, high, two := strings.Cut(text, "-")
		lo, err := parseNumber(low)
		hi := lo
		if err == nil && two {
			hi, err = parseNumber(high)
		}
		if err != nil || two && hi <= lo {
			return nil, fmt.Errorf("%q is not a number or a range", Clip(text, 60))
		}
		if n := len(r); n > 0 && (lo <= r[n-1].Hi || lo-1 == r[n-1].Hi) {
			return nil, fmt.Errorf("%q does not lie behind the range before it, with a hole between them", text)
		}
		r = append(r, Range{lo, hi})
	}
	return r, nil
}

// parseNumber reads an integer from 0 on in its one form.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s || n < 0 {
		return 0, strconv.ErrSyntax
	}
	return n, nil
}

func isCount(s string) bool {
	n, err := parseNumber(s)
	return err == nil && n <= maxInteger
}
