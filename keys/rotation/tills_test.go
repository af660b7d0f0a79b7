package rotation

import (
	"errors"
	"strings"
	"testing"

	"caisseauto/keys"
)

// enrol takes over a list that has to be good.
func (w *world) enrol(t *keys.Trust, l *TillList, signer string) *keys.Trust {
	w.t.Helper()
	doc, err := l.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	sig := w.sign(signer, doc, keys.NamespaceTills)
	next, _, err := Enrol(t, "ACME", l.Version, doc, sig)
	if err != nil {
		w.t.Fatal(err)
	}
	w.files[TillsName(l.Version)], w.files[TillsName(l.Version)+".sig"] = doc, sig
	return next
}

// TestTillsWithoutRoots: the server adds a till, and takes one out of service,
// by its own signature; a new version of the roots keeps the list.
func TestTillsWithoutRoots(t *testing.T) {
	w := newWorld(t)
	one := w.begun()
	a := w.enrol(one, w.tills(one.Block("ACME"), w.till("017", "till-017")), "server")
	l := w.tills(a.Block("ACME"), w.till("017", "till-017"), w.till("018", "till-018"))
	l.Revoked = []keys.Limit{{Principal: "till-017@acme", Key: w.fingerprint("till-017"), Stream: "ACME/up/017", Sequence: 33}}
	b := w.enrol(a, l, "server")

	message := []byte("message")
	for _, till := range []string{"till-017", "till-018"} {
		who, err := b.For("ACME").Identify(message, w.sign(till, message, keys.NamespaceTickets), keys.NamespaceTickets)
		if err != nil || who.Principals[0] != till+"@acme" {
			t.Fatalf("%v, %v", who, err)
		}
	}
	key := w.fingerprint("till-017")
	for n, want := range map[int64]error{1: nil, 32: nil, 33: keys.ErrRevoked, 34: keys.ErrRevoked} {
		if err := b.Batch(key, "ACME/up/017", n); !errors.Is(err, want) {
			t.Errorf("batch %d: %v", n, err)
		}
	}
	if err := b.Current(key, "ACME"); !errors.Is(err, keys.ErrRevoked) {
		t.Error(err)
	}
	if err := b.Current(w.fingerprint("till-018"), "ACME"); err != nil {
		t.Error(err)
	}
	c := w.advance(b, w.after(b.Block("ACME")), "root-1", "root-2")
	if got, want := c.Block("ACME"), b.Block("ACME"); !SameTills(got, l) || got.TillsVersion != want.TillsVersion {
		t.Errorf("a new version of the roots has lost the tills:\n%s", c.Text())
	}

	away, walk, err := Follow(one, "ACME", w.files, true)
	if err != nil || walk.Tills == nil || walk.Tills.Version != 2 || string(away.Text()) != string(c.Text()) {
		t.Fatalf("%v %v\n%s", walk, err, away.Text())
	}
	if at, walk, err := Follow(one, "ACME", w.files, false); err != nil || walk.Tills != nil || at.Block("ACME").TillsVersion != 0 {
		t.Errorf("a till takes no list: %v %v", walk, err)
	}
}

func TestTillsRefuses(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		change     func(*world, *TillList)
		signer     string
		namespace  string
	}{
		{"a stranger signs", "T13", nil, "stranger", keys.NamespaceTills},
		{"a root signs", "T13", nil, "root-1", keys.NamespaceTills},
		{"a till signs", "T13", nil, "till-017", keys.NamespaceTills},
		{"as another kind of statement", "T13", nil, "server", keys.NamespaceHead},
		{"a retired server signs", "T13", nil, "retired", keys.NamespaceTills},
		{"in another server's name", "T13", func(_ *world, l *TillList) { l.Signer = "server@other" }, "server", keys.NamespaceTills},
		{"in a till's name", "T2", func(_ *world, l *TillList) { l.Signer = "till-017@acme" }, "server", keys.NamespaceTills},
		{"older", "T12", func(_ *world, l *TillList) { l.Version = 1; l.Previous = NoPrevious() }, "server", keys.NamespaceTills},
		{"another one of the same version", "T12", func(w *world, l *TillList) { l.Version = 2; l.Previous = strings.Repeat("b", 64) }, "server", keys.NamespaceTills},
		{"follows another one", "T12", func(_ *world, l *TillList) { l.Previous = strings.Repeat("b", 64) }, "server", keys.NamespaceTills},
		{"another dossier's", "T12", func(w *world, l *TillList) { l.Dossier, l.Keys = "BETA", nil }, "server", keys.NamespaceTills},
		{"a server among the tills", "T4", func(w *world, l *TillList) { l.Keys = append(l.Keys, w.server("x")) }, "server", keys.NamespaceTills},
		{"another dossier's till", "T4", func(w *world, l *TillList) { l.Keys[0].Principal = "till-017@beta" }, "server", keys.NamespaceTills},
		{"a till that signs data", "T4", func(w *world, l *TillList) { l.Keys[0].Namespaces = []string{keys.NamespaceManifest} }, "server", keys.NamespaceTills},
		{"a till that signs receipts", "T4", func(w *world, l *TillList) { l.Keys[0].Namespaces = []string{keys.NamespaceReceipt} }, "server", keys.NamespaceTills},
		{"one key for two tills", "T4", func(w *world, l *TillList) { l.Keys[1].Key = l.Keys[0].Key }, "server", keys.NamespaceTills},
		{"limit in another till's stream", "T5", func(w *world, l *TillList) {
			l.Revoked = []keys.Limit{{Principal: "till-017@acme", Key: w.fingerprint("till-017"), Stream: "ACME/up/018", Sequence: 1}}
		}, "server", keys.NamespaceTills},
		{"another encoding", "T1", nil, "server", keys.NamespaceTills},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			one := w.begun()
			d := w.after(one.Block("ACME"))
			d.Keys = append(d.Keys, w.server("retired"))
			d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("retired"), Stream: "ACME/down", Sequence: 5}}
			trust := w.advance(one, d, "root-1", "root-2")
			trust = w.enrol(trust, w.tills(trust.Block("ACME"), w.till("017", "till-017")), "server")
			trust = w.enrol(trust, w.tills(trust.Block("ACME"), w.till("017", "till-017"), w.till("018", "till-018")), "server")
			l := DraftTills(trust.Block("ACME"), "server@acme")
			l.Created = day
			if c.change != nil {
				c.change(w, l)
			}
			doc := w.raw(l.filled())
			if c.rule == "T1" {
				doc = append(doc, '\n')
			}
			next, _, err := Enrol(trust, "ACME", l.Version, doc, w.sign(c.signer, doc, c.namespace))
			w.wantRule(err, c.rule)
			if next != nil {
				t.Error("a refused list gave a trust")
			}
		})
	}
}

// TestTillsUnderAnotherName: a list is taken under its own number alone.
func TestTillsUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	one := w.begun()
	l := w.tills(one.Block("ACME"), w.till("017", "till-017"))
	doc, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Enrol(one, "ACME", 2, doc, w.sign("server", doc, keys.NamespaceTills))
	w.wantRule(err, "T12")
	_, _, err = Enrol(w.empty(), "ACME", 1, doc, w.sign("server", doc, keys.NamespaceTills))
	w.wantRule(err, "T6")
}

// TestByHandForTillsAlone: where there are trust documents, a line that was
// written by hand lets a till sign, and no server.
func TestByHandForTillsAlone(t *testing.T) {
	w := newWorld(t)
	text := "server@acme " + w.text("old-server") + "\ntill-020@acme " + w.text("till-020") + "\nserver@acme,till-021@acme " + w.text("both") + "\n" + string(w.begun().Text())
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("message")
	for name, want := range map[string]bool{"server": true, "till-020": true, "old-server": false, "both": false} {
		_, err := trust.For("ACME").Verify(message, w.sign(name, message, keys.NamespaceHead), keys.NamespaceHead)
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := trust.For("BETA").Verify(message, w.sign(name, message, keys.NamespaceHead), keys.NamespaceHead); (err == nil) != (name != "server") {
			t.Errorf("%s, in a dossier without trust documents: %v", name, err)
		}
	}
}
