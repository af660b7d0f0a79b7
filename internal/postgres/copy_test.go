package postgres

import (
	"fmt"
	"strings"
	"testing"
)

// The text format comes apart as it was put together, wherever the pieces of
// it are cut.
func TestCopyReader(t *testing.T) {
	const copied = "1\ta\\tb\\\\\\nc\\rd\t\\N\n2\t\t\\\\N\n3\té\\b\\f\\v\\\x01x\tlast\n"
	want := []string{`"1" "a\tb\\\nc\rd" NULL`, `"2" "" "\\N"`, `"3" "é\b\f\v\x01x" "last"`}
	for size := 1; size <= len(copied); size++ {
		var got []string
		r := &copyReader{values: make([][]byte, 3), row: func(row [][]byte) error {
			var cells []string
			for _, v := range row {
				if v == nil {
					cells = append(cells, "NULL")
				} else {
					cells = append(cells, fmt.Sprintf("%q", v))
				}
			}
			got = append(got, strings.Join(cells, " "))
			return nil
		}}
		for i := 0; i < len(copied); i += size {
			if _, err := r.Write([]byte(copied[i:min(i+size, len(copied))])); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") || len(r.rest) > 0 {
			t.Fatalf("in pieces of %d:\n%s\nleft %q", size, strings.Join(got, "\n"), r.rest)
		}
	}
	for _, bad := range []string{"1\t2\n", "1\t2\t3\t4\n"} {
		r := &copyReader{values: make([][]byte, 3), row: func([][]byte) error { return nil }}
		if _, err := r.Write([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
