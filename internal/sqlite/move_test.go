package sqlite

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// leave makes the till leave ACME.
func (db *upDB) leave() (int64, error) {
	db.t.Helper()
	till := openTill(db.t, db.path, TillOptions{Outbox: &db.options})
	defer till.Close()
	return till.Leave(db.t.Context(), "ACME")
}

// movable is a till with customers of ACME and tickets of its own.
func movable(t *testing.T) *upDB {
	t.Helper()
	db := newUpDB(t, retailTill()+"DELETE FROM client", upTables())
	db.import_(func(b *testBatch) {
		clients(b, change.Upsert, clientColumns, []any{"ACME", "C1", "un", nil}, []any{"ACME", "C2", "deux", nil})
	})
	db.sell(1)
	return db
}

// A till that leaves a dossier keeps its tickets, and nothing of what the
// dossier has brought; then it sells and receives in another one.
func TestLeave(t *testing.T) {
	db := movable(t)
	b := db.seal()
	db.receipt(b.p, 1, 1)
	was := dumpLiveTable(t, db.pos, "ticket")
	id, err := db.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.leave()
	if err != nil || n != 2 {
		t.Fatalf("%d rows, %v", n, err)
	}
	db.want("0", "SELECT count(*) FROM client")
	db.want("0", "SELECT count(*) FROM caisseauto_ledger")
	db.want("0", "SELECT count(*) FROM MICPTRACK") // the deletes are no changes of the till's
	if d := cmp.Diff(was, dumpLiveTable(t, db.pos, "ticket")); d != "" {
		t.Error(d)
	}

	db.options.Dossier, db.Outbox, db.down = "BETA", nil, manifest.Position{}
	db.Outbox = NewOutbox(db.path, db.options)
	db.import_(func(b *testBatch) { b.m.Stream, b.m.Uploads = "BETA/down", upTables() })
	if again, err := db.Incarnation(t.Context()); err != nil || again == id {
		t.Errorf("incarnation %s as before, %v", again, err)
	}
	db.exec("INSERT INTO ticket(dossier,caisse,numero,horodatage,utilisateur,total_ht,total_tva,total_ttc) VALUES('BETA','017',1,'2026-02-03T10:00:00Z','U',1,2,3)")
	first := db.seal()
	if first == nil || first.p.Sequence != 1 || len(first.of("ticket")) != 1 {
		t.Errorf("the first batch in BETA: %+v", first)
	}
}

// Nothing is left behind that the server has not got.
func TestLeaveWhileSomethingWaits(t *testing.T) {
	for name, prepare := range map[string]func(*upDB){
		"not sealed":    func(*upDB) {},
		"not receipted": func(db *upDB) { db.seal() },
		"not yet judged": func(db *upDB) {
			db.exec("UPDATE client SET nom='à nous' WHERE code='C1'")
			db.receipt(db.seal().p, 1, 7)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := movable(t)
			prepare(db)
			was := dumpLive(t, db.pos)
			if _, err := db.leave(); !errors.Is(err, ErrWaiting) {
				t.Errorf("%v", err)
			}
			if d := cmp.Diff(was, dumpLive(t, db.pos)); d != "" {
				t.Error(d)
			}
			db.want("2", "SELECT count(*) FROM caisseauto_ledger")
		})
	}
}

// Rows of the till that refer to what the dossier brought keep it here.
func TestLeaveAgainstAReference(t *testing.T) {
	db := newUpDB(t, retailTill()+"DELETE FROM client; CREATE TABLE bon(n INTEGER PRIMARY KEY, dossier TEXT, client TEXT, FOREIGN KEY(dossier, client) REFERENCES client(dossier, code));", upTables())
	db.import_(func(b *testBatch) { clients(b, change.Upsert, clientColumns, []any{"ACME", "C1", "un", nil}) })
	db.exec("INSERT INTO bon VALUES(1, 'ACME', 'C1')")
	was := dumpLive(t, db.pos)
	_, err := db.leave()
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), `"bon"`) {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(was, dumpLive(t, db.pos)); d != "" {
		t.Error(d)
	}
}
