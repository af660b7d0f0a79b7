package sqlite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// touchSchema are users and their attachments to tills.
const touchSchema = `CREATE TABLE u(code TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, d TEXT, name TEXT, x);
	CREATE TABLE a(u TEXT REFERENCES u(code) ON DELETE CASCADE ON UPDATE CASCADE, till TEXT, note TEXT, PRIMARY KEY(u, till)) WITHOUT ROWID;
	INSERT INTO u VALUES('V1','A','one',1), ('V2','A','two',2), ('W1','B','else',3); INSERT INTO a VALUES('V1','001',''), ('W1','001','');`

func touchConfig(dossier string) SourceConfig {
	return SourceConfig{Tables: []TableConfig{
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
			streams := db.capture(map[string]SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
			for _, s := range streams {
				s.export(false)
			}
			db.do(tt.sql)
			for name, want := range map[string][]string{"A/down": tt.users, "B/down": tt.other} {
				s := streams[name]
				s.model.begin()
				got := []string{}
				x, err := s.Read(t.Context(), name, false, &touchSink{s.model, &got})
				if err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(got) != fmt.Sprint(append([]string{}, want...)) {
					t.Errorf("%s: users %v, want %v (tables %v)", name, got, want, x.Tables)
				}
			}
		})
	}
}

// A user who is attached once more comes with all his attachments.
func TestTouchesSiblings(t *testing.T) {
	db := newSrcDB(t, touchSchema)
	s := db.capture(map[string]SourceConfig{"A/down": touchConfig("A")})["A/down"]
	db.do("INSERT INTO a VALUES('V2','002','two'), ('V2','003','three')")
	s.export(false)
	db.do("INSERT INTO a VALUES('V2','001','one')")
	s.model.begin()
	srcKeys.Store("a", []string{"u", "till"})
	s.model.tables["a"] = nil // a till that had filtered all of it
	if _, err := s.Read(t.Context(), s.name, false, s.model); err != nil {
		t.Fatal(err)
	}
	if got := len(s.model.lines("a")); got != 3 {
		t.Errorf("%d attachments: %v", got, s.model.lines("a"))
	}
}

// A touchSink notes the users that come whole.
type touchSink struct {
	*srcModel
	users *[]string
}

func (s *touchSink) Row(line []byte) error {
	if s.head.Table == "u" && s.head.Op == "upsert" {
		*s.users = append(*s.users, strings.Split(string(line), `"`)[1])
	}
	return s.srcModel.Row(line)
}

// A setting that cannot be is refused, and says how it could.
func TestTouchesRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config TableConfig
		says   string
	}{
		{"no such table", TableConfig{Name: "a", Touches: "nobody"}, "ships no other table"},
		{"itself", TableConfig{Name: "a", Touches: "A"}, "ships no other table"},
		{"no reference", TableConfig{Name: "b", Touches: "u"}, "touches_columns = "},
		{"too many columns", TableConfig{Name: "a", Touches: "u", TouchesColumns: []string{"u", "till"}}, "names 2"},
		{"no such column", TableConfig{Name: "a", Touches: "u", TouchesColumns: []string{"z"}}, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newSrcDB(t, touchSchema+"CREATE TABLE b(id INTEGER PRIMARY KEY)")
			c := NewCapture(map[string]SourceConfig{"A/down": {Tables: []TableConfig{{Name: "u"}, tt.config}}})
			err := c.Install(t.Context(), db.path, SourceOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q in it", err, tt.says)
			}
		})
	}
}

// To touch something from now on, or no more, ships nothing whole.
func TestTouchesSetLater(t *testing.T) {
	db := newSrcDB(t, touchSchema)
	plain := touchConfig("A")
	plain.Tables[1].Touches = ""
	db.capture(map[string]SourceConfig{"A/down": plain})["A/down"].export(false)
	for _, config := range []SourceConfig{touchConfig("A"), plain} {
		s := db.capture(map[string]SourceConfig{"A/down": config})["A/down"]
		x, err := s.Read(t.Context(), s.name, false, s.model)
		if err != nil || len(x.Tables) != 0 {
			t.Errorf("%+v, %v", x.Tables, err)
		}
	}
}

// TestTouchesRandom: whatever is done to users and attachments, every user
// whose attachments changed and who is there comes whole; and a reader of the
// stream holds what the database does.
func TestTouchesRandom(t *testing.T) {
	srcKeys.Store("u", []string{"code"})
	srcKeys.Store("a", []string{"u", "till"})
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		db := newSrcDB(t, touchSchema)
		streams := db.capture(map[string]SourceConfig{"A/down": touchConfig("A"), "B/down": touchConfig("B")})
		for _, s := range streams {
			s.model.fold["u"], s.model.fold["a"] = true, true
			s.export(false)
		}
		for range 6 {
			was := db.attachments("")
			for range 1 + rnd.IntN(8) {
				db.do(touchChange(rnd))
			}
			for _, d := range []string{"A", "B"} {
				s, got := streams[d+"/down"], []string{}
				s.model.begin()
				x, err := s.Read(t.Context(), s.name, false, &touchSink{s.model, &got})
				if err != nil {
					t.Fatal(err)
				}
				s.model.end(x)
				s.publish(x)
				s.check(touchConfig(d).Tables)
				for code, now := range db.attachments(d) {
					if now != was[code] && !slices.Contains(got, code) {
						t.Errorf("seed %d: user %s has attachments %q, had %q, and does not come whole: %v", seed, code, now, was[code], got)
					}
				}
			}
		}
	}
}

// touchChange is one change of users or attachments.
func touchChange(rnd *rand.Rand) string {
	u, d, till := fmt.Sprintf("V%d", rnd.IntN(6)), string(rune('A'+rnd.IntN(2))), fmt.Sprintf("%03d", rnd.IntN(3))
	return "PRAGMA foreign_keys=ON; " + []string{
		fmt.Sprintf("INSERT INTO u VALUES('%s','%s','n',%d) ON CONFLICT DO UPDATE SET x=excluded.x, d=excluded.d", u, d, rnd.IntN(100)),
		fmt.Sprintf("UPDATE u SET x=%d WHERE code='%s'", rnd.IntN(100), u),
		fmt.Sprintf("DELETE FROM u WHERE code='%s' AND %d=0", u, rnd.IntN(3)),
		fmt.Sprintf("INSERT OR REPLACE INTO a SELECT code,'%s','%d' FROM u WHERE code='%s'", till, rnd.IntN(9), u),
		fmt.Sprintf("UPDATE OR IGNORE a SET till='%s' WHERE u='%s'", till, u),
		fmt.Sprintf("UPDATE OR IGNORE a SET u=(SELECT max(code) FROM u) WHERE u='%s'", u),
		fmt.Sprintf("DELETE FROM a WHERE u='%s'", u),
	}[rnd.IntN(7)]
}

// attachments returns what each user of a dossier, or of all, is attached to.
func (db *srcDB) attachments(dossier string) map[string]string {
	list := map[string]string{}
	for _, line := range strings.Split(db.text("SELECT group_concat(code||'='||coalesce((SELECT group_concat(till||note, ',') FROM (SELECT * FROM a WHERE a.u=u.code ORDER BY till)),''), ';') FROM u WHERE d LIKE '%"+dossier+"'"), ";") {
		code, what, _ := strings.Cut(line, "=")
		list[code] = what
	}
	return list
}
