package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// one makes a database with one table and one stream that has its baseline.
func srcOne(t *testing.T, schema string, c database.TableConfig) (*srcDB, *srcStream) {
	t.Helper()
	db := newSrcDB(t, schema)
	s := db.capture(map[string]database.SourceConfig{"ACME/down": {Tables: []database.TableConfig{c}}})["ACME/down"]
	s.export(false)
	return db, s
}

// TestStatements has a case for every kind of statement that capture by
// triggers is known to get wrong: what the next batch must hold, and that the
// reader then holds what the database holds.
func TestStatements(t *testing.T) {
	article := "CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT UNIQUE, price INTEGER, label TEXT COLLATE NOCASE);" +
		"INSERT INTO t VALUES(1,'a',10,'x'),(2,'b',20,'y'),(3,'c',30,'z')"
	child := article + "; CREATE TABLE c(id INTEGER PRIMARY KEY, t INTEGER REFERENCES t(id) ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO c VALUES(7,1),(8,2)"
	up, del := "t upsert id,code,price,label", "t delete id"
	for name, c := range map[string]struct {
		schema, sql string
		columns     bool
		table       string
		want        []string // the starts of the batch
	}{
		"insert":                   {article, "INSERT INTO t VALUES(9,'i',1,'i')", false, "t", []string{up}},
		"delete without WHERE":     {article, "DELETE FROM t", false, "t", []string{del}},
		"insert and delete":        {article, "INSERT INTO t VALUES(9,'i',1,'i'); DELETE FROM t WHERE id=9", false, "t", []string{del}},
		"delete and insert":        {article, "DELETE FROM t WHERE id=1; INSERT INTO t VALUES(1,'n',1,'n')", true, "t", []string{up}},
		"replace pushes out":       {article, "REPLACE INTO t VALUES(1,'b',1,'n')", false, "t", []string{up, del}},
		"update or replace":        {article, "UPDATE OR REPLACE t SET code='b' WHERE id=1", false, "t", []string{up, del}},
		"update or replace of key": {article, "UPDATE OR REPLACE t SET id=2 WHERE id=1", true, "t", []string{up, del}},
		"rowid instead of id":      {article, "UPDATE OR REPLACE t SET rowid=2 WHERE id=1", true, "t", []string{up, del}},
		"new key":                  {article, "UPDATE t SET id=50 WHERE id=1", true, "t", []string{up, del}},
		"upsert":                   {article, "INSERT INTO t VALUES(9,'a',11,'n') ON CONFLICT(code) DO UPDATE SET price=excluded.price", false, "t", []string{up}},
		"ignored":                  {article, "UPDATE OR IGNORE t SET code='b', price=5 WHERE id=1", false, "t", []string{up}}, // one too many, harmless
		"price alone":              {article, "UPDATE t SET price=price+1", true, "t", []string{"t patch id,price"}},
		"letter case alone":        {article, "UPDATE t SET label=upper(label)", true, "t", []string{"t patch id,label"}},
		"same values":              {article, "UPDATE t SET price=price, code=code, label=label", true, "t", nil},
		"two columns, two times":   {article, "UPDATE t SET price=1 WHERE id=2; UPDATE t SET code='q' WHERE id=2; UPDATE t SET price=2 WHERE id=1", true, "t", []string{"t patch id,price", "t patch id,code,price"}},
		"changed and deleted":      {article, "UPDATE t SET price=1; DELETE FROM t WHERE id=2", true, "t", []string{"t patch id,price", del}},
		"cascade of a delete":      {child, "PRAGMA foreign_keys=ON; DELETE FROM t WHERE id=1", false, "c", []string{"c delete id"}},
		"cascade of a key":         {child, "PRAGMA foreign_keys=ON; UPDATE t SET id=99 WHERE id=1", false, "c", []string{"c upsert id,t"}},
		"cascade of a replace":     {child, "PRAGMA foreign_keys=ON; REPLACE INTO t VALUES(1,'b',1,'n')", false, "c", []string{"c delete id"}},
		"a child pushes its parent out": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code REFERENCES t ON DELETE CASCADE, price, label); INSERT INTO t VALUES(1,NULL,1,1),(2,1,2,2)",
			"PRAGMA foreign_keys=ON; UPDATE OR REPLACE t SET rowid=1, code=1 WHERE id=2", true, "t", []string{del}},
		"a child takes its parent's key": {"CREATE TABLE t(id TEXT PRIMARY KEY, code TEXT REFERENCES t ON DELETE CASCADE, price, label); INSERT INTO t VALUES(1,NULL,1,1),(2,1,2,2)",
			"PRAGMA foreign_keys=ON; UPDATE OR REPLACE t SET id=1, code=1 WHERE id=2", true, "t", []string{del}},
		"trigger of the ERP": {article + "; CREATE TABLE l(k); CREATE TRIGGER x AFTER INSERT ON l BEGIN UPDATE t SET price=new.k; END",
			"INSERT INTO l VALUES(5)", true, "t", []string{"t patch id,price"}},
		"added column of a default": {article, "ALTER TABLE t ADD COLUMN n DEFAULT 4", false, "t", []string{up + ",n"}},
		"renamed column":            {article, "ALTER TABLE t RENAME COLUMN price TO prix; UPDATE t SET prix=1 WHERE id=1", true, "t", []string{"t upsert id,code,prix,label"}},
		"dropped column":            {article, "ALTER TABLE t DROP COLUMN price", false, "t", []string{"t upsert id,code,label"}},
		"rollback":                  {article, "BEGIN; DELETE FROM t; ROLLBACK", false, "t", nil},
		"not null default": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT UNIQUE NOT NULL DEFAULT 'a', price, label); INSERT INTO t VALUES(1,'a',1,1),(2,'b',2,2)",
			"UPDATE OR REPLACE t SET code=NULL WHERE id=2", false, "t", []string{up, del}},
		"on conflict replace in the table": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT UNIQUE ON CONFLICT REPLACE, price, label); INSERT INTO t VALUES(1,'a',1,1)",
			"INSERT INTO t VALUES(2,'a',2,2)", false, "t", []string{up, del}},
		"collation of the index": {article + "; CREATE UNIQUE INDEX u ON t(code COLLATE NOCASE)",
			"UPDATE OR REPLACE t SET code='B' WHERE id=1", true, "t", []string{"t patch id,code", del}},
		"index stricter than its column": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE, price, label); CREATE UNIQUE INDEX u ON t(code COLLATE BINARY); INSERT INTO t VALUES(1,'a',1,1),(2,'A',2,2)",
			"UPDATE OR REPLACE t SET code='A' WHERE id=1", true, "t", []string{"t patch id,code", del}},
		"partial index": {article + "; CREATE UNIQUE INDEX u ON t(price) WHERE label='on'; UPDATE t SET label='on', price=1 WHERE id=1; UPDATE t SET price=1 WHERE id=2",
			"UPDATE OR REPLACE t SET label='ON' WHERE id=2", true, "t", []string{"t patch id,label", del}},
		"expression index": {article + "; CREATE UNIQUE INDEX u ON t(abs(price))", "INSERT OR REPLACE INTO t VALUES(9,'q',-20,'q')", false, "t", []string{up, del}},
		"generated column, unique": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT, price INTEGER, label, g AS (code||price) UNIQUE); INSERT INTO t(id,code,price) VALUES(1,'a',10),(2,'a',20)",
			"UPDATE OR REPLACE t SET price=20 WHERE id=1", true, "t", []string{"t patch id,price", del}},
		"without rowid, blob key": {"CREATE TABLE t(id BLOB PRIMARY KEY, code UNIQUE, price, label) WITHOUT ROWID; INSERT INTO t VALUES(x'00',1,1,1),(x'',2,2,2)",
			"UPDATE OR REPLACE t SET code=2 WHERE id=x'00'", false, "t", []string{up, del}},
		"key in other letters": {"CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, code, price, label); INSERT INTO t VALUES('abc',1,1,1)",
			"UPDATE t SET id='ABC'", true, "t", []string{up}},
		"key of another class": {"CREATE TABLE t(id PRIMARY KEY NOT NULL, code, price, label); INSERT INTO t VALUES(1,1,1,1)", "UPDATE t SET id=1.0", true, "t", []string{up}},
		"value of another class": {"CREATE TABLE t(id INTEGER PRIMARY KEY, code, price, label); INSERT INTO t VALUES(1,1,1,1)",
			"UPDATE t SET price=1.0", true, "t", []string{"t patch id,price"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := database.TableConfig{Name: c.table, Columns: c.columns}
			db, s := srcOne(t, c.schema, config)
			if c.table == "t" && strings.Contains(name, "key in other") {
				s.model.fold["t"] = true
			}
			db.do(c.sql)
			s.export(false)
			if d := cmp.Diff(c.want, s.model.Ops); d != "" {
				t.Error(d)
			}
			s.check([]database.TableConfig{config})
			if x := s.export(false); len(x.Tables) > 0 {
				t.Errorf("the batch after it has %v", x.Tables)
			}
		})
	}
}

// TestConflictClauses: the triggers neither fail the ERP's statement nor lose
// a change, whatever conflict clause it has.
func TestConflictClauses(t *testing.T) {
	for _, clause := range []string{"", "OR ABORT", "OR FAIL", "OR IGNORE", "OR REPLACE", "OR ROLLBACK"} {
		config := database.TableConfig{Name: "t"}
		db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)", config)
		for range 2 { // the same keys are in the journal already
			db.do("INSERT " + clause + " INTO t VALUES(1,1),(2,2)")
			db.do("UPDATE " + clause + " t SET v=v+10")
			db.do("UPDATE " + clause + " t SET id=id+10")
			db.do("DELETE FROM t WHERE id=11; UPDATE " + clause + " t SET v=0")
			db.do("DELETE FROM t")
		}
		db.do("INSERT " + clause + " INTO t VALUES(5,5)")
		s.export(false)
		s.check([]database.TableConfig{config})
	}
}

// TestMovesBetweenDossiers: a row that changes hands is a delete for the one
// and an upsert for the other, also when REPLACE takes a key over.
func TestMovesBetweenDossiers(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, d TEXT, v); INSERT INTO t VALUES(1,'A',1),(2,'B',2),(3,NULL,3)")
	config := func(d string) []database.TableConfig {
		return []database.TableConfig{{Name: "T", DossierColumn: "D", Dossier: d, Columns: true}}
	}
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: config("A")}, "B/down": {Tables: config("B")}})
	a, b := streams["A/down"], streams["B/down"]
	step := func(sql string, wantA, wantB []string) {
		t.Helper()
		db.do(sql)
		a.export(false)
		b.export(false)
		if d := cmp.Diff([][]string{wantA, wantB}, [][]string{a.model.Ops, b.model.Ops}); d != "" {
			t.Errorf("%s: %s", sql, d)
		}
		for key := range a.model.Seen {
			if key == "t 2" && !strings.Contains(sql, "MINE") {
				t.Errorf("%s: A was shown %s", sql, key)
			}
		}
		a.check(nil)
	}
	up, del := []string{"t upsert id,d,v"}, []string{"t delete id"}
	step("", up, up)
	step("UPDATE t SET v=9 WHERE id=1", []string{"t patch id,v"}, nil)
	step("UPDATE t SET d='B' WHERE id=1", del, up)
	step("REPLACE INTO t VALUES(1,'A',5)", up, del)
	step("UPDATE OR REPLACE t SET id=1 WHERE id=3", del, nil)
	step("INSERT INTO t VALUES(7,'A',7)", up, nil)
	step("INSERT INTO t VALUES(8,'B',8)", nil, up)
	step("UPDATE OR REPLACE t SET rowid=7 WHERE id=8", del, []string{"t upsert id,d,v", "t delete id"})
	step("UPDATE t SET d='A' WHERE id=2 -- MINE", up, del)
	step("DELETE FROM t WHERE id=1", nil, nil)
}

// TestRebuild: a migration that rebuilds the table takes the triggers with it;
// the export makes them again and sends the whole table, to every dossier.
func TestRebuild(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,1),(2,2),(3,3)")
	c := []database.TableConfig{{Name: "t"}}
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: c}, "B/down": {Tables: c}})
	for _, s := range streams {
		s.export(false)
	}
	db.rebuild("t")
	db.do("DELETE FROM t WHERE id=2; UPDATE t SET v=5 WHERE id=1") // nobody sees it
	for _, name := range []string{"A/down", "B/down"} {
		s := streams[name]
		x := s.export(false)
		if x.Kind != manifest.Delta || len(x.Tables) != 1 || x.Tables[0].Scope != manifest.Whole {
			t.Errorf("%s: %+v", name, x)
		}
		s.check(c)
		if x := s.export(false); len(x.Tables) != 0 {
			t.Errorf("%s: the next batch has %+v", name, x.Tables)
		}
	}
	if n := db.text("SELECT count(*) FROM caisseauto_event WHERE what LIKE '%table t %whole%'"); n != "1" {
		t.Errorf("%s events", n)
	}
}

// TestLostJournal: whatever of ours the ERP's administrator removes, nothing
// that changed meanwhile is missed.
func TestLostJournal(t *testing.T) {
	for _, sql := range []string{
		"DROP TRIGGER caisseauto_1_au",
		"DROP TABLE caisseauto_journal",
		"DELETE FROM t WHERE id=2; DELETE FROM caisseauto_journal",
		"DROP TRIGGER caisseauto_1_ai; CREATE TRIGGER caisseauto_1_ai AFTER INSERT ON t BEGIN SELECT 1; END",
	} {
		db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", database.TableConfig{Name: "t"})
		db.do("INSERT INTO t VALUES(1,1),(2,2)")
		s.export(false)
		db.do(sql)
		_ = db.Exec("UPDATE t SET v=3 WHERE id=1; INSERT INTO t VALUES(8,8)") // fails without the journal
		s.export(false)
		s.check([]database.TableConfig{{Name: "t"}})
		db.do("UPDATE t SET v=4")
		s.export(false)
		s.check([]database.TableConfig{{Name: "t"}})
	}
	db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", database.TableConfig{Name: "t"})
	db.do("DROP TABLE caisseauto_table")
	if _, err := s.Read(context.Background(), s.name, false, &srcCounter{}); !errors.Is(err, database.ErrNotInstalled) {
		t.Error(err)
	}
}

// TestWrongConfiguration: each error names the table and what to do.
func TestWrongConfiguration(t *testing.T) {
	db := newSrcDB(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, v, u, g AS (v)); CREATE UNIQUE INDEX tu ON t(u) WHERE u > 1;
		CREATE TABLE bare(v); CREATE VIEW w AS SELECT * FROM t; CREATE TABLE new(id INTEGER PRIMARY KEY)`)
	for _, c := range []struct {
		table database.TableConfig
		want  []string
	}{
		{database.TableConfig{Name: "none"}, []string{`"none"`, "no such table", "correct its name"}},
		{database.TableConfig{Name: "w"}, []string{`"w"`, "is a view"}},
		{database.TableConfig{Name: "bare"}, []string{`"bare"`, "no PRIMARY KEY", "key ="}},
		{database.TableConfig{Name: "bare", Key: []string{"v"}}, []string{`"bare"`, "nothing keeps its key", "UNIQUE index"}},
		{database.TableConfig{Name: "t", Key: []string{"u"}}, []string{`"t"`, "nothing keeps its key"}},
		{database.TableConfig{Name: "t", Key: []string{"x"}}, []string{`"t"`, `"x"`, "does not exist", `"id" "v"`}},
		{database.TableConfig{Name: "t", Key: []string{"g"}}, []string{`"g"`, "generated"}},
		{database.TableConfig{Name: "t", Exclude: []string{"x"}}, []string{`"t"`, "exclude", `"x"`, "does not exist"}},
		{database.TableConfig{Name: "t", Exclude: []string{"ID"}}, []string{`"t"`, "exclude", "part of the key"}},
		{database.TableConfig{Name: "t", DossierColumn: "x", Dossier: "A"}, []string{`"t"`, "dossier_column", `"x"`, "does not exist"}},
		{database.TableConfig{Name: "t", DossierColumn: "v"}, []string{`"t"`, "dossier_column", "no dossier"}},
		{database.TableConfig{Name: "new"}, []string{`"new"`, "rename the table"}},
	} {
		capture := NewCapture(map[string]database.SourceConfig{"ACME/down": {Tables: []database.TableConfig{c.table}}})
		err := capture.Install(context.Background(), db.path, SourceOptions{})
		for _, part := range append(c.want, "ACME/down") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %v does not say %q", c.table, err, part)
			}
		}
	}
	capture := NewCapture(map[string]database.SourceConfig{
		"A/down": {Tables: []database.TableConfig{{Name: "t"}}}, "B/down": {Tables: []database.TableConfig{{Name: "t", DossierColumn: "v", Dossier: "B"}}}})
	if err := capture.Install(context.Background(), db.path, SourceOptions{}); err == nil || !strings.Contains(err.Error(), "two dossiers disagree") {
		t.Error(err)
	}
	if n := db.text("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'caisseauto%'"); n != "0" {
		t.Errorf("%s objects were left behind", n)
	}
}

// TestRefusedRows: a row that cannot be named or carried stops the export,
// with its table and key, until it is corrected.
func TestRefusedRows(t *testing.T) {
	db, s := srcOne(t, "CREATE TABLE t(a TEXT, b TEXT, v, PRIMARY KEY(a, b))", database.TableConfig{Name: "t"})
	refused := func(full bool, parts ...string) {
		t.Helper()
		_, err := s.Read(context.Background(), s.name, full, &srcCounter{})
		for _, p := range parts {
			if err == nil || !strings.Contains(err.Error(), p) {
				t.Errorf("%v does not say %q", err, p)
			}
		}
	}
	db.do("INSERT INTO t VALUES('k', NULL, 'find me')")
	refused(false, `"t"`, "NULL in its key", "find me")
	refused(true, `"t"`, "NULL in its key", "find me")
	db.do("UPDATE t SET b='now'")
	s.export(false)
	s.check([]database.TableConfig{{Name: "t"}})
	db.do("INSERT INTO t VALUES('big', 'one', zeroblob(7000000))")
	refused(false, `"t"`, `["big","one"]`, "8388608")
	refused(true, `"t"`, `["big","one"]`, "8388608")
	db.do("UPDATE t SET v=zeroblob(100) WHERE a='big'")
	s.export(false)
	s.check([]database.TableConfig{{Name: "t"}})
}

// TestManyColumns: of more columns than a mask has bits, a change of a late
// one ships the whole row; and column sets without number share members.
func TestManyColumns(t *testing.T) {
	var columns []string
	for i := range 70 {
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	config := database.TableConfig{Name: "t", Columns: true}
	db, s := srcOne(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, "+strings.Join(columns, ",")+
		"); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t(id) SELECT i FROM n", config)
	db.do("UPDATE t SET c65=1 WHERE id=1")
	s.export(false)
	if len(s.model.Ops) != 1 || !strings.Contains(s.model.Ops[0], "upsert") {
		t.Errorf("%.60q", s.model.Ops)
	}
	db.do("UPDATE t SET c61=1 WHERE id=1; UPDATE t SET c0=1 WHERE id=1")
	s.export(false)
	if d := cmp.Diff([]string{"t patch id,c0,c61"}, s.model.Ops); d != "" {
		t.Error(d)
	}
	for i := range 300 { // 300 different sets
		db.do(fmt.Sprintf("UPDATE t SET c%d=7, c%d=8, c%d=9 WHERE id=%d", i%10, 10+i%7, 20+i%13, i+1))
	}
	s.export(false)
	if len(s.model.Ops) > maxSets {
		t.Errorf("%d members", len(s.model.Ops))
	}
	s.check([]database.TableConfig{config})
}

// TestQueryPlan: a delta walks the changed keys and looks rows up; it never
// scans the table.
func TestQueryPlan(t *testing.T) {
	db := newSrcDB(t, srcSchema)
	streams := db.capture(map[string]database.SourceConfig{"A/down": {Tables: srcTables("A", true)}})
	db.do("UPDATE article SET price=1")
	p, err := streams["A/down"].capture.plan(db.Conn, "A/down")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range p.tables {
		e := &extraction{db: db.Conn, to: 100}
		d := e.delta(&extracted{carried: table})
		for _, sql := range []string{d.rowsSQL("NULL", nil, 0), d.rowsSQL("max(mask)", []int64{1, 2}, 7), d.deletesSQL()} {
			found := false
			err := db.Query("EXPLAIN QUERY PLAN "+sql, func(s *sqlite3.Stmt) error {
				line := s.Text(3)
				found = found || strings.HasPrefix(line, "SEARCH r USING")
				if strings.HasPrefix(line, "SCAN") && line != "SCAN g" && !strings.HasPrefix(line, "SCAN (") {
					t.Errorf("%s: %s", sql, line)
				}
				return nil
			}, d.args...)
			if err != nil || !found {
				t.Errorf("%s: no lookup of rows (%v)", sql, err)
			}
		}
	}
}

// TestOrder: parents first for rows, children first for deletes, keys in order.
func TestOrder(t *testing.T) {
	db := newSrcDB(t, `CREATE TABLE a_child(id TEXT PRIMARY KEY, p INTEGER REFERENCES z_parent); CREATE TABLE z_parent(id INTEGER PRIMARY KEY);
		CREATE TABLE m(id INTEGER PRIMARY KEY, n REFERENCES n, m REFERENCES m); CREATE TABLE n(id INTEGER PRIMARY KEY, m REFERENCES m)`)
	var tables []database.TableConfig
	for _, name := range []string{"n", "a_child", "z_parent", "m"} {
		tables = append(tables, database.TableConfig{Name: name})
	}
	s := db.capture(map[string]database.SourceConfig{"A/down": {Tables: tables}})["A/down"]
	s.export(false)
	db.do("INSERT INTO z_parent VALUES(1); INSERT INTO a_child VALUES('b',1),('a',1); INSERT INTO m VALUES(1,1,1); INSERT INTO n VALUES(1,1)")
	lines := &srcLines{}
	if _, err := s.Read(context.Background(), s.name, false, lines); err != nil {
		t.Fatal(err)
	}
	s.export(false)
	db.do("DELETE FROM z_parent; DELETE FROM a_child; DELETE FROM m; DELETE FROM n")
	if _, err := s.Read(context.Background(), s.name, false, lines); err != nil {
		t.Fatal(err)
	}
	want := []string{"upsert z_parent", "[1]", "upsert a_child", `["a",1]`, `["b",1]`, "upsert m", "[1,1,1]", "upsert n", "[1,1]",
		"delete n", "[1]", "delete m", "[1]", "delete a_child", `["a"]`, `["b"]`, "delete z_parent", "[1]"}
	if d := cmp.Diff(want, []string(*lines)); d != "" {
		t.Error(d)
	}
}

type srcLines []string

func (l *srcLines) Start(h change.Header) error {
	*l = append(*l, string(h.Op)+" "+h.Table)
	return nil
}

func (l *srcLines) Row(line []byte) error {
	*l = append(*l, strings.TrimSpace(string(line)))
	return nil
}

// TestManyDeletes: more deleted keys than are kept in memory.
func TestManyDeletes(t *testing.T) {
	config := database.TableConfig{Name: "t"}
	db, s := srcOne(t, "CREATE TABLE t(id TEXT PRIMARY KEY)", config)
	db.do("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) INSERT INTO t SELECT printf('%0500d', i) FROM n")
	s.export(false)
	db.do("DELETE FROM t WHERE id > printf('%0500d', 5)")
	s.export(false)
	if s.model.Rows != 19995 || len(s.model.Ops) != 1 {
		t.Errorf("%d rows, %q", s.model.Rows, s.model.Ops)
	}
	s.check([]database.TableConfig{config})
}
