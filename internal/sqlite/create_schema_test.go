package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// A kept is a batch that a Source has read, ready to be applied.
type kept struct {
	manifest.Extract
	blocks []*change.Block
	head   *change.Header
	rows   map[string]int64
}

func (k *kept) Start(h change.Header) error { k.head = &h; return h.Check() }

func (k *kept) Row(line []byte) error {
	b := &change.Block{Header: k.head, Values: make([]change.Value, len(k.head.Columns))}
	if _, err := change.ParseRow(line, b.Values, nil); err != nil {
		return err
	}
	k.blocks = append(k.blocks, b.Clone())
	k.rows[k.head.Table]++
	return nil
}

// installed returns the source of a database that carries the stream alone.
func installed(t *testing.T, path string, config database.SourceConfig) *Source {
	t.Helper()
	capture := NewCapture(map[string]database.SourceConfig{testStream: config})
	if err := capture.Install(t.Context(), path, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	return NewSource(path, capture, SourceOptions{})
}

// baselineOf reads a baseline and gives it the form of a batch.
func baselineOf(t *testing.T, s *Source, stream string) *testBatch {
	t.Helper()
	k := &kept{rows: map[string]int64{}}
	x, err := s.Read(context.Background(), stream, true, k)
	if err != nil {
		t.Fatal(err)
	}
	b := newBatch(manifest.Position{})
	b.m.Stream, b.m.Tables, b.m.Uploads, b.m.Integrated, b.blocks = stream, x.Tables, x.Uploads, x.Integrated, k.blocks
	for _, tab := range x.Tables {
		if n := k.rows[tab.Name]; n > 0 {
			b.m.Members = append(b.m.Members, manifest.Member{Table: tab.Name, Rows: n})
		}
	}
	return b
}

// emptyTill opens a till of a database that has nothing.
func emptyTill(t *testing.T, o TillOptions) *Till {
	t.Helper()
	return newTill(t, "", o)
}

// TestCreateSchemaRetail: a till that has nothing makes the shop's tables from
// a baseline, takes it, and captures its tickets.
func TestCreateSchemaRetail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "erp.db")
	erp := openPlain(t, path)
	err := erp.Exec(schema.Retail + `INSERT INTO tva VALUES('N','Normal',2000);
		INSERT INTO article(dossier,code,libelle,tva,prix) VALUES('ACME','1','un','N',100),('BETA','1','autre','N',1);
		INSERT INTO caisse VALUES('ACME','017','','');
		INSERT INTO utilisateur VALUES('U','ACME','nom','VENDEUR',x'00ff',1); INSERT INTO utilisateur_caisse VALUES('ACME','U','017');
		INSERT INTO client(dossier,code,nom,points) VALUES('ACME','C1','Nom',3);`)
	if err != nil {
		t.Fatal(err)
	}
	config := database.SourceConfig{}
	for name, mode := range map[string]manifest.Mode{"client": manifest.Both, "reglement": manifest.Append, "ticket": manifest.Append,
		"ticket_ligne": manifest.Append, "jet": manifest.Append, "parametre_caisse": manifest.Replace} {
		config.Uploads = append(config.Uploads, database.UploadConfig{Name: name, Mode: mode, DossierColumn: "dossier", Dossier: "ACME"})
	}
	for _, name := range []string{"tva", "article", "caisse", "utilisateur", "utilisateur_caisse", "client", "parametre_caisse"} {
		c := database.TableConfig{Name: name, DossierColumn: "dossier", Dossier: "ACME"}
		switch name {
		case "tva":
			c.DossierColumn = ""
		case "article":
			c.Exclude = []string{"prix_achat"}
		case "client":
			c.Exclude = []string{"points"} // only tills write it
		}
		config.Tables = append(config.Tables, c)
	}
	b := baselineOf(t, installed(t, path, config), "ACME/down")
	till := emptyTill(t, TillOptions{Outbox: &OutboxOptions{Dossier: "ACME", Till: "017"}})
	made, err := till.CreateSchema(t.Context(), b.m)
	if err != nil || len(made) != 11 || len(CreateSchemaSQL(b.m)) != 11 {
		t.Fatalf("%q, %v", made, err)
	}
	if again, err := till.CreateSchema(t.Context(), b.m); err != nil || len(again) != 0 {
		t.Errorf("once more: %q, %v", again, err)
	}
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	for _, tab := range b.m.Tables {
		sameRows(t, erp, till.conn, &tab, "")
	}
	if got := queryText(t, till.conn, "SELECT code, points FROM client"); got != "'C1',NULL" {
		t.Error(got)
	}
	err = openPlain(t, till.conn.Path()).Exec(`BEGIN; INSERT INTO ticket VALUES('ACME','017',1,'2026-02-03T09:00:00Z','U',NULL,0,100,20,120);
		INSERT INTO ticket_ligne VALUES('ACME','017',1,1,'1','un',1000,120,0,2000,120); COMMIT; UPDATE client SET nom='autre'`)
	if err != nil {
		t.Fatal(err)
	}
	up := &upDB{t: t, options: *till.o.Outbox, Outbox: NewOutbox(till.conn.Path(), *till.o.Outbox)}
	var tables []string
	for _, line := range up.read().lines {
		tables = append(tables, strings.Join(strings.Fields(line)[:2], " "))
	}
	if want := []string{"client base", "ticket upsert", "client upsert", "ticket_ligne upsert"}; !sameSet(want, tables) {
		t.Errorf("captured %q", tables)
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// sameRows compares the columns of a batch's table in two databases by value.
func sameRows(t *testing.T, server, till *sqlite3.Conn, tab *manifest.Table, where string) {
	t.Helper()
	var names []string
	dossier := false
	for _, c := range tab.Columns {
		names = append(names, c.Name)
		dossier = dossier || c.Name == "dossier"
	}
	sql := "SELECT " + database.QuoteAll("", names) + " FROM " + database.Quote(tab.Name)
	if dossier && where == "" {
		where = " WHERE dossier='ACME'"
	}
	order := " ORDER BY " + database.QuoteAll("", tab.Key)
	want, got := queryText(t, server, sql+where+order), queryText(t, till, sql+order)
	if want != got || want == "" && tab.Name != "parametre_caisse" {
		t.Errorf("table %s: server\n%s\ntill\n%s", tab.Name, want, got)
	}
}

// TestCreateSchemaChinook does the same with a database that nobody here
// wrote: all its tables, then a second baseline that finds nothing to change.
func TestCreateSchemaChinook(t *testing.T) {
	data, err := os.ReadFile("../../../shared/data/chinook/chinook.sqlite")
	if err != nil {
		t.Skip("no Chinook database beside the project")
	}
	path := filepath.Join(t.TempDir(), "erp.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	erp := openPlain(t, path)
	names, err := Tables(erp)
	if err != nil {
		t.Fatal(err)
	}
	config := database.SourceConfig{}
	for _, n := range names {
		config.Tables = append(config.Tables, database.TableConfig{Name: n})
	}
	source := installed(t, path, config)
	b := baselineOf(t, source, testStream)
	till := emptyTill(t, TillOptions{})
	made, err := till.CreateSchema(t.Context(), b.m)
	if err != nil || !sameSet(made, names) {
		t.Fatalf("made %q, want %q, %v", made, names, err)
	}
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	for _, tab := range b.m.Tables {
		sameRows(t, erp, till.conn, &tab, " ")
		server, err := ReadTable(erp, tab.Name)
		if err != nil {
			t.Fatal(err)
		}
		here, err := ReadTable(till.conn, tab.Name)
		if err != nil || here.RowidKey() != server.RowidKey() || !slices.Equal(here.Key, server.Key) {
			t.Errorf("table %s: key %q, rowid %q, server %q, %q, %v", tab.Name, here.Key, here.RowidKey(), server.Key, server.RowidKey(), err)
		}
	}
	again := baselineOf(t, source, testStream)
	again.p.Sequence, again.m.Sequence = 2, 2
	again.m.Previous = b.p.Digest
	if r, err := again.apply(till); err != nil || r.Inserted+r.Updated+r.Deleted != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestCreateSchemaTypes: a type is free text, and nothing but a type may come
// of it; the till's column has it word for word, or stores the same.
func TestCreateSchemaTypes(t *testing.T) {
	types := []string{"", "INTEGER", "VARCHAR(20)", "DECIMAL(10, 2)", "unsigned big int", "TEXT); DROP TABLE victim; --", "TEXT NOT NULL", "INTEGER PRIMARY KEY",
		"TEXT DEFAULT ('x')", `quo"ted`, "'single'", "[bracket", "`tick`", "é \n\t", "INT GENERATED ALWAYS AS (1)", "timestamp with time zone", "NULL", "text check(0)", " ", "x,y"}
	for _, typ := range types {
		till := newTill(t, "CREATE TABLE victim(x); INSERT INTO victim VALUES(1)", TillOptions{})
		m := &manifest.Manifest{Stream: testStream, Tables: []manifest.Table{{Name: `t "1"`, Key: []string{"k"}, Columns: []manifest.Column{{Name: "k", Type: "TEXT"}, {Name: "c", Type: typ}}}}}
		if made, err := till.CreateSchema(t.Context(), m); err != nil || !slices.Equal(made, []string{`t "1"`}) {
			t.Errorf("%q: %q, %v", typ, made, err)
			continue
		}
		tab, err := ReadTable(till.conn, `t "1"`)
		if err != nil {
			t.Fatal(err)
		}
		want := []Column{{Name: "k", Type: "TEXT", NotNull: true, PK: 1}, {Name: "c", Type: typ}}
		if d := cmp.Diff(want, tab.Columns); d != "" {
			t.Errorf("%q: %s", typ, d)
		}
		if got := queryText(t, till.conn, "SELECT x FROM victim"); got != "1" {
			t.Errorf("%q: the victim has %q", typ, got)
		}
	}
}

// TestCreateSchemaRefused: nothing is made when a name is not for batches, or
// the manifest does not say enough.
func TestCreateSchemaRefused(t *testing.T) {
	columns := []manifest.Column{{Name: "a"}, {Name: "b"}}
	good := manifest.Table{Name: "good", Columns: columns, Key: []string{"a"}}
	for says, bad := range map[string]*manifest.Manifest{
		`"caisseauto_ledger2": refused: it is not for batches`: {Tables: []manifest.Table{good, {Name: "caisseauto_ledger2", Columns: columns, Key: []string{"a"}}}},
		`"SQLITE_stat1": refused: it is not for batches`:       {Tables: []manifest.Table{good}, Uploads: []manifest.Upload{{Table: "SQLITE_stat1", Columns: columns, Key: []string{"a"}}}},
		`"micptrack": refused: it is not for batches`:          {Tables: []manifest.Table{good}, Uploads: []manifest.Upload{{Table: "micptrack", Columns: columns, Key: []string{"a"}}}},
		`"other": refused: it is not among the tables`:         {Tables: []manifest.Table{good, {Name: "other", Columns: columns, Key: []string{"a"}}}},
		`"up": refused: the manifest names no columns`:         {Tables: []manifest.Table{good}, Uploads: []manifest.Upload{{Table: "up", Key: []string{"a"}}}},
		`names column "A" twice`:                               {Tables: []manifest.Table{good}, Uploads: []manifest.Upload{{Table: "up", Key: []string{"a"}, Columns: append(columns, manifest.Column{Name: "A"})}}},
		`"c" is in its key`:                                    {Tables: []manifest.Table{good}, Uploads: []manifest.Upload{{Table: "up", Key: []string{"c"}, Columns: columns}}},
	} {
		till := emptyTill(t, TillOptions{Tables: []string{"good", "caisseauto_ledger2"}, Outbox: &OutboxOptions{Dossier: "ACME", Till: "017"}})
		made, err := till.CreateSchema(t.Context(), bad)
		if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), says) || len(made) != 0 {
			t.Errorf("%q, %v, want %s", made, err, says)
		}
		if ok, err := Exists(till.conn, "good"); ok || err != nil {
			t.Errorf("%s: the other table was made, %v", says, err)
		}
	}
	// A name that is taken by something else: all or nothing.
	till := newTill(t, "CREATE VIEW taken AS SELECT 1 AS x", TillOptions{})
	_, err := till.CreateSchema(t.Context(), &manifest.Manifest{Stream: testStream, Tables: []manifest.Table{good, {Name: "taken", Columns: columns, Key: []string{"a"}}}})
	if err == nil || !strings.Contains(err.Error(), `"taken"`) || !strings.Contains(err.Error(), "no table was made") {
		t.Error(err)
	}
	if ok, err := Exists(till.conn, "good"); ok || err != nil {
		t.Errorf("half of the tables, %v", err)
	}
	// A table that is there is left alone, whatever it looks like.
	till = newTill(t, "CREATE TABLE GOOD(z); INSERT INTO good VALUES('mine')", TillOptions{})
	if made, err := till.CreateSchema(t.Context(), &manifest.Manifest{Stream: testStream, Tables: []manifest.Table{good}}); err != nil || len(made) != 0 {
		t.Errorf("%q, %v", made, err)
	}
	if got := dumpLive(t, till.conn); !cmp.Equal(got, []string{"GOOD | 3:'mine'"}) {
		t.Errorf("%q", got)
	}
}
