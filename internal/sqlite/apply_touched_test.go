package sqlite

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// A baseline on a living till writes only what differs, also in tables that
// refer to others with ON UPDATE CASCADE; where such an update can come about,
// the row that the batch has wins over the cascade.
func TestUnchangedChildren(t *testing.T) {
	columns := []string{"id", "p", "v"}
	for _, tt := range []struct {
		name, schema string
		parents      [][]any // of the batch
		updated      int64
		children     string // at the end
	}{
		{"the parent's key", `CREATE TABLE p(id TEXT PRIMARY KEY NOT NULL, u TEXT UNIQUE); CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p(id) ON UPDATE CASCADE, v);
			INSERT INTO p VALUES('a','x'), ('b','y'); INSERT INTO c VALUES(1,'a',1), (2,'b',2)`,
			[][]any{{"a", "x"}, {"b", "z"}}, 1, "1,'a',1;2,'b',2"},
		{"a key that can be spelled otherwise", `CREATE TABLE p(id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, u TEXT UNIQUE); CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p(id) ON UPDATE CASCADE, v);
			INSERT INTO p VALUES('a','x'), ('b','y'); INSERT INTO c VALUES(1,'a',1), (2,'b',2)`,
			[][]any{{"A", "x"}, {"b", "y"}}, 3, "1,'a',1;2,'b',2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			till := newTill(t, tt.schema, TillOptions{})
			b := newBatch(manifest.Position{})
			b.table("p", manifest.Whole, []string{"id"}, []string{"id", "u"})
			b.table("c", manifest.Whole, []string{"id"}, columns)
			b.rows("p", change.Upsert, []string{"id", "u"}, tt.parents...)
			b.rows("c", change.Upsert, columns, []any{1, "a", 1}, []any{2, "b", 2})
			got, err := b.apply(till)
			if err != nil || got.Updated != tt.updated || got.Inserted+got.Deleted != 0 {
				t.Errorf("%+v, %v, want %d updated", got, err, tt.updated)
			}
			if d := cmp.Diff(tt.children, queryText(t, till.conn, "SELECT * FROM c ORDER BY id")); d != "" {
				t.Error(d)
			}
		})
	}
}
