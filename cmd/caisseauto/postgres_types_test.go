//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// strangeSettings is how an ERP's database may be set up, so that every
// session in it writes and reads values in another form.
const strangeSettings = `DO $$ DECLARE s text; BEGIN
	FOREACH s IN ARRAY ARRAY['datestyle = ''SQL, DMY''', 'timezone = ''Asia/Kolkata''', 'intervalstyle = sql_standard', 'extra_float_digits = 0',
		'bytea_output = escape', 'xmloption = document', 'standard_conforming_strings = off', 'search_path = public, pg_catalog']
	LOOP EXECUTE format('ALTER DATABASE %I SET ', current_database()) || s; END LOOP; END $$`

// A typeTable is a table with the values of one type, the first with key 1,
// and NULL after the last.
type typeTable struct {
	pgtest.Type
	name string
}

func (x *typeTable) n() int { return len(x.Values) + 1 }

// want returns the value of the row with a key, after the values were handed
// on so many times.
func (x *typeTable) want(id, turns int) any {
	if i := (id - 1 + turns) % x.n(); i < len(x.Values) {
		return x.Values[i].Sent
	}
	return nil
}

// Every type goes from the ERP into tables that a till makes of its manifests,
// by a baseline, by patches and by whole rows, and each value stands there
// exactly, in the storage class that it was sent in.
func TestPostgresTypes(t *testing.T) {
	dsn := pgtest.Get(t).NewDatabase(t)
	var tables []*typeTable
	var create, dossiers strings.Builder
	dossiers.WriteString("[[dossier]]\ncode = \"ACME\"\n")
	for i, typ := range pgtest.Types(t, dsn) {
		x := &typeTable{typ, fmt.Sprintf("t%02d", i)}
		tables = append(tables, x)
		fmt.Fprintf(&create, "%s;\nCREATE TABLE %s(id int PRIMARY KEY, v %s);\n", x.Make, x.name, x.SQL)
		for j, v := range x.Values {
			fmt.Fprintf(&create, "INSERT INTO %s SELECT %d, (%s)::%s;\n", x.name, j+1, v.SQL, x.SQL)
		}
		fmt.Fprintf(&create, "INSERT INTO %s VALUES (%d, NULL);\n", x.name, x.n())
		fmt.Fprintf(&dossiers, "[[dossier.table]]\nname = %q\ncapture = %q\n", x.name, []string{"columns", "key"}[i%2])
	}
	pgtest.Exec(t, dsn, create.String(), strangeSettings)
	w := newPGWorld(t, dsn, dossiers.String())
	w.initServer()
	w.export()
	w.createSchema()
	w.importNow()
	for _, x := range tables {
		w.checkType(x, 0)
	}
	var turn strings.Builder
	for _, x := range tables {
		fmt.Fprintf(&turn, "UPDATE %[1]s SET v = o.v FROM %[1]s AS o WHERE o.id = %[1]s.id %% %[2]d + 1;\n", x.name, x.n())
	}
	w.erp(turn.String())
	if out := w.export(); !strings.Contains(out, "delta") {
		t.Error(out)
	}
	if whole := w.whole(2); len(whole) > 0 {
		t.Errorf("tables %q go whole", whole)
	}
	w.importNow()
	for _, x := range tables {
		w.checkType(x, 1)
	}
	if out := w.export(); !strings.Contains(out, "nothing new") {
		t.Error(out)
	}
}

// whole returns the tables that go whole in a batch on the drop.
func (w *pgWorld) whole(batch int64) (list []string) {
	w.t.Helper()
	for _, t := range w.manifest(batch).Tables {
		if t.Scope == manifest.Whole {
			list = append(list, t.Name)
		}
	}
	return list
}

// checkType compares a table of the till's.
func (w *pgWorld) checkType(x *typeTable, turns int) {
	w.t.Helper()
	rows := 0
	w.till("SELECT v, id FROM "+x.name+" ORDER BY id", func(s *sqlite3.Stmt) {
		rows++
		want := x.want(int(s.Int(1)), turns)
		if got := s.Value(0); !sameValue(got, want) {
			w.t.Errorf("%s, row %d: %s, want %s", x.SQL, s.Int(1), brief(got), brief(want))
		}
	})
	if rows != x.n() {
		w.t.Errorf("%s: %d rows, want %d", x.SQL, rows, x.n())
	}
	w.till("SELECT type FROM pragma_table_info('"+x.name+"') WHERE name = 'v'", func(s *sqlite3.Stmt) {
		if got := s.Text(0); !strings.EqualFold(got, x.Sent) { // SQLite writes its own words large
			w.t.Errorf("%s: the till's column is %q, want %q", x.SQL, got, x.Sent)
		}
	})
}

// sameValue compares kind and content; of floats each bit.
func sameValue(got change.Value, want any) bool {
	switch want := want.(type) {
	case nil:
		return got.Kind == change.Null
	case int64:
		return got.Kind == change.Integer && got.Int == want
	case float64:
		return got.Kind == change.Real && math.Float64bits(got.Real) == math.Float64bits(want)
	case string:
		return got.Kind == change.Text && string(got.Bytes) == want
	case []byte:
		return got.Kind == change.Blob && bytes.Equal(got.Bytes, want)
	}
	panic(want)
}

func brief(v any) string { return fmt.Sprintf("%.200v", fmt.Sprintf("%T %[1]v", v)) }
