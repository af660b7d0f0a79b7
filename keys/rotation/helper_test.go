package rotation

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
)

// A world has roots, a server, a release manager and tills, and what they have
// signed.
type world struct {
	t     testing.TB
	keys  map[string]keys.Signer // by a name of the test
	files memory
}

func newWorld(t testing.TB) *world {
	return &world{t: t, keys: map[string]keys.Signer{}, files: memory{}}
}

// key returns the key of that name, whose seed is the SHA-256 of it: the vectors
// are the same at every run, and anybody can make them again.
func (w *world) key(name string) keys.Signer {
	w.t.Helper()
	if s := w.keys[name]; s != nil {
		return s
	}
	seed := sha256.Sum256([]byte(name))
	private, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := keys.NewSigner(private)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys[name] = s
	return s
}

func (w *world) text(name string) string { return keys.AuthorizedLine(w.key(name).Public(), "") }

func (w *world) fingerprint(name string) string { return Fingerprint(w.text(name)) }

func (w *world) root(n string) Root {
	return Root{Principal: "root-" + n + "@acme", Key: w.text("root-" + n)}
}

func (w *world) server(key string) Grant {
	return Grant{"server@acme", []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceReceipt, keys.NamespaceTills}, w.text(key)}
}

func (w *world) till(number, key string) Grant {
	return Grant{"till-" + number + "@acme", []string{keys.NamespaceTickets, keys.NamespaceHead}, w.text(key)}
}

var day = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// first is a document with three roots, of whom two must sign, and a server.
func (w *world) first() *Document {
	return &Document{Format: Format, Dossier: "ACME", Version: 1, Previous: NoPrevious(), Created: day, Threshold: 2,
		Roots: []Root{w.root("1"), w.root("2"), w.root("3")}, Keys: []Grant{w.server("server")}}
}

// after is a document that follows the block and says the same.
func (w *world) after(b *keys.Block) *Document {
	d := Draft(b)
	d.Created = day
	return d
}

// changed is the document after the trust's, with a change.
func (w *world) changed(t *keys.Trust, change func(*world, *Document)) *Document {
	d := w.after(t.Block("ACME"))
	if change != nil {
		change(w, d)
	}
	return d
}

func (w *world) tills(b *keys.Block, list ...Grant) *TillList {
	l := DraftTills(b, "server@acme")
	l.Created, l.Keys = day, list
	return l
}

func (w *world) encode(d *Document) []byte {
	w.t.Helper()
	doc, err := d.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// raw encodes without looking, as a thief's program would.
func (w *world) raw(v any) []byte {
	w.t.Helper()
	doc, err := keys.EncodeStatement(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// signed are the signatures of some keys under a document.
func (w *world) signed(doc []byte, names ...string) []Signature {
	w.t.Helper()
	var list []Signature
	for _, n := range names {
		list = append(list, Signature{n + ".sig", w.sign(n, doc, keys.NamespaceTrust)})
	}
	return list
}

func (w *world) sign(name string, doc []byte, namespace string) []byte {
	w.t.Helper()
	sig, err := w.key(name).Sign(doc, namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	return sig
}

// publish puts a document and its signatures among the files.
func (w *world) publish(d *Document, names ...string) {
	w.t.Helper()
	doc := w.encode(d)
	w.files[Name(d.Version)] = doc
	for _, n := range names {
		w.files[SignatureName(Name(d.Version), n+"@acme")] = w.sign(n, doc, keys.NamespaceTrust)
	}
}

// begun is the trust at version 1.
func (w *world) begun() *keys.Trust {
	w.t.Helper()
	doc := w.encode(w.first())
	t, _, err := Begin(w.empty(), doc, w.signed(doc, "root-1", "root-3"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(w.first(), "root-1", "root-3")
	return t
}

func (w *world) empty() *keys.Trust {
	w.t.Helper()
	t, err := keys.ParseAllowedSigners("allowed_signers", []byte("# ours\n"))
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// advance goes one version on, which has to be possible.
func (w *world) advance(t *keys.Trust, d *Document, names ...string) *keys.Trust {
	w.t.Helper()
	doc := w.encode(d)
	next, _, err := Advance(t, "ACME", doc, w.signed(doc, names...))
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(d, names...)
	return next
}

func (w *world) wantRule(err error, rule string) {
	w.t.Helper()
	r := (*Refusal)(nil)
	if !errors.As(err, &r) || !errors.Is(err, ErrRefused) {
		w.t.Fatalf("not refused, but wanted rule %s: %v", rule, err)
	}
	if r.Rule != rule || r.File == "" || r.Detail == "" {
		w.t.Fatalf("%v; want rule %s", err, rule)
	}
}

// memory are files in memory.
type memory map[string][]byte

func (m memory) Names() ([]string, error) {
	var list []string
	for n := range m {
		list = append(list, n)
	}
	return list, nil
}

func (m memory) Read(name string) ([]byte, error) {
	data, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}
