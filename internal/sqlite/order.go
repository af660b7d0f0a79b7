package sqlite

import (
	"cmp"
	"slices"
)

// ParentsFirst returns the tables in an order in which every table stands
// after those that its foreign keys name, as far as there is one. A circle of
// references is cut at the table with the fewest parents still to come, then
// at the first by name, so that the same tables always come in the same order.
// A table's reference to itself counts for nothing.
func ParentsFirst(tables []*Table) []*Table {
	rest := slices.Clone(tables)
	slices.SortFunc(rest, func(a, b *Table) int { return cmp.Compare(foldName(a.Name), foldName(b.Name)) })
	waiting := make(map[string]bool, len(rest))
	for _, t := range rest {
		waiting[foldName(t.Name)] = true
	}
	ordered := make([]*Table, 0, len(rest))
	for len(rest) > 0 {
		best, fewest := 0, -1
		for i, t := range rest {
			if n := parentsWaiting(t, waiting); fewest < 0 || n < fewest {
				best, fewest = i, n
			}
			if fewest == 0 {
				break
			}
		}
		t := rest[best]
		ordered = append(ordered, t)
		delete(waiting, foldName(t.Name))
		rest = slices.Delete(rest, best, best+1)
	}
	return ordered
}

// parentsWaiting counts the tables that t refers to and that are still to come.
func parentsWaiting(t *Table, waiting map[string]bool) int {
	seen := map[string]bool{foldName(t.Name): true}
	n := 0
	for _, f := range t.ForeignKeys {
		if p := foldName(f.Table); waiting[p] && !seen[p] {
			seen[p] = true
			n++
		}
	}
	return n
}
