package collecttest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// testUploads: what tills are asked to send is found in the ERP's tables.
func testUploads(t *testing.T, k *Kind) {
	s := NewServer(t, k, schema.Retail, RetailUploads(""))
	list, err := s.DB.Uploads(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	columns := map[string]string{}
	for _, u := range list {
		for _, c := range u.Columns {
			columns[u.Table] += c.Name + " " + strings.ToUpper(c.Type) + ","
		}
		u.Columns = nil
		b, _ := json.Marshal(u.Upload)
		got = append(got, string(b)+" "+u.Version)
	}
	want := []string{
		`{"table":"client","mode":"both","key":["dossier","code"],"dossier_column":"dossier","till_column":"","number_column":"","sums":null,"exclude":null,"parent":"","parent_columns":null,"columns":null} modifie_le`,
		`{"table":"jet","mode":"append","key":["dossier","caisse","numero"],"dossier_column":"dossier","till_column":"caisse","number_column":"numero","sums":null,"exclude":null,"parent":"","parent_columns":null,"columns":null} `,
		`{"table":"parametre_caisse","mode":"replace","key":["dossier","caisse","nom"],"dossier_column":"dossier","till_column":"caisse","number_column":"","sums":null,"exclude":null,"parent":"","parent_columns":null,"columns":null} `,
		`{"table":"ticket","mode":"append","key":["dossier","caisse","numero"],"dossier_column":"dossier","till_column":"caisse","number_column":"numero","sums":["total_ttc"],"exclude":null,"parent":"","parent_columns":null,"columns":null} `,
		`{"table":"reglement","mode":"append","key":["dossier","caisse","ticket","rang"],"dossier_column":"dossier","till_column":"caisse","number_column":"","sums":["montant"],"exclude":null,"parent":"ticket","parent_columns":["dossier","caisse","ticket"],"columns":null} `,
		`{"table":"ticket_ligne","mode":"append","key":["dossier","caisse","ticket","ligne"],"dossier_column":"dossier","till_column":"caisse","number_column":"","sums":["montant"],"exclude":null,"parent":"ticket","parent_columns":["dossier","caisse","ticket"],"columns":null} `,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := columns["parametre_caisse"]; got != "dossier TEXT,caisse TEXT,nom TEXT,valeur TEXT," {
		t.Errorf("columns of parametre_caisse: %s", got)
	}
}

// testUploadsRefused: what a configuration cannot mean is said by its name.
func testUploadsRefused(t *testing.T, k *Kind) {
	const sql = `CREATE TABLE client(dossier TEXT, code TEXT, PRIMARY KEY(dossier, code));
		CREATE TABLE head(d TEXT, caisse TEXT, n INTEGER, v INTEGER, PRIMARY KEY(d, caisse, n));
		CREATE TABLE line(d TEXT, caisse TEXT, n INTEGER, l INTEGER, PRIMARY KEY(d, caisse, n, l));
		CREATE TABLE plain(id INTEGER PRIMARY KEY, g INTEGER GENERATED ALWAYS AS (id + 1) STORED); CREATE TABLE keyless(v INTEGER)`
	head := database.UploadConfig{Name: "head", Mode: manifest.Append, DossierColumn: "d", Dossier: "A"}
	s := NewServer(t, k, sql, []database.UploadConfig{head})
	for _, tt := range []struct {
		says string
		with []database.UploadConfig
	}{
		{`no such table`, []database.UploadConfig{{Name: "none", Mode: manifest.Append}}},
		{`mode "up" is not`, []database.UploadConfig{{Name: "plain", Mode: "up"}}},
		{`has no PRIMARY KEY`, []database.UploadConfig{{Name: "keyless", Mode: manifest.Append}}},
		{`is there twice`, []database.UploadConfig{head, head}},
		{`dossier_column "x" is no plain column`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, DossierColumn: "x", Dossier: "A"}}},
		{`no dossier to look for`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, DossierColumn: "d"}}},
		{`till_column "g" is no plain column`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, TillColumn: "g"}}},
		{`no till_column says whose a row is`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, NumberColumn: "id"}}},
		{`totals names column "v" twice`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, Totals: []string{"v", "v"}}}},
		{`conflict "x" is not`, []database.UploadConfig{{Name: "plain", Mode: manifest.Both, Conflict: "x"}}},
		{`version_column = "…"`, []database.UploadConfig{{Name: "plain", Mode: manifest.Both}}},
		{`which the key, a till_column`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, Exclude: []string{"caisse"}}}},
		{`exclude names column "y", which does not exist`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, Exclude: []string{"y"}}}},
		{`is no other table that goes up`, []database.UploadConfig{{Name: "line", Mode: manifest.Append, Parent: "head"}}},
		{`no foreign key leads to its parent "head"`, []database.UploadConfig{head, {Name: "line", Mode: manifest.Append, Parent: "head"}}},
		{`parent_columns without a parent`, []database.UploadConfig{{Name: "line", Mode: manifest.Append, ParentColumns: []string{"n"}}}},
		{`its parents make a circle`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, Parent: "line", ParentColumns: []string{"d", "caisse", "n", "v"}},
			{Name: "line", Mode: manifest.Append, Parent: "head", ParentColumns: []string{"d", "caisse", "n"}}}},
	} {
		if _, err := s.DB.Uploads(database.SourceConfig{Uploads: tt.with}); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %s", tt.with, err, tt.says)
		}
	}
}

// testUploadsOffered: terms go down with every baseline, and once after they
// have changed.
func testUploadsOffered(t *testing.T, k *Kind) {
	s := NewRetailServer(t, k, "")
	read := func() manifest.Extract {
		t.Helper()
		x, err := s.DB.Source(s.Config).Read(context.Background(), "ACME/down", false, &lines{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := read()
	if x.Kind != manifest.Baseline || len(x.Uploads) != 6 {
		t.Fatalf("%+v", x)
	}
	s.publish(1, x.Kind, x.Cursor)
	if x = read(); len(x.Uploads) != 0 {
		t.Errorf("the same terms again: %+v", x.Uploads)
	}
	s.Config = database.SourceConfig{Tables: s.Config.Tables, Uploads: slices.Clone(s.Config.Uploads)}
	s.Config.Uploads[2].Totals = nil
	if x = read(); len(x.Uploads) != 6 || len(x.Tables) != 0 || x.Kind != manifest.Delta {
		t.Errorf("other terms: %+v", x)
	}
	s.publish(2, x.Kind, x.Cursor)
	if x = read(); len(x.Uploads) != 0 {
		t.Errorf("once only: %+v", x.Uploads)
	}
}
