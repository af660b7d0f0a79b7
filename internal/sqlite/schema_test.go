package sqlite

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
)

// TestReadTable reads what SQLite tells in five places.
func TestReadTable(t *testing.T) {
	db := newSrcDB(t, `CREATE TABLE "P ""x"""(a TEXT, b INTEGER, PRIMARY KEY(b, a)) WITHOUT ROWID;
		CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT NOT NULL DEFAULT 'it''s' UNIQUE COLLATE NOCASE, p REFERENCES t ON DELETE CASCADE,
		 b INTEGER, a TEXT, g AS (code || 'x'), h AS (1) STORED, FOREIGN KEY(b, a) REFERENCES "P ""x""" ON UPDATE SET NULL);
		CREATE INDEX plain ON t(b, a DESC);
		CREATE UNIQUE INDEX part ON t("a" COLLATE NOCASE, lower(code || ', )') COLLATE RTRIM DESC, b+1) WHERE b > 5 AND a <> 'WHERE ( '' -- no';
		CREATE VIEW v AS SELECT 1`)
	got, err := ReadTable(db.Conn, "T")
	if err != nil {
		t.Fatal(err)
	}
	want := &Table{
		Name: "t", Key: []string{"id"},
		Columns: []Column{
			{Name: "id", Type: "INTEGER", PK: 1},
			{Name: "code", Type: "TEXT", NotNull: true, Default: "'it''s'", HasDefault: true},
			{Name: "p"}, {Name: "b", Type: "INTEGER"}, {Name: "a", Type: "TEXT"},
			{Name: "g", Generated: true}, {Name: "h", Generated: true},
		},
		Unique: []Index{
			{Name: "part", Origin: "c", Where: "b > 5 AND a <> 'WHERE ( '' -- no'", Columns: []IndexColumn{
				{Name: "a", Collation: "NOCASE"}, {Expr: "lower(code || ', )')", Collation: "RTRIM"}, {Expr: "b+1", Collation: "BINARY"}}},
			{Name: "sqlite_autoindex_t_1", Origin: "u", Columns: []IndexColumn{{Name: "code", Collation: "NOCASE"}}},
		},
		Indexes: []Index{{Name: "plain", Origin: "c", Columns: []IndexColumn{{Name: "b", Collation: "BINARY"}, {Name: "a", Collation: "BINARY"}}}},
		ForeignKeys: []ForeignKey{
			{Table: "t", From: []string{"p"}, To: []string{"id"}, OnUpdate: "NO ACTION", OnDelete: "CASCADE"},
			{Table: `P "x"`, From: []string{"b", "a"}, To: []string{"b", "a"}, OnUpdate: "SET NULL", OnDelete: "NO ACTION"},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got.RowidKey() != "id" || got.Unique[0].Plain() || !got.Unique[1].Plain() {
		t.Error("key or indexes misread")
	}
	p, err := ReadTable(db.Conn, `p "X"`)
	if err != nil || p.RowidKey() != "" || !p.WithoutRowid || p.Unique[0].Origin != "pk" || cmp.Diff([]string{"b", "a"}, p.Key) != "" {
		t.Errorf("%+v %v", p, err)
	}
	for _, name := range []string{"v", "none"} {
		if _, err := ReadTable(db.Conn, name); !errors.Is(err, database.ErrNoTable) {
			t.Error(name, err)
		}
	}
	if ok, err := Exists(db.Conn, "T"); !ok || err != nil {
		t.Error(err)
	}
	names, err := Tables(db.Conn)
	if d := cmp.Diff([]string{`P "x"`, "t"}, names); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestParentsFirst: always the same order, circles and self-references too.
func TestParentsFirst(t *testing.T) {
	table := func(name string, parents ...string) *Table {
		x := &Table{Name: name}
		for _, p := range parents {
			x.ForeignKeys = append(x.ForeignKeys, ForeignKey{Table: p})
		}
		return x
	}
	list := []*Table{table("line", "TICKET", "article"), table("ticket", "till", "ticket"), table("x", "y"), table("y", "z", "line"), table("z", "x"),
		table("article", "elsewhere"), table("till")}
	want := []string{"article", "till", "ticket", "line", "x", "z", "y"}
	for range len(list) {
		list = append(list[1:], list[0])
		var got []string
		for _, x := range parentsFirst(list) {
			got = append(got, x.Name)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	}
}

// FuzzTokens: no text makes the tokenizer panic or lose its place.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"CREATE INDEX i ON t(a)", `"a""b" [x] 'q''' -- c`, "/* open", "'open", "[", "é(", "1e5.x", "\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at := 0
		for _, tok := range tokens(s) {
			if tok.start < at || tok.end <= tok.start || tok.end > len(s) || tok.text != s[tok.start:tok.end] {
				t.Fatalf("%+v in %q after %d", tok, s, at)
			}
			at = tok.end
		}
		x := Index{Columns: make([]IndexColumn, 2)}
		_ = x.parse(s)
	})
}
