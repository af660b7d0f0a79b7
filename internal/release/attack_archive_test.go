//go:build unix

package release_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"caisseauto/internal/release"
	"caisseauto/manifest"
)

// forge puts another batch 3 in the place of the honest one, under a good
// signature: what a release manager could sign whose machine is not his own
// any more. archive nil: the honest one.
func (w *world) forge(archive []byte, change func(m *manifest.Manifest)) {
	w.t.Helper()
	m, _ := w.batch(3)
	if archive != nil {
		sum := sha256.Sum256(archive)
		m.Archive.Size, m.Archive.SHA256 = int64(len(archive)), hex.EncodeToString(sum[:])
		w.write(w.path("outbox/"+m.Archive.Name), archive)
	}
	if change != nil {
		change(m)
	}
	doc, sig, err := manifest.Seal(m, w.release)
	check(w.t, err)
	w.put(w.path("outbox/"+manifest.FileName(3, manifest.ManifestExt)), doc, sig)
	_, err = w.pub.Renew()
	check(w.t, err)
	w.carry()
}

// frame compresses as one zstd frame with a checksum, which does not say how
// much is in it.
func frame(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderCRC(true), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	check(t, err)
	for _, part := range [][]byte{data[:100], data[100:]} {
		_, err = z.Write(part)
		check(t, err)
		check(t, z.Flush())
	}
	check(t, z.Close())
	return b.Bytes()
}

// An entry is one member of a tar, of which anything can be wrong.
type entry struct {
	tar.Header
	body string
}

// entries are what the archive of 1.1 should hold.
func entries() []entry {
	file := func(name, body string) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Format: tar.FormatUSTAR}, body}
	}
	return []entry{file("README", "version 1.1\n"), file("bin/check", works), file("lib/a/data.txt", strings.Repeat("1.1", 1000))}
}

func tarOf(t testing.TB, all []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.body))
		}
		check(t, w.WriteHeader(&e.Header))
		if e.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(e.body))
			check(t, err)
		}
	}
	check(t, w.Close())
	return b.Bytes()
}

// TestHostileTar: what a tar could do to a till, under a good signature, while
// the manifest names harmless files. None of it is written, and the release
// after it is installed.
func TestHostileTar(t *testing.T) {
	victim := victim(t)
	second := func(change func(h *tar.Header)) func([]entry) []entry {
		return func(all []entry) []entry { change(&all[1].Header); return all }
	}
	for _, c := range []struct {
		name   string
		change func([]entry) []entry
		say    string
	}{
		{"symbolic link", second(func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd" }), "type flag"},
		{"hard link", second(func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "README" }), "type flag"},
		{"device", second(func(h *tar.Header) { h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, 8, 1 }), "type flag"},
		{"fifo", second(func(h *tar.Header) { h.Typeflag = tar.TypeFifo }), "type flag"},
		{"folder in place of a file", second(func(h *tar.Header) { h.Typeflag = tar.TypeDir }), "type flag"},
		{"link in the place of a folder", func(all []entry) []entry {
			link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "lib", Linkname: "/tmp", Format: tar.FormatUSTAR}, ""}
			return append(all[:2:2], link, all[2])
		}, "type flag"},
		{"setuid", second(func(h *tar.Header) { h.Mode = 0o4755 }), "mode"},
		{"writable for all", second(func(h *tar.Header) { h.Mode = 0o666 }), "mode"},
		{"owner", second(func(h *tar.Header) { h.Uid = 1000 }), "uid"},
		{"owner by name", second(func(h *tar.Header) { h.Uname = "root" }), "user name"},
		{"parent folder", second(func(h *tar.Header) { h.Name = "../" + h.Name }), "name"},
		{"parent folder inside", second(func(h *tar.Header) { h.Name = "bin/../../check" }), "name"},
		{"absolute", second(func(h *tar.Header) { h.Name = "/" + h.Name }), "name"},
		{"PAX record", second(func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"path": "../check", "CAISSE.x": "1"}
		}), "type flag"},
		{"one file more", func(all []entry) []entry { more := all[2]; more.Name = "lib/b"; return append(all, more) }, "lib/b"},
		{"one file fewer", func(all []entry) []entry { return all[:2] }, "lib/a/data.txt"},
		{"another order", func(all []entry) []entry { all[1], all[2] = all[2], all[1]; return all }, "bin/check"},
		{"one byte more", func(all []entry) []entry { all[1].body += "\n"; return all }, "size"},
		{"one byte fewer", func(all []entry) []entry { all[1].body = all[1].body[1:]; return all }, "size"},
		{"another byte in the last file", func(all []entry) []entry { all[2].body = "X" + all[2].body[1:]; return all }, "SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := victim.clone(t)
			w.forge(frame(t, tarOf(t, c.change(entries()))), nil)
			w.survives(c.say)
		})
	}
}

// TestHostileFrame: the same with what is around the tar.
func TestHostileFrame(t *testing.T) {
	victim := victim(t)
	good := tarOf(t, entries())
	for _, c := range []struct {
		name    string
		archive []byte
		say     string
	}{
		{"second tar behind", frame(t, append(bytes.Clone(good), good...)), "end"},
		{"no end", frame(t, good[:len(good)-1024]), "cut"},
		{"bomb", frame(t, append(bytes.Clone(good), make([]byte, 64<<20)...)), ""},
		{"bomb of a body", frame(t, append(bytes.Clone(good[:512]), make([]byte, 64<<20)...)), "SHA-256"},
		{"two frames", append(frame(t, good), frame(t, good)...), "bytes after the end"},
		{"two halves", append(frame(t, good[:1024]), frame(t, good[1024:])...), "bytes after the end"},
		{"skippable frame", append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00evil"), frame(t, good)...), "skippable"},
		{"no frame", good, "not a zstd frame"},
		{"nothing", []byte{0x28, 0xb5, 0x2f, 0xfd}, "cut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := victim.clone(t)
			w.forge(c.archive, nil)
			w.survives(c.say)
		})
	}
}

// survives wants batch 3 to be refused for good, with nothing changed, and what
// the release manager publishes next to be installed.
func (w *world) survives(say string) {
	w.t.Helper()
	w.refuses(manifest.ErrRefused, "batch 3", "0000000003.tar.zst", "rule A2 to A5", say)
	var r *release.Refused
	if _, err := w.till.Run(w.t.Context()); errors.As(err, &r) { // one piece of news
		w.t.Errorf("once more: %v", err)
	}
	if s, err := w.till.Software(); err != nil || s.Updates[len(s.Updates)-1].Outcome != manifest.WasRefused {
		w.t.Errorf("%+v, %v", s, err)
	}
	w.publish(w.request("1.2", works))
	if got := outcomes(w.run()); got != "caisse 1.2 installed" {
		w.t.Errorf("the release after it: %q", got)
	}
	w.runs("caisse", "1.2")
}

// TestSignedByMistake: what a release manager could sign and Publish refuses to
// make. Where words are empty, it is passed over without a word.
func TestSignedByMistake(t *testing.T) {
	victim := victim(t)
	for _, c := range []struct {
		name   string
		change func(m *manifest.Manifest)
		say    string
	}{
		{"what runs, under another version", func(m *manifest.Manifest) { m.Release = 1 }, ""},
		{"the same version again", func(m *manifest.Manifest) { m.Release, m.Version = 1, "1.0" }, ""},
		{"a way back from another release", func(m *manifest.Manifest) {
			m.Release, m.Rollback = 1, &manifest.Rollback{From: 7, To: 1}
		}, ""},
		{"for another product", func(m *manifest.Manifest) { m.Product = "other" }, ""},
		{"for another system", func(m *manifest.Manifest) { m.OS = "windows" }, ""},
		{"for another processor", func(m *manifest.Manifest) { m.Arch = "arm64" }, ""},
		{"with a requirement that is not there", func(m *manifest.Manifest) {
			m.Requires = []manifest.Requirement{{Product: "driver", Release: 1}}
		}, "rule K9"},
		{"with a requirement that is too old", func(m *manifest.Manifest) {
			m.Requires = []manifest.Requirement{{Product: "base", Release: 2}}
		}, "rule K9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := victim.clone(t)
			w.forge(nil, c.change)
			if c.say != "" {
				w.refuses(manifest.ErrRefused, "batch 3", c.say)
				return // until it is there: TestOrder
			}
			before := w.landscape()
			if got := outcomes(w.run()); got != "" {
				t.Errorf("%q", got)
			}
			w.same(before)
			w.publish(w.request("1.2", works))
			if got := outcomes(w.run()); got != "caisse 1.2 installed" {
				t.Errorf("the release after it: %q", got)
			}
		})
	}
}

// TestOlder: a release that is older than what runs is refused, once, unless a
// rollback names exactly what runs.
func TestOlder(t *testing.T) {
	w := victim(t)
	w.run() // 1.1, release 2
	w.publish(w.request("1.2", works))
	m, _ := w.batch(4)
	m.Version, m.Release = "1.0", 1
	doc, sig, err := manifest.Seal(m, w.release)
	check(t, err)
	w.put(w.path("outbox/0000000004.manifest.json"), doc, sig)
	_, err = w.pub.Renew()
	check(t, err)
	w.carry()
	before := w.landscape()
	r, err := w.till.Run(t.Context())
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "rule K8") || !strings.Contains(err.Error(), "batch 4") || outcomes(r) != "caisse 1.0 refused" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.same(before)
	w.runs("caisse", "1.1")
	if got := outcomes(w.run()); got != "" {
		t.Errorf("once more: %s", got)
	}
	w.publish(w.request("1.3", works))
	if got := outcomes(w.run()); got != "caisse 1.3 installed" {
		t.Errorf("the release after it: %q", got)
	}
}
