package rotation

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"caisseauto/keys"
)

// TestRotationWalk: roots are replaced one after the other, the server's key
// too, and a till that was away for all of it walks every version.
func TestRotationWalk(t *testing.T) {
	w := newWorld(t)
	one := w.begun()

	d := w.after(one.Block("ACME")) // root-1 goes, root-4 comes
	d.Roots = []Root{w.root("2"), w.root("3"), w.root("4")}
	two := w.advance(one, d, "root-2", "root-3")

	d = w.after(two.Block("ACME")) // another server key; more roots have to sign
	d.Keys = append(d.Keys, w.server("server-2"))
	d.Threshold = 3
	three := w.advance(two, d, "root-2", "root-3", "root-4")

	d = w.after(three.Block("ACME"))
	d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/down", Sequence: 120}}
	four := w.advance(three, d, "root-2", "root-3", "root-4")

	away, walk, err := Follow(one, "ACME", w.files, false)
	if err != nil || len(walk.Documents) != 3 {
		t.Fatalf("%d versions, %v", len(walk.Documents), err)
	}
	if !bytes.Equal(away.Text(), four.Text()) {
		t.Errorf("walked to\n%s\nwant\n%s", away.Text(), four.Text())
	}
	if !bytes.HasPrefix(away.Text(), []byte("# ours\n#: trust ACME 4 3 ")) {
		t.Errorf("what stood in the file by hand is gone:\n%s", away.Text())
	}
	again, err := keys.ParseAllowedSigners("allowed_signers", four.Text())
	if err != nil || !bytes.Equal(again.Text(), four.Text()) {
		t.Fatal(err)
	}
	if same, walk, err := Follow(again, "ACME", w.files, false); err != nil || len(walk.Documents) != 0 || same != again {
		t.Errorf("at the end: %v, %v", walk, err)
	}
}

// refusals has a case for each way in which a document can be something else
// than the one after version 1. Each is signed by enough roots, unless that is
// the point.
var refusals = []struct {
	name, rule string
	change     func(*world, *Document)
	signers    string
}{
	{"old roots only", "T9", func(w *world, d *Document) { d.Roots = []Root{w.root("7"), w.root("8"), w.root("9")} }, "root-1 root-2 root-3"},
	{"new roots only", "T8", func(w *world, d *Document) { d.Roots = []Root{w.root("7"), w.root("8"), w.root("9")} }, "root-7 root-8 root-9"},
	{"one root twice", "T8", nil, "root-1 root-1"},
	{"one root too few", "T8", nil, "root-2"},
	{"nobody", "T8", nil, ""},
	{"server signs", "T8", nil, "server root-1"},
	{"stranger signs", "T8", nil, "stranger root-1"},
	{"higher threshold not reached", "T9", func(_ *world, d *Document) { d.Threshold = 3 }, "root-1 root-2"},
	{"threshold 0", "T3", func(_ *world, d *Document) { d.Threshold = 0 }, "root-1 root-2"},
	{"threshold above the roots", "T3", func(_ *world, d *Document) { d.Threshold = 4 }, "root-1 root-2 root-3"},
	{"no roots", "T3", func(_ *world, d *Document) { d.Roots = nil }, "root-1 root-2"},
	{"one key under two names", "T3", func(w *world, d *Document) { d.Roots[2].Key = d.Roots[0].Key }, "root-1 root-2"},
	{"one name twice", "T3", func(w *world, d *Document) { d.Roots[2].Principal = "root-1@other" }, "root-1 root-2"},
	{"a server among the roots", "T3", func(w *world, d *Document) { d.Roots[2].Principal = "server@acme" }, "root-1 root-2"},
	{"known root with another key", "T10", func(w *world, d *Document) { d.Roots[0].Key = w.text("stranger") }, "root-2 root-3"},
	{"version skipped", "T6", func(_ *world, d *Document) { d.Version = 3 }, "root-1 root-2"},
	{"same version again", "T6", func(_ *world, d *Document) { d.Version, d.Previous = 1, NoPrevious() }, "root-1 root-2"},
	{"far version", "T6", func(_ *world, d *Document) { d.Version = keys.MaxNumber }, "root-1 root-2"},
	{"version too high", "T2", func(_ *world, d *Document) { d.Version = keys.MaxNumber + 1 }, "root-1 root-2"},
	{"follows another document", "T7", func(_ *world, d *Document) { d.Previous = strings.Repeat("a", 64) }, "root-1 root-2"},
	{"no previous", "T2", func(_ *world, d *Document) { d.Previous = NoPrevious() }, "root-1 root-2"},
	{"another dossier", "T6", func(w *world, d *Document) { d.Dossier = "BETA" }, "root-1 root-2"},
	{"another format", "T2", func(_ *world, d *Document) { d.Format = "caisseauto/head/1" }, "root-1 root-2"},
	{"time with parts of seconds", "T2", func(_ *world, d *Document) { d.Created = day.Add(1) }, "root-1 root-2"},
	{"a till among the keys", "T4", func(w *world, d *Document) { d.Keys = append(d.Keys, w.till("017", "till")) }, "root-1 root-2"},
	{"a root's key for the server", "T4", func(w *world, d *Document) { d.Keys[0].Key = d.Roots[0].Key }, "root-1 root-2"},
	{"a key twice", "T4", func(w *world, d *Document) { d.Keys = append(d.Keys, d.Keys[0]) }, "root-1 root-2"},
	{"server signs packages", "T4", func(_ *world, d *Document) { d.Keys[0].Namespaces = []string{keys.NamespacePackage} }, "root-1 root-2"},
	{"server signs trust", "T4", func(_ *world, d *Document) { d.Keys[0].Namespaces = []string{keys.NamespaceTrust} }, "root-1 root-2"},
	{"server signs nothing", "T4", func(_ *world, d *Document) { d.Keys[0].Namespaces = nil }, "root-1 root-2"},
	{"key with a comment", "T4", func(_ *world, d *Document) { d.Keys[0].Key += " x" }, "root-1 root-2"},
	{"limit of an unknown key", "T5", func(w *world, d *Document) {
		d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("stranger"), Stream: "ACME/down", Sequence: 1}}
	}, "root-1 root-2"},
	{"limit in another dossier", "T5", func(w *world, d *Document) {
		d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "BETA/down", Sequence: 1}}
	}, "root-1 root-2"},
	{"limit in another stream", "T5", func(w *world, d *Document) {
		d.Revoked = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/packages", Sequence: 1}}
	}, "root-1 root-2"},
	{"retired and revoked", "T5", func(w *world, d *Document) {
		l := keys.Limit{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/down", Sequence: 1}
		d.Retired, d.Revoked = []keys.Limit{l}, []keys.Limit{l}
	}, "root-1 root-2"},
}

// TestRotationRefuses: none of them is taken over.
func TestRotationRefuses(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			one := w.begun()
			doc := w.raw(w.changed(one, c.change).filled())
			next, _, err := Advance(one, "ACME", doc, w.signed(doc, strings.Fields(c.signers)...))
			w.wantRule(err, c.rule)
			if next != nil {
				t.Error("a refused document gave a trust")
			}
		})
	}
}

// TestRotationEveryByte: whatever is changed in a signed document or in its
// signatures, the version before stays in force.
func TestRotationEveryByte(t *testing.T) {
	w := newWorld(t)
	one := w.begun()
	doc := w.encode(w.after(one.Block("ACME")))
	signatures := w.signed(doc, "root-1", "root-2")
	flip := func(data []byte, i int) []byte {
		c := bytes.Clone(data)
		c[i] ^= 1 << (i % 8)
		return c
	}
	for i := range doc {
		if _, _, err := Advance(one, "ACME", flip(doc, i), signatures); err == nil {
			t.Fatalf("byte %d of the document flipped: accepted", i)
		}
	}
	for i := range signatures[0].Data {
		one, s := one, slices.Clone(signatures)
		s[0].Data = flip(s[0].Data, i)
		if _, _, err := Advance(one, "ACME", doc, s); err == nil {
			t.Fatalf("byte %d of a signature flipped: accepted", i)
		}
	}
	if _, _, err := Advance(one, "ACME", doc, signatures); err != nil {
		t.Fatal(err)
	}
	// Whatever else lies there does no harm.
	s := append([]Signature{{"junk", []byte("junk")}}, signatures...)
	s = append(s, w.signed(doc, "stranger", "server")...)
	s = append(s, Signature{"head", w.sign("root-3", doc, keys.NamespaceHead)})
	if _, _, err := Advance(one, "ACME", doc, s); err != nil {
		t.Error(err)
	}
	if _, _, err := Advance(one, "ACME", bytes.Repeat([]byte(" "), MaxDocument+1), signatures); err == nil {
		t.Error("an endless document was accepted")
	}
}

// TestRotationSkipped: a version that is withheld ends the walk there, however
// many follow it; so does one that nobody can believe.
func TestRotationSkipped(t *testing.T) {
	w := newWorld(t)
	one := w.begun()
	two := w.advance(one, w.after(one.Block("ACME")), "root-1", "root-2")
	three := w.advance(two, w.after(two.Block("ACME")), "root-1", "root-2")
	_ = three
	second := w.files[Name(2)]
	delete(w.files, Name(2))
	at, walk, err := Follow(one, "ACME", w.files, false)
	if err != nil || len(walk.Documents) > 0 || at.Block("ACME").Version != 1 {
		t.Fatalf("version %d, %v", at.Block("ACME").Version, err)
	}
	w.files[Name(2)] = w.files[Name(3)]
	_, _, err = Follow(one, "ACME", w.files, false)
	w.wantRule(err, "T8") // the signatures that lie there are under version 2
	w.files[Name(2)] = second
	third := w.files[SignatureName(Name(3), "root-1@acme")]
	delete(w.files, SignatureName(Name(3), "root-1@acme"))
	at, walk, err = Follow(one, "ACME", w.files, false)
	w.wantRule(err, "T8")
	if at.Block("ACME").Version != 2 || len(walk.Documents) != 1 {
		t.Errorf("stands at version %d", at.Block("ACME").Version)
	}
	w.files[SignatureName(Name(3), "root-1@acme")] = third
	if at, _, err = Follow(at, "ACME", w.files, false); err != nil || at.Block("ACME").Version != 3 {
		t.Errorf("version %d, %v", at.Block("ACME").Version, err)
	}
}

// TestRotationLimitsStay: what was retired or revoked cannot be lifted by
// leaving it out, nor moved upward.
func TestRotationLimitsStay(t *testing.T) {
	w := newWorld(t)
	limit := func(n int64) []keys.Limit {
		return []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/down", Sequence: n}}
	}
	one := w.begun()
	d := w.after(one.Block("ACME"))
	d.Keys = append(d.Keys, w.server("server-2"))
	d.Retired = limit(100)
	retired := w.advance(one, d, "root-1", "root-2")
	d = w.after(retired.Block("ACME"))
	d.Retired, d.Revoked = nil, limit(90)
	revoked := w.advance(retired, d, "root-1", "root-2")
	for _, c := range []struct {
		name             string
		from             *keys.Trust
		retired, revoked []keys.Limit
		gone             bool
		refused          bool
	}{
		{"retirement lifted", retired, nil, nil, false, true},
		{"retirement later", retired, limit(101), nil, false, true},
		{"retirement earlier", retired, limit(99), nil, false, false},
		{"retired, then revoked behind it", retired, nil, limit(101), false, false},
		{"retired, then revoked beyond it", retired, nil, limit(102), false, true},
		{"key taken out", retired, nil, nil, true, false},
		{"revocation lifted", revoked, nil, nil, false, true},
		{"revocation softened", revoked, limit(10), nil, false, true},
		{"revocation later", revoked, nil, limit(91), false, true},
		{"revocation earlier", revoked, nil, limit(1), false, false},
		{"revoked key taken out", revoked, nil, nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := w.after(c.from.Block("ACME"))
			d.Retired, d.Revoked = c.retired, c.revoked
			if c.gone {
				d.Keys = d.Keys[1:]
			}
			doc := w.encode(d)
			_, _, err := Advance(c.from, "ACME", doc, w.signed(doc, "root-1", "root-2"))
			if c.refused {
				w.wantRule(err, "T11")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRotationBegin: a first document is held against its own roots alone, and
// never replaces what is known.
func TestRotationBegin(t *testing.T) {
	w := newWorld(t)
	doc := w.encode(w.first())
	_, _, err := Begin(w.empty(), doc, w.signed(doc, "root-1", "stranger"))
	w.wantRule(err, "T9")
	_, _, err = Begin(w.begun(), doc, w.signed(doc, "root-1", "root-2"))
	w.wantRule(err, "T6")
	_, _, err = Begin(w.empty(), []byte("{}"), nil)
	w.wantRule(err, "T1")
	_, _, err = Advance(w.empty(), "ACME", doc, w.signed(doc, "root-1", "root-2"))
	w.wantRule(err, "T6")
}

// TestAnotherDossiersRoots: in a file with two dossiers, the roots and servers
// of one have nothing to say in the other.
func TestAnotherDossiersRoots(t *testing.T) {
	w := newWorld(t)
	both := w.begun()
	beta := w.first()
	beta.Dossier = "BETA"
	beta.Roots = []Root{w.root("5"), w.root("6")}
	beta.Keys = []Grant{w.server("beta-server")}
	doc := w.encode(beta)
	both, _, err := Begin(both, doc, w.signed(doc, "root-5", "root-6"))
	if err != nil {
		t.Fatal(err)
	}
	next := w.encode(w.after(both.Block("ACME")))
	_, _, err = Advance(both, "ACME", next, w.signed(next, "root-5", "root-6"))
	w.wantRule(err, "T8")
	message := []byte("message")
	sig := w.sign("beta-server", message, keys.NamespaceManifest)
	if _, err := both.For("ACME").Verify(message, sig, keys.NamespaceManifest); err == nil {
		t.Error("BETA's server signs for ACME")
	}
	if _, err := both.For("BETA").Verify(message, sig, keys.NamespaceManifest); err != nil {
		t.Error(err)
	}
}
