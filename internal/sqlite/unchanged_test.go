package sqlite

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// TestUnchanged: a baseline says so when nothing of the stream was changed
// since the batch before, and only then.
func TestUnchanged(t *testing.T) {
	config := func(dossier string, exclude ...string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "t", DossierColumn: "d", Dossier: dossier, Exclude: exclude}, {Name: "u"}}}
	}
	for _, tt := range []struct {
		name, sql string
		config    database.SourceConfig // of A; another one than before
		want      bool
	}{
		{name: "nothing", want: true},
		{name: "another dossier's row", sql: "UPDATE t SET v=9 WHERE d='B'", want: true},
		{name: "a row", sql: "UPDATE t SET v=9 WHERE d='A'"},
		{name: "a row deleted", sql: "DELETE FROM t WHERE d='A'"},
		{name: "a row that went to another dossier", sql: "UPDATE t SET d='B' WHERE id=1"},
		{name: "a row of everybody's", sql: "INSERT INTO u VALUES(2, 2)"},
		{name: "rebuilt table", sql: "DROP TABLE u; CREATE TABLE u(id INTEGER PRIMARY KEY, v); INSERT INTO u VALUES(1, 7)"},
		{name: "another column", sql: "ALTER TABLE t ADD COLUMN w"},
		{name: "a column less", config: config("A", "v")},
		{name: "a gap in the journal", sql: "UPDATE t SET v=9 WHERE d='B'; INSERT INTO t VALUES(9,'B',1); DELETE FROM caisseauto_journal WHERE seq=(SELECT min(seq) FROM caisseauto_journal)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newSrcDB(t, `CREATE TABLE t(id INTEGER PRIMARY KEY, d, v); CREATE TABLE u(id INTEGER PRIMARY KEY, v);
				INSERT INTO t VALUES(1,'A',1), (2,'B',2), (3,'A',3); INSERT INTO u VALUES(1, 1)`)
			streams := map[string]database.SourceConfig{"A/down": config("A"), "B/down": config("B")}
			s := db.capture(streams)["A/down"]
			if x, err := s.Read(t.Context(), s.name, true, &srcCounter{}); err != nil || x.Unchanged {
				t.Fatalf("the first batch: %v, %v", x.Unchanged, err)
			}
			s.export(false)
			if tt.sql != "" {
				db.do(tt.sql)
			}
			if tt.config.Tables != nil {
				streams["A/down"] = tt.config
				s = db.capture(streams)["A/down"]
			}
			x, err := s.Read(t.Context(), s.name, true, &srcCounter{})
			if err != nil || x.Kind != manifest.Baseline || x.Unchanged != tt.want {
				t.Errorf("kind %s, unchanged %v, want %v, %v", x.Kind, x.Unchanged, tt.want, err)
			}
		})
	}
}

// TestRecord: an unchanged baseline is written to the ledger without its rows,
// once, and nothing else is.
func TestRecord(t *testing.T) {
	till := newTill(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", TillOptions{})
	first := newBatch(manifest.Position{})
	first.table("t", manifest.Whole, []string{"id"}, []string{"id", "v"})
	first.rows("t", "upsert", []string{"id", "v"}, []any{1, 1}, []any{2, 2})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	was := dumpLive(t, till.conn)
	b := newBatch(first.p)
	b.m.Kind = manifest.Baseline
	b.table("t", manifest.Whole, []string{"id"}, []string{"id", "v"})
	if err := till.Record(t.Context(), b.m, b.p); err == nil {
		t.Error("one that is not unchanged was recorded")
	}
	b.m.Unchanged = true
	stranger := *b.m
	stranger.Previous = applyDigest("another")
	if err := till.Record(t.Context(), &stranger, b.p); !errors.Is(err, database.ErrMoved) {
		t.Errorf("after another batch: %v", err)
	}
	if err := till.Record(t.Context(), b.m, b.p); err != nil {
		t.Error(err)
	}
	if err := till.Record(t.Context(), b.m, b.p); !errors.Is(err, database.ErrMoved) {
		t.Errorf("twice: %v", err)
	}
	if p, err := till.Position(t.Context(), testStream); err != nil || p != b.p {
		t.Errorf("%+v, %v", p, err)
	}
	if d := cmp.Diff(was, dumpLive(t, till.conn)); d != "" {
		t.Error(d)
	}
}
