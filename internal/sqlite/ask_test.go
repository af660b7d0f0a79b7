package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"caisseauto/internal/sqlite/sqlite3"
)

func TestAsk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "till.db")
	db, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Exec("CREATE TABLE vente(etat TEXT, n); INSERT INTO vente VALUES('OUVERT', 1)"), db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]bool{
		"SELECT count(*) FROM vente WHERE etat='OUVERT'": true,
		"SELECT count(*) FROM vente WHERE etat='FERME'":  false,
		"SELECT n FROM vente WHERE etat='FERME'":         false,
		"SELECT 0.5":                                     true, "SELECT 0.0": false, "SELECT NULL": false, "SELECT ''": false, "SELECT '0'": true, "SELECT x'00'": true, "SELECT -1": true,
		"VALUES(0),(1)": false, "VALUES(1),(0)": true,
	} {
		if got, err := Ask(t.Context(), path, query); err != nil || got != want {
			t.Errorf("%s: %v, %v", query, got, err)
		}
	}
	for _, query := range []string{"SELECT nothing FROM nowhere", "DELETE FROM vente", "not SQL"} {
		if got, err := Ask(t.Context(), path, query); err == nil {
			t.Errorf("%s: %v", query, got)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the database was written to, %v", err)
	}
}
