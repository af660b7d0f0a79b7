package archive

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzReader has the tar chosen by an attacker who could have the manifest
// signed as well. It is read exactly when it is the one tar of the members.
// (Fuzz it with -fuzzminimizetime=10x: the coverage of a Reader's goroutines is
// never twice the same, and Go would minimize without end.)
func FuzzReader(f *testing.F) {
	good := plainTar(f, small)
	f.Add(good)
	f.Add(good[:len(good)-512])
	f.Add(append(bytes.Clone(good), good...))
	f.Add(plainTar(f, small[1:]))
	f.Add(plainTar(f, append(small[:4:4], file{"data/x", "y"})))
	f.Add(make([]byte, 1024))
	for _, at := range []int{0, 100, 124, 148, 156, 257, 345, 511, 512, 600, len(good) - 1} {
		b := bytes.Clone(good)
		b[at] ^= 0x20
		f.Add(b)
	}
	members := list(small)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readAll(bytes.NewReader(compress(t, raw)), members, TarSize(members))
		if (err == nil) != bytes.Equal(raw, good) {
			t.Errorf("error %v for a tar that is right: %v", err, bytes.Equal(raw, good))
		}
		if !slices.Equal(got, small[:len(got)]) {
			t.Errorf("other bytes came out: %q", got)
		}
	})
}

// FuzzFile has the whole file chosen by the attacker.
func FuzzFile(f *testing.F) {
	good, _ := write(f, small)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x60\x02\x00\x10\x00\x02\x00\x10\x00"))
	members := list(small)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := readAll(bytes.NewReader(b), members, TarSize(members))
		if !slices.Equal(got, small[:len(got)]) {
			t.Errorf("other bytes came out: %q", got)
		}
	})
}

// FuzzName has the names chosen by the attacker, and a form that refuses none.
// A name that is taken stands whole in a header of one block, is a local path
// for every system's path rules, and is read back as it is.
func FuzzName(f *testing.F) {
	for _, name := range []string{"", "a", "/a", "a/../b", `a\b`, "a\x00", "é", "A b/.c", "a//b", "./a"} {
		f.Add(name)
	}
	for _, n := range []int{99, 100, 155, 156} {
		f.Add(strings.Repeat("a", n) + "/" + strings.Repeat("b", 255-n))
	}
	f.Fuzz(func(t *testing.T, name string) {
		h, err := header(name, 1)
		if open.checkName(name) != nil {
			return
		}
		if err != nil || fullName(h) != name {
			t.Errorf("%q: header of %q, %v", name, fullName(h), err)
		}
		if path.Clean(name) != name || path.IsAbs(name) || !fs.ValidPath(name) || name == "." {
			t.Errorf("%q is taken", name)
		}
	})
}

// FuzzWalk holds the walker against the decoder's own reading of a header, and
// against itself: the pieces that a file comes in do not matter, and no file
// that is right is the start of another one.
func FuzzWalk(f *testing.F) {
	good, _ := write(f, small)
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51"))
	f.Add([]byte("\x28\xb5\x2f\xfd\xa4\x00\x00\x90\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := walk(b, max(1, len(b)))
		for _, step := range []int{1, 3, 7} {
			if got := walk(b, step); (got == nil) != (err == nil) {
				t.Fatalf("in steps of %d: %v, want %v", step, got, err)
			}
		}
		if err != nil {
			return
		}
		if walk(b[:len(b)-1], 64) == nil || walk(append(bytes.Clone(b), 0x28), 64) == nil {
			t.Error("a byte less or more is right as well")
		}
		var h zstd.Header
		if err := h.Decode(b); err != nil {
			t.Fatalf("the decoder refuses the header: %v", err)
		}
		if h.Skippable || !h.HasCheckSum || h.DictionaryID != 0 || h.WindowSize > MaxWindow {
			t.Errorf("the decoder reads %+v", h)
		}
	})
}
