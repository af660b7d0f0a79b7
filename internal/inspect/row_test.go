package inspect_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode"

	"caisseauto/internal/change"
	"caisseauto/internal/inspect"
	"caisseauto/manifest"
)

func text(s string) change.Value { return change.Value{Kind: change.Text, Bytes: []byte(s)} }

// evil holds what a terminal would obey or hide: ESC, DEL, a C1 control, an
// override of the direction, a line feed, a character beyond the BMP that is
// not shown.
const evil = "\x1b[2J\x7f\u009b31m\u202egnp.exe\n\U000e0041"

var values = inspect.Row{Table: "t" + evil, Op: change.Upsert, Columns: []string{"c" + evil, "k", "int", "big", "real", "inf", "nul", "blob", "bad", "evil"}, Key: []string{"k"},
	Values: []change.Value{text("x"), text("1"), {Kind: change.Integer, Int: math.MinInt64}, {Kind: change.Integer, Int: math.MaxInt64}, {Kind: change.Real, Real: 3},
		{Kind: change.Real, Real: math.Inf(-1)}, {}, {Kind: change.Blob, Bytes: []byte{7, 0}}, {Kind: change.Text, Bytes: []byte{0xff}}, text(evil)}}

// TestRowJSON: every value comes out as it is in the archive, and reads back.
func TestRowJSON(t *testing.T) {
	got := string(inspect.Hit{Stream: "ACME/down", Row: values}.AppendJSON([]byte("before ")))
	for _, want := range []string{
		`before {"stream":"ACME/down",`, `"int":-9223372036854775808`, `"big":9223372036854775807`, `"real":3.0`, `"inf":{"r":"-Inf"}`,
		`"nul":null`, `"blob":{"b":"BwA="}`, `"bad":{"t":"/w=="}`, `\u202egnp.exe\n`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	quiet(t, got)
	var back struct {
		Table string
		Row   map[string]any
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "before ")), &back); err != nil {
		t.Fatal(err)
	}
	if back.Table != "t"+evil || back.Row["evil"] != evil || back.Row["c"+evil] != "x" {
		t.Errorf("it reads back as %q", back)
	}
}

func TestRowText(t *testing.T) {
	got := string(values.AppendText(nil))
	quiet(t, got)
	for _, want := range []string{`k="1" c`, "int=-9223372036854775808 big=9223372036854775807 real=3.0", "nul=NULL", "blob=blob(2 bytes: 0700)", "bad=text(1 bytes: ff)", `evil="\u001b[2J`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	long := inspect.Row{Columns: []string{"a", "b"}, Values: []change.Value{text(strings.Repeat("é", 5_000)), {Kind: change.Blob, Bytes: make([]byte, 1<<20)}}}
	if s := string(long.AppendText(nil)); len(s) > 600 || !strings.Contains(s, `é"…(10,000 bytes)`) || !strings.Contains(s, "blob(1,048,576 bytes: 0000") {
		t.Errorf("long values: %d bytes: %s", len(s), s)
	}
}

// quiet fails when a terminal would do anything but show s.
func quiet(t *testing.T, s string) {
	t.Helper()
	for i, r := range strings.TrimSuffix(s, "\n") {
		if !unicode.IsPrint(r) {
			t.Errorf("byte %d: %U stands raw in %q", i, r, s)
		}
	}
}

func TestSummary(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{article, odd}, nil, upsertArticle+`["a",1]`+"\n", upsertOdd+`["ACME",1,"x"]`+"\n")
	w.seal([]manifest.Table{article, odd}, nil, upsertArticle+`["b",1]`+"\n"+`["c",1]`+"\n",
		`{"table":"article","op":"patch","columns":["code","price"]}`+"\n"+`["a",2]`+"\n",
		`{"table":"article","op":"delete","columns":["code"]}`+"\n"+`["d"]`+"\n")
	in := w.inspector()
	b, err := in.Open(context.Background(), w.places()[0], 2)
	fatal(t, err)
	s, err := in.Summarize(context.Background(), b)
	fatal(t, err)
	if s.Contents != inspect.Good || len(s.Tables) != 2 || s.Tables[0].Rows != 4 || s.Tables[1].Rows != 0 || len(s.Tables[1].Ops) != 0 {
		t.Errorf("%+v", s)
	}
	want := []inspect.Operation{{Op: change.Upsert, Rows: 2}, {Op: change.Patch, Rows: 1}, {Op: change.Delete, Rows: 1}}
	if got := s.Tables[0].Ops; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("operations %v, want %v", got, want)
	}
}
