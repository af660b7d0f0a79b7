package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/retail"
	"caisseauto/manifest"
)

// A lineSink makes blocks of the lines that a till's outbox gives.
type lineSink struct {
	blocks  blockReader
	members []manifest.Member
}

func (s *lineSink) Start(h change.Header) error {
	s.blocks = append(s.blocks, &change.Block{Header: &h})
	s.members = append(s.members, manifest.Member{Table: h.Table})
	return h.Check()
}

func (s *lineSink) Row(line []byte) error {
	b := s.blocks[len(s.blocks)-1]
	row := make([]change.Value, len(b.Header.Columns))
	if _, err := change.ParseRow(append([]byte(nil), line...), row, nil); err != nil {
		return err
	}
	b.Values = append(b.Values, row...)
	s.members[len(s.members)-1].Rows++
	return nil
}

// collect carries what waits on a till to the server, and the receipt back.
func (s *upServer) collect(db *upDB, last *manifest.Position) change.Applied {
	s.t.Helper()
	ctx := context.Background()
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	sink := &lineSink{}
	x, err := db.Read(ctx, db.stream, false, sink)
	check(err)
	m := &manifest.Manifest{Stream: db.stream, Epoch: 1, Sequence: last.Sequence + 1, Previous: last.Digest, Kind: x.Kind, Created: time.Now(),
		Tables: x.Tables, Members: sink.members, Totals: x.Totals, Applied: x.Applied, Incarnation: x.Incarnation}
	if last.IsZero() {
		m.Previous = collect.NoneBefore
	}
	text, err := json.Marshal(m)
	check(err)
	*last = manifest.Position{Epoch: 1, Sequence: m.Sequence, Digest: applyDigest(string(text))}
	p := manifest.Pending{Position: *last, Kind: x.Kind, Cursor: x.Cursor}
	check(db.Reserve(ctx, db.stream, p))
	check(db.Publish(ctx, db.stream, p))
	res, err := s.Apply(ctx, m, *last, &sink.blocks)
	check(err)
	r, due, err := s.Receipt(ctx, db.stream)
	check(err)
	if !due {
		s.t.Error("no receipt is due")
	}
	r.Signer, r.Issued = "server@acme", time.Now().UTC().Truncate(time.Second)
	_, err = db.Receipt(ctx, r)
	check(err)
	check(s.ReceiptDone(ctx, db.stream, r.Issue))
	return res
}

// A real till sells, its real outbox is collected, and the receipt empties it.
func TestCollectLoop(t *testing.T) {
	s := newUpServer(t, retailTill(), collectUploads(""))
	var uploads []manifest.Upload
	list, err := s.driver.capture.uploads(s.erp, "ACME/down")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	db := newUpDB(t, retailTill(), uploads)
	var last manifest.Position
	sold := int64(0)
	for day := range 3 {
		sales, err := retail.Sell(context.Background(), db.pos, retail.SellOptions{Till: "017", Count: 15, Seed: uint64(day + 1)})
		if err != nil {
			t.Fatal(err)
		}
		sold += sales.Tickets
		db.exec(fmt.Sprintf("UPDATE client SET nom='till %d', modifie_le='2026-01-0%d' WHERE code='C1'", day, day+1))
		s.exec(fmt.Sprintf("UPDATE client SET nom='server %d', modifie_le='2026-01-0%d' WHERE code='C2'", day, day+1))
		res := s.collect(db, &last)
		if res.Quarantined != 0 || res.Conflicts != 0 {
			t.Errorf("day %d: %s", day, counts(res))
		}
		db.want("0", "SELECT count(*) FROM MICPTRACK")
	}
	for _, table := range []string{"ticket", "ticket_ligne", "reglement", "jet"} {
		sql := "SELECT * FROM " + table + " ORDER BY dossier, caisse, 3, 4"
		if got, want := rowsText(t, s.erp, sql), rowsText(t, db.pos, sql); got != want || got == "" {
			t.Errorf("table %s of the server is not the till's", table)
		}
	}
	s.want("till 2|server 2", "SELECT group_concat(nom, '|') FROM client WHERE code<'C3'")
	if got := totalsText(t, s.receipt("017").Totals); s.alarms() != "" || sold == 0 || len(s.units()) > 0 {
		t.Errorf("%s; alarms %s", got, s.alarms())
	}
}

// Several collectors on one database, each with tills of its own.
func TestCollectTogether(t *testing.T) {
	s := newRetailServer(t, "")
	s.exec("INSERT INTO caisse(dossier, numero, libelle) VALUES('ACME','019',''),('ACME','020','')")
	var wg sync.WaitGroup
	for _, till := range []string{"017", "018", "019", "020"} {
		c, err := OpenCollector(s.path, s.driver.capture, CollectOptions{BusyTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own := *s
		own.Collector = c
		wg.Go(func() {
			for n := range 10 {
				b := own.batch(till).tickets(till, 2*n+1, 2*n+2).seal()
				if _, err := own.Apply(context.Background(), b.m, b.p, b.reader()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.want("017|20 018|20 019|20 020|20", "SELECT caisse, count(*) FROM ticket GROUP BY 1 ORDER BY 1")
	s.want("40", "SELECT integrated FROM caisseauto_dossier")
	s.want("40", "SELECT count(DISTINCT sequence || stream) FROM caisseauto_ledger")
}
