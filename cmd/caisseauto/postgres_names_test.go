//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/postgres/pgtest"
)

func quotedName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// strangeNames are names that a table, a schema or a column can have.
var strangeNames = []string{
	`Prix d'été "2026"`, "select", "a.b", "MixedCase", " blank ", "100%s", `back\slash`, "$caisseauto$", "$1", "é", "--", "/*", "new", "ok",
	strings.Repeat("é", 31) + "x", strings.Repeat("x", 63), "名前", "'", ";DROP TABLE t",
}

// Names of any shape come through: of the schema, of the tables, of columns
// and keys, in triggers, in batches and in the till's tables.
func TestPostgresNames(t *testing.T) {
	for _, capture := range []string{"key", "columns"} {
		t.Run(capture, func(t *testing.T) {
			const schema = `Dossier "É".1`
			dsn := pgtest.Get(t).NewDatabase(t, "CREATE SCHEMA "+quotedName(schema))
			var columns, values, touched []string
			columns = append(columns, "\"line\nfeed\" text") // which no configuration can name
			values = append(values, "'first'")
			for i, c := range strangeNames {
				columns = append(columns, quotedName(c)+" text")
				values = append(values, fmt.Sprintf("'v%d'", i))
				touched = append(touched, quotedName(c)+" = 'w'")
			}
			dossiers := fmt.Sprintf("[[dossier]]\ncode = \"ACME\"\nschema = %q\n", schema)
			var sql strings.Builder
			for i, name := range strangeNames {
				key := strangeNames[(i+1)%len(strangeNames)]
				qualified := quotedName(schema) + "." + quotedName(name)
				fmt.Fprintf(&sql, "CREATE TABLE %s(%s, PRIMARY KEY (%s)); INSERT INTO %[1]s VALUES (%[4]s);\n", qualified, strings.Join(columns, ", "), quotedName(key), strings.Join(values, ", "))
				dossiers += fmt.Sprintf("[[dossier.table]]\nname = %q\ncapture = %q\nexclude = [%q]\n", name, capture, strangeNames[(i+2)%len(strangeNames)])
			}
			pgtest.Exec(t, dsn, sql.String())
			w := newPGWorld(t, dsn, dossiers)
			w.initServer()
			w.export()
			w.createSchema()
			w.importNow()
			sql.Reset()
			for i, name := range strangeNames {
				sets := slices.Delete(slices.Clone(touched), (i+3)%len(touched), (i+3)%len(touched)+1)
				fmt.Fprintf(&sql, "UPDATE %s.%s SET %s;\n", quotedName(schema), quotedName(name), strings.Join(sets, ", "))
			}
			w.erp(sql.String())
			w.export()
			if whole := w.whole(2); len(whole) > 0 {
				t.Errorf("tables %q go whole", whole)
			}
			w.importNow()
			n := len(strangeNames)
			for i, name := range strangeNames {
				var want []string
				var list []string
				for j, c := range strangeNames {
					if j == (i+2)%n {
						continue // excluded
					}
					list = append(list, quotedName(c))
					if j == (i+3)%n {
						want = append(want, fmt.Sprintf("v%d", j))
					} else {
						want = append(want, "w")
					}
				}
				got := w.tillRows("SELECT " + strings.Join(list, ", ") + " FROM " + quotedName(name))
				if !slices.Equal(got, []string{strings.Join(want, "|")}) {
					t.Errorf("table %q: %q, want %q", name, got, want)
				}
			}
			w.erp("DELETE FROM " + quotedName(schema) + "." + quotedName(strangeNames[0]))
			w.export()
			w.importNow()
			if got := w.tillRows("SELECT * FROM " + quotedName(strangeNames[0])); len(got) != 0 {
				t.Errorf("%q", got)
			}
		})
	}
}

// Two dossiers have each its schema with tables of the same names, and a till
// gets its own dossier's alone.
func TestPostgresDossierBySchema(t *testing.T) {
	dsn := pgtest.Get(t).NewDatabase(t, `CREATE SCHEMA acme; CREATE SCHEMA beta; CREATE TABLE acme.article(id int PRIMARY KEY, v text); CREATE TABLE beta.article(id int PRIMARY KEY, v numeric(9,2));
		CREATE TABLE vat(id int PRIMARY KEY); INSERT INTO acme.article VALUES (1, 'acme'); INSERT INTO beta.article VALUES (1, 2); INSERT INTO vat VALUES (7)`)
	dossier := func(code, schema string) string {
		return fmt.Sprintf("[[dossier]]\ncode = %q\nschema = %q\n[[dossier.table]]\nname = \"article\"\n[[dossier.table]]\nname = \"vat\"\nschema = \"public\"\n", code, schema)
	}
	w := newPGWorld(t, dsn, dossier("ACME", "acme")+dossier("BETA", "beta"))
	w.initServer()
	w.export()
	w.createSchema()
	w.importNow()
	check := func(want ...string) {
		t.Helper()
		if got := w.tillRows("SELECT id, v FROM article UNION ALL SELECT id, NULL FROM vat"); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check("1|acme", "7|")
	w.erp("UPDATE beta.article SET v = 9; INSERT INTO acme.article VALUES (2, 'two'); DELETE FROM vat")
	if out := strings.Fields(w.export()); !slices.Contains(out, "BETA") {
		t.Error(out)
	}
	w.importNow()
	check("1|acme", "2|two")
}

// What a till's SQLite cannot tell apart, or takes from nobody, is refused
// before anything is made.
func TestPostgresNamesRefused(t *testing.T) {
	for _, tt := range []struct{ name, sql, tables, says string }{
		{"tables by case", `CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE "A"(id int PRIMARY KEY)`, `a A`, "differs from another table in the case of its letters"},
		{"columns by case", `CREATE TABLE a(id int PRIMARY KEY, v text, "V" text)`, `a`, `columns "v" and "V" differ in the case of their letters alone`},
		{"no such table", ``, `a`, `table "a": no such table in a schema of the search_path`},
		{"no key", `CREATE TABLE a(id int)`, `a`, "has no PRIMARY KEY"},
		{"SQLite's own", `CREATE TABLE sqlite_a(id int PRIMARY KEY)`, `sqlite_a`, "belongs to the program itself or to SQLite"},
		{"ours", `CREATE TABLE caisseauto_a(id int PRIMARY KEY)`, `caisseauto_a`, "belongs to the program itself or to SQLite"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dsn := pgtest.Get(t).NewDatabase(t, tt.sql)
			dossiers := "[[dossier]]\ncode = \"ACME\"\n"
			for _, name := range strings.Fields(tt.tables) {
				dossiers += fmt.Sprintf("[[dossier.table]]\nname = %q\n", name)
			}
			w := newPGWorld(t, dsn, dossiers)
			code, out, errs := w.run("init", "server", "--config", w.path("server/server.toml"))
			if code == 0 || !strings.Contains(errs, tt.says) {
				t.Errorf("exit code %d, want %q in %s%s", code, tt.says, out, errs)
			}
			if got := pgtest.Query(t, dsn, "SELECT nspname FROM pg_namespace WHERE nspname = 'caisseauto'"); len(got) != 0 {
				t.Error("it is made all the same")
			}
		})
	}
}
