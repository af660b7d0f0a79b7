package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// collectUploads is what the tests' server takes from its tills.
func collectUploads(conflict string) []database.UploadConfig {
	up := func(name string, mode manifest.Mode, totals ...string) database.UploadConfig {
		return database.UploadConfig{Name: name, Mode: mode, DossierColumn: "dossier", Dossier: "ACME", Totals: totals}
	}
	client := up("client", manifest.Both)
	client.Conflict = conflict
	return []database.UploadConfig{client, up("reglement", manifest.Append, "montant"), up("ticket", manifest.Append, "total_ttc"),
		up("ticket_ligne", manifest.Append, "montant"), up("jet", manifest.Append), up("parametre_caisse", manifest.Replace)}
}

// An upServer is an ERP with a Collector.
type upServer struct {
	*collect.Collector
	t       testing.TB
	driver  *collecting
	path    string
	erp     *sqlite3.Conn
	source  *Source
	config  database.SourceConfig // of ACME/down
	uploads map[string]*database.Upload
}

func newUpServer(t testing.TB, sql string, uploads []database.UploadConfig) *upServer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "erp.db")
	s := &upServer{t: t, path: path, erp: openPlain(t, path), uploads: map[string]*database.Upload{}}
	s.exec("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + sql)
	s.config = database.SourceConfig{Uploads: uploads, Tables: []database.TableConfig{{Name: "client", DossierColumn: "dossier", Dossier: "ACME"}}}
	capture := NewCapture(map[string]database.SourceConfig{"ACME/down": s.config})
	if err := capture.Install(context.Background(), path, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	s.source = NewSource(path, capture, SourceOptions{})
	driver, err := openCollecting(path, capture, CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.driver = driver
	s.Collector = collect.New(driver, func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) })
	t.Cleanup(func() { s.Collector.Close() })
	if err := s.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, err := capture.uploads(s.erp, "ACME/down")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		s.uploads[u.Table] = u
	}
	return s
}

// newRetailServer makes one with tills 017 and 018.
func newRetailServer(t testing.TB, conflict string) *upServer {
	return newUpServer(t, schema.Retail+`;INSERT INTO caisse(dossier, numero, libelle) VALUES('ACME','017',''),('ACME','018','')`, collectUploads(conflict))
}

func (s *upServer) exec(sql string) {
	s.t.Helper()
	if err := s.erp.Exec(sql); err != nil {
		s.t.Fatalf("%.200s: %v", sql, err)
	}
}

// want compares the rows of a query, values joined by |, rows by spaces.
func (s *upServer) want(want, sql string) {
	s.t.Helper()
	if got := rowsText(s.t, s.erp, sql); got != want {
		s.t.Errorf("%s:\n got %s\nwant %s", sql, got, want)
	}
}

func rowsText(t testing.TB, c *sqlite3.Conn, sql string) string {
	t.Helper()
	var list []string
	err := c.Query(sql, func(r *sqlite3.Stmt) error {
		var cells []string
		for i := range r.Columns() {
			cells = append(cells, r.Text(i))
		}
		list = append(list, strings.Join(cells, "|"))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(list, " ")
}

// A tillBatch is a batch of a till, made by hand.
type tillBatch struct {
	testBatch
	s    *upServer
	last map[string]int
}

// batch returns an empty batch that follows what till has sent.
func (s *upServer) batch(till string) *tillBatch {
	s.t.Helper()
	stream := "ACME/up/" + till
	last, err := s.Position(context.Background(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	b := &tillBatch{s: s, last: map[string]int{}}
	b.m = &manifest.Manifest{Stream: stream, Epoch: max(last.Epoch, 1), Sequence: last.Sequence + 1, Previous: last.Digest, Kind: manifest.Delta,
		Created: time.Now(), Incarnation: applyDigest(till)[:32]}
	if last.IsZero() {
		b.m.Previous = collect.NoneBefore
	}
	return b
}

// add adds rows of one operation. Columns come from the first time a table is
// named.
func (b *tillBatch) add(table string, op change.Op, columns string, rows ...[]any) *tillBatch {
	names := strings.Fields(columns)
	if !slices.ContainsFunc(b.m.Tables, func(t manifest.Table) bool { return t.Name == table }) {
		key := names
		if u := b.s.uploads[table]; u != nil {
			key = u.Key
		}
		b.table(table, manifest.Changes, key, names)
	}
	if op == change.Delete {
		names = b.s.uploads[table].Key
	}
	b.rows(table, op, names, rows...)
	return b
}

const (
	ticketCols = "dossier caisse numero horodatage utilisateur total_ht total_tva total_ttc"
	ligneCols  = "dossier caisse ticket ligne article libelle quantite prix taux_tva montant"
	regleCols  = "dossier caisse ticket rang moyen montant"
	jetCols    = "dossier caisse numero horodatage code"
	clientCols = "dossier code nom carte modifie_le"
	paramCols  = "dossier caisse nom valeur"
)

// tickets adds whole tickets: a header, two lines, a payment.
func (b *tillBatch) tickets(till string, numbers ...int) *tillBatch {
	var heads, lines, payments [][]any
	for _, n := range numbers {
		heads = append(heads, ticketRow(till, n))
		lines = append(lines, ligneRow(till, n, 1), ligneRow(till, n, 2))
		payments = append(payments, regleRow(till, n))
	}
	return b.add("ticket", change.Upsert, ticketCols, heads...).add("ticket_ligne", change.Upsert, ligneCols, lines...).
		add("reglement", change.Upsert, regleCols, payments...)
}

func ticketRow(till string, n int) []any {
	return []any{"ACME", till, n, "2026-03-02T09:00:00Z", "U", 100 * n, 20 * n, 120 * n}
}

func ligneRow(till string, n, line int) []any {
	return []any{"ACME", till, n, line, "A", "article", 1000, 60 * n, 2000, 60 * n}
}

func regleRow(till string, n int) []any { return []any{"ACME", till, n, 1, "CB", 120 * n} }

// seal fills in totals and the digest.
func (b *tillBatch) seal() *tillBatch {
	var uploads []manifest.Upload
	for _, t := range b.m.Tables {
		if u := b.s.uploads[t.Name]; u != nil {
			uploads = append(uploads, u.Upload)
		}
	}
	tally := manifest.NewTally(uploads)
	for _, blk := range b.blocks {
		if blk.Header.Op == change.Base {
			continue
		}
		t := tally.Table(blk.Header.Table)
		for i := range blk.Rows() {
			t.Row()
			for j, c := range blk.Header.Columns {
				v := blk.Row(i)[j]
				if n := t.Column(c); n >= 0 && v.Kind == change.Integer && blk.Header.Op == change.Upsert {
					t.AddInt(n, v.Int)
				}
				if u := b.s.uploads[blk.Header.Table]; u != nil && c == u.Number && v.Kind == change.Integer && blk.Header.Op == change.Upsert {
					t.AddNumber(v.Int)
				}
			}
		}
	}
	b.m.Totals = tally.Totals()
	b.p = manifest.Position{Epoch: b.m.Epoch, Sequence: b.m.Sequence, Digest: applyDigest(fmt.Sprint(b.m.Stream, b.m.Epoch, b.m.Sequence, b.blocks))}
	return b
}

// send seals the batch and integrates it.
func (b *tillBatch) send() change.Applied {
	b.s.t.Helper()
	b.seal()
	res, err := b.s.Apply(context.Background(), b.m, b.p, b.reader())
	if err != nil {
		b.s.t.Fatal(err)
	}
	return res
}

// counts shows what became of a batch's rows.
func counts(r change.Applied) string {
	return fmt.Sprintf("rows %d: +%d ~%d -%d =%d q%d c%d", r.Rows, r.Inserted, r.Updated, r.Deleted, r.Acknowledged, r.Quarantined, r.Conflicts)
}

func wantCounts(t testing.TB, r change.Applied, want string) {
	t.Helper()
	if got := counts(r); got != want {
		t.Errorf("became of the rows: %s, want %s", got, want)
	}
}

func (s *upServer) receipt(till string) *manifest.Receipt {
	s.t.Helper()
	r, _, err := s.Receipt(context.Background(), "ACME/up/"+till)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// alarms shows the alarms that stand, as kind: text.
func (s *upServer) alarms() string {
	s.t.Helper()
	list, err := s.Alarms(context.Background(), collect.AlarmFilter{})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Kind+": "+a.Text)
	}
	return strings.Join(out, "\n")
}

func (s *upServer) units() []collect.HeldUnit {
	s.t.Helper()
	list, err := s.Quarantine(context.Background(), collect.UnitFilter{})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// totalsText shows totals in one line.
func totalsText(t testing.TB, totals []manifest.Total) string {
	t.Helper()
	b, err := json.Marshal(totals)
	if err != nil {
		t.Fatal(err)
	}
	r := strings.NewReplacer(`"table":`, "", `"rows":`, "", `"sums":`, "", `"numbers":`, "", `"column":`, "", `"sum":`, "", `"`, "")
	return r.Replace(string(b))
}

// publish takes a number for a batch down, and publishes it.
func (s *upServer) publish(sequence int64, kind manifest.Kind, cursor string) manifest.Position {
	s.t.Helper()
	p := manifest.Pending{Position: manifest.Position{Epoch: 1, Sequence: sequence, Digest: applyDigest(fmt.Sprint("down", sequence))}, Kind: kind, Cursor: cursor}
	if err := s.source.Reserve(context.Background(), "ACME/down", p); err != nil {
		s.t.Fatal(err)
	}
	if err := s.source.Publish(context.Background(), "ACME/down", p); err != nil {
		s.t.Fatal(err)
	}
	return p.Position
}
