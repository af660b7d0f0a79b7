//go:build unix

package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
	"caisseauto/manifest"
)

// touchSchema are users and their attachments to tills. Constraints are
// deferred, so that an attachment may come before its user.
const touchSchema = `CREATE EXTENSION IF NOT EXISTS citext SCHEMA pg_catalog; CREATE TABLE u(code citext PRIMARY KEY, d text, name text, x int);
	CREATE TABLE a(u citext REFERENCES u ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, till text, note text, PRIMARY KEY (u, till));
	INSERT INTO u VALUES ('V1', 'A', 'one', 1), ('V2', 'A', 'two', 2), ('W1', 'B', 'else', 3); INSERT INTO a VALUES ('V1', '001', ''), ('W1', '001', '')`

func touchConfig(dossier string) database.SourceConfig {
	return database.SourceConfig{Tables: []database.TableConfig{
		{Name: "u", DossierColumn: "d", Dossier: dossier, Columns: true}, {Name: "a", Touches: "u"}}}
}

// whole exports a batch and returns the keys of a table's rows in it that came
// whole, sorted; those of a single column.
func (s *stream) whole(table string) []string {
	s.e.t.Helper()
	keys := []string{}
	s.keys()
	s.model.Begin()
	x, err := s.Read(s.e.t.Context(), s.name, false, &touchSink{s.model, table, &keys})
	if err != nil {
		s.e.t.Fatal(err)
	}
	s.model.End(x)
	s.publish(x)
	slices.Sort(keys)
	return keys
}

// A touchSink notes the rows of a table that come whole.
type touchSink struct {
	*sourcetest.Model
	table string
	keys  *[]string
}

func (s *touchSink) Row(line []byte) error {
	if len(s.Ops) > 0 && strings.HasPrefix(s.Ops[len(s.Ops)-1], s.table+" upsert ") {
		*s.keys = append(*s.keys, strings.Trim(strings.SplitN(string(line[1:]), ",", 2)[0], `"`))
	}
	return s.Model.Row(line)
}

// A change of an attachment ships its user whole, of his own dossier, and
// nothing else.
func TestTouches(t *testing.T) {
	t.Parallel()
	e := newERP(t, "")
	for _, tt := range []struct {
		name, sql string
		users     []string // upserted whole in A/down
		other     []string // in B/down
	}{
		{"nothing", "UPDATE a SET note = '' WHERE false", nil, nil},
		{"attached", "INSERT INTO a VALUES ('V2', '002', '')", []string{"V2"}, nil},
		{"attached by another spelling", "INSERT INTO a VALUES ('v2', '002', '')", []string{"V2"}, nil},
		{"detached", "DELETE FROM a WHERE u = 'V1'", []string{"V1"}, nil},
		{"a note", "UPDATE a SET note = 'x' WHERE u = 'V1'", []string{"V1"}, nil},
		{"moved to another user", "UPDATE a SET u = 'V2' WHERE u = 'V1'", []string{"V1", "V2"}, nil},
		{"another dossier's", "INSERT INTO a VALUES ('W1', '002', '')", nil, []string{"W1"}},
		{"patched and attached", "UPDATE u SET x = 9 WHERE code = 'V2'; INSERT INTO a VALUES ('V2', '002', '')", []string{"V2"}, nil},
		{"attached before he is there", "BEGIN; INSERT INTO a VALUES ('V3', '001', ''); INSERT INTO u VALUES ('V3', 'A', 'three', 3); COMMIT", []string{"V3"}, nil},
		{"gone with his attachments", "DELETE FROM u WHERE code = 'V1'", nil, nil},
		{"attached to nobody", "SET session_replication_role = replica; INSERT INTO a VALUES ('V9', '001', '')", nil, nil},
		{"attached to NULL", "ALTER TABLE a DROP CONSTRAINT a_pkey; ALTER TABLE a ALTER u DROP NOT NULL, ADD id serial PRIMARY KEY", []string{"V1", "V2"}, []string{"W1"}},
		{"moved to the other dossier", "UPDATE u SET d = 'B' WHERE code = 'V1'; UPDATE a SET note = 'x' WHERE u = 'V1'", nil, []string{"V1"}},
		{"TRUNCATE", "TRUNCATE a", []string{"V1", "V2"}, []string{"W1"}},
		{"attachments were lost sight of", "ALTER TABLE a DISABLE TRIGGER USER; DELETE FROM a; ALTER TABLE a ENABLE TRIGGER USER", []string{"V1", "V2"}, []string{"W1"}},
		{"column renamed and back", "ALTER TABLE a RENAME u TO x; DELETE FROM a; ALTER TABLE a RENAME x TO u", []string{"V1", "V2"}, []string{"W1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.clear(t, touchSchema)
			streams := e.capture(map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
			for _, s := range streams {
				s.round()
			}
			e.do(tt.sql)
			for name, want := range map[string][]string{"A/down": tt.users, "B/down": tt.other} {
				s := streams[name]
				if got := s.whole("u"); !slices.Equal(got, append([]string{}, want...)) {
					t.Errorf("%s: users %q, want %q", name, got, want)
				}
				s.check()
			}
		})
	}
}

// A user who is attached once more comes with all his attachments.
func TestTouchesSiblings(t *testing.T) {
	t.Parallel()
	e := newERP(t, touchSchema)
	s := e.capture(map[string]database.SourceConfig{"A/down": touchConfig("A")})["A/down"]
	e.do("INSERT INTO a VALUES ('V2', '002', 'two'), ('V2', '003', 'three')")
	s.export(false)
	e.do("INSERT INTO a VALUES ('V2', '001', 'one')")
	s.export(false)
	if want := []string{"u upsert code,d,name,x", "a upsert u,till,note"}; !slices.Equal(s.model.Ops, want) || s.model.Rows != 4 {
		t.Errorf("%q, %d rows", s.model.Ops, s.model.Rows)
	}
}

// A setting that cannot be is refused, and says how it could.
func TestTouchesRefused(t *testing.T) {
	t.Parallel()
	e := newERP(t, touchSchema+"; CREATE TABLE b(id int PRIMARY KEY, n bigint); CREATE TABLE c(id int PRIMARY KEY)")
	for _, tt := range []struct {
		name   string
		config database.TableConfig
		says   string
	}{
		{"no such table", database.TableConfig{Name: "a", Touches: "nobody"}, "ships no other table"},
		{"itself", database.TableConfig{Name: "a", Touches: "a"}, "ships no other table"},
		{"no reference", database.TableConfig{Name: "b", Touches: "u"}, "touches_columns = "},
		{"too many columns", database.TableConfig{Name: "a", Touches: "u", TouchesColumns: []string{"u", "till"}}, "names 2"},
		{"no such column", database.TableConfig{Name: "a", Touches: "u", TouchesColumns: []string{"z"}}, "does not exist"},
		{"other type", database.TableConfig{Name: "b", Touches: "u", TouchesColumns: []string{"n"}}, "not every value of the one is one of the other"},
		{"wider type", database.TableConfig{Name: "b", Touches: "c", TouchesColumns: []string{"n"}}, "not every value of the one is one of the other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "u"}, {Name: "c"}, tt.config}}})
			if err := c.Install(t.Context(), e.dsn, SourceOptions{}); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q in it", err, tt.says)
			}
		})
	}
}

// To touch something from now on, or no more, ships nothing whole.
func TestTouchesSetLater(t *testing.T) {
	t.Parallel()
	e := newERP(t, touchSchema)
	plain := touchConfig("A")
	plain.Tables[1].Touches = ""
	s := e.capture(map[string]database.SourceConfig{"A/down": plain})["A/down"]
	s.round()
	for _, config := range []database.SourceConfig{touchConfig("A"), plain} {
		s = e.continued(s, e.capture(map[string]database.SourceConfig{"A/down": config})["A/down"])
		if got := s.round(); got != "delta  0" {
			t.Error(got)
		}
	}
}

// What a till gets when a user moves to its dossier: he and his attachments.
func TestTouchesMove(t *testing.T) {
	t.Parallel()
	e := newERP(t, touchSchema)
	streams := e.capture(map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
	for _, s := range streams {
		s.round()
	}
	e.do("UPDATE u SET d = 'B' WHERE code = 'V1'")
	for name, want := range map[string][]string{"A/down": {"u delete code"}, "B/down": {"u upsert code,d,name,x", "a upsert u,till,note"}} {
		s := streams[name]
		s.round()
		if !slices.Equal(s.model.Ops, want) || s.model.Rows != len(want) {
			t.Errorf("%s: %q, %d rows, want %q", name, s.model.Ops, s.model.Rows, want)
		}
	}
}

// Where the journal tells columns apart, nothing is touched by an update that
// changes nothing.
func TestTouchesChanges(t *testing.T) {
	t.Parallel()
	e := newERP(t, "")
	config := database.SourceConfig{Tables: []database.TableConfig{{Name: "u", DossierColumn: "d", Dossier: "A"}, {Name: "b", Touches: "u", Columns: true, Exclude: []string{"u"}}}}
	for _, tt := range []struct {
		sql   string
		users []string
	}{
		{"UPDATE b SET note = '', till = till, u = u", nil},
		{"UPDATE b SET note = 'x' WHERE id = 2", []string{"V2"}},
		{"UPDATE b SET u = 'V2' WHERE id = 1", []string{"V1", "V2"}}, // is not shipped itself
		{"UPDATE b SET u = NULL WHERE id = 1", []string{"V1"}},
		{"UPDATE b SET id = 3 WHERE id = 2", []string{"V2"}},
	} {
		e.clear(t, touchSchema+"; CREATE TABLE b(id int PRIMARY KEY, u citext REFERENCES u, till text UNIQUE, note text); INSERT INTO b VALUES (1, 'V1', '001', ''), (2, 'V2', '002', '')")
		s := e.capture(map[string]database.SourceConfig{"A/down": config})["A/down"]
		s.round()
		e.do(tt.sql)
		if got := s.whole("u"); !slices.Equal(got, append([]string{}, tt.users...)) {
			t.Errorf("%s: users %q, want %q", tt.sql, got, tt.users)
		}
		s.check()
	}
}

// A stream that does not carry the touched table reads on when another one's
// setting is new, and makes what is missing; whoever replaces a table is dealt
// with.
func TestTouchesOtherStream(t *testing.T) {
	t.Parallel()
	e := newERP(t, touchSchema)
	plain := database.SourceConfig{Tables: []database.TableConfig{{Name: "a"}}}
	old := e.capture(map[string]database.SourceConfig{"B/down": plain})["B/down"]
	old.round()
	both := map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": plain}
	b := e.continued(old, e.stream(NewCapture(both), "B/down"))
	e.do("INSERT INTO a VALUES ('V2', '001', '')")
	if got := b.round(); got != "delta a:changes 1" {
		t.Error(got)
	}
	a := e.capture(both)["A/down"]
	a.round()
	e.do("INSERT INTO a VALUES ('V2', '002', '')")
	if got := a.whole("u"); !slices.Equal(got, []string{"V2"}) {
		t.Errorf("%q", got)
	}
	e.do("ALTER TABLE a DROP CONSTRAINT a_u_fkey; CREATE TABLE v (LIKE u INCLUDING ALL); INSERT INTO v SELECT * FROM u; DROP TABLE u; ALTER TABLE v RENAME TO u; ALTER TABLE a ADD FOREIGN KEY (u) REFERENCES u")
	for _, table := range a.export(false).Tables {
		if table.Scope != manifest.Whole {
			t.Errorf("table %s: %s", table.Name, table.Scope)
		}
	}
	a.check()
	b.round()
	e.do("INSERT INTO a VALUES ('V2', '003', '')")
	if got := a.whole("u"); !slices.Equal(got, []string{"V2"}) {
		t.Errorf("%q", got)
	}
	a.check()
}

// Touched rows, and those that come with them, are looked up by their keys:
// in tables and a journal of any size, whether anybody has analyzed them.
func TestTouchesPlan(t *testing.T) {
	t.Parallel()
	const rows = "; INSERT INTO u SELECT 'X' || n, 'A', '', n FROM generate_series(1, 5000) AS n; INSERT INTO a SELECT code, '001', '' FROM u ON CONFLICT DO NOTHING"
	e := newERP(t, "")
	for _, analyze := range []string{"", "; ANALYZE"} {
		e.clear(t, touchSchema+rows+analyze)
		s := e.capture(map[string]database.SourceConfig{"A/down": touchConfig("A")})["A/down"]
		s.round()
		e.do("UPDATE a SET note = 'x'" + analyze + "; UPDATE a SET note = 'y' WHERE u = 'X77'" + analyze)
		err := s.Source.read(t.Context(), func(c *session, tx pgx.Tx) error {
			cat, err := s.capture.catalog(t.Context(), tx, c.path)
			if err != nil {
				return err
			}
			tables, err := cat.stream(s.name)
			if err != nil {
				return err
			}
			if err := begin(t.Context(), tx, tables); err != nil {
				return err
			}
			x := &extraction{ctx: t.Context(), tx: tx, from: snapshot{xmax: "1"}}
			for _, table := range tables {
				d := x.delta(&extracted{carried: table})
				for _, sql := range []string{d.rowsSQL("NULL::bigint", nil, 0), d.deletesSQL()} {
					var plan string
					err := each(t.Context(), tx, "EXPLAIN "+sql, append([]any{pgx.QueryExecModeExec}, d.args...), func(v [][]byte) error { plan += string(v[0]) + "\n"; return nil })
					if err != nil {
						return err
					}
					if strings.Contains(plan, "Seq Scan on u") || strings.Contains(plan, "Seq Scan on a") || !strings.Contains(plan, "Index") {
						t.Errorf("%q: %s\n%s", analyze, sql, plan)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
