package manifest_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"caisseauto/manifest"
)

func TestParseFileName(t *testing.T) {
	for _, name := range []string{
		"", "HEAD.json", "0000000000.tar.zst", "000000042.tar.zst", "00000000042.tar.zst", "+000000042.tar.zst", "-000000042.tar.zst",
		"0000000042", "0000000042.tar", "0000000042.tar.zst.part", "0000000042.TAR.ZST", "0000000042.manifest.json.sig ", " 0000000042.tar.zst",
		"00000000x2.tar.zst", "0x00000042.tar.zst", "0_00000042.tar.zst", "٠٠٠٠٠.tar.zst", "0000000042/../x.tar.zst",
	} {
		if n, ext, ok := manifest.ParseFileName(name); ok {
			t.Errorf("%q accepted as %d, %q", name, n, ext)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, manifest.MaxSequence).Draw(t, "sequence")
		ext := rapid.SampledFrom([]string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt}).Draw(t, "ext")
		name := manifest.FileName(n, ext)
		if gotN, gotExt, ok := manifest.ParseFileName(name); !ok || gotN != n || gotExt != ext {
			t.Errorf("%q reads as %d, %q, %v", name, gotN, gotExt, ok)
		}
		// The whole grammar, as a script would write it.
		any := rapid.StringMatching(`[0-9]{9,11}\.(tar\.zst|manifest\.json|manifest\.json\.sig|json)`).Draw(t, "any")
		_, _, ok := manifest.ParseFileName(any)
		want := regexp.MustCompile(`^[0-9]{10}\.(tar\.zst|manifest\.json|manifest\.json\.sig)$`).MatchString(any) && !strings.HasPrefix(any, "0000000000")
		if ok != want {
			t.Errorf("%q: %v, want %v", any, ok, want)
		}
	})
}

func TestValidStream(t *testing.T) {
	long := strings.Repeat("a", 32)
	for stream, want := range map[string]bool{
		"ACME/down": true, "ACME/packages": true, "ACME/up/017": true, "a-b_C/down": true, long + "/up/" + long: true,
		"": false, "/": false, "ACME": false, "ACME/": false, "/down": false, "ACME/up": false, "ACME/up/": false, "ACME/down/": false,
		"ACME/up/017/x": false, "ACME/up/0.7": false, "ACME//down": false, "AC ME/down": false, "../down": false, "ACMÉ/down": false,
		"ACME/Down": false, "ACME/down\n": false, long + "a/down": false, "ACME/up/" + long + "a": false, "ACME\\down": false,
	} {
		if got := manifest.ValidStream(stream); got != want {
			t.Errorf("%q: %v, want %v", stream, got, want)
		}
	}
	for _, s := range []string{manifest.StreamDown("ACME"), manifest.StreamUp("ACME", "017"), manifest.StreamPackages("ACME")} {
		if !manifest.ValidStream(s) {
			t.Errorf("%q is not valid", s)
		}
	}
}

func TestMaySign(t *testing.T) {
	for _, c := range []struct {
		stream, principal string
		want              bool
	}{
		{"ACME/down", "server@acme", true},
		{"ACME/down", "server@anywhere", true}, // the trust decides which server
		{"ACME/down", "server", false},
		{"ACME/down", "server@", false},
		{"ACME/down", "servers@acme", false},
		{"ACME/down", "release@acme", false},
		{"ACME/down", "till-017@acme", false},
		{"ACME/packages", "release@acme", true},
		{"ACME/packages", "server@acme", false},
		{"ACME/up/017", "till-017@acme", true},
		{"ACME/up/A1", "till-a1@acme", true},
		{"ACME/up/017", "till-017@ACME", false},
		{"ACME/up/017", "till-018@acme", false},
		{"ACME/up/017", "till-017@other", false},
		{"ACME/up/017", "till-17@acme", false},
		{"ACME/up/017", "server@acme", false},
		{"ACME", "server@acme", false},
	} {
		if got := manifest.MaySign(c.stream, c.principal); got != c.want {
			t.Errorf("%s for %s: %v", c.principal, c.stream, got)
		}
	}
}

func TestMemberNames(t *testing.T) {
	for table, want := range map[string]string{
		"article":               "data/article.0007.ndjson",
		"ticket_ligne-2":        "data/ticket_ligne-2.0007.ndjson",
		"Article":               "data/%41rticle.0007.ndjson",
		"prix d'été":            "data/prix%20d%27%c3%a9t%c3%a9.0007.ndjson",
		"../etc":                "data/%2e%2e%2fetc.0007.ndjson",
		"%41":                   "data/%2541.0007.ndjson",
		strings.Repeat("a", 80): "data/" + strings.Repeat("a", 80) + ".0007.ndjson",
		strings.Repeat("a", 81): "data/%h" + "8c48280d57fb88f161adf34d9f597d93" + ".0007.ndjson",
		strings.Repeat("É", 14): "data/%h" + manifest.Digest([]byte(strings.Repeat("É", 14)))[:32] + ".0007.ndjson",
		strings.Repeat("É", 13): "data/" + strings.Repeat("%c3%89", 13) + ".0007.ndjson",
	} {
		if got := manifest.MemberName(table, 7); got != want {
			t.Errorf("%q: %q, want %q", table, got, want)
		}
	}
	form := regexp.MustCompile(`^data/[a-z0-9_%-]{1,80}\.[0-9]{4}\.ndjson$`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringN(1, 60, -1).Draw(t, "a"), rapid.StringN(1, 60, -1).Draw(t, "b")
		name := manifest.MemberName(a, rapid.IntRange(1, manifest.MaxMembersPerTable).Draw(t, "n"))
		if !form.MatchString(name) || len(name) > 100 {
			t.Errorf("%q becomes %q", a, name)
		}
		if a != b && manifest.EncodeTableName(a) == manifest.EncodeTableName(b) {
			t.Errorf("%q and %q become the same", a, b)
		}
	})
}
