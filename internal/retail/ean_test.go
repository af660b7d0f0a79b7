package retail

import "testing"

func TestEAN(t *testing.T) {
	// Real articles, and the example of GS1's check digit page (629104150021 → 3).
	for _, code := range []string{"3017620422003", "3228857000852", "4006381333931", "6291041500213", "0000000000000"} {
		if !ValidEAN13(code) {
			t.Errorf("%s is valid", code)
		}
	}
	for _, code := range []string{"", "3017620422004", "301762042200", "30176204220033", "301762042200x", "x017620422003", "3017620422030", "３017620422"} {
		if ValidEAN13(code) {
			t.Errorf("%q is not valid", code)
		}
	}
	if _, err := CheckDigit("30176204220"); err == nil {
		t.Error("eleven digits")
	}
	if d, err := CheckDigit("301762042200"); d != '3' || err != nil {
		t.Errorf("%q %v", d, err)
	}
}

// Any single wrong digit and any swap of neighbours that differ by other than
// five shows.
func FuzzEAN(f *testing.F) {
	f.Add(0, 3)
	f.Add(9_999, 12)
	f.Add(123_456_789, 0)
	f.Fuzz(func(t *testing.T, n, place int) {
		if n < 0 || place < 0 {
			return
		}
		code := []byte(ean("300", n%1_000_000_000))
		if !ValidEAN13(string(code)) {
			t.Fatalf("%s", code)
		}
		i := place % 13
		code[i] = '0' + (code[i]-'0'+1+byte(place/13%9))%10
		if ValidEAN13(string(code)) {
			t.Errorf("%s with a wrong digit at %d", code, i)
		}
	})
}
