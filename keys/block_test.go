package keys

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// blockText is a file with lines by hand around a block.
func blockText(t *testing.T, server, till Signer) string {
	t.Helper()
	root := AllowedLine([]string{"root-1@acme"}, []string{NamespaceTrust}, fresh(t).Public(), "")
	return strings.Join([]string{
		"# by hand",
		AllowedLine([]string{"till-099@acme"}, nil, fresh(t).Public(), ""),
		"#: trust ACME 3 1 " + strings.Repeat("a", 64),
		root,
		AllowedLine([]string{"server@acme"}, []string{NamespaceManifest, NamespaceHead}, server.Public(), ""),
		"#: retired server@acme " + ssh.FingerprintSHA256(server.Public()) + " ACME/down 120",
		"#: tills ACME 7 " + strings.Repeat("b", 64),
		AllowedLine([]string{"till-017@acme"}, []string{NamespaceTickets, NamespaceHead}, till.Public(), ""),
		"#: revoked till-017@acme " + ssh.FingerprintSHA256(till.Public()) + " ACME/up/017 33",
		"#: end ACME",
		"# by hand too",
		"",
	}, "\n")
}

// TestBlock: what documents have written is read and written the same, stays
// in its place, and is a list of keys to ssh-keygen like any other.
func TestBlock(t *testing.T) {
	server, till := fresh(t), fresh(t)
	text := blockText(t, server, till)
	tr := trust(t, text)
	b := tr.Block("ACME")
	if b == nil || b.Version != 3 || b.Threshold != 1 || b.TillsVersion != 7 || len(b.Roots) != 1 || len(b.Keys) != 1 || len(b.Tills) != 1 || len(b.Retired) != 1 || len(b.TillsRevoked) != 1 {
		t.Fatalf("%+v", b)
	}
	if !strings.Contains(text, string(b.Text())) {
		t.Errorf("read and written:\n%s", b.Text())
	}
	same, err := tr.WithBlock(b)
	if err != nil || string(same.Text()) != text {
		t.Errorf("%v\n%s", err, same.Text())
	}
	b.Version = 4
	next, err := tr.WithBlock(b)
	if err != nil || string(next.Text()) != strings.Replace(text, "ACME 3 1", "ACME 4 1", 1) {
		t.Errorf("%v\n%s", err, next.Text())
	}
	if tr.Block("ACME").Version != 3 {
		t.Error("a trust has changed")
	}
	message := []byte("message")
	sig, err := server.Sign(message, NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	if !stockVerify(t, []byte(text), message, sig, "server@acme", NamespaceHead) {
		t.Error("ssh-keygen does not read it")
	}
	who, err := tr.For("ACME").Identify(message, sig, NamespaceHead)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stream   string
		sequence int64
		want     error
	}{
		{"ACME/down", 120, nil}, {"ACME/down", 121, ErrRetired}, {"ACME/packages", 1, ErrRevoked}, {"BETA/down", 500, nil},
	} {
		if err := tr.Batch(who.Fingerprint, c.stream, c.sequence); !errors.Is(err, c.want) {
			t.Errorf("%s %d: %v", c.stream, c.sequence, err)
		}
	}
	if err := tr.Current(who.Fingerprint, "ACME"); !errors.Is(err, ErrRetired) {
		t.Error(err)
	}
	if err := tr.Current(who.Fingerprint, "BETA"); err != nil {
		t.Error(err)
	}
}

// TestBlockRefuses: a line of a block that cannot be one refuses the whole
// file: it may be the one that was to say that a key is stolen.
func TestBlockRefuses(t *testing.T) {
	server, till := fresh(t), fresh(t)
	text := blockText(t, server, till)
	key := ssh.FingerprintSHA256(server.Public())
	for _, c := range []struct{ name, old, new, says string }{
		{"cut", "#: end ACME\n", "", "has no end"},
		{"another end", "#: end ACME", "#: end BETA", "no line that a trust document writes"},
		{"ends twice", "#: end ACME\n", "#: end ACME\n#: end ACME\n", "outside"},
		{"begins inside", "#: tills", "#: trust BETA 1 1 " + strings.Repeat("a", 64) + "\n#: tills", "does not end"},
		{"twice", "#: end ACME\n", "#: end ACME\n#: trust acme 1 1 " + strings.Repeat("a", 64) + "\n#: end acme\n", "twice"},
		{"limit outside", "# by hand\n", "#: retired server@acme " + key + " ACME/down 1\n", "outside"},
		{"limit elsewhere", "ACME/down 120", "BETA/down 120", "damaged"},
		{"limit of what is no stream", "ACME/down 120", "ACME/../down 120", "damaged"},
		{"limit without number", "ACME/down 120", "ACME/down", "no line that"},
		{"limit with another number", "ACME/down 120", "ACME/down 0120", "damaged"},
		{"limit beyond", "ACME/down 120", "ACME/down 10000000000", "damaged"},
		{"not a fingerprint", key, key[:20], "damaged"},
		{"loose bits in a fingerprint", key, key[:len(key)-1] + "B", "damaged"},
		{"unknown word", "#: retired", "#: retires", "no line that"},
		{"two blanks", "#: retired ", "#: retired  ", "single blanks"},
		{"no words", "#: retired", "#:\n#: retired", "empty line"},
		{"blank in front", "#: end ACME", " #: end ACME", "has no end"},
		{"version 0", "ACME 3 1", "ACME 0 1", "damaged"},
		{"nobody signs", "ACME 3 1", "ACME 3 0", "damaged"},
		{"not a digest", strings.Repeat("a", 64), strings.Repeat("A", 64), "damaged"},
		{"list of tills twice", "#: end", "#: tills ACME 8 " + strings.Repeat("b", 64) + "\n#: end", "twice"},
		{"another's list of tills", "#: tills ACME", "#: tills BETA", "damaged"},
		{"two principals", "server@acme namespaces", "server@acme,release@acme namespaces", "one principal"},
		{"everything allowed", `till-017@acme namespaces="tickets@caisseauto,head@caisseauto"`, "till-017@acme", "one principal"},
		{"till among the roots", "root-1@acme", "till-1@acme", "does not belong"},
		{"server among the tills", "till-017@acme namespaces", "server@acme namespaces", "does not belong"},
		{"control character", "#: end ACME", "#: end ACME\x01", "control character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatal("nothing was changed")
			}
			_, err := ParseAllowedSigners("allowed_signers", []byte(changed))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "no key of this file is used") {
				t.Errorf("%v; want %q", err, c.says)
			}
		})
	}
}
