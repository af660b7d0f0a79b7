package change

// Kind is a value's storage class, one of the five that SQLite knows
// (https://www.sqlite.org/datatype3.html). It travels with each value, so
// that the integer 3, the real 3.0 and the text "3" stay three different
// values from one database to the other.
type Kind uint8

// The five storage classes.
const (
	Null Kind = iota
	Integer
	Real
	Text
	Blob
)

// A Value is one column of one row. Only the field that belongs to Kind
// counts. Bytes holds the text (any bytes: SQLite does not demand UTF-8) or
// the blob; it is borrowed, and whoever hands out a Value says for how long.
type Value struct {
	Kind  Kind
	Int   int64
	Real  float64
	Bytes []byte
}

// Op says what a member's rows do to a table.
type Op string

// The operations of the format.
const (
	// Upsert carries the whole row: it is inserted, or replaces the row of
	// the same key column by column.
	Upsert Op = "upsert"
	// Patch carries the key and then only the columns that changed; the row
	// exists on the reader's side.
	Patch Op = "patch"
	// Delete carries the key alone.
	Delete Op = "delete"
	// Base carries whole rows as they were when the writer began to change
	// them; it changes nothing itself. A key that is changed later in the
	// batch and has no base row was new. Only streams up have it, before
	// the table's other rows.
	Base Op = "base"
)

// A Header is the first line of a member: what the rows under it are.
// Columns are in the order of the values of each row; for Patch and Delete
// the key columns come first.
type Header struct {
	Table   string
	Op      Op
	Columns []string
}
