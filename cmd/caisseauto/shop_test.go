package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A shop is a server, a drop and two tills in one folder, with the retail
// schema. Both tills have imported batch 1, and sold nothing yet.
type shop struct {
	world
}

var shopTemplate = sync.OnceValues(buildShop)

var shopTills = []string{"001", "002"}

func newShop(t *testing.T) *shop {
	t.Helper()
	if raceEnabled && t.Name() != "TestShopOneTillsTrouble" && t.Name() != "TestShopShipAndFetch" {
		t.Skip("hundreds of commands in one process, which the race detector makes ten times slower: scripts/test runs it without")
	}
	src, err := shopTemplate()
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{world: world{t: t, dir: t.TempDir()}}
	if err := os.CopyFS(s.dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"server/keys/server", "till-001/keys/till", "till-002/keys/till"} {
		if err := os.Chmod(s.path(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// onEach runs a test of a shop with each kind of ERP database.
func onEach(t *testing.T, test func(*testing.T, func(*testing.T) *shop)) {
	for _, kind := range slices.Sorted(maps.Keys(shopKinds)) {
		t.Run(kind, func(t *testing.T) { test(t, shopKinds[kind]) })
	}
}

// refuseLine makes the ERP refuse the lines of a ticket, in these words, until
// it is called again with none.
func (s *shop) refuseLine(ticket int, words string) {
	s.t.Helper()
	switch {
	case s.erp == nil && words == "":
		s.sql(erpFile, "DROP TRIGGER closed")
	case s.erp == nil:
		s.sql(erpFile, fmt.Sprintf("CREATE TRIGGER closed BEFORE INSERT ON ticket_ligne WHEN new.ticket = %d BEGIN SELECT RAISE(ABORT, '%s'); END", ticket, words))
	case words == "":
		s.sql(erpFile, "DROP TRIGGER closed ON ticket_ligne; DROP FUNCTION closed")
	default:
		s.sql(erpFile, fmt.Sprintf(`CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%s'; END $$;
			CREATE TRIGGER closed BEFORE INSERT ON ticket_ligne FOR EACH ROW WHEN (new.ticket = %d) EXECUTE FUNCTION closed()`, words, ticket))
	}
}

const shopServer = `[database]
dsn = "erp.db"
[drop]
url = "file:../drop"
[signing]
principal = "server@acme"
key = "keys/server"
[trust]
allowed_signers = "allowed_signers"
[[dossier]]
code = "ACME"
  [[dossier.table]]
  name = "caisse"
  dossier_column = "dossier"
  [[dossier.table]]
  name = "client"
  dossier_column = "dossier"
  direction = "both"
  conflict = "newest"
  version_column = "modifie_le"
  [[dossier.table]]
  name = "ticket"
  dossier_column = "dossier"
  direction = "up"
  append = true
  totals = ["total_ttc"]
  [[dossier.table]]
  name = "ticket_ligne"
  dossier_column = "dossier"
  direction = "up"
  append = true
  totals = ["montant"]
  [[dossier.table]]
  name = "reglement"
  dossier_column = "dossier"
  direction = "up"
  append = true
  totals = ["montant"]
  [[dossier.table]]
  name = "jet"
  dossier_column = "dossier"
  direction = "up"
  append = true
`

const shopTill = `[till]
number = "%s"
dossier = "ACME"
[database]
dsn = "till.db"
[drop]
url = "file:../drop"
[trust]
allowed_signers = "allowed_signers"
[jet]
`

// shopRows are what the server holds at first.
const shopRows = `INSERT INTO client(dossier, code, nom, modifie_le) VALUES('ACME','C1','Martin','2026-01-01T00:00:00Z'),
	('ACME','C2','Petit','2026-01-01T00:00:00Z'), ('BRAVO','C1','Autre','');
INSERT INTO caisse(dossier, numero, libelle) VALUES('ACME','001','caisse'), ('ACME','002','caisse');`

func buildShop() (dir string, err error) {
	dir, err = os.MkdirTemp("", "caisseauto-shop")
	if err != nil {
		return "", err
	}
	templateDirs = append(templateDirs, dir)
	pub, err := keys.Generate(mustDir(dir, "server/keys")+"/server", "server@acme")
	if err != nil {
		return "", err
	}
	line := keys.AllowedLine([]string{"server@acme"}, serverNamespaces, pub, "") + "\n"
	signers := line
	files := map[string]string{"server/server.toml": shopServer}
	for _, n := range shopTills {
		pub, err := keys.Generate(mustDir(dir, "till-"+n+"/keys")+"/till", "till-"+n)
		if err != nil {
			return "", err
		}
		signers += keys.AllowedLine([]string{"till-" + n + "@acme"}, tillNamespaces, pub, "") + "\n"
		files["till-"+n+"/till.toml"] = fmt.Sprintf(shopTill, n)
		files["till-"+n+"/allowed_signers"] = line
	}
	files["server/allowed_signers"] = signers
	mustDir(dir, "drop")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for _, db := range []string{"server/erp.db", "till-001/till.db", "till-002/till.db"} {
		c, err := sqlite3.Open(filepath.Join(dir, db), sqlite3.Create)
		if err != nil {
			return "", err
		}
		if err = retail.CreateSchema(c); err == nil && strings.HasPrefix(db, "server") {
			err = c.Exec(shopRows)
		}
		if c.Close(); err != nil {
			return "", err
		}
	}
	server := filepath.Join(dir, "server/server.toml")
	steps := [][]string{{"init", "server", "--config", server}, {"export", "--config", server}}
	for _, n := range shopTills {
		till := filepath.Join(dir, "till-"+n, "till.toml")
		steps = append(steps, []string{"init", "till", "--config", till}, []string{"import", "--config", till})
	}
	for _, args := range steps {
		var out bytes.Buffer
		if code := run(context.Background(), args, strings.NewReader(""), &out, &out); code != 0 {
			return "", fmt.Errorf("%v: exit code %d: %s", args, code, out.String())
		}
	}
	return dir, nil
}

func mustDir(dir, name string) string {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		panic(err)
	}
	return path
}

// sale is one ticket with two lines and a payment, as a POS writes it: in one
// transaction.
func sale(till string, number int) string {
	return fmt.Sprintf(`BEGIN IMMEDIATE;
INSERT INTO ticket(dossier,caisse,numero,horodatage,utilisateur,total_ht,total_tva,total_ttc) VALUES('ACME','%[1]s',%[2]d,'2026-02-03T10:00:00Z','U1',1000+%[2]d,200,1200+%[2]d);
INSERT INTO ticket_ligne(dossier,caisse,ticket,ligne,article,libelle,quantite,prix,taux_tva,montant) VALUES('ACME','%[1]s',%[2]d,1,'A','Café',1000,700,2000,700+%[2]d),('ACME','%[1]s',%[2]d,2,'B','Thé',1000,500,2000,500);
INSERT INTO reglement(dossier,caisse,ticket,rang,moyen,montant) VALUES('ACME','%[1]s',%[2]d,1,'CB',1200+%[2]d);
COMMIT;`, till, number)
}

// sell sells tickets from..to on a till.
func (s *shop) sell(till string, from, to int) {
	s.t.Helper()
	for n := from; n <= to; n++ {
		s.sql("till-"+till+"/till.db", sale(till, n))
	}
}

func (s *shop) config(side string) string {
	if side == "server" {
		return s.path("server/server.toml")
	}
	return s.path("till-" + side + "/till.toml")
}

// on runs a command on the server or on a till.
func (s *shop) on(side, command string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return s.run(append([]string{command, "--config", s.config(side)}, args...)...)
}

// must runs a command that has to end with 0.
func (s *shop) must(side, command string, args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.on(side, command, args...)
	if code != 0 {
		s.t.Fatalf("%s: %s %v: exit code %d: %s", side, command, args, code, stderr)
	}
	return stdout
}

// fails runs a command that has to end with code and an error with every word
// of says.
func (s *shop) fails(want int, side, command string, says ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.on(side, command)
	if code != want {
		s.t.Fatalf("%s: %s: exit code %d, want %d: %s%s", side, command, code, want, stdout, stderr)
	}
	for _, word := range says {
		if !strings.Contains(stderr, word) {
			s.t.Errorf("%s: %s: the error does not say %q: %s", side, command, word, stderr)
		}
	}
	return stderr
}

// exchange lets everything travel to its end, the receipts and what they cause
// included.
func (s *shop) exchange() {
	s.t.Helper()
	for range 2 {
		for _, n := range shopTills {
			s.must(n, "sync")
		}
		s.must("server", "collect")
		s.must("server", "export")
		for _, n := range shopTills {
			s.must(n, "import")
		}
	}
	for _, n := range shopTills {
		s.must(n, "sync")
	}
}

var upTables = []string{"ticket", "ticket_ligne", "reglement", "jet"}

// values returns the rows of a table as text, by value and type.
func (s *shop) values(file, table, where string) []string {
	s.t.Helper()
	var list []string
	for _, row := range s.rows(file, "SELECT * FROM "+table+" WHERE "+where+" ORDER BY 1,2,3,4") {
		var b strings.Builder
		for _, v := range row {
			fmt.Fprintf(&b, "%d:%d:%v:%q|", v.Kind, v.Int, v.Real, v.Bytes)
		}
		list = append(list, b.String())
	}
	return list
}

// rows returns the rows of a query.
func (w *world) rows(file, sql string) (list [][]change.Value) {
	w.t.Helper()
	if file == erpFile && w.erp != nil {
		return w.erp.rows(sql)
	}
	c, err := sqlite3.Open(w.path(file), sqlite3.ReadWrite) // a killed process may have left a hot journal
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.BusyTimeout(10 * time.Second) // the program may be at work
	err = c.Query(sql, func(r *sqlite3.Stmt) error {
		row := make([]change.Value, r.Columns())
		for i := range row {
			row[i] = r.Value(i)
			row[i].Bytes = bytes.Clone(row[i].Bytes)
		}
		list = append(list, row)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// count returns what one query counts.
func (s *shop) count(file, sql string) (n int64) {
	s.t.Helper()
	for _, row := range s.rows(file, sql) {
		n = row[0].Int
	}
	return n
}

// complete checks that the server holds exactly the tills' tickets and events.
func (s *shop) complete() {
	s.t.Helper()
	for _, table := range upTables {
		var want []string
		for _, n := range shopTills {
			want = append(want, s.values("till-"+n+"/till.db", table, "caisse='"+n+"'")...)
		}
		if d := cmp.Diff(want, s.values("server/erp.db", table, "dossier='ACME'")); d != "" {
			s.t.Errorf("%s: the server does not hold what the tills do (-tills +server):\n%s", table, d)
		}
	}
}

// up is the path of a file of a till's stream on the drop.
func (s *shop) up(till, name string) string { return s.path("drop/ACME/up/" + till + "/" + name) }

// key is the signing key of the server or of a till.
func (s *shop) key(side string) keys.Signer {
	s.t.Helper()
	path := "till-" + side + "/keys/till"
	if side == "server" {
		path = "server/keys/server"
	}
	k, err := keys.Load(s.path(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// restate changes a signed statement and signs it anew.
func (s *shop) restate(path string, into any, change func(), by keys.Signer, namespace string) {
	s.t.Helper()
	if err := json.Unmarshal(s.read(path), into); err != nil {
		s.t.Fatal(err)
	}
	change()
	doc := s.encode(into)
	sig, err := by.Sign(doc, namespace)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(path, doc)
	s.write(path+".sig", sig)
}

// remanifest changes the manifest of a till's batch on the drop.
func (s *shop) remanifest(till string, n int64, by keys.Signer, change func(*manifest.Manifest)) {
	s.t.Helper()
	var m manifest.Manifest
	s.restate(s.up(till, name(n, manifest.ManifestExt)), &m, func() { change(&m) }, by, keys.NamespaceTickets)
}

// text returns the one value of a query, which is a text.
func (w *world) text(file, sql string) (v string) {
	w.t.Helper()
	for _, row := range w.rows(file, sql) {
		v = string(row[0].Bytes)
		if row[0].Kind == change.Integer {
			v = fmt.Sprint(row[0].Int)
		}
	}
	return v
}

// rehead makes the head of a till's stream name another batch, with the till's
// own key and a higher counter.
func (s *shop) rehead(till string, sequence int64, digest string) {
	s.t.Helper()
	path := s.up(till, manifest.HeadName)
	doc := string(s.read(path))
	for _, f := range [][2]string{{`"sequence": \d+`, fmt.Sprintf(`"sequence": %d`, sequence)}, {`"issue": (\d+)`, `"issue": ${1}9`}} {
		at := regexp.MustCompile(f[0]).FindStringIndex(doc)
		doc = doc[:at[0]] + regexp.MustCompile(f[0]).ReplaceAllString(doc[at[0]:at[1]], f[1]) + doc[at[1]:]
	}
	own := doc
	if i := strings.Index(doc, `"applied"`); i >= 0 {
		own = doc[:i]
	}
	doc = regexp.MustCompile(`"manifest_sha256": "[0-9a-f]+"`).ReplaceAllString(own, fmt.Sprintf(`"manifest_sha256": "%s"`, digest)) + doc[len(own):]
	sig, err := s.key(till).Sign([]byte(doc), keys.NamespaceHead)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(path, []byte(doc))
	s.write(path+".sig", sig)
}
