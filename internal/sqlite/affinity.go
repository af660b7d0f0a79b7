package sqlite

import "strings"

// affinityKind is what SQLite makes of a column's declared type
// (https://www.sqlite.org/datatype3.html#determination_of_column_affinity).
type affinityKind int

const (
	affinityBlob affinityKind = iota // converts nothing
	affinityText
	affinityNumeric
	affinityInteger
	affinityReal
)

// affinityOf returns the affinity of a declared type. That of ANY is taken as
// a STRICT table has it, where it converts nothing; in other tables it is
// NUMERIC, which only makes 1.0 out of a changed 1 look like a change.
func affinityOf(declared string) affinityKind {
	d := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(d, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return affinityInteger
	case has("CHAR", "CLOB", "TEXT"):
		return affinityText
	case d == "" || has("BLOB") || d == "ANY":
		return affinityBlob
	case has("REAL", "FLOA", "DOUB"):
		return affinityReal
	}
	return affinityNumeric
}
