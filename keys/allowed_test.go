package keys

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

func TestParseAllowedSignersRefuses(t *testing.T) {
	ed := AuthorizedLine(fresh(t).Public(), "")
	kind, b64, _ := strings.Cut(ed, " ")
	weak := strings.Fields(string(read(t, keygen(t, "-t", "rsa", "-b", "1024", "-N", "")+".pub")))
	p384 := strings.Fields(string(read(t, keygen(t, "-t", "ecdsa", "-b", "384", "-N", "")+".pub")))
	longer := base64.StdEncoding.EncodeToString(append(must(base64.StdEncoding.DecodeString(b64)), 0))
	ecdsa := AuthorizedLine(load(t, keygen(t, "-t", "ecdsa", "-b", "256", "-N", "")).Public(), "")
	loose := ecdsa[:len(ecdsa)-2] + string(ecdsa[len(ecdsa)-2]+1) + "="
	for _, c := range []struct{ name, line, says string }{
		{"loose bits in base64", "server@acme " + loose, "not base64"},
		{"RSA exponent with a needless zero", "server@acme ssh-rsa " + zeroExponent(t), "not the ssh-rsa key"},
		{"wildcard", "*@acme " + ed, "wildcards"},
		{"question mark", "till-01?@acme " + ed, "wildcards"},
		{"negation", "!a@acme,b@acme " + ed, "wildcards"},
		{"upper case", "Server@acme " + ed, "lower case, server@acme"},
		{"no at", "server " + ed, "not a principal"},
		{"accent", "société@acme " + ed, "not a principal"},
		{"quoted principal", `"server@acme" ` + ed, "not a principal"},
		{"empty principal", "server@acme, " + ed, "not a principal"},
		{"principal twice", "server@acme,server@acme " + ed, "twice"},
		{"no principal", ed, "not a principal"},
		{"authority", "server@acme cert-authority " + ed, "option cert-authority is not supported"},
		{"valid-after", `server@acme valid-after="20260101" ` + ed, "not supported"},
		{"valid-before", `server@acme valid-before="20260101Z" ` + ed, "not supported"},
		{"times beside namespaces", `server@acme namespaces="a@b",valid-before="20260101Z" ` + ed, "not supported"},
		{"unknown option", "server@acme no-touch " + ed, "option no-touch is not supported"},
		{"option in capitals", `server@acme Namespaces="a@b" ` + ed, "not supported"},
		{"option twice", `server@acme namespaces="a@b",namespaces="c@d" ` + ed, "twice"},
		{"two option fields", `server@acme namespaces="a@b" namespaces="c@d" ` + ed, "not supported"},
		{"no quotes", `server@acme namespaces=a@b ` + ed, "not supported"},
		{"open quotes", `server@acme namespaces="a@b ` + ed, "not supported"},
		{"namespace wildcard", `server@acme namespaces="*" ` + ed, "not a namespace"},
		{"empty namespaces", `server@acme namespaces="" ` + ed, "not a namespace"},
		{"namespace twice", `server@acme namespaces="a@b,a@b" ` + ed, "twice"},
		{"blank in namespaces", `server@acme namespaces="a@b, c@d" ` + ed, "not supported"},
		{"no key", "server@acme", "the key is missing"},
		{"type alone", "server@acme " + kind, "the key is missing"},
		{"base64 alone", "server@acme " + b64, "is not supported"},
		{"broken base64", "server@acme " + kind + " " + b64[:20] + "*" + b64[21:], "not base64"},
		{"cut key", "server@acme " + kind + " " + b64[:len(b64)-4], "damaged"},
		{"longer key", "server@acme " + kind + " " + longer, "damaged"},
		{"type of another key", "server@acme ssh-rsa " + b64, "not the ssh-rsa key"},
		{"weak RSA", "server@acme " + weak[0] + " " + weak[1], "1024 bits"},
		{"another curve", "server@acme " + p384[0] + " " + p384[1], "ecdsa-sha2-nistp384 are not supported"},
		{"DSA", "server@acme ssh-dss AAAA", "ssh-dss are not supported"},
		{"damaged security key", "server@acme sk-ssh-ed25519@openssh.com AAAA", "damaged"},
		{"certificate", "server@acme ssh-ed25519-cert-v01@openssh.com AAAA", "are not supported"},
		{"CR LF", "server@acme " + ed + "\r", "CR LF"},
		{"NUL", "server@acme\x00 " + ed, "control character"},
		{"byte order mark", "\ufeffserver@acme " + ed, "control character"},
		{"Latin-1 comment", "server@acme " + ed + " caf\xe9", "not UTF-8"},
		{"words", "this is not a list of keys", "not a principal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Good lines around it do not help.
			data := "# comment\nserver@good " + ed + "\n" + c.line + "\nserver@good " + ed + "\n"
			_, err := ParseAllowedSigners("DIR/allowed_signers", []byte(data))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), "DIR/allowed_signers line 3: ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q: want file and line, and %q", err, c.says)
			}
		})
	}
	if _, err := ParseAllowedSigners("x", bytes.Repeat([]byte("#"), maxTrustFile+1)); err == nil {
		t.Error("endless list accepted")
	}
}

// zeroExponent returns an RSA key in another encoding than its own.
func zeroExponent(t *testing.T) string {
	pub := load(t, keygen(t, "-t", "rsa", "-b", "2048", "-N", "")).Public()
	var k struct{ Type, E, N string }
	if err := ssh.Unmarshal(pub.Marshal(), &k); err != nil {
		t.Fatal(err)
	}
	k.E = "\x00" + k.E
	return base64.StdEncoding.EncodeToString(ssh.Marshal(k))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Whatever is accepted means the same to ssh-keygen. The lines are drawn from
// parts of which many are wrong, so that most files are refused and some of
// the accepted ones are odd.
func TestAllowedSignersAgainstStock(t *testing.T) {
	needKeygen(t)
	signers := []Signer{fresh(t), fresh(t), load(t, keygen(t, "-t", "ecdsa", "-b", "256", "-N", ""))}
	message := []byte("message")
	namespaces := []string{NamespaceManifest, NamespaceHead}
	signatures := map[string][]byte{}
	for i, s := range signers {
		for _, n := range namespaces {
			signatures[fmt.Sprint(i, n)] = must(s.Sign(message, n))
		}
	}
	accepted := 0
	rapid.Check(t, func(rt *rapid.T) {
		data := drawList(rt, signers)
		tr, err := ParseAllowedSigners("allowed_signers", []byte(data))
		if err != nil {
			return
		}
		// A process each takes a few milliseconds.
		if accepted++; accepted > 60 {
			return
		}
		i := rapid.IntRange(0, len(signers)-1).Draw(rt, "signer")
		n := rapid.SampledFrom(namespaces).Draw(rt, "namespace")
		got, _ := tr.Verify(message, signatures[fmt.Sprint(i, n)], n)
		for _, p := range []string{"server@acme", "till-017@acme"} {
			if stock := stockVerify(t, []byte(data), message, signatures[fmt.Sprint(i, n)], p, n); stock != slices.Contains(got, p) {
				rt.Errorf("%q\nkey %d, %s, principal %s: ssh-keygen says %v, we say %v", data, i, n, p, stock, got)
			}
		}
	})
	if accepted < 10 {
		t.Errorf("only %d lists were accepted: the test shows nothing", accepted)
	}
}

func drawList(t *rapid.T, signers []Signer) string {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	var b strings.Builder
	for range rapid.IntRange(1, 3).Draw(t, "lines") {
		if rapid.IntRange(0, 5).Draw(t, "comment line") == 0 {
			b.WriteString(pick("comment", "# x\n", "\n", " \t\n", "  # server@acme\n", "#\n"))
			continue
		}
		key := AuthorizedLine(signers[rapid.IntRange(0, len(signers)-1).Draw(t, "key")].Public(), "")
		b.WriteString(pick("indent", "", "", "", " ", "\t"))
		b.WriteString(pick("principals", "server@acme", "server@acme", "till-017@acme", "till-017@acme,server@acme", "a.b-c_d@e", "*", "Server@acme", "!server@acme"))
		b.WriteString(pick("blank", " ", " ", "  ", "\t", " \t "))
		b.WriteString(pick("option", "", "", `namespaces="manifest@caisseauto" `, `namespaces="head@caisseauto,manifest@caisseauto"  `,
			`namespaces="head@caisseauto"`+"\t", `namespaces="other@caisseauto" `, `namespaces="*" `, `cert-authority `, `valid-before="20200101Z" `))
		b.WriteString(strings.Replace(key, " ", pick("blank in the key", " ", " ", "  ", "\t"), 1))
		b.WriteString(pick("tail", "", "", " since 2026", ` "a comment" é`, "\ttab", " ", " # x", "\r"))
		b.WriteString(pick("end", "\n", "\n", "\n", "\n\n", ""))
	}
	return b.String()
}

// FuzzAllowedSigners: no panic, and what is accepted reads the same when it
// is written again.
func FuzzAllowedSigners(f *testing.F) {
	line := AllowedLine([]string{"server@acme", "server@b"}, []string{NamespaceHead}, fresh(f).Public(), "since 2026")
	f.Add([]byte(line + "\n"))
	f.Add([]byte("# comment\n\n" + line))
	f.Add([]byte(line + "\r\n"))
	f.Add([]byte(strings.Replace(line, "head@caisseauto", "head@caisseauto,manifest@caisseauto", 1)))
	f.Add([]byte(strings.Replace(line, "namespaces", "valid-after", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := ParseAllowedSigners("allowed_signers", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "allowed_signers") {
				t.Errorf("error without the file's name: %v", err)
			}
			return
		}
		for _, e := range tr.entries {
			again, err := ParseAllowedSigners("again", []byte(AllowedLine(e.principals, e.namespaces, e.key, "x")))
			if err != nil || len(again.entries) != 1 {
				t.Fatalf("line %d does not read again: %v", e.line, err)
			}
			a := again.entries[0]
			if !slices.Equal(a.principals, e.principals) || !slices.Equal(a.namespaces, e.namespaces) || !bytes.Equal(a.blob, e.blob) {
				t.Errorf("line %d reads again as %+v, was %+v", e.line, a, e)
			}
		}
	})
}
