package change

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Most text needs no escape, so what costs time is to find that out. The
// functions here look at eight bytes at once ("SWAR": SIMD within a register;
// see Mycroft's test for a zero byte, https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord).
//
// In a word, (w - 0x20…) has the high bit of a byte set when that byte is
// below 0x20 and no lower byte borrowed from it. A borrow comes only from a
// byte that was itself a hit, so the lowest bit that is set is always true.
const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	spaces = 0x20 * ones
	quotes = '"' * ones
	slashs = '\\' * ones
)

// special returns the high bit of every byte of w that must not stand as it
// is inside a JSON string: a control, a quote or a backslash. Only the lowest
// bit that is set is sure.
func special(w uint64) uint64 {
	q, b := w^quotes, w^slashs
	return ((w-spaces)&^w | (q-ones)&^q | (b-ones)&^b) & highs
}

// isSpecial says the same of one byte.
func isSpecial(c byte) bool { return c < 0x20 || c == '"' || c == '\\' }

// indexSpecial returns the index of the first byte of s at or after i that
// special tells of, or len(s), and whether a byte from i up to there is not
// ASCII.
func indexSpecial(s []byte, i int) (at int, high bool) {
	var seen uint64
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		if m := special(w); m != 0 {
			n := bits.TrailingZeros64(m) &^ 7 // bits in front of the hit
			below := w & (1<<n - 1)
			return i + n/8, (seen|below)&highs != 0
		}
		seen |= w
	}
	high = seen&highs != 0
	for ; i < len(s); i++ {
		c := s[i]
		if isSpecial(c) {
			break
		}
		high = high || c >= 0x80
	}
	return i, high
}

// validUTF8 is utf8.Valid, twice as fast where accents are few: it goes on in
// words behind each of them.
func validUTF8(s []byte) bool {
	for len(s) >= 8 {
		m := binary.LittleEndian.Uint64(s) & highs
		if m == 0 {
			s = s[8:]
			continue
		}
		s = s[bits.TrailingZeros64(m)/8:]
		n := 2 // of the commonest, U+0080 to U+07FF
		if s[0] < 0xC2 || s[0] > 0xDF || len(s) < 2 || s[1]&0xC0 != 0x80 {
			var r rune
			if r, n = utf8.DecodeRune(s); r == utf8.RuneError && n == 1 {
				return false
			}
		}
		s = s[n:]
	}
	return utf8.Valid(s)
}
