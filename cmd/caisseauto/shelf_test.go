package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// A shelf is a drop that has the packages of a dossier and nothing else, and the
// keys of those who could sign something there. Its packages are sealed without
// the program, so that they can be what that would never seal.
type shelf struct {
	world
	release, server keys.Signer
	last            manifest.Position
	files           []entry // of the packages; nil: hello
}

// shelve puts three packages of today on the shop's drop.
func (s *shop) shelve() {
	s.t.Helper()
	x := &shelf{world: s.world}
	x.release = s.vectorKey("release")
	s.mkdir("drop/ACME/packages")
	line := keys.AllowedLine([]string{"release@acme"}, []string{keys.NamespacePackage, keys.NamespaceHead}, x.release.Public(), "") + "\n"
	s.write(s.path("server/allowed_signers"), append(s.read(s.path("server/allowed_signers")), line...))
	for range 3 {
		x.publish(nil, nil)
	}
	x.head(func(h *manifest.Head) {
		h.Issued = time.Now().UTC().Truncate(time.Second)
		h.Expires = h.Issued.Add(time.Hour)
	})
}

// shelfTime is when everything on a shelf was made, shelfNow when its head is
// good.
var (
	shelfTime = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	shelfNow  = "2026-03-01T07:00:00Z"
)

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{world: world{t: t, dir: t.TempDir()}}
	s.release, s.server = s.vectorKey("release"), s.vectorKey("server")
	s.mkdir("drop/ACME/packages")
	s.write(s.path("allowed_signers"), []byte(
		keys.AllowedLine([]string{"release@acme"}, []string{keys.NamespacePackage, keys.NamespaceHead}, s.release.Public(), "")+"\n"+
			keys.AllowedLine([]string{"server@acme"}, serverNamespaces, s.server.Public(), "")+"\n"))
	return s
}

// vectorKey reads a key of the test vectors. (Git keeps no mode 0600, so that
// keys.Load would not.)
func (w *world) vectorKey(name string) keys.Signer {
	w.t.Helper()
	path := "../../testdata/vectors/keys/" + name
	s, err := keys.ParsePrivate(path, w.read(path), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) mkdir(name string) {
	w.t.Helper()
	if err := os.MkdirAll(w.path(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (s *shelf) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// pack is the path of a file of the stream.
func (s *shelf) pack(base string) string { return s.path("drop/ACME/packages/" + base) }

// An entry is a member of a tar.
type entry struct {
	tar.Header
	body string
}

// file is an entry as a package has it.
func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body)), Mode: 0o644, Format: tar.FormatUSTAR, ModTime: time.Unix(0, 0)}, body}
}

// hello are the files of most packages.
func hello(version string) []entry {
	return []entry{file("LICENSE", ""), file("bin/hello", "#!/bin/sh\necho "+version+"\n"), file("share/Lisez moi.txt", "bonjour\n")}
}

// publish seals the next package: release n of hello, in batch n. evil may
// change what the tar holds behind the list of files, edit what is signed.
func (s *shelf) publish(evil func([]entry) []entry, edit func(*manifest.Manifest)) {
	s.t.Helper()
	n := s.last.Sequence + 1
	m := &manifest.Manifest{Format: manifest.Format, Stream: "ACME/packages", Epoch: 1, Sequence: n, Previous: s.last.Digest, Kind: manifest.KindPackage,
		Created: shelfTime, Signer: "release@acme", Tables: []manifest.Table{}, Members: []manifest.Member{},
		Package: &manifest.Package{Product: "hello", Version: fmt.Sprint("1.", n), Release: n, OS: "linux", Arch: manifest.Any, Notes: "Bonjour\n", Requires: []manifest.Requirement{},
			Probe: &manifest.Probe{Command: []string{"bin/hello", "--check"}, Seconds: 30}}}
	if n == 1 {
		m.Previous = manifest.NoPrevious()
	}
	entries := slices.Clone(s.files)
	if entries == nil {
		entries = hello(m.Version)
	}
	for _, e := range entries {
		mode := manifest.ModeData
		if filepath.Dir(e.Name) == "bin" {
			mode = manifest.ModeProgram
		}
		m.Files = append(m.Files, manifest.File{Name: e.Name, Mode: mode, Size: e.Size, SHA256: manifest.Digest([]byte(e.body))})
		m.Archive.TarSize += 512 + (e.Size+511)/512*512
	}
	m.Archive.TarSize += 1024
	if evil != nil {
		entries = evil(entries)
	}
	archive := s.tar(entries, m.Archive.TarSize)
	m.Archive.Name, m.Archive.Size, m.Archive.SHA256 = name(n, manifest.ArchiveExt), int64(len(archive)), manifest.Digest(archive)
	if edit != nil {
		edit(m)
	}
	doc := s.encode(m)
	s.write(s.pack(m.Archive.Name), archive)
	s.put(name(n, manifest.ManifestExt), doc, s.release, keys.NamespacePackage)
	s.last = manifest.Position{Epoch: 1, Sequence: n, Digest: manifest.Digest(doc)}
}

// put writes a signed statement into the stream.
func (s *shelf) put(base string, doc []byte, by keys.Signer, namespace string) {
	s.t.Helper()
	sig, err := by.Sign(doc, namespace)
	s.check(err)
	s.write(s.pack(base), doc)
	s.write(s.pack(base+".sig"), sig)
}

// tar packs the entries into a tar of exactly that size: what is signed.
func (s *shelf) tar(entries []entry, size int64) []byte {
	s.t.Helper()
	var raw, out bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range entries {
		s.check(w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.body))
		s.check(err)
	}
	s.check(w.Close())
	whole := append(raw.Bytes(), make([]byte, max(0, size-int64(raw.Len())))...)
	z, err := zstd.NewWriter(&out, zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<20))
	s.check(err)
	_, err = z.Write(whole[:size])
	s.check(err)
	s.check(z.Close())
	return out.Bytes()
}

// head signs a head for the newest package.
func (s *shelf) head(edit func(*manifest.Head)) {
	s.t.Helper()
	h := &manifest.Head{Format: manifest.HeadFormat, Stream: "ACME/packages", Epoch: 1, Sequence: s.last.Sequence, Digest: s.last.Digest, Oldest: 1, Issue: 1,
		Issued: shelfTime, Expires: shelfTime.Add(30 * 24 * time.Hour)}
	if edit != nil {
		edit(h)
	}
	s.put(manifest.HeadName, s.encode(h), s.release, manifest.HeadNamespace)
}

// remove takes a batch away.
func (s *shelf) remove(n int64) {
	s.t.Helper()
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		s.check(os.Remove(s.pack(name(n, ext))))
	}
}
