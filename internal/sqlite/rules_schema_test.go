package sqlite

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// handRules are the rules of a till 017 of the tables u and a.
func handRules() *Rules {
	return &Rules{Till: "017", ServiceUser: "SYNC", Users: &UserRules{Table: "u", Key: "code", AttachmentTable: "a", AttachmentUser: "u", AttachmentTill: "c"}}
}

// handBatch is a batch of those tables; u and a are rows of them.
func handBatch(p manifest.Position, scope manifest.Scope, u, a [][]any) *testBatch {
	b := newBatch(p)
	b.table("u", scope, []string{"code"}, []string{"code", "nom"})
	b.table("a", scope, []string{"u", "c"}, []string{"u", "c"})
	b.rows("u", change.Upsert, []string{"code", "nom"}, u...)
	slices.SortFunc(a, func(x, y []any) int { return cmp.Compare(fmt.Sprint(x...), fmt.Sprint(y...)) }) // as a server does
	b.rows("a", change.Upsert, []string{"u", "c"}, a...)
	return b
}

// TestRulesSchemas: first load, delta, whole tables in a delta and a baseline,
// whatever the tables are like.
func TestRulesSchemas(t *testing.T) {
	for name, tt := range map[string]struct {
		u, a   string
		number any // of till 017, as the server sends it
		other  any
		folded bool // attachments spell the users in lower case
	}{
		"plain":          {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT, c TEXT, PRIMARY KEY(u, c))", "017", "018", false},
		"cascade":        {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT REFERENCES u(code) ON DELETE CASCADE ON UPDATE CASCADE, c TEXT, PRIMARY KEY(u, c))", "017", "018", false},
		"no cascade":     {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT REFERENCES u, c TEXT, PRIMARY KEY(u, c))", "017", "018", false},
		"without rowid":  {"code TEXT PRIMARY KEY NOT NULL, nom) WITHOUT ROWID", "u TEXT REFERENCES u, c TEXT, PRIMARY KEY(u, c)) WITHOUT ROWID", "017", "018", false},
		"number":         {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT, c INTEGER, PRIMARY KEY(u, c))", 17, 18, false},
		"number as text": {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT, c INTEGER, PRIMARY KEY(u, c))", "017", "018", false},
		"upper or lower": {"code TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, nom)", "u TEXT COLLATE NOCASE REFERENCES u(code), c TEXT, PRIMARY KEY(u, c))", "017", "018", true},
		"later check":    {"code TEXT PRIMARY KEY NOT NULL, nom)", "u TEXT REFERENCES u(code) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED, c TEXT, PRIMARY KEY(u, c))", "017", "018", false},
	} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " large: ", large), func(t *testing.T) {
				till := newTill(t, "CREATE TABLE u("+tt.u+"; CREATE TABLE a("+tt.a, TillOptions{Rules: handRules()})
				streamed := false
				if large { // the first load streams, and stages are files
					till.limits = applyLimits{rows: 1, bytes: 1, indexRows: 2, stageBytes: 1, stageKeys: 1}
					till.hook = func(place string) { streamed = streamed || place == "first load" }
				}
				spell := func(s string) string {
					if tt.folded {
						return strings.ToLower(s)
					}
					return s
				}
				at := func(c any, users ...string) (rows [][]any) {
					for _, u := range users {
						rows = append(rows, []any{spell(u), c})
					}
					return rows
				}
				users := func(nom string, codes ...string) (rows [][]any) {
					for _, c := range codes {
						rows = append(rows, []any{c, nom})
					}
					return rows
				}
				apply := func(b *testBatch, wantU, wantA string) change.Applied {
					t.Helper()
					got, err := b.apply(till)
					if err != nil {
						t.Fatal(err)
					}
					if u, a := queryText(t, till.conn, "SELECT code, nom FROM u ORDER BY 1"), queryText(t, till.conn, "SELECT upper(u), c+0 FROM a ORDER BY 1, 2"); u != wantU || a != wantA {
						t.Errorf("batch %d: u %s, a %s; want %s, %s", b.p.Sequence, u, a, wantU, wantA)
					}
					return got
				}
				all := append(at(tt.number, "A", "SYNC"), at(tt.other, "B", "SYNC")...)
				first := handBatch(manifest.Position{}, manifest.Whole, users("n", "A", "B", "C", "SYNC"), all)
				apply(first, "'A','n';'SYNC','n'", "'A',17;'SYNC',17;'SYNC',18")
				if streamed != large {
					t.Errorf("the first load streamed: %v", streamed)
				}

				// C is attached and comes whole; A, who is no longer, goes.
				next := handBatch(first.p, manifest.Changes, users("late", "C"), at(tt.number, "C"))
				next.rows("a", change.Delete, []string{"u", "c"}, at(tt.number, "A")...)
				if got := apply(next, "'C','late';'SYNC','n'", "'C',17;'SYNC',17;'SYNC',18"); got.Filtered != 1 {
					t.Errorf("%+v", got)
				}

				// Whole tables in a delta, then the same as a baseline.
				all = append(at(tt.number, "B", "SYNC"), at(tt.other, "A", "B", "C", "D")...)
				whole := handBatch(next.p, manifest.Whole, users("w", "A", "B", "C", "D", "SYNC"), all)
				apply(whole, "'B','w';'SYNC','w'", "'B',17;'B',18;'SYNC',17")
				again := handBatch(whole.p, manifest.Whole, users("w", "A", "B", "C", "D", "SYNC"), all)
				again.m.Kind = manifest.Baseline
				if got := apply(again, "'B','w';'SYNC','w'", "'B',17;'B',18;'SYNC',17"); got.Inserted+got.Updated+got.Deleted+got.Filtered != 0 {
					t.Errorf("a baseline without a difference: %+v", got)
				}
			})
		}
	}
}

// TestRulesAttached: who is attached and does not come is refused where the
// attachment says that he is of this dossier, else he is told of.
func TestRulesAttached(t *testing.T) {
	w := newRuled(t, rulesOfTill, "001")
	w.s = w.db.capture(map[string]database.SourceConfig{testStream: untouched()})[testStream]
	w.seal(false)
	w.must("001")
	till := w.tills["001"]
	was := dumpLive(t, till.conn)
	w.db.do("UPDATE article SET prix=77; INSERT INTO utilisateur_caisse VALUES('ACME','V2','001','late')")
	w.seal(false)
	_, err := w.apply("001")
	if !errors.Is(err, manifest.ErrRefused) {
		t.Fatal(err)
	}
	for _, word := range []string{"till 001", "user V2", `touches = "utilisateur" for table utilisateur_caisse`, "export --baseline", "nothing was applied"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if d := gocmp.Diff(was, dumpLive(t, till.conn)); d != "" {
		t.Error(d)
	}
	w.seal(true) // the remedy
	w.must("001")
	w.want("001")

	var told strings.Builder
	other := newTill(t, "CREATE TABLE u(code TEXT PRIMARY KEY NOT NULL, nom); CREATE TABLE a(u TEXT, c TEXT, PRIMARY KEY(u, c))",
		TillOptions{Rules: handRules(), Log: slog.New(slog.NewTextHandler(&told, nil))})
	b := handBatch(manifest.Position{}, manifest.Whole, [][]any{{"SYNC", "s"}}, [][]any{{"SYNC", "017"}, {"X", "017"}})
	if _, err := b.apply(other); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "users=X") {
		t.Errorf("told %q", told.String())
	}
}

// untouched is the server's configuration without touches.
func untouched() database.SourceConfig {
	c := rulesConfig()
	for i := range c.Tables {
		c.Tables[i].Touches = ""
	}
	return c
}

// TestRulesReferred: a user to whom the POS's own rows refer cannot go; the
// batch is refused with the violation's name.
func TestRulesReferred(t *testing.T) {
	w := newRuled(t, rulesOfTill, "001")
	till := w.tills["001"]
	w.seal(false)
	w.must("001")
	if err := openPlain(t, till.conn.Path()).Exec("CREATE TABLE ticket(id INTEGER PRIMARY KEY, vendeur TEXT REFERENCES utilisateur(code)); INSERT INTO ticket VALUES(1,'V1')"); err != nil {
		t.Fatal(err)
	}
	was := dumpLive(t, till.conn)
	w.db.do("UPDATE article SET prix=78; DELETE FROM utilisateur_caisse WHERE utilisateur='V1' AND caisse='001'")
	w.seal(false)
	_, err := w.apply("001")
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "ticket") {
		t.Errorf("%v", err)
	}
	if d := gocmp.Diff(was, dumpLive(t, till.conn)); d != "" {
		t.Error(d)
	}
}

// TestRulesTwice: two imports at once apply a batch once.
func TestRulesTwice(t *testing.T) {
	w := newRuled(t, rulesOfTill, "001")
	w.seal(false)
	w.must("001")
	tills := []*Till{w.tills["001"], openTill(t, w.tills["001"].conn.Path(), TillOptions{Rules: rulesOfTill("001")})}
	for range 5 {
		w.db.do(`UPDATE article SET prix=prix+1; DELETE FROM utilisateur_caisse WHERE utilisateur='V1' AND caisse='001';
			INSERT OR IGNORE INTO utilisateur_caisse VALUES('ACME','V2','001','q')`)
		w.seal(false)
		var ready, done sync.WaitGroup
		ready.Add(len(tills))
		errs := make([]error, len(tills))
		for i, till := range tills {
			till.hook = func(place string) {
				if place == "prepared" { // both before either has the lock
					ready.Done()
					ready.Wait()
				}
			}
			done.Go(func() { _, errs[i] = w.batch.apply(till) })
		}
		done.Wait()
		if moved := []bool{errors.Is(errs[0], database.ErrMoved), errors.Is(errs[1], database.ErrMoved)}; moved[0] == moved[1] || errors.Join(errs...).Error() != errs[b2i(moved[1])].Error() {
			t.Fatalf("%v", errs)
		}
		w.want("001")
		w.db.do("DELETE FROM utilisateur_caisse WHERE utilisateur='V2' AND caisse='001'; INSERT OR IGNORE INTO utilisateur_caisse VALUES('ACME','V1','001','q')")
		for _, till := range tills {
			till.hook = func(string) {}
		}
		w.seal(false)
		w.must("001")
		w.want("001")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestRulesCost measures what the rules take of the lock's time where they
// find nothing to delete: with 1,000 users at one till each, and at many.
func TestRulesCost(t *testing.T) {
	for _, tills := range []int{1, 10} {
		till := newTill(t, fmt.Sprintf(`CREATE TABLE u(code TEXT PRIMARY KEY NOT NULL, dossier TEXT NOT NULL, nom TEXT);
			CREATE TABLE a(dossier TEXT, u TEXT NOT NULL REFERENCES u(code), c TEXT NOT NULL, PRIMARY KEY(u, c));
			CREATE TABLE caisse(numero TEXT PRIMARY KEY, dossier TEXT);
			WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) INSERT INTO u SELECT printf('U%%04d', i), 'ACME', 'nom' FROM n;
			WITH n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO a SELECT 'ACME', code, printf('%%03d', 17+i) FROM u, n;
			INSERT INTO caisse VALUES('017','ACME'),('018','ACME')`, tills-1), TillOptions{})
		till.o.Rules = &Rules{Till: "017", Dossier: "ACME", ServiceUser: "U0001", DefaultUser: "U0002", Registry: &RegistryRules{Table: "caisse", Key: "numero"},
			Users: &UserRules{Table: "u", Key: "code", AttachmentTable: "a", AttachmentUser: "u", AttachmentTill: "c"}}
		best := time.Hour
		for range 30 {
			s, err := till.ruleSet()
			if err != nil {
				t.Fatal(err)
			}
			if err := till.conn.Exec("BEGIN IMMEDIATE"); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			n, err := s.enforce(nil)
			best = min(best, time.Since(start))
			if err != nil || n != 0 {
				t.Fatalf("%d, %v", n, err)
			}
			if err := till.conn.Exec("ROLLBACK"); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("1000 users with %s attachments: %v", queryText(t, till.conn, "SELECT count(*) FROM a"), best)
		if most := 5 * time.Duration(tills) * time.Millisecond; raceSlow == 1 && best > most {
			t.Errorf("the rules took %v of the lock's time", best)
		}
	}
}

// TestRulesMoved: an attachment with a key of its own passes to another user,
// or to another till.
func TestRulesMoved(t *testing.T) {
	till := newTill(t, "CREATE TABLE u(code TEXT PRIMARY KEY NOT NULL, nom); CREATE TABLE a(id INTEGER PRIMARY KEY, u TEXT REFERENCES u(code), c TEXT)", TillOptions{Rules: handRules()})
	columns := []string{"id", "u", "c"}
	batch := func(p manifest.Position, scope manifest.Scope, op change.Op, columns []string, rows ...[]any) *testBatch {
		b := newBatch(p)
		if scope == manifest.Whole {
			b.table("u", scope, []string{"code"}, []string{"code", "nom"})
			b.rows("u", change.Upsert, []string{"code", "nom"}, []any{"SYNC", "s"}, []any{"V", "v"}, []any{"X", "x"})
		}
		b.table("a", scope, []string{"id"}, []string{"id", "u", "c"})
		b.rows("a", op, columns, rows...)
		return b
	}
	want := func(u, a string) {
		t.Helper()
		if got := []string{queryText(t, till.conn, "SELECT code FROM u ORDER BY 1"), queryText(t, till.conn, "SELECT * FROM a ORDER BY 1")}; got[0] != u || got[1] != a {
			t.Errorf("u %s, a %s; want %s, %s", got[0], got[1], u, a)
		}
	}
	first := batch(manifest.Position{}, manifest.Whole, change.Upsert, columns, []any{1, "SYNC", "017"}, []any{2, "V", "017"}, []any{3, "X", "018"})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	want("'SYNC';'V'", "1,'SYNC','017';2,'V','017'")

	passed := batch(first.p, manifest.Changes, change.Upsert, columns, []any{2, "X", "018"})
	if _, err := passed.apply(till); err != nil {
		t.Fatal(err)
	}
	want("'SYNC'", "1,'SYNC','017'")

	other := batch(passed.p, manifest.Changes, change.Patch, []string{"id", "c"}, []any{3, "019"})
	if _, err := other.apply(till); err != nil {
		t.Error(err)
	}
	mine := batch(other.p, manifest.Changes, change.Patch, []string{"id", "c"}, []any{3, "017"})
	if _, err := mine.apply(till); !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), `capture = "key"`) {
		t.Errorf("%v", err)
	}
	want("'SYNC'", "1,'SYNC','017'")
}

// TestRulesDossier: a default user who comes with another dossier is refused
// with both names, also where nothing else has changed.
func TestRulesDossier(t *testing.T) {
	rules := handRules()
	rules.Dossier, rules.DefaultUser, rules.Users.DossierColumn = "ACME", "SYNC", "nom"
	till := newTill(t, "CREATE TABLE u(code TEXT PRIMARY KEY NOT NULL, nom); CREATE TABLE a(u TEXT, c TEXT, PRIMARY KEY(u, c))", TillOptions{Rules: rules})
	first := handBatch(manifest.Position{}, manifest.Whole, [][]any{{"SYNC", "ACME"}}, [][]any{{"SYNC", "017"}})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	was := dumpLive(t, till.conn)
	refused := func(err error) {
		t.Helper()
		if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "dossier BETA") || !strings.Contains(err.Error(), "follows dossier ACME") ||
			!strings.Contains(err.Error(), "caisseauto init till --move --dossier BETA") {
			t.Errorf("%v", err)
		}
		if d := gocmp.Diff(was, dumpLive(t, till.conn)); d != "" {
			t.Error(d)
		}
	}
	_, err := handBatch(first.p, manifest.Changes, [][]any{{"SYNC", "BETA"}}, nil).apply(till)
	refused(err)
	if err := till.conn.Exec("UPDATE u SET nom='BETA'"); err != nil {
		t.Fatal(err)
	}
	was = dumpLive(t, till.conn)
	_, err = till.Settle(t.Context())
	refused(err)
}

// TestRulesRenumbered: tills of the registry have keys of their own, and swap
// numbers.
func TestRulesRenumbered(t *testing.T) {
	rules := &Rules{Till: "017", Registry: &RegistryRules{Table: "c", Key: "numero", DeleteOthers: true}}
	till := newTill(t, "CREATE TABLE c(id INTEGER PRIMARY KEY, numero TEXT UNIQUE); CREATE TABLE p(c INTEGER PRIMARY KEY REFERENCES c(id), v)", TillOptions{Rules: rules})
	batch := func(p manifest.Position, rows ...[]any) *testBatch {
		b := newBatch(p)
		b.table("c", manifest.Changes, []string{"id"}, []string{"id", "numero"})
		b.table("p", manifest.Changes, []string{"c"}, []string{"c", "v"})
		b.rows("c", change.Upsert, []string{"id", "numero"}, rows...)
		b.rows("p", change.Upsert, []string{"c", "v"}, []any{1, "one"}, []any{2, "two"})
		return b
	}
	first := batch(manifest.Position{}, []any{1, "017"}, []any{2, "018"})
	if _, err := first.apply(till); err != nil {
		t.Fatal(err)
	}
	next := batch(first.p, []any{1, "018"}, []any{2, "017"})
	if _, err := next.apply(till); err != nil {
		t.Fatal(err)
	}
	if got := queryText(t, till.conn, "SELECT * FROM c, p"); got != "2,'017',2,'two'" {
		t.Errorf("got %s", got)
	}
}

// TestRulesNamesakes: where the users' key is unique within a dossier only,
// it is the user of this dossier who counts.
func TestRulesNamesakes(t *testing.T) {
	till := newTill(t, "CREATE TABLE u(d TEXT NOT NULL, code TEXT NOT NULL, c TEXT, PRIMARY KEY(d, code))", TillOptions{Rules: &Rules{Till: "017", Dossier: "ACME", DefaultUser: "S",
		Users: &UserRules{Table: "u", Key: "code", DossierColumn: "d", TillColumn: "c"}}})
	columns := []string{"d", "code", "c"}
	p := manifest.Position{}
	for i, tt := range []struct {
		rows []any
		ok   bool
	}{{[]any{"BETA", "S", "017"}, false}, {[]any{"ACME", "S", "017"}, true}, {[]any{"AAA", "S", "017"}, true}, {[]any{"BETA", "S", "017"}, true}} {
		b := newBatch(p)
		b.table("u", manifest.Changes, columns[:2], columns)
		b.rows("u", change.Upsert, columns, tt.rows)
		_, err := b.apply(till)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, manifest.ErrRefused) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil {
			p = b.p
		}
	}
}
