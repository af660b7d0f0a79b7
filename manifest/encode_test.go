package manifest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// The encoding, to the byte.
func TestEncodeHead(t *testing.T) {
	want := `{
  "format": "caisseauto/head/1",
  "stream": "ACME/down",
  "epoch": 1,
  "sequence": 42,
  "manifest_sha256": "` + digest("a") + `",
  "baseline": 40,
  "oldest": 1,
  "issue": 1000,
  "issued": "2026-03-01T12:00:00Z",
  "expires": "2026-03-02T12:00:00Z"
}
`
	if got := string(encodeHead(t, head())); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What strings become is part of the format; SPEC.md lists it.
func TestEncodeStrings(t *testing.T) {
	m := baseline()
	for in, want := range map[string]string{
		`a"b\c/d`:        `a\"b\\c/d`,
		"\b\f\n\r\t":     `\b\f\n\r\t`,
		"\x01\x1f":       `\u0001\u001f`,
		"\x7f<>&'é€😀":    "\x7f<>&'é€😀",
		"\u2028 \u2029":  `\u2028 \u2029`,
		"\u0085\ufeff\t": "\u0085\ufeff" + `\t`,
	} {
		m.Tables[0].Columns[1].Type = in
		m.Tables[0].Schema = manifest.Fingerprint(m.Tables[0].Columns, m.Tables[0].Key)
		if doc := encode(t, m); !bytes.Contains(doc, []byte(`"type": "`+want+"\"\n")) {
			t.Errorf("%q is not written as %s", in, want)
		}
	}
	m.Tables[0].Columns[1].Type = "\xff"
	_, err := manifest.Encode(m)
	wantRule(t, err, "M7", "manifest")
}

// A list that is missing is written as an empty one, never as null.
func TestEncodeNoNull(t *testing.T) {
	m := baseline()
	m.Members = nil
	m.Archive.TarSize = manifest.TarSize(nil)
	if doc := encode(t, m); !bytes.HasSuffix(doc, []byte("  \"members\": []\n}\n")) || bytes.Contains(doc, []byte("null")) {
		t.Errorf("%s", doc)
	}
	if m.Members != nil {
		t.Error("Encode changed its argument")
	}
}

// What Open would refuse is not encoded: the caller's own mistakes.
func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*manifest.Manifest)
		rule  string
	}{
		"local time":       {func(m *manifest.Manifest) { m.Created = m.Created.In(time.FixedZone("CET", 3600)) }, "D8"},
		"fraction":         {func(m *manifest.Manifest) { m.Created = m.Created.Add(1) }, "D8"},
		"year 10000":       {func(m *manifest.Manifest) { m.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "D8"},
		"no time":          {func(m *manifest.Manifest) { m.Created = time.Time{} }, "D8"},
		"no tables":        {func(m *manifest.Manifest) { m.Tables = nil }, "M5"},
		"nothing":          {func(m *manifest.Manifest) { *m = manifest.Manifest{} }, "D4"},
		"name too long":    {func(m *manifest.Manifest) { m.Tables[0].Name = strings.Repeat("x", 1025) }, "M5"},
		"row bytes beyond": {func(m *manifest.Manifest) { m.Members[0].Size = manifest.MaxMember + manifest.MaxMemberHeader + 1 }, "M11"},
	} {
		m := delta()
		c.spoil(m)
		_, err := manifest.Encode(m)
		t.Run(name, func(t *testing.T) { wantRule(t, err, c.rule, "manifest") })
	}
	m := delta()
	m.Created = manifest.Time(time.Date(2026, 3, 1, 13, 0, 0, 999, time.FixedZone("CET", 3600)))
	if !bytes.Equal(encode(t, m), encode(t, delta())) {
		t.Error("Time does not make the format's time")
	}
}

func TestFingerprint(t *testing.T) {
	columns := []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "a<b", Type: ""}}
	// printf '{"columns":[{"name":"code","type":"TEXT"},{"name":"a<b","type":""}],"key":["code"]}' | sha256sum
	want := "26197aacd50c832cde790a73e4ff8b8a8ad3dd5491e7c360f5cb689d8a66c6fa"
	if got := manifest.Fingerprint(columns, []string{"code"}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	seen := map[string]bool{want: true}
	for _, c := range []struct {
		columns []manifest.Column
		key     []string
	}{
		{[]manifest.Column{columns[1], columns[0]}, []string{"code"}},
		{columns[:1], []string{"code"}},
		{columns, []string{"a<b"}},
		{columns, []string{"code", "a<b"}},
		{[]manifest.Column{columns[0], {Name: "a<b", Type: "TEXT"}}, []string{"code"}},
		{nil, nil},
	} {
		if got := manifest.Fingerprint(c.columns, c.key); seen[got] {
			t.Errorf("%v, %v has the fingerprint of another table", c.columns, c.key)
		} else {
			seen[got] = true
		}
	}
}

// An auditor with a shell and no program of ours.
func TestStockTools(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed: apt-get install openssh-client")
	}
	w := newWorld(t)
	doc, sig, err := manifest.Seal(delta(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	hdoc, hsig, err := manifest.SealHead(head(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	verify := func(doc, sig []byte, principal, namespace string) bool {
		cmd := exec.Command(keygen, "-Y", "verify", "-f", put("allowed_signers", []byte(w.allowed)),
			"-I", principal, "-n", namespace, "-s", put("x.sig", sig))
		cmd.Stdin = bytes.NewReader(doc)
		return cmd.Run() == nil
	}
	if !verify(doc, sig, "server@acme", keys.NamespaceManifest) || !verify(hdoc, hsig, "server@acme", keys.NamespaceHead) {
		t.Error("ssh-keygen refuses a manifest or a head")
	}
	if verify(append(doc, ' '), sig, "server@acme", keys.NamespaceManifest) || verify(hdoc, hsig, "server@acme", keys.NamespaceManifest) ||
		verify(doc, sig, "till-017@acme", keys.NamespaceManifest) {
		t.Error("ssh-keygen accepts what it must not: the test shows nothing")
	}
	// Top-level scalars stand one to a line, for sed.
	sed := exec.Command("sed", "-n", `s/^  "sequence": \([0-9]*\),$/\1/p`)
	sed.Stdin = bytes.NewReader(doc)
	if out, err := sed.Output(); err == nil && string(out) != "42\n" {
		t.Errorf("sed finds %q", out)
	}
}
