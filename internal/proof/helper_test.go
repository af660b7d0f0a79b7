package proof_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/proof"
	"caisseauto/keys"
	"caisseauto/manifest"
)

const incarnation = "00112233445566778899aabbccddeeff"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newKey returns the key of a seed, the same one in every run.
func newKey(t testing.TB, seed string) keys.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, 32)...)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A world is a drop's folder of one dossier, what till 017 has put there and
// what the server has answered. Its batches hold ten tickets each.
type world struct {
	t                      testing.TB
	server, till, stranger keys.Signer
	trust                  *keys.Trust
	files                  map[string][]byte
	last                   manifest.Position
	sealed                 []manifest.Total
	positions              []manifest.Position
}

func newWorld(t testing.TB, batches int) *world {
	t.Helper()
	w := &world{t: t, server: newKey(t, "server"), till: newKey(t, "till"), stranger: newKey(t, "stranger"), files: map[string][]byte{}}
	all := []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceTickets, keys.NamespaceReceipt}
	var err error
	w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(
		keys.AllowedLine([]string{"server@acme"}, all, w.server.Public(), "")+"\n"+
			keys.AllowedLine([]string{"till-017@acme"}, all, w.till.Public(), "")+"\n"))
	w.check(err)
	for range batches {
		w.seal(w.batch())
	}
	w.head(w.last, nil)
	w.receipt(nil)
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// batch returns the next batch: tickets n0+1 to n0+10 at 100 cents each, and
// 25 lines.
func (w *world) batch() *manifest.Manifest {
	n := w.last.Sequence + 1
	columns := []manifest.Column{{Name: "numero", Type: "INTEGER"}}
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: "ACME/up/017", Epoch: max(w.last.Epoch, 1), Sequence: n, Previous: w.last.Digest,
		Kind: manifest.Delta, Created: noon.Add(time.Duration(n) * time.Hour), Signer: "till-017@acme", Incarnation: incarnation,
		Archive: manifest.Archive{Name: manifest.FileName(n, manifest.ArchiveExt), Size: 600, SHA256: strings.Repeat("a", 64)},
		Totals: []manifest.Total{
			{Table: "ticket", Rows: "10", Sums: []manifest.Sum{{Column: "total_ttc", Sum: "1000"}}, Numbers: []string{fmt.Sprintf("%d-%d", 10*n-9, 10*n)}},
			{Table: "ligne", Rows: "25", Sums: []manifest.Sum{{Column: "montant", Sum: "1000.25"}}, Numbers: []string{}},
		},
	}
	if n == 1 {
		m.Previous = manifest.NoPrevious()
	}
	for _, table := range []string{"ticket", "ligne"} {
		m.Tables = append(m.Tables, manifest.Table{Name: table, Scope: manifest.Changes, Columns: columns, Key: []string{"numero"},
			Schema: manifest.Fingerprint(columns, []string{"numero"})})
	}
	m.Archive.TarSize = manifest.TarSize(nil)
	return m
}

func (w *world) seal(m *manifest.Manifest) {
	w.t.Helper()
	doc, sig, err := manifest.Seal(m, w.till)
	w.check(err)
	w.put(w.name(m.Sequence), doc, sig)
	w.last = manifest.Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: manifest.Digest(doc)}
	w.positions = append(w.positions, w.last)
	w.sealed, err = manifest.AddTotals(w.sealed, m.Totals)
	w.check(err)
}

func (w *world) name(n int64) string { return "up/017/" + manifest.FileName(n, manifest.ManifestExt) }

func (w *world) put(name string, doc, sig []byte) {
	w.files[name], w.files[name+".sig"] = doc, sig
}

// head writes the till's head; edit may change it.
func (w *world) head(p manifest.Position, edit func(*manifest.Head)) {
	w.t.Helper()
	h := &manifest.Head{Format: manifest.HeadFormat, Stream: "ACME/up/017", Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest,
		Oldest: 1, Issue: 1, Issued: noon, Expires: noon.Add(24 * time.Hour), Till: &manifest.TillState{Incarnation: incarnation}}
	if edit != nil {
		edit(h)
	}
	doc, sig, err := manifest.SealHead(h, w.till)
	w.check(err)
	w.put("up/017/HEAD.json", doc, sig)
}

// receipt writes the server's receipt of all that was sealed until now; edit
// may change it.
func (w *world) receipt(edit func(*manifest.Receipt)) {
	w.t.Helper()
	r := &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: "ACME/up/017", Signer: "server@acme", Epoch: w.last.Epoch, Sequence: w.last.Sequence,
		Digest: w.last.Digest, Incarnation: incarnation, Issue: 1, Issued: noon, Totals: clone(w.sealed)}
	if edit != nil {
		edit(r)
	}
	doc, sig, err := manifest.SealReceipt(r, w.server)
	w.check(err)
	w.put("receipts/017.json", doc, sig)
}

func clone(totals []manifest.Total) []manifest.Total {
	out := slices.Clone(totals)
	for i := range out {
		out[i].Sums, out[i].Numbers = slices.Clone(out[i].Sums), slices.Clone(out[i].Numbers)
	}
	return out
}

// Manifests implements proof.Files.
func (w *world) Manifests(_ context.Context, folder string) ([]int64, error) {
	var all []int64
	for name := range w.files {
		if base, ok := strings.CutPrefix(name, folder+"/"); ok && strings.HasSuffix(base, ".manifest.json") {
			n, err := strconv.ParseInt(strings.TrimSuffix(base, ".manifest.json"), 10, 64)
			w.check(err)
			all = append(all, n)
		}
	}
	return all, nil // in no order: Prove must not rely on one
}

// Read implements proof.Files.
func (w *world) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	data, ok := w.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: too large", name)
	}
	return data, nil
}

func (w *world) prove(o proof.Options) *proof.Report {
	w.t.Helper()
	r, err := proof.Prove(w.t.Context(), w, "ACME", "017", w.trust, o)
	w.check(err)
	return r
}

// want checks that a report says each of the words, and is right.
func want(t testing.TB, list []string, words ...string) {
	t.Helper()
	text := strings.Join(list, "\n")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("lacks %q:\n%s", w, text)
		}
	}
}
