//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// TestCollectShapes: tables as PostgreSQL has them. Names of any shape in a
// schema of their own, partitions, identities, generated columns, defaults,
// domains, keys of two columns in another order.
func TestCollectShapes(t *testing.T) {
	const sql = `CREATE SCHEMA "Éà ""q"""; CREATE DOMAIN code AS text CHECK (VALUE <> '');
		CREATE TABLE "Éà ""q"""."select ""t"" $1"("Caisse n°" text, "order" bigint GENERATED ALWAYS AS IDENTITY, "c1" code NOT NULL DEFAULT 'x', seq bigint, kinds text, "unit" bigint,
			twice bigint GENERATED ALWAYS AS (seq * 2) STORED, PRIMARY KEY("order", "Caisse n°"));
		CREATE TABLE part(caisse text, n bigint, v text, PRIMARY KEY(caisse, n)) PARTITION BY RANGE(n);
		CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100); CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);
		CREATE TABLE client(dossier text, code text, PRIMARY KEY(dossier, code)); CREATE TABLE "Part"(caisse text, n bigint, PRIMARY KEY(caisse, n))`
	odd := `select "t" $1`
	s := collecttest.NewServer(t, collectKind(), sql, []database.UploadConfig{
		{Name: odd, Schema: `Éà "q"`, Mode: manifest.Append, TillColumn: "Caisse n°", Totals: []string{"seq"}},
		{Name: "part", Mode: manifest.Replace}, {Name: "Part", Mode: manifest.Append},
	})
	b := s.Batch("017").Add(odd, change.Upsert, "x")
	b.M.Tables[0].Columns = nil
	columns := []string{"order", "Caisse n°", "seq", "kinds", "unit", "twice"}
	for _, c := range columns {
		b.M.Tables[0].Columns = append(b.M.Tables[0].Columns, manifest.Column{Name: c})
	}
	b.Rows(odd, change.Upsert, columns, []any{7, "017", 21, "é\\", 1, 99}, []any{8, "017", nil, nil, nil, nil})
	b.Add("part", change.Upsert, "caisse n v", []any{"017", 1, "a"}, []any{"017", 100, "b"}, []any{"017", 200, "no such partition"}).Add("Part", change.Upsert, "caisse n", []any{"017", 5})
	res := b.Send()
	if res.Inserted != 5 || res.Quarantined != 1 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want(`017|7|x|21|é\|1|42 017|8|x||||`, `SELECT * FROM "Éà ""q"""."select ""t"" $1" ORDER BY 2`)
	s.Want("017|1|a 017|100|b", "SELECT * FROM part ORDER BY n")
	if u := s.Units(); !strings.Contains(u[0].Reason, `no partition of relation "part" found for row`) {
		t.Errorf("%+v", u)
	}
	// To another partition it cannot go, its key says where it is; but back out.
	b = s.Batch("017").Add("part", change.Upsert, "caisse n v", []any{"017", 1, "A"}).Add("part", change.Delete, "", []any{"017", 100})
	if res := b.Send(); res.Updated != 1 || res.Deleted != 1 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want("017|1|A", "SELECT * FROM part ORDER BY n")
}

// TestCollectERPsRules: the ERP's triggers find its tables, its functions and
// its time of day, as with its own programs; what they leave out or change is
// theirs to decide, unless they keep a row out.
func TestCollectERPsRules(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), database.ConflictTill)
	s.Exec(`CREATE SCHEMA erp; CREATE TABLE erp.log(what text, zone text, path text);
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = erp, public', current_database()); EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$;
		CREATE FUNCTION erp.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO log VALUES(TG_OP || ' ' || new.numero, current_setting('timezone'), current_setting('search_path')); new.client := 'C1'; RETURN new; END $$;
		CREATE TRIGGER noted BEFORE INSERT ON ticket FOR EACH ROW EXECUTE FUNCTION erp.noted()`)
	c, err := s.DB.Open(collecttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := s.Batch("017").Tickets("017", 1).Seal().ApplyTo(c); err != nil {
		t.Fatal(err)
	}
	s.Want("INSERT 1|Asia/Tokyo|caisseauto, erp, public", `SELECT what, zone, replace(path, '"', '') FROM erp.log`)
	s.Want("C1", "SELECT client FROM ticket")
}

// TestCollectDeferred: constraints that are checked at the end of a
// transaction are checked for each unit, and hold up nobody else.
func TestCollectDeferred(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), database.ConflictTill)
	s.Exec(`ALTER TABLE ticket ADD CONSTRAINT who FOREIGN KEY(dossier, client) REFERENCES client DEFERRABLE INITIALLY DEFERRED;
		CREATE FUNCTION paid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT coalesce(sum(montant), 0) FROM reglement AS r WHERE r.ticket = new.numero AND r.caisse = new.caisse) <> new.total_ttc THEN RAISE 'ticket % is not paid', new.numero; END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER paid AFTER INSERT ON ticket DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION paid();
		DROP INDEX client_carte; ALTER TABLE client ADD CONSTRAINT carte UNIQUE(dossier, carte) DEFERRABLE`)
	b := s.Batch("017").Tickets("017", 1, 2, 3, 4)
	b.Set("reglement", 1, 5, 7)
	b.Add("client", change.Upsert, "dossier code nom carte modifie_le", []any{"ACME", "C1", "a", "1", ""}, []any{"ACME", "C2", "b", "1", ""})
	res := b.Send()
	if res.Inserted != 13 || res.Quarantined != 5 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want("1 3 4", "SELECT numero FROM ticket ORDER BY 1")
	s.Want("C1", "SELECT code FROM client")
	reasons := ""
	for _, u := range s.Units() {
		reasons += u.Reason + "\n"
	}
	for _, want := range []string{"ticket 2 is not paid", `violates unique constraint "carte"`} {
		if !strings.Contains(reasons, want) {
			t.Errorf("no unit says %s: %s", want, reasons)
		}
	}
}

// TestCollectSilentTriggers: rows that a trigger keeps from being changed or
// deleted, without a word, wait with their units.
func TestCollectSilentTriggers(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), database.ConflictTill)
	s.Exec(`INSERT INTO parametre_caisse VALUES('ACME','017','a','1'),('ACME','017','b','1'),('ACME','017','c','1');
		CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.nom = 'b' THEN RETURN NULL; END IF; IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new; END $$;
		CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON parametre_caisse FOR EACH ROW EXECUTE FUNCTION keep()`)
	param := func(nom, v string) []any { return []any{"ACME", "017", nom, v} }
	b := s.Batch("017").Add("parametre_caisse", change.Upsert, "dossier caisse nom valeur", param("a", "2"), param("b", "2"))
	b.Add("parametre_caisse", change.Delete, "", []any{"ACME", "017", "c"})
	if res := b.Send(); res.Updated != 1 || res.Deleted != 1 || res.Quarantined != 1 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	b = s.Batch("017").Add("parametre_caisse", change.Upsert, "dossier caisse nom valeur", param("d", "2")).Add("parametre_caisse", change.Delete, "", []any{"ACME", "017", "b"})
	if res := b.Send(); res.Inserted != 1 || res.Quarantined != 1 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want("a|2 b|1 d|2", "SELECT nom, valeur FROM parametre_caisse ORDER BY 1")
	for _, u := range s.Units() {
		if u.Reason != errIgnored.Error() {
			t.Errorf("%+v", u)
		}
	}
}

// TestCollectManyRefused: a third of a large batch is refused, by the database
// and by rules; every row of it is kept as it came, and the others are in.
func TestCollectManyRefused(t *testing.T) {
	const n = 450
	s := collecttest.NewRetailServer(t, collectKind(), "")
	s.Exec("ALTER TABLE reglement ADD CONSTRAINT odd CHECK (ticket % 5 <> 0)")
	b := s.BigBatch("017", n)
	for i, at := 0, 0; i < len(b.Blocks); i++ {
		blk := b.Blocks[i]
		for r := range blk.Rows() {
			if blk.Header.Table == "ticket" {
				if at++; at%7 == 0 {
					blk.Row(r)[1] = change.Value{Kind: change.Text, Bytes: []byte("018")}
				}
			}
		}
	}
	want := map[string]string{}
	for _, blk := range b.Blocks {
		for r := range blk.Rows() {
			row := blk.Row(r)
			number := row[2].Int
			if number%5 == 0 || number%7 == 0 {
				want[fmt.Sprint(number)] += blk.Header.Table + string(change.AppendRow(nil, row))
			}
		}
	}
	res := b.Send()
	if res.Quarantined+res.Inserted != res.Rows {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want(fmt.Sprint(n-len(want)), "SELECT count(*) FROM ticket")
	s.Want("0", "SELECT count(*) FROM ticket WHERE numero % 5 = 0 OR numero % 7 = 0")
	s.Want(fmt.Sprint(res.Inserted), "SELECT (SELECT count(*) FROM ticket)+(SELECT count(*) FROM ticket_ligne)+(SELECT count(*) FROM reglement)")
	got := map[string]string{}
	for _, u := range s.Units() {
		full, err := s.Unit(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		number := ""
		for _, m := range full.Members {
			h, rest, _ := strings.Cut(m, "\n")
			header, err := change.ParseHeader([]byte(h + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(rest) {
				number = strings.Split(line, ",")[2]
				got[number] += header.Table + line
			}
		}
	}
	for number, rows := range want {
		if len(got[number]) != len(rows) || !sameLines(got[number], rows) {
			t.Errorf("ticket %s:\n got %q\nwant %q", number, got[number], rows)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tickets in quarantine, want %d", len(got), len(want))
	}
}

// sameLines compares lines in any order.
func sameLines(a, b string) bool {
	for line := range strings.Lines(a) {
		if !strings.Contains(b, line) {
			return false
		}
	}
	return true
}

// TestCollectHeldWhole: a large batch whose totals are wrong is kept row by row
// as it came, and can be taken in later.
func TestCollectHeldWhole(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), "")
	b := s.BigBatch("017", 3000)
	var want, got strings.Builder
	for _, blk := range b.Blocks {
		for r := range blk.Rows() {
			want.WriteString(blk.Header.Table + string(change.AppendRow(nil, blk.Row(r))))
		}
	}
	b.M.Totals[0].Sums[0].Sum = "1"
	res, err := b.ApplyTo(s.Collector)
	if err != nil || res.Quarantined != res.Rows {
		t.Fatalf("%s, %v", collecttest.Counts(res), err)
	}
	u, err := s.Unit(t.Context(), s.Units()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range u.Members {
		h, rest, _ := strings.Cut(m, "\n")
		header, err := change.ParseHeader([]byte(h + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(rest) {
			got.WriteString(header.Table + line)
		}
	}
	if got.String() != want.String() {
		t.Errorf("%d bytes are kept, other than the %d that came", got.Len(), want.Len())
	}
	if res, err = s.Retry(t.Context(), u.ID); err != nil || res.Inserted != res.Rows {
		t.Errorf("%s, %v", collecttest.Counts(res), err)
	}
}

// TestCollectSchemaChanged: a column that goes while a collector is at work is
// no row's fault.
func TestCollectSchemaChanged(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), "")
	b := s.Batch("017").Tickets("017", 1).Seal()
	c, err := s.DB.Open(collecttest.Options{Hook: func(place string) {
		if place == "prepared" {
			s.Exec("ALTER TABLE ticket DROP COLUMN total_tva")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := b.ApplyTo(c); err == nil || errors.Is(err, database.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if u := s.Units(); len(u) > 0 {
		t.Errorf("in quarantine: %+v", u)
	}
	s.Exec("ALTER TABLE ticket ADD COLUMN total_tva bigint")
	if _, err := b.ApplyTo(s.Collector); err != nil {
		t.Error(err)
	}
}
