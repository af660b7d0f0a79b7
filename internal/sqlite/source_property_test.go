package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// srcSchema has what tables can have that makes capture hard.
const srcSchema = `
CREATE TABLE article(id INTEGER PRIMARY KEY, dossier TEXT, code TEXT UNIQUE COLLATE NOCASE, price INTEGER, label TEXT COLLATE NOCASE,
  secret, vat TEXT NOT NULL DEFAULT 'N' , low AS (lower(label)||price) VIRTUAL, kept AS (price*2) STORED);
CREATE UNIQUE INDEX article_open ON article(label) WHERE price > 5;
CREATE UNIQUE INDEX article_low ON article(low) WHERE article.secret = 1;
CREATE UNIQUE INDEX article_expr ON article(price + 1, lower(vat) DESC) WHERE secret = 2;
CREATE TABLE "Prix d'été ""2026"""("Clé 1" BLOB, "2e clé" TEXT COLLATE NOCASE, dossier TEXT NOT NULL DEFAULT 'A', v, w REAL, UNIQUE(v), PRIMARY KEY("Clé 1", "2e clé")) WITHOUT ROWID;
CREATE TABLE client(code TEXT PRIMARY KEY COLLATE NOCASE, name TEXT NOT NULL DEFAULT 'x', parent TEXT REFERENCES client(code) ON DELETE CASCADE ON UPDATE CASCADE, UNIQUE(name) ON CONFLICT REPLACE);
CREATE TABLE loose(k PRIMARY KEY NOT NULL, v, n NUMERIC, art INTEGER REFERENCES article(id) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE pair(a INTEGER, b TEXT, d INTEGER, v ANY, PRIMARY KEY(a, b)) STRICT;
CREATE TABLE alt(id INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE, v, dossier TEXT AS (substr(ref, 1, 1)));
`

func srcTables(dossier string, columns bool) []database.TableConfig {
	d := map[string]string{"A": "1", "B": "2"}[dossier]
	return []database.TableConfig{
		{Name: "article", DossierColumn: "dossier", Dossier: dossier, Exclude: []string{"secret"}, Columns: columns},
		{Name: `Prix d'été "2026"`, DossierColumn: "dossier", Dossier: dossier, Columns: columns},
		{Name: "client", Columns: columns},
		{Name: "loose", Columns: !columns},
		{Name: "pair", DossierColumn: "d", Dossier: d, Columns: columns},
		{Name: "alt", Key: []string{"ref"}, DossierColumn: "dossier", Dossier: strings.ToLower(dossier), Exclude: []string{"id"}, Columns: columns},
	}
}

// srcValues are the values that the columns are given: few, so that they collide.
var srcValues = map[string][]string{
	"id":    {"1", "2", "3", "4", "NULL"},
	"price": {"1", "6", "7", "8", "NULL"}, "label": {"'a'", "'A'", "'b'", "NULL"}, "secret": {"1", "2", "NULL", "1.0"},
	"vat": {"'N'", "'n'", "'R'", "NULL"}, "dossier": {"'A'", "'B'", "NULL", "'a'"}, "code": {"'p'", "'P'", "'q'", "'Q'", "'r'"},
	"Clé 1": {"x'00'", "x''", "'t'", "1"}, "2e clé": {"'é'", "'k'", "'K'"}, "v": {"1", "1.0", "'1'", "NULL", "2", "x'ff00'", "'a'"}, "w": {"1", "0.5"},
	"name": {"'x'", "'y'", "'z'", "NULL"}, "parent": {"'p'", "'q'", "NULL"},
	"k": {"1", "1.0", "'1'", "x'31'", "2"}, "n": {"1", "1.0", "'1'", "'z'"}, "art": {"1", "2", "NULL"},
	"a": {"1", "2"}, "b": {"'u'", "'v'"}, "d": {"1", "2", "3"}, "ref": {"'a1'", "'a2'", "'b1'", "'b2'"},
}

type srcTable struct {
	name    string
	columns []string
}

func srcRandom(r *rand.Rand, t srcTable) string {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	or := pick([]string{"", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ABORT "})
	value := func(c string) string { return pick(srcValues[c]) }
	where := func() string {
		c := pick(t.columns)
		return " WHERE " + database.Quote(c) + " IS " + value(c)
	}
	switch r.IntN(10) {
	case 0:
		return "DELETE FROM " + database.Quote(t.name) + where()
	case 1, 2, 3, 4:
		var names, values []string
		for _, c := range t.columns {
			names, values = append(names, database.Quote(c)), append(values, value(c))
		}
		sql := "INSERT " + or + "INTO " + database.Quote(t.name) + "(" + strings.Join(names, ",") + ") VALUES(" + strings.Join(values, ",") + ")"
		if c := pick(t.columns); r.IntN(6) == 0 {
			sql += " ON CONFLICT DO UPDATE SET " + database.Quote(c) + " = " + value(c)
		}
		return sql
	case 5:
		if t.name == "article" {
			return "UPDATE " + or + "article SET rowid = " + value("id") + where()
		}
	}
	var sets []string
	for range 1 + r.IntN(3) {
		c := pick(t.columns)
		sets = append(sets, database.Quote(c)+" = "+value(c))
	}
	sql := "UPDATE " + or + database.Quote(t.name) + " SET " + strings.Join(sets, ", ")
	if r.IntN(5) > 0 {
		sql += where()
	}
	return sql
}

// rebuild does what migrations do: a new table, the rows, the old name.
func (db *srcDB) rebuild(name string) {
	db.t.Helper()
	var create string
	var indexes, columns []string
	err := db.Query(`SELECT type, sql FROM sqlite_schema WHERE tbl_name=?1 AND type IN ('table','index') AND sql IS NOT NULL`, func(s *sqlite3.Stmt) error {
		if s.Text(0) == "table" {
			create = s.Text(1)
		} else {
			indexes = append(indexes, s.Text(1))
		}
		return nil
	}, name)
	tab, err2 := ReadTable(db.Conn, name)
	if err != nil || err2 != nil {
		db.t.Fatal(err, err2)
	}
	for _, c := range tab.Columns {
		if !c.Generated {
			columns = append(columns, c.Name)
		}
	}
	list := database.QuoteAll("", columns)
	written := name
	if !strings.HasPrefix(create, "CREATE TABLE "+name) {
		written = database.Quote(name)
	}
	db.do("PRAGMA foreign_keys=OFF; BEGIN; " + strings.Replace(create, written, "new_one", 1))
	db.do("INSERT INTO new_one(" + list + ") SELECT " + list + " FROM " + database.Quote(name) + "; DROP TABLE " + database.Quote(name) +
		"; ALTER TABLE new_one RENAME TO " + database.Quote(name))
	for _, sql := range indexes {
		db.do(sql)
	}
	db.do("COMMIT")
}

// TestAnyStatements gives the database random statements of every kind and
// compares, after each export, what the readers of two dossiers hold with
// what the database holds. No reader may see a key that was never its own.
func TestAnyStatements(t *testing.T) {
	seeds := 12
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_SEEDS")); err == nil {
		seeds = n
	}
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			srcProperty(t, rand.New(rand.NewPCG(uint64(seed), 7)))
		})
	}
}

func srcProperty(t *testing.T, r *rand.Rand) {
	db := newSrcDB(t, srcSchema)
	configs := map[string][]database.TableConfig{"A": srcTables("A", true), "B": srcTables("B", r.IntN(2) == 0)}
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: configs["A"]}, "B/down": {Tables: configs["B"]}})
	for _, c := range configs["A"] {
		db.watch(c)
	}
	for _, s := range streams {
		s.model.fold["client"], s.model.fold[`Prix d'été "2026"`] = true, true
	}
	tables := []srcTable{
		{"article", []string{"id", "dossier", "code", "price", "label", "secret", "vat"}},
		{`Prix d'été "2026"`, []string{"Clé 1", "2e clé", "dossier", "v", "w"}},
		{"client", []string{"code", "name", "parent"}}, {"loose", []string{"k", "v", "n", "art"}},
		{"pair", []string{"a", "b", "d", "v"}}, {"alt", []string{"id", "ref", "v"}},
	}
	var log []string
	rebuilt := map[string]bool{} // dossier and table
	for range 12 {
		for range 1 + r.IntN(25) {
			tab := tables[r.IntN(len(tables))]
			sql := srcRandom(r, tab)
			if r.IntN(60) == 0 {
				db.rebuild(tab.name)
				rebuilt["A"+tab.name], rebuilt["B"+tab.name] = true, true
				for _, c := range configs["A"] {
					if c.Name == tab.name {
						db.watch(c)
					}
				}
				sql = "rebuild " + tab.name
			} else {
				db.do(fmt.Sprintf("PRAGMA foreign_keys=%d; PRAGMA recursive_triggers=%d", r.IntN(2), r.IntN(4)/3))
				if err := db.Exec(sql); err != nil {
					if !sqlite3.IsConstraint(err) && !strings.Contains(err.Error(), "datatype mismatch") && !strings.Contains(err.Error(), "ON CONFLICT") {
						t.Fatalf("%s: %v", sql, err)
					}
					sql += " -- " + err.Error()
				}
			}
			log = append(log, sql)
		}
		for _, name := range []string{"A", "B"} {
			if r.IntN(3) == 0 {
				continue
			}
			s := streams[name+"/down"]
			full := r.IntN(15) == 0
			x := s.export(full)
			for _, table := range x.Tables { // nothing but a rebuild is a reason to send a table whole
				if table.Scope == manifest.Whole && x.Kind == manifest.Delta && !rebuilt[name+table.Name] {
					t.Errorf("stream %s sends table %s whole", name, table.Name)
				}
			}
			for key := range rebuilt {
				if strings.HasPrefix(key, name) {
					delete(rebuilt, key)
				}
			}
			ever := map[string]bool{} // "table key"
			for _, c := range configs[name] {
				db.everKeys(c, s.model, ever)
			}
			for key := range s.model.Seen {
				if !ever[key] {
					t.Errorf("stream %s was shown the key %s", s.name, key)
				}
			}
			func() {
				defer func() {
					if t.Failed() {
						t.Log(strings.Join(log, "\n"))
					}
				}()
				s.check(configs[name])
			}()
			if t.Failed() {
				return
			}
		}
	}
}

// watch keeps, with triggers of the test's own, which keys ever were whose:
// also for the time of a part of a statement.
func (db *srcDB) watch(c database.TableConfig) {
	db.do("CREATE TABLE IF NOT EXISTS seen(tab, dossier, k1, k2)")
	for _, event := range []string{"INSERT", "UPDATE"} {
		keys := append(srcKeyNames[c.Name], srcKeyNames[c.Name][0])[:2]
		dossier := "NULL"
		if c.DossierColumn != "" {
			dossier = "new." + database.Quote(c.DossierColumn)
		}
		db.do("CREATE TRIGGER " + database.Quote("seen "+c.Name+event) + " AFTER " + event + " ON " + database.Quote(c.Name) + " BEGIN INSERT INTO seen VALUES(" +
			quoteText(c.Name) + ", " + dossier + ", " + database.QuoteAll("new.", keys) + "); END")
	}
}

// everKeys adds the keys that ever were a dossier's.
func (db *srcDB) everKeys(c database.TableConfig, m *srcModel, ever map[string]bool) {
	keys := len(srcKeyNames[c.Name])
	err := db.Query("SELECT DISTINCT k1, k2 FROM seen WHERE tab=?1 AND (?2 = '' OR CAST(dossier AS TEXT) = ?2)", func(s *sqlite3.Stmt) error {
		line := appendPlaces(nil, s, all(keys))
		key := strings.ReplaceAll(strings.Trim(string(line), "[]\n"), ",", "|")
		ever[c.Name+" "+m.canonical(c.Name, key)] = true
		return nil
	}, c.Name, c.Dossier)
	if err != nil {
		db.t.Fatal(err)
	}
}

var srcKeyNames = map[string][]string{
	"article": {"id"}, `Prix d'été "2026"`: {"Clé 1", "2e clé"}, "client": {"code"}, "loose": {"k"}, "pair": {"a", "b"}, "alt": {"ref"},
}
