package collecttest

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// A till is a till 017 of ACME with its real outbox.
type till struct {
	*sqlite.Outbox
	t      testing.TB
	pos    *sqlite3.Conn // the POS
	stream string
	last   manifest.Position
}

// newTill makes a till that has applied a first batch with what the server
// wants of it.
func newTill(t testing.TB, uploads []manifest.Upload) *till {
	t.Helper()
	path := filepath.Join(t.TempDir(), "till.db")
	pos, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pos.Close() })
	o := sqlite.OutboxOptions{Dossier: "ACME", Till: "017"}
	d := &till{Outbox: sqlite.NewOutbox(path, o), t: t, pos: pos, stream: "ACME/up/017"}
	d.check(pos.Exec("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + schema.Retail + retailTill))
	db, err := sqlite.OpenTill(path, sqlite.TillOptions{Outbox: &o})
	d.check(err)
	defer db.Close()
	d.check(db.Init(t.Context()))
	m := &manifest.Manifest{Stream: "ACME/down", Epoch: 1, Sequence: 1, Kind: manifest.Baseline, Previous: collect.NoneBefore, Created: time.Now(), Uploads: uploads}
	_, err = db.Apply(t.Context(), m, manifest.Position{Epoch: 1, Sequence: 1, Digest: digest("down")}, &Blocks{})
	d.check(err)
	return d
}

func (d *till) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// rows returns the rows of a query as Server.Text does.
func (d *till) rows(sql string) string {
	d.t.Helper()
	var rows [][]string
	d.check(d.pos.Query(sql, func(r *sqlite3.Stmt) error {
		var cells []string
		for i := range r.Columns() {
			cells = append(cells, r.Text(i))
		}
		rows = append(rows, cells)
		return nil
	}))
	return text(rows)
}

// A lineSink makes blocks of the lines that an outbox gives.
type lineSink struct {
	blocks  Blocks
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

// collect carries what waits on the till to the server, and the receipt back.
func (d *till) collect(s *Server) change.Applied {
	d.t.Helper()
	ctx := context.Background()
	sink := &lineSink{}
	x, err := d.Read(ctx, d.stream, false, sink)
	d.check(err)
	m := &manifest.Manifest{Stream: d.stream, Epoch: 1, Sequence: d.last.Sequence + 1, Previous: d.last.Digest, Kind: x.Kind, Created: time.Now(),
		Tables: x.Tables, Members: sink.members, Totals: x.Totals, Applied: x.Applied, Incarnation: x.Incarnation}
	if d.last.IsZero() {
		m.Previous = collect.NoneBefore
	}
	text, err := json.Marshal(m)
	d.check(err)
	d.last = manifest.Position{Epoch: 1, Sequence: m.Sequence, Digest: digest(string(text))}
	p := manifest.Pending{Position: d.last, Kind: x.Kind, Cursor: x.Cursor}
	d.check(d.Reserve(ctx, d.stream, p))
	d.check(d.Publish(ctx, d.stream, p))
	res, err := s.Apply(ctx, m, d.last, &sink.blocks)
	d.check(err)
	r, due, err := s.Receipt(ctx, d.stream)
	d.check(err)
	if !due {
		d.t.Error("no receipt is due")
	}
	r.Signer, r.Issued = "server@acme", time.Now().UTC().Truncate(time.Second)
	_, err = d.Receipt(ctx, r)
	d.check(err)
	d.check(s.ReceiptDone(ctx, d.stream, r.Issue))
	return res
}

// testLoop: a real till sells, its real outbox is collected, and the receipt
// empties it.
func testLoop(t *testing.T, k *Kind) {
	s := NewServer(t, k, schema.Retail+retailTill, RetailUploads(""))
	var uploads []manifest.Upload
	list, err := s.DB.Uploads(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	d := newTill(t, uploads)
	sold := int64(0)
	for day := range 3 {
		sales, err := retail.Sell(context.Background(), d.pos, retail.SellOptions{Till: "017", Count: 15, Seed: uint64(day + 1)})
		d.check(err)
		sold += sales.Tickets
		d.check(d.pos.Exec(fmt.Sprintf("UPDATE client SET nom='till %d', modifie_le='2026-01-0%d' WHERE code='C1'", day, day+1)))
		s.Exec(fmt.Sprintf("UPDATE client SET nom='server %d', modifie_le='2026-01-0%d' WHERE code='C2'", day, day+1))
		res := d.collect(s)
		if res.Quarantined != 0 || res.Conflicts != 0 {
			t.Errorf("day %d: %s", day, Counts(res))
		}
		if got := d.rows("SELECT count(*) FROM MICPTRACK"); got != "0" {
			t.Errorf("day %d: %s rows wait on the till", day, got)
		}
	}
	for _, table := range []string{"ticket", "ticket_ligne", "reglement", "jet"} {
		sql := "SELECT * FROM " + table + " ORDER BY dossier, caisse, 3, 4"
		if got, want := s.Text(sql), d.rows(sql); got != want || got == "" {
			t.Errorf("table %s of the server is not the till's", table)
		}
	}
	s.Want("till 2 server 2", "SELECT nom FROM client WHERE code<'C3' ORDER BY code")
	if got := totalsText(t, s.receipt("017").Totals); s.alarms() != "" || sold == 0 || len(s.Units()) > 0 {
		t.Errorf("%s; alarms %s", got, s.alarms())
	}
}

// testTogether: several collectors on one database, each with tills of its
// own.
func testTogether(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	tills := []string{"017", "018", "019", "020"}
	var group sync.WaitGroup
	for _, till := range tills {
		c := s.open(Options{BusyTimeout: time.Minute})
		group.Go(func() {
			last := manifest.Position{}
			for n := range 10 {
				b := s.follow(till, last).Tickets(till, 2*n+1, 2*n+2).Seal()
				if _, err := b.ApplyTo(c); err != nil {
					t.Error(err)
				}
				last = b.P
			}
		})
	}
	group.Wait()
	s.Want("017|20 018|20 019|20 020|20", "SELECT caisse, count(*) FROM ticket GROUP BY 1 ORDER BY 1")
	s.Want("40", "SELECT integrated FROM caisseauto_dossier")
	s.Want("40", "SELECT count(DISTINCT sequence || stream) FROM caisseauto_ledger")
	for _, till := range tills {
		r := s.receipt(till)
		if got := totalsText(t, r.Totals); !strings.HasPrefix(got, "[{ticket,20,[{total_ttc,25200}],[1-20]}") {
			t.Errorf("totals of till %s: %s", till, got)
		}
	}
}
