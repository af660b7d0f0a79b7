package retail

import (
	"errors"
	"fmt"
)

// CheckDigit returns the thirteenth digit of an EAN-13 code of which the
// first twelve are given (GS1 General Specifications, 7.9: weights 1 and 3
// from the left, the sum is filled up to a multiple of ten).
func CheckDigit(twelve string) (byte, error) {
	if len(twelve) != 12 {
		return 0, errors.New("retail: an EAN-13 code has twelve digits before its check digit")
	}
	sum := 0
	for i := range 12 {
		d := int(twelve[i]) - '0'
		if d < 0 || d > 9 {
			return 0, fmt.Errorf("retail: %q is not a digit", twelve[i])
		}
		sum += d * (1 + 2*(i%2))
	}
	return '0' + byte((10-sum%10)%10), nil
}

// ValidEAN13 reports whether code is thirteen digits of which the last one is
// the check digit of the others.
func ValidEAN13(code string) bool {
	if len(code) != 13 {
		return false
	}
	d, err := CheckDigit(code[:12])
	return err == nil && d == code[12]
}

// ean makes the code number n of a prefix of two or three digits. The digits
// look random, and two n below 10^9 never give the same code: 3^18 has no
// factor in common with the power of ten it is reduced by.
func ean(prefix string, n int) string {
	const step = 387_420_489
	room := uint64(1)
	for range 12 - len(prefix) {
		room *= 10
	}
	twelve := fmt.Sprintf("%s%0*d", prefix, 12-len(prefix), uint64(n+1)*step%room)
	d, err := CheckDigit(twelve)
	if err != nil {
		panic(err) // the prefixes are constants of this package
	}
	return twelve + string(d)
}
