package sqlite

import (
	"bytes"
	"strings"

	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// rulesSchema are users, attachments and registry, as strictly as they come:
// without cascades, and each reference enforced at once where it can be.
const rulesSchema = `CREATE TABLE caisse(dossier TEXT NOT NULL, numero TEXT NOT NULL, PRIMARY KEY(dossier, numero));
	CREATE TABLE utilisateur(code TEXT PRIMARY KEY NOT NULL, dossier TEXT NOT NULL, nom TEXT, secret BLOB);
	CREATE TABLE utilisateur_caisse(dossier TEXT, utilisateur TEXT NOT NULL REFERENCES utilisateur(code) ON DELETE RESTRICT, caisse TEXT NOT NULL, note TEXT,
		PRIMARY KEY(utilisateur, caisse), FOREIGN KEY(dossier, caisse) REFERENCES caisse(dossier, numero)) WITHOUT ROWID;
	CREATE TABLE parametre(dossier TEXT NOT NULL, caisse TEXT NOT NULL, nom TEXT NOT NULL, valeur TEXT, PRIMARY KEY(dossier, caisse, nom),
		FOREIGN KEY(dossier, caisse) REFERENCES caisse(dossier, numero));
	CREATE TABLE article(code TEXT PRIMARY KEY NOT NULL, dossier TEXT, prix INTEGER);`

const rulesRows = `INSERT INTO caisse VALUES('ACME','001'), ('ACME','002'), ('ACME','003');
	INSERT INTO utilisateur VALUES('SYNC','ACME','sync',NULL), ('CAISSE001','ACME','c1',x'01'), ('CAISSE002','ACME','c2',x'02'), ('CAISSE003','ACME','c3',x'03'),
		('V1','ACME','v1',NULL), ('V2','ACME','v2',x''), ('V3','ACME','v3',NULL);
	INSERT INTO utilisateur_caisse SELECT 'ACME', 'SYNC', numero, '' FROM caisse;
	INSERT INTO utilisateur_caisse SELECT 'ACME', 'CAISSE'||numero, numero, '' FROM caisse;
	INSERT INTO utilisateur_caisse VALUES('ACME','V1','001','a'), ('ACME','V1','002','b'), ('ACME','V2','002','c');
	INSERT INTO parametre SELECT dossier, numero, 'p', 'x' FROM caisse; INSERT INTO article VALUES('A1','ACME',1), ('A2','ACME',2);`

// rulesOfTill are the rules of one till of that schema.
func rulesOfTill(number string) *Rules {
	return &Rules{Till: number, Dossier: "ACME", DefaultUser: "CAISSE" + number, ServiceUser: "SYNC",
		Users:    &UserRules{Table: "utilisateur", Key: "code", AttachmentTable: "utilisateur_caisse", AttachmentUser: "utilisateur", AttachmentTill: "caisse"},
		Registry: &RegistryRules{Table: "caisse", Key: "numero"}}
}

// A ruled is a server and its tills.
type ruled struct {
	t     *testing.T
	db    *srcDB
	s     *srcStream
	tills map[string]*Till
	last  manifest.Position
	batch *testBatch // the newest
}

func rulesConfig() database.SourceConfig {
	table := func(name string) database.TableConfig {
		return database.TableConfig{Name: name, DossierColumn: "dossier", Dossier: "ACME"}
	}
	attachment := table("utilisateur_caisse")
	attachment.Touches = "utilisateur"
	users := table("utilisateur")
	users.Columns = true
	return database.SourceConfig{Tables: []database.TableConfig{table("caisse"), users, attachment, table("parametre"), table("article")}}
}

// newRuled makes a server with tills, empty ones.
func newRuled(t *testing.T, rules func(string) *Rules, tills ...string) *ruled {
	t.Helper()
	w := &ruled{t: t, db: newSrcDB(t, rulesSchema+rulesRows), tills: map[string]*Till{}}
	w.s = w.db.capture(map[string]database.SourceConfig{testStream: rulesConfig()})[testStream]
	for _, n := range tills {
		w.tills[n] = newTill(t, rulesSchema, TillOptions{Rules: rules(n)})
	}
	return w
}

// seal reads what changed at the server, or everything.
func (w *ruled) seal(full bool) {
	w.t.Helper()
	sink := &relay{}
	x, err := w.s.Read(w.t.Context(), w.s.name, full, sink)
	if err != nil {
		w.t.Fatal(err)
	}
	b := newBatch(w.last)
	b.m.Kind, b.m.Tables, b.blocks = x.Kind, x.Tables, sink.blocks
	for _, k := range b.blocks {
		b.m.Members = append(b.m.Members, manifest.Member{Table: k.Header.Table, Rows: int64(k.Rows())})
	}
	w.s.publish(x)
	w.last, w.batch = b.p, b
}

// apply applies the newest batch to a till.
func (w *ruled) apply(number string) (change.Applied, error) {
	w.t.Helper()
	return w.batch.apply(w.tills[number])
}

func (w *ruled) must(number string) change.Applied {
	w.t.Helper()
	got, err := w.apply(number)
	if err != nil {
		w.t.Fatalf("till %s: %v", number, err)
	}
	return got
}

// want compares a till with what the server holds for it, by value.
func (w *ruled) want(number string) {
	w.t.Helper()
	attached := " IN (SELECT utilisateur FROM utilisateur_caisse WHERE caisse='" + number + "')"
	others := w.tills[number].o.Rules.Registry.DeleteOthers
	for table, where := range map[string]string{
		"article": "1", "utilisateur": "code" + attached,
		"caisse": "1", "parametre": "1", "utilisateur_caisse": "utilisateur" + attached,
	} {
		if others && table == "caisse" {
			where += " AND numero='" + number + "'"
		} else if others && table != "article" && table != "utilisateur" {
			where += " AND caisse='" + number + "'"
		}
		rows := func(c *sqlite3.Conn, where string) []string {
			return sorted(strings.Split(queryText(w.t, c, "SELECT * FROM "+table+" WHERE "+where), ";"))
		}
		if d := cmp.Diff(rows(w.db.Conn, where+" AND dossier='ACME'"), rows(w.tills[number].conn, "1")); d != "" {
			w.t.Errorf("till %s, %s (-server +till):\n%s", number, table, d)
		}
	}
}

// A relay keeps what Read sends as blocks of a batch.
type relay struct {
	head   *change.Header
	blocks []*change.Block
}

func (r *relay) Start(h change.Header) error {
	h.Columns = append([]string{}, h.Columns...)
	r.head = &h
	return nil
}

func (r *relay) Row(line []byte) error {
	row := make([]change.Value, len(r.head.Columns))
	if _, err := change.ParseRow(bytes.Clone(line), row, nil); err != nil {
		return err
	}
	r.blocks = append(r.blocks, &change.Block{Header: r.head, Values: row})
	return nil
}
