package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// A touchWorld is users and attachments of one shape. user and till are the
// columns of an attachment, key those of the user; %[1]d stands for a number
// from 0 to 5 as a user's key is made of it.
type touchWorld struct {
	u, a     string // tables
	schema   string
	config   func(dossier string) []database.TableConfig
	newUser  string   // values of a user's key
	is       string   // condition that a row of u is the user
	set      []string // assignments of the attachment's user
	of       string   // condition that attachment a is of user u
	foldU    bool     // users' keys compare without case
	foldA    bool     // and so do attachments'
	attach   string   // columns of an attachment beside its own key
	spelled  []string
	ownKey   bool // attachments have a number of their own
	dossiers bool // and a dossier
}

var touchWorlds = []touchWorld{
	{
		u: "uw", a: "aw", foldU: true,
		schema: `CREATE TABLE uw(code TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, d TEXT, x);
			CREATE TABLE aw(u TEXT REFERENCES uw ON DELETE CASCADE ON UPDATE CASCADE, till TEXT, note, PRIMARY KEY(u, till)) WITHOUT ROWID`,
		config: func(d string) []database.TableConfig {
			return []database.TableConfig{{Name: "uw", DossierColumn: "d", Dossier: d, Columns: true}, {Name: "aw", Touches: "uw"}}
		},
		newUser: "'V%[1]d'", is: "code='v%[1]d'", set: []string{"u='V%[1]d'", "u='v%[1]d'"}, of: "a.u = u.code", attach: "u", spelled: []string{"'V%[1]d'", "'v%[1]d'"},
	},
	{
		u: "ui", a: "ai", ownKey: true,
		schema: `CREATE TABLE ui(id INTEGER PRIMARY KEY, d TEXT, x);
			CREATE TABLE ai(id INTEGER PRIMARY KEY, u TEXT, till TEXT, note, UNIQUE(till, note));
			CREATE INDEX ai_u ON ai(u)`,
		config: func(d string) []database.TableConfig {
			return []database.TableConfig{{Name: "ui", DossierColumn: "d", Dossier: d}, {Name: "ai", Touches: "ui", TouchesColumns: []string{"u"}, Columns: true}}
		},
		newUser: "%[1]d", is: "id=%[1]d", set: []string{"u=%[1]d", "u=NULL", "u='x'"}, of: "u.id = a.u", attach: "u", spelled: []string{"%[1]d", "'0%[1]d'", "NULL"},
	},
	{
		u: "uc", a: "ac", dossiers: true,
		schema: `CREATE TABLE uc(co INTEGER, "Le code" TEXT COLLATE NOCASE, d TEXT, x, PRIMARY KEY(co, "Le code"));
			CREATE TABLE ac(code TEXT COLLATE NOCASE, co INTEGER, till TEXT, d TEXT, note, PRIMARY KEY(till, code),
			FOREIGN KEY(code, co) REFERENCES uc("Le code", co) ON DELETE CASCADE ON UPDATE CASCADE)`,
		config: func(d string) []database.TableConfig {
			return []database.TableConfig{{Name: "uc", DossierColumn: "d", Dossier: d, Columns: true}, {Name: "ac", DossierColumn: "d", Dossier: d, Touches: "uc"}}
		},
		newUser: "1, 'V%[1]d'", is: `co=1 AND "Le code"='V%[1]d'`, set: []string{"code='v%[1]d'", "co=co+1", "code='V%[1]d', co=1"},
		of: `a.co = u.co AND u."Le code" = a.code`, foldU: true, foldA: true, attach: "co, code", spelled: []string{"1, 'V%[1]d'", "1, 'v%[1]d'", "2, 'V%[1]d'"},
	},
}

// TestTouchesRandom: whatever is done to users and attachments, every user
// whose attachments changed and who is there comes whole, one who got another
// attachment or is new to the dossier with all of them; a reader of the stream
// holds what the database does; and none is shown a key that was never his.
func TestTouchesRandom(t *testing.T) {
	seeds := max(8/raceSlow, 1)
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_SEEDS")); err == nil {
		seeds = n
	}
	for i := range touchWorlds {
		for seed := range seeds {
			w := &touchWorlds[i]
			t.Run(fmt.Sprint(w.u, seed), func(t *testing.T) { w.random(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		}
	}
}

func (w *touchWorld) random(t *testing.T, r *rand.Rand) {
	db := newSrcDB(t, w.schema)
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: w.config("A")}, "B/down": {Tables: w.config("B")}})
	for _, c := range w.config("A") {
		srcKeyNames[c.Name] = srcKeyList(c.Name)
		db.watch(c)
	}
	was := map[string]map[string]map[string]string{}
	for _, s := range streams {
		s.model.fold[w.u], s.model.fold[w.a] = w.foldU, w.foldA
		s.export(false)
		was[s.name] = map[string]map[string]string{}
	}
	var log []string
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(log, "\n"))
		}
	}()
	for range 12 {
		for range 1 + r.IntN(8) {
			sql := w.change(r)
			db.do(fmt.Sprintf("PRAGMA foreign_keys=%d; PRAGMA recursive_triggers=%d", r.IntN(2), r.IntN(4)/3))
			if err := db.Exec(sql); err != nil {
				if !sqlite3.IsConstraint(err) {
					t.Fatalf("%s: %v", sql, err)
				}
				sql += " -- " + err.Error()
			}
			log = append(log, sql)
		}
		for _, d := range []string{"A", "B"} {
			if r.IntN(3) == 0 {
				continue
			}
			s := streams[d+"/down"]
			s.export(false)
			log = append(log, "-- export "+d)
			now := w.attachments(db, d)
			w.complete(t, s, was[s.name], now)
			was[s.name] = now
			s.check(w.config(d))
			ever := map[string]bool{}
			for _, c := range w.config(d) {
				db.everKeys(c, s.model, ever)
			}
			for key := range s.model.Seen {
				if !ever[key] {
					t.Errorf("stream %s was shown the key %s", s.name, key)
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// complete compares the batch that was just exported with the attachments of
// before and of now.
func (w *touchWorld) complete(t *testing.T, s *srcStream, was, now map[string]map[string]string) {
	for user, have := range now {
		had, old := was[user]
		changed := !old || len(have) != len(had)
		gained := !old
		for key, row := range have {
			if before, ok := had[key]; !ok || before != row {
				changed = true
				gained = gained || !ok
			}
		}
		if changed && !slices.Contains(s.model.Whole(w.u), user) {
			t.Errorf("stream %s: user %s has attachments %v, had %v, and does not come whole: %v", s.name, user, have, had, s.model.Whole(w.u))
		}
		for key := range have {
			if gained && !slices.Contains(s.model.Whole(w.a), key) {
				t.Errorf("stream %s: user %s has attachments %v, had %v, and comes without %s: %v", s.name, user, have, had, key, s.model.Whole(w.a))
			}
		}
	}
}

// attachments returns the attachments that a dossier's stream carries, by its
// users and by their keys, in the form of a model's.
func (w *touchWorld) attachments(db *srcDB, dossier string) map[string]map[string]string {
	m := newSrcModel(db.t)
	m.fold[w.u], m.fold[w.a] = w.foldU, w.foldA
	uk, ak := srcKeyList(w.u), srcKeyList(w.a)
	list := map[string]map[string]string{}
	sql := "SELECT " + database.QuoteAll("u.", uk) + ", " + database.QuoteAll("a.", ak) + ", a.note || a.till, a.till IS NOT NULL FROM " + w.u + " AS u LEFT JOIN " + w.a + " AS a ON " + w.of
	if w.dossiers {
		sql += " AND a.d='" + dossier + "'"
	}
	err := db.Query(sql+" WHERE u.d='"+dossier+"'", func(s *sqlite3.Stmt) error {
		key := func(from, n int) string {
			return strings.ReplaceAll(strings.Trim(string(appendPlaces(nil, s, all(from + n)[from:])), "[]\n"), ",", "|")
		}
		user := m.canonical(w.u, key(0, len(uk)))
		if list[user] == nil {
			list[user] = map[string]string{}
		}
		if s.Int(len(uk)+len(ak)+1) == 1 {
			list[user][m.canonical(w.a, key(len(uk), len(ak)))] = s.Text(len(uk) + len(ak))
		}
		return nil
	})
	if err != nil {
		db.t.Fatal(err)
	}
	return list
}

// change is one statement of the ERP.
func (w *touchWorld) change(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	user := func(form string) string { return strings.ReplaceAll(form, "%[1]d", fmt.Sprint(r.IntN(5))) }
	till, note, dossier := fmt.Sprintf("'%03d'", r.IntN(3)), fmt.Sprint(r.IntN(3)), pick("'A'", "'B'")
	or := pick("", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ")
	columns, values := w.attach+", till, note", user(pick(w.spelled...))+", "+till+", "+note
	if w.ownKey {
		columns, values = "id, "+columns, pick("1", "2", "3", "4", "5", "6")+", "+values
	}
	if w.dossiers {
		columns, values = "d, "+columns, dossier+", "+values
	}
	switch r.IntN(9) {
	case 0, 1:
		return "INSERT " + or + "INTO " + w.u + " VALUES(" + user(w.newUser) + ", " + dossier + ", " + note + ")"
	case 2:
		return "UPDATE " + or + w.u + " SET " + pick("x="+note, "d="+dossier) + " WHERE " + user(w.is)
	case 3:
		return "DELETE FROM " + w.u + " WHERE " + user(w.is)
	case 4:
		return "DELETE FROM " + w.a + " WHERE till=" + till + " AND note=" + note
	case 5:
		set := pick("note="+note, "till="+till, user(pick(w.set...)))
		if w.ownKey && r.IntN(3) == 0 {
			set = pick("id=", "rowid=") + note
		}
		return "UPDATE " + or + w.a + " SET " + set + pick("", " WHERE note="+note, " WHERE till="+till)
	default:
		return "INSERT " + or + "INTO " + w.a + "(" + columns + ") VALUES(" + values + ")"
	}
}
