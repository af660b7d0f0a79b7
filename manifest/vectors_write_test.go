package manifest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// A vectorWriter writes testdata/vectors.
type vectorWriter struct {
	t         testing.TB
	keys      map[string]keys.Signer
	trust     *keys.Trust
	index     index
	documents map[string]bool
	before    map[string][]byte // signatures of bad vectors that are there already
}

func writeVectors(t testing.TB) {
	w := &vectorWriter{t: t, keys: map[string]keys.Signer{}, documents: map[string]bool{}}
	for _, dir := range []string{"good", "bad"} {
		if dir == "bad" {
			w.remember(dir)
			w.must(os.RemoveAll(filepath.Join(vectors, dir)))
		}
		w.must(os.MkdirAll(filepath.Join(vectors, dir), 0o755))
	}
	for _, name := range []string{"server", "till-017", "till-018", "release", "stranger"} {
		w.keys[name] = w.key(name)
	}
	w.writeTrust()
	w.writeGood()
	w.writeBad()
	w.writeLists()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	w.must(e.Encode(w.index))
	w.write("index.json", b.Bytes())
}

// remember reads the signatures in a folder: those of ECDSA have other bytes
// each time, and vectors that did not change should not either.
func (w *vectorWriter) remember(dir string) {
	w.before = map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(vectors, dir, "*.sig"))
	w.must(err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		w.must(err)
		w.before[dir+"/"+filepath.Base(name)] = data
	}
}

func (w *vectorWriter) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *vectorWriter) write(name string, data []byte) {
	w.t.Helper()
	path := filepath.Join(vectors, filepath.FromSlash(name))
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, data, 0o644))
}

// key returns the test-only key of that name, made on the first run. Till
// 017's is ECDSA, so that the vectors have one.
func (w *vectorWriter) key(name string) keys.Signer {
	path := filepath.Join(vectors, "keys", name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		w.must(os.MkdirAll(filepath.Dir(path), 0o755))
		if name == "till-017" {
			w.writeECDSA(path)
		} else {
			_, err := keys.Generate(path, "test only: "+name)
			w.must(err)
		}
	}
	data, err := os.ReadFile(path) // not Load: git keeps no mode 0600
	w.must(err)
	s, err := keys.ParsePrivate(path, data, nil)
	w.must(err)
	return s
}

func (w *vectorWriter) writeECDSA(path string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	block, err := ssh.MarshalPrivateKey(private, "test only: till-017")
	w.must(err)
	pub, err := ssh.NewPublicKey(&private.PublicKey)
	w.must(err)
	w.must(os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	w.must(os.WriteFile(path+".pub", []byte(keys.AuthorizedLine(pub, "test only: till-017")+"\n"), 0o644))
}

func (w *vectorWriter) writeTrust() {
	// The release manager's key could sign everything but for its name.
	release := []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceTickets, keys.NamespaceReceipt, keys.NamespacePackage}
	list := "# Test-only keys; their private halves are public.\n" +
		keys.AllowedLine([]string{"server@acme"}, []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceReceipt}, w.keys["server"].Public(), "test only") + "\n" +
		keys.AllowedLine([]string{"till-017@acme"}, []string{keys.NamespaceTickets, keys.NamespaceHead}, w.keys["till-017"].Public(), "test only") + "\n" +
		keys.AllowedLine([]string{"till-018@acme"}, []string{keys.NamespaceHead}, w.keys["till-018"].Public(), "test only") + "\n" +
		keys.AllowedLine([]string{"release@acme"}, release, w.keys["release"].Public(), "test only") + "\n"
	w.write("allowed_signers", []byte(list))
	var err error
	w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(list))
	w.must(err)
}

// sign keeps a signature that is there and still good: one of ECDSA has other
// bytes each time.
func (w *vectorWriter) sign(name, key string, doc []byte, namespace string) []byte {
	if old, err := os.ReadFile(filepath.Join(vectors, filepath.FromSlash(name))); err == nil {
		if _, err := w.trust.Verify(doc, old, namespace); err == nil {
			return old
		}
	}
	return sign(w.t, w.keys[key], doc, namespace)
}

func badName(kind, why string) string {
	return "bad/" + kind + "-" + strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(why), "-"), "-") + ".json"
}

// keep signs, or takes the signature that stood there before the folder was
// emptied, when it is still good.
func (w *vectorWriter) keep(kind, why, key string, doc []byte, namespace string) []byte {
	old := w.before[badName(kind, why)+".sig"]
	if _, err := w.trust.Verify(doc, old, namespace); err == nil {
		return old
	}
	return sign(w.t, w.keys[key], doc, namespace)
}

// bad writes a statement that was found in the folder ACME/down.
func (w *vectorWriter) bad(kind, rule, why string, doc, sig []byte) {
	w.badIn("ACME/down", kind, rule, why, doc, sig)
}

func (w *vectorWriter) badIn(stream, kind, rule, why string, doc, sig []byte) {
	name := badName(kind, why)
	if w.documents[name] {
		w.t.Fatalf("two vectors are called %s", name)
	}
	w.documents[name] = true
	w.write(name, doc)
	w.write(name+".sig", sig)
	w.index.Bad = append(w.index.Bad, badVector{Kind: kind, File: name, Stream: stream, Rule: rule, Why: why})
}

func (w *vectorWriter) writeBad() {
	good, goodHead := encode(w.t, delta()), encodeHead(w.t, head())
	for _, c := range append(badEncodings, badManifests...) {
		doc := replace(w.t, good, c.from, c.to)
		w.bad("manifest", c.rule, c.name, doc, sign(w.t, w.keys["server"], doc, keys.NamespaceManifest))
	}
	for _, c := range badHeads {
		doc := replace(w.t, goodHead, c.from, c.to)
		w.bad("head", c.rule, c.name, doc, sign(w.t, w.keys["server"], doc, keys.NamespaceHead))
	}
	w.writeBadSignatures(good)
	w.writeBadOfTills()
	sig := sign(w.t, w.keys["server"], goodHead, keys.NamespaceHead)
	w.bad("head", "S3", "manifest served as a head", good, sign(w.t, w.keys["server"], good, keys.NamespaceManifest))
	w.bad("head", "S6", "signed by a till for the stream down", goodHead, sign(w.t, w.keys["till-018"], goodHead, keys.NamespaceHead))
	w.bad("head", "S5", "one byte changed", replace(w.t, goodHead, `"issue": 1000`, `"issue": 1001`), sig)
	long := append(bytes.Clone(goodHead), make([]byte, manifest.MaxHead+1-len(goodHead))...)
	w.bad("head", "D1", "larger than any", long, sign(w.t, w.keys["server"], long, keys.NamespaceHead))
}

func (w *vectorWriter) writeBadSignatures(doc []byte) {
	sig := sign(w.t, w.keys["server"], doc, keys.NamespaceManifest)
	armor := func(from, to string) []byte { return replace(w.t, sig, from, to) }
	flipped := bytes.Clone(sig)
	flipped[len(flipped)-60] ^= 1 // within the base64 of the signature proper
	for _, c := range []struct {
		rule, why string
		sig       []byte
	}{
		{"S1", "signature larger than any", append(bytes.Clone(sig), make([]byte, manifest.MaxSignature)...)},
		{"S2", "signature empty", nil},
		{"S2", "signature with text before it", append([]byte("hello\n"), sig...)},
		{"S2", "signature with text behind it", append(bytes.Clone(sig), "hello\n"...)},
		{"S2", "signature twice", append(bytes.Clone(sig), sig...)},
		{"S2", "signature with CR LF", bytes.ReplaceAll(sig, []byte("\n"), []byte("\r\n"))},
		{"S2", "signature with a PEM header", armor("\n", "\nComment: hello\n\n")},
		{"S2", "signature without its last line feed", sig[:len(sig)-1]},
		{"S3", "signed as a head", sign(w.t, w.keys["server"], doc, keys.NamespaceHead)},
		{"S3", "signed as a package", sign(w.t, w.keys["server"], doc, "package@caisseauto")},
		{"S3", "key whose line allows heads only", sign(w.t, w.keys["till-018"], doc, keys.NamespaceManifest)},
		{"S4", "signed by a stranger", sign(w.t, w.keys["stranger"], doc, keys.NamespaceManifest)},
		{"S5", "signature of another manifest", sign(w.t, w.keys["server"], append(bytes.Clone(doc), '\n'), keys.NamespaceManifest)},
		{"S5", "signature with one bit flipped", flipped},
		{"S6", "signed by the release manager for the server", sign(w.t, w.keys["release"], doc, keys.NamespaceManifest)},
	} {
		w.bad("manifest", c.rule, c.why, doc, c.sig)
	}
	doc = replace(w.t, doc, `"sequence": 42`, `"sequence": 43`)
	w.bad("manifest", "S5", "one byte changed", doc, sig)
}

// writeBadOfTills writes what goes wrong between a till and the server.
func (w *vectorWriter) writeBadOfTills() {
	up, down, h, r := encode(w.t, tickets()), encode(w.t, terms()), encodeHead(w.t, tillHead()), encodeReceipt(w.t, receipt())
	for _, c := range []struct {
		stream, kind, prefix, key, namespace string
		good                                 []byte
		bad                                  []bad
	}{
		{"ACME/up/017", "manifest", "tickets: ", "till-017", keys.NamespaceTickets, up, badTickets},
		{"ACME/down", "manifest", "terms: ", "server", keys.NamespaceManifest, down, badTerms},
		{"ACME/up/017", "head", "", "till-017", keys.NamespaceHead, h, badTillHeads},
		{"ACME/up/017", "head", "software: ", "till-017", keys.NamespaceHead, encodeHead(w.t, softwareHead()), badSoftware},
		{"ACME/up/017", "receipt", "", "server", keys.NamespaceReceipt, r, badReceipts},
		{"ACME/packages", "manifest", "package: ", "release", keys.NamespacePackage, encode(w.t, software()), badPackages},
		{"ACME/packages", "manifest", "rollback: ", "release", keys.NamespacePackage, encode(w.t, stepBack()), badRollbacks},
	} {
		for _, b := range c.bad {
			doc := replace(w.t, c.good, b.from, b.to)
			w.badIn(c.stream, c.kind, b.rule, c.prefix+b.name, doc, w.keep(c.kind, c.prefix+b.name, c.key, doc, c.namespace))
		}
	}
	for _, c := range []struct {
		stream, kind, rule, why, key, namespace string
		doc                                     []byte
	}{
		{"ACME/up/017", "manifest", "S3", "tickets signed as the server's batch", "till-017", keys.NamespaceManifest, up},
		{"ACME/up/017", "manifest", "S3", "tickets signed by the server", "server", keys.NamespaceTickets, up},
		{"ACME/up/017", "manifest", "S4", "tickets signed by a stranger", "stranger", keys.NamespaceTickets, up},
		{"ACME/up/017", "manifest", "S6", "tickets signed by the release manager", "release", keys.NamespaceTickets, up},
		{"ACME/up/018", "manifest", "P1", "tickets found in another till's folder", "till-017", keys.NamespaceTickets, up},
		{"ACME/down", "manifest", "S3", "tickets found in the stream down", "till-017", keys.NamespaceTickets, up},
		{"ACME/packages", "manifest", "S3", "package signed as a batch of rows", "release", keys.NamespaceManifest, encode(w.t, software())},
		{"ACME/packages", "manifest", "S3", "package signed by the server", "server", keys.NamespacePackage, encode(w.t, software())},
		{"ACME/packages", "manifest", "S4", "package signed by a stranger", "stranger", keys.NamespacePackage, encode(w.t, software())},
		{"BETA/packages", "manifest", "P1", "package found in another dossier", "release", keys.NamespacePackage, encode(w.t, software())},
		{"ACME/up/017", "receipt", "S3", "signed by the till itself", "till-017", keys.NamespaceReceipt, r},
		{"ACME/up/017", "receipt", "S3", "signed as a head", "server", keys.NamespaceHead, r},
		{"ACME/up/017", "receipt", "S4", "signed by a stranger", "stranger", keys.NamespaceReceipt, r},
		{"ACME/up/017", "receipt", "S6", "signed by the release manager", "release", keys.NamespaceReceipt, r},
		{"ACME/up/018", "receipt", "P1", "of another till", "server", keys.NamespaceReceipt, r},
	} {
		w.badIn(c.stream, c.kind, c.rule, c.why, c.doc, w.keep(c.kind, c.why, c.key, c.doc, c.namespace))
	}
	w.badIn("ACME/up/017", "receipt", "S5", "one byte changed", replace(w.t, r, `"integrated": 1234`, `"integrated": 1235`), sign(w.t, w.keys["server"], r, keys.NamespaceReceipt))
}

func (w *vectorWriter) writeLists() {
	key := keys.AuthorizedLine(w.keys["server"].Public(), "")
	for _, c := range []struct{ why, line string }{
		{"wildcard", "*@acme " + key},
		{"upper case", "Server@acme " + key},
		{"authority", "server@acme cert-authority " + key},
		{"time", `server@acme valid-before="20260101Z" ` + key},
		{"namespace wildcard", `server@acme namespaces="*" ` + key},
		{"option twice", `server@acme namespaces="a@b",namespaces="c@d" ` + key},
		{"no key", "server@acme"},
		{"cut key", "server@acme " + key[:len(key)-4]},
		{"DSA", "server@acme ssh-dss AAAAB3NzaC1kc3M="},
		{"CR LF", "server@acme " + key + "\r"},
	} {
		name := "bad/allowed_signers-" + strings.ReplaceAll(strings.ToLower(c.why), " ", "-")
		w.write(name, []byte("# "+c.why+"\nserver@acme "+key+"\n"+c.line+"\n"))
		w.index.AllowedSigners = append(w.index.AllowedSigners, listVector{File: name, Line: 3, Why: c.why})
	}
}
