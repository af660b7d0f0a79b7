package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"caisseauto/keys"
)

// TestShopECDSA: a till under fiscal rules that list ECDSA and not Ed25519 sells,
// and stock ssh-keygen verifies what it has signed.
func TestShopECDSA(t *testing.T) {
	s := newShop(t)
	key := s.path("till-001/keys/till")
	check(s, os.Remove(key))
	if err := os.Remove(key + ".pub"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	pub, err := keys.New(key, keys.NewOptions{Kind: keys.ECDSA, Comment: "till 001"})
	check(s, err)
	for _, side := range []string{"server", "till-001"} {
		path := s.path(side + "/allowed_signers")
		old := regexp.MustCompile(`(?m)^till-001@acme .*\n`).ReplaceAll(s.read(path), nil)
		s.write(path, append(old, keys.AllowedLine([]string{"till-001@acme"}, tillNamespaces, pub, "")+"\n"...))
	}
	s.soldTwice()
	s.must("server", "collect")
	s.must("server", "prove", "--till", "001")
	verified(t, s.path("server/allowed_signers"), s.path("drop")).want(t)
	manifest := s.up("001", "0000000001.manifest.json")
	cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", s.path("server/allowed_signers"), "-I", "till-001@acme", "-n", "tickets@caisseauto", "-s", manifest+".sig")
	cmd.Stdin, err = os.Open(manifest)
	check(s, err)
	if out, err := cmd.CombinedOutput(); err != nil || !regexp.MustCompile(`with ECDSA key`).Match(out) {
		t.Errorf("%v: %s", err, out)
	}
}
