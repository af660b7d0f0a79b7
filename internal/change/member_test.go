package change

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// wide is a member of rows of several kinds, each line of another length.
func wide(n int) (Header, [][]Value, []byte) {
	h := Header{"article", Upsert, []string{"code", "label", "photo"}}
	member := AppendHeader(nil, h)
	var rows [][]Value
	for i := range n {
		r := []Value{whole(int64(i)), text(strings.Repeat("Pâte \"à\" tartiner\n", i%7)), blob(strings.Repeat("\x00\xff", i%300))}
		rows = append(rows, r)
		member = AppendRow(member, r)
	}
	return h, rows, member
}

// collect reads all rows, and copies them.
func collect(t *testing.T, r BlockReader) (rows [][]Value, err error) {
	t.Helper()
	for {
		b, err := r.Next()
		if err != nil {
			return rows, err
		}
		if b.Rows() == 0 || b.Rows() > BlockRows {
			t.Fatalf("a block of %d rows", b.Rows())
		}
		b = b.Clone()
		for i := range b.Rows() {
			rows = append(rows, b.Row(i))
		}
	}
}

func TestMemberReader(t *testing.T) {
	for _, n := range []int{0, 1, 2, BlockRows - 1, BlockRows, BlockRows + 1, 3000} {
		h, want, member := wide(n)
		for name, r := range map[string]io.Reader{
			"whole":          bytes.NewReader(member),
			"byte by byte":   iotest.OneByteReader(bytes.NewReader(member)),
			"halves":         iotest.HalfReader(bytes.NewReader(member)),
			"data with EOF":  iotest.DataErrReader(bytes.NewReader(member)),
			"chunks of 1000": &chunks{bytes.NewReader(member), 1000},
		} {
			m, err := NewMemberReader(r)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&h, m.Header()); d != "" {
				t.Errorf("header (-want +got):\n%s", d)
			}
			got, err := collect(t, m)
			if err != io.EOF || m.Rows() != int64(n) {
				t.Fatalf("%d rows, %s: %v after %d rows", n, name, err, m.Rows())
			}
			sameRows(t, want, got)
			if _, err := m.Next(); err != io.EOF {
				t.Errorf("Next after the end: %v", err)
			}
		}
	}
}

// sameRows compares rows by their lines, which TestExactValues makes right.
func sameRows(t *testing.T, want, got [][]Value) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		if w, g := AppendRow(nil, want[i]), AppendRow(nil, got[i]); !bytes.Equal(w, g) {
			t.Fatalf("row %d is %s, want %s", i, g, w)
		}
	}
}

type chunks struct {
	r io.Reader
	n int
}

func (c *chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }

// TestTwoBlocks keeps one block while the next is read, as a Pipe does.
func TestTwoBlocks(t *testing.T) {
	_, want, member := wide(1500)
	m, err := NewMemberReader(bytes.NewReader(member))
	if err != nil {
		t.Fatal(err)
	}
	var blocks [3]Block
	at := 0
	for i := 0; ; i++ {
		err := m.Fill(&blocks[i%3])
		if i >= 2 { // two more were read since this one
			b := &blocks[(i-2)%3]
			for j := range b.Rows() {
				sameRows(t, want[at:at+1], [][]Value{b.Row(j)})
				at++
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if at == 0 {
		t.Fatal("no block was compared")
	}
}

// TestLargeRows has lines around the longest that is allowed.
func TestLargeRows(t *testing.T) {
	h := Header{"t", Upsert, []string{"a"}}
	row := func(n int) []byte { // a line of n bytes
		return AppendRow(nil, []Value{text(strings.Repeat("x", n-len("[\"\"]\n")))})
	}
	for _, n := range []int{chunk - 1, chunk, chunk + 1, 1 << 20, MaxLine - 1, MaxLine} {
		small := row(20)
		member := bytes.Join([][]byte{AppendHeader(nil, h), small, row(n), small, row(n), small}, nil)
		m, err := NewMemberReader(bytes.NewReader(member))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := collect(t, m); err != io.EOF || m.Rows() != 5 {
			t.Errorf("rows of %d bytes: %v after %d rows", n, err, m.Rows())
		}
	}
	for _, end := range []string{"", "\n"} {
		member := append(AppendHeader(nil, h), row(30)...)
		member = append(append(member, bytes.TrimSuffix(row(MaxLine+1), []byte("\n"))...), end...)
		m, err := NewMemberReader(bytes.NewReader(member))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := collect(t, m); err == nil || !strings.Contains(err.Error(), "row 2: line is longer") {
			t.Errorf("line of more than MaxLine: %v", err)
		}
	}
}

// TestEndlessLine: what never ends is given up, and not much was read.
func TestEndlessLine(t *testing.T) {
	head := string(AppendHeader(nil, Header{"t", Upsert, []string{"a"}}))
	for _, start := range []string{"", head, head + "[\""} {
		r := &counted{r: io.MultiReader(strings.NewReader(start), forever{})}
		m, err := NewMemberReader(r)
		if err == nil {
			_, err = m.Next()
		}
		if err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%q: %v", start, err)
		}
		if r.n > 3*MaxLine {
			t.Errorf("%q: %d bytes were read", start, r.n)
		}
	}
}

type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestMemberErrors(t *testing.T) {
	broken := errors.New("disk is gone")
	head := string(AppendHeader(nil, Header{"article", Upsert, []string{"code", "price"}}))
	for _, tc := range []struct {
		name string
		in   io.Reader
		want string
	}{
		{"empty", strings.NewReader(""), "header line: the member ends without a line feed"},
		{"header cut", strings.NewReader(head[:20]), "header line: the member ends"},
		{"header wrong", strings.NewReader("{}\n"), "header line, byte 1"},
		{"row cut", strings.NewReader(head + "[1,2]\n[2,"), "row 2: the member ends without"},
		{"no last line feed", strings.NewReader(head + "[1,2]\n[2,3]"), "row 2: the member ends without"},
		{"empty line", strings.NewReader(head + "[1,2]\n\n[2,3]\n"), "row 2 (column \"code\"): column 1, byte 1"},
		{"second header", strings.NewReader(head + head), "row 1 (column \"code\"): column 1, byte 1"},
		{"wrong value", strings.NewReader(head + "[1,2]\n[2,03]\n"), `row 2 (column "price"): column 2, byte 4: number has a leading zero`},
		{"too many", strings.NewReader(head + "[1,2,3]\n"), "row 1: column 3, byte 5: too many values, want 2"},
		{"CRLF", strings.NewReader(head + "[1,2]\r\n"), "row 1: column 3"},
		{"reader's error in the header", io.MultiReader(strings.NewReader(head[:9]), iotest.ErrReader(broken)), "header line: disk is gone"},
		{"reader's error in a row", io.MultiReader(strings.NewReader(head+"[1,"), iotest.ErrReader(broken)), "row 1: disk is gone"},
		{"reader's error between rows", io.MultiReader(strings.NewReader(head+"[1,2]\n"), iotest.ErrReader(broken)), "disk is gone"},
		{"reader that gives nothing", io.MultiReader(strings.NewReader(head+"[1,2]\n"), nothing{}), io.ErrNoProgress.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := NewMemberReader(tc.in)
			if err == nil {
				_, err = collect(t, m)
				if _, again := m.Next(); again == nil || again.Error() != err.Error() {
					t.Errorf("Next again: %v, want %v", again, err)
				}
			}
			if err == nil || err == io.EOF || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if strings.Contains(tc.name, "reader's") && !errors.Is(err, broken) {
				t.Errorf("error %v does not wrap the reader's", err)
			}
		})
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestManyColumns: a block of a wide table has fewer rows, not more memory.
func TestManyColumns(t *testing.T) {
	h := Header{Table: "large", Op: Upsert}
	row := make([]Value, 2000)
	for i := range row {
		h.Columns = append(h.Columns, fmt.Sprintf("colonne %d", i))
		row[i] = whole(int64(i % 10)) // short, so that many rows fit one chunk
	}
	member := AppendHeader(nil, h)
	for range 100 {
		member = AppendRow(member, row)
	}
	m, err := NewMemberReader(bytes.NewReader(member))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var b *Block
		if b, err = m.Next(); err == nil && len(b.Values) > valuesPerBlock {
			t.Fatalf("a block of %d values", len(b.Values))
		}
	}
	if err != io.EOF || m.Rows() != 100 {
		t.Errorf("%v after %d rows", err, m.Rows())
	}
}

// TestClone: a copy stays when the block is read anew.
func TestClone(t *testing.T) {
	in := []Value{text("a"), blob(""), {}, text(""), whole(7), real(0.5), text("b\nc")}
	h := Header{"t", Upsert, []string{"1", "2", "3", "4", "5", "6", "7"}}
	b := &Block{}
	b.reset(&h)
	b.Values = append(b.Values, in...)
	c := b.Clone()
	if d := cmp.Diff(in, c.Row(0)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	want := string(AppendRow(nil, in))
	in[0].Bytes[0], in[6].Bytes[2] = 'X', 'X'
	b.Values[4].Int = 8
	if got := string(AppendRow(nil, c.Row(0))); got != want {
		t.Errorf("the copy is %s, want %s", got, want)
	}
}
