package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/keys/rotation"
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

// TestTrustLineByHand: a line that is commented out lets nobody sign.
func TestTrustLineByHand(t *testing.T) {
	pub, err := keys.Generate(t.TempDir()+"/k", "k")
	if err != nil {
		t.Fatal(err)
	}
	g := rotation.Grant{Principal: "till-017@acme", Namespaces: tillNamespaces, Key: keys.AuthorizedLine(pub, "")}
	line := keys.AllowedLine([]string{g.Principal}, g.Namespaces, pub, "")
	for _, before := range []string{"", "#" + line, line, line + "\n"} {
		trust, err := keys.ParseAllowedSigners("x", []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		next, err := withLine(trust, g)
		if err != nil || !next.Holds(g.Principal)(pub) || strings.Count("\n"+string(next.Text()), "\n"+line) != 1 {
			t.Errorf("%q became %q, %v", before, next.Text(), err)
		}
	}
}

// TestShopVerifyCopyByHand: also of a stream that lies by itself, a server's
// line by hand does not count where the roots say who the server is.
func TestShopVerifyCopyByHand(t *testing.T) {
	s := newShop(t)
	s.ceremony()
	pub, err := keys.Generate(s.path("stranger"), "stranger")
	check(s, err)
	stranger, err := keys.Load(s.path("stranger"), nil)
	check(s, err)
	s.write(s.path("third"), append(s.read(s.path("third")), keys.AllowedLine([]string{"server@acme"}, nil, pub, "")+"\n"...))
	sig, err := stranger.Sign(s.read(s.path("drop/ACME/down/HEAD.json")), keys.NamespaceHead)
	check(s, err)
	check(s, os.CopyFS(s.path("copy"), os.DirFS(s.path("drop/ACME/down"))))
	s.write(s.path("copy/HEAD.json.sig"), sig)
	code, out, _ := s.run("verify", "--signers", s.path("third"), "--stream", "ACME/down", s.path("copy"))
	if code != exitRefused || !strings.Contains(out, "HEAD.json: signer (rule S4)") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// The dossier's row is there in whatever order the paths are named.
	_, out, _ = s.run("verify", "--signers", s.path("first"), s.path("drop/ACME/down"), s.path("drop"))
	if !strings.Contains(out, "\nACME/trust ") {
		t.Errorf("no row for the trust documents:\n%s", out)
	}
}
