package config

import (
	"errors"
	"strings"
	"testing"
)

// A key in a security token: a machine that runs by itself has no finger.
const tokenKey = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo="

// Each row replaces old by new in a document that loads, and says what the
// error must name.
var refusedServers = []struct {
	name, old, new string
	line           int
	key            string
	says           string
}{
	{"unknown key", "direction = \"down\"", "direktion = \"down\"", 17, "dossier.table.direktion", `did you mean "direction"?`},
	{"unknown table", "[trust]", "[thrust]", 10, "thrust", `did you mean "trust"?`},
	{"unknown key far from all", "dsn    = \"erp.db\"", "quelquechose = 1", 4, "database.quelquechose", "the keys here are driver, dsn, outbox"},
	{"case of a key", "code = \"ACME\"", "Code = \"ACME\"", 14, "dossier.Code", `did you mean "code"?`},
	{"case of a table", "[signing]", "[Signing]", 7, "Signing", `did you mean "signing"?`},
	{"syntax", "code = \"ACME\"", "code = ACME", 14, "", ""},
	{"duplicate key", "code = \"ACME\"", "code = \"ACME\"\ncode = \"B\"", 15, "", ""},
	{"windows path in double quotes", "dsn    = \"erp.db\"", `dsn    = "C:\work\erp.db"`, 4, "", "single quotes"},
	{"integer for text", "code = \"ACME\"", "code = 12", 14, "dossier.code", "write text in quotes"},
	{"text for a list", "exclude   = [\"purchase_price\"]", "exclude = \"purchase_price\"", 19, "dossier.table.exclude", "a list of texts"},
	{"text for a boolean", "writer = true", "writer = \"yes\"", 45, "serve.user.writer", "true or false"},
	{"table for text", "[[dossier]]\ncode = \"ACME\"", "[[dossier]]\n[dossier.code]", 0, "", ""},
	{"duration without unit", "every = \"5m\"", "every = 5", 30, "process.every", `like "5m"`},
	{"duration of nothing", "every = \"5m\"", "every = \"0s\"", 30, "", "more than zero"},
	{"endless duration", "expires = \"7d\"", "expires = \"100000000d\"", 33, "", "duration"},
	{"too often", "every = \"5m\"", "every = \"5ms\"", 30, "process.every", "too often"},
	{"no dsn", "dsn    = \"erp.db\"", "", 2, "database.dsn", "missing"},
	{"unknown driver", "driver = \"sqlite\"", "driver = \"sqllite\"", 3, "database.driver", `did you mean "sqlite"?`},
	{"memory database", "\"erp.db\"", "\":memory:\"", 4, "database.dsn", "in memory"},
	{"dsn with options", "\"erp.db\"", "\"file:erp.db?mode=ro\"", 4, "database.dsn", "options"},
	{"postgres address for sqlite", "\"erp.db\"", "\"postgres://u@h/d\"", 4, "database.dsn", `driver = "postgres"`},
	{"password in a dsn", "driver = \"sqlite\"\ndsn    = \"erp.db\"", "driver = \"postgres\"\ndsn = \"postgres://u:hunter2@h/d\"", 4, "database.dsn", "password"},
	{"password keyword in a dsn", "driver = \"sqlite\"\ndsn    = \"erp.db\"", "driver = \"postgres\"\ndsn = \"user=u password = hunter2\"", 4, "database.dsn", "password"},
	{"outbox table on a server", "dsn    = \"erp.db\"", "dsn = \"erp.db\"\noutbox = \"T\"", 5, "database.outbox", "only a till"},
	{"unknown address", "file:drop", "ftp://u:hunter2@host/x", 6, "drop.url", "sftp://user@host:port/path"},
	{"file address with a host", "file:drop", "file://u:hunter2@host/x", 6, "drop.url", "names a host"},
	{"empty path", "file:drop", "file:", 6, "drop.url", "path is missing"},
	{"sftp without host key", "file:drop", "sftp://u@h/x", 5, "drop.host_key", "ssh-ed25519"},
	{"sftp without user", "file:drop", "sftp://h/x", 6, "drop.url", "lacks its user"},
	{"sftp with password", "file:drop", "sftp://u:hunter2@h/x", 6, "drop.url", "password"},
	{"sftp with password and bad port", "file:drop", "sftp://u:hunter2@h:x/x", 6, "drop.url", "not an address"},
	{"sftp with options", "file:drop", "sftp://u@h/x?y", 6, "drop.url", "?"},
	{"sftp port", "file:drop", "sftp://u@h:99999/x", 6, "drop.url", "port"},
	{"host key of a local drop", "url = \"file:drop\"", "url = \"file:drop\"\nhost_key = \"" + keyA + "\"", 6, "drop.url", "no host key"},
	{"fingerprint", "url = \"file:drop\"", "url = \"sftp://u@h/\"\nhost_key = \"SHA256:abc\"", 7, "drop.host_key", "fingerprint"},
	{"known_hosts line", "url = \"file:drop\"", "url = \"sftp://u@h/\"\nhost_key = \"example.com " + keyA + "\"", 7, "drop.host_key", "example.com"},
	{"no key at all", "url = \"file:drop\"", "url = \"sftp://u@h/\"\nhost_key = \"ssh-ed25519 AAAA\"", 7, "drop.host_key", "not a public key"},
	{"host key twice", "url = \"file:drop\"", "url = \"sftp://u@h/\"\nhost_key = [\"" + keyA + "\", \"" + keyA + "\"]", 7, "drop.host_key", "twice"},
	{"principal in upper case", "server@acme", "server@ACME", 8, "signing.principal", "lower case"},
	{"a till's principal", "server@acme", "till-017@acme", 8, "signing.principal", "server@NAME"},
	{"a release manager's principal", "server@acme", "release@acme", 8, "signing.principal", "release.toml"},
	{"no dossier", "[[dossier]]\ncode = \"ACME\"", "[[dossier]]", 13, "dossier.code", "missing"},
	{"form of a dossier", "code = \"ACME\"", "code = \"A/B\"", 14, "dossier.code", "wrong form"},
	{"long dossier", "code = \"ACME\"", "code = \"" + strings.Repeat("A", 33) + "\"", 14, "dossier.code", "wrong form"},
	{"dossier twice", "[[process]]", "[[dossier]]\ncode = \"acme\"\n[[process]]", 27, "dossier.code", "there already"},
	{"table twice", "name      = \"client\"", "name = \"ARTICLE\"", 22, "dossier.table.name", "there already"},
	{"own table", "name      = \"client\"", "name = \"caisseauto_journal\"", 22, "dossier.table.name", "belongs to"},
	{"unknown direction", "direction = \"down\"", "direction = \"downwards\"", 17, "dossier.table.direction", "down, up or both"},
	{"empty direction", "direction = \"down\"", "direction = \"\"", 17, "dossier.table.direction", "down, up or both"},
	{"unknown capture", "capture   = \"columns\"", "capture = \"column\"", 20, "dossier.table.capture", `did you mean "columns"?`},
	{"unknown conflict", "conflict  = \"newest\"", "conflict = \"latest\"", 24, "dossier.table.conflict", "newest, server, till or hold"},
	{"conflict one way", "capture   = \"columns\"", "conflict = \"newest\"", 20, "dossier.table.conflict", "no conflicts"},
	{"append downwards", "capture   = \"columns\"", "append = true", 20, "dossier.table.append", "only tables that go up"},
	{"dossier column excluded", "\"purchase_price\"", "\"Dossier\"", 19, "dossier.table.exclude", "must travel"},
	{"column excluded twice", "\"purchase_price\"", "\"a\", \"A\"", 19, "dossier.table.exclude", "there already"},
	{"action of the other side", "action = \"export\"", "action = \"import\"", 28, "process.action", "export or collect"},
	{"a till's action by the ERP's name", "action = \"export\"", "action = \"Synchroniseur\"", 28, "process.action", "does not run on a server"},
	{"touches itself", "direction = \"down\"", "touches = \"Article\"", 17, "dossier.table.touches", "another table"},
	{"touches nothing", "direction = \"down\"", "touches = \"nowhere\"", 17, "dossier.table.touches", `no table "nowhere"`},
	{"touches_columns alone", "direction = \"down\"", "touches_columns = [\"a\"]", 17, "dossier.table.touches_columns", "nothing is touched"},
	{"a baseline every second", "code = \"ACME\"", "code = \"ACME\"\nbaseline_every = \"1s\"", 15, "dossier.baseline_every", "too often"},
	{"process of no dossier", "dossier = \"ACME\"\nevery", "dossier = \"acme\"\nevery", 29, "process.dossier", "write one of ACME"},
	{"second export process", "[head]", "[[process]]\nname = \"again\"\naction = \"export\"\n[head]", 32, "process.dossier", "export_caisseauto_acme"},
	{"process twice", "[head]", "[[process]]\nname = \"EXPORT_caisseauto_acme\"\naction = \"collect\"\n[head]", 33, "process.name", "there already"},
	{"jitter", "every = \"5m\"", "every = \"5m\"\njitter = \"1h\"", 31, "process.jitter", "longer than"},
	{"listen", "\":2022\"", "\"2022\"", 36, "serve.listen", "address and a port"},
	{"serve without a folder", "url = \"file:drop\"", "url = \"sftp://u@h/\"\nhost_key = \"" + keyA + "\"", 36, "serve.root", "root"},
	{"till and writer", "till = \"017\"", "till = \"017\"\nwriter = true", 42, "serve.user.writer", "not both"},
	{"till and release manager", "till = \"017\"", "till = \"017\"\nrelease = true", 42, "serve.user.release", "neither a till's nor the writer's"},
	{"writer and release manager", "writer = true", "writer = true\nrelease = true", 46, "serve.user.release", "neither a till's nor the writer's"},
	{"release manager of no dossier", "writer = true", "release = true\ndossier = \"B\"", 46, "serve.user.dossier", "there is no dossier"},
	{"neither till nor writer", "till = \"017\"\n", "", 38, "serve.user.till", "missing"},
	{"user of no dossier", "dossier = \"ACME\"\ntill", "dossier = \"B\"\ntill", 40, "serve.user.dossier", "there is no dossier"},
	{"one key for two users", keyB, keyA, 46, "serve.user.key", `the key of user "till-017"`},
	{"private key", keyB, "-----BEGIN OPENSSH PRIVATE KEY-----", 46, "serve.user.key", "private key"},
	{"user twice", "name = \"server\"", "name = \"TILL-017\"", 44, "serve.user.name", "there already"},
	{"one folder for two purposes", "[head]", "[paths]\noutbox = \"x\"\ninbox = \"./x\"\n[head]", 34, "paths.inbox", "same folder"},
	{"drop that is a working folder", "file:drop", "file:./outbox/", 6, "drop.url", "working folders"},
	{"empty name of a table", "name      = \"client\"", "name = \"\"", 22, "dossier.table.name", "empty"},
	{"no name of a table", "name      = \"client\"", "", 21, "dossier.table.name", "missing"},
	{"empty column excluded", "\"purchase_price\"", "\"\"", 19, "dossier.table.exclude", "entry 1 is no name"},
	{"empty path of a key", "\"keys/server\"", "\"\"", 9, "signing.key", "empty"},
	{"control characters in a path", "\"keys/server\"", "\"keys\\n\"", 9, "signing.key", "control"},
	{"control characters in an address", "file:drop", "sftp://u@h/%0Ax", 6, "drop.url", "control"},
	{"stage for two purposes", "[head]", "[paths]\nstage = \"inbox\"\n[head]", 33, "paths.stage", "same folder"},
	{"process without action", "action = \"export\"", "", 26, "process.action", "export or collect"},
	{"form of a process", "name = \"export_caisseauto_acme\"", "name = \"a b\"", 27, "process.name", "wrong form"},
	{"form of a user", "name = \"server\"", "name = \"a/b\"", 44, "serve.user.name", "wrong form"},
	{"one process for two dossiers", "dossier = \"ACME\"\nevery", "every", 26, "process.dossier", "write one of ACME or B"},
	{"one till twice", "writer = true", "dossier = \"ACME\"\ntill = \"017\"", 46, "serve.user.till", "there already"},
	{"user without key", "key = [\"" + keyB + "\"]", "", 43, "serve.user.key", "missing"},
	{"eleven years", "expires = \"7d\"", "expires = \"4100d\"", 33, "head.expires", "ten years"},
	{"table name twice on PostgreSQL", "driver = \"sqlite\"", "driver = \"postgres\"", 22, "dossier.table.name", "there already"},
	{"text for a table", "[signing]", "[head]\n[[drop.key]]\n[signing]", 0, "", ""},
	{"text for a list of tables", "[head]", "dossier = \"x\"\n[head]", 0, "", ""},
	{"list for a table", "[signing]", "[[signing]]", 0, "signing", "a table with keys"},
	{"table for a list of tables", "[[process]]", "[process]", 26, "process", "write [[process]]"},
	{"table for a list of tables, in one line", "[database]", "process = { name = \"x\", action = \"export\" }\n[database]", 2, "process", "write a [[…]] table"},
	{"dotted keys for a list of tables", "[database]", "serve.user.name = \"x\"\n[database]", 0, "", ""},
	{"table in no list of tables", "[[dossier]]\ncode = \"ACME\"\n  [[dossier.table]]", "[dossier]\ncode = \"ACME\"\n  [dossier.table]", 21, "dossier.table", "should be an array table"},
	{"number for keys", "key = \"" + keyA + "\"", "key = 5", 42, "serve.user.key", "not a public key"},
	{"list of numbers for keys", "key = \"" + keyA + "\"", "key = [5]", 42, "serve.user.key", ""},
	{"key of another kind", keyB, tokenKey, 46, "serve.user.key", "of type sk-ssh-ed25519"},
	{"UTF-16", serverDoc, "\xff\xfe[\x00d\x00", 1, "", "UTF-16"},
	{"control characters", "\"erp.db\"", "\"erp\\u0000.db\"", 4, "database.dsn", "control"},
}

var refusedTills = []struct {
	name, old, new string
	line           int
	key            string
	says           string
}{
	{"no number", "number       = \"017\"", "", 2, "till.number", "missing"},
	{"number without quotes", "\"017\"", "17", 3, "till.number", "text in quotes"},
	{"form of a number", "\"017\"", "\"0.17\"", 3, "till.number", "wrong form"},
	{"neither user nor dossier", "default_user = \"CAISSE017\"", "", 2, "till.dossier", "which stream"},
	{"unknown key in a line", "key = \"numero\"", "cle = \"numero\"", 6, "till.registry.cle", "the keys here are delete_others, key, table"},
	{"registry without key", ", key = \"numero\"", "", 6, "till.registry.key", "missing"},
	{"users without key", "key   = \"code\"", "", 7, "users.key", "missing"},
	{"users without a rule", "attachment =", "#", 7, "users", "either attachment"},
	{"users with two rules", "key   = \"code\"", "key = \"code\"\ntill_column = \"caisse\"", 10, "users.till_column", "attachment says already"},
	{"attachment without till", ", till = \"caisse\"", "", 10, "users.attachment.till", "missing"},
	{"postgres", "[database]", "[database]\ndriver = \"postgres\"", 12, "database.driver", "SQLite"},
	{"principal of another till", "[users]", "[signing]\nprincipal = \"till-018@acme\"\n[users]", 8, "signing.principal", "not till 017"},
	{"principal of a server", "[users]", "[signing]\nprincipal = \"server@acme\"\n[users]", 8, "signing.principal", "till-NUMBER@DOSSIER"},
	{"policy of the schema", "[users]", "[schema]\nmissing_column = \"ignroe\"\n[users]", 8, "schema.missing_column", `did you mean "ignore"?`},
	{"action of the other side", "[users]", "[[process]]\nname = \"x\"\naction = \"collect\"\n[users]", 9, "process.action", "import, sync or update"},
	{"update without [update]", "[users]", "[[process]]\nname = \"x\"\naction = \"update\"\n[users]", 9, "process.action", "there is no [update]"},
	{"a server's file", "[till]", "[[dossier]]\ncode = \"A\"\n[till]", 2, "dossier", "the keys here are"},
}

func TestRefusedServer(t *testing.T) {
	for _, tt := range refusedServers {
		t.Run(tt.name, func(t *testing.T) {
			doc := replace(t, serverDoc, tt.old, tt.new)
			switch tt.name { // two of them need a second change
			case "one process for two dossiers":
				doc += "[[dossier]]\ncode = \"B\"\n"
			case "table name twice on PostgreSQL":
				doc = replace(t, doc, "name      = \"client\"", "name = \"article\"")
			}
			_, err := LoadServer(put(t, "server.toml", doc))
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
}

func TestRefusedTill(t *testing.T) {
	for _, tt := range refusedTills {
		t.Run(tt.name, func(t *testing.T) {
			doc := replace(t, tillDoc, tt.old, tt.new)
			_, err := LoadTill(put(t, "till.toml", doc))
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
}

func replace(t *testing.T, doc, old, new string) string {
	t.Helper()
	if !strings.Contains(doc, old) {
		t.Fatalf("the document has no %q", old)
	}
	return strings.Replace(doc, old, new, 1)
}

func refused(t *testing.T, err error, line int, key, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *config.Error", err, err)
	}
	if line != 0 && e.Line != line {
		t.Errorf("line %d, want %d", e.Line, line)
	}
	if key != "" && e.Key != key {
		t.Errorf("key %q, want %q", e.Key, key)
	}
	if !strings.Contains(e.Error(), says) {
		t.Errorf("%v\nlacks %q", e, says)
	}
	if strings.Contains(e.Error(), "hunter2") {
		t.Errorf("the message repeats the password: %v", e)
	}
	if e.File == "" || e.Problem == "" {
		t.Errorf("no file or no problem in %#v", e)
	}
	t.Log(err)
}

// A file that is another role's is named as what it is.
func TestWrongRole(t *testing.T) {
	load := map[Role]func(string) error{
		RoleServer:  func(path string) error { _, err := LoadServer(path); return err },
		RoleTill:    func(path string) error { _, err := LoadTill(path); return err },
		RoleRelease: func(path string) error { _, err := LoadRelease(path); return err },
	}
	docs := map[Role]string{RoleServer: serverDoc, RoleTill: tillDoc, RoleRelease: releaseDoc}
	for is, doc := range docs {
		for want, load := range load {
			for _, name := range []string{"x.toml", fileOf(is)} {
				err := load(put(t, name, doc))
				if is == want {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				refused(t, err, 0, "", "this is "+whose(is)+" configuration, and "+whose(want)+" is wanted; name a "+fileOf(want))
			}
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"name", "direction", "exclude", "capture", "conflict", "append"}
	for name, want := range map[string]string{
		"nmae": "name", "Name": "name", "directions": "direction", "dirction": "direction", "exlude": "exclude",
		"apend": "append", "x": "", "zzzz": "", "": "", strings.Repeat("a", 1000): "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
