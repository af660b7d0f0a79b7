package inspect_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"caisseauto/internal/inspect"
	"caisseauto/manifest"
)

// odd is a table whose key has two columns, of any type.
var odd = manifest.Table{Name: "odd", Scope: manifest.Changes, Key: []string{"dossier", "code"},
	Columns: []manifest.Column{{Name: "dossier"}, {Name: "code"}, {Name: "v"}}}

const upsertOdd = `{"table":"odd","op":"upsert","columns":["dossier","code","v"]}` + "\n"

// matched returns the values of the column v in the rows that a key fits.
func matched(t *testing.T, w *writer, table, k string) (string, error) {
	t.Helper()
	in := w.inspector()
	parsed, err := inspect.ParseKey(k)
	if err != nil {
		return "", err
	}
	b, err := in.Open(context.Background(), w.places()[0], w.last.Sequence)
	fatal(t, err)
	var got []string
	err = in.Rows(context.Background(), b, table, parsed, func(r inspect.Row) error {
		got = append(got, string(r.Values[len(r.Values)-1].Bytes))
		return nil
	})
	return strings.Join(got, " "), err
}

func TestKeyFits(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{odd, article}, nil, upsertOdd+strings.Join([]string{
		`["ACME","7","text"]`,
		`["ACME",7,"int"]`,
		`["ACME",7.0,"real"]`,
		`["ACME","007","zeros"]`,
		`["ACME",9223372036854775807,"most"]`,
		`["ACME",-9223372036854775808,"least"]`,
		`["ACME",null,"null"]`,
		`["ACME","null","word"]`,
		`["ACME",{"b":"Bw=="},"blob"]`,
		`["ACME",{"t":"/w=="},"broken"]`,
		`["ACME","a,b","comma"]`,
		`["ACME","a=b","equals"]`,
		`["ACME","é\n","accent"]`,
		`["ACME","","empty"]`,
		`["BETA",7,"other"]`,
	}, "\n")+"\n", upsertArticle+`["7",1]`+"\n"+`["a,b",2]`+"\n")
	for _, c := range []struct{ key, want string }{
		{"ACME,7", "text int"},
		{"ACME,7.0", "real"},
		{"ACME,007", "zeros"},
		{"ACME,9223372036854775807", "most"},
		{"ACME,-9223372036854775808", "least"},
		{"ACME,9223372036854775808", ""},
		{"ACME,+7", ""},
		{"ACME,null", "word"},
		{"ACME,", "empty"},
		{"code=7", "text int other"},
		{"code=a,b", "comma"},
		{"code=a=b", "equals"},
		{"dossier=BETA", "other"},
		{"code=7,dossier=BETA", "other"},
		{`["ACME","7"]`, "text"},
		{`[ "ACME" , 7 ]`, "int"},
		{`["ACME",7.0]`, "real"},
		{`["ACME",9223372036854775807]`, "most"},
		{`["ACME",null]`, "null"},
		{`["ACME",{"b":"Bw=="}]`, "blob"},
		{`["ACME",{"t":"/w=="}]`, "broken"},
		{`["ACME","a,b"]`, "comma"},
		{`["ACME","\u00e9\u000a"]`, "accent"},
		{`["acme",7]`, ""},
	} {
		if got, err := matched(t, w, "odd", c.key); err != nil || got != c.want {
			t.Errorf("%s fits %q, want %q: %v", c.key, got, c.want, err)
		}
	}
}

func TestKeyOfOneColumnIsTakenWhole(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{odd, article}, nil, upsertOdd+`["ACME",1,"x"]`+"\n", upsertArticle+`["a,b",2]`+"\n"+`["a",2]`+"\n")
	in := w.inspector()
	b, err := in.Open(context.Background(), w.places()[0], 1)
	fatal(t, err)
	n := 0
	fatal(t, in.Rows(context.Background(), b, "article", key(t, "a,b"), func(inspect.Row) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	// Without a table it is looked for in those whose key it fits.
	n = 0
	fatal(t, in.Rows(context.Background(), b, "", key(t, "ACME,1"), func(r inspect.Row) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d rows of any table, want 1", n)
	}
}

func TestKeyMisfits(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{odd}, nil, upsertOdd+`["ACME",1,"x"]`+"\n")
	for _, c := range []struct{ key, says string }{
		{"7", "--key code=…"},
		{"a,b,c", "3 values"},
		{`["ACME"]`, "1 values"},
		{"v=1", "no key column v"},
		{"cod=1", "its key is dossier, code"},
		{"code=1,code=2", "twice"},
		{"[]", "empty"},
		{"[1,", "no JSON array"},
		{`["ACME",1e3]`, "no value"},
		{`["ACME",true]`, "no value"},
		{`["ACME",[1]]`, "no value"},
		{`["ACME",9223372036854775808]`, "no value"},
		{"", "empty"},
		{strings.Repeat("x", 70_000), "more than"},
	} {
		got, err := matched(t, w, "odd", c.key)
		if !errors.Is(err, inspect.ErrKey) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40s: %v, want an error that says %q (rows %q)", c.key, err, c.says, got)
		}
	}
	if _, err := matched(t, w, "article", "7"); !errors.Is(err, inspect.ErrTable) || !strings.Contains(err.Error(), "odd") {
		t.Errorf("a table that is not there: %v", err)
	}
}
