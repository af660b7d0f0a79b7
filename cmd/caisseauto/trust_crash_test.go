package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"caisseauto/keys"
)

// TestShopTrustUnfinished: a run that ends before allowed_signers says what it
// has signed, as by a crash, has given a number out. The next run goes on from
// what it finds, signs no number twice, and loses no till.
func TestShopTrustUnfinished(t *testing.T) {
	s := newShop(t)
	s.ceremony()
	for _, n := range []string{"018", "019"} {
		_, err := keys.Generate(s.path("key-"+n), n)
		check(s, err)
	}
	before := s.read(s.path("server/allowed_signers"))
	add := func(n string) { s.trust("add-till", n, "--key", s.path("key-"+n+".pub")) }
	list := s.path("server/outbox/ACME/trust/tills-0000000003.json")

	add("018")
	signed := s.read(list)
	s.write(s.path("server/allowed_signers"), before)
	add("018")
	if !bytes.Equal(signed, s.read(list)) {
		t.Error("list 3 was signed twice")
	}
	s.write(s.path("server/allowed_signers"), before)
	add("019") // somebody else's turn first
	out := s.must("server", "trust", "show")
	for _, n := range []string{"018", "019"} {
		if !strings.Contains(out, "till-"+n+"@acme") {
			t.Errorf("till %s was lost:\n%s", n, out)
		}
	}
	if !bytes.Equal(signed, s.read(list)) || !strings.Contains(out, "list 4 of tills") {
		t.Errorf("list 3 was signed twice:\n%s", out)
	}

	// Before the document: a signature alone, over bytes that nobody has.
	next := s.path("server/outbox/ACME/trust/tills-0000000005.json")
	s.write(next+".sig", s.read(s.path("server/outbox/ACME/trust/tills-0000000004.json.sig")))
	s.must("server", "export") // ships no signature without what it signs
	if _, err := os.Stat(s.path("drop/ACME/trust/tills-0000000005.json.sig")); err == nil {
		t.Error("a signature alone was shipped")
	}
	_, err := keys.Generate(s.path("key-020"), "020")
	check(s, err)
	add("020")
	verified(t, s.path("third"), s.path("drop")).want(t)

	// A version that was put into the outbox and not taken over yet.
	before = s.read(s.path("server/allowed_signers"))
	s.trust("rotate", "--threshold", "1", "--to", s.path("safe"))
	s.sign("4", "2", "3")
	s.trust("publish", "--no-ship", s.path("safe/0000000004.json"))
	s.write(s.path("server/allowed_signers"), before)
	s.trust("publish", s.path("safe/0000000004.json"))
	s.trust("publish", s.path("safe/0000000004.json"))
	verified(t, s.path("third"), s.path("drop")).want(t)
}
