package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// The server's disk is full: that is said, and when there is room again the
// reader gets all, each batch once.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a cluster of its own")
	}
	disk := pgtest.NewDisk(t, 150<<20)
	c := pgtest.Start(t, pgtest.Options{Folder: disk.Folder, Settings: map[string]string{"max_wal_size": "32MB", "min_wal_size": "32MB", "wal_keep_size": "0"}})
	dsn := c.NewDatabase(t, "CREATE TABLE article(id bigint PRIMARY KEY, dossier text, label text); INSERT INTO article SELECT n, 'A', repeat('x', 1000) FROM generate_series(1, 2000) AS n")
	capture := NewCapture(articles("A"))
	if err := capture.Install(t.Context(), dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	e := &erp{t: t, dsn: dsn}
	s := e.stream(capture, "A/down")
	r := s.through(dsn)
	r.model.Keys["article"] = []string{"id"}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	disk.Fill(t, 1<<20)
	// The ERP writes as long as it can, and the export goes on until it cannot.
	full := false
	for i := range 400 {
		if conn, err := open(t.Context(), dsn, time.Second); err == nil {
			_, _ = conn.Exec(t.Context(), fmt.Sprintf("UPDATE public.article SET label = repeat('%d', 900) WHERE id %% 10 = %d", i%10, i%10))
			conn.Close(t.Context())
		}
		if err := r.run(t.Context()); err != nil {
			t.Log(err)
			if !errors.Is(err, database.ErrNoSpace) && !errors.Is(err, database.ErrUnavailable) {
				t.Errorf("disk full: %v", err)
			}
			full = true
			break
		}
	}
	if !full {
		t.Error("the disk is never full")
	}
	disk.Free(t)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // it may have ended, and recovers
		err := r.run(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			c.Stop(t, pgtest.Immediate)
			c.Start(t)
		}
		if time.Now().After(end.Add(time.Minute)) {
			t.Fatal(err)
		}
	}
	own, err := open(t.Context(), dsn, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(t.Context())
	e.own, e.Conn = own, own.Conn
	s.check()
}
