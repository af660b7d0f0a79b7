package config

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const updateDoc = `[update]
folder = "paquets"
keep = 5
busy_query = "SELECT count(*) FROM ticket_en_cours"
busy_command = ["bin/caisse-libre", "--quiet"]
wait_for_tickets = true
  [[update.product]]
  name = "caisse"
  folder = "../caisse"
  restart = ["systemctl", "restart", "caisse"]
  [[update.product]]
  name = "tpe"
`

func TestUpdate(t *testing.T) {
	path := put(t, "till.toml", tillDoc+updateDoc+"[[process]]\nname = \"p\"\naction = \"update\"\n")
	dir := filepath.Dir(path)
	got, err := LoadTill(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Update{
		Folder: filepath.Join(dir, "paquets"), Keep: 5, BusyQuery: "SELECT count(*) FROM ticket_en_cours",
		BusyCommand: []string{filepath.Join(dir, "bin", "caisse-libre"), "--quiet"}, WaitForTickets: true,
		Products: []Product{
			{Name: "caisse", Folder: filepath.Join(filepath.Dir(dir), "caisse"), Restart: []string{"systemctl", "restart", "caisse"}},
			{Name: "tpe", Folder: filepath.Join(dir, "paquets", "tpe")},
		},
	}
	if diff := cmp.Diff(want, got.Update); diff != "" {
		t.Error(diff)
	}
	got, err = LoadTill(put(t, "till.toml", tillDoc+"[update]\n[[update.product]]\nname = \"caisse\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Dir(got.File)
	want = &Update{Folder: filepath.Join(dir, "packages"), Keep: 3, Products: []Product{{Name: "caisse", Folder: filepath.Join(dir, "packages", "caisse")}}}
	if diff := cmp.Diff(want, got.Update); diff != "" {
		t.Error(diff)
	}
	if got, err = LoadTill(put(t, "till.toml", tillDoc)); err != nil || got.Update != nil {
		t.Errorf("without [update]: %+v %v", got, err)
	}
}

// Each row replaces old by new in updateDoc, which begins at line 14.
var refusedUpdates = []struct {
	name, old, new string
	line           int
	key            string
	says           string
}{
	{"unknown key", "keep =", "keeep =", 16, "update.keeep", `did you mean "keep"?`},
	{"unknown key of a product", "restart =", "restrat =", 23, "update.product.restrat", `did you mean "restart"?`},
	{"empty folder", "\"paquets\"", "\"\"", 15, "update.folder", "empty"},
	{"folder in the outbox", "\"paquets\"", "\"outbox/x\"", 15, "update.folder", "paths.outbox, or in it"},
	{"nothing kept", "keep = 5", "keep = 0", 16, "update.keep", "from 2 to 100"},
	{"one kept", "keep = 5", "keep = 1", 16, "update.keep", "no way back"},
	{"too many kept", "keep = 5", "keep = 101", 16, "update.keep", "from 2 to 100"},
	{"less than nothing", "keep = 5", "keep = -3", 16, "update.keep", "from 2 to 100"},
	{"kept as text", "keep = 5", "keep = \"5\"", 16, "update.keep", "a whole number"},
	{"half a release", "keep = 5", "keep = 2.5", 16, "update.keep", "a whole number"},
	{"empty query", "SELECT count(*) FROM ticket_en_cours", " ", 17, "update.busy_query", "write a SELECT"},
	{"control characters in a query", "ticket_en_cours\"", "\\u0000\"", 17, "update.busy_query", "control characters"},
	{"empty command", "[\"bin/caisse-libre\", \"--quiet\"]", "[]", 18, "update.busy_command", "no program"},
	{"no program", "\"bin/caisse-libre\"", "\"\"", 18, "update.busy_command", "no program"},
	{"text for a command", "[\"bin/caisse-libre\", \"--quiet\"]", "\"bin/caisse-libre\"", 18, "update.busy_command", "a list of texts"},
	{"control characters in a program", "bin/caisse-libre", "bin\\n", 18, "update.busy_command", "control characters"},
	{"zero byte in an argument", "--quiet", "\\u0000", 18, "update.busy_command", "entry 2"},
	{"text for a boolean", "= true", "= \"true\"", 19, "update.wait_for_tickets", "true or false"},
	{"no name", "  name = \"caisse\"\n", "", 20, "update.product.name", "missing"},
	{"empty name", "\"caisse\"", "\"\"", 21, "update.product.name", "empty"},
	{"upper case", "\"caisse\"", "\"Caisse\"", 21, "update.product.name", "wrong form"},
	{"a path for a name", "\"caisse\"", "\"../x\"", 21, "update.product.name", "wrong form"},
	{"hidden name", "\"caisse\"", "\".x\"", 21, "update.product.name", "wrong form"},
	{"name twice", "\"tpe\"", "\"caisse\"", 25, "update.product.name", "there already"},
	{"empty folder of a product", "\"../caisse\"", "\"\"", 22, "update.product.folder", "empty"},
	{"the folder of another product", "\"tpe\"", "\"tpe\"\nfolder = \"../x/../caisse\"", 26, "update.product.folder", "the folder of caisse"},
	{"inside another product", "\"tpe\"", "\"tpe\"\nfolder = \"../caisse/tpe\"", 26, "update.product.folder", "inside the other"},
	{"around another product", "\"../caisse\"", "\"paquets/tpe/x\"", 24, "update.product.folder", "inside the other"},
	{"the program's own folder", "\"../caisse\"", "\"paquets\"", 22, "update.product.folder", "what it remembers"},
	{"around the program's own folder", "\"../caisse\"", "\".\"", 22, "update.product.folder", "what it remembers"},
	{"the outbox", "\"../caisse\"", "\"outbox\"", 22, "update.product.folder", "paths.outbox"},
	{"in the inbox", "\"../caisse\"", "\"inbox/caisse\"", 22, "update.product.folder", "paths.inbox"},
	{"the stage", "\"../caisse\"", "\"./stage/\"", 22, "update.product.folder", "paths.stage"},
	{"the drop", "\"../caisse\"", "\"drop\"", 22, "update.product.folder", "the drop"},
	{"empty restart", "[\"systemctl\", \"restart\", \"caisse\"]", "[]", 23, "update.product.restart", "no program"},
	{"restart of nothing", "\"systemctl\"", "\" \"", 23, "update.product.restart", "no program"},
}

func TestRefusedUpdate(t *testing.T) {
	for _, tt := range refusedUpdates {
		t.Run(tt.name, func(t *testing.T) {
			doc := tillDoc + replace(t, updateDoc, tt.old, tt.new)
			if tt.name == "the drop" {
				doc += "[drop]\nurl = \"file:drop\"\n"
			}
			_, err := LoadTill(put(t, "till.toml", doc))
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
	_, err := LoadTill(put(t, "till.toml", tillDoc+"[update]\nkeep = 2\n"))
	refused(t, err, 14, "update", "there is no product")
}

func TestWithin(t *testing.T) {
	at := filepath.FromSlash
	for _, tt := range []struct {
		dir, p string
		want   bool
	}{
		{"/a", "/a", true}, {"/a", "/a/b", true}, {"/a/b", "/a", false}, {"/a", "/ab", false}, {"/a", "/a/..b", true}, {"/", "/a", true},
	} {
		if got := within(at(tt.dir), at(tt.p)); got != tt.want {
			t.Errorf("within(%s, %s) = %v", tt.dir, tt.p, got)
		}
	}
}
