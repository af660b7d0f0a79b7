package change

import (
	"math"
	"strconv"
)

// tenThousandths returns |f| in units of 0.0001 when f is the double nearest
// to that decimal and strconv would write it without an exponent: what prices,
// rates and weights are, and a quarter of the time that strconv takes. That
// the decimal is then the shortest one is explained at real.
func tenThousandths(f float64) (k uint64, ok bool) {
	a := math.Abs(f)
	if !(a >= 1e-4 && a < 1e6) { // zero too, for its sign
		return 0, false
	}
	k = uint64(a*1e4 + 0.5)
	return k, float64(k)/1e4 == a
}

// appendDecimal appends k ten-thousandths with as few digits as possible, but
// one behind the point.
func appendDecimal(dst []byte, k uint64, neg bool) []byte {
	if neg {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, k/1e4, 10)
	r := k % 1e4
	digits := [5]byte{'.', byte('0' + r/1000), byte('0' + r/100%10), byte('0' + r/10%10), byte('0' + r%10)}
	n := len(digits)
	for n > 2 && digits[n-1] == '0' {
		n--
	}
	return append(dst, digits[:n]...)
}

// number reads the INTEGER or REAL at i.
func (p *rowParser) number(v *Value, i int) (int, string) {
	start := i
	neg := p.line[i] == '-'
	if neg {
		i++
	}
	first := i
	var m uint64 // wraps beyond 19 digits, which are counted
	for ; i < len(p.line) && p.line[i]-'0' < 10; i++ {
		m = m*10 + uint64(p.line[i]-'0')
	}
	digits := i - first
	switch {
	case digits == 0:
		return i, "expected a digit"
	case digits > 1 && p.line[first] == '0':
		return first, "number has a leading zero"
	}
	switch p.at(i) {
	case '.':
		return p.real(v, start, first, i, m)
	case 'e':
		return p.anyReal(v, start, i)
	}
	return p.integer(v, start, i, digits, m, neg)
}

// integer checks the range of the integer of value m that stands from start
// to end.
func (p *rowParser) integer(v *Value, start, end, digits int, m uint64, neg bool) (int, string) {
	const out = "integer does not fit in 64 bits"
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	if digits > 19 || m > limit {
		return start, out
	}
	if neg && m == 0 {
		return start, "-0 is not an integer"
	}
	n := int64(m)
	if neg {
		n = -n // of 1<<63 it is the smallest integer again
	}
	*v = Value{Kind: Integer, Int: n}
	return end, ""
}

// real reads the REAL whose sign is at start, whose integer part, of value m,
// is from first to dot.
//
// A plain decimal of at most 15 digits is read here: any such decimal is the
// only one of so few digits that its double reads back from (DBL_DIG is 15),
// so to be in its shortest form it only must have no needless zero; and with
// a power of ten up to 22 below it, one division rounds it as exactly as
// strconv does (Clinger, How to Read Floating Point Numbers Accurately, 1990).
// strconv writes a number so from 0.0001 and below 1e6.
func (p *rowParser) real(v *Value, start, first, dot int, m uint64) (int, string) {
	i := dot + 1
	for ; i < len(p.line) && p.line[i]-'0' < 10; i++ {
		m = m*10 + uint64(p.line[i]-'0')
	}
	scale := i - dot - 1
	switch {
	case scale == 0:
		return i, "expected a digit after the point"
	case dot-first > 6 || dot-first+scale > 15 || p.at(i) == 'e':
		return p.anyReal(v, start, i)
	case p.line[i-1] == '0' && scale > 1:
		return i - 1, "real has a needless zero"
	case m != 0 && p.line[first] == '0' && m < smallest(scale):
		return p.anyReal(v, start, i)
	}
	f := float64(m) / pow10[scale]
	if p.line[start] == '-' {
		f = -f
	}
	*v = Value{Kind: Real, Real: f}
	return i, ""
}

// smallest returns what 0.0001 is in units of 10^-scale, 0 when it is less
// than one.
func smallest(scale int) uint64 {
	if scale < 4 {
		return 0
	}
	return uint64(pow10[scale-4])
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// anyReal reads the REAL from start that goes on at i, by writing it again
// and asking for the same bytes.
func (p *rowParser) anyReal(v *Value, start, i int) (int, string) {
	for i < len(p.line) && inNumber(p.line[i]) {
		i++
	}
	src := p.line[start:i]
	if len(src) > maxReal {
		return start, "real is longer than its shortest form"
	}
	f, err := strconv.ParseFloat(string(src), 64)
	if err != nil {
		return start, "real is out of range or malformed"
	}
	var buf [maxReal]byte
	if string(AppendReal(buf[:0], f)) != string(src) {
		return start, "real is not in its shortest form"
	}
	*v = Value{Kind: Real, Real: f}
	return i, ""
}

// maxReal is longer than any double: -2.2250738585072014e-308 has 24 bytes.
const maxReal = 32

func inNumber(c byte) bool {
	return c-'0' < 10 || c == '.' || c == 'e' || c == '+' || c == '-'
}

// infinity reads the infinity from i up to end.
func (p *rowParser) infinity(v *Value, i, end int) (int, string) {
	switch string(p.line[i:end]) {
	case plusInf:
		*v = Value{Kind: Real, Real: math.Inf(1)}
	case minusInf:
		*v = Value{Kind: Real, Real: math.Inf(-1)}
	default:
		return i, "expected +Inf or -Inf"
	}
	return end, ""
}
