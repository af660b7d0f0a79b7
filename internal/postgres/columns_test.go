//go:build unix

package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// Where the journal tells columns apart, every change of what a value looks
// like is a change, also where the values are equal to the server, or look
// alike in the session that writes them.
func TestSmallestChanges(t *testing.T) {
	t.Parallel()
	cases := []struct{ typ, from, to, session string }{
		{"json", `'{"a": 1}'`, `'{"a" :1}'`, ""},
		{"json", `'{"a": 1, "a": 2}'`, `'{"a": 2}'`, ""},
		{"jsonb", `'{"a": 1.0}'`, `'{"a": 1.00}'`, ""},
		{"json[]", `ARRAY['{"a": 1}'::json]`, `ARRAY['{"a" :1}'::json]`, ""},
		{"numeric", "1.0", "1.00", ""},
		{"numeric[]", "'{1.0}'", "'{1.00}'", ""},
		{"double precision", "0.1::float8 + 0.2", "0.3", "SET extra_float_digits = 0"},
		{"double precision[]", "ARRAY[0.1::float8 + 0.2]", "'{0.3}'", "SET extra_float_digits = 0"},
		{"double precision", "'-0'", "'0'", ""},
		{"real", "'NaN'", "1", ""},
		{"point", "'(1,0.30000000000000004)'", "'(1,0.3)'", "SET extra_float_digits = -3"},
		{"citext", "'Abc'", "'abc'", ""},
		{"text COLLATE folding", "'Abc'", "'abc'", ""},
		{"text", "'é'", "'e\u0301'", ""},
		{"varchar", "'a'", "'a '", ""},
		{"bpchar", "'a'", "'a '", ""},
		{"bytea", `'\x00'`, `'\x0000'`, "SET bytea_output = escape"},
		{"xml", "'<a/>'", "'<a />'", ""},
		{"interval", "'1 day'", "'24:00:00'", "SET intervalstyle = sql_standard"},
		{"timestamptz", "'2024-10-27 02:30+02'", "'2024-10-27 02:30+01'", "SET timezone = 'Europe/Paris'; SET datestyle = 'SQL'"},
		{"timetz", "'12:00+01'", "'11:00+00'", ""},
		{"inet", "'10.0.0.1/32'", "'10.0.0.1/24'", ""},
		{"tstzrange", "'[2024-01-01 00:00+00,)'", "'(2024-01-01 00:00+00,)'", ""},
		{"pair", "ROW('1', 1.0)", "ROW('1', 1.00)", ""},
		{"text", "''", "NULL", ""},
		{"text[]", "'{NULL}'", "'{\"NULL\"}'", ""},
		{"pair", "ROW(NULL, NULL)", "NULL", ""},
	}
	e := newERP(t, "CREATE EXTENSION citext; CREATE TYPE pair AS (a text, b numeric); CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	config := database.SourceConfig{}
	for i, c := range cases {
		e.do(fmt.Sprintf("CREATE TABLE a%02d(id int PRIMARY KEY, v %s, w int); INSERT INTO a%02[1]d VALUES (1, %[3]s, 1)", i, c.typ, c.from))
		config.Tables = append(config.Tables, database.TableConfig{Name: fmt.Sprintf("a%02d", i), Columns: true})
	}
	s := e.capture(map[string]database.SourceConfig{"A/down": config})["A/down"]
	s.round()
	for i, c := range cases {
		e.do(c.session)
		e.do(fmt.Sprintf("UPDATE a%02d SET v = %s; RESET ALL", i, c.to))
	}
	s.round()
	for i, c := range cases {
		if op := fmt.Sprintf("a%02d patch id,v", i); !slices.Contains(s.model.Ops, op) {
			t.Errorf("%+v: no %q", c, op)
		}
		e.do(fmt.Sprintf("UPDATE a%02d SET v = %s, id = id", i, c.to))
	}
	if len(s.model.Ops) != len(cases) {
		t.Errorf("%q", s.model.Ops)
	}
	if got := s.round(); got != "delta  0" {
		t.Errorf("nothing was changed: %s", got)
	}
}

// A mask tells 62 columns apart; what changes beyond them ships rows whole.
func TestManyColumns(t *testing.T) {
	t.Parallel()
	e := newERP(t, "")
	var list []string
	for i := range 80 {
		list = append(list, fmt.Sprintf("c%d int", i))
	}
	e.do("CREATE TABLE a(id int PRIMARY KEY, " + strings.Join(list, ", ") + "); INSERT INTO a SELECT generate_series(1, 9)")
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a", Columns: true, Exclude: []string{"c0", "c79"}}}}})["A/down"]
	s.round()
	all := s.model.Ops[0]
	for _, tt := range []struct {
		sql  string
		want []string
	}{
		{"UPDATE a SET c1 = 1 WHERE id = 1", []string{"a patch id,c1"}},
		{"UPDATE a SET c62 = 1 WHERE id = 1", []string{"a patch id,c62"}}, // the 62nd that is shipped
		{"UPDATE a SET c63 = 1 WHERE id = 1", []string{all}},
		{"UPDATE a SET c1 = 2, c78 = 1 WHERE id = 1", []string{all}},
		{"UPDATE a SET c0 = 1, c79 = 1", nil},
		{"UPDATE a SET c1 = 3 WHERE id = 1; UPDATE a SET c2 = 3 WHERE id = 1; UPDATE a SET c78 = 7 WHERE id = 2", []string{all, "a patch id,c1,c2"}},
		{"UPDATE a SET c1 = 4 WHERE id = 1; UPDATE a SET c78 = 4 WHERE id = 1", []string{all}},
		{"UPDATE a SET c1 = 5 WHERE id = 1; DELETE FROM a WHERE id = 1", []string{"a delete id"}},
		{"UPDATE a SET c1 = 6 WHERE id = 2; DELETE FROM a WHERE id = 2; INSERT INTO a(id) VALUES (2)", []string{all}},
		{"UPDATE a SET c1 = 7 WHERE id = 3; UPDATE a SET id = 33 WHERE id = 3", []string{all, "a delete id"}},
	} {
		e.do(tt.sql)
		s.round()
		if !slices.Equal(s.model.Ops, tt.want) {
			t.Errorf("%s: %.200q, want %.200q", tt.sql, s.model.Ops, tt.want)
		}
	}
}

// There are never more column sets than a batch may have members for.
func TestManyColumnSets(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY, a int, b int, c int, d int, e int, f int, g int, h int); INSERT INTO a SELECT generate_series(0, 599)")
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a", Columns: true}}}})["A/down"]
	s.round()
	// Every set of columns, and one of them in most rows.
	e.do("UPDATE a SET a = CASE WHEN id & 1 > 0 THEN 1 END, b = CASE WHEN id & 2 > 0 THEN 1 END, c = CASE WHEN id & 4 > 0 THEN 1 END, d = CASE WHEN id & 8 > 0 THEN 1 END, " +
		"e = CASE WHEN id & 16 > 0 THEN 1 END, f = CASE WHEN id & 32 > 0 THEN 1 END, g = CASE WHEN id & 64 > 0 THEN 1 END, h = CASE WHEN id & 128 > 0 THEN 1 END WHERE id < 256; UPDATE a SET a = 7 WHERE id > 300")
	if got := s.round(); got != "delta a:changes 554" {
		t.Error(got)
	}
	if n := len(s.model.Ops); n != maxSets || !slices.Contains(s.model.Ops, "a patch id,a") || !slices.Contains(s.model.Ops, "a patch id,a,b,c,d,e,f,g,h") {
		t.Errorf("%d sets: %q", n, s.model.Ops)
	}
}

// Two streams that ship other columns read one journal.
func TestColumnsOfTwoStreams(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY, d text, x int, y int, z int); INSERT INTO a VALUES (1, 'A', 1, 1, 1), (2, 'B', 2, 2, 2)")
	config := func(dossier string, columns bool, exclude ...string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "a", DossierColumn: "d", Dossier: dossier, Columns: columns, Exclude: exclude}}}
	}
	streams := e.capture(map[string]database.SourceConfig{"A/down": config("A", true, "x"), "B/down": config("B", true, "z"), "C/down": config("A", false, "y")})
	for _, s := range streams {
		s.round()
	}
	for _, tt := range []struct {
		sql  string
		want map[string][]string
	}{
		{"UPDATE a SET x = x + 1", map[string][]string{"B/down": {"a patch id,x"}, "C/down": {"a upsert id,d,x,z"}}},
		{"UPDATE a SET y = y + 1", map[string][]string{"A/down": {"a patch id,y"}, "B/down": {"a patch id,y"}, "C/down": {"a upsert id,d,x,z"}}},
		{"UPDATE a SET z = z + 1, x = x - 1", map[string][]string{"A/down": {"a patch id,z"}, "B/down": {"a patch id,x"}, "C/down": {"a upsert id,d,x,z"}}},
		{"UPDATE a SET d = CASE d WHEN 'A' THEN 'B' ELSE 'A' END", map[string][]string{"A/down": {"a upsert id,d,y,z", "a delete id"}, "B/down": {"a upsert id,d,x,y", "a delete id"}, "C/down": {"a upsert id,d,x,z", "a delete id"}}},
	} {
		e.do(tt.sql)
		for name, s := range streams {
			s.round()
			if !slices.Equal(s.model.Ops, tt.want[name]) {
				t.Errorf("%s, %s: %q, want %q", tt.sql, name, s.model.Ops, tt.want[name])
			}
		}
	}
}

// The journal's bits mean the columns of the day when they were written.
func TestMasksChange(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(id int PRIMARY KEY, x int, y int, z int); INSERT INTO a VALUES (1, 1, 1, 1)")
	var s *stream
	for i, config := range []database.TableConfig{{Columns: true}, {Columns: true, Exclude: []string{"x"}}, {}, {Columns: true}, {Columns: true, Exclude: []string{"y"}}} {
		config.Name = "a"
		now := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{config}}})["A/down"]
		if s != nil {
			e.continued(s, now)
		}
		s = now
		s.round()
		e.do(fmt.Sprintf("UPDATE a SET y = %d, z = %d", i+10, i+20))
	}
	s.round()
}

// A dropped column leaves a gap in the numbers of the others.
func TestDroppedColumn(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(x int, id int PRIMARY KEY, y int, z int); INSERT INTO a VALUES (1, 1, 1, 1)")
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "a", Columns: true}}}})["A/down"]
	s.round()
	e.do("ALTER TABLE a DROP x")
	s.round()
	e.do("UPDATE a SET z = 5")
	if got := s.round(); got != "delta a:changes 1" || !slices.Equal(s.model.Ops, []string{"a patch id,z"}) {
		t.Errorf("%s %q", got, s.model.Ops)
	}
	if got := pgtest.Query(t, e.dsn, "SELECT count(*) FROM caisseauto.caisseauto_event"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("%q events", got)
	}
}
