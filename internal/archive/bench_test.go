package archive

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// rows returns lines like those of a price list, n bytes of them.
func rows(n, seed int) []byte {
	b := append(make([]byte, 0, n+300), `{"table":"article","op":"upsert","columns":["code","label"]}`+"\n"...)
	x := uint32(seed*2654435761 + 1)
	rnd := func(n int) int { x ^= x << 13; x ^= x >> 17; x ^= x << 5; return int(x) % n & 0xffffff }
	for i := seed * 50000; len(b) < n; i++ {
		b = fmt.Appendf(b, "[%d,\"ART%07d\",\"%013d\",\"Pâte à tartiner %d g\",\"famille-%d\",%d,%d.%02d,5.5,%d,%d,\"N\",\"PCE\",null,1,\"2026-02-%02d 10:%02d:%02d\",\"fournisseur %d\"]\n",
			i, i, 3017620000000+rnd(1<<24), rnd(1000), rnd(40), rnd(300), rnd(900), rnd(100), 349+rnd(5000), 200+rnd(3000), 1+rnd(28), rnd(60), rnd(60), rnd(2000))
	}
	return b
}

// bodies returns some 64 MiB of members, not all alike.
func bodies() (all [][]byte, size int64) {
	for i := range 8 {
		b := rows(8<<20, i)
		all = append(all, b)
		size += int64(len(b))
	}
	return all, size
}

func BenchmarkWriter(b *testing.B) {
	all, size := bodies()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		for i, body := range all {
			if _, err := w.Add(fmt.Sprintf("data/article.%04d.ndjson", i+1), append(w.Buffer(), body...)); err != nil {
				b.Fatal(err)
			}
		}
		s, err := w.Close()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Size)/float64(size)*100, "%ofraw")
	}
}

func benchArchive(b *testing.B) (file []byte, members []Member, sum Sum, size int64) {
	all, size := bodies()
	var buf bytes.Buffer
	w, err := NewWriter(&buf)
	if err != nil {
		b.Fatal(err)
	}
	for i, body := range all {
		name := fmt.Sprintf("data/article.%04d.ndjson", i+1)
		n := int64(len(body))
		digest, err := w.Add(name, body)
		if err != nil {
			b.Fatal(err)
		}
		members = append(members, Member{name, n, digest})
	}
	if sum, err = w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes(), members, sum, size
}

func BenchmarkReader(b *testing.B) {
	file, members, sum, size := benchArchive(b)
	b.SetBytes(size)
	b.ReportAllocs()
	buf := make([]byte, 64<<10)
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(file), members, sum.TarSize)
		if err != nil {
			b.Fatal(err)
		}
		for {
			_, body, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, buf); err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
	}
}

// BenchmarkCheck is of the compressed bytes.
func BenchmarkCheck(b *testing.B) {
	file, _, sum, _ := benchArchive(b)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if err := Check(bytes.NewReader(file), sum); err != nil {
			b.Fatal(err)
		}
	}
}
