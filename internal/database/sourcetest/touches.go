package sourcetest

import (
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
)

// touchSchema are users and their attachments to tills.
const touchSchema = `CREATE TABLE u(code TEXT PRIMARY KEY NOT NULL, d TEXT, name TEXT, x INTEGER);
	CREATE TABLE a(u TEXT REFERENCES u(code) ON DELETE CASCADE ON UPDATE CASCADE, till TEXT, note TEXT, PRIMARY KEY(u, till));
	INSERT INTO u VALUES('V1','A','one',1), ('V2','A','two',2), ('W1','B','else',3); INSERT INTO a VALUES('V1','001',''), ('W1','001','')`

var touchKeys = map[string][]string{"u": {"code"}, "a": {"u", "till"}}

func touchConfig(dossier string) database.SourceConfig {
	return database.SourceConfig{Tables: []database.TableConfig{
		{Name: "u", DossierColumn: "d", Dossier: dossier, Columns: true}, {Name: "a", Touches: "u"}}}
}

// users exports a batch and returns the keys of a table's rows in it that came
// whole, sorted.
func (s *stream) users(table string) (keys []string) {
	s.t.Helper()
	s.export()
	for _, key := range s.model.Whole(table) {
		keys = append(keys, strings.Trim(key, `"`))
	}
	return keys
}

// testTouches: a change of an attachment ships its user whole, of his own
// dossier, and nothing else.
func testTouches(t *testing.T, open func(testing.TB, string) Database) {
	for _, tt := range []struct {
		name, sql    string
		users, other []string // upserted whole in A/down, in B/down
	}{
		{"nothing", "UPDATE a SET note='' WHERE u='nobody'", nil, nil},
		{"attached", "INSERT INTO a VALUES('V2','002','')", []string{"V2"}, nil},
		{"detached", "DELETE FROM a WHERE u='V1'", []string{"V1"}, nil},
		{"a note", "UPDATE a SET note='x' WHERE u='V1'", []string{"V1"}, nil},
		{"moved to another user", "UPDATE a SET u='V2' WHERE u='V1'", []string{"V1", "V2"}, nil},
		{"another dossier's", "INSERT INTO a VALUES('W1','002','')", nil, []string{"W1"}},
		{"patched and attached", "UPDATE u SET x=9 WHERE code='V2'; INSERT INTO a VALUES('V2','002','')", []string{"V2"}, nil},
		{"new and attached", "INSERT INTO u VALUES('V3','A','three',3); INSERT INTO a VALUES('V3','001','')", []string{"V3"}, nil},
		{"gone with his attachments", "DELETE FROM u WHERE code='V1'", nil, nil},
		{"another key", "UPDATE u SET code='V9' WHERE code='V1'", []string{"V9"}, nil},
		{"moved to the other dossier", "UPDATE u SET d='B' WHERE code='V1'; UPDATE a SET note='x' WHERE u='V1'", nil, []string{"V1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := open(t, touchSchema)
			streams := capture(t, db, touchKeys, map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
			for _, s := range streams {
				s.export()
			}
			db.Do(tt.sql)
			for name, want := range map[string][]string{"A/down": tt.users, "B/down": tt.other} {
				if got := streams[name].users("u"); !slices.Equal(got, want) {
					t.Errorf("%s: users %q, want %q (ops %q)", name, got, want, streams[name].model.Ops)
				}
				streams[name].checkTable(touchConfig(name[:1]).Tables[0])
			}
		})
	}
}

// testTouchesMore: a user who is attached once more comes with all his
// attachments; who moves brings them; a setting that is new ships nothing
// whole; and where the journal tells columns apart nothing is touched by an
// update that changes nothing.
func testTouchesMore(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, touchSchema)
	plain := touchConfig("A")
	plain.Tables[1].Touches = ""
	s := capture(t, db, touchKeys, map[string]database.SourceConfig{"A/down": plain})["A/down"]
	s.export()
	for _, config := range []database.SourceConfig{touchConfig("A"), plain, touchConfig("A")} {
		s.again(map[string]database.SourceConfig{"A/down": config})
		if x := s.read(false); len(x.Tables) != 0 {
			t.Errorf("a setting ships %+v", x.Tables)
		}
	}
	db.Do("INSERT INTO a VALUES('V2','002','two'), ('V2','003','three')")
	s.export()
	db.Do("INSERT INTO a VALUES('V2','001','one')")
	s.model.Forget("a") // a till that had filtered all of it
	s.export()
	if got := len(s.model.Lines("a")); got != 3 {
		t.Errorf("%d attachments come with their user: %v", got, s.model.Lines("a"))
	}

	db = open(t, touchSchema)
	streams := capture(t, db, touchKeys, map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
	for _, s := range streams {
		s.export()
	}
	db.Do("UPDATE u SET d='B' WHERE code='V1'")
	for name, want := range map[string][]string{"A/down": {"u delete code"}, "B/down": {"u upsert code,d,name,x", "a upsert u,till,note"}} {
		s := streams[name]
		s.export()
		if !slices.Equal(s.model.Ops, want) || s.model.Rows != len(want) {
			t.Errorf("%s: %q, %d rows, want %q", name, s.model.Ops, s.model.Rows, want)
		}
	}

	db = open(t, touchSchema+"; CREATE TABLE b(id INTEGER PRIMARY KEY, u TEXT REFERENCES u, till TEXT UNIQUE, note TEXT); INSERT INTO b VALUES(1,'V1','001',''), (2,'V2','002','')")
	s = capture(t, db, map[string][]string{"u": {"code"}, "b": {"id"}}, one(database.TableConfig{Name: "u", DossierColumn: "d", Dossier: "A"},
		database.TableConfig{Name: "b", Touches: "u", Columns: true}))["A/down"]
	s.export()
	for _, tt := range []struct {
		sql   string
		users []string
	}{
		{"UPDATE b SET note='', till=till, u=u", nil},
		{"UPDATE b SET note='x' WHERE id=2", []string{"V2"}},
		{"UPDATE b SET u='V2' WHERE id=1", []string{"V1", "V2"}},
		{"UPDATE b SET id=3 WHERE id=2", []string{"V2"}},
	} {
		db.Do(tt.sql)
		if got := s.users("u"); !slices.Equal(got, tt.users) {
			t.Errorf("%s: users %q, want %q", tt.sql, got, tt.users)
		}
	}
}
