package manifest_test

import (
	"bytes"
	"errors"
	"testing"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// FuzzOpen: whatever a writer signed, there is no panic; what is accepted has
// one encoding, and everything else is a refusal that names the file.
func FuzzOpen(f *testing.F) {
	w := newWorld(f)
	good, goodHead := encode(f, delta()), encodeHead(f, head())
	f.Add(good)
	f.Add(goodHead)
	f.Add(encode(f, baseline()))
	for _, c := range append(badEncodings, badManifests...) {
		f.Add(replace(f, good, c.from, c.to))
	}
	for _, c := range badHeads {
		f.Add(replace(f, goodHead, c.from, c.to))
	}
	up, down, till, paper := encode(f, tickets()), encode(f, terms()), encodeHead(f, tillHead()), encodeReceipt(f, receipt())
	for _, c := range []struct {
		good []byte
		bad  []bad
	}{{up, badTickets}, {down, badTerms}, {till, badTillHeads}, {paper, badReceipts}, {encode(f, software()), badPackages}, {encode(f, stepBack()), badRollbacks}} {
		f.Add(c.good)
		for _, b := range c.bad {
			f.Add(replace(f, c.good, b.from, b.to))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		fuzzUp(t, w, doc)
		fuzzPackage(t, w, doc)
		m, position, err := manifest.Open("x", "ACME/down", doc, sign(t, w.server, doc, keys.NamespaceManifest), w.trust)
		if err == nil {
			if again := encode(t, m); !bytes.Equal(again, doc) {
				t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
			}
			if again, err := m.Position(); err != nil || again != position {
				t.Errorf("position %+v, then %+v, %v", position, again, err)
			}
			if err := m.Follows(position); err == nil {
				t.Error("it follows itself")
			}
		} else if r := (*manifest.Refusal)(nil); !errors.As(err, &r) || !errors.Is(err, manifest.ErrRefused) || r.File != "x" || m != nil {
			t.Errorf("not a refusal: %v", err)
		}
		h, err := manifest.OpenHead("x", doc, sign(t, w.server, doc, keys.NamespaceHead), w.trust)
		if err == nil {
			if again := encodeHead(t, h); !bytes.Equal(again, doc) {
				t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
			}
		} else if r := (*manifest.Refusal)(nil); !errors.As(err, &r) || !errors.Is(err, manifest.ErrRefused) || h != nil {
			t.Errorf("not a refusal: %v", err)
		}
	})
}

// fuzzUp opens doc as what travels between a till and the server.
func fuzzUp(t *testing.T, w *world, doc []byte) {
	m, position, err := manifest.Open("x", "ACME/up/017", doc, sign(t, w.till17, doc, keys.NamespaceTickets), w.trust)
	if err == nil {
		if again := encode(t, m); !bytes.Equal(again, doc) {
			t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
		}
		if again, err := m.Position(); err != nil || again != position {
			t.Errorf("position %+v, then %+v, %v", position, again, err)
		}
		if _, err := manifest.AddTotals(m.Totals, m.Totals); err != nil {
			t.Errorf("totals that cannot be added: %v", err)
		}
	} else if r := (*manifest.Refusal)(nil); !errors.As(err, &r) || r.File != "x" || m != nil {
		t.Errorf("not a refusal: %v", err)
	}
	h, err := manifest.OpenHead("x", doc, sign(t, w.till17, doc, keys.NamespaceHead), w.trust)
	if err == nil {
		if again := encodeHead(t, h); !bytes.Equal(again, doc) {
			t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
		}
	}
	p, err := manifest.OpenReceipt("x", "ACME/up/017", doc, sign(t, w.server, doc, keys.NamespaceReceipt), w.trust)
	if err == nil {
		if again := encodeReceipt(t, p); !bytes.Equal(again, doc) {
			t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
		}
	} else if r := (*manifest.Refusal)(nil); !errors.As(err, &r) || r.File != "x" || p != nil {
		t.Errorf("not a refusal: %v", err)
	}
}

// fuzzPackage: the same for a package.
func fuzzPackage(t *testing.T, w *world, doc []byte) {
	m, err := w.openPackage(t, w.release, doc)
	if err == nil {
		if again := encode(t, m); !bytes.Equal(again, doc) {
			t.Errorf("accepted\n%s\nwhich encodes to\n%s", doc, again)
		}
	} else if r := (*manifest.Refusal)(nil); !errors.As(err, &r) || m != nil {
		t.Errorf("not a refusal: %v", err)
	}
}
