package sqlite

import (
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// touchSchema are users and their attachments to tills.
const touchSchema = `CREATE TABLE u(code TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, d TEXT, name TEXT, x);
	CREATE TABLE a(u TEXT REFERENCES u(code) ON DELETE CASCADE ON UPDATE CASCADE, till TEXT, note TEXT, PRIMARY KEY(u, till)) WITHOUT ROWID;
	INSERT INTO u VALUES('V1','A','one',1), ('V2','A','two',2), ('W1','B','else',3); INSERT INTO a VALUES('V1','001',''), ('W1','001','');`

func touchConfig(dossier string) database.SourceConfig {
	return database.SourceConfig{Tables: []database.TableConfig{
		{Name: "u", DossierColumn: "d", Dossier: dossier, Columns: true}, {Name: "a", Touches: "u"}}}
}

// TestTouches: a change of an attachment ships its user whole, of his own
// dossier, and nothing else.
func TestTouches(t *testing.T) {
	srcKeys.Store("u", []string{"code"})
	for _, tt := range []struct {
		name, sql string
		users     []string // upserted whole in A/down
		other     []string // in B/down
	}{
		{"nothing", "UPDATE a SET note='' WHERE 0", nil, nil},
		{"attached", "INSERT INTO a VALUES('V2','002','')", []string{"V2"}, nil},
		{"attached by another spelling", "INSERT INTO a VALUES('v2','002','')", []string{"V2"}, nil},
		{"detached", "DELETE FROM a WHERE u='V1'", []string{"V1"}, nil},
		{"a note", "UPDATE a SET note='x' WHERE u='V1'", []string{"V1"}, nil},
		{"moved to another user", "UPDATE a SET u='V2' WHERE u='V1'", []string{"V1", "V2"}, nil},
		{"another dossier's", "INSERT INTO a VALUES('W1','002','')", nil, []string{"W1"}},
		{"patched and attached", "UPDATE u SET x=9 WHERE code='V2'; INSERT INTO a VALUES('V2','002','')", []string{"V2"}, nil},
		{"attached before he is there", "PRAGMA foreign_keys=OFF; INSERT INTO a VALUES('V3','001',''); INSERT INTO u VALUES('V3','A','three',3)", []string{"V3"}, nil},
		{"gone with his attachments", "PRAGMA foreign_keys=ON; DELETE FROM u WHERE code='V1'", nil, nil},
		{"attached to nobody", "PRAGMA foreign_keys=OFF; INSERT INTO a VALUES('V9','001','')", nil, nil},
		{"replaced", "INSERT OR REPLACE INTO a VALUES('V1','001','again')", []string{"V1"}, nil},
		{"moved to the other dossier", "UPDATE u SET d='B' WHERE code='V1'; UPDATE a SET note='x' WHERE u='V1'", nil, []string{"V1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newSrcDB(t, touchSchema)
			streams := db.capture(map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
			for _, s := range streams {
				s.export(false)
			}
			db.do(tt.sql)
			for name, want := range map[string][]string{"A/down": tt.users, "B/down": tt.other} {
				if got := streams[name].users("u"); !slices.Equal(got, want) {
					t.Errorf("%s: users %v, want %v (%v)", name, got, want, streams[name].model.Ops)
				}
			}
		})
	}
}

// An attachment to nobody tells nothing of a user.
func TestTouchesNobody(t *testing.T) {
	db := newSrcDB(t, touchSchema)
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "u"}, {Name: "a", Touches: "u"}}}})["A/down"]
	s.export(false)
	db.do("PRAGMA foreign_keys=OFF; INSERT INTO a VALUES('V9','001','')")
	s.export(false)
	if want := []string{"a upsert u,till,note"}; !slices.Equal(s.model.Ops, want) || s.model.Rows != 1 {
		t.Errorf("%q, %d rows, want %q, 1", s.model.Ops, s.model.Rows, want)
	}
}

// Where the journal tells columns apart, nothing is touched by an update that
// changes nothing; and what a REPLACE pushes out touches, too.
func TestTouchesChanges(t *testing.T) {
	const schema = touchSchema + `CREATE TABLE b(id INTEGER PRIMARY KEY, u TEXT REFERENCES u, till TEXT UNIQUE, note);
		INSERT INTO b VALUES(1,'V1','001',''), (2,'V2','002','');`
	config := database.SourceConfig{Tables: []database.TableConfig{{Name: "u", DossierColumn: "d", Dossier: "A"}, {Name: "b", Touches: "u", Columns: true}}}
	for _, tt := range []struct {
		sql   string
		users []string
	}{
		{"UPDATE b SET note='', till=till, u=u", nil},
		{"UPDATE b SET note='x' WHERE id=2", []string{"V2"}},
		{"UPDATE b SET u='V2' WHERE id=1", []string{"V1", "V2"}},
		{"INSERT OR REPLACE INTO b VALUES(1,'V2','003','')", []string{"V1", "V2"}},
		{"INSERT OR REPLACE INTO b VALUES(3,'V2','001','')", []string{"V1", "V2"}},
		{"UPDATE OR REPLACE b SET till='001' WHERE id=2", []string{"V1", "V2"}},
		{"UPDATE OR REPLACE b SET rowid=1 WHERE id=2", []string{"V1", "V2"}},
		{"UPDATE OR REPLACE b SET id=3 WHERE id=2", []string{"V2"}},
	} {
		db := newSrcDB(t, schema)
		s := db.capture(map[string]database.SourceConfig{"A/down": config})["A/down"]
		s.export(false)
		db.do(tt.sql)
		got := s.users("u")
		if !slices.Equal(got, tt.users) {
			t.Errorf("%s: users %q, want %q", tt.sql, got, tt.users)
		}
	}
}

// users exports a batch and returns the keys of a table's rows in it that came
// whole, sorted.
func (s *srcStream) users(table string) (keys []string) {
	s.db.t.Helper()
	s.export(false)
	for _, key := range s.model.Whole(table) {
		keys = append(keys, strings.Trim(key, `"`))
	}
	return keys
}

// The ERP may replace the touched table by a new one, as its migrations do.
func TestTouchesRebuild(t *testing.T) {
	db := newSrcDB(t, touchSchema)
	s := db.capture(map[string]database.SourceConfig{"A/down": touchConfig("A")})["A/down"]
	s.export(false)
	db.rebuild("u")
	db.do("INSERT INTO a VALUES('V2','001','')")
	// Nobody knows which users are new, and what touches them comes with them.
	for _, table := range s.export(false).Tables {
		if table.Scope != manifest.Whole {
			t.Errorf("table %s: %s", table.Name, table.Scope)
		}
	}
	db.do("INSERT INTO a VALUES('V2','002','')")
	if got := s.users("u"); !slices.Equal(got, []string{"V2"}) {
		t.Errorf("%q", got)
	}
	s.check(touchConfig("A").Tables)
}

// A stream that does not carry the touched table reads on when another one's
// setting is new, and makes what is missing.
func TestTouchesOtherStream(t *testing.T) {
	db := newSrcDB(t, touchSchema)
	plain := database.SourceConfig{Tables: []database.TableConfig{{Name: "a"}}}
	db.capture(map[string]database.SourceConfig{"B/down": plain})["B/down"].export(false)
	c := NewCapture(map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": plain})
	b := &srcStream{Source: NewSource(db.path, c, SourceOptions{}), name: "B/down", model: newSrcModel(t), db: db}
	db.do("INSERT INTO a VALUES('V2','001','')")
	b.export(false)
	if want := []string{"a upsert u,till,note"}; !slices.Equal(b.model.Ops, want) || b.model.Rows != 1 {
		t.Errorf("%q, %d rows, want %q, 1", b.model.Ops, b.model.Rows, want)
	}
	a := db.capture(map[string]database.SourceConfig{"A/down": touchConfig("A"), "B/down": plain})["A/down"]
	a.export(false)
	db.do("INSERT INTO a VALUES('V2','002','')")
	if got := a.users("u"); !slices.Equal(got, []string{"V2"}) {
		t.Errorf("%q", got)
	}
}

// TestTouchesPlan: touched rows, and those that come with them, are looked up.
func TestTouchesPlan(t *testing.T) {
	db := newSrcDB(t, strings.Replace(touchSchema, "COLLATE NOCASE", "", 1)) // else no index of a knows a user's key
	s := db.capture(map[string]database.SourceConfig{"A/down": touchConfig("A")})["A/down"]
	p, err := s.capture.plan(db.Conn, s.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range p.tables {
		e := &extraction{db: db.Conn, capture: s.capture, to: 100}
		d := e.delta(&extracted{carried: table})
		for _, sql := range []string{d.rowsSQL("NULL", nil, 0), d.deletesSQL(), "SELECT 1 FROM " + d.source()} {
			searches := 0
			err := db.Query("EXPLAIN QUERY PLAN "+sql, func(r *sqlite3.Stmt) error {
				line := r.Text(3)
				if strings.HasPrefix(line, "SEARCH r ") || strings.HasPrefix(line, "SEARCH u ") {
					searches++
				}
				if strings.HasPrefix(line, "SCAN r") || strings.HasPrefix(line, "SCAN u") || strings.Contains(line, "AUTOMATIC") {
					t.Errorf("%s: %s", sql, line)
				}
				return nil
			}, d.bound...)
			if err != nil || searches == 0 {
				t.Errorf("%s: %d lookups, %v", sql, searches, err)
			}
		}
	}
}
