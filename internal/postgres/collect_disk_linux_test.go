package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// TestCollectDiskFull: on a full disk nothing of a batch is taken, the error
// says so, and with room the same collector takes it. Where the write-ahead
// log itself finds no room the server stops, and it is started again.
func TestCollectDiskFull(t *testing.T) {
	disk := pgtest.NewDisk(t, 160<<20)
	cluster := pgtest.Start(t, pgtest.Options{Folder: disk.Folder})
	s := collecttest.NewRetailServer(t, kindOn(cluster), "")
	e := s.DB.(*collectDB)
	s.Batch("017").Tickets("017", 20_000).Send()
	b := s.BigBatch("017", 10_000)
	before := state(t, e.dsn)
	for _, leave := range []int64{0, 4 << 20, 24 << 20} {
		disk.Fill(t, leave)
		_, err := b.ApplyTo(s.Collector)
		if !errors.Is(err, database.ErrNoSpace) && !errors.Is(err, database.ErrUnavailable) {
			t.Errorf("%d bytes left: %v", leave, err)
		}
		t.Logf("%.160s", fmt.Sprint(err))
		disk.Free(t)
		if errors.Is(err, database.ErrUnavailable) {
			cluster.Stop(t, pgtest.Immediate)
			cluster.Start(t)
		}
		if got := state(t, e.dsn); !cmp.Equal(before, got) {
			t.Fatalf("%d bytes left: something changed:\n%s", leave, cmp.Diff(before, got))
		}
	}
	if res, err := b.ApplyTo(s.Collector); err != nil || res.Inserted != res.Rows {
		t.Errorf("%s, %v", collecttest.Counts(res), err)
	}
}
