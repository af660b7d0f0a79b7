package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/keys/rotation"
	"caisseauto/manifest"
)

// replaced changes the header of one entry.
func replaced(n int, change func(*entry)) func([]entry) []entry {
	return func(list []entry) []entry {
		change(&list[n])
		return list
	}
}

// asLink makes an entry one without a body.
func asLink(kind byte, to string) func(*entry) {
	return func(e *entry) { e.Typeflag, e.Linkname, e.Size, e.body = kind, to, 0, "" }
}

func renamed(name string) func(*entry) { return func(e *entry) { e.Name = name } }

func modeOf(mode int64) func(*entry) { return func(e *entry) { e.Mode = mode } }

// evilPackages are archives under a good signature and digest whose tar is not
// the one that the list of files describes. Entry 1 is bin/hello.
var evilPackages = []struct {
	name string
	evil func([]entry) []entry
}{
	{"a symbolic link in place of an empty file", replaced(0, asLink(tar.TypeSymlink, "/bin/sh"))},
	{"a hard link", replaced(1, asLink(tar.TypeLink, "LICENSE"))},
	{"a device", replaced(1, asLink(tar.TypeChar, ""))},
	{"a name that leads elsewhere", replaced(1, renamed("../bin/hello"))},
	{"an absolute name", replaced(1, renamed("/bin/hello"))},
	{"a program that is setuid", replaced(1, modeOf(0o4755))},
	{"a program that the tar says is one", replaced(1, modeOf(0o755))},
	{"another user's", replaced(1, func(e *entry) { e.Uid = 1000 })},
	{"other bytes of the same size", replaced(1, func(e *entry) { e.body = strings.Repeat("x", len(e.body)) })},
	{"a file fewer", func(list []entry) []entry { return list[:2] }},
	{"a file more", func(list []entry) []entry { return append(list, file("zzz", "")) }},
	{"another order", func(list []entry) []entry { slices.Reverse(list); return list }},
	{"no file", func([]entry) []entry { return nil }},
}

// evilDescriptions are manifests that a writer of ours never signs.
var evilDescriptions = []struct {
	name string
	edit func(*manifest.Manifest)
}{
	{"rows", func(m *manifest.Manifest) { m.Kind, m.Package = manifest.Delta, nil }},
	{"a path that leads elsewhere", func(m *manifest.Manifest) { m.Files[0].Name = "../LICENSE" }},
	{"an option", func(m *manifest.Manifest) { m.Files[0].Name = "--checkpoint-action=exec=sh" }},
	{"a device of Windows", func(m *manifest.Manifest) { m.Files[0].Name = "AUX.txt" }},
	{"files out of order", func(m *manifest.Manifest) { slices.Reverse(m.Files) }},
	{"setuid", func(m *manifest.Manifest) { m.Files[1].Mode = "4755" }},
	{"a size below 0", func(m *manifest.Manifest) { m.Files[1].Size = -1 }},
	{"another size of the tar", func(m *manifest.Manifest) { m.Archive.TarSize += 512 }},
	{"a probe that is not among the files", func(m *manifest.Manifest) { m.Probe.Command[0] = "/bin/sh" }},
	{"a probe without an end", func(m *manifest.Manifest) { m.Probe.Seconds = 601 }},
	{"a product that leads elsewhere", func(m *manifest.Manifest) { m.Product = "../hello" }},
	{"notes with an escape", func(m *manifest.Manifest) { m.Notes = "\x1b[2J" }},
	{"a way back that leads forward", func(m *manifest.Manifest) { m.Rollback = &manifest.Rollback{From: 1, To: m.Release} }},
	{"it requires itself", func(m *manifest.Manifest) {
		m.Requires = []manifest.Requirement{{Product: m.Product, Release: m.Release}}
	}},
	{"a till's words", func(m *manifest.Manifest) { m.Incarnation = strings.Repeat("ab", 16) }},
	{"tables", func(m *manifest.Manifest) {
		columns := []manifest.Column{{Name: "a", Type: ""}}
		m.Tables = []manifest.Table{{Name: "t", Scope: manifest.Changes, Columns: columns, Key: []string{"a"}, Schema: manifest.Fingerprint(columns, []string{"a"})}}
	}},
}

// TestShopVerifyEvilPackages: everything that the release key can sign and that
// is no package, in one stream: each of them is named, by both checks, and the
// good ones between are good.
func TestShopVerifyEvilPackages(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	want := []string{}
	for _, x := range evilPackages {
		s.publish(x.evil, nil)
		want = append(want, "content ACME/packages/"+name(s.last.Sequence, manifest.ArchiveExt))
	}
	s.publish(nil, nil)
	for _, x := range evilDescriptions {
		s.publish(nil, x.edit)
		want = append(want, "content ACME/packages/"+name(s.last.Sequence, manifest.ManifestExt))
	}
	s.publish(nil, nil)
	s.head(nil)
	slices.Sort(want)
	if f := verified(t, s.path("allowed_signers"), "--at", shelfNow, s.path("drop")); !slices.Equal(f.Faults, want) {
		t.Errorf("faults %q, want %q: %d archives, then a good one, then manifests", f.Faults, want, len(evilPackages))
	}
}

// packageTamperings are what others than the release manager can do.
var packageTamperings = []struct {
	name   string
	do     func(s *shelf)
	faults string // check and file below ACME/packages, separated by commas
	at     string
}{
	{name: "nothing", do: func(*shelf) {}},
	{name: "an archive changed, another cut", do: func(s *shelf) {
		s.flip("drop/ACME/packages/0000000002.tar.zst", 60)
		b := s.read(s.pack("0000000001.tar.zst"))
		s.write(s.pack("0000000001.tar.zst"), b[:len(b)-9])
	}, faults: "hash 0000000001.tar.zst, hash 0000000002.tar.zst"},
	{name: "a file's digest changed in the manifest", do: func(s *shelf) { s.flip("drop/ACME/packages/0000000002.manifest.json", 1200) },
		faults: "chain HEAD.json, signature 0000000002.manifest.json"},
	{name: "signed by the server, and an archive gone", do: func(s *shelf) {
		s.put("0000000002.manifest.json", s.read(s.pack("0000000002.manifest.json")), s.server, keys.NamespacePackage)
		s.check(os.Remove(s.pack("0000000001.tar.zst")))
	}, faults: "completeness 0000000001.tar.zst, signer 0000000002.manifest.json"},
	{name: "signed by the server, in its name", do: func(s *shelf) {
		doc := bytes.Replace(s.read(s.pack("0000000002.manifest.json")), []byte("release@acme"), []byte("server@acme"), 1)
		s.put("0000000002.manifest.json", doc, s.server, keys.NamespacePackage)
	}, faults: "chain HEAD.json, signer 0000000002.manifest.json"},
	{name: "signed as a manifest of rows, and a head by the server", do: func(s *shelf) {
		s.put("0000000002.manifest.json", s.read(s.pack("0000000002.manifest.json")), s.release, keys.NamespaceManifest)
		s.put(manifest.HeadName, s.read(s.pack(manifest.HeadName)), s.server, keys.NamespaceHead)
	}, faults: "signature 0000000002.manifest.json, signer HEAD.json"},
	{name: "a head with a baseline", do: func(s *shelf) { s.head(func(h *manifest.Head) { h.Baseline = 1 }) }, faults: "content HEAD.json"},
	{name: "found in another dossier", do: func(s *shelf) { s.check(os.Rename(s.path("drop/ACME"), s.path("drop/BETA"))) },
		faults: "chain HEAD.json, chain 0000000001.manifest.json, chain 0000000002.manifest.json"},
	{name: "the first batch gone", do: func(s *shelf) { s.remove(1) }, faults: "completeness 0000000001.manifest.json"},
	{name: "the last batch gone", do: func(s *shelf) { s.remove(2) }, faults: "completeness 0000000002.manifest.json"},
	{name: "an archive that was given up", do: func(s *shelf) {
		s.check(os.Remove(s.pack("0000000001.tar.zst")))
		s.head(func(h *manifest.Head) { h.Oldest = 2 })
	}},
	{name: "a stale head", do: func(*shelf) {}, faults: "freshness HEAD.json", at: "2026-04-01"},
	{name: "the release manager's key retired after batch 1", do: func(s *shelf) { s.retire(1) }, faults: "trust HEAD.json, trust 0000000002.manifest.json"},
	{name: "what a till says of its software", do: func(s *shelf) { s.till(software) }},
	{name: "a till whose products are out of order", do: func(s *shelf) { s.till(strings.Replace(software, `"base"`, `"zzz"`, 1)) }, faults: "content ../up/017/HEAD.json"},
}

// software is what the head of a till says.
const software = `,
  "packages": [
    {
      "product": "base",
      "version": "4",
      "release": 4,
      "sequence": 1
    },
    {
      "product": "hello",
      "version": "1.1",
      "release": 2,
      "sequence": 2
    }
  ],
  "updates": [
    {
      "at": "2026-03-01T06:20:00Z",
      "product": "hello",
      "version": "1.1",
      "release": 2,
      "sequence": 2,
      "outcome": "rolled back",
      "by": "",
      "reason": "the probe ended with 1"
    }
  ]
}
`

// till puts the first batch of a till beside the packages, with more in its head.
func (s *shelf) till(more string) {
	s.t.Helper()
	s.mkdir("drop/ACME/up/017")
	vectors := "../../testdata/vectors/good/ACME/up/017/"
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		s.write(s.path("drop/ACME/up/017/"+name(1, ext)), s.read(vectors+name(1, ext)))
	}
	key := s.vectorKey("till-017")
	s.write(s.path("allowed_signers"), append(s.read(s.path("allowed_signers")), keys.AllowedLine([]string{"till-017@acme"}, tillNamespaces, key.Public(), "")+"\n"...))
	var h manifest.Head
	s.check(json.Unmarshal(s.read(vectors+manifest.HeadName), &h))
	head := strings.Replace(string(s.read(vectors+manifest.HeadName)), h.Digest, manifest.Digest(s.read(vectors+name(1, manifest.ManifestExt))), 1)
	head = strings.Replace(head, `"sequence": 2`, `"sequence": 1`, 1)
	s.put("../up/017/HEAD.json", []byte(strings.TrimSuffix(head, "\n}\n")+more), key, keys.NamespaceHead)
}

// retire puts the dossier under a trust document that ends the release manager's
// key after a batch, and hands the auditor what it says.
func (s *shelf) retire(after int64) {
	s.t.Helper()
	root := s.vectorKey("stranger")
	pub := strings.TrimSpace(keys.AuthorizedLine(root.Public(), ""))
	release := strings.TrimSpace(keys.AuthorizedLine(s.release.Public(), ""))
	d := &rotation.Document{Format: rotation.Format, Dossier: "ACME", Version: 1, Previous: rotation.NoPrevious(), Created: shelfTime, Threshold: 1,
		Roots: []rotation.Root{{Principal: "root-1@acme", Key: pub}},
		Keys:  []rotation.Grant{{Principal: "release@acme", Namespaces: []string{keys.NamespacePackage, keys.NamespaceHead}, Key: release}}}
	d.Retired = []keys.Limit{{Principal: "release@acme", Key: rotation.Fingerprint(release), Stream: "ACME/packages", Sequence: after}}
	doc, err := d.Encode()
	s.check(err)
	s.mkdir("drop/ACME/trust")
	s.put("../trust/0000000001.json", doc, root, keys.NamespaceTrust)
	s.check(os.Rename(s.path("drop/ACME/trust/0000000001.json.sig"), s.path("drop/ACME/trust/0000000001.json.root-1.sig")))
	none, err := keys.ParseAllowedSigners("none", nil)
	s.check(err)
	next, _, err := rotation.Begin(none, doc, []rotation.Signature{{File: "root-1", Data: s.read(s.path("drop/ACME/trust/0000000001.json.root-1.sig"))}})
	s.check(err)
	s.write(s.path("allowed_signers"), next.Text())
	s.write(s.path("drop/ACME/trust/allowed_signers"), next.Block("ACME").Text())
}

func TestShopVerifyPackages(t *testing.T) {
	t.Parallel()
	for _, x := range packageTamperings {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			s.publish(nil, nil)
			s.publish(nil, nil)
			s.head(nil)
			x.do(s)
			at := shelfNow
			if x.at != "" {
				at = x.at
			}
			f := verified(t, s.path("allowed_signers"), "--at", at, s.path("drop"))
			want := []string{}
			for _, fault := range strings.Split(x.faults, ", ") {
				if check, base, ok := strings.Cut(fault, " "); ok {
					stream := "ACME/packages/"
					switch {
					case strings.HasPrefix(base, "../"):
						base, stream = base[3:], "ACME/"
					case x.name == "found in another dossier":
						stream = "BETA/packages/"
					}
					want = append(want, check+" "+stream+base)
				}
			}
			slices.Sort(want)
			if !slices.Equal(f.Faults, want) && len(f.Faults)+len(want) > 0 {
				t.Errorf("faults %q, want %q", f.Faults, want)
			}
		})
	}
}

// TestVerifyPackages: the report of a person says what the stream comes to.
func TestVerifyPackages(t *testing.T) {
	s := newShelf(t)
	s.publish(nil, nil)
	s.publish(nil, nil)
	s.publish(nil, func(m *manifest.Manifest) { m.Release, m.Rollback = 1, &manifest.Rollback{From: 2, To: 1} })
	s.head(nil)
	code, out, errs := s.run("verify", "--signers", s.path("allowed_signers"), "--at", shelfNow, "--report", s.path("r.html"), s.path("drop"))
	for _, says := range []string{"newest: hello 1.3 (1) for linux/any, batch 3, the way back from release 2\n", "3 batches, 0 rows, 9 files of packages"} {
		if code != 0 || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %q: %s%s", code, says, out, errs)
		}
	}
	page := string(s.read(s.path("r.html")))
	for _, says := range []string{"<b>9</b> files signed for", "9 files</td>", "the way back from release 2", "-n package@caisseauto"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page lacks %q", says)
		}
	}
	code, out, _ = s.run("verify", "--signers", s.path("allowed_signers"), "--at", shelfNow, "--json", s.path("drop"))
	for _, says := range []string{`"files": 9`, `"rollback_from": 2`, `"os": "linux"`} {
		if code != 0 || !strings.Contains(out, says) {
			t.Errorf("exit code %d, --json lacks %q: %s", code, says, out)
		}
	}
}
