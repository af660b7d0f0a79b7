package term

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// A Table collects rows and prints them as aligned columns.
type Table struct {
	head []string
	rows [][]string
}

// NewTable returns a table with these column heads.
func NewTable(heads ...string) *Table { return &Table{head: heads} }

// Row adds a row. Cells beyond the heads are dropped, missing ones are empty.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(t.head))
	for i := range min(len(row), len(cells)) {
		row[i] = Clean(fmt.Sprint(cells[i]))
	}
	t.rows = append(t.rows, row)
}

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Print writes heads and rows. A column but the first whose cells are all numbers, as
// [Count] or [Size] write them, stands to the right. No line ends in blanks.
func (t *Table) Print(w io.Writer) error {
	widths, right := make([]int, len(t.head)), make([]bool, len(t.head))
	for i, h := range t.head {
		widths[i], right[i] = uniseg.StringWidth(h), i > 0 && len(t.rows) > 0
		for _, r := range t.rows {
			widths[i] = max(widths[i], uniseg.StringWidth(r[i]))
			right[i] = right[i] && numeric(r[i])
		}
	}
	var b strings.Builder
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range r {
			if i > 0 {
				line.WriteString("  ")
			}
			blanks := strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell))
			if right[i] {
				line.WriteString(blanks + cell)
			} else {
				line.WriteString(cell + blanks)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// numeric reports whether a cell reads as a number, with or without a unit.
// An empty cell and a dash go with either.
func numeric(s string) bool {
	return s == "" || s == "-" || s[0] >= '0' && s[0] <= '9' && strings.Trim(s, "0123456789.,-+ %KMGTiBnµmsh") == ""
}

// JSON writes v for machines: indented, without HTML escapes, one line feed
// at the end. A machine's output ends up on a terminal as well: see [CleanJSON].
func JSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(CleanJSON(b.Bytes()))
	return err
}
