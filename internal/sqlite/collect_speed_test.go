package sqlite

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"caisseauto/internal/change"
)

// A blockReader hands out blocks as they are.
type blockReader []*change.Block

func (r *blockReader) Next() (*change.Block, error) {
	if len(*r) == 0 {
		return nil, io.EOF
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return b, nil
}

// bigBatch is n tickets of 4 or 5 lines and a payment.
func (s *upServer) bigBatch(n int) *tillBatch {
	b := s.batch("017")
	var heads, lines, payments [][]any
	for i := 1; i <= n; i++ {
		heads = append(heads, ticketRow("017", i))
		for line := range 4 + i%2 {
			lines = append(lines, ligneRow("017", i, line+1))
		}
		payments = append(payments, regleRow("017", i))
	}
	return b.add("ticket", change.Upsert, ticketCols, heads...).add("ticket_ligne", change.Upsert, ligneCols, lines...).
		add("reglement", change.Upsert, regleCols, payments...).seal()
}

// Ten thousand tickets, on a disk and in one transaction. The bar is a third
// of what was measured, because other tests run beside.
func TestCollectSpeed(t *testing.T) {
	if testing.Short() || raceSlow > 1 {
		t.Skip("a measurement")
	}
	const n, least = 10_000, 30_000.0
	for _, broken := range []bool{false, true} {
		s := newRetailServer(t, "")
		b := s.bigBatch(n)
		if broken { // one bad ticket: everything is done unit by unit
			b.value("reglement", 17, 4, nil)
		}
		src := blockReader(b.blocks)
		start := time.Now()
		res, err := s.Apply(context.Background(), b.m, b.p, &src)
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		if res.Inserted+res.Quarantined != res.Rows || (res.Quarantined > 0) != broken {
			t.Errorf("%s", counts(res))
		}
		speed := float64(res.Rows) / took.Seconds()
		t.Logf("broken %v: %d rows in %s, the lock held for %s: %.0f rows/s", broken, res.Rows, took, res.Locked, speed)
		if speed < least && !broken {
			t.Errorf("%.0f rows/s, want %.0f", speed, least)
		}
		s.want(fmt.Sprint(res.Inserted), "SELECT (SELECT count(*) FROM ticket)+(SELECT count(*) FROM ticket_ligne)+(SELECT count(*) FROM reglement)")
	}
}

// TestStageFolder: the folder of a configuration that nobody has made yet is
// made when a large batch needs it.
func TestStageFolder(t *testing.T) {
	s := newStage(filepath.Join(t.TempDir(), "stage"), 4096, applyLimits{stageBytes: 1, stageKeys: 1})
	defer s.close()
	h := &change.Header{Table: "t", Op: change.Upsert, Columns: []string{"a"}}
	if err := s.add(h, []change.Value{{Kind: change.Integer, Int: 7}}); err != nil {
		t.Fatal(err)
	}
	if err := s.rewind(); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Next(); err != nil || b.Rows() != 1 {
		t.Errorf("%v", err)
	}
}
