package sqlite

import (
	"errors"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

func TestOutboxNoEcho(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.import_(func(b *testBatch) {
		clients(b, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur", "999"}, []any{"ACME", "C4", "quatre", nil})
		clients(b, change.Delete, clientColumns[:2], []any{"ACME", "C3"})
	})
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	db.want("0", "SELECT count(*) FROM caisseauto_applying")
	db.want("'C1','serveur';'C2','deux';'C4','quatre'", "SELECT code, nom FROM client ORDER BY code")
	if db.seal() != nil {
		t.Error("what came down went up")
	}
	// Our triggers do not make rows look as if they changed by themselves.
	till := openTill(t, db.path, TillOptions{Outbox: &db.options})
	same := newBatch(db.down)
	clients(same, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur", "999"})
	if r, err := same.apply(till); err != nil || r.Updated != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	db.down = same.p
	// The guard ends with the batch, also with one that fails.
	err := db.tryImport(func(b *testBatch) {
		clients(b, change.Upsert, clientColumns, []any{"ACME", "C1", "x", "222"}) // C2's card
	})
	if !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("%v", err)
	}
	db.exec("UPDATE client SET nom='caisse' WHERE code='C1'")
	wantLines(t, db.seal().lines, `client base ["ACME","C1","serveur","","","","",null,null,"999",0,1,""]`, `client upsert ["ACME","C1","caisse","","","","",null,null,"999",0,1,""]`)
}

// clientNames is what the till has of its clients.
const clientNames = "SELECT group_concat(code || '=' || nom, ' ') FROM (SELECT * FROM client ORDER BY code)"

func TestOutboxPending(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	send := func(integrated int64, op change.Op, columns []string, rows ...[]any) {
		t.Helper()
		db.import_(func(b *testBatch) {
			b.m.Integrated = integrated
			if len(rows) > 0 {
				clients(b, op, columns, rows...)
			}
		})
	}
	db.exec("UPDATE client SET nom='caisse' WHERE code='C1'; DELETE FROM client WHERE code='C2'; INSERT INTO client(dossier, code, nom) VALUES('ACME','C4','caisse')")
	// Not sealed, sealed, delivered: nothing of the till's is overwritten.
	send(0, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur", nil}, []any{"ACME", "C2", "serveur", nil}, []any{"ACME", "C3", "serveur", nil})
	db.want("'C1=caisse C3=serveur C4=caisse'", clientNames)
	b := db.seal()
	send(0, change.Delete, clientColumns[:2], []any{"ACME", "C1"})
	send(0, change.Patch, []string{"dossier", "code", "nom"}, []any{"ACME", "C4", "patch"})
	db.receipt(b.p, 1, 7)
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	send(6, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur 6", nil})
	db.want("'C1=caisse C3=serveur C4=caisse'", clientNames)
	// The batch that was read after the integration settles all, with what
	// came down last of each: for C2 and C4 that was before.
	send(7, change.Upsert, clientColumns, []any{"ACME", "C1", "jugé", nil})
	db.want("'C1=jugé C2=serveur C3=serveur C4=caisse'", clientNames)
	db.want("0,0", "SELECT (SELECT count(*) FROM caisseauto_pending), (SELECT count(*) FROM caisseauto_held)")
	if db.seal() != nil {
		t.Error("what was held back went up when it was applied")
	}
}

// The server's last word can come down before its receipt is read.
func TestOutboxJudgedBeforeReceipt(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.exec("UPDATE client SET nom='caisse' WHERE code IN ('C1','C2')")
	b := db.seal()
	db.import_(func(d *testBatch) {
		d.m.Integrated = 3
		clients(d, change.Upsert, clientColumns, []any{"ACME", "C1", "jugé", nil})
		clients(d, change.Delete, clientColumns[:2], []any{"ACME", "C2"})
	})
	db.want("'C1=caisse C2=caisse C3=trois'", clientNames)
	db.receipt(b.p, 1, 3)
	db.import_(func(d *testBatch) { d.m.Integrated = 3 })
	db.want("'C1=jugé C3=trois'", clientNames)
}

// A whole table deletes what it does not have, but not what waits; and a row
// that is the same as the server's is not forgotten either.
func TestOutboxPendingWhole(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	whole := func(integrated int64, rows ...[]any) {
		t.Helper()
		db.import_(func(b *testBatch) {
			b.m.Integrated = integrated
			b.table("client", manifest.Whole, []string{"dossier", "code"}, clientColumns)
			b.rows("client", change.Upsert, clientColumns, rows...)
		})
	}
	db.exec("INSERT INTO client(dossier, code, nom) VALUES('ACME','C4','caisse'); UPDATE client SET nom='caisse' WHERE code='C1'")
	whole(0, []any{"ACME", "C1", "serveur", "111"}, []any{"ACME", "C2", "serveur", "222"})
	db.want("'C1=caisse C2=serveur C4=caisse'", clientNames)
	b := db.seal()
	db.receipt(b.p, 1, 2)
	whole(1, []any{"ACME", "C1", "caisse", "111"}, []any{"ACME", "C2", "serveur", "222"}, []any{"ACME", "C4", "caisse", nil})
	db.import_(func(d *testBatch) { d.m.Integrated = 2 })
	db.want("'C1=caisse C2=serveur C4=caisse'", clientNames)
}

// The server gives a card to another client while the till's own change of its
// holder waits: both rows wait then.
func TestOutboxPendingRival(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.exec("UPDATE client SET nom='caisse' WHERE code='C1'")
	b := db.seal()
	db.import_(func(d *testBatch) {
		clients(d, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur", nil}, []any{"ACME", "C2", "serveur", "111"})
		clients(d, change.Patch, []string{"dossier", "code", "nom"}, []any{"ACME", "C2", "patch"})
	})
	db.want("'C1=caisse C2=deux C3=trois'", clientNames)
	db.import_(func(d *testBatch) {})
	db.want("'C1=caisse C2=deux C3=trois'", clientNames)
	db.receipt(b.p, 1, 1)
	db.import_(func(d *testBatch) { d.m.Integrated = 1 })
	db.want("'C1=serveur C2=patch C3=trois'", clientNames)
	db.want("'111'", "SELECT carte FROM client WHERE code='C2'")
}

// A change of the POS between the comparison and the lock waits as well.
func TestOutboxPendingLate(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.sell(1) // the journal has entries already
	till := openTill(t, db.path, TillOptions{Outbox: &db.options})
	till.hook = func(place string) {
		if place == "prepared" {
			db.exec("UPDATE client SET nom='caisse' WHERE code='C1'")
		}
	}
	b := newBatch(db.down)
	clients(b, change.Upsert, clientColumns, []any{"ACME", "C1", "serveur", nil}, []any{"ACME", "C2", "serveur", nil})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	db.want("'C1=caisse C2=serveur C3=trois'", clientNames)
	wantLines(t, db.seal().of("client"), `base ["ACME","C1","un","","","","",null,null,"111",0,1,""]`, `upsert ["ACME","C1","caisse","","","","",null,null,"111",0,1,""]`)
}

func TestOutboxReceiptRefused(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	seal := func(n int) manifest.Position { db.sell(n); return db.seal().p }
	first, second := seal(1), seal(2)
	db.receipt(second, 5, 3)
	third := seal(3)
	rows := queryText(t, db.pos, "SELECT count(*) FROM MICPTRACK")
	other := func(p manifest.Position, change func(*manifest.Receipt)) *manifest.Receipt {
		r := receiptOf(p, 6, 4)
		change(r)
		return r
	}
	same := func(*manifest.Receipt) {}
	for name, c := range map[string]struct {
		r    *manifest.Receipt
		want error
		text string
	}{
		"another till":    {other(third, func(r *manifest.Receipt) { r.Stream = "ACME/up/018" }), manifest.ErrRefused, "ACME/up/018"},
		"older issue":     {other(third, func(r *manifest.Receipt) { r.Issue = 4 }), manifest.ErrRefused, "served again"},
		"position behind": {other(first, same), manifest.ErrRefused, "served again"},
		"same issue":      {other(third, func(r *manifest.Receipt) { r.Issue = 5 }), manifest.ErrRefused, "ask the server"},
		"other digest":    {other(third, func(r *manifest.Receipt) { r.Digest = applyDigest("x") }), ErrForked, "sealed"},
		"higher":          {other(manifest.Position{Epoch: 1, Sequence: 4, Digest: applyDigest("4")}, same), ErrForked, "--new-epoch"},
		"higher epoch":    {other(manifest.Position{Epoch: 2, Sequence: 4, Digest: applyDigest("4")}, same), ErrForked, "--new-epoch"},
		"last, forged":    {other(second, func(r *manifest.Receipt) { r.Digest = applyDigest("x") }), ErrForked, "sealed"},
	} {
		_, err := db.Receipt(t.Context(), c.r)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		db.want(rows, "SELECT count(*) FROM MICPTRACK")
	}
	r, err := db.Received(t.Context())
	if err != nil || r.Issue != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	db.receipt(third, 6, 4)
	db.want("0", "SELECT count(*) FROM MICPTRACK")
}

func TestOutboxNewEpoch(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.sell(1)
	first := db.seal()
	db.receipt(first.p, 1, 1)
	db.sell(2)
	lost := db.seal()
	db.sell(3)
	db.exec("UPDATE client SET nom='caisse' WHERE code='C1'")
	was, err := db.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ahead := manifest.Position{Epoch: 1, Sequence: 9, Digest: applyDigest("9")}
	if _, err := db.Receipt(t.Context(), receiptOf(ahead, 2, 2)); !errors.Is(err, ErrForked) {
		t.Errorf("%v", err)
	}
	if err := db.NewEpoch(t.Context(), db.stream, manifest.Position{Epoch: 1, Sequence: 9}, "restored"); err != nil {
		t.Fatal(err)
	}
	if now, _ := db.Incarnation(t.Context()); now == was || len(now) != 32 {
		t.Errorf("incarnation %s, was %s", now, was)
	}
	b := db.seal()
	if b.p.Epoch != 2 || b.p.Sequence != 10 || len(b.of("ticket")) != 2 || len(b.of("client")) != 2 {
		t.Errorf("%+v %q", b.p, b.lines)
	}
	// The old receipt is no alarm any more, and one for a batch of the old
	// epoch that was sealed here still counts.
	if p := db.receipt(ahead, 2, 2); p.Ignored == "" || p.Rows != 0 {
		t.Errorf("%+v", p)
	}
	if p := db.receipt(lost.p, 2, 2); p.Rows != 1 {
		t.Errorf("%+v", p)
	}
	if db.seal() != nil {
		t.Error("sent once more")
	}
	db.receipt(b.p, 3, 3)
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	// Also when nothing was sealed since.
	if err := db.NewEpoch(t.Context(), db.stream, db.now(), "again"); err != nil {
		t.Fatal(err)
	}
	db.sell(4)
	last := db.seal()
	if err := db.NewEpoch(t.Context(), db.stream, db.now(), "and again"); err != nil {
		t.Fatal(err)
	}
	db.receipt(last.p, 4, 4)
	db.sell(5)
	if b := db.seal(); len(b.of("ticket")) != 1 {
		t.Errorf("%q", b.lines)
	}
	db.want("'client','ACME'", "SELECT t.name, json_extract(key, '$[0]') FROM caisseauto_pending JOIN caisseauto_table AS t USING(tab)")
}
