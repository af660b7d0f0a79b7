package change

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestScan holds the word-wise scans against the plain loops that they stand
// for, on bytes of which many are near the limits.
func TestScan(t *testing.T) {
	edge := rapid.OneOf(
		rapid.SampledFrom([]byte{0, 0x1f, 0x20, '!', '"', '#', '[', '\\', ']', 0x7f, 0x80, 0xa0, 0xa2, 0xbf, 0xc2, 0xdc, 0xdf, 0xe0, 0xed, 0xf0, 0xf4, 0xff}),
		rapid.SampledFrom([]byte("abc")), rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOfN(edge, 0, 40).Draw(t, "s")
		if r := rapid.String().Draw(t, "r"); len(s)%2 == 0 {
			s = append(s[:len(s)/2:len(s)/2], r...)
		}
		if got, want := validUTF8(s), utf8.Valid(s); got != want {
			t.Fatalf("validUTF8(%q) = %v", s, got)
		}
		from := rapid.IntRange(0, len(s)).Draw(t, "from")
		at, high := from, false
		for at < len(s) && !isSpecial(s[at]) {
			high = high || s[at] >= 0x80
			at++
		}
		if gotAt, gotHigh := indexSpecial(s, from); gotAt != at || gotHigh != high {
			t.Fatalf("indexSpecial(%q, %d) = %d, %v, want %d, %v", s, from, gotAt, gotHigh, at, high)
		}
	})
}

func FuzzValidUTF8(f *testing.F) {
	for _, s := range []string{"", "Pâte à tartiner", "abcdefgh\xc3", "abcdefg\xc3\xa9h", "\xed\xa0\x80aaaaaaaa", "\xc0\x80aaaaaaaa", "aaaaaaa😀"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		if got, want := validUTF8(s), utf8.Valid(s); got != want {
			t.Errorf("validUTF8(%q) = %v", s, got)
		}
	})
}
