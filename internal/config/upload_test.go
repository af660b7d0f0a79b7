package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// upDoc is a dossier whose tills send.
const upDoc = `
[database]
dsn = "erp.db"
[[dossier]]
code = "ACME"
  [[dossier.table]]
  name = "article"
  [[dossier.table]]
  name = "ticket"
  direction = "up"
  append = true
  dossier_column = "dossier"
  till_column = "caisse"
  number_column = "numero"
  totals = ["total_ht", "total_ttc"]
  [[dossier.table]]
  name = "ligne"
  direction = "up"
  append = true
  parent = "ticket"
  parent_columns = ["dossier", "caisse", "ticket"]
  exclude = ["note"]
  [[dossier.table]]
  name = "client"
  direction = "both"
  version_column = "modifie_le"
`

func TestLoadUploads(t *testing.T) {
	s, err := LoadServer(put(t, "server.toml", upDoc))
	if err != nil {
		t.Fatal(err)
	}
	want := []Table{
		{Name: "article", Direction: "down", Capture: "key"},
		{Name: "ticket", Direction: "up", Capture: "key", Append: true, DossierColumn: "dossier", TillColumn: "caisse", NumberColumn: "numero",
			Totals: []string{"total_ht", "total_ttc"}},
		{Name: "ligne", Direction: "up", Capture: "key", Append: true, Parent: "ticket", ParentColumns: []string{"dossier", "caisse", "ticket"}, Exclude: []string{"note"}},
		{Name: "client", Direction: "both", Capture: "key", Conflict: "newest", VersionColumn: "modifie_le"},
	}
	if diff := cmp.Diff(want, s.Dossiers[0].Tables); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedUploads(t *testing.T) {
	const table = "dossier.table."
	for _, tt := range []struct {
		name, old, new string
		line           int
		key            string
		says           string
	}{
		{"unknown key", "till_column", "caisse_column", 13, table + "caisse_column", "unknown key"},
		{"till column downwards", `name = "article"`, "name = \"article\"\ntill_column = \"x\"", 8, table + "till_column", "is not sent by tills"},
		{"number column downwards", `name = "article"`, "name = \"article\"\nnumber_column = \"x\"", 8, table + "number_column", "is not sent by tills"},
		{"totals downwards", `name = "article"`, "name = \"article\"\ntotals = [\"x\"]", 8, table + "totals", "is not sent by tills"},
		{"parent downwards", `name = "article"`, "name = \"article\"\nparent = \"ticket\"", 8, table + "parent", "is not sent by tills"},
		{"parent columns downwards", `name = "article"`, "name = \"article\"\nparent_columns = [\"x\"]", 8, table + "parent_columns", "is not sent by tills"},
		{"version column downwards", `name = "article"`, "name = \"article\"\nversion_column = \"x\"", 8, table + "version_column", "is not sent by tills"},
		{"empty till column", `"caisse"` + "\n", `""` + "\n", 13, table + "till_column", "empty"},
		{"numbers of rows that change", "append = true\n  dossier_column", "dossier_column", 13, table + "number_column", "append = true"},
		{"empty totals", `["total_ht", "total_ttc"]`, `[]`, 15, table + "totals", "empty"},
		{"empty name in totals", `"total_ht"`, `""`, 15, table + "totals", "entry 1 is no name"},
		{"total twice", `"total_ht"`, `"TOTAL_ttc"`, 15, table + "totals", "there already"},
		{"text for totals", `["total_ht", "total_ttc"]`, `"total_ht"`, 15, table + "totals", "a list of texts"},
		{"parent columns without a parent", `parent = "ticket"`, "", 21, table + "parent_columns", "there is no parent"},
		{"empty parent columns", `["dossier", "caisse", "ticket"]`, `[]`, 21, table + "parent_columns", "empty"},
		{"parent column twice", `"dossier", "caisse", "ticket"`, `"dossier", "dossier"`, 21, table + "parent_columns", "there already"},
		{"parent that is not there", `parent = "ticket"`, `parent = "tiquet"`, 20, table + "parent", `no table "tiquet"`},
		{"parent that goes down", `parent = "ticket"`, `parent = "article"`, 20, table + "parent", "goes down"},
		{"own parent", `parent = "ticket"`, `parent = "LIGNE"`, 20, table + "parent", "circle"},
		{"parents in a circle", "number_column", "parent = \"ligne\"\nnumber_column", 14, table + "parent", "circle"},
		{"version of another rule", `direction = "both"`, "direction = \"both\"\nconflict = \"till\"", 27, table + "version_column", `conflict = "newest"`},
		{"version one way", `direction = "both"`, `direction = "up"`, 26, table + "version_column", `conflict = "newest"`},
		{"empty version column", `"modifie_le"`, `""`, 26, table + "version_column", "empty"},
		{"control characters", `"modifie_le"`, `"a\u0000"`, 26, table + "version_column", "control"},
		{"parent column excluded", `["note"]`, `["Caisse"]`, 22, table + "exclude", "must travel"},
		{"till column excluded", "number_column", "exclude = [\"caisse\"]\nnumber_column", 14, table + "exclude", "must travel"},
		{"number column excluded", "number_column", "exclude = [\"numero\"]\nnumber_column", 14, table + "exclude", "must travel"},
		{"total excluded", "number_column", "exclude = [\"total_ttc\"]\nnumber_column", 14, table + "exclude", "must travel"},
		{"version excluded", "version_column", "exclude = [\"modifie_le\"]\nversion_column", 26, table + "exclude", "must travel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LoadServer(put(t, "server.toml", replace(t, upDoc, tt.old, tt.new)))
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
}

// PostgreSQL's table names have a case, and so have parents.
func TestParentsCaseOnPostgres(t *testing.T) {
	doc := replace(t, upDoc, "[database]", "[database]\ndriver = \"postgres\"")
	if _, err := LoadServer(put(t, "server.toml", doc)); err != nil {
		t.Error(err)
	}
	_, err := LoadServer(put(t, "server.toml", replace(t, doc, `parent = "ticket"`, `parent = "Ticket"`)))
	refused(t, err, 21, "dossier.table.parent", "no table")
}

func TestJET(t *testing.T) {
	load := func(text string) (*Till, error) {
		return LoadTill(put(t, "till.toml", "[till]\nnumber = \"017\"\ndossier = \"ACME\"\n"+text))
	}
	got, err := load("")
	if err != nil || got.JET != nil {
		t.Errorf("without [jet]: %+v %v", got, err)
	}
	got, err = load("[sync]\nmax_backoff = \"1h\"\n[jet]\n")
	if err != nil {
		t.Fatal(err)
	}
	if got.Sync.MaxBackoff.Duration != time.Hour {
		t.Errorf("%+v", got.Sync)
	}
	if diff := cmp.Diff(DefaultJET(), got.JET); diff != "" {
		t.Error(diff)
	}
	got, err = load("[jet]\ntable = \"journal\"\nnumber = \"no\"\n[jet.codes]\npurge = \"\"\nload = \"80\"\n")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultJET()
	want.Table, want.Number, want.Codes.Purge, want.Codes.Load = "journal", "no", "", "80"
	if diff := cmp.Diff(want, got.JET); diff != "" {
		t.Error(diff)
	}
	none := "[jet.codes]\n" + strings.Join([]string{"offline", "online", "load", "purge", "refused", "update", ""}, " = \"\"\n")
	for _, tt := range []struct {
		name, text string
		line       int
		key        string
		says       string
	}{
		{"unknown code", "[jet.codes]\nonlin = \"x\"\n", 5, "jet.codes.onlin", `did you mean "online"?`},
		{"unknown column", "[jet]\ndonnees = \"x\"\n", 5, "jet.donnees", "unknown key"},
		{"empty column", "[jet]\ndata = \"\"\n", 5, "jet.data", "empty"},
		{"empty table", "[jet]\ntable = \"\"\n", 5, "jet.table", "empty"},
		{"column twice", "[jet]\ndata = \"Code\"\n", 5, "jet.data", "there already"},
		{"no code at all", none, 4, "jet.codes", "take [jet] out"},
		{"control characters", "[jet.codes]\nload = \"a\\nb\"\n", 5, "jet.codes.load", "control"},
		{"back-off of nothing", "[sync]\nmax_backoff = \"1ms\"\n", 5, "sync.max_backoff", "too short"},
		{"back-off without a unit", "[sync]\nmax_backoff = 5\n", 5, "sync.max_backoff", `like "5m"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(tt.text)
			refused(t, err, tt.line, tt.key, tt.says)
		})
	}
}
