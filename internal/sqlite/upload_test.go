package sqlite

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

func TestUploads(t *testing.T) {
	s := newUpServer(t, schema.Retail, collectUploads(""))
	list, err := s.driver.capture.uploads(s.erp, "ACME/down")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	columns := map[string]string{}
	for _, u := range list {
		for _, c := range u.Columns {
			columns[u.Table] += c.Name + " " + c.Type + ","
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

// What a till is to send are the columns that it can write and may.
func TestUploadColumns(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(a DECIMAL(10,2), secret TEXT, id INTEGER PRIMARY KEY, g AS (a), b)")
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Uploads: []database.UploadConfig{{Name: "t", Mode: manifest.Append, Exclude: []string{"SECRET"}}}}})
	list, err := c.uploads(db.Conn, "A/down")
	if err != nil {
		t.Fatal(err)
	}
	want := []manifest.Column{{Name: "a", Type: "DECIMAL(10,2)"}, {Name: "id", Type: "INTEGER"}, {Name: "b"}}
	if !slices.Equal(list[0].Columns, want) {
		t.Errorf("columns %q, want %q", list[0].Columns, want)
	}
}

func TestUploadsRefused(t *testing.T) {
	const sql = `CREATE TABLE head(d, caisse, n INTEGER, v, PRIMARY KEY(d, caisse, n));
		CREATE TABLE line(d, caisse, n INTEGER, l, PRIMARY KEY(d, caisse, n, l)); CREATE TABLE plain(id PRIMARY KEY, g AS (id)); CREATE TABLE caisseauto_alarm(id PRIMARY KEY);`
	head := database.UploadConfig{Name: "head", Mode: manifest.Append, DossierColumn: "d", Dossier: "A"}
	for _, tt := range []struct {
		says string
		with []database.UploadConfig
	}{
		{`no such table`, []database.UploadConfig{{Name: "none", Mode: manifest.Append}}},
		{`mode "up" is not`, []database.UploadConfig{{Name: "plain", Mode: "up"}}},
		{`no till may write to such a table`, []database.UploadConfig{{Name: "caisseauto_alarm", Mode: manifest.Append}}},
		{`is there twice`, []database.UploadConfig{head, head}},
		{`dossier_column "x" is no plain column`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, DossierColumn: "x", Dossier: "A"}}},
		{`no dossier to look for`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, DossierColumn: "d"}}},
		{`till_column "g" is no plain column`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, TillColumn: "g"}}},
		{`no till_column says whose a row is`, []database.UploadConfig{{Name: "plain", Mode: manifest.Append, NumberColumn: "id"}}},
		{`totals names column "v" twice`, []database.UploadConfig{{Name: "head", Mode: manifest.Append, Totals: []string{"v", "V"}}}},
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
		db := newSrcDB(t, sql)
		c := NewCapture(map[string]database.SourceConfig{"A/down": {Uploads: tt.with}})
		if _, err := c.uploads(db.Conn, "A/down"); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %s", tt.with, err, tt.says)
		}
	}
}

// Terms go down with every baseline, and once after they have changed.
func TestUploadsOffered(t *testing.T) {
	s := newRetailServer(t, "")
	ctx := context.Background()
	read := func(source *Source) manifest.Extract {
		t.Helper()
		x, err := source.Read(ctx, "ACME/down", false, &upBatch{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := read(s.source)
	if x.Kind != manifest.Baseline || len(x.Uploads) != 6 {
		t.Fatalf("%+v", x)
	}
	s.publish(1, x.Kind, x.Cursor)
	if x = read(s.source); len(x.Uploads) != 0 {
		t.Errorf("the same terms again: %+v", x.Uploads)
	}
	config := database.SourceConfig{Tables: s.config.Tables, Uploads: slices.Clone(s.config.Uploads)}
	config.Uploads[2].Totals = nil
	s.source = NewSource(s.path, NewCapture(map[string]database.SourceConfig{"ACME/down": config}), SourceOptions{})
	if x = read(s.source); len(x.Uploads) != 6 || len(x.Tables) != 0 || x.Kind != manifest.Delta {
		t.Errorf("other terms: %+v", x)
	}
	s.publish(2, x.Kind, x.Cursor)
	if x = read(s.source); len(x.Uploads) != 0 {
		t.Errorf("once only: %+v", x.Uploads)
	}
}
