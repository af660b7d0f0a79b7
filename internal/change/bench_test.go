package change

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// articleRows returns n rows like those of a price list: 16 columns, some
// 185 bytes a line.
func articleRows(n int) [][]Value {
	text := func(f string, a ...any) Value { return Value{Kind: Text, Bytes: fmt.Appendf(nil, f, a...)} }
	whole := func(i int) Value { return Value{Kind: Integer, Int: int64(i)} }
	rows := make([][]Value, n)
	for i := range rows {
		rows[i] = []Value{
			whole(i), text("ART%07d", i), text("%013d", 3017620000000+i*7), text("Pâte à tartiner %d g", i%1000),
			text("famille-%d", i%40), whole(i % 300), {Kind: Real, Real: float64(i%9973) / 100}, {Kind: Real, Real: 5.5},
			whole(349 + i%5000), whole(200 + i%3000), text("N"), text("PCE"), {}, whole(1),
			text("2026-02-%02d 10:15:%02d", 1+i%28, i%60), text("Fournisseur régional de Saint-Étienne %d", i%200),
		}
	}
	return rows
}

func BenchmarkAppendRow(b *testing.B) {
	rows := articleRows(1000)
	var dst []byte
	size := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = AppendRow(dst[:0], rows[i%len(rows)])
		size += len(dst)
	}
	b.SetBytes(int64(size / b.N))
}

func BenchmarkParseRow(b *testing.B) {
	var lines [][]byte
	size := 0
	for _, r := range articleRows(1000) {
		lines = append(lines, AppendRow(nil, r))
		size += len(lines[len(lines)-1])
	}
	row := make([]Value, 16)
	var arena []byte
	var err error
	b.SetBytes(int64(size / len(lines)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if arena, err = ParseRow(lines[i%len(lines)], row, arena[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemberReader is a whole member, in rows/s too.
func BenchmarkMemberReader(b *testing.B) {
	const n = 40000
	member := articleMember(n)
	b.SetBytes(int64(len(member)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := NewMemberReader(bytes.NewReader(member))
		for err == nil {
			_, err = m.Next()
		}
		if err != io.EOF || m.Rows() != n {
			b.Fatal(err, m.Rows())
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func articleMember(n int) []byte {
	h := Header{Table: "article", Op: Upsert}
	for i := range 16 {
		h.Columns = append(h.Columns, fmt.Sprintf("c%d", i))
	}
	member := AppendHeader(nil, h)
	for _, r := range articleRows(n) {
		member = AppendRow(member, r)
	}
	return member
}
