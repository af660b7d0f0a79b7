//go:build unix

package postgres

import (
	"testing"

	"caisseauto/internal/database"
)

const articleSQL = `CREATE TABLE article(id bigint PRIMARY KEY, dossier text, code varchar(20) UNIQUE, label text, price numeric(10,2));
INSERT INTO article SELECT n, CASE WHEN n % 2 = 0 THEN 'A' ELSE 'B' END, 'c' || n, 'l', n FROM generate_series(1, 10) AS n`

func articles(dossier string) map[string]database.SourceConfig {
	return map[string]database.SourceConfig{dossier + "/down": {Tables: []database.TableConfig{{Name: "article", DossierColumn: "dossier", Dossier: dossier}}}}
}

// Every statement that writes reaches the reader, and nothing else does.
func TestStatements(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	if got := s.round(); got != "baseline article:whole 5" {
		t.Error(got)
	}
	for _, tt := range []struct{ sql, want string }{
		{"SELECT 1", "delta  0"},
		{"UPDATE article SET price = 7 WHERE id = 2", "delta article:changes 1"},
		{"UPDATE article SET price = 7 WHERE id = 1", "delta  0"}, // another dossier's
		{"INSERT INTO article VALUES (20, 'A', 'x', 'é', 1.10), (21, 'B', 'y', '', NULL)", "delta article:changes 1"},
		{"DELETE FROM article WHERE id IN (2, 3)", "delta article:changes 1"},
		{"UPDATE article SET id = id + 100 WHERE id = 4", "delta article:changes 2"},
		{"UPDATE article SET dossier = 'B' WHERE id = 6", "delta article:changes 1"},
		{"UPDATE article SET dossier = 'A' WHERE id = 6", "delta article:changes 1"},
		{"INSERT INTO article VALUES (8, 'A', 'c8', 'new', 2) ON CONFLICT (id) DO UPDATE SET label = excluded.label", "delta article:changes 1"},
		{"WITH d AS (DELETE FROM article WHERE id = 8 RETURNING *) INSERT INTO article SELECT id + 1000, dossier, code, label, price FROM d", "delta article:changes 2"},
		{"BEGIN; UPDATE article SET price = 1; ROLLBACK", "delta  0"},
		{"BEGIN; SAVEPOINT x; UPDATE article SET price = 3 WHERE id = 10; ROLLBACK TO x; UPDATE article SET label = 's' WHERE id = 10; COMMIT", "delta article:changes 1"},
		{"TRUNCATE article", "delta article:whole 0"},
		{"COPY article FROM PROGRAM 'echo 30,A,z,copied,1.00' WITH (FORMAT csv)", "delta article:changes 1"},
		{"SET session_replication_role = replica; UPDATE article SET label = 'r' WHERE id = 30; RESET session_replication_role", "delta article:changes 1"},
	} {
		e.do(tt.sql)
		if got := s.round(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.sql, got, tt.want)
		}
	}
}
