package sqlite

import (
	"fmt"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// TestLateSync: a large batch lets the lock go before its log is synced, and
// Apply returns only after that, also while a reader from before the batch
// keeps the log from being copied back.
func TestLateSync(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		t.Run(fmt.Sprintf("pinned=%t", pinned), func(t *testing.T) {
			till := newTill(t, "CREATE TABLE a(k INTEGER PRIMARY KEY, v TEXT); INSERT INTO a VALUES(-1,'x')", TillOptions{})
			reader := openPlain(t, till.conn.Path())
			if pinned {
				if err := reader.Exec("BEGIN; SELECT * FROM a"); err != nil {
					t.Fatal(err)
				}
			}
			commits := 0
			unsynced := false
			till.hook = func(place string) {
				switch place {
				case "unsynced":
					unsynced = true
				case "committed":
					commits++
				}
			}
			b := newBatch(manifest.Position{})
			b.table("a", manifest.Whole, []string{"k"}, []string{"k", "v"})
			rows := make([][]any, lateSyncRows)
			for i := range rows {
				rows[i] = []any{i, "row"}
			}
			b.rows("a", change.Upsert, []string{"k", "v"}, rows...)
			b.m.Members[0].Rows = int64(len(rows))
			if _, err := b.apply(till); err != nil {
				t.Fatal(err)
			}
			want := 1
			if pinned {
				want = 2 // the second one, with FULL, syncs the first
			}
			if !unsynced || commits != want {
				t.Errorf("unsynced %t, %d commits, want %d", unsynced, commits, want)
			}
			if got := queryText(t, till.conn, "PRAGMA synchronous"); got != "2" {
				t.Errorf("synchronous is %s afterwards, want 2 (FULL)", got)
			}
			if pinned {
				if err := reader.Exec("COMMIT"); err != nil {
					t.Fatal(err)
				}
			}
			err := reader.Query("SELECT count(*), min(k) FROM a", func(s *sqlite3.Stmt) error {
				if s.Int(0) != lateSyncRows || s.Int(1) != 0 {
					t.Errorf("%d rows from %d on", s.Int(0), s.Int(1))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
