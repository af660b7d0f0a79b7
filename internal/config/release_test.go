package config

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const releaseDoc = `
[drop]
url = "file:drop"
[signing]
principal = "release@acme"
[trust]
allowed_signers = "allowed_signers"
[paths]
outbox = "sealed"
[head]
expires = "60d"
[[dossier]]
code = "ACME"
[[dossier]]
code = "BETA"
`

func TestLoadRelease(t *testing.T) {
	path := put(t, "release.toml", releaseDoc)
	dir := filepath.Dir(path)
	got, err := LoadRelease(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Release{
		Common: Common{
			File:    path,
			Drop:    Drop{URL: "file:drop", Folder: filepath.Join(dir, "drop")},
			Signing: Signing{Principal: "release@acme", Key: filepath.Join(dir, "keys", "release")},
			Trust:   Trust{AllowedSigners: filepath.Join(dir, "allowed_signers")},
			Paths:   Paths{Outbox: filepath.Join(dir, "sealed")},
			Head:    Head{Expires: Duration{60 * 24 * time.Hour}},
		},
		Dossiers: []ReleaseDossier{{Code: "ACME"}, {Code: "BETA"}},
	}
	if diff := cmp.Diff(want, got, parsed); diff != "" {
		t.Error(diff)
	}
	if d, err := got.Dossier("BETA"); err != nil || d.Code != "BETA" {
		t.Errorf("%v %v", d, err)
	}
	for _, code := range []string{"", "acme", "GAMMA"} {
		_, err := got.Dossier(code)
		refused(t, err, 0, "dossier", "--dossier ACME or BETA")
	}
}

// A release manager needs a name and a dossier; the head of packages is good
// for longer than a server's.
func TestLeastRelease(t *testing.T) {
	path := put(t, "release.toml", "[signing]\nprincipal = \"release@acme\"\n[[dossier]]\ncode = \"ACME\"\n")
	got, err := LoadRelease(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if got.Head.Expires.Duration != 720*time.Hour || got.Paths.Outbox != filepath.Join(dir, "outbox") || got.Signing.Key != filepath.Join(dir, "keys", "release") {
		t.Errorf("%+v", got.Common)
	}
	if d, err := got.Dossier(""); err != nil || d.Code != "ACME" {
		t.Errorf("%v %v", d, err)
	}
	refused(t, got.NeedDrop(), 0, "drop.url", "missing")
	got, err = LoadRelease(put(t, "release.toml", "[signing]\nprincipal = \"release@acme\"\nagent = true\n[[dossier]]\ncode = \"ACME\"\n"))
	if err != nil || got.Signing.Key != "" {
		t.Errorf("%+v %v", got, err)
	}
	got, err = LoadRelease(put(t, "release.toml", replace(t, releaseDoc, "file:drop", "sftp://release@drop.example/\"\nhost_key = \""+keyA)))
	if err != nil || got.Drop.Key != got.Signing.Key {
		t.Errorf("%+v %v", got, err)
	}
}

var refusedReleases = []struct {
	name, old, new string
	line           int
	key            string
	says           string
}{
	{"no principal", "principal = \"release@acme\"", "", 4, "signing.principal", "missing; write [signing]"},
	{"empty principal", "release@acme", "", 5, "signing.principal", "wrong form"},
	{"a server's principal", "release@acme", "server@acme", 5, "signing.principal", `write "release@NAME"`},
	{"a till's principal", "release@acme", "till-017@acme", 5, "signing.principal", `write "release@NAME"`},
	{"principal in upper case", "release@acme", "release@ACME", 5, "signing.principal", "lower case"},
	{"a database", "[drop]", "[database]\ndsn = \"erp.db\"\n[drop]", 2, "database", "reads no database"},
	{"the ERP's table", "[drop]", "database.dsn = \"erp.db\"\n[drop]", 2, "database", "take it out"},
	{"a process", "[head]", "[[process]]\nname = \"x\"\naction = \"export\"\n[head]", 10, "process", "nothing runs by itself"},
	{"a table", "code = \"ACME\"", "code = \"ACME\"\n[[dossier.table]]\nname = \"article\"", 14, "dossier.table", "hold no rows"},
	{"an SFTP server", "[head]", "[serve]\n[head]", 10, "serve", "the server's"},
	{"what a till installs", "[head]", "[update]\nkeep = 3\n[head]", 10, "update", "till.toml"},
	{"users", "[head]", "[users]\n[head]", 10, "users", "a till's"},
	{"schema", "[head]", "[schema]\n[head]", 10, "schema", "a till's"},
	{"journal", "[head]", "[jet.codes]\n[head]", 10, "jet", "a till's"},
	{"tickets", "[head]", "[sync]\n[head]", 10, "sync", "a till's"},
	{"an inbox", "outbox = \"sealed\"", "inbox = \"x\"", 9, "paths.inbox", "nothing is fetched"},
	{"a stage", "outbox = \"sealed\"", "stage = \"x\"", 9, "paths.stage", "nothing is applied"},
	{"unknown key", "[trust]", "[thrust]", 6, "thrust", `did you mean "trust"?`},
	{"unknown key in a dossier", "code = \"ACME\"", "code = \"ACME\"\nretention = \"1d\"", 14, "dossier.retention", "the keys here are code"},
	{"syntax", "code = \"ACME\"", "code = ACME", 13, "", ""},
	{"no dossier", "[[dossier]]\ncode = \"ACME\"\n[[dossier]]\ncode = \"BETA\"\n", "", 0, "dossier", "write a table [[dossier]]"},
	{"form of a dossier", "code = \"ACME\"", "code = \"A/B\"", 13, "dossier.code", "wrong form"},
	{"dossier without code", "code = \"ACME\"", "", 12, "dossier.code", "missing"},
	{"dossier twice", "code = \"BETA\"", "code = \"acme\"", 15, "dossier.code", "there already"},
	{"the drop for an outbox", "\"sealed\"", "\"drop\"", 3, "drop.url", "working folders"},
	{"sftp without host key", "file:drop", "sftp://u@h/x", 2, "drop.host_key", "ssh-ed25519"},
	{"endless head", "60d", "4100d", 11, "head.expires", "ten years"},
}

func TestRefusedRelease(t *testing.T) {
	for _, tt := range refusedReleases {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LoadRelease(put(t, "release.toml", replace(t, releaseDoc, tt.old, tt.new)))
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
}

// Of each table that the other files may hold release.toml says why it has no
// place there, rather than that it is unknown. A table [till] makes the file a
// till's.
func TestNotInRelease(t *testing.T) {
	here := fieldsOf(reflect.TypeFor[releaseFile]())
	for _, other := range []reflect.Type{reflect.TypeFor[Server](), reflect.TypeFor[Till]()} {
		for key := range fieldsOf(other) {
			if _, ok := here[key]; !ok && notInRelease[key] == "" && key != "till" {
				t.Errorf("%s: no reason", key)
			}
		}
	}
}
