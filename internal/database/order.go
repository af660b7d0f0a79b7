package database

import (
	"cmp"
	"slices"
)

// ParentsFirst returns the tables in an order in which every table stands
// after those that its foreign keys name, as far as there is one. A circle of
// references is cut at the table with the fewest parents still to come, then
// at the first by name, so that the same tables always come in the same order.
// A table's reference to itself counts for nothing. Name returns a table's
// name and parents the names that its foreign keys refer to, both in the form
// in which equal names are equal texts.
func ParentsFirst[T any](tables []T, name func(T) string, parents func(T) []string) []T {
	rest := slices.Clone(tables)
	slices.SortFunc(rest, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	waiting := make(map[string]bool, len(rest))
	for _, t := range rest {
		waiting[name(t)] = true
	}
	ordered := make([]T, 0, len(rest))
	for len(rest) > 0 {
		best, fewest := 0, -1
		for i, t := range rest {
			if n := parentsWaiting(name(t), parents(t), waiting); fewest < 0 || n < fewest {
				best, fewest = i, n
			}
			if fewest == 0 {
				break
			}
		}
		ordered = append(ordered, rest[best])
		delete(waiting, name(rest[best]))
		rest = slices.Delete(rest, best, best+1)
	}
	return ordered
}

// parentsWaiting counts the tables that one refers to and that are still to
// come.
func parentsWaiting(name string, parents []string, waiting map[string]bool) int {
	seen := map[string]bool{name: true}
	n := 0
	for _, p := range parents {
		if waiting[p] && !seen[p] {
			seen[p] = true
			n++
		}
	}
	return n
}
