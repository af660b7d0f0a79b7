package sourcetest

import (
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// testConfigurationChanges: what another configuration ships differently goes
// whole once; the rest goes on.
func testConfigurationChanges(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER, w INTEGER); CREATE TABLE u(id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES(1,1,1); INSERT INTO u VALUES(1,1)")
	s := capture(t, db, idKey, one(database.TableConfig{Name: "t", Exclude: []string{"w"}, Columns: true}))["A/down"]
	s.export()
	s.check()
	db.Do("UPDATE t SET v=5; UPDATE t SET w=2")
	s.again(one(database.TableConfig{Name: "t", Columns: true}, database.TableConfig{Name: "u"}))
	if x := s.export(); len(x.Tables) != 2 || x.Tables[0].Scope != manifest.Whole || x.Kind != manifest.Delta {
		t.Errorf("%+v", x)
	}
	s.check()
	db.Do("UPDATE t SET w=7; UPDATE u SET v=2")
	s.again(one(database.TableConfig{Name: "t"}, database.TableConfig{Name: "u", Columns: true}))
	if x := s.read(false); x.Kind != manifest.Delta { // whole or not: a server's functions are replaced beside writers at work
		t.Errorf("a %s", x.Kind)
	}
	s.wants("another capture", "t upsert id,v,w", "u upsert id,v")
}

// testAbsent: a stream that was out of the configuration for a while misses
// nothing when it is back.
func testAbsent(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES(1,1),(2,2),(3,3),(4,4)")
	both := map[string]database.SourceConfig{}
	for _, name := range []string{"A/down", "B/down"} {
		both[name] = database.SourceConfig{Tables: []database.TableConfig{{Name: "t"}}}
	}
	streams := capture(t, db, idKey, both)
	a, b := streams["A/down"], streams["B/down"]
	a.export()
	b.export()
	a.again(one(database.TableConfig{Name: "t"}))
	for _, sql := range []string{"DELETE FROM t WHERE id=3", "UPDATE t SET v=7", "DELETE FROM t WHERE id=4"} {
		db.Do(sql)
		a.export()
		a.check()
	}
	a.again(both)
	b.again(both)
	b.export()
	b.check()
	db.Do("UPDATE t SET v=8")
	b.export()
	b.check()
}

// testUnchanged: a baseline says so when nothing of the stream was changed
// since the batch before, and only then.
func testUnchanged(t *testing.T, open func(testing.TB, string) Database) {
	config := func(dossier string, exclude ...string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "t", DossierColumn: "d", Dossier: dossier, Exclude: exclude}, {Name: "u"}}}
	}
	for _, tt := range []struct {
		name, sql string
		exclude   []string // of A, from now on
		want      bool
	}{
		{name: "nothing", want: true},
		{name: "another dossier's row", sql: "UPDATE t SET v=9 WHERE d='B'", want: true},
		{name: "a row", sql: "UPDATE t SET v=9 WHERE d='A'"},
		{name: "a row deleted", sql: "DELETE FROM t WHERE d='A'"},
		{name: "a row that went to another dossier", sql: "UPDATE t SET d='B' WHERE id=1"},
		{name: "a row of everybody's", sql: "INSERT INTO u VALUES(2, 2)"},
		{name: "rebuilt table", sql: "DROP TABLE u; CREATE TABLE u(id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO u VALUES(1, 7)"},
		{name: "another column", sql: "ALTER TABLE t ADD COLUMN w INTEGER"},
		{name: "a column less", exclude: []string{"v"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := open(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, d TEXT, v INTEGER); CREATE TABLE u(id INTEGER PRIMARY KEY, v INTEGER);
				INSERT INTO t VALUES(1,'A',1), (2,'B',2), (3,'A',3); INSERT INTO u VALUES(1, 1)`)
			streams := map[string]database.SourceConfig{"A/down": config("A"), "B/down": config("B")}
			s := capture(t, db, idKey, streams)["A/down"]
			if x := s.read(true); x.Unchanged {
				t.Fatal("the first batch is unchanged")
			}
			s.export()
			if tt.sql != "" {
				db.Do(tt.sql)
			}
			if tt.exclude != nil {
				streams["A/down"] = config("A", tt.exclude...)
				s.again(streams)
			}
			if x := s.read(true); x.Kind != manifest.Baseline || x.Unchanged != tt.want {
				t.Errorf("kind %s, unchanged %v, want %v", x.Kind, x.Unchanged, tt.want)
			}
		})
	}
}

// testRefused: a configuration that cannot be is refused, and the error says
// what could.
func testRefused(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, touchSchema+";CREATE TABLE nokey(v INTEGER); CREATE TABLE b(id INTEGER PRIMARY KEY)")
	u := database.TableConfig{Name: "u"}
	for _, tt := range []struct {
		name   string
		tables []database.TableConfig
		says   string
	}{
		{"no table at all", nil, "carries no table"},
		{"no such table", []database.TableConfig{{Name: "nobody"}}, "no such table"},
		{"twice", []database.TableConfig{u, u}, "twice"},
		{"no key", []database.TableConfig{{Name: "nokey"}}, "no PRIMARY KEY"},
		{"a key that is not unique", []database.TableConfig{{Name: "u", Key: []string{"name"}}}, "nothing keeps its key"},
		{"a key that is not there", []database.TableConfig{{Name: "u", Key: []string{"z"}}}, "does not exist"},
		{"no dossier column", []database.TableConfig{{Name: "u", DossierColumn: "z", Dossier: "A"}}, "does not exist"},
		{"no dossier", []database.TableConfig{{Name: "u", DossierColumn: "d"}}, "no dossier to look for"},
		{"the key excluded", []database.TableConfig{{Name: "u", Exclude: []string{"code"}}}, "part of the key"},
		{"an unknown column excluded", []database.TableConfig{{Name: "u", Exclude: []string{"z"}}}, "does not exist"},
		{"touches nobody", []database.TableConfig{u, {Name: "a", Touches: "nobody"}}, "ships no other table"},
		{"touches itself", []database.TableConfig{u, {Name: "a", Touches: "a"}}, "ships no other table"},
		{"touches without a reference", []database.TableConfig{u, {Name: "b", Touches: "u"}}, "touches_columns = "},
		{"touches by too many columns", []database.TableConfig{u, {Name: "a", Touches: "u", TouchesColumns: []string{"u", "till"}}}, "names 2"},
		{"touches by no such column", []database.TableConfig{u, {Name: "a", Touches: "u", TouchesColumns: []string{"z"}}}, "does not exist"},
	} {
		if _, err := db.Install(one(tt.tables...)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.says)
		}
	}
	two := map[string]database.SourceConfig{"A/down": {Tables: []database.TableConfig{{Name: "u", DossierColumn: "d", Dossier: "A"}}},
		"B/down": {Tables: []database.TableConfig{u}}}
	if _, err := db.Install(two); err == nil || !strings.Contains(err.Error(), "two dossiers disagree") {
		t.Errorf("dossiers that disagree: %v", err)
	}
}
