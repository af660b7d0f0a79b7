//go:build unix

package release_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"caisseauto/internal/release"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// victim is a world where batch 1 brought base 7 and batch 2 caisse 1.0, which
// both run, and where batch 3, caisse 1.1, has just come.
func victim(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	q := w.request("7", works)
	q.Product = "base"
	w.publish(q)
	w.publish(w.request("1.0", works))
	w.run()
	w.keep("seen")
	w.publish(w.request("1.1", works))
	return w
}

// clone is another world just like w, in a folder of its own. Making one anew
// takes ten times as long, waiting for the disk.
func (w *world) clone(t *testing.T) *world {
	t.Helper()
	c := newWorld(t)
	check(t, os.CopyFS(c.dir, os.DirFS(w.dir)))
	return c
}

// keep copies the outbox aside, as somebody would who wants to serve it again.
func (w *world) keep(name string) {
	w.t.Helper()
	check(w.t, os.CopyFS(w.path(name), os.DirFS(w.path("outbox"))))
}

// in is a file of the inbox: batch n's with that extension.
func (w *world) in(n int64, ext string) string {
	return w.path("inbox/" + manifest.FileName(n, ext))
}

func (w *world) read(path string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(path)
	check(w.t, err)
	return data
}

func (w *world) write(path string, data []byte) {
	w.t.Helper()
	check(w.t, os.WriteFile(path, data, 0o644))
}

// put puts a statement and its signature somewhere.
func (w *world) put(path string, doc, sig []byte) {
	w.write(path, doc)
	w.write(path+".sig", sig)
}

// sign puts a document with a signature over it somewhere, whatever it says.
func (w *world) sign(path string, doc []byte, by keys.Signer, namespace string) {
	w.t.Helper()
	sig, err := by.Sign(doc, namespace)
	check(w.t, err)
	w.put(path, doc, sig)
}

// batch reads the manifest of an honest batch, for a forger to change.
func (w *world) batch(n int64) (*manifest.Manifest, manifest.Position) {
	w.t.Helper()
	path := w.path("outbox/" + manifest.FileName(n, manifest.ManifestExt))
	m, p, err := manifest.Open(path, stream, w.read(path), w.read(path+".sig"), w.trust)
	check(w.t, err)
	return m, p
}

// head puts a head of the inbox's newest batch into the inbox.
func (w *world) head(by keys.Signer, change func(*manifest.Head)) {
	w.t.Helper()
	_, p := w.batch(3)
	h := &manifest.Head{Format: manifest.HeadFormat, Stream: stream, Epoch: 1, Sequence: 3, Digest: p.Digest, Oldest: 1,
		Issue: 9, Issued: w.now, Expires: w.now.Add(time.Hour)}
	if change != nil {
		change(h)
	}
	doc, sig, err := manifest.SealHead(h, by)
	check(w.t, err)
	w.put(w.path("inbox/"+manifest.HeadName), doc, sig)
}

// flip changes one byte of a file, at a share of its length.
func (w *world) flip(path string, thousandth int) {
	data := w.read(path)
	data[(len(data)-1)*thousandth/1000] ^= 1
	w.write(path, data)
}

// fifo puts a pipe in the place of a file, which would make a careless reader
// wait for ever.
func (w *world) fifo(path string) {
	w.t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	check(w.t, syscall.Mkfifo(path, 0o644))
}

// landscape is all that is on the disk but the two ends of the transport and
// the till's notebook.
func (w *world) landscape() map[string]string {
	all := tree(w.t, w.dir)
	maps.DeleteFunc(all, func(name, _ string) bool {
		top, _, _ := strings.Cut(name, string(filepath.Separator))
		return top == "inbox" || top == "outbox" || name == filepath.Join("till", ".state.json") || name == filepath.Join("till", ".lock")
	})
	return all
}

// same wants the disk to be as it was, by value.
func (w *world) same(before map[string]string) {
	w.t.Helper()
	after := w.landscape()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			w.t.Errorf("%s is gone", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if is, ok := before[name]; !ok {
			w.t.Errorf("%s is new", name)
		} else if is != after[name] {
			w.t.Errorf("%s was %.80q and is %.80q", name, is, after[name])
		}
	}
}

// errAny is an error that callers do not tell apart.
var errAny = errors.New("any error")

// refuses runs an update that must fail with this error, of these words, and
// change nothing.
func (w *world) refuses(want error, words ...string) {
	w.t.Helper()
	before := w.landscape()
	r, err := w.till.Run(w.t.Context())
	if err == nil || want != errAny && !errors.Is(err, want) {
		w.t.Errorf("%v, want %v", err, want)
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			w.t.Errorf("%v: does not say %q", err, word)
		}
	}
	for _, u := range r.Updates {
		if u.Outcome != manifest.WasRefused {
			w.t.Errorf("%+v", u)
		}
	}
	w.same(before)
	w.runs("caisse", "1.0")
}

// An attack is somebody at the inbox who has not the release key, or the
// release manager's own mistake, that a till must notice before it unpacks.
type attack struct {
	name string
	do   func(w *world)
	want error    // nil: manifest.ErrRefused
	say  []string // words of the error: the file or batch, and the rule
}

// TestAttack: each attack is refused and changes nothing, and the honest files
// are installed when they are back.
func TestAttack(t *testing.T) {
	world := victim(t)
	for _, a := range slices.Concat(attacksOnManifests(), attacksOnArchives(), attacksOnTheChain(), attacksOnHeads()) {
		t.Run(a.name, func(t *testing.T) {
			w := world.clone(t)
			a.do(w)
			if a.want == nil {
				a.want = manifest.ErrRefused
			}
			w.refuses(a.want, a.say...)
			w.now = noon
			w.carry()
			if got := outcomes(w.run()); got != "caisse 1.1 installed" {
				t.Errorf("the honest files: %q", got)
			}
			w.runs("caisse", "1.1")
		})
	}
}

const third = "0000000003.manifest.json"

func attacksOnManifests() []attack {
	doc := func(w *world) []byte { return w.read(w.in(3, manifest.ManifestExt)) }
	signed := func(by func(*world) keys.Signer, namespace string, from, to string) func(*world) {
		return func(w *world) {
			w.sign(w.in(3, manifest.ManifestExt), bytes.Replace(doc(w), []byte(from), []byte(to), 1), by(w), namespace)
		}
	}
	manager := func(w *world) keys.Signer { return w.release }
	server := func(w *world) keys.Signer { return w.server }
	stranger := func(w *world) keys.Signer { return newKey(w.t, "stranger") }
	all := []attack{
		{"unsigned", func(w *world) { check(w.t, os.Remove(w.in(3, manifest.SignatureExt))) }, release.ErrIncomplete, []string{"batch 3"}},
		{"empty signature", func(w *world) { w.write(w.in(3, manifest.SignatureExt), nil) }, nil, []string{third, "rule S2"}},
		{"endless signature", func(w *world) { w.write(w.in(3, manifest.SignatureExt), make([]byte, manifest.MaxSignature+1)) }, nil, []string{third + ".sig", "rule S1"}},
		{"endless manifest", func(w *world) { w.write(w.in(3, manifest.ManifestExt), make([]byte, manifest.MaxManifest+1)) }, nil, []string{third, "rule D1"}},
		{"signed by the server", signed(server, keys.NamespacePackage, "", ""), nil, []string{third, "rule S6"}},
		{"signed by the server in its own name", signed(server, keys.NamespacePackage, "release@acme", "server@acme"), nil, []string{third, "rule S6"}},
		{"signed by a stranger", signed(stranger, keys.NamespacePackage, "", ""), nil, []string{third, "rule S4"}},
		{"signed as a head", signed(manager, keys.NamespaceHead, "", ""), nil, []string{third, "rule S3"}},
		{"signed as rows", signed(manager, keys.NamespaceManifest, "", ""), nil, []string{third, "rule S3"}},
		{"of another dossier", signed(manager, keys.NamespacePackage, "ACME/packages", "BETA/packages"), nil, []string{third, "rule P1"}},
		{"of the rows", signed(manager, keys.NamespacePackage, "ACME/packages", "ACME/down"), nil, []string{third, "rule"}},
		{"a name that escapes", signed(manager, keys.NamespacePackage, `"README"`, `"../README"`), nil, []string{third, "rule K4"}},
		{"an absolute name", signed(manager, keys.NamespacePackage, `"README"`, `"/README"`), nil, []string{third, "rule K4"}},
		{"a setuid file", signed(manager, keys.NamespacePackage, `"0755"`, `"4755"`), nil, []string{third, "rule K4"}},
		{"of another number", func(w *world) {
			w.put(w.in(3, manifest.ManifestExt), w.read(w.in(2, manifest.ManifestExt)), w.read(w.in(2, manifest.SignatureExt)))
		}, nil, []string{third, "rule P1"}},
		{"a fifo in place of the signature", func(w *world) { w.fifo(w.in(3, manifest.SignatureExt)) }, errAny, []string{third + ".sig", "not a regular file"}},
		{"a folder in place of the manifest", func(w *world) {
			check(w.t, os.Remove(w.in(3, manifest.ManifestExt)))
			check(w.t, os.Mkdir(w.in(3, manifest.ManifestExt), 0o755))
		}, release.ErrIncomplete, []string{"batch 3"}},
	}
	for name, at := range map[string]int{"first": 0, "middle": 500, "late": 900, "last": 1000} {
		all = append(all, attack{"flipped byte in the manifest, " + name, func(w *world) { w.flip(w.in(3, manifest.ManifestExt), at) }, nil, []string{third, "rule S5"}})
	}
	for name, at := range map[string]int{"first": 0, "in the key": 300, "in the end of it": 800, "last": 1000} {
		all = append(all, attack{"flipped byte in the signature, " + name, func(w *world) { w.flip(w.in(3, manifest.SignatureExt), at) }, nil, []string{third, "rule S"}})
	}
	return all
}

func attacksOnArchives() []attack {
	const file = "0000000003.tar.zst"
	change := func(f func(w *world, data []byte) []byte) func(*world) {
		return func(w *world) {
			path := w.in(3, manifest.ArchiveExt)
			w.write(path, f(w, w.read(path)))
		}
	}
	say := []string{"batch 3", file, "rule A1"}
	all := []attack{
		{"archive cut", change(func(_ *world, b []byte) []byte { return b[:len(b)-1] }), nil, say},
		{"archive empty", change(func(_ *world, b []byte) []byte { return nil }), nil, say},
		{"archive longer", change(func(_ *world, b []byte) []byte { return append(b, 0) }), nil, say},
		{"archive twice", change(func(_ *world, b []byte) []byte { return append(b, b...) }), nil, say},
		{"archive of another package", change(func(w *world, _ []byte) []byte { return w.read(w.path("outbox/0000000002.tar.zst")) }), nil, say},
		{"archive missing", func(w *world) { check(w.t, os.Remove(w.in(3, manifest.ArchiveExt))) }, release.ErrIncomplete, []string{file}},
		{"archive a link", func(w *world) {
			check(w.t, os.Remove(w.in(3, manifest.ArchiveExt)))
			check(w.t, os.Symlink(w.path("outbox/"+file), w.in(3, manifest.ArchiveExt)))
		}, errAny, []string{file, "not a regular file"}},
		{"archive a fifo", func(w *world) { w.fifo(w.in(3, manifest.ArchiveExt)) }, errAny, []string{file, "not a regular file"}},
	}
	for name, at := range map[string]int{"first": 0, "middle": 500, "last": 1000} {
		all = append(all, attack{"flipped byte in the archive, " + name, func(w *world) { w.flip(w.in(3, manifest.ArchiveExt), at) }, nil, say})
	}
	return all
}

func attacksOnTheChain() []attack {
	rm := func(w *world, n int64) {
		for _, ext := range []string{manifest.ManifestExt, manifest.SignatureExt, manifest.ArchiveExt} {
			check(w.t, os.RemoveAll(w.in(n, ext)))
		}
	}
	return []attack{
		{"missing in the middle", func(w *world) { rm(w, 2) }, nil, []string{"batch 3", "rule P4"}},
		{"missing at the beginning", func(w *world) { rm(w, 1) }, nil, []string{"batch 2", "rule P4"}},
		{"an end before what was seen", func(w *world) { rm(w, 3); rm(w, 2) }, nil, []string{"batch 2 was seen before", "rule P2"}},
		{"nothing at all", func(w *world) { check(w.t, os.RemoveAll(w.path("inbox"))) }, nil, []string{"batch 2 was seen before", "rule P2"}},
		{"another batch of a number that was seen", func(w *world) {
			rm(w, 3)
			m, _ := w.batch(2)
			m.Notes = "other notes\n"
			doc, sig, err := manifest.Seal(m, w.release)
			check(w.t, err)
			w.put(w.in(2, manifest.ManifestExt), doc, sig)
		}, release.ErrForked, []string{"batch 2", "rule P3"}},
		{"a batch that follows another one", func(w *world) {
			m, _ := w.batch(3)
			m.Previous = strings.Repeat("ab", 32)
			doc, sig, err := manifest.Seal(m, w.release)
			check(w.t, err)
			w.put(w.in(3, manifest.ManifestExt), doc, sig)
		}, nil, []string{"batch 3", "rule P5"}},
		{"another batch than the head's", func(w *world) {
			m, _ := w.batch(3)
			m.Notes = "other notes\n"
			doc, sig, err := manifest.Seal(m, w.release)
			check(w.t, err)
			w.put(w.in(3, manifest.ManifestExt), doc, sig)
		}, release.ErrForked, []string{"batch 3", "rule P3"}},
		{"a folder that was served before", func(w *world) {
			check(w.t, os.RemoveAll(w.path("inbox")))
			check(w.t, os.CopyFS(w.path("inbox"), os.DirFS(w.path("seen"))))
			w.now = noon.Add(25 * time.Hour)
		}, release.ErrStale, []string{"rule K10"}},
	}
}

func attacksOnHeads() []attack {
	const head = manifest.HeadName
	path := func(w *world) string { return w.path("inbox/" + head) }
	manager := func(change func(w *world, h *manifest.Head)) func(*world) {
		return func(w *world) { w.head(w.release, func(h *manifest.Head) { change(w, h) }) }
	}
	all := []attack{
		{"no head", func(w *world) { check(w.t, os.Remove(path(w))) }, release.ErrStale, []string{"rule K10"}},
		{"an unsigned head", func(w *world) { check(w.t, os.Remove(path(w)+".sig")) }, release.ErrStale, []string{"rule K10"}},
		{"an endless head", func(w *world) { w.write(path(w), make([]byte, manifest.MaxHead+1)) }, nil, []string{head, "rule D1"}},
		{"a head signed by the server", func(w *world) { w.head(w.server, nil) }, nil, []string{head, "rule S6"}},
		{"a head signed by a stranger", func(w *world) { w.head(newKey(w.t, "stranger"), nil) }, nil, []string{head, "rule S4"}},
		{"a manifest as a head", func(w *world) {
			w.put(path(w), w.read(w.in(3, manifest.ManifestExt)), w.read(w.in(3, manifest.SignatureExt)))
		}, nil, []string{head, "rule S3"}},
		{"a head of another dossier", manager(func(_ *world, h *manifest.Head) { h.Stream = "BETA/packages" }), nil, []string{head, "rule P1"}},
		{"an expired head", func(w *world) { w.now = noon.Add(24 * time.Hour) }, release.ErrStale, []string{"rule K10", "publish --renew"}},
		{"a head that was always expired", manager(func(w *world, h *manifest.Head) {
			h.Issued, h.Expires = w.now.Add(-2*time.Hour), w.now.Add(-time.Hour)
		}), release.ErrStale, []string{"rule K10"}},
		{"a clock of 2099", func(w *world) { w.now = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }, release.ErrStale, []string{"rule K10", "clock"}},
		{"a head from the future", manager(func(w *world, h *manifest.Head) {
			h.Issued, h.Expires = w.now.Add(25*time.Hour), w.now.Add(50*time.Hour)
		}), release.ErrStale, []string{"rule H5", "clock"}},
		{"a head that was replayed", func(w *world) {
			// Batch 2 came with issue 2; this is issue 1, which could freeze the till.
			_, p := w.batch(1)
			w.head(w.release, func(h *manifest.Head) { h.Issue, h.Sequence, h.Digest = 1, 1, p.Digest })
		}, release.ErrStale, []string{"rule H4", "replayed"}},
		{"two heads of one issue", manager(func(_ *world, h *manifest.Head) { h.Issue = 2 }), release.ErrForked, []string{"rule H4", "issue 2"}},
		{"a head that leads back", func(w *world) {
			_, p := w.batch(1)
			w.head(w.release, func(h *manifest.Head) { h.Sequence, h.Digest = 1, p.Digest })
		}, nil, []string{"batch 2", "rule P2"}},
		{"a head of a batch that is not there", manager(func(_ *world, h *manifest.Head) { h.Sequence = 4 }), release.ErrIncomplete, []string{"batch 4", "batch 3"}},
		{"a head of another batch", manager(func(_ *world, h *manifest.Head) { h.Digest = strings.Repeat("ab", 32) }), release.ErrForked, []string{"batch 3", "rule P3"}},
		{"a fast forward", manager(func(_ *world, h *manifest.Head) { h.Sequence = manifest.MaxSequence }), release.ErrIncomplete, []string{"batch 9999999999"}},
	}
	for name, at := range map[string]int{"first": 0, "middle": 500, "last": 1000} {
		all = append(all, attack{"flipped byte in the head, " + name, func(w *world) { w.flip(path(w), at) }, nil, []string{head, "rule S5"}})
	}
	return all
}

// TestClockOf1970: a till whose battery is empty installs what a head vouches
// for, and believes no clock that is behind what was signed.
func TestClockOf1970(t *testing.T) {
	w := victim(t)
	w.now = time.Unix(0, 0)
	if got := outcomes(w.run()); got != "caisse 1.1 installed" {
		t.Errorf("%q", got)
	}
	w.runs("caisse", "1.1")
	w.head(w.release, func(h *manifest.Head) { h.Issued, h.Expires = noon.Add(-48*time.Hour), noon.Add(-24*time.Hour) })
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrStale) || !strings.Contains(err.Error(), "rule K10") {
		t.Errorf("%v", err)
	}
}
