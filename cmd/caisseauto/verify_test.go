package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/verify"
	"caisseauto/manifest"
)

// An audit is what both checks must agree on: the verdicts of each stream,
// and which file each fault is in.
type audit struct {
	Code    int
	Verdict string
	Streams map[string]map[string]string
	Faults  []string // check and file, sorted
}

// found reads a report in JSON, of the program or of the script.
func found(t *testing.T, code int, out string) audit {
	t.Helper()
	var r struct {
		Format, Verdict string
		Streams         []struct {
			Stream string
			Checks map[string]string
		}
		Faults []struct{ File, Check string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("exit code %d: %v\n%s", code, err, out)
	}
	f := audit{Code: code, Verdict: r.Verdict, Streams: map[string]map[string]string{}}
	for _, s := range r.Streams {
		if len(s.Checks) != len(verify.Checks) {
			t.Errorf("stream %s has the verdicts %v", s.Stream, s.Checks)
		}
		f.Streams[s.Stream] = s.Checks
	}
	for _, x := range r.Faults {
		f.Faults = append(f.Faults, x.Check+" "+x.File)
	}
	slices.Sort(f.Faults)
	f.Faults = slices.Compact(f.Faults)
	return f
}

// verified runs the program over the paths, and the script, which shares
// nothing with it, and wants the same of both.
func verified(t *testing.T, signers string, args ...string) audit {
	t.Helper()
	if raceEnabled {
		t.Skip("the script takes a second for each drop: scripts/test runs it without the race detector")
	}
	a := append([]string{"--signers", signers, "--json"}, args...)
	w := &world{t: t}
	code, out, errs := w.run(append([]string{"verify"}, a...)...)
	f := found(t, code, out)
	if f.Code == exitRefused != (f.Verdict == "wrong") || f.Code != exitRefused && f.Code != exitDone {
		t.Errorf("exit code %d with the verdict %s: %s", f.Code, f.Verdict, errs)
	}
	script, output := stockVerify(t, a...)
	if diff := cmp.Diff(f, found(t, script, output)); diff != "" {
		t.Errorf("the program and scripts/verify do not agree (-program +script):\n%s\n%s", diff, out)
	}
	return f
}

// stockVerify runs scripts/verify.
func stockVerify(t *testing.T, args ...string) (code int, stdout string) {
	t.Helper()
	for _, tool := range []string{"jq", "zstd", "ssh-keygen", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed: apt-get install openssh-client jq zstd")
		}
	}
	script, err := filepath.Abs("../../scripts/verify")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{script}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Errorf("scripts/verify says on standard error:\n%s", errs.String())
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// want checks that the verdicts that are wrong, over all streams, are these.
func (f audit) want(t *testing.T, checks ...string) {
	t.Helper()
	wrong := map[string]bool{}
	for _, s := range f.Streams {
		for c, v := range s {
			if v == "wrong" {
				wrong[c] = true
			}
		}
	}
	slices.Sort(checks)
	if got := slices.Sorted(maps.Keys(wrong)); !slices.Equal(got, checks) {
		t.Errorf("wrong is %v, want %v: %v", got, checks, f.Faults)
	}
}

// The verdicts on each attack of attacks_test.go.
var verdictsOnAttacks = map[string][]string{
	"manifest changed":                                 {"signature", "chain"},
	"signature changed":                                {"signature"},
	"archive changed":                                  {"hash"},
	"archive cut":                                      {"hash"},
	"archive grown":                                    {"hash"},
	"unknown key":                                      {"signer"},
	"right key, wrong principal":                       {"signer", "chain"},
	"right key, wrong namespace":                       {"signature"},
	"head served as a manifest":                        {"signature", "chain"},
	"manifest served as a head":                        {"signature"},
	"another stream":                                   {"chain"},
	"another stream's head":                            {"chain"},
	"an upload stream signed by the server":            nil, // signer or content: see below
	"an older batch under the next number":             {"chain"},
	"a later batch under the next number":              {"chain"},
	"previous is another batch":                        {"chain"},
	"a signed batch of an older epoch":                 {"chain"},
	"tail cut":                                         {"completeness"},
	"the last manifest cut":                            {"completeness"},
	"gap":                                              {"completeness"},
	"two batches swapped":                              {"chain"},
	"freeze: the head expired":                         {"freshness"},
	"fast-forward: a head far ahead":                   {"completeness"},
	"fork: the head names another batch of our number": {"chain"},
	"head changed":                                     {"signature"},
	"a head of 17 KiB":                                 {"signature"},
	"a signature of 17 KiB":                            {"signature"},
	"a manifest of 5 MiB":                              {"signature"},
	"a zstd bomb under a valid signature":              {"chain", "content"},
	"a member of another batch":                        {"chain", "content"},
	"a member of a table that is not signed for":       {"chain", "content"},
	"rows that are no rows":                            {"chain", "content"},
	"an operation that does not exist":                 {"chain", "content"},
	"a patch of a row that is not there":               {"chain"},
	"a row that breaks a unique index":                 {"chain"},
	"a table that the till does not have":              {"chain"},
}

func TestShopVerifyAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a.do(t, w)
			f := verified(t, w.path("till/allowed_signers"), w.path("drop"))
			if f.Code != exitRefused {
				t.Errorf("exit code %d, want 65", f.Code)
			}
			if checks, ok := verdictsOnAttacks[a.name]; !ok {
				t.Error("no verdict is written down for this attack")
			} else if checks != nil {
				f.want(t, checks...)
			}
		})
	}
}

// evilTars are archives under a valid signature and digest whose tar is not
// what a writer of ours makes: each changes the header of the first member.
var evilTars = []struct {
	name string
	do   func(tar []byte)
}{
	{"cut at the boundary of a member", func(tar []byte) { clear(tar) }},
	{"a member that is a symbolic link", func(tar []byte) { tar[156] = '2' }},
	{"a member that is a device", func(tar []byte) { tar[156] = '3' }},
	{"a member outside of its folder", func(tar []byte) { copy(tar, "../../a\x00") }},
	{"a member with an absolute name", func(tar []byte) { copy(tar, "/tmp/a\x00") }},
	{"a member that anybody may write", func(tar []byte) { copy(tar[100:], "0000666") }},
	{"a member of another user", func(tar []byte) { copy(tar[108:], "0001750") }},
}

// TestShopVerifyEvilTar: both checks refuse them, and so does the till.
func TestShopVerifyEvilTar(t *testing.T) {
	if raceEnabled {
		t.Skip("the script takes a second for each drop: scripts/test runs it without the race detector")
	}
	filter := func(t *testing.T, in []byte, args ...string) []byte {
		cmd := exec.Command("zstd", args...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("zstd: %v (apt-get install zstd)", err)
		}
		return out
	}
	for _, x := range evilTars {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.resign(2, func(m *manifest.Manifest) {
				tar := filter(t, w.read(w.down(m.Archive.Name)), "-dc")
				x.do(tar)
				if tar[0] != 0 { // the checksum: of the header with blanks in its place
					copy(tar[148:156], "        ")
					sum := 0
					for _, c := range tar[:512] {
						sum += int(c)
					}
					copy(tar[148:156], fmt.Sprintf("%06o\x00 ", sum))
				}
				packed := filter(t, tar, "-3", "--check", "-c")
				sum := sha256.Sum256(packed)
				m.Archive.Size, m.Archive.SHA256 = int64(len(packed)), hex.EncodeToString(sum[:])
				w.write(w.down(m.Archive.Name), packed)
			})
			f := verified(t, w.path("till/allowed_signers"), w.path("drop"))
			f.want(t, "chain", "content") // chain: the batch after it names the honest one
			if !slices.Contains(f.Faults, "content ACME/down/"+name(2, manifest.ArchiveExt)) {
				t.Errorf("faults %v", f.Faults)
			}
			if code, _, errs := w.importNow(); code != exitRefused || !strings.Contains(errs, name(2, manifest.ArchiveExt)) {
				t.Errorf("import: exit code %d: %s", code, errs)
			}
		})
	}
}

func TestShopVerifyUpAttacks(t *testing.T) {
	for _, a := range upAttacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			s.soldTwice()
			a.do(s)
			f := verified(t, s.path("server/allowed_signers"), s.path("drop"))
			// What only the server's rules on rows refuse is authentic.
			if a.moves && !a.forges {
				f.want(t)
			} else if f.Code != exitRefused {
				t.Errorf("exit code %d, want 65", f.Code)
			}
		})
	}
}

// soldTwice: till 001 has sold tickets 1 and 2 in batch 1, which is receipted,
// and 3 and 4 in batch 2.
func (s *shop) soldTwice() {
	s.sell("001", 1, 2)
	s.must("001", "sync")
	s.must("server", "collect")
	s.must("001", "sync")
	s.sell("001", 3, 4)
	s.must("001", "sync")
}

// A tampering is something that happens to a whole drop.
type tampering struct {
	name  string
	do    func(s *shop)
	wrong []string
}

var tamperings = []tampering{
	{"nothing", func(*shop) {}, nil},
	{"strangers' files", func(s *shop) {
		for _, base := range []string{"x", ".hidden", "0000000009.tar.zst.part", "0000000000.manifest.json", "00000000002.manifest.json"} {
			s.write(s.path("drop/ACME/down/"+base), []byte("strange"))
		}
		check(s, os.MkdirAll(s.path("drop/ACME/notes"), 0o755))
		check(s, os.MkdirAll(s.path("drop/lost+found"), 0o755))
		s.write(s.path("drop/README"), []byte("strange"))
	}, nil},
	{"a batch that is being written", func(s *shop) {
		s.write(s.up("001", name(9, manifest.ArchiveExt)), []byte("half"))
	}, nil},
	{"a receipt changed", func(s *shop) { s.flip("drop/ACME/receipts/001.json", 60) }, []string{"signature"}},
	{"a receipt of another till", func(s *shop) {
		for _, ext := range []string{".json", ".json.sig"} {
			s.write(s.path("drop/ACME/receipts/002"+ext), s.read(s.path("drop/ACME/receipts/001"+ext)))
		}
	}, []string{"chain"}},
	{"a receipt for a folder that is gone", func(s *shop) { check(s, os.RemoveAll(s.path("drop/ACME/up/001"))) }, []string{"completeness"}},
	{"a till's folder under another number", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/up/002")))
		check(s, os.CopyFS(s.path("drop/ACME/up/002"), os.DirFS(s.path("drop/ACME/up/001"))))
	}, []string{"chain"}},
	{"no head", func(s *shop) { check(s, os.Remove(s.up("001", manifest.HeadName))) }, []string{"completeness"}},
	{"no signature of the head", func(s *shop) { check(s, os.Remove(s.up("001", manifest.HeadSignatureName))) }, []string{"completeness"}},
	{"the first batch gone", func(s *shop) {
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			check(s, os.Remove(s.up("001", name(1, ext))))
		}
	}, []string{"completeness"}},
	{"the tail cut, and the head of before, but not the receipt", func(s *shop) {
		s.must("server", "collect")
		first := manifest.Digest(s.read(s.up("001", name(1, manifest.ManifestExt))))
		for n := int64(2); n <= 3; n++ {
			for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
				check(s, os.Remove(s.up("001", name(n, ext))))
			}
		}
		s.rehead("001", 1, first)
	}, []string{"completeness"}},
	{"two batches of one number: the till has applied the other", func(s *shop) {
		s.edit("001", manifest.HeadName, manifest.Digest(s.read(s.down(name(1, manifest.ManifestExt)))), strings.Repeat("ab", 32))
	}, []string{"chain"}},
	{"two tills' folders swapped", func(s *shop) {
		up := s.path("drop/ACME/up/")
		check(s, os.Rename(up+"/001", up+"/x"))
		check(s, os.Rename(up+"/002", up+"/001"))
		check(s, os.Rename(up+"/x", up+"/002"))
	}, []string{"chain"}},
	{"tickets passed off as a package", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/packages")))
		check(s, os.CopyFS(s.path("drop/ACME/packages"), os.DirFS(s.path("drop/ACME/up/001"))))
	}, []string{"signature", "chain"}},
	{"every file of a batch cut in half", func(s *shop) {
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			b := s.read(s.up("001", name(2, ext)))
			s.write(s.up("001", name(2, ext)), b[:len(b)/2])
		}
	}, []string{"signature", "chain"}},
	{"a manifest of 5 GiB", func(s *shop) { check(s, os.Truncate(s.up("001", name(2, manifest.ManifestExt)), 5<<30)) }, []string{"signature"}},
	{"an archive of 5 GiB", func(s *shop) { check(s, os.Truncate(s.up("001", name(2, manifest.ArchiveExt)), 5<<30)) }, []string{"hash"}},
	{"a head that is a link", func(s *shop) {
		check(s, os.Rename(s.up("001", manifest.HeadName), s.up("001", "moved")))
		check(s, os.Symlink("moved", s.up("001", manifest.HeadName)))
	}, []string{"signature"}},
	{"the stream down a link", linked("down"), []string{"completeness"}},
	{"the folder of the tills a link", linked("up"), []string{"completeness"}},
	{"the receipts a link", linked("receipts"), []string{"completeness"}},
	{"a link for the packages", func(s *shop) { check(s, os.Symlink("down", s.path("drop/ACME/packages"))) }, []string{"completeness"}},
	{"a file for the stream down", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/down")))
		s.write(s.path("drop/ACME/down"), nil)
	}, []string{"completeness"}},
	{"the stream down taken away", func(s *shop) { check(s, os.RemoveAll(s.path("drop/ACME/down"))) }, []string{"completeness"}},
	{"a till's own medium, without down and receipts", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/down")))
		check(s, os.RemoveAll(s.path("drop/ACME/receipts")))
	}, nil},
	{"the stream down emptied", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/down")))
		check(s, os.Mkdir(s.path("drop/ACME/down"), 0o755))
	}, []string{"completeness"}},
	{"a manifest that is a link", func(s *shop) {
		p := s.up("001", name(2, manifest.ManifestExt))
		check(s, os.Rename(p, p+".moved"))
		check(s, os.Symlink(p+".moved", p))
	}, []string{"completeness"}},
	{"an archive that is a link", func(s *shop) {
		p := s.up("001", name(2, manifest.ArchiveExt))
		check(s, os.Rename(p, p+".moved"))
		check(s, os.Symlink(p+".moved", p))
	}, []string{"completeness"}},
	{"a signature that is a link", func(s *shop) {
		p := s.up("001", name(2, manifest.SignatureExt))
		check(s, os.Rename(p, p+".moved"))
		check(s, os.Symlink(p+".moved", p))
	}, []string{"signature"}},
	{"a folder in place of a manifest", func(s *shop) {
		p := s.up("001", name(2, manifest.ManifestExt))
		check(s, os.Remove(p))
		check(s, os.Mkdir(p, 0o755))
	}, []string{"completeness"}},
	{"a till's folder that is a link to another's", func(s *shop) {
		check(s, os.RemoveAll(s.path("drop/ACME/up/002")))
		check(s, os.Symlink("001", s.path("drop/ACME/up/002")))
	}, []string{"completeness"}},
	{"an empty signature", func(s *shop) { s.write(s.up("001", name(2, manifest.SignatureExt)), nil) }, []string{"signature"}},
	{"an empty manifest", func(s *shop) { s.write(s.up("001", name(2, manifest.ManifestExt)), nil) }, []string{"signature", "chain"}},
	{"words behind the signature", func(s *shop) {
		p := s.up("001", name(2, manifest.SignatureExt))
		s.write(p, append(s.read(p), "and more\n"...))
	}, []string{"signature"}},
	{"a signed manifest in another encoding", func(s *shop) {
		p := s.up("001", name(2, manifest.ManifestExt))
		doc := []byte(strings.Replace(string(s.read(p)), `"epoch": 1`, `"epoch": 1 `, 1))
		sig, err := s.key("001").Sign(doc, "tickets@caisseauto")
		check(s, err)
		s.write(p, doc)
		s.write(p+".sig", sig)
	}, []string{"chain", "content"}},
	{"an archive that its writer says it has given up", func(s *shop) {
		check(s, os.Remove(s.up("001", name(1, manifest.ArchiveExt))))
		s.edit("001", manifest.HeadName, `"oldest": 1`, `"oldest": 2`)
	}, nil},
}

// linked puts a link in the place of a dossier's folder: the same files are
// seen through it, and whoever made it can exchange them at any time.
func linked(folder string) func(*shop) {
	return func(s *shop) {
		check(s, os.Rename(s.path("drop/ACME/"+folder), s.path("drop/ACME/moved")))
		check(s, os.Symlink("moved", s.path("drop/ACME/"+folder)))
	}
}

func check(s *shop, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// edit changes a till's head, in its name.
func (s *shop) edit(till, base, old, new string) {
	p := s.up(till, base)
	doc := []byte(strings.Replace(string(s.read(p)), old, new, 1))
	sig, err := s.key(till).Sign(doc, "head@caisseauto")
	check(s, err)
	s.write(p, doc)
	s.write(p+".sig", sig)
}

// flip changes one bit of a file.
func (w *world) flip(name string, at int) {
	b := w.read(w.path(name))
	b[at] ^= 1
	w.write(w.path(name), b)
}

func TestShopVerifyTampered(t *testing.T) {
	origin := newShop(t)
	origin.soldTwice()
	origin.sell("002", 1, 1)
	origin.must("002", "sync")
	for _, x := range tamperings {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := &shop{world{t: t, dir: t.TempDir()}}
			check(s, os.CopyFS(s.dir, os.DirFS(origin.dir)))
			for _, key := range []string{"server/keys/server", "till-001/keys/till"} {
				if _, err := os.Stat(s.path(key)); err == nil {
					check(s, os.Chmod(s.path(key), 0o600))
				}
			}
			x.do(s)
			f := verified(t, s.path("server/allowed_signers"), s.path("drop"))
			f.want(t, x.wrong...)
			if (f.Code == exitRefused) != (len(x.wrong) > 0) {
				t.Errorf("exit code %d", f.Code)
			}
		})
	}
}

// TestVerifyPaths: a batch, a stream, a dossier, and copies of them elsewhere.
func TestShopVerifyPaths(t *testing.T) {
	w := newWorld(t)
	signers := w.path("till/allowed_signers")
	for _, c := range []struct{ path, streams, unchecked string }{
		{"drop", "ACME/down", ""},
		{"drop/ACME", "ACME/down", ""},
		{"drop/ACME/down", "ACME/down", ""},
		{"drop/ACME/down/0000000002.manifest.json", "ACME/down", "chain freshness"},
		{"drop/ACME/down/0000000002.tar.zst", "ACME/down", "chain freshness"},
	} {
		f := verified(t, signers, w.path(c.path))
		if f.Code != 0 || len(f.Streams) != 1 {
			t.Errorf("%s: exit code %d, streams %v, faults %v", c.path, f.Code, f.Streams, f.Faults)
		}
		for _, check := range verify.Checks {
			want := "ok"
			if strings.Contains(c.unchecked, string(check)) {
				want = "unchecked"
			}
			if got := f.Streams[c.streams][string(check)]; got != want {
				t.Errorf("%s: %s is %s, want %s", c.path, check, got, want)
			}
		}
	}
	// A copy of the folder alone, whose name says nothing: by its manifests, or by --stream.
	copied := filepath.Join(t.TempDir(), "stick")
	if err := os.CopyFS(copied, os.DirFS(w.path("drop/ACME/down"))); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--stream", "ACME/down"}} {
		if code, out, errs := w.run(append([]string{"verify", "--signers", signers, copied}, more...)...); code != 0 || !strings.Contains(out, "ACME/down") {
			t.Errorf("%v: exit code %d: %s%s", more, code, out, errs)
		}
	}
	if code, _, errs := w.run("verify", "--signers", signers, "--stream", "BRAVO/down", copied); code != exitRefused || !strings.Contains(errs, "wrong") {
		t.Errorf("under another name: exit code %d: %s", code, errs)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"no such file", []string{w.path("nothing")}},
		{"PATH", nil},
		{"no file of a batch", []string{w.path("till/till.toml")}},
		{"--contents", []string{"--contents", "some", w.path("drop")}},
		{"--at", []string{"--at", "yesterday", w.path("drop")}},
	} {
		if code, _, errs := w.run(append([]string{"verify", "--signers", signers}, c.args...)...); code != exitUsage || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit code %d: %s", c.args, code, errs)
		}
	}
	empty := t.TempDir()
	verified(t, signers, empty).want(t)
	if code, _, errs := w.run("verify", "--signers", signers, empty); code != exitRefused {
		t.Errorf("an empty folder: exit code %d: %s", code, errs)
	}
}

// TestVerifyTime: freshness as of another time.
func TestShopVerifyTime(t *testing.T) {
	w := newWorld(t)
	signers := w.path("till/allowed_signers")
	for at, wrong := range map[string][]string{"2031-01-01": {"freshness"}, "1999-01-01T00:00:00Z": {"freshness"}} {
		verified(t, signers, "--at", at, w.path("drop")).want(t, wrong...)
	}
	out := w.path("report.txt")
	code, stdout, stderr := w.run("verify", "--signers", signers, "--at", "2031-01-01", w.path("drop"))
	if code != exitRefused || !strings.Contains(stdout, "WRONG ACME/down/HEAD.json: freshness (rule H6)") || !strings.Contains(stderr, "1 things") {
		t.Errorf("exit code %d\n%s%s%s", code, out, stdout, stderr)
	}
}
