package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// upTables is what the tests' server wants.
func upTables() []manifest.Upload {
	part := func(table, number string, sums ...string) manifest.Upload {
		return manifest.Upload{Table: table, Mode: manifest.Append, Key: []string{"dossier", "caisse", "ticket", number},
			Dossier: "dossier", Till: "caisse", Sums: sums, Parent: "ticket", Link: []string{"dossier", "caisse", "ticket"}}
	}
	numbered := func(table string, sums ...string) manifest.Upload {
		return manifest.Upload{Table: table, Mode: manifest.Append, Key: []string{"dossier", "caisse", "numero"},
			Dossier: "dossier", Till: "caisse", Number: "numero", Sums: sums}
	}
	return []manifest.Upload{
		numbered("ticket", "total_ttc"), part("ticket_ligne", "ligne", "montant"), part("reglement", "rang", "montant"), numbered("jet"),
		{Table: "client", Mode: manifest.Both, Key: []string{"dossier", "code"}, Dossier: "dossier"},
		{Table: "parametre_caisse", Mode: manifest.Both, Key: []string{"dossier", "caisse", "nom"}, Dossier: "dossier", Till: "caisse"},
	}
}

// An upDB is a till's database with its outbox.
type upDB struct {
	*Outbox
	t       testing.TB
	path    string
	pos     *sqlite3.Conn // the POS
	options OutboxOptions
	down    manifest.Position
}

// newUpDB makes a till 017 of ACME, which has applied a first batch with the
// uploads.
func newUpDB(t testing.TB, sql string, uploads []manifest.Upload) *upDB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "till.db")
	db := &upDB{t: t, path: path, pos: openPlain(t, path), options: OutboxOptions{Dossier: "ACME", Till: "017"}}
	db.options.Events = &EventConfig{Table: "jet", Dossier: "dossier", Till: "caisse", Number: "numero", Time: "horodatage",
		Code: "code", User: "utilisateur", Text: "libelle", Data: "donnees"}
	db.exec("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + sql)
	db.Outbox = NewOutbox(path, db.options)
	db.import_(func(b *testBatch) { b.m.Uploads = uploads })
	return db
}

// retailTill is the SQL of a till of the retail shop.
func retailTill() string {
	return schema.Retail + "INSERT INTO caisse VALUES('ACME','017','',''), ('ACME','018','','');" +
		"INSERT INTO client(dossier, code, nom, carte, version) VALUES('ACME','C1','un','111',1), ('ACME','C2','deux','222',1), ('ACME','C3','trois',NULL,1);"
}

func (db *upDB) exec(sql string) {
	db.t.Helper()
	if err := db.pos.Exec(sql); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
}

func (db *upDB) want(want, sql string, args ...any) {
	db.t.Helper()
	if got := queryText(db.t, db.pos, sql, args...); got != want {
		db.t.Errorf("%s:\n got %s\nwant %s", sql, got, want)
	}
}

// sell writes a ticket as the POS does.
func (db *upDB) sell(n int) {
	db.t.Helper()
	db.exec(fmt.Sprintf(`BEGIN; INSERT INTO ticket VALUES('ACME','017',%[1]d,'2026-02-03T09:00:00Z','U',NULL,0,100,20,120);
		INSERT INTO ticket_ligne VALUES('ACME','017',%[1]d,1,'A','Art',1000,70,0,2000,70), ('ACME','017',%[1]d,2,'B','Art',1000,50,0,2000,50);
		INSERT INTO reglement VALUES('ACME','017',%[1]d,1,'ESP',130), ('ACME','017',%[1]d,2,'ESP',-10); COMMIT`, n))
}

// import_ applies a batch from the server.
func (db *upDB) import_(fill func(*testBatch)) {
	db.t.Helper()
	if err := db.tryImport(fill); err != nil {
		db.t.Fatal(err)
	}
}

func (db *upDB) tryImport(fill func(*testBatch)) error {
	db.t.Helper()
	till := openTill(db.t, db.path, TillOptions{Outbox: &db.options})
	defer till.Close()
	b := newBatch(db.down)
	fill(b)
	if _, err := b.apply(till); err != nil {
		return err
	}
	db.down = b.p
	return nil
}

var clientColumns = []string{"dossier", "code", "nom", "carte"}

// clients adds rows of clients to a batch.
func clients(b *testBatch, op change.Op, columns []string, rows ...[]any) {
	if len(b.m.Tables) == 0 {
		b.table("client", manifest.Changes, []string{"dossier", "code"}, clientColumns)
	}
	b.rows("client", op, columns, rows...)
}

// An upBatch is a sealed batch: its rows as "table op values".
type upBatch struct {
	manifest.Extract
	p     manifest.Position
	lines []string
	head  change.Header
}

func (b *upBatch) Start(h change.Header) error {
	b.head = h
	return h.Check()
}

func (b *upBatch) Row(line []byte) error {
	b.lines = append(b.lines, fmt.Sprintf("%s %s %s", b.head.Table, b.head.Op, strings.TrimSpace(string(line))))
	return nil
}

// of returns the lines of one table, without its name.
func (b *upBatch) of(table string) []string {
	list := []string{}
	for _, l := range b.lines {
		if rest, ok := strings.CutPrefix(l, table+" "); ok {
			list = append(list, rest)
		}
	}
	return list
}

func (db *upDB) read() *upBatch {
	db.t.Helper()
	b := &upBatch{}
	var err error
	if b.Extract, err = db.Read(context.Background(), db.stream, false, b); err != nil {
		db.t.Fatal(err)
	}
	return b
}

// seal reads and publishes a batch; nil when there is nothing.
func (db *upDB) seal() *upBatch {
	db.t.Helper()
	b := db.read()
	ctx := context.Background()
	if len(b.Tables) == 0 {
		if err := db.Advance(ctx, db.stream, b.Cursor); err != nil {
			db.t.Fatal(err)
		}
		return nil
	}
	st, err := db.Stand(ctx, db.stream)
	if err != nil {
		db.t.Fatal(err)
	}
	b.p = manifest.Position{Epoch: max(st.Last.Epoch, 1), Sequence: st.Last.Sequence + 1}
	b.p.Digest = applyDigest(fmt.Sprint(b.p.Epoch, b.p.Sequence, b.lines))
	p := manifest.Pending{Position: b.p, Kind: b.Kind, Cursor: b.Cursor}
	if err := db.Reserve(ctx, db.stream, p); err != nil {
		db.t.Fatal(err)
	}
	if err := db.Publish(ctx, db.stream, p); err != nil {
		db.t.Fatal(err)
	}
	return b
}

func receiptOf(p manifest.Position, issue, integrated int64) *manifest.Receipt {
	return &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: "ACME/up/017", Signer: "server@acme", Epoch: p.Epoch, Sequence: p.Sequence,
		Digest: p.Digest, Issue: issue, Issued: time.Now().UTC().Truncate(time.Second), Integrated: integrated}
}

func (db *upDB) receipt(p manifest.Position, issue, integrated int64) Pruned {
	db.t.Helper()
	done, err := db.Receipt(context.Background(), receiptOf(p, issue, integrated))
	if err != nil {
		db.t.Fatal(err)
	}
	return done
}

// now returns the last batch of the stream up.
func (db *upDB) now() manifest.Position {
	st, err := db.Stand(db.t.Context(), db.stream)
	if err != nil {
		db.t.Fatal(err)
	}
	return st.Last
}

func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
