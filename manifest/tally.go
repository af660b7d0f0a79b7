package manifest

import (
	"fmt"
	"strconv"
)

// A Tally adds up control totals, row by row. Writer and reader of a batch
// both make one, and compare. The operation base counts for nothing.
type Tally struct {
	tables []*TableTally
	byName map[string]*TableTally
}

// A TableTally is the part of a [Tally] for one table.
type TableTally struct {
	name    string
	columns []string
	sums    []decimal
	rows    int64
	numbers Ranges
	pieces  bool // numbers were in too many pieces
}

// NewTally returns an empty Tally for the uploads, in their order.
func NewTally(uploads []Upload) *Tally {
	t := &Tally{byName: make(map[string]*TableTally, len(uploads))}
	for _, u := range uploads {
		t.table(u.Table, u.Sums)
	}
	return t
}

// TallyLike returns an empty Tally that can be compared with totals: it sums
// the columns that they do. So a reader checks a batch whose writer did not
// know yet, or not any more, what is to be summed.
func TallyLike(totals []Total) *Tally {
	t := &Tally{byName: make(map[string]*TableTally, len(totals))}
	for _, o := range totals {
		columns := make([]string, len(o.Sums))
		for i, s := range o.Sums {
			columns[i] = s.Column
		}
		t.table(o.Table, columns)
	}
	return t
}

func (t *Tally) table(name string, columns []string) *TableTally {
	if have := t.byName[name]; have != nil {
		return have
	}
	n := &TableTally{name: name, columns: columns, sums: make([]decimal, len(columns))}
	t.tables, t.byName[name] = append(t.tables, n), n
	return n
}

// Table returns the part for one table, for whoever has many rows of it. A
// table that the Tally did not know yet has no sums.
func (t *Tally) Table(name string) *TableTally { return t.table(name, nil) }

// Row counts a row of a table.
func (t *Tally) Row(table string) { t.Table(table).Row() }

// Int adds to the sum of a column. One that is not summed is passed over.
func (t *Tally) Int(table, column string, v int64) {
	if i := t.Table(table).Column(column); i >= 0 {
		t.Table(table).AddInt(i, v)
	}
}

// Decimal adds a text such as "12.50" to the sum of a column.
func (t *Tally) Decimal(table, column, text string) error {
	if i := t.Table(table).Column(column); i >= 0 {
		return t.Table(table).AddText(i, text)
	}
	return nil
}

// Number notes one of the numbers that count without gaps.
func (t *Tally) Number(table string, n int64) { t.Table(table).AddNumber(n) }

// Name returns the table's name.
func (t *TableTally) Name() string { return t.name }

// Columns returns the columns that are summed, borrowed.
func (t *TableTally) Columns() []string { return t.columns }

// Column returns the index of a summed column, -1 when it is not summed.
func (t *TableTally) Column(name string) int {
	for i, c := range t.columns {
		if c == name {
			return i
		}
	}
	return -1
}

// Row counts a row.
func (t *TableTally) Row() { t.rows++ }

// AddInt adds to the sum with that index.
func (t *TableTally) AddInt(i int, v int64) { t.sums[i].addInt(v) }

// AddReal adds the shortest decimal that reads back as f. What is not finite
// adds nothing.
func (t *TableTally) AddReal(i int, f float64) { t.sums[i].addReal(f) }

// AddText adds a decimal such as "12.50". A text that is none adds nothing,
// and is an error; who passes over it on both sides still gets equal sums.
func (t *TableTally) AddText(i int, s string) error {
	if err := t.sums[i].addText(s); err != nil {
		return fmt.Errorf("%s.%s: %q is %w", t.name, t.columns[i], Clip(s, 60), err)
	}
	return nil
}

// AddNumber notes one of the numbers that count without gaps. Negative ones
// are passed over.
func (t *TableTally) AddNumber(n int64) {
	if t.pieces {
		return
	}
	t.numbers.Add(n, n)
	if len(t.numbers) > maxPieces {
		t.numbers, t.pieces = nil, true
	}
}

// maxPieces bounds the memory for numbers that come in any order, 16 MiB;
// [MaxPieces] is asked at the end, when holes have filled.
const maxPieces = 1 << 20

// Totals returns the totals of the tables that have rows, in the order that
// the Tally was made with. Numbers in more than [MaxPieces] ranges are left
// out.
func (t *Tally) Totals() []Total {
	var out []Total
	for _, n := range t.tables {
		if n.rows > 0 {
			out = append(out, n.total())
		}
	}
	return out
}

func (t *TableTally) total() Total {
	o := Total{Table: t.name, Rows: strconv.FormatInt(t.rows, 10), Sums: []Sum{}, Numbers: []string{}}
	for i := range t.sums {
		o.Sums = append(o.Sums, Sum{Column: t.columns[i], Sum: t.sums[i].String()})
	}
	if len(t.numbers) <= MaxPieces {
		o.Numbers = FormatRanges(t.numbers)
	}
	return o
}
