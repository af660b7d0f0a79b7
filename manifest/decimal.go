package manifest

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// maxDecimal is the most bytes of a decimal: the shortest form of the smallest
// double has 326, that of the largest 309.
const maxDecimal = 1000

// errDecimal: a text is not a decimal number.
var errDecimal = errors.New("not a decimal number")

// A decimal is an exact sum: small as long as it fits, else num/10^scale.
type decimal struct {
	small int64
	big   *big.Int // what does not fit small, times 10^scale; nil: nothing
	scale int
}

func (d *decimal) addInt(v int64) {
	s := d.small + v
	if (s > d.small) == (v > 0) { // no overflow; also for 0
		d.small = s
		return
	}
	d.addBig(new(big.Int).SetInt64(v), 0)
}

// addText adds a decimal such as "12.50" or "-3", and nothing else.
func (d *decimal) addText(s string) error {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		d.addInt(v)
		return nil
	}
	if len(s) > maxDecimal {
		return errDecimal
	}
	sign, digits := "", s
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		sign, digits = strings.TrimPrefix(digits[:1], "+"), digits[1:]
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	for _, c := range []byte(whole + fraction) {
		if c < '0' || c > '9' {
			return errDecimal
		}
	}
	if whole == "" || fraction == "" && strings.Contains(digits, ".") {
		return errDecimal
	}
	fraction = strings.TrimRight(fraction, "0")
	n, ok := new(big.Int).SetString(sign+whole+fraction, 10)
	if !ok {
		return errDecimal
	}
	d.addBig(n, len(fraction))
	return nil
}

// addReal adds the shortest decimal that reads back as f; what is not finite
// is no amount, and adds nothing.
func (d *decimal) addReal(f float64) {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		d.addInt(int64(f))
		return
	}
	if !math.IsInf(f, 0) && !math.IsNaN(f) {
		_ = d.addText(strconv.FormatFloat(f, 'f', -1, 64)) // always a decimal
	}
}

func (d *decimal) addBig(n *big.Int, scale int) {
	if d.big == nil {
		d.big = new(big.Int)
	}
	if scale > d.scale {
		d.big.Mul(d.big, power(scale-d.scale))
		d.scale = scale
	} else if scale < d.scale {
		n = n.Mul(n, power(d.scale-scale))
	}
	d.big.Add(d.big, n)
}

func power(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// add adds another sum, or with sign -1 takes it away.
func (d *decimal) add(o *decimal, sign int64) {
	n := new(big.Int).Mul(big.NewInt(o.small), big.NewInt(sign))
	d.addBig(n, 0)
	if o.big != nil {
		d.addBig(new(big.Int).Mul(o.big, big.NewInt(sign)), o.scale)
	}
}

// String returns the one form: no exponent, no plus, no zeros at either end,
// no minus before zero.
func (d *decimal) String() string {
	if d.big == nil {
		return strconv.FormatInt(d.small, 10)
	}
	n := new(big.Int).Mul(big.NewInt(d.small), power(d.scale))
	n.Add(n, d.big)
	digits := new(big.Int).Abs(n).String()
	if d.scale > 0 {
		if pad := d.scale + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		point := len(digits) - d.scale
		digits = strings.TrimRight(digits[:point]+"."+digits[point:], "0")
		digits = strings.TrimSuffix(digits, ".")
	}
	if n.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// isDecimal reports whether s is a decimal in its one form.
func isDecimal(s string) bool {
	var d decimal
	return d.addText(s) == nil && d.String() == s
}
