package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// ceremony puts a shop under trust documents: version 1, signed by two of three
// roots; version 2 replaces a root; version 3 another key of the server, under
// which the stream down goes on and the receipts are made anew. The lists of
// keys as they were after each version are first, second and third.
func (s *shop) ceremony() {
	s.t.Helper()
	check(s, os.Mkdir(s.path("safe"), 0o755))
	for _, n := range []string{"1", "2", "3", "4"} {
		_, err := keys.Generate(s.path("safe/root-"+n), "root-"+n)
		check(s, err)
	}
	root := func(n string) string { return "root-" + n + "@acme=" + s.path("safe/root-"+n+".pub") }
	s.trust("new", "--root", root("1"), "--root", root("2"), "--root", root("3"), "--threshold", "2", "--to", s.path("safe"))
	s.sign("1", "1", "2")
	s.publish("1", "first")
	s.must("server", "export")
	s.must("server", "collect")
	s.trust("rotate", "--root", root("4"), "--drop", "root-1@acme", "--to", s.path("safe"))
	s.sign("2", "2", "3", "4")
	s.publish("2", "second")
	_, err := keys.Generate(s.path("server/keys/next"), "server@acme")
	check(s, err)
	s.trust("rotate", "--key", "server@acme="+s.path("server/keys/next.pub"), "--through", "1", "--to", s.path("safe"))
	s.sign("3", "3", "4")
	cfg := s.path("server/server.toml")
	s.write(cfg, bytes.Replace(s.read(cfg), []byte(`"keys/server"`), []byte(`"keys/next"`), 1))
	s.publish("3", "third")
	s.sql("server/erp.db", "INSERT INTO caisse SELECT dossier, '777', libelle, magasin FROM caisse WHERE dossier = 'ACME' LIMIT 1")
	s.must("server", "export")
	s.must("server", "collect")
}

func (s *shop) trust(args ...string) {
	s.t.Helper()
	s.must("server", "trust", args...)
}

func (s *shop) sign(version string, roots ...string) {
	s.t.Helper()
	doc := s.path("safe/000000000" + version + ".json")
	for _, r := range roots {
		s.must("server", "trust", "sign", doc, "--key", s.path("safe/root-"+r))
	}
}

func (s *shop) publish(version, list string) {
	s.t.Helper()
	s.trust("publish", s.path("safe/000000000"+version+".json"))
	s.write(s.path(list), s.read(s.path("server/allowed_signers")))
}

// forge signs a file of the drop anew, with the key that was retired.
func (s *shop) forge(name, namespace string) {
	old, err := keys.Load(s.path("server/keys/server"), nil)
	check(s, err)
	sig, err := old.Sign(s.read(s.path("drop/ACME/"+name)), namespace)
	check(s, err)
	s.write(s.path("drop/ACME/"+name+".sig"), sig)
}

// fourth makes a version 4 that the given roots have signed.
func (s *shop) fourth(change func(*rotation.Document), roots ...string) {
	t, err := keys.LoadTrust(s.path("third"))
	check(s, err)
	d := rotation.Draft(t.Block("ACME"))
	d.Revoked = []keys.Limit{} // what is encoded as it is has no null
	if old, err := rotation.Parse("", s.read(s.path("safe/0000000003.json"))); err == nil {
		d.Created = old.Created
	}
	if change != nil {
		change(d)
	}
	doc, err := keys.EncodeStatement(d)
	check(s, err)
	name := s.path("drop/ACME/trust/0000000004.json")
	s.write(name, doc)
	for _, r := range roots {
		signer, err := keys.Load(s.path("safe/root-"+r), nil)
		check(s, err)
		sig, err := signer.Sign(doc, keys.NamespaceTrust)
		check(s, err)
		s.write(name+".root-"+r+".sig", sig)
	}
}

var trustTamperings = []struct {
	name   string
	holds  string // the list of keys that the auditor has
	do     func(*shop)
	faults string // check and file below ACME, separated by commas
}{
	{"nothing, by the first list", "first", func(*shop) {}, ""},
	{"nothing, by the second", "second", func(*shop) {}, ""},
	{"nothing, by the third", "third", func(*shop) {}, ""},
	{"document changed", "first", func(s *shop) { s.flip("drop/ACME/trust/0000000002.json", 200) },
		"trust trust/0000000002.json, trust trust/tills-0000000002.json, signer down/HEAD.json, signer down/0000000002.manifest.json, signer receipts/001.json"},
	{"document changed, which the auditor knows", "third", func(s *shop) { s.flip("drop/ACME/trust/0000000002.json", 200) }, "chain trust/0000000002.json"},
	{"newest document changed, which the auditor knows", "third", func(s *shop) { s.flip("drop/ACME/trust/0000000003.json", 200) }, "chain trust/0000000003.json"},
	{"document withheld", "second", func(s *shop) { s.remove("trust/0000000003.json") },
		"trust trust/tills-0000000002.json, signer down/HEAD.json, signer down/0000000002.manifest.json, signer receipts/001.json"},
	{"document withheld, which the auditor knows", "third", func(s *shop) { s.remove("trust/0000000003.json") }, "completeness trust/0000000003.json"},
	{"newest document withheld, with its signatures", "first", func(s *shop) {
		for _, n := range []string{"", ".root-3.sig", ".root-4.sig"} {
			s.remove("trust/0000000003.json" + n)
		}
		s.forge("down/HEAD.json", keys.NamespaceHead) // with the key that it would have retired
	}, "completeness trust/0000000003.json, trust trust/tills-0000000002.json, signer down/0000000002.manifest.json, signer receipts/001.json"},
	{"a gap", "first", func(s *shop) { s.remove("trust/0000000002.json") },
		"completeness trust/0000000002.json, trust trust/tills-0000000002.json, signer down/HEAD.json, signer down/0000000002.manifest.json, signer receipts/001.json"},
	{"one signature withheld", "second", func(s *shop) { s.remove("trust/0000000003.json.root-4.sig") },
		"trust trust/0000000003.json, trust trust/tills-0000000002.json, signer down/HEAD.json, signer down/0000000002.manifest.json, signer receipts/001.json"},
	{"one signature more than needed withheld", "first", func(s *shop) { s.remove("trust/0000000001.json.root-1.sig") }, ""},
	{"list of keys changed", "first", func(s *shop) {
		s.write(s.path("drop/ACME/trust/allowed_signers"), append(s.read(s.path("drop/ACME/trust/allowed_signers")), "# x\n"...))
	}, "trust trust/allowed_signers"},
	{"list of keys withheld", "first", func(s *shop) { s.remove("trust/allowed_signers") }, "completeness trust/allowed_signers"},
	{"list of tills changed", "first", func(s *shop) { s.flip("drop/ACME/trust/tills-0000000002.json", 150) }, "trust trust/tills-0000000002.json"},
	{"list of tills changed, which the auditor knows", "third", func(s *shop) { s.flip("drop/ACME/trust/tills-0000000002.json", 150) }, "chain trust/tills-0000000002.json"},
	{"list of tills without its signature", "first", func(s *shop) { s.remove("trust/tills-0000000002.json.sig") }, "trust trust/tills-0000000002.json"},
	{"older list of tills changed", "third", func(s *shop) { s.flip("drop/ACME/trust/tills-0000000001.json", 150) }, "chain trust/tills-0000000001.json"},
	{"older list of tills withheld", "third", func(s *shop) { s.remove("trust/tills-0000000001.json") }, "completeness trust/tills-0000000001.json"},
	{"batch beyond the number by the retired key", "first", func(s *shop) { s.forge("down/0000000002.manifest.json", keys.NamespaceManifest) }, "trust down/0000000002.manifest.json"},
	{"batch before the number by the retired key", "first", func(s *shop) { s.forge("down/0000000001.manifest.json", keys.NamespaceManifest) }, ""},
	{"head by the retired key", "third", func(s *shop) { s.forge("down/HEAD.json", keys.NamespaceHead) }, "trust down/HEAD.json"},
	{"receipt by the retired key", "third", func(s *shop) { s.forge("receipts/001.json", keys.NamespaceReceipt) }, "trust receipts/001.json"},
	{"list of tills by the retired key", "second", func(s *shop) { s.forge("trust/tills-0000000002.json", keys.NamespaceTills) }, "trust trust/tills-0000000002.json"},
	{"a link for the folder", "third", func(s *shop) {
		check(s, os.Rename(s.path("drop/ACME/trust"), s.path("elsewhere")))
		check(s, os.Symlink(s.path("elsewhere"), s.path("drop/ACME/trust")))
	}, "completeness trust"},
	{"a link for a document", "third", func(s *shop) {
		check(s, os.Rename(s.path("drop/ACME/trust/0000000002.json"), s.path("elsewhere")))
		check(s, os.Symlink(s.path("elsewhere"), s.path("drop/ACME/trust/0000000002.json")))
	}, "chain trust/0000000002.json"},
	{"the folder withheld", "third", func(s *shop) { check(s, os.RemoveAll(s.path("drop/ACME/trust"))) },
		"completeness trust/0000000003.json, completeness trust/tills-0000000002.json"},
	{"no threshold of the roots before", "third", func(s *shop) { s.fourth(nil, "2") }, "trust trust/0000000004.json"},
	{"enough roots", "third", func(s *shop) { s.fourth(nil, "2", "3") }, "trust trust/allowed_signers"},
	{"a root that has gone", "third", func(s *shop) { s.fourth(nil, "1", "2") }, "trust trust/0000000004.json"},
	{"new roots alone", "third", func(s *shop) {
		s.fourth(func(d *rotation.Document) {
			d.Roots = d.Roots[:1]
			d.Roots[0] = rotation.Root{Principal: "root-9@acme", Key: strings.TrimSuffix(strings.Join(strings.Fields(string(s.read(s.path("safe/root-1.pub"))))[:2], " "), "\n")}
			d.Threshold = 1
		}, "1")
	}, "trust trust/0000000004.json"},
	{"threshold 0", "third", func(s *shop) { s.fourth(func(d *rotation.Document) { d.Threshold = 0 }, "2", "3", "4") }, "trust trust/0000000004.json"},
	{"version 4 that follows another", "third", func(s *shop) {
		s.fourth(func(d *rotation.Document) { d.Previous = strings.Repeat("a", 64) }, "2", "3", "4")
	}, "trust trust/0000000004.json"},
	{"version 5 under the name of 4", "third", func(s *shop) { s.fourth(func(d *rotation.Document) { d.Version = 5 }, "2", "3", "4") }, "trust trust/0000000004.json"},
	{"retirement lifted", "third", func(s *shop) { s.fourth(func(d *rotation.Document) { d.Retired = []keys.Limit{} }, "2", "3", "4") }, "trust trust/0000000004.json"},
	{"a till among the servers", "third", func(s *shop) {
		s.fourth(func(d *rotation.Document) { d.Keys[0].Principal = "till-001@acme" }, "2", "3", "4")
	}, "trust trust/0000000004.json"},
	{"another dossier's", "third", func(s *shop) { s.fourth(func(d *rotation.Document) { d.Dossier = "BETA" }, "2", "3", "4") }, "trust trust/0000000004.json"},
	{"endless document", "third", func(s *shop) {
		s.write(s.path("drop/ACME/trust/0000000004.json"), bytes.Repeat([]byte("x"), rotation.MaxDocument+1))
	}, "trust trust/0000000004.json"},
	{"strangers' files", "third", func(s *shop) {
		for _, n := range []string{"0000000004.json.root-1.sig", "x", "tills-0000000009.json.sig", ".hidden"} {
			s.write(s.path("drop/ACME/trust/"+n), []byte("x"))
		}
	}, ""},
}

func (s *shop) remove(name string) { check(s, os.Remove(s.path("drop/ACME/"+name))) }

// TestShopVerifyTrust: documents and lists of tills are changed, withheld and
// forged; the program and the script find the same, in the same files.
func TestShopVerifyTrust(t *testing.T) {
	origin := newShop(t)
	origin.soldTwice()
	origin.ceremony()
	for _, x := range trustTamperings {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := &shop{world{t: t, dir: t.TempDir()}}
			check(s, os.CopyFS(s.dir, os.DirFS(origin.dir)))
			private, err := filepath.Glob(s.path("*/*"))
			check(s, err)
			for _, p := range append(private, s.path("server/keys/server")) {
				if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
					check(s, os.Chmod(p, 0o600))
				}
			}
			x.do(s)
			f := verified(t, s.path(x.holds), s.path("drop"))
			var want []string
			for _, w := range strings.Split(x.faults, ", ") {
				if c, file, ok := strings.Cut(w, " "); ok {
					want = append(want, c+" ACME/"+file)
				}
			}
			if slices.Sort(want); !slices.Equal(f.Faults, want) {
				t.Errorf("wrong is\n%s\nwant\n%s", strings.Join(f.Faults, "\n"), strings.Join(want, "\n"))
			}
			if (f.Code == exitRefused) != (len(want) > 0) {
				t.Errorf("exit code %d", f.Code)
			}
		})
	}
}
