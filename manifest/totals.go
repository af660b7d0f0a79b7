package manifest

import (
	"fmt"
	"slices"
	"strconv"
)

// OrderTotals returns totals in the order of a manifest's tables, which is how
// they stand in it; those of other tables come last.
func OrderTotals(totals []Total, tables []Table) []Total {
	place := make(map[string]int, len(tables))
	for i, t := range tables {
		place[t.Name] = i + 1
	}
	at := func(t Total) int {
		if p := place[t.Table]; p > 0 {
			return p
		}
		return len(tables) + 1
	}
	out := slices.Clone(totals)
	slices.SortStableFunc(out, func(a, b Total) int { return at(a) - at(b) })
	return out
}

// AddTotals returns the totals of a and b together: rows and sums added,
// numbers united. Tables and columns stand in the order of a, then of b. The
// error says which total is not in its one form.
func AddTotals(a, b []Total) ([]Total, error) { return combine(a, b, 1) }

// SubTotals returns what of a is not in b. Where b has more, rows and sums
// are negative; a table of which nothing is left is left out.
func SubTotals(a, b []Total) ([]Total, error) {
	all, err := combine(a, b, -1)
	return slices.DeleteFunc(all, func(t Total) bool {
		return t.Rows == "0" && len(t.Numbers) == 0 && !slices.ContainsFunc(t.Sums, func(s Sum) bool { return s.Sum != "0" })
	}), err
}

// EqualTotals reports whether a and b say the same of the same tables, in
// whatever order. Totals that are not in their one form are equal to none.
func EqualTotals(a, b []Total) bool {
	if len(a) != len(b) || checkTotals(a) != nil || checkTotals(b) != nil {
		return false
	}
	for _, t := range a {
		i := slices.IndexFunc(b, func(o Total) bool { return o.Table == t.Table })
		if i < 0 || t.Rows != b[i].Rows || len(t.Sums) != len(b[i].Sums) || !slices.Equal(t.Numbers, b[i].Numbers) {
			return false
		}
		for _, s := range t.Sums {
			if !slices.Contains(b[i].Sums, s) {
				return false
			}
		}
	}
	return true
}

// CheckTotals holds the totals that a manifest says against those got from its
// rows with [TallyLike], and returns an error that names the first difference.
// A table without rows need not be among those got. Numbers count where the
// manifest has some.
func CheckTotals(said, got []Total) error {
	for _, s := range said {
		g := Total{Table: s.Table, Rows: "0"}
		if i := slices.IndexFunc(got, func(o Total) bool { return o.Table == s.Table }); i >= 0 {
			g = got[i]
		}
		if s.Rows != g.Rows {
			return fmt.Errorf("control total of %s: %s rows are here, the manifest says %s", s.Table, g.Rows, s.Rows)
		}
		for _, sum := range s.Sums {
			i := slices.IndexFunc(g.Sums, func(o Sum) bool { return o.Column == sum.Column })
			if i < 0 {
				if sum.Sum != "0" {
					return fmt.Errorf("control total of %s: the sum of %s is not here, the manifest says %s", s.Table, sum.Column, sum.Sum)
				}
			} else if g.Sums[i].Sum != sum.Sum {
				return fmt.Errorf("control total of %s: the sum of %s is %s here, the manifest says %s", s.Table, sum.Column, g.Sums[i].Sum, sum.Sum)
			}
		}
		if len(s.Numbers) > 0 && !slices.Equal(s.Numbers, g.Numbers) {
			return fmt.Errorf("control total of %s: the numbers are %v here, the manifest says %v", s.Table, g.Numbers, s.Numbers)
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(said, func(s Total) bool { return s.Table == g.Table }) {
			return fmt.Errorf("control total of %s: %s rows are here, the manifest has no total of them", g.Table, g.Rows)
		}
	}
	return nil
}

// A sumOf is one total while it is added up.
type sumOf struct {
	rows    int64
	columns []string
	sums    map[string]*decimal
	numbers Ranges
}

func combine(a, b []Total, sign int64) ([]Total, error) {
	var order []string
	all := map[string]*sumOf{}
	for _, part := range []struct {
		totals []Total
		sign   int64
	}{{a, 1}, {b, sign}} {
		if r := checkTotals(part.totals); r != nil {
			return nil, r.in("totals")
		}
		for _, t := range part.totals {
			s := all[t.Table]
			if s == nil {
				s = &sumOf{sums: map[string]*decimal{}}
				order, all[t.Table] = append(order, t.Table), s
			}
			s.add(t, part.sign)
		}
	}
	out := make([]Total, 0, len(order))
	for _, table := range order {
		out = append(out, all[table].total(table))
	}
	return out, nil
}

// add adds a total that was checked.
func (s *sumOf) add(t Total, sign int64) {
	rows, _ := parseNumber(t.Rows)
	s.rows += sign * rows
	for _, sum := range t.Sums {
		var v decimal
		_ = v.addText(sum.Sum)
		if s.sums[sum.Column] == nil {
			s.columns, s.sums[sum.Column] = append(s.columns, sum.Column), new(decimal)
		}
		s.sums[sum.Column].add(&v, sign)
	}
	numbers, _ := ParseRanges(t.Numbers)
	for _, n := range numbers {
		if sign > 0 {
			s.numbers.Add(n.Lo, n.Hi)
		} else {
			s.numbers.Remove(n.Lo, n.Hi)
		}
	}
}

func (s *sumOf) total(table string) Total {
	t := Total{Table: table, Rows: strconv.FormatInt(s.rows, 10), Sums: []Sum{}, Numbers: []string{}}
	for _, c := range s.columns {
		t.Sums = append(t.Sums, Sum{Column: c, Sum: s.sums[c].String()})
	}
	if len(s.numbers) <= MaxPieces {
		t.Numbers = FormatRanges(s.numbers)
	}
	return t
}
