package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA3/EuUkzvGyVbIHhL6NFhFA4d0ooURFXwXQACsoiwas a@example"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOLmQfcUFsFo0eY+h2oYOLlQQrcuvDGDNjmhJTJYCQ5o b@example"
	keyC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIMIUWQlzEBrRA4mZQOxt9pLC1x4zm+gWVsrev2b00Td c@example"
)

// serverDoc is the example of the manual, with a bit of everything else.
const serverDoc = `
[database]
driver = "sqlite"
dsn    = "erp.db"
[drop]
url = "file:drop"
[signing]
principal = "server@acme"
key       = "keys/server"
[trust]
allowed_signers = "allowed_signers"

[[dossier]]
code = "ACME"
  [[dossier.table]]
  name      = "article"
  direction = "down"
  dossier_column = "dossier"
  exclude   = ["purchase_price"]
  capture   = "columns"
  [[dossier.table]]
  name      = "client"
  direction = "both"
  conflict  = "newest"

[[process]]
name = "export_caisseauto_acme"
action = "export"
dossier = "ACME"
every = "5m"

[head]
expires = "7d"

[serve]
listen = ":2022"
host_key = "keys/ssh_host"
[[serve.user]]
name = "till-017"
dossier = "ACME"
till = "017"
key = "` + keyA + `"
[[serve.user]]
name = "server"
writer = true
key = ["` + keyB + `"]
`

const tillDoc = `
[till]
number       = "017"
default_user = "CAISSE017"
service_user = "SYNC"
registry     = { table = "caisse", key = "numero" }
[users]
table = "utilisateur"
key   = "code"
attachment = { table = "utilisateur_caisse", user = "utilisateur", till = "caisse" }
[database]
dsn    = "till.db"
outbox = "MICPTRACK"
`

func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// parsed leaves out what is derived by another library.
var parsed = cmpopts.IgnoreFields(Drop{}, "HostKeys")

func TestLoadServer(t *testing.T) {
	path := put(t, "server.toml", serverDoc)
	dir := filepath.Dir(path)
	got, err := LoadServer(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Server{
		Common: Common{
			File:     path,
			Database: Database{Driver: "sqlite", DSN: filepath.Join(dir, "erp.db")},
			Drop:     Drop{URL: "file:drop", Folder: filepath.Join(dir, "drop")},
			Signing:  Signing{Principal: "server@acme", Key: filepath.Join(dir, "keys", "server")},
			Trust:    Trust{AllowedSigners: filepath.Join(dir, "allowed_signers")},
			Paths:    Paths{Outbox: filepath.Join(dir, "outbox"), Inbox: filepath.Join(dir, "inbox"), Stage: filepath.Join(dir, "stage")},
			Head:     Head{Expires: Duration{7 * 24 * time.Hour}},
			Processes: []Process{{Name: "export_caisseauto_acme", Action: "export", Dossier: "ACME",
				Every: Duration{5 * time.Minute}}},
		},
		Dossiers: []Dossier{{Code: "ACME", Tables: []Table{
			{Name: "article", Direction: "down", DossierColumn: "dossier", Exclude: []string{"purchase_price"}, Capture: "columns"},
			{Name: "client", Direction: "both", Capture: "key", Conflict: "newest"},
		}}},
		Serve: &Serve{Listen: ":2022", HostKey: filepath.Join(dir, "keys", "ssh_host"), Root: filepath.Join(dir, "drop"),
			Users: []ServeUser{
				{Name: "till-017", Dossier: "ACME", Till: "017", Keys: PublicKeys{keyA}},
				{Name: "server", Writer: true, Keys: PublicKeys{keyB}},
			}},
	}
	if diff := cmp.Diff(want, got, parsed); diff != "" {
		t.Error(diff)
	}
}

func TestLoadTill(t *testing.T) {
	path := put(t, "till.toml", tillDoc)
	dir := filepath.Dir(path)
	got, err := LoadTill(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Till{
		Common: Common{
			File:     path,
			Database: Database{Driver: "sqlite", DSN: filepath.Join(dir, "till.db"), Outbox: "MICPTRACK"},
			Signing:  Signing{Key: filepath.Join(dir, "keys", "till")},
			Trust:    Trust{AllowedSigners: filepath.Join(dir, "allowed_signers")},
			Paths:    Paths{Outbox: filepath.Join(dir, "outbox"), Inbox: filepath.Join(dir, "inbox"), Stage: filepath.Join(dir, "stage")},
			Head:     Head{Expires: Duration{24 * time.Hour}},
		},
		Identity: Identity{Number: "017", DefaultUser: "CAISSE017", ServiceUser: "SYNC", Registry: &Registry{Table: "caisse", Key: "numero"}},
		Users: &Users{Table: "utilisateur", Key: "code",
			Attachment: &Attachment{Table: "utilisateur_caisse", User: "utilisateur", Till: "caisse"}},
		Schema: Schema{MissingColumn: "refuse", ChangedType: "refuse", NotNull: "refuse"},
		Sync:   Sync{MaxBackoff: Duration{5 * time.Minute}},
	}
	if diff := cmp.Diff(want, got, parsed); diff != "" {
		t.Error(diff)
	}
}

// The ERP's own names of the actions may be written in place of ours.
func TestActionsByTheirERPNames(t *testing.T) {
	s, err := LoadServer(put(t, "server.toml", strings.Replace(serverDoc, `action = "export"`, `action = "Extraction"`, 1)))
	if err != nil || s.Processes[0].Action != ActionExport {
		t.Error(s, err)
	}
	doc := tillDoc + "[update]\n[[update.product]]\nname = \"caisse\"\n"
	for _, name := range []string{"import_caisseauto", "synchroniseur", "import_updatecaisse"} {
		doc += "[[process]]\nname = \"" + name + "\"\naction = \"" + name + "\"\n"
	}
	p, err := LoadTill(put(t, "till.toml", doc))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{ActionImport, ActionSync, ActionUpdate} {
		if p.Processes[i].Action != want {
			t.Errorf("%+v, want %s", p.Processes[i], want)
		}
	}
}

// A till needs nothing but a number and a dossier.
func TestLeastTill(t *testing.T) {
	path := put(t, "till.toml", "[till]\nnumber = \"A1\"\ndossier = \"ACME\"\n")
	got, err := LoadTill(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Signing.Principal != "till-a1@acme" {
		t.Errorf("principal %q", got.Signing.Principal)
	}
	if want := filepath.Join(filepath.Dir(path), "till.db"); got.Database.DSN != want {
		t.Errorf("dsn %q, want %q", got.Database.DSN, want)
	}
	var e *Error
	if err := got.NeedDrop(); !errors.As(err, &e) || e.Key != "drop.url" || e.Hint == "" {
		t.Errorf("NeedDrop: %v", err)
	}
	if err := got.NeedSigning(); err != nil {
		t.Errorf("NeedSigning: %v", err)
	}
}

func TestPaths(t *testing.T) {
	dir := filepath.FromSlash("/etc/caisseauto")
	at := func(p string) string { return filepath.FromSlash(p) }
	for _, tt := range []struct{ dsn, url, wantDSN, wantFolder string }{
		{"erp.db", "file:drop", "/etc/caisseauto/erp.db", "/etc/caisseauto/drop"},
		{"../erp.db", "file:../drop/", "/etc/erp.db", "/etc/drop"},
		{"file:erp.db", "file:./drop", "/etc/caisseauto/erp.db", "/etc/caisseauto/drop"},
		{"file:/srv/erp.db", "file:/srv/drop", "/srv/erp.db", "/srv/drop"},
		{"file:///srv/erp.db", "file:///srv/drop", "/srv/erp.db", "/srv/drop"},
		{"/srv/été et hiver.db", "file:/srv/100%25 # drop", "/srv/été et hiver.db", "/srv/100%25 # drop"},
	} {
		doc := "[database]\ndsn = " + quote(tt.dsn) + "\n[drop]\nurl = " + quote(tt.url) + "\n[[dossier]]\ncode = \"A\"\n"
		s, err := parseServer("server.toml", filepath.Join(dir, "server.toml"), []byte(doc))
		if err != nil {
			t.Errorf("%q %q: %v", tt.dsn, tt.url, err)
			continue
		}
		if s.Database.DSN != at(tt.wantDSN) || s.Drop.Folder != at(tt.wantFolder) {
			t.Errorf("%q %q: got %q %q", tt.dsn, tt.url, s.Database.DSN, s.Drop.Folder)
		}
	}
}

func TestSFTPDrop(t *testing.T) {
	doc := `[till]
number = "017"
dossier = "ACME"
[drop]
url = "sftp://till-017@[2001:db8::1]:2022/srv/drop/"
host_key = ["` + keyA + `", "` + keyB + `"]
`
	path := put(t, "till.toml", doc)
	got, err := LoadTill(path)
	if err != nil {
		t.Fatal(err)
	}
	d := got.Drop
	if d.Host != "[2001:db8::1]:2022" || d.User != "till-017" || d.Path != "/srv/drop" || len(d.HostKeys) != 2 || d.Local() {
		t.Errorf("%+v", d)
	}
	if d.Key != filepath.Join(filepath.Dir(path), "keys", "till") {
		t.Errorf("login key %q", d.Key)
	}
}

func TestByteOrderMark(t *testing.T) {
	path := put(t, "server.toml", "\xef\xbb\xbf"+strings.ReplaceAll(serverDoc, "\n", "\r\n"))
	if _, err := LoadServer(path); err != nil {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Find(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	till := filepath.Join(dir, TillFile)
	if err := os.WriteFile(till, []byte(tillDoc), 0o600); err != nil {
		t.Fatal(err)
	}
	if path, role, err := Find(dir); path != till || role != RoleTill || err != nil {
		t.Errorf("till only: %q %q %v", path, role, err)
	}
	release := filepath.Join(dir, ReleaseFile)
	if err := os.WriteFile(release, []byte(releaseDoc), 0o600); err != nil {
		t.Fatal(err)
	}
	if path, role, err := Find(dir); path != till || role != RoleTill || err != nil {
		t.Errorf("till and release: %q %q %v", path, role, err)
	}
	server := filepath.Join(dir, ServerFile)
	if err := os.WriteFile(server, []byte(serverDoc), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("both: %v", err)
	}
	if err := os.Remove(till); err != nil {
		t.Fatal(err)
	}
	if path, role, err := Find(dir); path != server || role != RoleServer || err != nil {
		t.Errorf("server and release: %q %q %v", path, role, err)
	}
	if err := os.Remove(server); err != nil {
		t.Fatal(err)
	}
	if path, role, err := Find(dir); path != release || role != RoleRelease || err != nil {
		t.Errorf("release only: %q %q %v", path, role, err)
	}
}

func TestRoleOf(t *testing.T) {
	asRelease := replace(t, serverDoc, "server@acme", "release@acme")
	for path, want := range map[string]Role{
		put(t, "till.toml", tillDoc): RoleTill, put(t, "server.toml", serverDoc): RoleServer, put(t, "release.toml", releaseDoc): RoleRelease,
		put(t, "x.toml", tillDoc): RoleTill, put(t, "x.toml", serverDoc): RoleServer, put(t, "x.toml", releaseDoc): RoleRelease,
		put(t, "x.toml", "\xef\xbb\xbf"+tillDoc): RoleTill, put(t, "till.toml", "[["): RoleTill, put(t, "release.toml", "[["): RoleRelease,
		put(t, "server.toml", asRelease): RoleServer, put(t, "release.toml", tillDoc): RoleTill, put(t, "x.toml", ""): RoleServer,
	} {
		if role, err := RoleOf(path); role != want || err != nil {
			t.Errorf("%s: %q %v", path, role, err)
		}
	}
}

func TestDossier(t *testing.T) {
	s := &Server{Dossiers: []Dossier{{Code: "ACME"}}}
	if d, err := s.Dossier(""); err != nil || d.Code != "ACME" {
		t.Errorf("%v %v", d, err)
	}
	s.Dossiers = append(s.Dossiers, Dossier{Code: "BETA"})
	if d, err := s.Dossier("BETA"); err != nil || d.Code != "BETA" {
		t.Errorf("%v %v", d, err)
	}
	for _, code := range []string{"", "acme", "GAMMA"} {
		if _, err := s.Dossier(code); err == nil || !strings.Contains(err.Error(), "--dossier ACME or BETA") {
			t.Errorf("%q: %v", code, err)
		}
	}
}

func TestPostgresAtUse(t *testing.T) {
	path := put(t, "server.toml", "[database]\ndriver = \"postgres\"\ndsn = \"host=/run/postgresql dbname=erp\"\n[[dossier]]\ncode = \"A\"\n")
	s, err := LoadServer(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Database.DSN != "host=/run/postgresql dbname=erp" {
		t.Errorf("dsn %q", s.Database.DSN)
	}
	var e *Error
	if _, err := s.SQLite(); !errors.As(err, &e) || !strings.Contains(e.Problem, "works on an SQLite database") {
		t.Errorf("%v", err)
	}
}

// A dossier's schema is that of its tables, but for those that name another.
func TestSchemas(t *testing.T) {
	const doc = "[database]\ndriver = \"postgres\"\ndsn = \"dbname=erp\"\n[[dossier]]\ncode = \"A\"\nschema = \"acme\"\n" +
		"[[dossier.table]]\nname = \"article\"\n[[dossier.table]]\nname = \"tva\"\nschema = \"Commun é\"\n"
	s, err := LoadServer(put(t, "server.toml", doc))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Dossiers[0].Tables[0].Schema + " " + s.Dossiers[0].Tables[1].Schema; got != "acme Commun é" {
		t.Error(got)
	}
	_, err = LoadServer(put(t, "server.toml", strings.Replace(doc, "driver = \"postgres\"", "driver = \"sqlite\"", 1)))
	refused(t, err, 6, "dossier.schema", "no schemas")
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	_, err := LoadServer(filepath.Join(dir, "none.toml"))
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(e.Hint, "init server") || e.ExitCode() != 2 {
		t.Errorf("missing file: %v", err)
	}
	if _, err := LoadTill(dir); !errors.As(err, &e) {
		t.Errorf("a folder: %v", err)
	}
	big := put(t, "server.toml", strings.Repeat("#\n", maxFile))
	if _, err := LoadServer(big); !errors.As(err, &e) {
		t.Errorf("large file: %v", err)
	}
}

func TestAgent(t *testing.T) {
	path := put(t, "server.toml", "[database]\ndsn = \"x\"\n[signing]\nprincipal = \"server@acme\"\nagent = true\n[[dossier]]\ncode = \"A\"\n")
	s, err := LoadServer(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Signing.Key != "" || !s.Signing.Agent {
		t.Errorf("%+v", s.Signing)
	}
	if p, err := s.SQLite(); err != nil || p != filepath.Join(filepath.Dir(path), "x") {
		t.Errorf("%q %v", p, err)
	}
}

// A process of a till belongs to the till's dossier, whether it says so or not.
func TestTillProcess(t *testing.T) {
	doc := "[till]\nnumber = \"1\"\ndossier = \"ACME\"\n[[process]]\nname = \"p\"\naction = \"import\"\n"
	got, err := LoadTill(put(t, "till.toml", doc))
	if err != nil || got.Processes[0].Dossier != "ACME" {
		t.Errorf("%+v %v", got, err)
	}
	_, err = LoadTill(put(t, "till.toml", doc+"dossier = \"BETA\"\n"))
	refused(t, err, 7, "process.dossier", "not the till's dossier")
}
