package manifest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// One test for each way in which somebody between writer and reader, or a
// writer in other hands, may try to make a reader apply what it should not.

// TestAttackArbitraryData: every bit of manifest, head and signatures counts.
func TestAttackArbitraryData(t *testing.T) {
	w := newWorld(t)
	doc, sig, err := manifest.Seal(delta(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	hdoc, hsig, err := manifest.SealHead(head(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	openManifest := func() error { _, _, err := manifest.Open("x", "ACME/down", doc, sig, w.trust); return err }
	openHead := func() error { _, err := manifest.OpenHead("x", hdoc, hsig, w.trust); return err }
	rdoc, rsig, err := manifest.SealReceipt(receipt(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	openReceipt := func() error {
		_, err := manifest.OpenReceipt("x", "ACME/up/017", rdoc, rsig, w.trust)
		return err
	}
	for _, c := range []struct {
		name string
		data []byte
		open func() error
	}{
		{"manifest", doc, openManifest}, {"manifest's signature", sig, openManifest},
		{"head", hdoc, openHead}, {"head's signature", hsig, openHead},
		{"receipt", rdoc, openReceipt}, {"receipt's signature", rsig, openReceipt},
	} {
		for i := range c.data {
			bit := byte(1) << (i % 8)
			c.data[i] ^= bit
			if err := c.open(); !errors.Is(err, manifest.ErrRefused) {
				t.Errorf("%s: byte %d flipped: %v", c.name, i, err)
			}
			c.data[i] ^= bit
		}
	}
	for n := range len(doc) {
		if _, _, err := manifest.Open("x", "ACME/down", doc[:n], sig, w.trust); err == nil {
			t.Errorf("manifest cut to %d bytes: accepted", n)
		}
	}
	if err := errors.Join(openManifest(), openHead(), openReceipt()); err != nil {
		t.Error(err)
	}
}

// TestAttackWrongKey: unknown key; a known key that may sign something else.
func TestAttackWrongKey(t *testing.T) {
	w := newWorld(t)
	down := encode(t, delta())
	up, paper := encode(t, tickets()), encodeReceipt(t, receipt())
	for _, c := range []struct {
		name   string
		signer keys.Signer
		open   func(testing.TB, keys.Signer, []byte) (*manifest.Manifest, error)
		doc    []byte
		rule   string
	}{
		{"stranger", w.stranger, w.open, down, "S4"},
		{"till signs as the server", w.till17, w.open, down, "S6"},
		{"release manager signs as the server", w.release, w.open, down, "S6"},
		{"till signs as another till", w.till18, w.openUp, up, "S6"},
		{"server signs as a till", w.server, w.openUp, up, "S6"},
	} {
		_, err := c.open(t, c.signer, c.doc)
		wantRule(t, err, c.rule, "x.manifest.json")
	}
	if _, err := w.openUp(t, w.till17, up); err != nil {
		t.Error(err)
	}
	for _, s := range []keys.Signer{w.till17, w.till18, w.release} {
		_, err := w.openReceipt(t, s, paper)
		wantRule(t, err, "S6", "017.json")
	}
	if _, err := w.openReceipt(t, w.server, paper); err != nil {
		t.Error(err)
	}

	// The same for heads, which name no signer.
	for stream, good := range map[string]keys.Signer{"ACME/down": w.server, "ACME/up/017": w.till17, "acme/up/017": w.till17, "ACME/packages": w.release} {
		h := head()
		if manifest.IsUp(stream) {
			h = tillHead()
			h.Till.Applied = nil // of the dossier as it is written here
		}
		if manifest.IsPackages(stream) {
			h.Baseline = 0
		}
		h.Stream = stream
		for _, s := range []keys.Signer{w.server, w.till17, w.till18, w.release} {
			if _, err := w.openHead(t, s, encodeHead(t, h)); s == good && err != nil {
				t.Error(err)
			} else if s != good {
				wantRule(t, err, "S6", "HEAD.json")
			}
		}
	}
	if _, _, err := manifest.Open("x", "ACME/down", down, sign(t, w.server, down, keys.NamespaceManifest), nil); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("no trust at all: %v", err)
	}
}

// TestAttackOtherKindOfStatement: a head served as a manifest and the
// reverse; signatures of another namespace.
func TestAttackOtherKindOfStatement(t *testing.T) {
	w := newWorld(t)
	doc, sig, err := manifest.Seal(delta(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	hdoc, hsig, err := manifest.SealHead(head(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = manifest.Open("x", "ACME/down", hdoc, hsig, w.trust)
	wantRule(t, err, "S3", "x")
	_, err = manifest.OpenHead("x", doc, sig, w.trust)
	wantRule(t, err, "S3", "x")
	_, _, err = manifest.Open("x", "ACME/down", doc, sign(t, w.server, doc, "tickets@caisseauto"), w.trust)
	wantRule(t, err, "S3", "x")

	// Also when the server was made to sign in the wrong namespace.
	_, _, err = manifest.Open("x", "ACME/down", hdoc, sign(t, w.server, hdoc, keys.NamespaceManifest), w.trust)
	wantRule(t, err, "D2", "x")
	_, err = manifest.OpenHead("x", doc, sign(t, w.server, doc, keys.NamespaceHead), w.trust)
	wantRule(t, err, "D2", "x")

	// A till's batch served as the server's, and the reverse; a receipt as
	// either. The folder says which namespace it must be.
	up, paper := encode(t, tickets()), encodeReceipt(t, receipt())
	for _, namespace := range []string{keys.NamespaceManifest, keys.NamespaceTickets, keys.NamespaceHead, keys.NamespaceReceipt} {
		inDown := func(doc []byte) error {
			_, _, err := manifest.Open("x", "ACME/down", doc, sign(t, w.till17, doc, namespace), w.trust)
			return err
		}
		inUp := func(doc []byte, s keys.Signer) error {
			_, _, err := manifest.Open("x", "ACME/up/017", doc, sign(t, s, doc, namespace), w.trust)
			return err
		}
		_, asReceipt := manifest.OpenReceipt("x", "ACME/up/017", paper, sign(t, w.server, paper, namespace), w.trust)
		if namespace == keys.NamespaceManifest {
			wantRule(t, inDown(up), "P1", "x")
			wantRule(t, inDown(paper), "D2", "x")
		} else {
			wantRule(t, inDown(up), "S3", "x")
		}
		if namespace == keys.NamespaceTickets {
			wantRule(t, inUp(doc, w.server), "P1", "x")
			wantRule(t, inUp(paper, w.server), "D2", "x")
		} else {
			wantRule(t, inUp(doc, w.server), "S3", "x")
			wantRule(t, inUp(up, w.till17), "S3", "x")
		}
		if namespace == keys.NamespaceReceipt {
			if asReceipt != nil {
				t.Error(asReceipt)
			}
		} else {
			wantRule(t, asReceipt, "S3", "x")
		}
	}

	// A key whose line does not allow manifests.
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(strings.ReplaceAll(w.allowed, "manifest@caisseauto,", "")))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = manifest.Open("x", "ACME/down", doc, sig, trust)
	wantRule(t, err, "S3", "x")
}

// TestAttackOtherStream: till 018's folder copied over till 017's, another
// number's file under this number's name.
func TestAttackOtherStream(t *testing.T) {
	m := delta()
	if err := m.Expect("x", "ACME/down", 42); err != nil {
		t.Error(err)
	}
	wantRule(t, m.Expect("x", "OTHER/down", 42), "P1", "x")
	wantRule(t, m.Expect("x", "acme/down", 42), "P1", "x")
	wantRule(t, m.Expect("x", "ACME/down", 41), "P1", "x")
	h := head()
	if err := h.Expect("x", "ACME/down"); err != nil {
		t.Error(err)
	}
	wantRule(t, h.Expect("x", "ACME/up/017"), "P1", "x")

	w := newWorld(t)
	other := tickets()
	other.Stream, other.Signer = "ACME/up/018", "till-018@acme"
	_, err := w.openUp(t, w.till18, encode(t, other))
	wantRule(t, err, "P1", "x.manifest.json")
	r := receipt()
	r.Stream = "ACME/up/018"
	_, err = w.openReceipt(t, w.server, encodeReceipt(t, r))
	wantRule(t, err, "P1", "017.json")
	m = delta()
	m.Stream = "OTHER/down"
	_, err = w.open(t, w.server, encode(t, m))
	wantRule(t, err, "P1", "x.manifest.json")
}

// TestAttackFreeze: a head says until when it is fresh.
func TestAttackFreeze(t *testing.T) {
	h := head()
	for at, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 24*time.Hour - 1: false, 24 * time.Hour: true, 1e6 * time.Hour: true} {
		if got := h.Expired(noon.Add(at)); got != want {
			t.Errorf("%v after it was issued: expired %v, want %v", at, got, want)
		}
	}
}

// TestAttackEndlessData: sizes are looked at first, whoever signed.
func TestAttackEndlessData(t *testing.T) {
	w := newWorld(t)
	doc, sig, err := manifest.Seal(delta(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, manifest.MaxManifest+1)
	_, _, err = manifest.Open("x", "ACME/down", large, sign(t, w.server, large, keys.NamespaceManifest), w.trust)
	wantRule(t, err, "D1", "x")
	large = large[:manifest.MaxHead+1]
	_, err = manifest.OpenHead("x", large, sign(t, w.server, large, keys.NamespaceHead), w.trust)
	wantRule(t, err, "D1", "x")
	large = make([]byte, manifest.MaxReceipt+1)
	_, err = w.openReceipt(t, w.server, large)
	wantRule(t, err, "D1", "017.json")
	_, _, err = manifest.Open("x", "ACME/down", doc, append(sig, large...), w.trust)
	wantRule(t, err, "S1", "x")

	// A writer does not make one that no reader takes.
	m := baseline()
	client := m.Tables[0]
	client.Name = "client"
	m.Tables, m.Members = append(m.Tables, client), nil
	for n := range manifest.MaxMembersPerTable {
		for _, table := range []string{"article", "client", "Prix <é>"} {
			m.Members = append(m.Members, manifest.Member{Name: manifest.MemberName(table, n+1), Table: table, Size: 1, SHA256: digest("1")})
		}
	}
	m.Archive.TarSize = manifest.TarSize(m.Members)
	_, err = manifest.Encode(m)
	wantRule(t, err, "D1", "manifest")
	m.Members = append(m.Members, manifest.Member{Name: "data/article.10000.ndjson", Table: "article", Size: 1, SHA256: digest("1")})
	_, err = manifest.Encode(m)
	wantRule(t, err, "M10", "manifest")
}

// TestAttackDeepNesting: no stack overflow, no panic.
func TestAttackDeepNesting(t *testing.T) {
	w := newWorld(t)
	doc := []byte(`{"tables":` + strings.Repeat("[", 1<<20))
	_, err := w.open(t, w.server, doc)
	wantRule(t, err, "D2", "x.manifest.json")
}

// TestAttackFastForward: a writer in other hands cannot make a number that
// leaves no room for a next one, and a head with a huge counter is no reason
// to refuse the batches that follow the last one.
func TestAttackFastForward(t *testing.T) {
	h := head()
	h.Sequence, h.Issue = manifest.MaxSequence, 1<<53-1
	encodeHead(t, h)
	m := delta()
	if err := m.Follows(manifest.Position{Epoch: 1, Sequence: 41, Digest: digest("d")}); err != nil {
		t.Error(err)
	}
	m.Sequence, m.Archive.Name = manifest.MaxSequence, manifest.FileName(manifest.MaxSequence, manifest.ArchiveExt)
	var p *manifest.PositionError
	if err := m.Follows(manifest.Position{Epoch: 1, Sequence: 41, Digest: digest("d")}); !errors.As(err, &p) || p.Reason != manifest.Gap {
		t.Errorf("jump to the last number: %v", err)
	}
}
