package sqlite

import (
	"context"
	"errors"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

const articleSchema = `
CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, barcode TEXT, label TEXT, price INTEGER, cat INTEGER REFERENCES category(id));
CREATE UNIQUE INDEX article_barcode ON article(barcode) WHERE barcode <> '';
CREATE INDEX article_label ON article(label);
CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT, best INTEGER REFERENCES article(id));`

var articleColumns = []string{"id", "code", "barcode", "label", "price", "cat"}

func articles(p manifest.Position, scope manifest.Scope) *testBatch {
	b := newBatch(p)
	b.table("category", scope, []string{"id"}, []string{"id", "name", "best"})
	b.table("article", scope, []string{"id"}, articleColumns)
	return b
}

// filled returns a till with three articles and two categories that refer to
// each other.
func filled(t *testing.T, schema string) (*Till, manifest.Position) {
	t.Helper()
	till := newTill(t, articleSchema+schema, TillOptions{})
	b := articles(manifest.Position{}, manifest.Whole)
	b.rows("category", change.Upsert, []string{"id", "name", "best"}, []any{1, "food", 2}, []any{2, "drink", nil})
	b.rows("article", change.Upsert, articleColumns,
		[]any{1, "A", "111", "apple", 100, 1}, []any{2, "B", "222", "bread", 200, 1}, []any{3, "C", "", "cola", 300, 2})
	got, err := b.apply(till)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 5 || got.Inserted != 5 || got.Updated != 0 || got.Deleted != 0 || got.Locked <= 0 {
		t.Fatalf("%+v", got)
	}
	return till, b.p
}

func TestApplyCountsAndPosition(t *testing.T) {
	till, p := filled(t, "")
	b := articles(p, manifest.Changes)
	b.rows("article", change.Upsert, articleColumns,
		[]any{1, "A", "111", "apple", 101, 1}, // price alone
		[]any{2, "B", "222", "bread", 200, 1}, // nothing
		[]any{4, "D", nil, "dates", 400, nil}) // new
	b.rows("article", change.Patch, []string{"id", "price"}, []any{3, 333})
	b.rows("article", change.Delete, []string{"id"}, []any{99}, []any{4})
	got, err := b.apply(till)
	if err != nil {
		t.Fatal(err)
	}
	got.Locked = 0
	if want := (change.Applied{Rows: 6, Inserted: 1, Updated: 2, Deleted: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s := queryText(t, till.conn, "SELECT id, price FROM article ORDER BY id"); s != "1,101;2,200;3,333" {
		t.Error(s)
	}
	pos, err := till.Position(t.Context(), testStream)
	if err != nil || pos != b.p {
		t.Errorf("%+v %v", pos, err)
	}
	if pos, err := till.Position(t.Context(), "ACME/up/001"); err != nil || !pos.IsZero() {
		t.Errorf("%+v %v", pos, err)
	}
}

func TestApplyUniqueSwapsAndTakeovers(t *testing.T) {
	till, p := filled(t, "")
	b := articles(p, manifest.Changes)
	b.rows("article", change.Upsert, articleColumns,
		[]any{1, "B", "222", "apple", 100, 1}, // a cycle of three codes, two barcodes swapped
		[]any{2, "C", "111", "bread", 200, 1},
		[]any{3, "A", "", "cola", 300, 2})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	b = articles(b.p, manifest.Changes)
	b.rows("article", change.Patch, []string{"id", "code"}, []any{2, "B"}) // taken over from 1, which goes
	b.rows("article", change.Delete, []string{"id"}, []any{1})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, till.conn, "SELECT id, code, barcode FROM article ORDER BY id"); s != "2,'B','111';3,'A',''" {
		t.Error(s)
	}
}

// TestApplySameKeyTwice: the later row wins, also when it is what the till has
// already and could be thought unchanged.
func TestApplySameKeyTwice(t *testing.T) {
	till, p := filled(t, "")
	b := articles(p, manifest.Changes)
	b.rows("article", change.Upsert, articleColumns,
		[]any{1, "A", "111", "apple", 999, 1}, []any{1, "A", "111", "apple", 100, 1}, []any{2, "B", "222", "bread", 999, 1})
	b.rows("article", change.Patch, []string{"id", "price"}, []any{2, 200})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	if s := queryText(t, till.conn, "SELECT price FROM article ORDER BY id"); s != "100;200;300" {
		t.Error(s)
	}
}

func TestApplyRefusals(t *testing.T) {
	up := func(rows ...[]any) func(*testBatch) {
		return func(b *testBatch) { b.rows("article", change.Upsert, articleColumns, rows...) }
	}
	tests := []struct {
		name, local string // local: what the till has of its own
		batch       func(*testBatch)
		want        []string
	}{
		{"unique with a local row", "INSERT INTO article(id,code) VALUES(50,'X')", up([]any{7, "X", nil, "l", 1, nil}),
			[]string{`"article"`, `"id"=7`, `"id"=50`, `"code"='X'`, "unique index"}},
		{"partial unique with a local row", "INSERT INTO article(id,code,barcode) VALUES(50,'X','9')", up([]any{7, "Y", "9", "l", 1, nil}),
			[]string{`"id"=7`, `"id"=50`, `"barcode"='9'`, `"article_barcode"`}},
		{"two rows of the batch", "", up([]any{7, "X", nil, "l", 1, nil}, []any{8, "X", nil, "l", 1, nil}),
			[]string{`"id"=7`, `"id"=8`, `"code"='X'`}},
		{"not null", "", up([]any{7, nil, nil, "l", 1, nil}), []string{`"article"`, `"id"=7`, "NOT NULL", "code"}},
		{"missing parent", "", up([]any{7, "X", nil, "l", 1, 77}), []string{`"article"`, `"id"=7`, `"cat"=77`, `"category"`}},
		{"parent of a local row", "INSERT INTO category(id) VALUES(60); INSERT INTO article(id,code,cat) VALUES(50,'X',2)",
			func(b *testBatch) {
				b.rows("article", change.Patch, []string{"id", "cat"}, []any{3, 1})
				b.rows("category", change.Delete, []string{"id"}, []any{2})
			}, []string{`"article"`, `"id"=50`, `"cat"=2`, `"category"`}},
		{"patch of a missing row", "", func(b *testBatch) {
			b.rows("article", change.Patch, []string{"id", "price"}, []any{9, 1})
		}, []string{`"article"`, `"id"=9`, "caisseauto export --baseline"}},
		{"null key", "", up([]any{nil, "X", nil, "l", 1, nil}), []string{`"article"`, "NULL", `"id"`}},
		{"text in an integer key", "", up([]any{"x", "X", nil, "l", 1, nil}), []string{`"id"='x'`, "mismatch"}},
		{"a column outside the manifest", "", func(b *testBatch) {
			b.rows("article", change.Patch, []string{"id", "nosuch"}, []any{1, 1})
		}, []string{`"nosuch"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			till, p := filled(t, "")
			if err := till.conn.Exec(tt.local); err != nil {
				t.Fatal(err)
			}
			before := dumpLive(t, till.conn)
			b := articles(p, manifest.Changes)
			tt.batch(b)
			_, err := b.apply(till)
			if !errors.Is(err, manifest.ErrRefused) {
				t.Fatalf("not refused: %v", err)
			}
			for _, w := range append(tt.want, "nothing was applied") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if d := diffLines(before, dumpLive(t, till.conn)); d != "" {
				t.Error(d)
			}
			if pos, _ := till.Position(t.Context(), testStream); pos != p {
				t.Errorf("moved to %+v", pos)
			}
		})
	}
}

func TestApplyMoved(t *testing.T) {
	till, p := filled(t, "")
	for name, change := range map[string]func(*testBatch){
		"the same again":    func(b *testBatch) { b.p = p; b.m.Previous = "" },
		"a gap":             func(b *testBatch) { b.p.Sequence++ },
		"another chain":     func(b *testBatch) { b.m.Previous = applyDigest("other") },
		"another epoch":     func(b *testBatch) { b.p.Epoch = 2 },
		"an older baseline": func(b *testBatch) { b.p.Sequence, b.m.Kind = 1, manifest.Baseline },
		"a forked baseline": func(b *testBatch) { b.m.Previous, b.m.Kind = applyDigest("other"), manifest.Baseline },
	} {
		b := articles(p, manifest.Changes)
		change(b)
		if _, err := b.apply(till); !errors.Is(err, database.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := articles(p, manifest.Changes)
	till.hook = func(place string) { // another import wins while we wait for the lock
		if place == "prepared" {
			other := openTill(t, till.conn.Path(), TillOptions{})
			if _, err := articles(p, manifest.Changes).apply(other); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := b.apply(till); !errors.Is(err, database.ErrMoved) {
		t.Error(err)
	}
}

func TestApplyCancelled(t *testing.T) {
	till, p := filled(t, "")
	before := dumpLive(t, till.conn)
	for _, place := range []string{"prepared", "commit"} {
		ctx, cancel := context.WithCancel(t.Context())
		till.hook = func(at string) {
			if at == place {
				cancel()
			}
		}
		b := articles(p, manifest.Changes)
		b.rows("article", change.Patch, []string{"id", "price"}, []any{1, 1})
		_, err := till.Apply(ctx, b.m, b.p, b.reader())
		if place == "commit" { // too late: a commit is not interrupted
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", place, err)
		}
		if d := diffLines(before, dumpLive(t, till.conn)); d != "" {
			t.Error(d)
		}
	}
}

// diffLines returns what two sorted lists of lines do not share.
func diffLines(want, got []string) string {
	count := map[string]int{}
	for _, l := range want {
		count[l]++
	}
	for _, l := range got {
		count[l]--
	}
	var b strings.Builder
	for l, n := range count {
		for ; n > 0; n-- {
			b.WriteString("- " + l + "\n")
		}
		for ; n < 0; n++ {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}
