//go:build unix

package postgres

import (
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/collect/collecttest"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// between runs an ERP program's statements after a batch was judged and before
// it is written: the first thing that is written is the delete of a parameter,
// at which a trigger waits. It returns what became of the batch.
func between(t *testing.T, s *collecttest.Server, b *collecttest.Batch, sql string) change.Applied {
	t.Helper()
	s.Exec(`INSERT INTO parametre_caisse VALUES('ACME','017','slow','');
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN old; END $$;
		CREATE TRIGGER slow BEFORE DELETE ON parametre_caisse FOR EACH ROW EXECUTE FUNCTION slow()`)
	b.Add("parametre_caisse", change.Upsert, "dossier caisse nom valeur").Add("parametre_caisse", change.Delete, "", []any{"ACME", "017", "slow"}).Seal()
	type result struct {
		change.Applied
		error
	}
	done := make(chan result)
	go func() { res, err := b.ApplyTo(s.Collector); done <- result{res, err} }()
	for s.Text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "0" {
		time.Sleep(time.Millisecond)
	}
	pgtest.Exec(t, s.DB.(*collectDB).dsn, sql)
	r := <-done
	if r.error != nil {
		t.Fatal(r.error)
	}
	return r.Applied
}

// TestCollectJudgedRowsStay: a customer whom the ERP changes after the till's
// change was judged keeps the ERP's change: it waits, and comes later.
func TestCollectJudgedRowsStay(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), database.ConflictServer)
	s.Exec("INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME','C1','base','1')")
	const columns = "dossier code nom carte modifie_le"
	b := s.Batch("017").Add("client", change.Base, columns, []any{"ACME", "C1", "base", nil, "1"}).Add("client", change.Upsert, columns, []any{"ACME", "C1", "till", nil, "2"})
	res := between(t, s, b, "UPDATE client SET nom = nom || ', then server'")
	if res.Updated != 1 || res.Deleted != 1 {
		t.Errorf("%s", collecttest.Counts(res))
	}
	s.Want("till, then server", "SELECT nom FROM client")
}

// TestCollectSameMeanwhile: what another program writes after the batch was
// judged is looked at once more, and is nobody's fault.
func TestCollectSameMeanwhile(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), database.ConflictServer)
	b := s.Batch("017").Add("jet", change.Upsert, "dossier caisse numero horodatage code", []any{"ACME", "017", 1, "h", "X"}, []any{"ACME", "017", 2, "h", "X"})
	res := between(t, s, b, "INSERT INTO jet(dossier, caisse, numero, horodatage, code) VALUES('ACME','017',2,'h','X')")
	if res.Inserted != 1 || res.Acknowledged != 1 || res.Quarantined != 0 {
		t.Errorf("%s; %+v", collecttest.Counts(res), s.Units())
	}
}

// Also when the batch has nothing else.
func TestCollectSameMeanwhileAlone(t *testing.T) {
	s := collecttest.NewRetailServer(t, collectKind(), "")
	s.Exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN new; END $$;
		CREATE TRIGGER slow BEFORE INSERT ON jet FOR EACH ROW EXECUTE FUNCTION slow()`)
	b := s.Batch("017").Add("jet", change.Upsert, "dossier caisse numero horodatage code", []any{"ACME", "017", 2, "h", "X"}).Seal()
	done := make(chan change.Applied)
	go func() {
		res, err := b.ApplyTo(s.Collector)
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	for s.Text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "0" {
		time.Sleep(time.Millisecond)
	}
	pgtest.Exec(t, s.DB.(*collectDB).dsn, "SET session_replication_role = replica; INSERT INTO jet(dossier, caisse, numero, horodatage, code) VALUES('ACME','017',2,'h','X')")
	if res := <-done; res.Acknowledged != 1 || res.Quarantined != 0 {
		t.Errorf("%s; %+v", collecttest.Counts(res), s.Units())
	}
}

// TestCollectServersVersion: the server's version of a conflict is written as
// an export writes it, whatever the time of day is here.
func TestCollectServersVersion(t *testing.T) {
	up := database.UploadConfig{Name: "client", Mode: "both", DossierColumn: "dossier", Dossier: "ACME", Conflict: database.ConflictServer}
	s := collecttest.NewServer(t, collectKind(), `CREATE TABLE client(dossier text, code text, at timestamptz, paid boolean, sum numeric(9,2), raw bytea, PRIMARY KEY(dossier, code));
		INSERT INTO client VALUES('ACME', 'C1', '2026-03-02 09:00:00+00', true, 1.5, '\x00ff')`, []database.UploadConfig{up})
	s.Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$`)
	c, err := s.DB.Open(collecttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := s.Batch("017").Add("client", change.Upsert, "dossier code at paid sum raw", []any{"ACME", "C1", "2026-03-02 10:00:00", 0, "2.00", []byte{1}}).Seal()
	if _, err := b.ApplyTo(c); err != nil {
		t.Fatal(err)
	}
	list, err := c.Conflicts(t.Context(), collect.ConflictFilter{})
	if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Server, "\n"+`["ACME","C1","2026-03-02 09:00:00+00",1,"1.50",{"b":"AP8="}]`+"\n") {
		t.Errorf("%+v, %v", list, err)
	}
}
