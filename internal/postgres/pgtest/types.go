//go:build unix

package pgtest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// A Type is a type that a column of an ERP can have, with values of it at the
// ends of its range and where its text is delicate.
type Type struct {
	SQL    string // as a column is declared
	Make   string // the statements that make it, "": it is there
	Since  int    // the first server_version_num that has it, 0: all
	Sent   string // what a manifest declares the column as
	Values []TypeValue
}

// A TypeValue is one value: as an SQL expression for PostgreSQL, and as a
// batch carries it and a till's SQLite stores it, which is an int64, a
// float64, a string (TEXT) or a []byte (BLOB). Every type has NULL besides.
type TypeValue struct {
	SQL  string
	Sent any
}

// Types returns the types that the server of a connection string has.
func Types(t testing.TB, dsn string) []Type {
	t.Helper()
	var version int
	if _, err := fmt.Sscan(Query(t, dsn, "SHOW server_version_num")[0], &version); err != nil {
		t.Fatal(err)
	}
	extensions := Query(t, dsn, "SELECT name FROM pg_available_extensions")
	all := slices.Concat(numberTypes(), textTypes(), timeTypes(), composedTypes(), otherTypes())
	return slices.DeleteFunc(all, func(x Type) bool {
		extension, needs := strings.CutPrefix(x.Make, "CREATE EXTENSION ")
		return x.Since > version || needs && !slices.Contains(extensions, extension)
	})
}

// literals are values whose text is both what PostgreSQL reads and what it
// writes.
func literals(texts ...string) []TypeValue {
	list := make([]TypeValue, len(texts))
	for i, s := range texts {
		list[i] = TypeValue{"'" + strings.ReplaceAll(s, "'", "''") + "'", s}
	}
	return list
}

func integers(numbers ...int64) []TypeValue {
	list := make([]TypeValue, len(numbers))
	for i, n := range numbers {
		list[i] = TypeValue{fmt.Sprintf("'%d'", n), n}
	}
	return list
}

func numberTypes() []Type {
	return []Type{
		{SQL: "smallint", Sent: "smallint", Values: integers(math.MinInt16, 0, math.MaxInt16)},
		{SQL: "integer", Sent: "integer", Values: integers(math.MinInt32, 0, math.MaxInt32)},
		{SQL: "bigint", Sent: "bigint", Values: integers(math.MinInt64, 0, 1<<53+1, math.MaxInt64)},
		{SQL: "oid", Sent: "oid", Values: integers(0, math.MaxUint32)},
		{SQL: "boolean", Sent: "boolean", Values: []TypeValue{{"true", int64(1)}, {"false", int64(0)}}},
		{SQL: "real", Sent: "real", Values: []TypeValue{{"'3.4028235e38'", 3.4028235e38}, {"'-3.4028235e38'", -3.4028235e38}, {"'1.4e-45'", 1e-45},
			{"'1.1754944e-38'", 1.1754944e-38}, {"'0.1'", 0.1}, {"'16777217'", 16777216.0}, {"'3'", 3.0}, {"'-0'", 0.0},
			{"'NaN'", "NaN"}, {"'Infinity'", math.Inf(1)}, {"'-Infinity'", math.Inf(-1)}}},
		{SQL: "double precision", Sent: "double precision", Values: []TypeValue{{"'1.7976931348623157e308'", math.MaxFloat64}, {"'-1.7976931348623157e308'", -math.MaxFloat64},
			{"'5e-324'", math.SmallestNonzeroFloat64}, {"'2.225073858507201e-308'", 2.225073858507201e-308}, {"'0.1'::float8 + '0.2'", 0.30000000000000004},
			{"'9007199254740993'", 9007199254740992.0}, {"'3'", 3.0}, {"'1e23'", 1e23}, {"'-0'", 0.0},
			{"'NaN'", "NaN"}, {"'Infinity'", math.Inf(1)}, {"'-Infinity'", math.Inf(-1)}}},
		{SQL: "numeric(10,2)", Sent: "numeric(10,2) as text", Values: slices.Concat(literals("10.10", "0.00", "-99999999.99", "NaN"), []TypeValue{{"1", "1.00"}})},
		{SQL: "numeric", Sent: "numeric as text", Values: slices.Concat(literals("10.10", "1", "1.0", "-0.001", "12345678901234567.89", "NaN",
			"9"+strings.Repeat("0", 131071), "-0."+strings.Repeat("0", 16382)+"1", "7"), []TypeValue{{"'1e5'", "100000"}, {"'-0'", "0"}})},
		{SQL: "numeric(1000)", Since: 140000, Sent: "numeric(1000,0) as text", Values: literals(strings.Repeat("9", 1000), "-1")},
		{SQL: "numeric(3,-2)", Since: 150000, Sent: "numeric(3,-2) as text", Values: []TypeValue{{"12345", "12300"}, {"-99949", "-99900"}}},
		{SQL: "numeric", Since: 140000, Sent: "numeric as text", Values: literals("Infinity", "-Infinity")},
		{SQL: "money", Sent: "money as text", Values: literals("$0.00", "-$92,233,720,368,547,758.08", "$92,233,720,368,547,758.07")},
	}
}

// unicode is every character that a text of PostgreSQL can hold.
func unicode() string {
	var b strings.Builder
	for c := rune(1); c <= 0x10ffff; c++ {
		if c < 0xd800 || c > 0xdfff {
			b.WriteRune(c)
		}
	}
	return b.String()
}

const unicodeSQL = "(SELECT string_agg(chr(n), '' ORDER BY n) FROM generate_series(1, 1114111) AS n WHERE n NOT BETWEEN 55296 AND 57343)"

func textTypes() []Type {
	bytes256 := make([]byte, 256)
	for i := range bytes256 {
		bytes256[i] = byte(i)
	}
	return []Type{
		{SQL: "text", Sent: "text", Values: slices.Concat(literals("", " ", "007", "1e5", "null", `é "x" \ '`, "a\tb\r\nc\x01\x7f", "e\u0301 \U0001f9fe", "\ufeff", `\x00`, `\N`),
			[]TypeValue{{unicodeSQL, unicode()}, {"repeat('é', 4000000)", strings.Repeat("é", 4000000)}})},
		{SQL: "character varying(5)", Sent: "character varying(5)", Values: literals("", "ab  ", "éàüñœ", "00012")},
		{SQL: "varchar", Sent: "character varying", Values: literals("", "1.0")},
		{SQL: "character(5)", Sent: "character(5)", Values: []TypeValue{{"'ab'", "ab   "}, {"''", "     "}, {"'  éé'", "  éé "}, {"'12345'", "12345"}}},
		{SQL: `"char"`, Sent: `"char"`, Values: literals("x", "7", "")},
		{SQL: "name", Sent: "name as text", Values: literals(strings.Repeat("é", 31)+"x", "")},
		{SQL: "text COLLATE \"C\"", Sent: "text", Values: literals("Z", "a")},
		{SQL: "citext", Make: "CREATE EXTENSION citext", Sent: "public.citext", Values: literals("Abc", "aBC", "10")},
		{SQL: "bytea", Sent: "blob", Values: []TypeValue{{`'\x'`, []byte{}}, {`'\x00'`, []byte{0}}, {`'abc\\'`, []byte(`abc\`)},
			{"(SELECT string_agg(set_byte('\\x00', 0, n), '' ORDER BY n) FROM generate_series(0, 255) AS n)", bytes256},
			{"decode(repeat('a7', 1048576), 'hex')", bytes.Repeat([]byte{0xa7}, 1<<20)}}},
		{SQL: "uuid", Sent: "uuid as text", Values: []TypeValue{{"'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
			{"'00000000000000000000000000000000'", "00000000-0000-0000-0000-000000000000"}}},
		{SQL: "json", Sent: "json as text", Values: literals(`{"b" :  1.10, "a":[ ], "b":"é\u0000\ud83e"}`, "1", " null ", "\n[1e400]\n")},
		{SQL: "jsonb", Sent: "jsonb as text", Values: slices.Concat(literals("null", "1.10", `"1"`), []TypeValue{{`'{"b" :  1.10, "a":[ ], "b":"é"}'`, `{"a": [], "b": "é"}`}})},
		{SQL: "xml", Sent: "xml as text", Values: slices.Concat(literals("<a>é</a> and <b/>", "", "12"), []TypeValue{{`'<?xml version="1.0"?><a/>'`, "<a/>"}})},
		{SQL: "bit(4)", Sent: "bit(4) as text", Values: literals("0101", "0000")},
		{SQL: "bit varying", Sent: "bit varying as text", Values: literals("", "0", "0101", strings.Repeat("10", 500))},
	}
}

func timeTypes() []Type {
	return []Type{
		{SQL: "date", Sent: "date as text", Values: slices.Concat(literals("2024-02-29", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "1970-01-01"))},
		{SQL: "time", Sent: "time without time zone as text", Values: literals("00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.5")},
		{SQL: "time(0)", Sent: "time(0) without time zone as text", Values: []TypeValue{{"'12:00:00.6'", "12:00:01"}}},
		{SQL: "timetz", Sent: "time with time zone as text", Values: literals("00:00:00+15:59", "12:00:00.5+05:30", "24:00:00-15:59:59")},
		{SQL: "timestamp", Sent: "timestamp without time zone as text", Values: literals("2024-07-01 12:00:00", "2000-01-01 00:00:00.000001", "294276-12-31 23:59:59.999999",
			"4713-01-01 00:00:00 BC", "0001-12-31 23:59:59.9 BC", "infinity", "-infinity")},
		{SQL: "timestamptz", Sent: "timestamp with time zone as text", Values: slices.Concat(literals("294276-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC", "infinity", "-infinity",
			"2024-10-27 00:30:00+00", "2024-10-27 01:30:00+00"), []TypeValue{{"'2024-07-01 12:00:00.1+02'", "2024-07-01 10:00:00.1+00"}, {"'1900-01-01 00:00 Europe/Paris'", "1899-12-31 23:50:39+00"}})},
		{SQL: "timestamptz(3)", Sent: "timestamp(3) with time zone as text", Values: literals("2024-07-01 12:00:00.123+00")},
		{SQL: "interval", Sent: "text", Values: literals("00:00:00", "1 year 2 mons -3 days +04:05:06.789", "-1 years -2 mons +3 days -04:05:06", "-00:00:00.000001",
			"178000000 years", "-178000000 years", "24:00:00", "1 day")},
		{SQL: "interval day to second(2)", Sent: "text", Values: literals("3 days 04:05:06.79")},
	}
}

func composedTypes() []Type {
	return []Type{
		{SQL: "integer[]", Sent: "text", Values: literals("{1,NULL,3}", "{{1,2},{3,4}}", "{}", "[0:1]={1,2}", "[-1:0][2:3]={{1,2},{3,NULL}}")},
		{SQL: "text[]", Sent: "text[]", Values: literals(`{"a\"b",NULL,"NULL","","c,d",é,"back\\slash","{}"," "}`, `{{a,b},{"c d",NULL}}`)},
		{SQL: "timestamptz[]", Sent: "timestamp with time zone[] as text", Values: []TypeValue{{"'{2024-07-01 12:00:00+02,infinity}'", `{"2024-07-01 10:00:00+00",infinity}`}}},
		{SQL: "bytea[]", Sent: "bytea[] as text", Values: literals(`{"\\x00ff","\\x",NULL}`)},
		{SQL: "double precision[]", Sent: "double precision[] as text", Values: []TypeValue{{"ARRAY['0.1'::float8 + '0.2', 'NaN', '-0', '1e300']", "{0.30000000000000004,NaN,-0,1e+300}"}}},
		{SQL: "boolean[]", Sent: "boolean[] as text", Values: literals("{t,f,NULL}")},
		{SQL: "numeric(6,2)[]", Sent: "numeric(6,2)[] as text", Values: literals("{10.10,NaN}")},
		{SQL: "json[]", Sent: "json[] as text", Values: literals(`{"{\"a\" :  1}",NULL}`)},
		{SQL: `"print ""mode"`, Make: `CREATE TYPE "print ""mode" AS ENUM ('12', 'é "x"', '', 'a b', '1.0')`, Sent: "text", Values: literals("12", `é "x"`, "", "a b", "1.0")},
		{SQL: "colour", Make: "CREATE TYPE colour AS ENUM ('red', '007')", Sent: "public.colour as text", Values: literals("red", "007")},
		{SQL: "price", Make: "CREATE DOMAIN price AS numeric(12,3) CHECK (VALUE >= 0)", Sent: "numeric(12,3) as text", Values: literals("10.100", "0.000", "NaN")},
		{SQL: "ean13", Make: "CREATE DOMAIN ean13 AS text CHECK (VALUE ~ '^[0-9]{13}$')", Sent: "text", Values: literals("0012345678905")},
		{SQL: "low_price", Make: "CREATE DOMAIN high_price AS numeric(12,3); CREATE DOMAIN low_price AS high_price CHECK (VALUE < 10)", Sent: "numeric(12,3) as text", Values: literals("9.990")},
		{SQL: "positive", Make: "CREATE DOMAIN positive AS bigint DEFAULT 1 CHECK (VALUE > 0)", Sent: "bigint", Values: integers(1, math.MaxInt64)},
		{SQL: "yes", Make: "CREATE DOMAIN yes AS boolean", Sent: "boolean", Values: []TypeValue{{"true", int64(1)}}},
		{SQL: "tags", Make: "CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 9)", Sent: "text[]", Values: literals(`{a,"b c"}`)},
		{SQL: "line_of", Make: "CREATE TYPE line_of AS (n integer, label text, at timestamptz, price numeric(8,2), b boolean)", Sent: "public.line_of as text", Values: []TypeValue{
			{`ROW(1, 'a "b", (c)', '2024-07-01 12:00:00+02', 10.1, true)`, `(1,"a ""b"", (c)","2024-07-01 10:00:00+00",10.10,t)`}, {"ROW(NULL, '', NULL, NULL, NULL)", `(,"",,,)`}}},
		{SQL: "int4range", Sent: "text", Values: slices.Concat(literals("[1,5)", "empty", "(,)", "[-2147483648,)"), []TypeValue{{"'[1,5]'", "[1,6)"}})},
		{SQL: "numrange", Sent: "numrange as text", Values: literals("(1.10,2]", "(,0.0)")},
		{SQL: "tstzrange", Sent: "tstzrange as text", Values: []TypeValue{{"'[2024-07-01 12:00+02,infinity)'", `["2024-07-01 10:00:00+00",infinity)`}}},
		{SQL: "int4multirange", Since: 140000, Sent: "text", Values: literals("{}", "{[1,3),[5,9)}")},
	}
}

func otherTypes() []Type {
	return []Type{
		{SQL: "inet", Sent: "inet as text", Values: literals("10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::1/64")},
		{SQL: "cidr", Sent: "cidr as text", Values: literals("10.0.0.0/8", "::/0")},
		{SQL: "macaddr", Sent: "macaddr as text", Values: literals("08:00:2b:01:02:03")},
		{SQL: "macaddr8", Sent: "macaddr8 as text", Values: literals("08:00:2b:01:02:03:04:05")},
		{SQL: "tsvector", Sent: "tsvector as text", Values: literals("'a b':1A,3 'é''':2", "")},
		{SQL: "tsquery", Sent: "tsquery as text", Values: literals("'a' & !'b':*A", "")},
		{SQL: "point", Sent: "text", Values: literals("(1,2.5)", "(NaN,Infinity)", "(0.30000000000000004,-0)")},
		{SQL: "circle", Sent: "circle as text", Values: literals("<(1,2),3.5>")},
		{SQL: "polygon", Sent: "polygon as text", Values: literals("((0,0),(1,1),(1,0))")},
		{SQL: "box", Sent: "box as text", Values: literals("(1,1),(0,0)")},
		{SQL: "xid8", Sent: "xid8 as text", Values: literals("0", "18446744073709551615")},
		{SQL: "pg_lsn", Sent: "pg_lsn as text", Values: literals("0/0", "FFFFFFFF/FFFFFFFF")},
		{SQL: "jsonpath", Sent: "jsonpath as text", Values: literals(`$."a"[*]`)},
		{SQL: "regclass", Sent: "regclass as text", Values: literals("pg_class", "information_schema.tables")},
		{SQL: "hstore", Make: "CREATE EXTENSION hstore", Sent: "public.hstore as text", Values: literals(`"a"=>"1", "é \""=>NULL`, "")},
		{SQL: "ltree", Make: "CREATE EXTENSION ltree", Sent: "public.ltree as text", Values: literals("a.b.c", "")},
	}
}
