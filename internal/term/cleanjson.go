package term

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// CleanJSON returns JSON that means the same, in which everything that a
// terminal does not simply show is escaped: beyond ASCII that stands in
// strings only, where JSON has \u escapes for all of it.
func CleanJSON(b []byte) []byte {
	var out []byte // nil as long as nothing was odd
	from := 0
	for at := 0; at < len(b); {
		if b[at] < utf8.RuneSelf && b[at] != 0x7f { // JSON itself escapes controls below U+0020
			at++
			continue
		}
		r, n := utf8.DecodeRune(b[at:])
		if odd(r) && !(r == utf8.RuneError && n > 1) {
			out = append(out, b[from:at]...)
			if hi, lo := utf16.EncodeRune(r); r > 0xffff {
				out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			from = at + n
		}
		at += n
	}
	if out == nil {
		return b
	}
	return append(out, b[from:]...)
}
