package term

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with everything a terminal does not simply show (control
// characters, invisible and direction-changing ones, broken UTF-8) written as
// an escape such as \n or \u202e.
func Clean(s string) string {
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			// The replacement character itself reads as one of its size.
			if _, n := utf8.DecodeRuneInString(s[i:]); n > 1 {
				b.WriteRune(r)
			} else {
				b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
			}
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

func odd(r rune) bool {
	// The narrow no-break space and the no-break space are French typography.
	return r == utf8.RuneError || !unicode.IsPrint(r) && r != '\u00a0' && r != '\u202f'
}
