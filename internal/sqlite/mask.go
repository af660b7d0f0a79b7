package sqlite

import (
	"fmt"
	"strings"

	"caisseauto/internal/sqlite/sqlite3"
)

// maxSets is the largest number of different column sets that the patches of
// one table are sorted into. Rows of rarer sets share one that covers all of
// them: a member of its own for a handful of rows would cost more than the
// columns that are shipped needlessly.
const maxSets = 32

// masks looks at which masks there are, and returns the expression that
// brings those of one key together, with all bits that it can have: SQLite
// has no aggregate for OR, and one max() per bit is only worth having for
// the bits that occur.
func (d *delta) masks() (expr string, seen int64, err error) {
	if !d.patches || !d.captured.masks {
		return "NULL", 0, nil
	}
	different := 0
	err = d.e.db.Query("SELECT mask FROM caisseauto_journal WHERE "+d.entries()+" AND mask >= 0 GROUP BY mask",
		func(s *sqlite3.Stmt) error { different++; seen |= s.Int(0); return nil }, d.args...)
	if err != nil || different == 0 {
		return "NULL", 0, err
	}
	shipped := d.shippedBits()
	seen &= shipped
	var or []string
	for rest := uint64(seen); different > 1 && rest != 0; rest &= rest - 1 {
		or = append(or, fmt.Sprintf("max(mask & %d)", rest&-rest))
	}
	if different == 1 {
		or = []string{fmt.Sprintf("max(mask) & %d", shipped)}
	}
	if len(or) == 0 {
		or = []string{"0"}
	}
	return "CASE WHEN count(mask) < count(*) OR min(mask) < 0 THEN NULL ELSE " + strings.Join(or, " | ") + " END", seen, nil
}

// shippedBits returns the bits of the tracked columns that the stream ships.
func (d *delta) shippedBits() (shipped int64) {
	for i, name := range d.tracked {
		if i < maskBits && containsName(d.columnNames(), name) {
			shipped |= 1 << i
		}
	}
	return shipped
}

// commonSets returns the most frequent column sets when there are too many,
// else none.
func (d *delta) commonSets(mask string) (top []int64, err error) {
	err = d.e.db.Query("SELECT m FROM ("+d.grouped(mask)+") WHERE m IS NOT NULL GROUP BY m ORDER BY count(*) DESC, m LIMIT "+fmt.Sprint(maxSets+1),
		func(s *sqlite3.Stmt) error { top = append(top, s.Int(0)); return nil }, d.bound...)
	if len(top) <= maxSets {
		return nil, err
	}
	return top[:maxSets-1], err
}

func join(numbers []int64) string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = fmt.Sprint(n)
	}
	return strings.Join(list, ", ")
}
