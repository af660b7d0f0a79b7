package sqlite

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

func TestCheck(t *testing.T) {
	schema := `CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT, g AS (id+1), extra TEXT, must TEXT NOT NULL DEFAULT 'x');
		CREATE TABLE strictly(id INTEGER PRIMARY KEY, a TEXT, must TEXT NOT NULL);
		CREATE TABLE part(id INTEGER, code TEXT); CREATE UNIQUE INDEX part_code ON part(code) WHERE id > 0;
		CREATE VIEW v AS SELECT 1 AS id;`
	key, tests := []string{"id"}, []struct {
		name  string
		table string
		key   []string
		cols  []string
		want  string // "" when it fits
	}{
		{"fits", "t", nil, []string{"id", "code"}, ""},
		{"fits in another case", "T", []string{"ID"}, []string{"ID", "CODE"}, ""},
		{"generated column is passed over", "t", nil, []string{"id", "code", "g"}, ""},
		{"missing table", "nosuch", nil, []string{"id", "a"}, `CREATE TABLE "nosuch"("id" NOT NULL, "a", PRIMARY KEY("id"));`},
		{"missing column", "t", nil, []string{"id", "new"}, `ALTER TABLE "t" ADD COLUMN "new"`},
		{"view", "v", nil, []string{"id"}, `"v"`},
		{"no key of the table", "t", []string{"code"}, []string{"id", "code"}, `CREATE UNIQUE INDEX "t_key" ON "t"("code");`},
		{"partial index is no key", "part", []string{"code"}, []string{"id", "code"}, "CREATE UNIQUE INDEX"},
		{"key that is generated", "t", []string{"g"}, []string{"id", "g"}, `"g"`},
		{"key that is not sent", "t", nil, []string{"code"}, `"id"`},
		{"column twice", "t", nil, []string{"id", "code", "CODE"}, "twice"},
		{"not null that is not sent", "strictly", nil, []string{"id", "a"}, `"must"`},
		{"the ledger", "caisseauto_ledger", []string{"stream", "epoch", "sequence"}, []string{"stream", "epoch", "sequence"}, "not for batches"},
		{"the ledger in capitals", "CAISSEAUTO_LEDGER", []string{"stream"}, []string{"stream"}, "not for batches"},
		{"the schema", "sqlite_schema", nil, []string{"id"}, "not for batches"},
	}
	till := newTill(t, schema, TillOptions{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.key == nil {
				tt.key = key
			}
			b := newBatch(manifest.Position{})
			b.table(tt.table, manifest.Whole, tt.key, tt.cols)
			err := till.Check(t.Context(), b.m)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			// Apply alone must be as strict.
			if _, aerr := till.Apply(t.Context(), b.m, b.p, b.reader()); tt.want != "" && !errors.Is(aerr, manifest.ErrRefused) {
				t.Errorf("apply: %v", aerr)
			}
			if err := till.conn.Exec("DELETE FROM caisseauto_ledger"); err != nil {
				t.Fatal(err)
			}
		})
	}
	till.o.Tables = []string{"part"}
	b := newBatch(manifest.Position{})
	b.table("t", manifest.Whole, key, []string{"id"})
	if err := till.Check(t.Context(), b.m); !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), `"t"`) {
		t.Error(err)
	}
}

// TestDeclaredTypes: a type is free text of the manifest, and must not smuggle
// statements into a command that somebody is to copy.
func TestDeclaredTypes(t *testing.T) {
	for typ, want := range map[string]string{
		"DECIMAL(10, 2)":         `DECIMAL(10, 2)`,
		"unsigned big int":       `unsigned big int`,
		"":                       ``,
		"any":                    `BLOB`,
		"TEXT); DROP TABLE t;--": `"TEXT); DROP TABLE t;--"`,
		`INT" NOT NULL`:          `"INT"" NOT NULL"`,
		"INTEGER PRIMARY KEY":    `"INTEGER PRIMARY KEY"`,
		"TEXT NOT NULL":          `"TEXT NOT NULL"`,
		"VARCHAR(20) UNIQUE":     `"VARCHAR(20) UNIQUE"`,
		"\ttext":                 "\"\ttext\"",
		"text ":                  `"text "`,
	} {
		if got := typeSQL(typ); got != want {
			t.Errorf("%q: %s, want %s", typ, got, want)
		}
	}
}

// TestTillOwnColumns: what the batch does not bring is left alone.
func TestTillOwnColumns(t *testing.T) {
	till := newTill(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT, local TEXT DEFAULT 'new', twice AS (id*2));
		INSERT INTO t VALUES(1,'a','mine');`, TillOptions{})
	b := newBatch(manifest.Position{})
	b.table("t", manifest.Whole, []string{"id"}, []string{"id", "twice", "code"})
	b.rows("t", change.Upsert, []string{"id", "twice", "code"}, []any{1, 99, "b"}, []any{2, 99, "c"})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, till.conn, "SELECT * FROM t"); s != "1,'b','mine',2;2,'c','new',4" {
		t.Error(s)
	}
}

func TestHeads(t *testing.T) {
	till := newTill(t, articleSchema, TillOptions{})
	if h, err := till.Head(t.Context(), testStream); h != nil || err != nil {
		t.Fatalf("%v %v", h, err)
	}
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	newest := &manifest.Head{Stream: testStream, Epoch: 1, Sequence: 9, Digest: applyDigest("9"), Baseline: 3, Oldest: 2, Issue: 40, Issued: at, Expires: at.Add(24 * time.Hour)}
	older := *newest
	older.Issue, older.Sequence = 39, 8
	for _, h := range []*manifest.Head{&older, newest, &older} { // an older one does not come back
		if err := till.SaveHead(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	got, err := till.Head(t.Context(), testStream)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(newest, got); d != "" {
		t.Error(d)
	}
	if err := till.Init(t.Context()); err != nil { // again: nothing is lost
		t.Fatal(err)
	}
	if got, err := till.Head(t.Context(), testStream); err != nil || got == nil {
		t.Errorf("%v %v", got, err)
	}
}

// TestStorageClasses: 1, 1.0 and '1' are three contents, also where they
// compare equal and an index is on them.
func TestStorageClasses(t *testing.T) {
	till := newTill(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, w UNIQUE, v); CREATE TABLE k(k PRIMARY KEY NOT NULL, v);
		INSERT INTO t VALUES(1, 1, 'a'); INSERT INTO k VALUES(1, 'a'),(2, 'b');`, TillOptions{})
	b := newBatch(manifest.Position{})
	b.table("t", manifest.Changes, []string{"id"}, []string{"id", "w", "v"})
	b.table("k", manifest.Changes, []string{"k"}, []string{"k", "v"})
	b.rows("t", change.Upsert, []string{"id", "w", "v"}, []any{1, 1.0, "b"})
	b.rows("k", change.Upsert, []string{"k", "v"}, []any{1.0, "a"})
	b.rows("k", change.Delete, []string{"k"}, []any{1}, []any{2})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, till.conn, "SELECT typeof(w), v, (SELECT group_concat(typeof(k)) FROM k) FROM t"); s != "'real','b','real'" {
		t.Error(s)
	}
}
