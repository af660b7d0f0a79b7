package main

import (
	"fmt"
	"testing"
	"time"

	"caisseauto/internal/postgres/pgtest"
)

// The server's disk fills up: exit code 73, or 69 when the server has ended
// over it. With room again, the same command finishes.
func TestPostgresDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	disk := pgtest.NewDisk(t, 150<<20)
	c := pgtest.Start(t, pgtest.Options{Folder: disk.Folder, Settings: map[string]string{"max_wal_size": "32MB", "min_wal_size": "32MB"}})
	w := newPGWorld(t, c.NewDatabase(t, badSQL, "INSERT INTO article SELECT n, 'ACME', repeat('x', 1000) FROM generate_series(10, 3000) AS n"), badDossier)
	w.initServer()
	w.export()
	w.createSchema()
	w.importNow()
	disk.Fill(t, 1<<20)
	full := 0
	for i := 0; i < 200 && full == 0; i++ {
		_ = pgtest.Try(w.dsn, fmt.Sprintf("UPDATE article SET label = repeat('%d', 900) WHERE id %% 10 = %d", i%10, i%10)) // the ERP's own trouble
		if code, _, errs := w.run("export", "--config", w.server()); code == 73 || code == 69 {
			full = code
		} else if code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
	}
	if full == 0 {
		t.Error("the disk is never full")
	}
	disk.Free(t)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // it may have ended, and recovers
		code, _, errs := w.run("export", "--config", w.server())
		if code == 0 {
			break
		}
		if code != 69 || time.Now().After(end) {
			t.Fatalf("exit code %d: %s", code, errs)
		}
	}
	w.same()
}
