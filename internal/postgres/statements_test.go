//go:build unix

package postgres

import (
	"errors"
	"strings"
	"testing"

	"caisseauto/internal/database"
)

// a case of statements on tables of its own.
type statementCase struct {
	name   string
	schema string
	tables []database.TableConfig
	steps  []string
	want   []string // of each export, "" where it does not matter
	since  int      // server_version_num
}

const familySQL = `CREATE TABLE parent(id int PRIMARY KEY, v text); CREATE TABLE child(id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
	CREATE TABLE other(id int PRIMARY KEY, parent int REFERENCES parent ON DELETE SET NULL); INSERT INTO parent SELECT n, 'p' FROM generate_series(1, 5) AS n;
	INSERT INTO child SELECT n, n FROM generate_series(1, 5) AS n; INSERT INTO other SELECT n, n FROM generate_series(1, 5) AS n`

const partsSQL = `CREATE TABLE p(id int, d text DEFAULT 'A', v text, PRIMARY KEY (id, d)) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (d); CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN ('A'); CREATE TABLE p2b PARTITION OF p2 FOR VALUES IN ('B');
	INSERT INTO p VALUES (1, 'A'), (2, 'A'), (11, 'A'), (12, 'A'), (13, 'B')`

func tablesNamed(names ...string) (list []database.TableConfig) {
	for _, n := range names {
		list = append(list, database.TableConfig{Name: n})
	}
	return list
}

var parts = []database.TableConfig{{Name: "p", DossierColumn: "d", Dossier: "A", Columns: true}}

var statementCases = []statementCase{
	{"cascade of a delete", familySQL, tablesNamed("parent", "child", "other"), []string{"DELETE FROM parent WHERE id = 1"}, []string{"delta parent:changes,child:changes,other:changes 3"}, 0},
	{"cascade of a key", familySQL, tablesNamed("parent", "child"), []string{"DELETE FROM other; UPDATE parent SET id = id + 10"}, []string{"delta parent:changes,child:changes 15"}, 0},
	{"cascade of a TRUNCATE", familySQL, tablesNamed("parent", "child", "other"), []string{"TRUNCATE parent CASCADE; INSERT INTO parent VALUES (9)"}, []string{"delta parent:whole,child:whole,other:whole 1"}, 0},
	{"TRUNCATE that is rolled back", familySQL, tablesNamed("child"), []string{"BEGIN; TRUNCATE child; ROLLBACK"}, []string{"delta  0"}, 0},
	{"TRUNCATE and filled again", familySQL, tablesNamed("child"), []string{"BEGIN; TRUNCATE child; INSERT INTO child VALUES (3, 1); COMMIT"}, []string{"delta child:whole 1"}, 0},
	{"MERGE", familySQL, tablesNamed("child"), []string{"MERGE INTO child AS c USING (VALUES (1), (2), (77)) AS v(id) ON c.id = v.id WHEN MATCHED AND c.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET parent = 5 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1)"}, []string{"delta child:changes 3"}, 150000},
	{"ON CONFLICT", familySQL, tablesNamed("child"), []string{"INSERT INTO child VALUES (1, 2), (8, 2) ON CONFLICT (id) DO UPDATE SET parent = excluded.parent; INSERT INTO child VALUES (2, 1) ON CONFLICT DO NOTHING"}, []string{"delta child:changes 2"}, 0},
	{"WITH and RETURNING", familySQL, tablesNamed("child"), []string{"WITH d AS (DELETE FROM child WHERE id < 3 RETURNING *), u AS (UPDATE child SET parent = 1 WHERE id = 3) INSERT INTO child SELECT id + 50, parent FROM d"}, []string{"delta child:changes 5"}, 0},
	{"UPDATE FROM, DELETE USING", familySQL, tablesNamed("child"), []string{"UPDATE child SET parent = p.id FROM parent AS p WHERE p.id = child.id % 5 + 1 AND child.id < 3; DELETE FROM child USING parent WHERE child.parent = parent.id AND parent.id = 5"}, []string{"delta child:changes 3"}, 0},
	{"through a view, a rule and a function", familySQL + `; CREATE VIEW v AS SELECT * FROM child; CREATE RULE r AS ON INSERT TO other DO INSTEAD UPDATE child SET parent = 1 WHERE id = new.id;
		CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM child WHERE id = 5'`, tablesNamed("child"), []string{"UPDATE v SET parent = 4 WHERE id = 1; INSERT INTO other VALUES (2); SELECT f()"}, []string{"delta child:changes 3"}, 0},
	{"a cursor", familySQL, tablesNamed("child"), []string{"BEGIN; DECLARE c CURSOR FOR SELECT * FROM child FOR UPDATE; MOVE 2 IN c; UPDATE child SET parent = 1 WHERE CURRENT OF c; COMMIT"}, []string{"delta child:changes 1"}, 0},
	{"the ERP's own triggers", familySQL + `; CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF new.id = 1 THEN RETURN NULL; END IF; new.parent := 3; UPDATE other SET parent = 2 WHERE id = new.id; RETURN new; END';
		CREATE TRIGGER a_first BEFORE INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION own()`, tablesNamed("child", "other"), []string{"UPDATE child SET parent = 1; INSERT INTO child VALUES (7, 1)"}, []string{"delta child:changes,other:changes 9"}, 0},
	{"savepoints", familySQL, tablesNamed("child"), []string{`BEGIN; SAVEPOINT a; UPDATE child SET parent = 1 WHERE id = 2; SAVEPOINT b; DELETE FROM child; ROLLBACK TO b; RELEASE a; SAVEPOINT c; INSERT INTO child VALUES (99, 1); ROLLBACK TO c; COMMIT;
		DO $$ BEGIN FOR n IN 100..300 LOOP BEGIN INSERT INTO child VALUES (n, 1); IF n % 2 = 0 THEN RAISE 'x'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$`}, []string{"delta child:changes 101"}, 0},
	{"keys exchanged", "CREATE TABLE x(id int PRIMARY KEY DEFERRABLE, v text); INSERT INTO x VALUES (1, 'a'), (2, 'b'), (3, 'c')", tablesNamed("x"), []string{"UPDATE x SET id = 3 - id WHERE id < 3", "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE x SET id = 2; UPDATE x SET id = 7 WHERE v = 'a'; UPDATE x SET id = 8 WHERE v = 'b'; COMMIT"}, []string{"delta x:changes 2", "delta x:changes 5"}, 0},
	{"deferred constraints", `CREATE TABLE a(id int PRIMARY KEY, b int); CREATE TABLE b(id int PRIMARY KEY, a int REFERENCES a DEFERRABLE INITIALLY DEFERRED); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED`,
		tablesNamed("a", "b"), []string{"BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1); COMMIT", "BEGIN; DELETE FROM a; DELETE FROM b; COMMIT"}, []string{"delta a:changes,b:changes 2", "delta a:changes,b:changes 2"}, 0},
	{"to itself", "CREATE TABLE t(id int PRIMARY KEY, up int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)", tablesNamed("t"), []string{"UPDATE t SET id = 10 WHERE id = 1; DELETE FROM t WHERE id = 2"}, []string{"delta t:changes 4"}, 0},

	{"partitions", partsSQL, parts, []string{"UPDATE p SET v = 'x' WHERE id = 1; UPDATE p1 SET v = 'y' WHERE id = 2; UPDATE p2a SET v = 'z' WHERE id = 11; UPDATE p2 SET v = 'z' WHERE id = 12; UPDATE p2b SET v = 'z'", "INSERT INTO p2a VALUES (15); DELETE FROM p1 WHERE id = 1"}, []string{"delta p:changes 4", "delta p:changes 2"}, 0},
	{"moving between partitions", partsSQL, parts, []string{"UPDATE p SET id = 14 WHERE id = 1", "UPDATE p SET d = 'B' WHERE id = 11", "UPDATE p2 SET d = 'A' WHERE id = 13"}, []string{"delta p:changes 2", "delta p:changes 1", "delta p:changes 1"}, 0},
	{"TRUNCATE of a partition", partsSQL, parts, []string{"TRUNCATE p2a", "TRUNCATE p2", "TRUNCATE p"}, []string{"delta p:whole 2", "delta p:whole 2", "delta p:whole 0"}, 0},
	{"new partition", partsSQL, parts, []string{"CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p3 VALUES (21); TRUNCATE p3; INSERT INTO p3 VALUES (22)", "UPDATE p3 SET v = 'x'; INSERT INTO p VALUES (23)", "TRUNCATE p3"}, []string{"delta p:whole 5", "delta p:changes 2", "delta p:whole 4"}, 0},
	{"ATTACH and DETACH", partsSQL, parts, []string{"CREATE TABLE n(id int NOT NULL, d text NOT NULL, v text); INSERT INTO n VALUES (25, 'A'); ALTER TABLE p ATTACH PARTITION n FOR VALUES FROM (20) TO (30)", "UPDATE n SET v = 'x'", "ALTER TABLE p DETACH PARTITION p1", "UPDATE p1 SET v = 'x'; TRUNCATE p1", "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)"},
		[]string{"delta p:whole 5", "delta p:changes 1", "delta p:whole 3", "delta  0", "delta p:whole 3"}, 0},
	{"DETACH, written to, ATTACH", partsSQL, parts, []string{"ALTER TABLE p DETACH PARTITION p1; UPDATE p1 SET v = 'x'; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)"}, []string{"delta p:whole 4"}, 0},
	{"DROP of a partition", partsSQL, parts, []string{"DROP TABLE p1"}, []string{"delta p:whole 2"}, 0},
	{"trigger off in one partition", partsSQL, parts, []string{"ALTER TABLE p2a DISABLE TRIGGER USER; UPDATE p SET v = 'x'; ALTER TABLE p2a ENABLE TRIGGER USER", "ALTER TABLE p2a DISABLE TRIGGER USER; UPDATE p SET v = 'y'", "UPDATE p SET v = 'z'", "SET session_replication_role = replica; UPDATE p SET v = 'r'; RESET session_replication_role"}, []string{"delta p:whole 4", "delta p:whole 4", "delta p:changes 4", "delta p:changes 4"}, 0},
	{"key renamed, partitions", partsSQL, parts, []string{"ALTER TABLE p RENAME id TO n; UPDATE p2a SET v = 'x'; ALTER TABLE p RENAME n TO id", "UPDATE p2a SET v = 'y'"}, []string{"delta p:whole 4", "delta p:changes 2"}, 0},
}

func TestStatementsOfAllKinds(t *testing.T) {
	t.Parallel()
	e := newERP(t, "")
	for _, c := range statementCases {
		t.Run(c.name, func(t *testing.T) {
			if e.own.version < c.since {
				t.Skip("the server has no such statement")
			}
			e.clear(t, c.schema)
			s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: c.tables}})["A/down"]
			s.round()
			for i, sql := range c.steps {
				e.do(sql)
				if got := s.round(); c.want != nil && c.want[i] != "" && got != c.want[i] {
					t.Errorf("%s: %s, want %s", sql, got, c.want[i])
				}
			}
			if got := s.round(); got != "delta  0" {
				t.Errorf("at rest: %s", got)
			}
		})
	}
}

// What cannot be captured is refused, and says why, before anything is made.
func TestRefusedTables(t *testing.T) {
	t.Parallel()
	e := newERP(t, "")
	for _, tt := range []struct{ name, schema, says string }{
		{"view", "CREATE VIEW a AS SELECT 1 AS id", "is a view or a foreign table"},
		{"materialized view", "CREATE MATERIALIZED VIEW a AS SELECT 1 AS id", "is a view or a foreign table"},
		{"unlogged", "CREATE UNLOGGED TABLE a(id int PRIMARY KEY)", "is unlogged"},
		{"inherited from", "CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b() INHERITS (a)", "has tables that inherit from it"},
		{"unlogged partition", "CREATE TABLE a(id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE UNLOGGED TABLE b PARTITION OF a DEFAULT", `has partition "public"."b", which is a foreign table or unlogged`},
		{"no key", "CREATE TABLE a(id int)", "has no PRIMARY KEY"},
		{"not there", "CREATE TABLE b(id int)", "no such table"},
		{"in no schema of the path", "CREATE SCHEMA IF NOT EXISTS other; CREATE TABLE other.a(id int PRIMARY KEY)", "no such table"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.clear(t, tt.schema)
			c := NewCapture(map[string]database.SourceConfig{"A/down": {Tables: tablesNamed("a")}})
			err := c.Install(t.Context(), e.dsn, SourceOptions{})
			if err == nil || !strings.Contains(err.Error(), `stream A/down, table "a": `) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q in it", err, tt.says)
			}
			if _, err := c.SQL(t.Context(), e.dsn, SourceOptions{}); err == nil {
				t.Error("a script for it")
			}
			if errors.Is(err, database.ErrNoTable) != strings.Contains(tt.says, "no such table") {
				t.Errorf("%v", err)
			}
			var made bool
			if err := e.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'caisseauto')").Scan(&made); err != nil || made {
				t.Errorf("made: %t, %v", made, err)
			}
		})
	}
}

// A table that inherits is like any other; one that comes to be inherited
// from, or is a view from now on, stops its stream with a word.
func TestBecomesUnusable(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE base(id int PRIMARY KEY); CREATE TABLE a(PRIMARY KEY (id)) INHERITS (base); INSERT INTO a VALUES (1)")
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: tablesNamed("a")}})["A/down"]
	s.round()
	e.do("INSERT INTO a VALUES (2); DELETE FROM base WHERE id = 1")
	s.round()
	for _, tt := range []struct{ sql, says string }{
		{"CREATE TABLE b() INHERITS (a)", "has tables that inherit from it"},
		{"DROP TABLE b; ALTER TABLE a RENAME TO c; CREATE VIEW a AS SELECT * FROM c", "is a view"},
		{"DROP VIEW a", "no such table"},
	} {
		e.do(tt.sql)
		if _, err := s.Read(t.Context(), s.name, false, s.model); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.sql, err, tt.says)
		}
	}
	e.do("ALTER TABLE c RENAME TO a; INSERT INTO a VALUES (3)")
	s.round()
}

// A row with NULL in its key cannot be named: the ERP may write it, and the
// export says which row it is, until it is gone.
func TestNullKey(t *testing.T) {
	t.Parallel()
	e := newERP(t, "CREATE TABLE a(k text UNIQUE, v int); INSERT INTO a VALUES ('x', 1)")
	config := []database.TableConfig{{Name: "a", Key: []string{"k"}}}
	s := e.capture(map[string]database.SourceConfig{"A/down": {Tables: config}})["A/down"]
	s.round()
	e.do("INSERT INTO a VALUES (NULL, 7)")
	for range 2 {
		s.model.Begin()
		if _, err := s.Read(t.Context(), s.name, false, s.model); err == nil || !strings.Contains(err.Error(), `table "public"."a": the row (NULL, 7) has NULL in its key ["k"]`) {
			t.Error(err)
		}
	}
	e.do("UPDATE a SET k = 'y' WHERE v = 7")
	s.round()
	e.do("UPDATE a SET k = NULL WHERE v = 7; DELETE FROM a WHERE v = 7")
	s.round()
}
