package database

import (
	"fmt"
	"strings"
	"testing"

	"caisseauto/manifest"
)

// readFrom returns what Uploads reads tables with. Of equal names in several
// schemas the configuration chooses.
func readFrom(list ...*Table) func(UploadConfig) (*Table, error) {
	return func(c UploadConfig) (*Table, error) {
		for _, t := range list {
			if t.Same(t.Name, c.Name) && (c.Schema == "" || c.Schema == t.Schema) {
				return t, nil
			}
		}
		return nil, fmt.Errorf("table %s: %w", Quote(c.Name), ErrNoTable)
	}
}

func table(schema, name string, key []string, keys ...ForeignKey) *Table {
	t := &Table{Schema: schema, Name: name, Key: key, ForeignKeys: keys}
	for _, k := range key {
		t.Columns = append(t.Columns, Column{Name: k, Type: "bigint", Integer: true})
	}
	return t
}

// A database that folds nothing has tables Ticket and ticket at once, and a
// foreign key to a table of that name in another schema leads to no parent.
func TestUploadsWithoutFolding(t *testing.T) {
	key := []string{"caisse", "n"}
	link := func(schema, parent string) ForeignKey {
		return ForeignKey{Schema: schema, Table: parent, From: key, To: key}
	}
	read := readFrom(table("public", "ticket", key), table("public", "Ticket", key), table("public", "line", []string{"caisse", "n", "l"}, link("public", "Ticket")),
		table("public", "other", []string{"caisse", "n", "l"}, link("archive", "ticket")))
	var config []UploadConfig
	for _, name := range []string{"line", "other", "ticket", "Ticket"} {
		config = append(config, UploadConfig{Name: name, Mode: manifest.Append})
	}
	list, err := Uploads(config, read)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range list {
		got = append(got, fmt.Sprintf("%s:%s:%d:%s", u.Table, u.Parent, u.Depth, u.Number))
	}
	if s := strings.Join(got, " "); s != "Ticket::0:n other::0: ticket::0:n line:Ticket:1:" {
		t.Error(s)
	}
	if u := FindUpload(list, "LINE"); u != nil {
		t.Errorf("LINE is %s", u.Table)
	}
	if u := FindUpload(list, "line"); !u.Linked() {
		t.Error("no foreign key leads from line to Ticket")
	}
}

// Where the letters of ASCII are folded, both are one.
func TestUploadsFolded(t *testing.T) {
	x := table("", "Ticket", []string{"Caisse", "n"})
	x.Fold = strings.ToLower
	config := UploadConfig{Name: "TICKET", Mode: manifest.Append, Totals: []string{"N"}}
	list, err := Uploads([]UploadConfig{config}, readFrom(x))
	if err != nil {
		t.Fatal(err)
	}
	if u := list[0]; u.Table != "Ticket" || u.Till != "Caisse" || u.Sums[0] != "n" || FindUpload(list, "tiCKet") != u {
		t.Errorf("%+v", u.Upload)
	}
	if _, err = Uploads([]UploadConfig{config, {Name: "ticket", Mode: manifest.Append}}, readFrom(x)); err == nil || !strings.Contains(err.Error(), "is there twice") {
		t.Errorf("the same table twice: %v", err)
	}
	if _, err = Uploads([]UploadConfig{{Name: "none"}}, readFrom(x)); err == nil || !strings.HasSuffix(err.Error(), "leave it out") {
		t.Errorf("no such table: %v", err)
	}
}
