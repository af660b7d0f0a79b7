package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/manifest"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

const vectors = "../testdata/vectors"

// An index is testdata/vectors/index.json, for implementers in any language.
type index struct {
	Good           []goodVector     `json:"good"`
	Bad            []badVector      `json:"bad"`
	Positions      []positionVector `json:"positions"`
	AllowedSigners []listVector     `json:"allowed_signers"`
}

type goodVector struct {
	Kind     string `json:"kind"` // manifest, head or receipt
	File     string `json:"file"` // the signature is this with .sig
	Stream   string `json:"stream"`
	Epoch    int64  `json:"epoch"`
	Sequence int64  `json:"sequence"`
	SHA256   string `json:"sha256"` // of a manifest's bytes; of a head or receipt the one that it names
}

type badVector struct {
	Kind   string `json:"kind"`
	File   string `json:"file"`
	Stream string `json:"stream"` // in whose folder it is found
	Rule   string `json:"rule"`
	Why    string `json:"why"`
}

type positionVector struct {
	LastEpoch    int64  `json:"last_epoch"` // 0: nothing was applied yet
	LastSequence int64  `json:"last_sequence"`
	LastSHA256   string `json:"last_sha256"`
	File         string `json:"file"`
	Rule         string `json:"rule"` // empty: it is the next one
}

type listVector struct {
	File string `json:"file"`
	Line int    `json:"line"` // the line that refuses the file
	Why  string `json:"why"`
}

// TestVectors runs over all vectors, so that what this program accepts and
// refuses today is what it accepts and refuses tomorrow. With -update it
// writes them anew first; keys and good signatures that are there stay.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	var ix index
	if err := json.Unmarshal(readVector(t, "index.json"), &ix); err != nil {
		t.Fatal(err)
	}
	if len(ix.Good) < 5 || len(ix.Bad) < 200 || len(ix.Positions) < 5 || len(ix.AllowedSigners) < 5 {
		t.Fatalf("the index has %d good, %d bad vectors, %d positions, %d lists: some are missing", len(ix.Good), len(ix.Bad), len(ix.Positions), len(ix.AllowedSigners))
	}
	trust, err := keys.ParseAllowedSigners("allowed_signers", readVector(t, "allowed_signers"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range ix.Good {
		t.Run(v.File, func(t *testing.T) {
			got, err := openVector(t, v.Kind, v.File, v.Stream, trust)
			if want := (manifest.Position{Epoch: v.Epoch, Sequence: v.Sequence, Digest: v.SHA256}); err != nil || got != want {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
	for _, v := range ix.Bad {
		t.Run(v.File, func(t *testing.T) {
			_, err := openVector(t, v.Kind, v.File, v.Stream, trust)
			wantRule(t, err, v.Rule, v.File)
		})
	}
	for _, v := range ix.Positions {
		checkPosition(t, v, trust)
	}
	for _, v := range ix.AllowedSigners {
		_, err := keys.ParseAllowedSigners(v.File, readVector(t, v.File))
		if err == nil || !strings.HasPrefix(err.Error(), v.File+" line ") {
			t.Errorf("%s (%s): %v", v.File, v.Why, err)
		}
	}
}

// The example in SPEC.md is that of the vectors, and every rule that a vector
// breaks is listed there.
func TestSpec(t *testing.T) {
	spec, err := os.ReadFile("../SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"good/ACME/down/0000000002.manifest.json", "good/ACME/down/HEAD.json", "good/ACME/up/017/HEAD.json", "good/ACME/receipts/017.json"} {
		if !bytes.Contains(spec, readVector(t, name)) {
			t.Errorf("SPEC.md does not show %s as it is", name)
		}
	}
	for name, from := range map[string]string{"good/ACME/up/017/0000000002.manifest.json": "  \"totals\"", "good/ACME/down/0000000005.manifest.json": "  \"integrated\"",
		"good/ACME/packages/0000000002.manifest.json": "  \"tables\""} {
		doc := readVector(t, name)
		if i := bytes.Index(doc, []byte(from)); i < 0 || !bytes.Contains(spec, doc[i:]) {
			t.Errorf("SPEC.md does not show the end of %s as it is", name)
		}
	}
	for _, name := range []string{"good/ACME/down/0000000002.manifest.json.sig", "allowed_signers"} {
		for line := range strings.Lines(string(readVector(t, name))) {
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, "till-") && !strings.Contains(line, "release@") && !bytes.Contains(spec, []byte("    "+line)) {
				t.Errorf("SPEC.md does not show %q of %s", line, name)
			}
		}
	}
	var ix index
	if err := json.Unmarshal(readVector(t, "index.json"), &ix); err != nil {
		t.Fatal(err)
	}
	for _, v := range ix.Bad {
		if !bytes.Contains(spec, []byte("\n| "+v.Rule+" | ")) {
			t.Errorf("SPEC.md has no rule %s", v.Rule)
		}
	}
}

func checkPosition(t *testing.T, v positionVector, trust *keys.Trust) {
	stream := strings.TrimPrefix(path.Dir(v.File), "good/")
	m, _, err := manifest.Open(v.File, stream, readVector(t, v.File), readVector(t, v.File+".sig"), trust)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Follows(manifest.Position{Epoch: v.LastEpoch, Sequence: v.LastSequence, Digest: v.LastSHA256})
	switch {
	case v.Rule == "" && err != nil:
		t.Errorf("%s after %d: %v", v.File, v.LastSequence, err)
	case v.Rule != "" && (!errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "(rule "+v.Rule+")")):
		t.Errorf("%s after %d: %v, want rule %s", v.File, v.LastSequence, err, v.Rule)
	}
}

func openVector(t *testing.T, kind, file, stream string, trust *keys.Trust) (manifest.Position, error) {
	t.Helper()
	doc, sig := readVector(t, file), readVector(t, file+".sig")
	if kind == "head" {
		h, err := manifest.OpenHead(file, doc, sig, trust)
		if err != nil {
			return manifest.Position{}, err
		}
		return h.Position(), nil
	}
	if kind == "receipt" {
		r, err := manifest.OpenReceipt(file, stream, doc, sig, trust)
		if err != nil {
			return manifest.Position{}, err
		}
		return r.Position(), nil
	}
	_, position, err := manifest.Open(file, stream, doc, sig, trust)
	return position, err
}

func readVector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
