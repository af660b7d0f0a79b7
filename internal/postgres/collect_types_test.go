//go:build unix

package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A typeCase is a value of a till, and what the server has of it: its text
// there, or why it is in quarantine.
type typeCase struct {
	declared string
	sent     any
	want     string
	refused  string
}

var typeCases = []typeCase{
	{"smallint", -32768, "-32768", ""},
	{"smallint", 32768, "", "out of range"},
	{"integer", 1.5, "", "invalid input syntax for type integer"},
	{"bigint", math.MinInt64, "-9223372036854775808", ""},
	{"bigint", math.MaxInt64, "9223372036854775807", ""},
	{"bigint", "17", "17", ""},
	{"bigint", "drei", "", `invalid input syntax for type bigint: "drei"`},
	{"numeric", "12345678901234567890.123456789012345678901234567890", "12345678901234567890.123456789012345678901234567890", ""},
	{"numeric", "-0.00", "0.00", ""},
	{"numeric", 0.1, "0.1", ""},
	{"numeric", "NaN", "NaN", ""},
	{"numeric(10,2)", "12.50", "12.50", ""},
	{"numeric(10,2)", 12.5, "12.50", ""},
	{"numeric(10,2)", "12.345", "", `"v" numeric(10,2) holds '12.345'`},
	{"numeric(10,2)", "123456789.00", "", "numeric field overflow"},
	{"double precision", 0.1, "0.1", ""},
	{"double precision", math.MaxFloat64, "1.7976931348623157e+308", ""},
	{"double precision", math.SmallestNonzeroFloat64, "5e-324", ""},
	{"double precision", math.Inf(-1), "-Infinity", ""},
	{"double precision", "NaN", "NaN", ""},
	{"real", 0.1, "0.1", ""},
	{"real", 1e10, "1e+10", ""},
	{"real", 0.1234567890123, "", `"v" real holds 0.1234567890123`},
	{"boolean", 1, "true", ""},
	{"boolean", 0, "false", ""},
	{"boolean", 2, "", "invalid input syntax for type boolean"},
	{"text", "a\tb\\c\nd\re'f\"g «é» 😀 \\N \\.", "a\tb\\c\nd\re'f\"g «é» 😀 \\N \\.", ""},
	{"text", "", "", ""},
	{"text", 17, "17", ""},
	{"text", "a\x00b", "", "has a zero byte"},
	{"text", "a\xffb", "", "is no UTF-8"},
	{"text", []byte("abc"), "", "is a blob"},
	{"varchar(3)", "été", "été", ""},
	{"varchar(3)", "abc ", "", `"v" character varying(3) holds 'abc '`},
	{"varchar(3)", "abcd", "", `"v" character varying(3) holds 'abcd'`},
	{"char(3)", "ab", "ab", ""},
	{"char(3)", "abcd", "", `"v" character(3) holds 'abcd'`},
	{"bytea", []byte{0, 0xff, '\\', 'x'}, `\x00ff5c78`, ""},
	{"bytea", []byte{}, `\x`, ""},
	{"bytea", "abc", "", "is no blob"},
	{"date", "2026-03-02", "2026-03-02", ""},
	{"date", "infinity", "infinity", ""},
	{"date", "2026-03-02T23:00:00Z", "", `"v" date holds '2026-03-02T23:00:00Z'`},
	{"date", "today", "", `"v" date holds 'today'`},
	{"date", 20260302, "", "is a number"},
	{"date", "2026-02-30", "", "date/time field value out of range"},
	{"timestamp", "2026-03-02T09:00:00Z", "2026-03-02 09:00:00", ""},
	{"timestamp", "2026-03-02 09:00:00+02", "2026-03-02 07:00:00", ""},
	{"timestamp", "2026-03-02 09:00:00.123456", "2026-03-02 09:00:00.123456", ""},
	{"timestamp", "2026-03-02 09:00:00.1234567", "", "would be rounded"},
	{"timestamp", "2026-03-02", "2026-03-02 00:00:00", ""},
	{"timestamp", "now", "", "would be rounded"},
	{"timestamp(0)", "2026-03-02 09:00:00.5", "", "would be rounded"},
	{"timestamptz", "2026-03-02T09:00:00Z", "2026-03-02 10:00:00+01", ""}, // shown in Paris
	{"timestamptz", "2026-03-02 09:00:00", "2026-03-02 10:00:00+01", ""},
	{"timestamptz", "2026-03-02 09:00:00-05:30", "2026-03-02 15:30:00+01", ""},
	{"timestamptz", "infinity", "infinity", ""},
	{"timestamptz", "0044-03-15 12:00:00+00 BC", "0044-03-15 12:09:21+00:09:21 BC", ""},
	{"time", "09:00:00.5", "09:00:00.5", ""},
	{"interval", "1 mon", "1 mon", ""},
	{"uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", ""},
	{"uuid", "x", "", "invalid input syntax for type uuid"},
	{"json", `{"a": 1,  "a": 2}`, `{"a": 1,  "a": 2}`, ""},
	{"jsonb", `{"b":1,"a":[1.50]}`, `{"a": [1.50], "b": 1}`, ""},
	{"json", `{"a":`, "", "invalid input syntax for type json"},
	{"mood", "sad", "sad", ""},
	{"mood", "glad", "", "invalid input value for enum mood"},
	{"positive", 1, "1.00", ""},
	{"positive", -1, "", "violates check constraint"},
	{"positive", "1.001", "", `"v" numeric(9,2) holds '1.001'`},
	{"integer[]", "{1,NULL,3}", "{1,NULL,3}", ""},
	{"numeric(5,1)[]", "{1.5,2.25}", "", "would be rounded"},
	{"text[]", `{"a b","c\"d"}`, `{"a b","c\"d"}`, ""},
	{"bit(3)", "101", "101", ""},
	{"bit(3)", "1010", "", "would be rounded"},
	{"inet", "10.0.0.1/8", "10.0.0.1/8", ""},
	{"int4range", "[1,4)", "[1,4)", ""},
	{"point", "(1,2)", "(1,2)", ""},
}

// TestCollectTypes: what a till sends is what the server has, or it is in
// quarantine with the reason; nothing is rounded, cut off or guessed. The same
// once more is the same, to every type.
func TestCollectTypes(t *testing.T) {
	var sql strings.Builder
	sql.WriteString("CREATE TYPE mood AS ENUM('sad','ok'); CREATE DOMAIN positive AS numeric(9,2) CHECK (VALUE > 0); CREATE TABLE client(dossier text, code text, PRIMARY KEY(dossier, code));")
	var uploads []database.UploadConfig
	names := map[string]string{}
	for _, c := range typeCases {
		if names[c.declared] == "" {
			names[c.declared] = fmt.Sprintf("t%d", len(names))
			fmt.Fprintf(&sql, "CREATE TABLE %s(id bigint PRIMARY KEY, v %s);", names[c.declared], c.declared)
			uploads = append(uploads, database.UploadConfig{Name: names[c.declared], Mode: manifest.Append})
		}
	}
	s := collecttest.NewServer(t, collectKind(), sql.String(), uploads)
	s.Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Europe/Paris''', current_database()); END $$; SET timezone = 'Europe/Paris'`)
	c, err := s.DB.Open(collecttest.Options{}) // which is in Paris, too
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func() change.Applied {
		b := s.Batch("017")
		for i, c := range typeCases {
			b.Add(names[c.declared], change.Upsert, "id v", []any{i, c.sent})
		}
		for i := range b.M.Tables {
			b.M.Tables[i].Key = []string{"id"}
		}
		res, err := b.Seal().ApplyTo(c)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := send()
	if again := send(); again.Acknowledged != res.Inserted || again.Quarantined != res.Quarantined {
		t.Errorf("first %s, then %s", collecttest.Counts(res), collecttest.Counts(again))
	}
	reasons := map[string]string{}
	for _, u := range s.Units() {
		reasons[u.Table+u.Key] = u.Reason
	}
	for i, c := range typeCases {
		rows, err := s.DB.Rows(fmt.Sprintf("SELECT v::text FROM %s WHERE id = %d", names[c.declared], i))
		if err != nil {
			t.Fatal(err)
		}
		reason := reasons[fmt.Sprintf("%s[%d]", names[c.declared], i)]
		switch {
		case c.refused != "" && (len(rows) > 0 || !strings.Contains(reason, c.refused)):
			t.Errorf("%s of %#v: %q, %s; want %s", c.declared, c.sent, rows, reason, c.refused)
		case c.refused == "" && (len(rows) != 1 || rows[0][0] != c.want):
			t.Errorf("%s of %#v: %q, %s; want %q", c.declared, c.sent, rows, reason, c.want)
		}
	}
}

// A rowSink keeps the rows of a batch down by their tables.
type rowSink struct {
	head change.Header
	rows map[string][]any
}

func (s *rowSink) Start(h change.Header) error {
	s.head = h
	return nil
}

func (s *rowSink) Row(line []byte) error {
	row := make([]change.Value, len(s.head.Columns))
	if _, err := change.ParseRow(append([]byte(nil), line...), row, nil); err != nil {
		return err
	}
	for _, v := range row {
		s.rows[s.head.Table] = append(s.rows[s.head.Table], v)
	}
	return nil
}

// TestCollectRoundTrip: what went down to a till and comes back is what is
// there, to every type: its change began from it, and nothing conflicts.
func TestCollectRoundTrip(t *testing.T) {
	var sql strings.Builder
	sql.WriteString("CREATE TYPE mood AS ENUM('sad','ok'); CREATE DOMAIN positive AS numeric(9,2) CHECK (VALUE > 0); CREATE TABLE client(dossier text, code text, PRIMARY KEY(dossier, code));")
	config := database.SourceConfig{}
	cases := map[string]typeCase{}
	for i, c := range typeCases {
		if c.refused != "" {
			continue
		}
		name := fmt.Sprintf("t%d", i)
		cases[name] = c
		fmt.Fprintf(&sql, "CREATE TABLE %[1]s(id bigint PRIMARY KEY, v %[2]s, version bigint); INSERT INTO %[1]s VALUES(1, %[3]s, 1), (2, NULL, 1);", name, c.declared, literal(c.want))
		config.Tables = append(config.Tables, database.TableConfig{Name: name})
		config.Uploads = append(config.Uploads, database.UploadConfig{Name: name, Mode: manifest.Both, Conflict: database.ConflictHold})
	}
	s := collecttest.NewServer(t, collectKind(), sql.String(), config.Uploads)
	sink := &rowSink{rows: map[string][]any{}}
	if _, err := s.DB.Source(config).Read(t.Context(), "ACME/down", true, sink); err != nil {
		t.Fatal(err)
	}
	b := s.Batch("017")
	for name := range cases {
		first, second := sink.rows[name][:3], sink.rows[name][3:]
		b.Add(name, change.Base, "id v version", first, second).Add(name, change.Upsert, "id v version", []any{1, first[1], 2}, []any{2, second[1], 2})
		b.M.Tables[len(b.M.Tables)-1].Key = []string{"id"}
	}
	res := b.Send()
	if n := int64(2 * len(cases)); res.Updated != n || res.Conflicts != 0 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	for name, c := range cases {
		if got := s.Text("SELECT id, v::text = (" + literal(c.want) + "::" + c.declared + ")::text, version FROM " + name + " WHERE v::text IS NOT NULL ORDER BY id"); got != "1|t|2" {
			t.Errorf("%s of %q: %s", c.declared, c.want, got)
		}
	}
	for _, u := range s.Units() {
		t.Errorf("%s: %s", cases[u.Table].declared, u.Reason)
	}
}
