package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

func TestOutboxTicket(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.want("0", "SELECT count(*) FROM MICPTRACK") // the clients came from the server
	db.sell(1)
	db.sell(2)
	db.exec("INSERT INTO jet VALUES('ACME','017',1,'2026-02-03T09:00:00Z','OUV','','',NULL)")
	w, err := db.Waiting(t.Context())
	if err != nil || w.Rows != 3 || w.Tickets != 2 || w.Oldest.IsZero() {
		t.Fatalf("%+v, %v", w, err)
	}
	b := db.seal()
	wantLines(t, b.lines,
		`jet upsert ["ACME","017",1,"2026-02-03T09:00:00Z","OUV","","",null]`,
		`ticket upsert ["ACME","017",1,"2026-02-03T09:00:00Z","U",null,0,100,20,120]`,
		`ticket upsert ["ACME","017",2,"2026-02-03T09:00:00Z","U",null,0,100,20,120]`,
		`reglement upsert ["ACME","017",1,1,"ESP",130]`, `reglement upsert ["ACME","017",1,2,"ESP",-10]`,
		`reglement upsert ["ACME","017",2,1,"ESP",130]`, `reglement upsert ["ACME","017",2,2,"ESP",-10]`,
		`ticket_ligne upsert ["ACME","017",1,1,"A","Art",1000,70,0,2000,70]`, `ticket_ligne upsert ["ACME","017",1,2,"B","Art",1000,50,0,2000,50]`,
		`ticket_ligne upsert ["ACME","017",2,1,"A","Art",1000,70,0,2000,70]`, `ticket_ligne upsert ["ACME","017",2,2,"B","Art",1000,50,0,2000,50]`)
	want := []manifest.Total{
		{Table: "jet", Rows: "1", Sums: []manifest.Sum{}, Numbers: []string{"1"}},
		{Table: "ticket", Rows: "2", Sums: []manifest.Sum{{Column: "total_ttc", Sum: "240"}}, Numbers: []string{"1-2"}},
		{Table: "reglement", Rows: "4", Sums: []manifest.Sum{{Column: "montant", Sum: "240"}}, Numbers: []string{}},
		{Table: "ticket_ligne", Rows: "4", Sums: []manifest.Sum{{Column: "montant", Sum: "240"}}, Numbers: []string{}},
	}
	if d := cmp.Diff(want, b.Totals); d != "" {
		t.Error(d)
	}
	if b.Kind != manifest.Delta || b.Tables[0].Scope != manifest.Changes || len(b.Incarnation) != 32 {
		t.Errorf("%+v", b.Extract)
	}
	if b.Applied == nil || b.Applied.Position() != db.down || b.Applied.Stream != testStream {
		t.Errorf("applied %+v, want %+v", b.Applied, db.down)
	}
	if db.seal() != nil {
		t.Error("nothing new was sealed")
	}
	db.want("3", "SELECT count(*) FROM MICPTRACK") // sealed is not delivered
	db.sell(3)
	if p := db.receipt(b.p, 1, 5); p != (Pruned{Batches: 1, Rows: 3, Tickets: 2}) {
		t.Errorf("%+v", p)
	}
	db.want("4,4", "SELECT min(seq), max(seq) FROM MICPTRACK")
	b = db.seal()
	if p := db.receipt(b.p, 2, 6); p != (Pruned{Batches: 1, Rows: 1, Tickets: 1}) {
		t.Errorf("%+v", p)
	}
	if p := db.receipt(b.p, 2, 6); p != (Pruned{}) {
		t.Errorf("again: %+v", p)
	}
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	db.sell(4)
	db.want("5", "SELECT min(seq) FROM MICPTRACK") // no number is given twice
	if b = db.seal(); len(b.of("ticket")) != 1 {
		t.Errorf("%q", b.lines)
	}
	r, err := db.Received(t.Context())
	if err != nil || r.Issue != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOutboxOwnRowsOnly(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.exec(`INSERT INTO ticket VALUES('ACME','018',1,'','U',NULL,0,1,1,2), ('AUTRE','017',1,'','U',NULL,0,1,1,2), ('ACME','017',9,'','U',NULL,0,1,1,2);
		INSERT INTO parametre_caisse VALUES('ACME','018','a','1'), ('ACME','017','b','2')`)
	db.want("2", "SELECT count(*) FROM MICPTRACK")
	b := db.seal()
	wantLines(t, b.lines, `parametre_caisse upsert ["ACME","017","b","2"]`, `ticket upsert ["ACME","017",9,"","U",null,0,1,1,2]`)
	// A row that goes to another till is deleted for this one.
	db.exec("UPDATE parametre_caisse SET caisse='018' WHERE nom='b'")
	wantLines(t, db.seal().lines, `parametre_caisse base ["ACME","017","b","2"]`, `parametre_caisse delete ["ACME","017","b"]`)
}

// Where the key does not say whose row it is, a row can become another's, or
// be pushed out by one.
func TestOutboxRowChangesHands(t *testing.T) {
	db := newUpDB(t, "CREATE TABLE p(id INTEGER PRIMARY KEY, till TEXT COLLATE NOCASE, v);",
		[]manifest.Upload{{Table: "p", Mode: manifest.Replace, Key: []string{"id"}, Till: "till"}})
	db.exec("INSERT INTO p VALUES(1, '017', 'a'), (2, '018', 'b'), (3, '017', 'c'), (4, '017', 'd')")
	wantLines(t, db.seal().lines, `p upsert [1,"017","a"]`, `p upsert [3,"017","c"]`, `p upsert [4,"017","d"]`)
	db.exec("UPDATE p SET till='018' WHERE id=1; UPDATE p SET till='017' WHERE id=2; INSERT OR REPLACE INTO p VALUES(3, '018', 'x'); UPDATE OR REPLACE p SET id=4 WHERE id=3")
	wantLines(t, db.seal().lines, `p upsert [2,"017","b"]`, `p delete [1]`, `p delete [3]`, `p delete [4]`)
}

func TestOutboxCameAndWent(t *testing.T) {
	db := newUpDB(t, retailTill(), upTables())
	db.sell(1)
	db.exec("DELETE FROM ticket WHERE numero=1") // its lines go by cascade
	if b := db.seal(); b != nil {
		t.Errorf("never sealed, and yet sent: %q", b.lines)
	}
	db.sell(2)
	b := db.seal()
	db.exec("DELETE FROM reglement WHERE ticket=2 AND rang=2")
	db.exec("INSERT INTO reglement VALUES('ACME','017',2,2,'ESP',-10); DELETE FROM reglement WHERE ticket=2 AND rang=2")
	if p := db.receipt(b.p, 1, 1); p.Rows != 7 {
		t.Errorf("%+v", p)
	}
	b = db.seal()
	wantLines(t, b.lines, `reglement delete ["ACME","017",2,2]`)
	if d := cmp.Diff([]manifest.Total{{Table: "reglement", Rows: "1", Sums: []manifest.Sum{{Column: "montant", Sum: "0"}}, Numbers: []string{}}}, b.Totals); d != "" {
		t.Error(d)
	}
	// What came and went after a batch that has its receipt goes with the
	// same receipt.
	db.receipt(b.p, 2, 2)
	db.sell(3)
	db.exec("DELETE FROM ticket WHERE numero=3")
	if db.seal() != nil {
		t.Error("sealed")
	}
	db.want("6", "SELECT count(*) FROM MICPTRACK")
	db.receipt(b.p, 2, 2)
	db.want("0", "SELECT count(*) FROM MICPTRACK")
}

func TestOutboxBase(t *testing.T) {
	const table = `CREATE TABLE c(id TEXT PRIMARY KEY COLLATE NOCASE, a, b REAL, u TEXT UNIQUE);`
	db := newUpDB(t, table+`INSERT INTO c VALUES('k1', 1, 1.5, 'x'), ('k2', 'a''b,' || char(0) || 'é', -1e999, 'y'), ('k3', x'00ff', 0.1, NULL), ('k4', 9007199254740993, 1e300, 'z');`,
		[]manifest.Upload{{Table: "c", Mode: manifest.Both, Key: []string{"id"}}})
	db.exec(`UPDATE c SET a=2 WHERE id='k1'; UPDATE c SET a=3 WHERE id='k1'; UPDATE c SET a=4 WHERE id='k2'; DELETE FROM c WHERE id='k3';
		INSERT OR REPLACE INTO c VALUES('n1', NULL, NULL, 'z')`) // pushes k4 out
	b := db.seal()
	wantLines(t, b.lines,
		`c base ["k1",1,1.5,"x"]`, `c base ["k2","a'b,\u0000é",{"r":"-Inf"},"y"]`, `c base ["k3",{"b":"AP8="},0.1,null]`, `c base ["k4",9007199254740993,1e+300,"z"]`,
		`c upsert ["k1",3,1.5,"x"]`, `c upsert ["k2",4,{"r":"-Inf"},"y"]`, `c upsert ["n1",null,null,"z"]`, `c delete ["k3"]`, `c delete ["k4"]`)
	if b.Totals[0].Rows != "5" {
		t.Errorf("base rows are counted: %+v", b.Totals)
	}
	// The base is the row at the last batch, also under REPLACE, under a key
	// in other letters, and when the key moves.
	db.exec(`INSERT OR REPLACE INTO c VALUES('k1', 5, 5, 'x'); UPDATE c SET id='K2' WHERE id='k2'; UPDATE c SET id='n2' WHERE id='n1'`)
	wantLines(t, db.seal().lines,
		`c base ["k1",3,1.5,"x"]`, `c base ["k2",4,{"r":"-Inf"},"y"]`, `c base ["n1",null,null,"z"]`,
		`c upsert ["k1",5,5.0,"x"]`, `c upsert ["K2",4,{"r":"-Inf"},"y"]`, `c upsert ["n2",null,null,"z"]`, `c delete ["n1"]`)
	// Where it is not known, none is sent.
	db.exec("ALTER TABLE c ADD COLUMN d DEFAULT 7")
	db.exec("UPDATE c SET a=6 WHERE id='k1'") // with the old triggers
	b = db.seal()
	wantLines(t, b.lines, `c upsert ["k1",6,5.0,"x",7]`)
	db.exec("UPDATE c SET d=8 WHERE id='k1'")
	wantLines(t, db.seal().lines, `c base ["k1",6,5.0,"x",7]`, `c upsert ["k1",6,5.0,"x",8]`)
}

func TestOutboxBaseUTF16(t *testing.T) {
	path := filepath.Join(t.TempDir(), "till.db")
	db := &upDB{t: t, path: path, pos: openPlain(t, path), options: OutboxOptions{Dossier: "ACME", Till: "017"}}
	db.Outbox = NewOutbox(path, db.options)
	db.exec("PRAGMA encoding='UTF-16le'; CREATE TABLE c(id INTEGER PRIMARY KEY, v); INSERT INTO c VALUES(1, 'é€𝄞')")
	db.import_(func(b *testBatch) {
		b.m.Uploads = []manifest.Upload{{Table: "c", Mode: manifest.Both, Key: []string{"id"}}}
	})
	db.exec("UPDATE c SET v=2")
	wantLines(t, db.seal().lines, `c base [1,"é€𝄞"]`, `c upsert [1,2]`)
}

func TestOutboxUploadsInBand(t *testing.T) {
	db := newUpDB(t, retailTill()+"INSERT INTO ticket VALUES('ACME','017',1,'','U',NULL,0,1,1,2);", nil)
	db.sell(2)
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	if db.seal() != nil {
		t.Error("nothing is wanted, and yet sent")
	}
	bad := append(upTables(), manifest.Upload{Table: "absente", Mode: manifest.Append, Key: []string{"a"}})
	err := db.tryImport(func(b *testBatch) {
		b.m.Uploads = bad
		clients(b, "upsert", clientColumns, []any{"ACME", "C9", "neuf", nil})
	})
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "absente") {
		t.Errorf("%v", err)
	}
	db.want("0", "SELECT count(*) FROM client WHERE code='C9'")
	db.want("0", "SELECT count(*) FROM sqlite_schema WHERE type='trigger' AND tbl_name <> 'MICPTRACK'")
	db.import_(func(b *testBatch) { b.m.Uploads = upTables() })
	b := db.seal() // what was there before goes up; clients are the server's
	if len(b.of("ticket")) != 2 || len(b.of("client")) != 0 || len(b.of("reglement")) != 2 {
		t.Errorf("%q", b.lines)
	}
	// A batch without a list changes nothing; one without a table drops it.
	before := queryText(t, db.pos, "SELECT name, sql FROM sqlite_schema WHERE type='trigger' ORDER BY name")
	db.import_(func(b *testBatch) {})
	db.want(before, "SELECT name, sql FROM sqlite_schema WHERE type='trigger' ORDER BY name")
	db.import_(func(b *testBatch) { b.m.Uploads = upTables()[:1] })
	db.exec("UPDATE client SET nom='x' WHERE code='C1'")
	if db.seal() != nil {
		t.Error("a table that is not wanted any more is sent")
	}
	// No batch writes the outbox itself.
	err = db.tryImport(func(b *testBatch) { b.table("micptrack", manifest.Changes, []string{"seq"}, []string{"seq", "tab"}) })
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "not for batches") {
		t.Errorf("%v", err)
	}
}

func TestOutboxLost(t *testing.T) {
	for name, harm := range map[string]string{
		"trigger":  "DROP TRIGGER ",
		"journal":  "DROP TABLE MICPTRACK",
		"entries":  "DELETE FROM MICPTRACK WHERE seq = (SELECT max(seq) - 1 FROM MICPTRACK)",
		"newest":   "DELETE FROM MICPTRACK WHERE seq = (SELECT max(seq) FROM MICPTRACK)",
		"numbers":  "DROP TRIGGER caisseauto_0_ad; DELETE FROM MICPTRACK WHERE seq = (SELECT max(seq) FROM MICPTRACK)",
		"all":      "DELETE FROM MICPTRACK",
		"sequence": "DELETE FROM MICPTRACK; DELETE FROM sqlite_sequence WHERE name='MICPTRACK'",
	} {
		t.Run(name, func(t *testing.T) {
			db := newUpDB(t, retailTill(), upTables())
			db.exec("INSERT INTO jet VALUES('ACME','017',1,'','','','',NULL), ('ACME','017',2,'','','','',NULL), ('ACME','017',3,'','','','',NULL)")
			db.sell(1)
			first := db.seal()
			db.sell(2)
			db.exec("UPDATE client SET nom='avant' WHERE code='C1'")
			if name == "trigger" {
				for _, tab := range []string{"ticket", "client"} {
					trigger := queryText(t, db.pos, "SELECT name FROM sqlite_schema WHERE type='trigger' AND tbl_name=?1 AND name LIKE '%ai'", tab)
					db.exec(harm + strings.Trim(trigger, "'"))
				}
			} else {
				db.exec(harm)
			}
			if name != "journal" {
				if name != "sequence" {
					db.sell(3)
				}
				db.exec("UPDATE client SET nom='apres' WHERE code='C2'")
			}
			b := db.seal()
			n := 3
			if name == "journal" || name == "sequence" {
				n = 2
			}
			if got := len(b.of("ticket")); got != n {
				t.Errorf("%d tickets, want %d: %q", got, n, b.lines)
			}
			bases := 0
			for _, l := range b.of("client") {
				if strings.HasPrefix(l, "base") {
					bases++
				}
			}
			if got := len(b.of("client")) - bases; got != 3 {
				t.Errorf("%d clients, want all 3: %q", got, b.of("client"))
			}
			if name == "trigger" && bases != 2 {
				t.Errorf("what is known of the rows before is lost: %q", b.of("client"))
			}
			db.receipt(first.p, 1, 1)
			db.receipt(b.p, 2, 2) // and what an old number meant prunes nothing new
			db.want("0", "SELECT count(*) FROM MICPTRACK")
			if db.seal() != nil {
				t.Error("sent once more")
			}
		})
	}
}

func TestOutboxEvent(t *testing.T) {
	db := newUpDB(t, retailTill()+"INSERT INTO jet VALUES('ACME','018',7,'','OUV','','',NULL);", upTables())
	for _, code := range []string{"HORS_LIGNE", "", "EN_LIGNE"} {
		if err := db.Event(t.Context(), code, "réseau", strings.Repeat("d", len(code)%2)); err != nil {
			t.Fatal(err)
		}
	}
	db.want(`'ACME','017',1,'HORS_LIGNE','caisseauto','réseau',NULL;'ACME','017',2,'EN_LIGNE','caisseauto','réseau',NULL`,
		"SELECT dossier, caisse, numero, code, utilisateur, libelle, donnees FROM jet WHERE caisse='017' ORDER BY numero")
	if b := db.seal(); len(b.of("jet")) != 2 {
		t.Errorf("%q", b.lines)
	}
	db.o.Events.Text = "absente"
	if err := db.Event(t.Context(), "X", "", ""); err == nil || !strings.Contains(err.Error(), "till.toml") {
		t.Errorf("%v", err)
	}
	db.o.Events = nil
	if err := db.Event(t.Context(), "X", "", ""); err != nil {
		t.Error(err)
	}
	if err := db.SetState(t.Context(), "offline_since", "jadis"); err != nil {
		t.Fatal(err)
	}
	if v, err := db.State(t.Context(), "offline_since"); v != "jadis" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}
