package rotation

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/keys"
)

var update = flag.Bool("update", false, "write testdata/vectors/trust anew")

const vectors = "../../testdata/vectors/trust"

// A vector is a document, the list of keys that its reader has, and what the
// reader says: Rule is empty where the document is taken over.
type vector struct {
	Name       string   `json:"name"`
	Known      string   `json:"known"` // allowed_signers before
	File       string   `json:"file"`
	Signatures []string `json:"signatures"`
	Rule       string   `json:"rule"`
	Then       string   `json:"then,omitempty"` // allowed_signers afterwards
}

// TestVectors: the vectors are what this package makes, and it reads them as
// their index says.
func TestVectors(t *testing.T) {
	files, index := makeVectors(t)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(index); err != nil {
		t.Fatal(err)
	}
	files["index.json"] = b.Bytes()
	if *update {
		if err := os.RemoveAll(vectors); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			path := filepath.Join(vectors, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(vectors, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made today (%v); look at the change, then: go test ./keys/rotation -run TestVectors -update", name, err)
		}
	}
	for _, v := range index {
		known, err := keys.ParseAllowedSigners(v.Known, files[v.Known])
		if err != nil {
			t.Fatal(err)
		}
		next, rule := read(known, files, v)
		if rule != v.Rule || v.Then != "" && string(next.Text()) != string(files[v.Then]) {
			t.Errorf("%s: rule %q, want %q", v.Name, rule, v.Rule)
		}
	}
}

func read(known *keys.Trust, files map[string][]byte, v vector) (*keys.Trust, string) {
	var next *keys.Trust
	var err error
	if n := TillsVersion(filepath.Base(v.File)); n > 0 {
		next, _, err = Enrol(known, "ACME", n, files[v.File], files[v.Signatures[0]])
	} else {
		var list []Signature
		for _, s := range v.Signatures {
			list = append(list, Signature{s, files[s]})
		}
		next, _, err = Advance(known, "ACME", files[v.File], list)
	}
	if r, ok := err.(*Refusal); ok {
		return next, r.Rule
	}
	return next, ""
}

// makeVectors makes the good chain of three versions and two lists of tills,
// and a bad version 2 for each of refusals.
func makeVectors(t *testing.T) (map[string][]byte, []vector) {
	w := newWorld(t)
	files, index := map[string][]byte{}, []vector{}
	trust := w.begun()
	list := func(name string) string { files[name] = trust.Text(); return name }
	put := func(v vector, doc []byte, signers ...string) vector {
		files[v.File] = doc
		v.Signatures = []string{}
		for _, s := range signers {
			name := SignatureName(v.File, s+"@acme")
			files[name] = w.sign(s, doc, keys.NamespaceTrust)
			v.Signatures = append(v.Signatures, name)
		}
		return v
	}
	put(vector{File: "good/" + Name(1)}, w.files[Name(1)], "root-1", "root-3")
	first := list("good/allowed_signers-1")
	for _, c := range refusals {
		slug := strings.ReplaceAll(strings.ReplaceAll(c.name, " ", "-"), "'", "")
		doc := w.raw(w.changed(trust, c.change).filled())
		index = append(index, put(vector{Name: c.name, Known: first, File: "bad/" + slug + "/" + Name(2), Rule: c.rule}, doc, strings.Fields(c.signers)...))
	}

	next := func(name string, change func(*Document), signers ...string) {
		known := index[len(index)-1].Then
		if known == "" {
			known = first
		}
		d := w.after(trust.Block("ACME"))
		change(d)
		v := put(vector{Name: name, Known: known, File: "good/" + Name(d.Version)}, w.encode(d), signers...)
		trust = w.advance(trust, d, signers...)
		v.Then = list("good/allowed_signers-" + Name(d.Version)[9:10])
		index = append(index, v)
	}
	next("a root is replaced", func(d *Document) { d.Roots = []Root{w.root("2"), w.root("3"), w.root("4")} }, "root-2", "root-3")
	next("another key of the server", func(d *Document) {
		d.Keys = append(d.Keys, w.server("server-2"))
		d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/down", Sequence: 120}}
	}, "root-3", "root-4")

	l := w.tills(trust.Block("ACME"), w.till("017", "till-017"))
	doc := w.raw(l.filled())
	file := "good/" + TillsName(1)
	for _, signer := range []string{"server", "server-2"} {
		v := vector{Name: "a till, by the key " + signer, Known: index[len(index)-1].Known, File: file, Signatures: []string{file + "." + signer + ".sig"}}
		files[file], files[v.Signatures[0]] = doc, w.sign(signer, doc, keys.NamespaceTills)
		v.Known = "good/allowed_signers-3"
		if v.Rule = "T13"; signer == "server-2" {
			trust = w.enrol(trust, l, signer)
			v.Rule, v.Then = "", list("good/allowed_signers-tills-1")
		}
		index = append(index, v)
	}
	return files, index
}
