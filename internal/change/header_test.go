package change

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHeader(t *testing.T) {
	for _, tc := range []struct {
		header Header
		want   string
	}{
		{Header{"article", Upsert, []string{"code", "label"}}, `{"table":"article","op":"upsert","columns":["code","label"]}`},
		{Header{"article", Patch, []string{"code"}}, `{"table":"article","op":"patch","columns":["code"]}`},
		{Header{"article", Delete, []string{"code"}}, `{"table":"article","op":"delete","columns":["code"]}`},
		{Header{`Été "2026"`, Upsert, []string{"", "a b", "É", "\\", "\n", "code", "CODE"}}, `{"table":"Été \"2026\"","op":"upsert","columns":["","a b","É","\\","\n","code","CODE"]}`},
	} {
		line := AppendHeader(nil, tc.header)
		if got := string(line); got != tc.want+"\n" {
			t.Errorf("got %q, want %q", got, tc.want)
		}
		got, err := ParseHeader(line)
		if err != nil {
			t.Errorf("%s: %v", tc.want, err)
		}
		if d := cmp.Diff(tc.header, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}

func TestRefusedHeaders(t *testing.T) {
	many := make([]string, MaxColumns+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	line := func(h Header) string { return string(AppendHeader(nil, h)) }
	for _, tc := range []struct{ line, want string }{
		{"", `byte 1: expected "{\"table\":"`},
		{"[1]\n", "byte 1: expected"},
		{`{"table":"a","op":"upsert","columns":["b"]}`, `byte 42: expected "]}\n"`},
		{`{"table":"a","op":"upsert","columns":["b"]}` + "\r\n", "byte 42"},
		{`{"table":"a","op":"upsert","columns":["b"]}` + "\n\n", "more bytes"},
		{`{"table": "a","op":"upsert","columns":["b"]}` + "\n", "expected a string"},
		{`{"table":"a","columns":["b"],"op":"upsert"}` + "\n", `expected ",\"op\":"`},
		{`{"table":"a","op":"upsert","columns":["b"],"x":1}` + "\n", "expected"},
		{`{"table":"a","op":"upsert","columns":["b",]}` + "\n", "expected a string"},
		{`{"table":"a","op":"upsert","columns":[]}` + "\n", "expected a string"},
		{`{"table":"a","op":"upsert","columns":["\u0062"]}` + "\n", "escape"},
		{`{"table":"a","op":"upsert","columns":["b` + "\xff" + `"]}` + "\n", "UTF-8"},
		{`{"table":{"t":"/w=="},"op":"upsert","columns":["b"]}` + "\n", "expected a string"},
		{`{"table":null,"op":"upsert","columns":["b"]}` + "\n", "expected a string"},
		{`{"table":"a","op":"UPSERT","columns":["b"]}` + "\n", `operation "UPSERT"`},
		{`{"table":"a","op":"","columns":["b"]}` + "\n", `operation ""`},
		{`{"table":"","op":"upsert","columns":["b"]}` + "\n", "table name"},
		{`{"table":"a","op":"upsert","columns":["b","c","b"]}` + "\n", `"b" is named twice`},
		{line(Header{"a", Upsert, many}), "32768 columns"},
		{line(Header{"a\xff", Upsert, []string{"b"}}), "expected a string"},
		{line(Header{"a", Upsert, []string{"b\xff"}}), "expected a string"},
		{line(Header{"a", Upsert, []string{strings.Repeat("b", MaxHeader)}}), "longer than"},
	} {
		if h, err := ParseHeader([]byte(tc.line)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60q: error %v, want %q", tc.line, err, tc.want)
		} else if d := cmp.Diff(Header{}, h); d != "" {
			t.Errorf("%.60q: something came out:\n%s", tc.line, d)
		}
	}
}

// FuzzParseHeader: whatever is accepted is what the writer writes, and what
// encoding/json reads.
func FuzzParseHeader(f *testing.F) {
	for _, h := range []Header{
		{"article", Upsert, []string{"code", "label"}}, {"é \"x\"\n", Patch, []string{""}}, {"a", Delete, []string{"b", "b"}}, {"", "x", nil},
	} {
		f.Add(AppendHeader(nil, h))
	}
	f.Add([]byte(`{"table":"a","op":"upsert","columns":["b"],"columns":["c"]}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := ParseHeader(line)
		if err != nil {
			return
		}
		if err := h.Check(); err != nil {
			t.Fatal(err)
		}
		if again := AppendHeader(nil, h); !bytes.Equal(again, line) {
			t.Fatalf("%q was accepted, and is %q", line, again)
		}
		var got struct {
			Table   string
			Op      Op
			Columns []string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(h, Header(got)); d != "" {
			t.Fatal(d)
		}
	})
}
