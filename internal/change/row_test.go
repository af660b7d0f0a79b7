package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func text(s string) Value { return Value{Kind: Text, Bytes: []byte(s)} }
func blob(s string) Value { return Value{Kind: Blob, Bytes: []byte(s)} }
func whole(i int64) Value { return Value{Kind: Integer, Int: i} }
func real(f float64) Value {
	return Value{Kind: Real, Real: f}
}

// exact compares values with the bits of reals, so that -0.0 is not 0.0.
var exact = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

// TestExactValues is the table of the format.
func TestExactValues(t *testing.T) {
	for _, tc := range []struct {
		value Value
		want  string
	}{
		{Value{}, `null`},
		{whole(0), `0`},
		{whole(-1), `-1`},
		{whole(1<<53 + 1), `9007199254740993`},
		{whole(math.MaxInt64), `9223372036854775807`},
		{whole(math.MinInt64), `-9223372036854775808`},
		{real(0), `0.0`},
		{real(math.Copysign(0, -1)), `-0.0`},
		{real(3), `3.0`},
		{real(-3), `-3.0`},
		{real(0.1), `0.1`},
		{real(math.Nextafter(0.3, 1)), `0.30000000000000004`}, // 0.1 + 0.2
		{real(19.99), `19.99`},
		{real(0.0001), `0.0001`},
		{real(0.00001), `1e-05`},
		{real(0.00012345), `0.00012345`},
		{real(999999), `999999.0`},
		{real(1000000), `1e+06`},
		{real(123456.789), `123456.789`},
		{real(1234567.89), `1.23456789e+06`},
		{real(123456.123456789), `123456.123456789`},
		{real(9007199254740993), `9.007199254740992e+15`},
		{real(1e15), `1e+15`},
		{real(1e300), `1e+300`},
		{real(5e-324), `5e-324`},
		{real(math.MaxFloat64), `1.7976931348623157e+308`},
		{real(2.2250738585072014e-308), `2.2250738585072014e-308`},
		{real(math.Inf(1)), `{"r":"+Inf"}`},
		{real(math.Inf(-1)), `{"r":"-Inf"}`},
		{text(""), `""`},
		{text("null"), `"null"`},
		{text("3"), `"3"`},
		{text("Pâte à tartiner 400 g"), `"Pâte à tartiner 400 g"`},
		{text("😀 €"), `"😀 €"`},
		{text("\x00"), `"\u0000"`},
		{text("a\x00b\x1fc\x7f"), `"a\u0000b\u001fc` + "\x7f" + `"`},
		{text("\"\\/\b\f\n\r\t"), `"\"\\/\b\f\n\r\t"`},
		{text("<a href='x'>&\u2028\u2029"), `"<a href='x'>&` + "\u2028\u2029" + `"`},
		{text("\ufffd"), "\"\ufffd\""},
		{text("seven b\"seven b\\"), `"seven b\"seven b\\"`},
		{text("\xff"), `{"t":"/w=="}`},
		{text("caf\xe9"), `{"t":"Y2Fm6Q=="}`},
		{text("\xed\xa0\x80"), `{"t":"7aCA"}`}, // half a surrogate pair
		{text("\xc0\x80"), `{"t":"wIA="}`},     // NUL written too long
		{blob(""), `{"b":""}`},
		{blob("\x00\xff\x10"), `{"b":"AP8Q"}`},
		{blob("text"), `{"b":"dGV4dA=="}`},
	} {
		line := AppendRow(nil, []Value{tc.value})
		if got, want := string(line), "["+tc.want+"]\n"; got != want {
			t.Errorf("%+v is %q, want %q", tc.value, got, want)
			continue
		}
		row := make([]Value, 1)
		if _, err := ParseRow(line, row, nil); err != nil {
			t.Errorf("%s: %v", tc.want, err)
		} else if d := cmp.Diff(tc.value, row[0], exact); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.want, d)
		}
		if !json.Valid(line) {
			t.Errorf("%s is not JSON", line)
		}
	}
}

// TestWritesNull: what cannot be in a database becomes NULL, as it would there.
func TestWritesNull(t *testing.T) {
	if got := string(AppendRow(nil, []Value{real(math.NaN()), {Kind: 9}})); got != "[null,null]\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendRow(nil, []Value{{Kind: Text}, {Kind: Blob}})); got != "[\"\",{\"b\":\"\"}]\n" {
		t.Errorf("nil bytes of a text and a blob are empty ones: %q", got)
	}
}

// TestRefusedRows has lines of two columns of which each is wrong in one
// place.
func TestRefusedRows(t *testing.T) {
	for _, tc := range []struct {
		line   string
		column int
		offset int
		reason string
	}{
		{``, 0, 0, "begins with ["},
		{`{`, 0, 0, "begins with ["},
		{`[1,2]`, 2, 5, "one line feed"},
		{"[1,2]\r\n", 2, 5, "one line feed"},
		{"[1,2]\n\n", 2, 5, "one line feed"},
		{"[1,2] \n", 2, 5, "one line feed"},
		{" [1,2]\n", 0, 0, "begins with ["},
		{"[ 1,2]\n", 0, 1, "expected a value"},
		{"[1, 2]\n", 1, 3, "expected a value"},
		{"[1 ,2]\n", 1, 2, "comma"},
		{"[]\n", 0, 1, "expected a value"},
		{"[1]\n", 1, 2, "too few"},
		{"[1,]\n", 1, 3, "expected a value"},
		{"[1,2,3]\n", 2, 4, "too many"},
		{"[1,2,]\n", 2, 4, "too many"},
		{"[1,2\n", 2, 4, "comma or the end"},
		{"[1,[2]]\n", 1, 3, "expected a value"},
		{"[1,{}]\n", 1, 3, "expected {"},
		{"[1,true]\n", 1, 3, "expected a value"},
		{"[1,nul]\n", 1, 3, "expected null"},
		{"[1,n", 1, 3, "expected null"},
		{"[1,nullx]\n", 2, 7, "comma or the end"},
		{"[1,NaN]\n", 1, 3, "expected a value"},
		// integers
		{"[1,01]\n", 1, 3, "leading zero"},
		{"[1,-01]\n", 1, 4, "leading zero"},
		{"[1,-]\n", 1, 4, "expected a digit"},
		{"[1,+1]\n", 1, 3, "expected a value"},
		{"[1,-0]\n", 1, 3, "-0 is not"},
		{"[1,9223372036854775808]\n", 1, 3, "64 bits"},
		{"[1,-9223372036854775809]\n", 1, 3, "64 bits"},
		{"[1,18446744073709551617]\n", 1, 3, "64 bits"},
		{"[1,92233720368547758070]\n", 1, 3, "64 bits"},
		{"[1,0x10]\n", 2, 4, "comma or the end"},
		// reals
		{"[1,1.]\n", 1, 5, "after the point"},
		{"[1,.5]\n", 1, 3, "expected a value"},
		{"[1,1.50]\n", 1, 6, "needless zero"},
		{"[1,0.00]\n", 1, 6, "needless zero"},
		{"[1,00.5]\n", 1, 3, "leading zero"},
		{"[1,1.5e0]\n", 1, 3, "shortest form"},
		{"[1,1e5]\n", 1, 3, "shortest form"},
		{"[1,1E6]\n", 2, 4, "comma or the end"},
		{"[1,1e6]\n", 1, 3, "shortest form"},
		{"[1,1e+6]\n", 1, 3, "shortest form"},
		{"[1,10e+06]\n", 1, 3, "shortest form"},
		{"[1,1000000.0]\n", 1, 3, "shortest form"},
		{"[1,0.00001]\n", 1, 3, "shortest form"},
		{"[1,0.1000000000000000055]\n", 1, 3, "shortest form"},
		{"[1,0.30000000000000001]\n", 1, 3, "shortest form"},
		{"[1,1e+400]\n", 1, 3, "out of range"},
		{"[1,1e-400]\n", 1, 3, "shortest form"},
		{"[1,1.5.5]\n", 2, 6, "comma or the end"},
		{"[1,1e]\n", 1, 3, "malformed"},
		{"[1,1e+06.5]\n", 1, 3, "malformed"},
		{"[1,0." + strings.Repeat("3", 200) + "]\n", 1, 3, "longer than its shortest"},
		{`[1,{"r":"Inf"}]` + "\n", 1, 3, "+Inf"},
		{`[1,{"r":"NaN"}]` + "\n", 1, 3, "+Inf"},
		// texts
		{"[1,\"a]\n", 1, 6, "does not end"},
		{"[1,\"a", 1, 5, "does not end"},
		{"[1,\"a\tb\"]\n", 1, 5, "control"},
		{"[1,\"a\x00b\"]\n", 1, 5, "control"},
		{"[1,\"\\n\x01\"]\n", 1, 6, "control"},
		{"[1,\"\xff\"]\n", 1, 4, "UTF-8"},
		{"[1,\"caf\xe9 et plus long\"]\n", 1, 4, "UTF-8"},
		{"[1,\"\\n\xff\"]\n", 1, 4, "UTF-8"},
		{"[1,\"\xff\\n\"]\n", 1, 4, "UTF-8"},
		{`[1,"\/"]` + "\n", 1, 4, "escape"},
		{`[1,"\x"]` + "\n", 1, 4, "escape"},
		{`[1,"\`, 1, 4, "escape"},
		{`[1,"\u00`, 1, 4, "escape"},
		{`[1,"\u000a"]` + "\n", 1, 4, "escape"},
		{`[1,"\u001F"]` + "\n", 1, 4, "escape"},
		{`[1,"\u0020"]` + "\n", 1, 4, "escape"},
		{`[1,"\u0041"]` + "\n", 1, 4, "escape"},
		{`[1,"\u00e9"]` + "\n", 1, 4, "escape"},
		{`[1,"\ud83d\ude00"]` + "\n", 1, 4, "escape"},
		{`[1,"\u000g"]` + "\n", 1, 4, "escape"},
		{`[1,"\u00:0"]` + "\n", 1, 4, "escape"},
		{`[1,'a']` + "\n", 1, 3, "expected a value"},
		// base64
		{`[1,{"b":"AP8"}]` + "\n", 1, 9, "base64"},
		{`[1,{"b":"AP8Q="}]` + "\n", 1, 9, "base64"},
		{`[1,{"b":"AP8_"}]` + "\n", 1, 9, "base64"},
		{`[1,{"b":"AB=="}]` + "\n", 1, 9, "base64"}, // bits after the last byte
		{`[1,{"b":"AP 8Q"}]` + "\n", 1, 9, "base64"},
		{`[1,{"b":"AP8Q` + "\n" + `"}]` + "\n", 1, 13, `expected "}`},
		{`[1,{"b":"AP8Q\n"}]` + "\n", 1, 13, `expected "}`},
		{`[1,{"b":"AP8Q",}]` + "\n", 1, 13, `expected "}`},
		{`[1,{"b":"AP8Q"`, 1, 13, `expected "}`},
		{`[1,{"b": "AP8Q"}]` + "\n", 1, 3, "expected {"},
		{`[1,{"b":null}]` + "\n", 1, 3, "expected {"},
		{`[1,{"x":"AP8Q"}]` + "\n", 1, 5, `"b", "t" or "r"`},
		{`[1,{"t":"Y2Fm"}]` + "\n", 1, 3, "must be a string"},
		{`[1,{"t":""}]` + "\n", 1, 3, "must be a string"},
		{`[1,{"t":"!"}]` + "\n", 1, 9, "base64"},
	} {
		_, err := ParseRow([]byte(tc.line), make([]Value, 2), nil)
		var bad *RowError
		if !errors.As(err, &bad) {
			t.Errorf("%q: error %v, want a RowError", tc.line, err)
			continue
		}
		if bad.Column != tc.column || bad.Offset != tc.offset || !strings.Contains(bad.Reason, tc.reason) {
			t.Errorf("%q: %+v, want column %d, offset %d, %q", tc.line, *bad, tc.column, tc.offset, tc.reason)
		}
	}
}

// TestReals holds both short cuts, of writing and of reading, against strconv
// alone: decimals of a few digits, and the doubles beside them.
func TestReals(t *testing.T) {
	row := make([]Value, 1)
	for digits := int64(1); digits < 1e15; digits = digits*3 + digits%7 {
		for scale := range 20 {
			f, err := strconv.ParseFloat(fmt.Sprintf("%de-%d", digits, scale), 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []float64{f, -f, math.Nextafter(f, 0), math.Nextafter(f, math.Inf(1))} {
				want := strconv.FormatFloat(f, 'g', -1, 64)
				if !strings.ContainsAny(want, ".e") {
					want += ".0"
				}
				line := AppendRow(nil, []Value{real(f)})
				if string(line) != "["+want+"]\n" {
					t.Fatalf("%g is written %s", f, line)
				}
				if _, err := ParseRow(line, row, nil); err != nil || row[0].Kind != Real || row[0].Real != f {
					t.Fatalf("%s is read as %+v, %v", line, row[0], err)
				}
			}
		}
	}
}

// TestKindsStayApart: a text of digits, an integer and a real stay
// three values.
func TestKindsStayApart(t *testing.T) {
	in := []Value{whole(3), real(3), text("3"), blob("3"), {}, text("null"), blob(""), text("")}
	row := make([]Value, len(in))
	if _, err := ParseRow(AppendRow(nil, in), row, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, row); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// values are drawn with what is likely to go wrong: escapes and runes across
// the borders of a word, reals of few and of many digits.
func values() *rapid.Generator[Value] {
	piece := rapid.SampledFrom([]string{"a", "abcdefg", "é", "€", "😀", "\"", "\\", "\n", "\x00", "\x1f", "\x7f", "\xff", "\xe9", "/", "u0041", " "})
	bytesOf := rapid.Map(rapid.SliceOfN(piece, 0, 20), func(p []string) []byte { return []byte(strings.Join(p, "")) })
	return rapid.OneOf(
		rapid.Just(Value{}),
		rapid.Map(rapid.Int64(), whole),
		rapid.Map(rapid.Int64Range(-1000, 1000), whole),
		rapid.Map(rapid.Float64(), real),
		rapid.Map(rapid.Uint64(), func(b uint64) Value {
			if f := math.Float64frombits(b); f == f {
				return real(f)
			}
			return Value{}
		}),
		rapid.Custom(func(t *rapid.T) Value {
			m, e := rapid.Int64Range(-1e15, 1e15).Draw(t, "m"), rapid.IntRange(-20, 10).Draw(t, "e")
			f, _ := strconv.ParseFloat(strconv.FormatInt(m, 10)+"e"+strconv.Itoa(e), 64)
			return real(f)
		}),
		rapid.Map(bytesOf, func(b []byte) Value { return Value{Kind: Text, Bytes: b} }),
		rapid.Map(rapid.String(), text),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) Value { return Value{Kind: Blob, Bytes: b} }),
	)
}

func TestRoundTrip(t *testing.T) {
	var arena []byte
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(values(), 1, 64).Draw(t, "row")
		line := AppendRow([]byte("before"), in)[len("before"):]
		row := make([]Value, len(in))
		var err error
		if arena, err = ParseRow(line, row, arena[:0]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if d := cmp.Diff(in, row, exact); d != "" {
			t.Fatalf("%s (-want +got):\n%s", line, d)
		}
		oracle(t, line, row)
	})
}

// oracle reads line with encoding/json and wants the same values.
func oracle(t interface{ Fatalf(string, ...any) }, line []byte, row []Value) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var got []any
	if err := d.Decode(&got); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", line, err)
	}
	if len(got) != len(row) {
		t.Fatalf("encoding/json reads %d values from %q, want %d", len(got), line, len(row))
	}
	for i, v := range row {
		if !same(got[i], v) {
			t.Fatalf("encoding/json reads %v (%T) as value %d of %q, want %+v", got[i], got[i], i, line, v)
		}
	}
}

func same(got any, v Value) bool {
	switch g := got.(type) {
	case nil:
		return v.Kind == Null
	case string:
		return v.Kind == Text && utf8.Valid(v.Bytes) && g == string(v.Bytes)
	case json.Number:
		if v.Kind == Integer {
			n, err := strconv.ParseInt(g.String(), 10, 64)
			return err == nil && n == v.Int
		}
		f, err := g.Float64()
		return err == nil && v.Kind == Real && strings.ContainsAny(g.String(), ".e") && math.Float64bits(f) == math.Float64bits(v.Real)
	case map[string]any:
		return len(g) == 1 && sameTagged(g, v)
	}
	return false
}

func sameTagged(g map[string]any, v Value) bool {
	for tag, body := range g {
		s, _ := body.(string)
		b, err := base64.StdEncoding.DecodeString(s)
		switch tag {
		case "b":
			return err == nil && v.Kind == Blob && bytes.Equal(b, v.Bytes)
		case "t":
			return err == nil && v.Kind == Text && !utf8.Valid(v.Bytes) && bytes.Equal(b, v.Bytes)
		case "r":
			return v.Kind == Real && (s == "+Inf" && math.IsInf(v.Real, 1) || s == "-Inf" && math.IsInf(v.Real, -1))
		}
	}
	return false
}

// FuzzParseRow: whatever is accepted is what the writer writes, and what
// encoding/json reads.
func FuzzParseRow(f *testing.F) {
	for _, s := range []string{
		`[null]`, `[1,-2,0]`, `[9223372036854775807,-9223372036854775808]`, `[3.0,-0.0,1e+300,5e-324,0.0001,1e-05]`,
		`[0.30000000000000004,123456.123456789]`, `["","Pâte à tartiner","a\u0000b\n\"\\"]`, `[{"b":"AP8Q"},{"t":"/w=="},{"r":"-Inf"}]`,
		`[01]`, `["\u0041"]`, `[{"t":"YQ=="}]`, `[1.50]`, `[1,2`, `["\ud83d"]`, `[[1]]`, `[{"b":"AB=="}]`, "[\"\xff\"]", `[9223372036854775808]`,
	} {
		f.Add(uint8(1+strings.Count(s, ",")), []byte(s+"\n"))
	}
	f.Fuzz(func(t *testing.T, n uint8, line []byte) {
		before := bytes.Clone(line)
		row := make([]Value, n)
		_, err := ParseRow(line, row, nil)
		if !bytes.Equal(line, before) {
			t.Fatal("the line was written to")
		}
		if err != nil {
			var bad *RowError
			if !errors.As(err, &bad) || bad.Offset > len(line) || bad.Column > int(n) {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		if again := AppendRow(nil, row); !bytes.Equal(again, line) {
			t.Fatalf("%q was accepted, and is %q", line, again)
		}
		oracle(t, line, row)
	})
}
