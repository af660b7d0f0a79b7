//go:build unix

package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// nastySchema has what tables can have that makes capture hard.
const nastySchema = `CREATE EXTENSION citext;
CREATE TABLE article(id int PRIMARY KEY, dossier text, code citext UNIQUE, price numeric, label text, secret text, vat char(2) NOT NULL DEFAULT 'N', low text GENERATED ALWAYS AS (lower(label)) STORED);
CREATE TABLE "Prix d'été ""2026"""("Clé 1" bytea, "2e clé" citext, dossier text NOT NULL DEFAULT 'A', v text, w float8, UNIQUE (v), PRIMARY KEY ("Clé 1", "2e clé"));
CREATE TABLE client(code citext PRIMARY KEY, name text NOT NULL DEFAULT 'x', parent citext REFERENCES client ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE loose(k numeric PRIMARY KEY, v jsonb, n timestamptz, art int REFERENCES article ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE pair(a int, b interval, d int, v json, PRIMARY KEY (a, b));
CREATE TABLE parted(id int, d text, v text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('A', 'C') PARTITION BY RANGE (id);
CREATE TABLE parted_a1 PARTITION OF parted_a FOR VALUES FROM (0) TO (3);
CREATE TABLE parted_a2 PARTITION OF parted_a DEFAULT;
CREATE TABLE parted_b PARTITION OF parted DEFAULT;
CREATE TABLE alt(id int PRIMARY KEY, ref text NOT NULL UNIQUE, v text, dossier text GENERATED ALWAYS AS (upper(left(ref, 1))) STORED)`

func nastyTables(dossier string, columns bool) []database.TableConfig {
	d := map[string]string{"A": "1", "B": "2"}[dossier]
	return []database.TableConfig{
		{Name: "article", DossierColumn: "dossier", Dossier: dossier, Exclude: []string{"secret"}, Columns: columns},
		{Name: `Prix d'été "2026"`, DossierColumn: "dossier", Dossier: dossier, Columns: columns},
		{Name: "client", Columns: columns},
		{Name: "loose", Columns: !columns},
		{Name: "pair", DossierColumn: "d", Dossier: d, Columns: columns},
		{Name: "parted", DossierColumn: "d", Dossier: dossier, Columns: columns},
		{Name: "alt", Key: []string{"ref"}, DossierColumn: "dossier", Dossier: dossier, Exclude: []string{"id"}, Columns: columns},
	}
}

// nastyValues are what the columns are given: few, so that they collide.
var nastyValues = map[string][]string{
	"id":    {"1", "2", "3", "4"},
	"price": {"1", "1.0", "6", "NULL"}, "label": {"'a'", "'A'", "'b'", "NULL"}, "secret": {"'s'", "NULL"}, "vat": {"'N'", "'R'", "'R '"},
	"dossier": {"'A'", "'B'", "NULL", "'a'"}, "code": {"'p'", "'P'", "'q'", "'Q'", "'r'"},
	"Clé 1": {`'\x00'`, `'\x'`, `'t'`}, "2e clé": {"'é'", "'k'", "'K'"}, "v": {"'1'", "'1.0'", "NULL", `'{"a":1}'`, `'{"a": 1}'`, `'"\\u00e9"'`}, "w": {"1", "0.5", "0.1::float8 + 0.2", "'NaN'"},
	"name": {"'x'", "'y'", "'z'"}, "parent": {"'p'", "'q'", "NULL"},
	"k": {"1", "1.0", "2", "'NaN'", "1e3"}, "n": {"'2024-10-27 02:30'", "'infinity'", "NULL"}, "art": {"1", "2", "NULL"},
	"a": {"1", "2"}, "b": {"'1 day'", "'24:00'", "'-1 day +2:03'", "'-1 mon'"}, "d": {"'1'", "'2'", "'3'"}, "ref": {"'a1'", "'A1'", "'b1'", "'B2'"},
}

var partedDossiers = []string{"'A'", "'B'", "'C'"}

type nastyTable struct {
	name    string
	columns []string
}

// into are the names under which rows can be written to.
var into = map[string][]string{"parted": {"parted", "parted", "parted_a", "parted_a1", "parted_a2", "parted_b"}}

var nasty = []nastyTable{
	{"article", []string{"id", "dossier", "code", "price", "label", "secret", "vat"}},
	{`Prix d'été "2026"`, []string{"Clé 1", "2e clé", "dossier", "v", "w"}},
	{"client", []string{"code", "name", "parent"}}, {"loose", []string{"k", "v", "n", "art"}},
	{"pair", []string{"a", "b", "d", "v"}}, {"parted", []string{"id", "d", "v"}}, {"alt", []string{"id", "ref", "v"}},
}

func randomStatement(r *rand.Rand) string {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	t := nasty[r.IntN(len(nasty))]
	value := func(c string) string {
		if t.name == "parted" && c == "d" {
			return pick(partedDossiers)
		}
		return pick(nastyValues[c])
	}
	name := quote(t.name)
	if list := into[t.name]; list != nil {
		name = pick(list)
	}
	where := func() string {
		c := pick(t.columns)
		if c == "v" { // json has no =
			c = t.columns[0]
		}
		return " WHERE " + quote(c) + " IS NOT DISTINCT FROM " + value(c)
	}
	switch r.IntN(40) {
	case 0:
		if r.IntN(5) == 0 {
			return "TRUNCATE " + name + " CASCADE"
		}
	case 1, 2, 3, 4:
		return "DELETE FROM " + name + where()
	case 5:
		return "SET LOCAL timezone = 'Asia/Kolkata'; SET LOCAL datestyle = 'SQL, DMY'; SET LOCAL intervalstyle = sql_standard; SET LOCAL extra_float_digits = 0; SET LOCAL bytea_output = escape"
	case 6:
		return "SET LOCAL session_replication_role = replica"
	case 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		var names, values []string
		for _, c := range t.columns {
			names, values = append(names, quote(c)), append(values, value(c))
		}
		sql := "INSERT INTO " + name + "(" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
		if r.IntN(3) == 0 {
			c := t.columns[len(t.columns)-1]
			sql += " ON CONFLICT (" + strings.Join(nastyKeys(t.name), ", ") + ") DO UPDATE SET " + quote(c) + " = " + value(c)
		}
		return sql
	}
	var sets []string
	for _, i := range r.Perm(len(t.columns))[:1+r.IntN(min(3, len(t.columns)))] {
		sets = append(sets, quote(t.columns[i])+" = "+value(t.columns[i]))
	}
	sql := "UPDATE " + name + " SET " + strings.Join(sets, ", ")
	if r.IntN(5) > 0 {
		sql += where()
	}
	return sql
}

func nastyKeys(table string) []string {
	keys := map[string][]string{"article": {"id"}, `Prix d'été "2026"`: {"Clé 1", "2e clé"}, "client": {"code"}, "loose": {"k"}, "pair": {"a", "b"}, "parted": {"id", "d"}, "alt": {"ref"}}[table]
	for i := range keys {
		keys[i] = quote(keys[i])
	}
	return keys
}

// Several connections give the database random transactions of statements of
// every kind, some rolled back whole or in part, while exports run. Whenever
// all are at rest, what the readers of two dossiers hold is what the database
// holds. No reader may see a key that was never its own, and no statement
// fails for any other reason than the ERP's own.
func TestAnyStatements(t *testing.T) {
	n := seeds(3)
	if testing.Short() {
		n = 1
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			property(t, uint64(seed))
		})
	}
}

func property(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	e := newERP(t, nastySchema)
	configs := map[string][]database.TableConfig{"A": nastyTables("A", true), "B": nastyTables("B", r.IntN(2) == 0)}
	e.watch(configs["A"])
	streams := e.capture(map[string]database.SourceConfig{"A/down": {Tables: configs["A"]}, "B/down": {Tables: configs["B"]}})
	p := &program{e: e, failed: t.Failed}
	for range 3 {
		p.writers = append(p.writers, pgtest.Connect(t, e.dsn))
	}
	changes := 0
	export := func(s *stream) {
		for _, table := range s.export(r.IntN(15) == 0).Tables {
			if table.Scope == manifest.Changes {
				changes++
			}
		}
	}
	for range 6 {
		rest := p.start(t, r, 12)
		for range 1 + r.IntN(4) { // while they write
			export(streams[[]string{"A/down", "B/down"}[r.IntN(2)]])
		}
		rest.Wait()
		for name, s := range streams {
			export(s)
			for _, c := range configs[name[:1]] {
				e.only(s, c)
			}
			s.check()
		}
		if t.Failed() {
			t.Log(strings.Join(p.log, "\n"))
			return
		}
	}
	if changes < 5 {
		t.Errorf("only %d tables went with their changes alone", changes)
	}
}

// A program is an ERP with several connections.
type program struct {
	e       *erp
	writers []*pgx.Conn
	failed  func() bool
	mu      sync.Mutex
	log     []string
}

func (p *program) note(writer int, sql string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, fmt.Sprintf("%d: %s", writer, sql))
}

// start lets every writer run so many transactions.
func (p *program) start(t *testing.T, r *rand.Rand, n int) *sync.WaitGroup {
	var rest sync.WaitGroup
	for i, conn := range p.writers {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		rest.Go(func() {
			for range n {
				p.transaction(t, own, i, conn)
			}
		})
	}
	return &rest
}

func (p *program) transaction(t *testing.T, r *rand.Rand, i int, conn *pgx.Conn) {
	run := func(sql string) bool {
		_, err := conn.Exec(context.Background(), sql)
		c := code(err)
		p.note(i, sql+" -- "+c)
		// Constraints, deadlocks and the like, "no partition for this row" and a key that
		// cannot be named in ON CONFLICT are the ERP's own.
		if err != nil && !strings.HasPrefix(c, "23") && c != "40P01" && c != "40001" && c != "25P02" && c != "22P02" && c != "42804" && c != "21000" && c != "42P10" {
			t.Errorf("%s: %v", sql, err)
		}
		return err == nil
	}
	run("BEGIN")
	for range 1 + r.IntN(4) {
		run("SAVEPOINT s")
		if !run(randomStatement(r)) || r.IntN(6) == 0 {
			run("ROLLBACK TO s")
		} else if r.IntN(2) == 0 {
			run("RELEASE s")
		}
	}
	if r.IntN(6) == 0 {
		run("ROLLBACK")
	} else {
		run("COMMIT")
	}
}

// watch keeps, with triggers of the test's own, which keys ever were whose.
func (e *erp) watch(tables []database.TableConfig) {
	e.do("CREATE SCHEMA watch")
	for i, c := range tables {
		keys := nastyKeys(c.Name)
		dossier := "'-'"
		if c.DossierColumn != "" {
			dossier = "NEW." + quote(c.DossierColumn)
		}
		name := quote(c.Name)
		e.do(fmt.Sprintf(`CREATE TABLE watch.t%d AS SELECT %s, NULL::text AS watched FROM %s WHERE false;
			CREATE FUNCTION watch.f%[1]d() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO watch.t%[1]d VALUES (NEW.%[4]s, %[5]s); RETURN NULL; END $$;
			CREATE TRIGGER zz_watch AFTER INSERT OR UPDATE ON %[3]s FOR EACH ROW EXECUTE FUNCTION watch.f%[1]d(); ALTER TABLE %[3]s ENABLE ALWAYS TRIGGER zz_watch`,
			i, strings.Join(keys, ", "), name, strings.Join(keys, ", NEW."), dossier))
		if c.Name == "parted" {
			for _, part := range into["parted"] {
				e.do("ALTER TABLE " + part + " ENABLE ALWAYS TRIGGER zz_watch")
			}
		}
	}
}

// only fails the test when a stream was shown a key that never was its own.
func (e *erp) only(s *stream, c database.TableConfig) {
	e.t.Helper()
	i := slices.IndexFunc(nasty, func(t nastyTable) bool { return t.name == c.Name })
	table := e.tables(s.capture)[tableRef{"", c.Name}]
	columns := make([]*Column, 0, 2)
	for _, k := range nastyKeys(c.Name) {
		columns = append(columns, table.Column(strings.ReplaceAll(k[1:len(k)-1], `""`, `"`)))
	}
	sql := fmt.Sprintf("SELECT %s FROM watch.t%d", strings.Join(nastyKeys(c.Name), ", "), i)
	if c.DossierColumn != "" {
		sql += " WHERE watched = " + literal(c.Dossier)
	}
	ever := map[string]bool{}
	err := each(context.Background(), e.own, sql, []any{pgx.QueryExecModeExec}, func(row [][]byte) error {
		parts := make([]string, len(columns))
		for j, col := range columns {
			b, err := col.wire.appendValue(nil, row[j])
			if err != nil {
				return err
			}
			parts[j] = string(b)
		}
		ever[strings.Join(parts, "|")] = true
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	for key := range s.model.Seen {
		if own, ok := strings.CutPrefix(key, c.Name+" "); ok && !ever[own] {
			e.t.Errorf("stream %s was shown the key %s", s.name, key)
		}
	}
}
