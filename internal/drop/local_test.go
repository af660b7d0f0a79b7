package drop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"
)

const archive = dir + "/0000000001.tar.zst"

// give is a feed of data.
func give(data []byte) drop.Feed {
	return func(_ context.Context, offset int64, w io.Writer) error {
		_, err := w.Write(data[offset:])
		return err
	}
}

func TestOpenLocal(t *testing.T) {
	_, err := drop.OpenLocal(filepath.Join(t.TempDir(), "missing"))
	if !errors.Is(err, drop.ErrUnavailable) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := drop.OpenLocal(file); err == nil {
		t.Error("a file was opened as a drop")
	}
}

// A symbolic link from one stream's folder to another, inside the drop, is
// not followed.
func TestLocalLinkedFolder(t *testing.T) {
	s := newSide(t)
	check(t, os.MkdirAll(filepath.Join(s.root, "BETA/down"), 0o750))
	check(t, os.WriteFile(filepath.Join(s.root, "BETA/down/0000000001.tar.zst"), []byte("beta"), 0o600))
	check(t, os.Symlink("BETA", filepath.Join(s.root, "ACME")))
	_, err := s.List(t.Context(), dir)
	_, serr := s.Stat(t.Context(), archive)
	for what, err := range map[string]error{
		"List": err, "Stat": serr,
		"Get":     s.Get(t.Context(), archive, 0, new(bytes.Buffer)),
		"Put":     s.Put(t.Context(), dir+"/0000000002.tar.zst", 1, give([]byte("x"))),
		"Replace": s.Replace(t.Context(), dir+"/HEAD.json", []byte("x")),
		"Remove":  s.Remove(t.Context(), archive),
	} {
		if err == nil {
			t.Errorf("%s went through a link between dossiers", what)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(s.root, "BETA/down")); err != nil || len(entries) != 1 {
		t.Errorf("the other dossier holds %v, %v", entries, err)
	}
}

// A part with a second name is a stranger's hard link, or a file that was
// published: writing it would change that one.
func TestLocalPartIsHardLink(t *testing.T) {
	s := newSide(t)
	outside := filepath.Join(s.root, "precious")
	check(t, os.WriteFile(outside, []byte("precious"), 0o600))
	check(t, os.MkdirAll(filepath.Join(s.root, dir), 0o750))
	check(t, os.Link(outside, filepath.Join(s.root, archive+".part")))
	check(t, s.Put(t.Context(), archive, 10, give([]byte("0123456789"))))
	got, err := os.ReadFile(outside)
	check(t, err)
	if string(got) != "precious" || s.read(t, "0000000001.tar.zst") != "0123456789" {
		t.Errorf("the linked file holds %q", got)
	}
}

// Died between link and removal of the part: both names of one file.
func TestLocalDiedBeforeRemoval(t *testing.T) {
	s := newSide(t)
	check(t, s.Put(t.Context(), archive, 3, give([]byte("abc"))))
	part := filepath.Join(s.root, archive+".part")
	check(t, os.Link(filepath.Join(s.root, archive), part))
	check(t, s.Put(t.Context(), archive, 3, give(nil)))
	if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the part is still there: %v", err)
	}
	check(t, os.Link(filepath.Join(s.root, archive), part))
	check(t, s.Remove(t.Context(), archive))
	if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove left the part: %v", err)
	}
}

// After a power cut the end of a part may be rubbish; what is resumed from is
// below the last sync.
func TestLocalResumesBelowLastSync(t *testing.T) {
	s := newSide(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	for length, from := range map[int]int64{
		1: 0, 1 << 20: 0, 1<<20 + 1: 1 << 20, 2 << 20: 1 << 20, 2<<20 + 5: 2 << 20, 3 << 20: 2 << 20,
	} {
		check(t, s.Remove(t.Context(), archive))
		part := bytes.Clone(data[:length])
		clear(part[from:])
		s.write(t, "0000000001.tar.zst.part", string(part))
		check(t, s.Put(t.Context(), archive, int64(len(data)), func(ctx context.Context, offset int64, w io.Writer) error {
			if offset != from {
				t.Errorf("part of %d bytes is resumed at %d, want %d", length, offset, from)
			}
			return give(data)(ctx, offset, w)
		}))
		if s.read(t, "0000000001.tar.zst") != string(data) {
			t.Fatalf("part of %d bytes: the file is not what was given", length)
		}
	}
}

// A part whose end is rubbish is not published on the word of its length.
func TestLocalShortFeedOverLongPart(t *testing.T) {
	s := newSide(t)
	s.write(t, "0000000001.tar.zst.part", string(make([]byte, 2<<20)))
	if err := s.Put(t.Context(), archive, 2<<20, func(context.Context, int64, io.Writer) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a feed that gave nothing: %v", err)
	}
	if got := s.shows(t); got != "" {
		t.Errorf("published %q", got)
	}
}

// A source without end is stopped at the size it announced, also when it does
// not look at the writer's errors.
func TestLocalEndlessFeed(t *testing.T) {
	s := newSide(t)
	chunk := make([]byte, 64<<10)
	err := s.Put(t.Context(), archive, 1<<20, func(_ context.Context, _ int64, w io.Writer) error {
		for range 1000 {
			w.Write(chunk)
		}
		return nil
	})
	if !errors.Is(err, drop.ErrTooLarge) {
		t.Errorf("an endless feed: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(s.root, archive+".part")); err != nil || fi.Size() > 1<<20 {
		t.Errorf("%d bytes reached the disk, %v", fi.Size(), err)
	}
}

// Every error names the file.
func TestLocalErrorsNameTheFile(t *testing.T) {
	s := newSide(t)
	s.write(t, "0000000001.tar.zst", "abc")
	_, err := s.Stat(t.Context(), dir+"/0000000002.tar.zst")
	for _, err := range []error{
		err,
		s.Get(t.Context(), archive, 4, io.Discard),
		s.Put(t.Context(), archive, 4, give([]byte("abcd"))),
		s.Put(t.Context(), dir+"/0000000002.tar.zst", 4, give([]byte("abc"))),
		s.Put(t.Context(), dir+"/0000000003.tar.zst", 4, give([]byte("abcde"))),
	} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(s.root, dir, "000000000")) {
			t.Errorf("error %v", err)
		}
	}
}
