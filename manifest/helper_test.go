package manifest_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// newKey returns the Ed25519 key of a seed, the same one in every run.
func newKey(t testing.TB, seed string) keys.Signer {
	t.Helper()
	private := ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, ed25519.SeedSize)...)[:ed25519.SeedSize])
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A world has the keys of one deployment and what everyone in it trusts.
type world struct {
	server, till17, till18, release, stranger keys.Signer
	allowed                                   string
	trust                                     *keys.Trust
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		server: newKey(t, "server"), till17: newKey(t, "till 17"), till18: newKey(t, "till 18"),
		release: newKey(t, "release"), stranger: newKey(t, "stranger"),
	}
	// Everyone may sign in every namespace, so that only the principal is
	// left to tell them apart.
	all := []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceTickets, keys.NamespaceReceipt, keys.NamespacePackage}
	w.allowed = strings.Join([]string{
		keys.AllowedLine([]string{"server@acme"}, all, w.server.Public(), ""),
		keys.AllowedLine([]string{"till-017@acme"}, all, w.till17.Public(), ""),
		keys.AllowedLine([]string{"till-018@acme"}, all, w.till18.Public(), ""),
		keys.AllowedLine([]string{"release@acme"}, all, w.release.Public(), ""),
	}, "\n") + "\n"
	var err error
	if w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(w.allowed)); err != nil {
		t.Fatal(err)
	}
	return w
}

// sign signs whatever it is given, as a writer that is broken or in other
// hands would.
func sign(t testing.TB, s keys.Signer, doc []byte, namespace string) []byte {
	t.Helper()
	sig, err := s.Sign(doc, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// open opens doc, found in ACME/down, under a good signature of s.
func (w *world) open(t testing.TB, s keys.Signer, doc []byte) (*manifest.Manifest, error) {
	t.Helper()
	m, _, err := manifest.Open("x.manifest.json", "ACME/down", doc, sign(t, s, doc, keys.NamespaceManifest), w.trust)
	return m, err
}

// openUp opens doc, found in ACME/up/017, under a good signature of s.
func (w *world) openUp(t testing.TB, s keys.Signer, doc []byte) (*manifest.Manifest, error) {
	t.Helper()
	m, _, err := manifest.Open("x.manifest.json", "ACME/up/017", doc, sign(t, s, doc, keys.NamespaceTickets), w.trust)
	return m, err
}

func (w *world) openHead(t testing.TB, s keys.Signer, doc []byte) (*manifest.Head, error) {
	t.Helper()
	return manifest.OpenHead("HEAD.json", doc, sign(t, s, doc, keys.NamespaceHead), w.trust)
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func digest(c string) string { return strings.Repeat(c, 64) }

// delta returns a good manifest with two tables and three members.
func delta() *manifest.Manifest {
	article := []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "price", Type: "INTEGER"}}
	special := []manifest.Column{{Name: "a\"b", Type: ""}, {Name: "é", Type: "VARCHAR(20)"}}
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: "ACME/down", Epoch: 1, Sequence: 42, Previous: digest("d"),
		Kind: manifest.Delta, Created: noon, Signer: "server@acme",
		Archive: manifest.Archive{Name: "0000000042.tar.zst", Size: 600, SHA256: digest("a")},
		Tables: []manifest.Table{
			{Name: "article", Scope: manifest.Changes, Columns: article, Key: []string{"code"}, Schema: manifest.Fingerprint(article, []string{"code"})},
			{Name: "Prix <é>", Scope: manifest.Whole, Columns: special, Key: []string{"é", "a\"b"}, Schema: manifest.Fingerprint(special, []string{"é", "a\"b"})},
		},
		Members: []manifest.Member{
			{Name: "data/article.0001.ndjson", Table: "article", Rows: 3, Size: 200, SHA256: digest("1")},
			{Name: "data/%50rix%20%3c%c3%a9%3e.0001.ndjson", Table: "Prix <é>", Rows: 0, Size: 60, SHA256: digest("2")},
			{Name: "data/article.0002.ndjson", Table: "article", Rows: 1, Size: 513, SHA256: digest("3")},
		},
	}
	m.Archive.TarSize = manifest.TarSize(m.Members)
	return m
}

// baseline returns a good first manifest.
func baseline() *manifest.Manifest {
	m := delta()
	m.Kind, m.Previous, m.Sequence, m.Archive.Name = manifest.Baseline, manifest.NoPrevious(), 1, "0000000001.tar.zst"
	m.Tables[0].Scope = manifest.Whole
	return m
}

func head() *manifest.Head {
	return &manifest.Head{
		Format: manifest.HeadFormat, Stream: "ACME/down", Epoch: 1, Sequence: 42, Digest: digest("a"),
		Baseline: 40, Oldest: 1, Issue: 1000, Issued: noon, Expires: noon.Add(24 * time.Hour),
	}
}

func encodeReceipt(t testing.TB, r *manifest.Receipt) []byte {
	t.Helper()
	doc, err := manifest.EncodeReceipt(r)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func encode(t testing.TB, m *manifest.Manifest) []byte {
	t.Helper()
	doc, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func encodeHead(t testing.TB, h *manifest.Head) []byte {
	t.Helper()
	doc, err := manifest.EncodeHead(h)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// wantRule checks that err is a refusal by that rule, which names the file.
func wantRule(t testing.TB, err error, rule, file string) {
	t.Helper()
	r := (*manifest.Refusal)(nil)
	switch {
	case !errors.Is(err, manifest.ErrRefused) || !errors.As(err, &r):
		t.Errorf("error %v, want a refusal by rule %s", err, rule)
	case r.Rule != rule:
		t.Errorf("refused by rule %s, want %s: %v", r.Rule, rule, err)
	case !strings.HasPrefix(err.Error(), file+": refused (rule "+rule+"): "):
		t.Errorf("error %q does not begin with the file and the rule", err)
	}
}

// replace changes one place of a document, and fails when it is not there.
func replace(t testing.TB, doc []byte, from, to string) []byte {
	t.Helper()
	if bytes.Count(doc, []byte(from)) < 1 {
		t.Fatalf("%q is not in the document", from)
	}
	return bytes.Replace(doc, []byte(from), []byte(to), 1)
}
