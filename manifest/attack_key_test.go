package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
)

// TestAttackKeyCompromise: retire is not revoke. What a retired key signed up
// to its number is good, a revoked one's is not from its number on; neither
// makes heads or receipts, whatever their numbers; a clock has no say in it.
func TestAttackKeyCompromise(t *testing.T) {
	w := newWorld(t)
	with := func(kind string, s keys.Signer, principal, stream string, n int64) {
		t.Helper()
		text := w.allowed + fmt.Sprintf("#: trust ACME 2 1 %s\n#: %s %s %s %s %d\n#: end ACME\n",
			strings.Repeat("a", 64), kind, principal, ssh.FingerprintSHA256(s.Public()), stream, n)
		var err error
		if w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	down := delta()
	down.Sequence = 42
	for _, c := range []struct {
		kind string
		n    int64
		good bool
		err  error
	}{
		{"retired", 42, true, nil}, {"retired", 41, false, keys.ErrRetired}, {"retired", 0, false, keys.ErrRetired}, {"retired", 9999999999, true, nil},
		{"revoked", 43, true, nil}, {"revoked", 42, false, keys.ErrRevoked}, {"revoked", 1, false, keys.ErrRevoked},
	} {
		with(c.kind, w.server, "server@acme", "ACME/down", c.n)
		_, err := w.open(t, w.server, encode(t, down))
		if c.good != (err == nil) {
			t.Errorf("%s %d: batch 42: %v", c.kind, c.n, err)
		}
		if !c.good {
			wantRule(t, err, "S7", "x.manifest.json")
			if !errors.Is(err, c.err) {
				t.Errorf("%s %d: %v", c.kind, c.n, err)
			}
		}
		_, err = w.openHead(t, w.server, encodeHead(t, head()))
		wantRule(t, err, "S7", "HEAD.json")
		_, err = w.openReceipt(t, w.server, encodeReceipt(t, receipt()))
		wantRule(t, err, "S7", "017.json")
	}

	// A key that is limited in another stream has no business here; one that
	// is limited in another dossier has.
	with("retired", w.server, "server@acme", "ACME/packages", 9999999999)
	_, err := w.open(t, w.server, encode(t, down))
	wantRule(t, err, "S7", "x.manifest.json")
	with("retired", w.till18, "till-018@acme", "ACME/up/018", 1)
	if _, err := w.open(t, w.server, encode(t, down)); err != nil {
		t.Error(err)
	}
	up := tickets()
	with("revoked", w.till17, "till-017@acme", "ACME/up/017", up.Sequence)
	_, err = w.openUp(t, w.till17, encode(t, up))
	wantRule(t, err, "S7", "x.manifest.json")
	with("revoked", w.till17, "till-017@acme", "ACME/up/017", up.Sequence+1)
	if _, err := w.openUp(t, w.till17, encode(t, up)); err != nil {
		t.Error(err)
	}
}
