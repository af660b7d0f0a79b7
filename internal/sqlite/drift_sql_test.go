package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// typedBatch returns a batch with one whole table of the columns "name:TYPE".
func typedBatch(p manifest.Position, table string, key []string, columns ...string) *testBatch {
	b := newBatch(p)
	sent := manifest.Table{Name: table, Scope: manifest.Whole, Key: key}
	for _, c := range columns {
		name, typ, _ := strings.Cut(c, ":")
		sent.Columns = append(sent.Columns, manifest.Column{Name: name, Type: typ})
	}
	b.m.Tables = append(b.m.Tables, sent)
	return b
}

// A driftCase is a till's table that does not fit, and what is to be true once
// the statements of the refusal were run.
type driftCase struct {
	name    string
	schema  string
	key     []string
	columns []string // "name:TYPE", of the batch
	rows    [][]any
	before  []string // the database when the statements were run; nil: not compared
	after   []string // and when the batch was applied
}

var driftCases = []driftCase{
	{"a column is missing", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES(1,'one');`,
		[]string{"id"}, []string{"id:INTEGER", "a:TEXT", "b:DECIMAL(10,2)", "c:STRANGE TYPE"}, [][]any{{1, "one", 2.5, nil}},
		[]string{"t | 1:1 | 3:'one' | 0:NULL | 0:NULL"}, []string{"t | 1:1 | 3:'one' | 2:2.5 | 0:NULL"}},
	{"a column is missing in a STRICT table without rowid", `CREATE TABLE t(id INTEGER, a TEXT, PRIMARY KEY(id)) STRICT, WITHOUT ROWID; INSERT INTO t VALUES(1,'one');`,
		[]string{"id"}, []string{"id:INTEGER", "a:VARCHAR(9)", "b:DECIMAL(10,2)", "c", "d:BLOB"}, [][]any{{1, "one", "2.50", 3, []byte{4}}},
		[]string{"t | 1:1 | 3:'one' | 0:NULL | 0:NULL | 0:NULL"}, []string{"t | 1:1 | 3:'one' | 3:'2.50' | 1:3 | 4:x'04'"}},
	{"a key column is missing", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE t_key(x); INSERT INTO t VALUES(1,'one');`,
		[]string{"b", "a"}, []string{"id:INTEGER", "a:TEXT", "b:TEXT"}, [][]any{{1, "one", "x"}},
		[]string{"t | 1:1 | 3:'one' | 0:NULL"}, []string{"t | 1:1 | 3:'one' | 3:'x'"}},
	{"a type", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, z); INSERT INTO t VALUES(1,'7','z'),(2,'seven','z');`,
		[]string{"id"}, []string{"id:INTEGER", "a:INTEGER"}, [][]any{{1, 8}, {2, 9}},
		[]string{"t | 1:1 | 1:7 | 3:'z'", "t | 1:2 | 3:'seven' | 3:'z'"}, []string{"t | 1:1 | 1:8 | 3:'z'", "t | 1:2 | 1:9 | 3:'z'"}},
	{"a type in a STRICT table", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL) STRICT; INSERT INTO t VALUES(1,'7'),(2,'seven');`,
		[]string{"id"}, []string{"id:INTEGER", "a:BIGINT"}, [][]any{{1, 8}, {2, 9}},
		[]string{"t | 1:1 | 1:7", "t | 1:2 | 1:0"}, []string{"t | 1:1 | 1:8", "t | 1:2 | 1:9"}},
	{"a type with everything on the column", `CREATE TABLE p(k TEXT PRIMARY KEY); INSERT INTO p VALUES('1');
		CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, "a" /* of (what, ever) */ VARCHAR (20, 3) DEFAULT ('1') NOT NULL COLLATE NOCASE CHECK("a" <> '(,)') REFERENCES p(k) ON DELETE CASCADE, -- a comment, with 'quote
		  b TEXT GENERATED ALWAYS AS (a || 'x') STORED, c TEXT, UNIQUE(a, c), CONSTRAINT "check, this" CHECK(a IS NOT NULL));
		CREATE INDEX ia ON t(a DESC) WHERE a > ''; CREATE INDEX ix ON t(lower(a), c);
		CREATE TABLE log(what);
		CREATE TRIGGER tr AFTER UPDATE OF a ON t BEGIN INSERT INTO log VALUES(new.a || ';'); END;
		CREATE TRIGGER other AFTER INSERT ON p BEGIN UPDATE t SET c = new.k; END;
		CREATE VIEW v AS SELECT t.a, p.k FROM t JOIN p ON p.k = t.a;
		INSERT INTO t(id, a, c) VALUES(5,'1','x'); INSERT INTO t(id, a) VALUES(9,'1'); DELETE FROM t WHERE id=9;`,
		[]string{"id"}, []string{"id:INTEGER", "a:INTEGER", "c:TEXT"}, [][]any{{5, 1, "y"}},
		[]string{"p | 3:'1'", "t | 1:5 | 1:1 | 3:'1x' | 3:'x'"}, []string{"p | 3:'1'", "t | 1:5 | 1:1 | 3:'1x' | 3:'y'"}},
	{"names that need quotes", `CREATE TABLE [my "t"] ([id] INT NOT NULL UNIQUE, 'a, b'[LONG TEXT]NOT NULL,"c""d"TEXT);
		CREATE INDEX "i x" ON [my "t"]([a, b]); INSERT INTO [my "t"] VALUES(1,'2','3');`,
		[]string{"id"}, []string{"id:INT", "a, b:REAL", `c"d:REAL`}, [][]any{{1, 2.5, 3.5}},
		[]string{"my \"t\" | 1:1 | 2:2 | 2:3"}, []string{"my \"t\" | 1:1 | 2:2.5 | 2:3.5"}},
	{"the key's type", `CREATE TABLE t(code TEXT PRIMARY KEY, a) WITHOUT ROWID; CREATE TABLE child(x REFERENCES t); INSERT INTO t VALUES('1','one'); INSERT INTO child VALUES('1');`,
		[]string{"code"}, []string{"code:BIGINT", "a"}, [][]any{{1, "two"}},
		[]string{"child | 3:'1'", "t | 1:1 | 3:'one'"}, []string{"child | 3:'1'", "t | 1:1 | 3:'two'"}},
	{"a rowid becomes text", `CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT); INSERT INTO t VALUES(7,'x');`,
		[]string{"id"}, []string{"id:TEXT", "a:TEXT"}, [][]any{{"7", "y"}},
		[]string{"t | 3:'7' | 3:'x'"}, []string{"t | 3:'7' | 3:'y'"}},
	{"a table that refers to itself", `CREATE TABLE t(id INTEGER PRIMARY KEY, up INTEGER REFERENCES t(id), n TEXT); INSERT INTO t VALUES(1,NULL,'5'),(2,1,'6');`,
		[]string{"id"}, []string{"id:INTEGER", "up:INTEGER", "n:REAL"}, [][]any{{1, nil, 5.5}, {2, 1, 6.5}},
		[]string{"t | 1:1 | 0:NULL | 2:5", "t | 1:2 | 1:1 | 2:6"}, []string{"t | 1:1 | 0:NULL | 2:5.5", "t | 1:2 | 1:1 | 2:6.5"}},
	{"NOT NULL", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, r REAL NOT NULL, n DECIMAL(10,2) CONSTRAINT nn NOT NULL CHECK(n >= 0), s TEXT UNIQUE NOT NULL, b NOT NULL);
		INSERT INTO t VALUES(1,'one',1.5,2,'s',x'01');`,
		[]string{"id"}, []string{"id:INTEGER", "a:TEXT"}, [][]any{{1, "un"}, {2, "deux"}},
		[]string{"t | 1:1 | 3:'one' | 2:1.5 | 1:2 | 3:'s' | 4:x'01'"}, []string{"t | 1:1 | 3:'un' | 2:1.5 | 1:2 | 3:'s' | 4:x'01'", "t | 1:2 | 3:'deux' | 2:0 | 1:0 | 3:'' | 4:x''"}},
	{"all at once", `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, s TEXT NOT NULL); INSERT INTO t VALUES(1,'2','s');`,
		[]string{"id"}, []string{"id:INTEGER", "a:REAL", "b:TEXT"}, [][]any{{1, 2.5, "b"}, {2, 3.5, "c"}},
		[]string{"t | 1:1 | 2:2 | 3:'s' | 0:NULL"}, []string{"t | 1:1 | 2:2.5 | 3:'s' | 3:'b'", "t | 1:2 | 2:3.5 | 3:'' | 3:'c'"}},
	{"an added column", `CREATE TABLE t(id INTEGER PRIMARY KEY); ALTER TABLE t ADD COLUMN a TEXT DEFAULT 'd'; ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t; INSERT INTO t VALUES(1,'5');`,
		[]string{"id"}, []string{"id:INTEGER", "a:INT"}, [][]any{{1, 6}},
		[]string{"t | 1:1 | 1:5"}, []string{"t | 1:1 | 1:6"}},
	{"comments at the end", "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT -- of a\n, b TEXT NOT NULL) -- the end\n; INSERT INTO t VALUES(1,'5','b'); CREATE INDEX i ON t(a) -- of i\n; CREATE INDEX j ON t(b) -- of j",
		[]string{"id"}, []string{"id:INTEGER", "a:INT"}, [][]any{{1, 6}},
		[]string{"t | 1:1 | 1:5 | 3:'b'"}, []string{"t | 1:1 | 1:6 | 3:'b'"}},
	{"a table made of a query", `CREATE TABLE t AS SELECT 1 AS id, CAST('5' AS TEXT) AS a; CREATE UNIQUE INDEX u ON t(id);`,
		[]string{"id"}, []string{"id:INT", "a:INT"}, [][]any{{1, 6}},
		[]string{"t | 1:1 | 1:5"}, []string{"t | 1:1 | 1:6"}},
}

// TestDriftSQL: the statements of a refusal run, keep every row and all that
// hangs on the table, and then the batch is applied.
func TestDriftSQL(t *testing.T) {
	for _, tt := range driftCases {
		t.Run(tt.name, func(t *testing.T) {
			table := "t"
			if strings.Contains(tt.schema, "[my") {
				table = `my "t"`
			}
			till := newTill(t, tt.schema, TillOptions{})
			b := typedBatch(manifest.Position{}, table, tt.key, tt.columns...)
			var columns []string
			for _, c := range b.m.Tables[0].Columns {
				columns = append(columns, c.Name)
			}
			b.rows(table, change.Upsert, columns, tt.rows...)
			there, err := ReadTable(till.conn, table)
			if err != nil {
				t.Fatal(err)
			}
			things := func() string {
				now, err := ReadTable(till.conn, table)
				if err != nil {
					t.Fatal(err)
				}
				var text strings.Builder
				for _, c := range now.Columns[:len(there.Columns)] {
					fmt.Fprintln(&text, c.Name, c.NotNull, c.PK, c.Generated)
				}
				return text.String() + fmt.Sprint(now.Strict, now.WithoutRowid, now.ForeignKeys) + queryText(t, till.conn, "SELECT type, name, CASE type WHEN 'table' THEN '' ELSE sql END FROM sqlite_schema WHERE name NOT LIKE 'caisseauto%' AND name NOT LIKE 'sqlite%' AND name <> 't_key_2' ORDER BY type, name")
			}
			was := dumpLive(t, till.conn)
			_, err = b.apply(till)
			var drift *DriftError
			if !errors.As(err, &drift) || !errors.Is(err, manifest.ErrRefused) || drift.SQL == "" || !strings.Contains(err.Error(), drift.SQL) {
				t.Fatalf("no statements in %v", err)
			}
			if now := dumpLive(t, till.conn); !cmp.Equal(was, now) {
				t.Fatalf("the refusal has changed the database: %s", cmp.Diff(was, now))
			}
			had := things()
			sequence := sequences(t, till.conn)
			if err := openPlain(t, till.conn.Path()).Exec(drift.SQL); err != nil {
				t.Fatalf("%v\n%s", err, drift.SQL)
			}
			if now := things(); strings.ReplaceAll(now, "of j\\n", "of j") != had {
				t.Errorf("the database had\n%s\nand has\n%s", had, now)
			}
			if now := sequences(t, till.conn); now != sequence && !strings.Contains(tt.name, "rowid becomes") {
				t.Errorf("AUTOINCREMENT stood at %s, stands at %s", sequence, now)
			}
			if now := dumpLive(t, till.conn); tt.before != nil && !cmp.Equal(tt.before, now) {
				t.Errorf("after the statements: %s\n%s", cmp.Diff(tt.before, now), drift.SQL)
			}
			if _, err := b.apply(till); err != nil {
				t.Fatalf("%v\nafter\n%s", err, drift.SQL)
			}
			now := dumpLive(t, till.conn)
			var rest []string
			for _, line := range now { // what a trigger of the test has logged
				if !strings.HasPrefix(line, "log ") {
					rest = append(rest, line)
				}
			}
			if tt.after != nil && !cmp.Equal(tt.after, rest) {
				t.Errorf("after the batch: %s", cmp.Diff(tt.after, rest))
			}
		})
	}
}

func sequences(t *testing.T, c *sqlite3.Conn) string {
	if ok, err := Exists(c, "sqlite_sequence"); err != nil || !ok {
		return ""
	}
	return queryText(t, c, "SELECT * FROM sqlite_sequence ORDER BY name")
}

// TestDriftSQLShell runs them with the shell that the refusal speaks of.
func TestDriftSQLShell(t *testing.T) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("no sqlite3 shell on this machine")
	}
	for _, schema := range []string{
		"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, s TEXT NOT NULL); CREATE TABLE log(x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES(';'); END;",
		// The copy fails: two rows would have the same value. Nothing may be lost.
		"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, s TEXT NOT NULL);",
		// An index cannot be made again.
		"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, s TEXT NOT NULL); CREATE UNIQUE INDEX u ON t(a);",
	} {
		till := newTill(t, schema+"INSERT INTO t VALUES(1,'1','s'),(2,'01','s');", TillOptions{})
		b := typedBatch(manifest.Position{}, "t", []string{"id"}, "id:INTEGER", "a:INTEGER", "b:TEXT")
		b.rows("t", change.Upsert, []string{"id", "a", "b"}, []any{1, 5, "x"})
		_, err = b.apply(till)
		var drift *DriftError
		if !errors.As(err, &drift) {
			t.Fatal(err)
		}
		was := dumpLiveTable(t, till.conn, "t")
		cmd := exec.CommandContext(context.Background(), shell, till.conn.Path())
		cmd.Stdin = strings.NewReader(drift.SQL)
		out, _ := cmd.CombinedOutput()
		_, err = b.apply(till)
		if strings.Contains(schema, "UNIQUE") {
			var still *DriftError
			now := dumpLiveTable(t, till.conn, "t")
			for i := range now {
				now[i] = strings.TrimSuffix(now[i], " | 0:NULL") // the column that was added
			}
			if !errors.As(err, &still) || !cmp.Equal(was, now) {
				t.Errorf("%s: %v\n%s\n%s", schema, err, cmp.Diff(was, now), out)
			}
			continue
		}
		if got := dumpLiveTable(t, till.conn, "t"); err != nil || !cmp.Equal(got, []string{"t | 1:1 | 1:5 | 3:'s' | 3:'x'"}) {
			t.Errorf("%v %q\n%s", err, got, out)
		}
		if got := dumpLiveTable(t, till.conn, "log"); len(got) != 2 {
			t.Errorf("the trigger has run while the table was made anew: %q", got)
		}
	}
}

// TestDriftKeepsTriggers: our own triggers count as never lost, so that the
// till does not send every row once more.
func TestDriftKeepsTriggers(t *testing.T) {
	db := newUpDB(t, "CREATE TABLE c(id INTEGER PRIMARY KEY, a TEXT, b TEXT); INSERT INTO c VALUES(1,'1','b');",
		[]manifest.Upload{{Table: "c", Mode: manifest.Both, Key: []string{"id"}}})
	till := openTill(t, db.path, TillOptions{Outbox: &db.options})
	b := typedBatch(db.down, "c", []string{"id"}, "id:INTEGER", "a:INTEGER", "b:TEXT")
	b.rows("c", change.Upsert, []string{"id", "a", "b"}, []any{1, 2, "b"})
	_, err := b.apply(till)
	var drift *DriftError
	if !errors.As(err, &drift) {
		t.Fatal(err)
	}
	db.exec(drift.SQL)
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if got := queryText(t, till.conn, "SELECT count(*) FROM MICPTRACK"); got != "0" {
		t.Errorf("%s entries in the outbox, of a row that only the server has changed", got)
	}
	db.exec("UPDATE c SET b='c'")
	if got := queryText(t, till.conn, "SELECT count(*) FROM MICPTRACK"); got != "1" {
		t.Errorf("%s entries of one change", got)
	}
	if got := dumpLiveTable(t, till.conn, "c"); !cmp.Equal(got, []string{"c | 1:1 | 1:2 | 3:'c'"}) {
		t.Errorf("%q", got)
	}
}
