package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// TestRules: each till holds its own users, whatever comes: the first load, a
// delta, a baseline, which writes nothing where nothing differs.
func TestRules(t *testing.T) {
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprint("others deleted: ", others), func(t *testing.T) {
			w := newRuled(t, func(n string) *Rules {
				r := rulesOfTill(n)
				r.Registry.DeleteOthers = others
				return r
			}, "001", "002")
			w.seal(false)
			for n := range w.tills {
				w.must(n)
				w.want(n)
			}
			w.seal(true)
			for n := range w.tills {
				if got := w.must(n); got.Inserted+got.Updated+got.Deleted+got.Filtered != 0 {
					t.Errorf("till %s: a baseline without a difference: %+v", n, got)
				}
				w.want(n)
			}
			for _, sql := range []string{
				"INSERT INTO utilisateur_caisse VALUES('ACME','V2','001','late')",
				"UPDATE utilisateur SET nom='V2 autrement' WHERE code='V2'; UPDATE utilisateur_caisse SET note='z' WHERE caisse='002'",
				"DELETE FROM utilisateur_caisse WHERE utilisateur='V1' AND caisse='001'",
				"UPDATE utilisateur SET nom='sans caisse' WHERE code='V3'; UPDATE article SET prix=prix+1",
				"UPDATE utilisateur_caisse SET caisse='001' WHERE utilisateur='V2' AND caisse='002' AND 0; INSERT INTO utilisateur_caisse VALUES('ACME','V3','002','x')",
				"DELETE FROM utilisateur_caisse WHERE utilisateur='V2'; DELETE FROM utilisateur WHERE code='V2'",
				"INSERT INTO caisse VALUES('ACME','004'); INSERT INTO utilisateur VALUES('CAISSE004','ACME','c4',NULL); INSERT INTO utilisateur_caisse VALUES('ACME','CAISSE004','004',''), ('ACME','SYNC','004',''); INSERT INTO parametre VALUES('ACME','004','p','y')",
			} {
				w.db.do(sql)
				w.seal(false)
				for n := range w.tills {
					w.must(n)
					w.want(n)
				}
			}
		})
	}
}

// TestRulesRefused: where a rule cannot hold the whole batch is refused,
// everything stays as it was, and the error says what to do.
func TestRulesRefused(t *testing.T) {
	for _, tt := range []struct {
		name, sql string
		rules     func(*Rules)
		says      []string
	}{
		{"service user detached", "DELETE FROM utilisateur_caisse WHERE utilisateur='SYNC' AND caisse='001'", nil,
			[]string{`would delete service_user "SYNC"`, "utilisateur_caisse with utilisateur = 'SYNC' and caisse = '001'", "export --baseline"}},
		{"default user detached", "DELETE FROM utilisateur_caisse WHERE utilisateur='CAISSE001'", nil, []string{`would delete default_user "CAISSE001"`}},
		{"service user deleted", "DELETE FROM utilisateur_caisse WHERE utilisateur='SYNC'; DELETE FROM utilisateur WHERE code='SYNC'", nil,
			[]string{`without service_user "SYNC"`, "correct service_user"}},
		{"default user of another dossier", "UPDATE utilisateur SET dossier='BETA' WHERE code='CAISSE001'", nil, []string{"--move"}},
		{"not registered", "DELETE FROM utilisateur_caisse WHERE caisse='001'; DELETE FROM parametre WHERE caisse='001'; DELETE FROM caisse WHERE numero='001'",
			func(r *Rules) { r.Users = nil }, []string{`numero = "001" and dossier = "ACME"`, "register the till"}},
		{"no such table", "UPDATE article SET prix=9", func(r *Rules) { r.Users.Table = "gens" }, []string{"[users] in till.toml", `"gens"`}},
		{"no such column", "UPDATE article SET prix=9", func(r *Rules) { r.Users.AttachmentTill = "till" }, []string{"[users] attachment", `"till"`}},
		{"no such registry", "UPDATE article SET prix=9", func(r *Rules) { r.Registry.Key = "no" }, []string{"registry in till.toml", `"no"`}},
		{"users without a unique key", "UPDATE article SET prix=9", func(r *Rules) { r.Users.Key = "nom" }, []string{"[users] in till.toml"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newRuled(t, rulesOfTill, "001")
			w.seal(false)
			w.must("001")
			till := w.tills["001"]
			if tt.rules != nil {
				tt.rules(till.o.Rules)
			}
			w.db.do("PRAGMA foreign_keys=OFF; UPDATE article SET prix=prix+100; " + tt.sql)
			w.seal(false)
			was := dumpLive(t, till.conn)
			_, err := w.apply("001")
			if !errors.Is(err, manifest.ErrRefused) {
				t.Fatalf("%v", err)
			}
			for _, word := range append(tt.says, "nothing was applied") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error does not say %q: %v", word, err)
				}
			}
			if d := cmp.Diff(was, dumpLive(t, till.conn)); d != "" {
				t.Error(d)
			}
			if p, err := till.Position(t.Context(), testStream); err != nil || p.Sequence != 1 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// TestRulesByColumn: users whose table has the till's number, stored as a
// number.
func TestRulesByColumn(t *testing.T) {
	const schema = `CREATE TABLE u(code TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, caisse INTEGER, nom TEXT)`
	till := newTill(t, schema, TillOptions{Rules: &Rules{Till: "017", ServiceUser: "sync", Users: &UserRules{Table: "u", Key: "code", TillColumn: "caisse"}}})
	columns := []string{"code", "caisse", "nom"}
	batch := func(p manifest.Position, scope manifest.Scope, rows ...[]any) *testBatch {
		b := newBatch(p)
		b.table("u", scope, []string{"code"}, columns)
		b.rows("u", "upsert", columns, rows...)
		return b
	}
	first := batch(manifest.Position{}, manifest.Whole, []any{"SYNC", 17, "s"}, []any{"A", 17, "a"}, []any{"B", 18, "b"}, []any{"C", nil, "c"})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	want := func(text string) {
		t.Helper()
		if got := queryText(t, till.conn, "SELECT code, nom FROM u ORDER BY code"); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
	want("'A','a';'SYNC','s'")
	next := batch(first.p, manifest.Changes, []any{"A", 18, "a"}, []any{"B", 17, "b"})
	if _, err := next.apply(till); err != nil {
		t.Fatal(err)
	}
	want("'B','b';'SYNC','s'")

	// A patch of a row that is not here is another till's; one that would
	// bring a user here without his row is refused.
	patch := newBatch(next.p)
	patch.table("u", manifest.Changes, []string{"code"}, columns)
	patch.rows("u", "patch", []string{"code", "nom"}, []any{"A", "autre"})
	if _, err := patch.apply(till); err != nil {
		t.Error(err)
	}
	half := newBatch(patch.p)
	half.table("u", manifest.Changes, []string{"code"}, columns)
	half.rows("u", "patch", []string{"code", "caisse"}, []any{"A", 17})
	if _, err := half.apply(till); !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), `capture = "key"`) {
		t.Errorf("%v", err)
	}
	want("'B','b';'SYNC','s'")
}

// TestRulesOutbox: what the rules delete is no change of the till's, in an
// import as without one. The key of the users includes their dossier.
func TestRulesOutbox(t *testing.T) {
	db := newUpDB(t, retailTill()+"UPDATE client SET ville='017' WHERE code<>'C2'; UPDATE client SET ville='018' WHERE code='C2'", upTables())
	rules := &Rules{Till: "017", Dossier: "ACME", Registry: &RegistryRules{Table: "caisse", Key: "numero", DeleteOthers: true},
		Users: &UserRules{Table: "client", Key: "code", TillColumn: "ville"}}
	db.exec("DELETE FROM MICPTRACK; INSERT INTO caisse VALUES('ACME','019','','')")
	till := openTill(t, db.path, TillOptions{Outbox: &db.options, Rules: rules})
	b := newBatch(db.down)
	columns := []string{"dossier", "caisse", "nom", "valeur"}
	b.table("parametre_caisse", manifest.Changes, columns[:3], columns)
	b.rows("parametre_caisse", "upsert", columns, []any{"ACME", "017", "p", "1"}, []any{"ACME", "018", "p", "2"})
	if _, err := b.apply(till); err != nil {
		t.Fatal(err)
	}
	db.want("'017'", "SELECT numero FROM caisse")
	db.want("'017'", "SELECT caisse FROM parametre_caisse")
	db.want("'C1';'C3'", "SELECT code FROM client ORDER BY 1")
	db.want("0", "SELECT count(*) FROM MICPTRACK")

	db.exec("UPDATE client SET ville='018' WHERE code='C3'; DELETE FROM MICPTRACK")
	if n, err := till.Settle(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	db.want("'C1'", "SELECT code FROM client")
	db.want("0", "SELECT count(*) FROM MICPTRACK")
	db.exec("UPDATE client SET nom='autrement'")
	db.want("1", "SELECT count(*) FROM MICPTRACK") // the till's own changes are seen as before
}

// TestSettle: rules that are newer than the last import are made to hold by
// the next one, also when it brings nothing; then nothing is locked.
func TestSettle(t *testing.T) {
	w := newRuled(t, func(string) *Rules { return nil }, "001")
	till := w.tills["001"]
	till.o.Rules = rulesOfTill("001")
	if n, err := till.Settle(t.Context()); n != 0 || err != nil {
		t.Errorf("before the first import: %d, %v", n, err)
	}
	till.o.Rules = nil
	w.seal(false)
	if _, err := w.apply("001"); err != nil {
		t.Fatal(err)
	}
	till.o.Rules = rulesOfTill("001")
	n, err := till.Settle(t.Context())
	if err != nil || n == 0 {
		t.Errorf("%d, %v", n, err)
	}
	w.want("001")
	pos := openPlain(t, till.conn.Path())
	if err := pos.Exec("BEGIN IMMEDIATE"); err != nil { // the POS writes
		t.Fatal(err)
	}
	if n, err := till.Settle(t.Context()); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := pos.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	till.o.Rules.ServiceUser = "V9"
	was := dumpLive(t, till.conn)
	if _, err := till.Settle(t.Context()); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(was, dumpLive(t, till.conn)); d != "" {
		t.Error(d)
	}
}

// TestStanding reads whose a database is.
func TestStanding(t *testing.T) {
	rules := rulesOfTill("001")
	w := newRuled(t, rulesOfTill, "001")
	till := w.tills["001"]
	read := func(want Standing) {
		t.Helper()
		got, err := ReadStanding(t.Context(), till.conn.Path(), rules)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	read(Standing{})
	if err := till.SaveDossier(t.Context(), "ACME"); !errors.Is(err, database.ErrNotInstalled) {
		t.Errorf("without an outbox: %v", err)
	}
	w.seal(false)
	w.must("001")
	read(Standing{User: "ACME", UserFound: true, Followed: "ACME"})
	if err := NewOutbox(till.conn.Path(), OutboxOptions{Dossier: "ACME", Till: "001"}).Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := till.SaveDossier(t.Context(), "BETA"); err != nil {
		t.Fatal(err)
	}
	read(Standing{User: "ACME", UserFound: true, Followed: "ACME", Given: "BETA"})
	rules.Users.DossierColumn = "societe"
	if _, err := ReadStanding(t.Context(), till.conn.Path(), rules); err == nil || !strings.Contains(err.Error(), `"societe"`) {
		t.Errorf("%v", err)
	}
	rules.Users.Table = "later"
	read(Standing{Followed: "ACME", Given: "BETA"})
	if _, err := ReadStanding(t.Context(), filepath.Join(t.TempDir(), "none.db"), rules); err == nil {
		t.Error("no file, no error")
	}
}

// TestRulesRandom: deltas and baselines of random changes at the server, to
// three tills of which some are away for a while; by value each holds what is
// its own.
func TestRulesRandom(t *testing.T) {
	for seed := range uint64(max(12/raceSlow, 2)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 4))
			w := newRuled(t, func(n string) *Rules {
				r := rulesOfTill(n)
				r.Registry.DeleteOthers = seed%2 == 1
				return r
			}, "001", "002", "003")
			w.seal(false)
			for n := range w.tills {
				if seed%3 == 0 {
					w.tills[n].limits = small // stages in files
				}
				w.must(n)
			}
			for range 12 {
				for range 1 + rnd.IntN(6) {
					w.db.do("PRAGMA foreign_keys=ON; " + ruleChange(rnd))
				}
				w.seal(rnd.IntN(4) == 0)
				if len(w.batch.m.Tables) == 0 {
					w.last = manifest.Position{Epoch: 1, Sequence: w.last.Sequence - 1, Digest: w.batch.m.Previous}
					continue
				}
				for n := range w.tills {
					w.must(n)
					w.want(n)
				}
			}
		})
	}
}

func ruleChange(rnd *rand.Rand) string {
	v, till := fmt.Sprintf("V%d", 1+rnd.IntN(7)), fmt.Sprintf("%03d", 1+rnd.IntN(4))
	return []string{
		fmt.Sprintf("INSERT INTO utilisateur VALUES('%s','ACME','n%d',x'00ff') ON CONFLICT DO UPDATE SET nom=excluded.nom, dossier='ACME'", v, rnd.IntN(50)),
		fmt.Sprintf("UPDATE utilisateur SET nom='m%d' WHERE code='%s'", rnd.IntN(50), v),
		fmt.Sprintf("INSERT OR IGNORE INTO utilisateur_caisse SELECT 'ACME', code, numero, 'r%d' FROM utilisateur, caisse WHERE code='%s' AND numero='%s' AND utilisateur.dossier='ACME'", rnd.IntN(9), v, till),
		fmt.Sprintf("DELETE FROM utilisateur_caisse WHERE utilisateur='%s' AND caisse='%s'", v, till),
		fmt.Sprintf("UPDATE utilisateur_caisse SET note='%d' WHERE utilisateur='%s'", rnd.IntN(9), v),
		fmt.Sprintf("DELETE FROM utilisateur_caisse WHERE utilisateur='%[1]s'; DELETE FROM utilisateur WHERE code='%[1]s'", v),
		fmt.Sprintf("DELETE FROM utilisateur_caisse WHERE utilisateur='%[1]s'; UPDATE utilisateur SET dossier='BETA' WHERE code='%[1]s'", v),
		fmt.Sprintf("UPDATE parametre SET valeur='%d' WHERE caisse='%s'", rnd.IntN(9), till),
		"INSERT OR IGNORE INTO caisse VALUES('ACME','004')",
		"UPDATE article SET prix=prix+1",
	}[rnd.IntN(10)]
}

// TestFilterKilled: killed in the middle of the filter, before and after it
// has deleted, the database is as before the batch; the next run goes on.
func TestFilterKilled(t *testing.T) {
	if place := os.Getenv("CAISSEAUTO_TEST_FILTER"); place != "" {
		till := openTill(t, os.Getenv("CAISSEAUTO_TEST_DB"), TillOptions{Rules: rulesOfTill("001"), StageDir: t.TempDir()})
		till.hook = func(at string) {
			if at == place {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Kill()
				select {}
			}
		}
		_, err := ruledDelta(t).apply(till)
		t.Fatal("not killed", err)
	}
	for _, place := range []string{"filter", "filtered", "commit"} {
		w := newRuled(t, rulesOfTill, "001")
		w.seal(false)
		w.must("001")
		till := w.tills["001"]
		path, was := till.conn.Path(), dumpLive(t, till.conn)
		cmd := exec.Command(os.Args[0], "-test.run=^TestFilterKilled$")
		cmd.Env = append(os.Environ(), "CAISSEAUTO_TEST_FILTER="+place, "CAISSEAUTO_TEST_DB="+path)
		if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "not killed") {
			t.Fatalf("%v: %s", err, out)
		}
		if d := cmp.Diff(was, dumpLive(t, till.conn)); d != "" {
			t.Errorf("killed at %s:\n%s", place, d)
		}
		if got, err := ruledDelta(t).apply(till); err != nil || got.Filtered == 0 {
			t.Errorf("after it: %+v, %v", got, err)
		}
	}
}

// ruledDelta is a batch 2 that detaches V1 from till 001 and changes prices.
func ruledDelta(t *testing.T) *testBatch {
	t.Helper()
	w := newRuled(t, rulesOfTill)
	w.seal(false)
	w.db.do("UPDATE article SET prix=prix+1; DELETE FROM utilisateur_caisse WHERE utilisateur='V1' AND caisse='001'")
	w.seal(false)
	return w.batch
}
