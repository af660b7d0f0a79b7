package droptest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"caisseauto/internal/drop"

	"github.com/google/go-cmp/cmp"
)

func testPutGet(t *testing.T, s *suite) {
	for i, size := range []int{1, 32767, 32768, 32769, 1 << 20, 3<<20 + 17} {
		name := Dir + "/000000000" + string(rune('1'+i)) + ".tar.zst"
		data := random(uint64(i), size)
		s.put(t, name, data)
		s.holds(t, name, data)
		s.absent(t, name+".part")
		got, err := s.Drop.Stat(t.Context(), name)
		check(t, err)
		if got != int64(size) {
			t.Errorf("Stat(%s) = %d, want %d", name, got, size)
		}
		var b bytes.Buffer
		check(t, s.Drop.Get(t.Context(), name, 0, &b))
		if !bytes.Equal(b.Bytes(), data) {
			t.Errorf("Get(%s) gave %d bytes that are not the %d put", name, b.Len(), size)
		}
	}
	list, err := s.Drop.List(t.Context(), Dir)
	check(t, err)
	if len(list.Files) != 6 || list.Ignored != 0 {
		t.Errorf("List = %+v", list)
	}
}

// testPutAgain: the same name again is done already, with the same size; with
// another it is a conflict.
func testPutAgain(t *testing.T, s *suite) {
	data := random(1, 100_000)
	s.put(t, archive, data)
	never := func(context.Context, int64, io.Writer) error {
		t.Error("the feed was asked for a file that is there")
		return nil
	}
	check(t, s.Drop.Put(t.Context(), archive, int64(len(data)), never))
	for _, size := range []int64{0, int64(len(data)) - 1, int64(len(data)) + 1} {
		want(t, "Put with another size", s.Drop.Put(t.Context(), archive, size, never), drop.ErrConflict)
	}
	s.holds(t, archive, data)
}

func testPutEmpty(t *testing.T, s *suite) {
	s.put(t, archive, nil)
	s.holds(t, archive, nil)
}

// testPutWrongLength: what the source announced is what is published, or
// nothing is.
func testPutWrongLength(t *testing.T, s *suite) {
	data := random(1, 100_000)
	short := s.Drop.Put(t.Context(), archive, int64(len(data))+1, feed(data))
	want(t, "feed that ends early", short, io.ErrUnexpectedEOF)
	s.absent(t, archive)
	if err := s.Drop.Put(t.Context(), manifest, int64(len(data))-1, feed(data)); err == nil {
		t.Error("a feed that gives more than announced was accepted")
	}
	s.absent(t, manifest)
	s.put(t, archive, data)
	s.holds(t, archive, data)
	s.put(t, manifest, data)
	s.holds(t, manifest, data)
}

func testPutResume(t *testing.T, s *suite) { s.resume(t, func() drop.Drop { return s.Drop }) }

// testPutResumeElsewhere goes on with a new connection, as after a restart.
func testPutResumeElsewhere(t *testing.T, s *suite) {
	s.resume(t, func() drop.Drop { return s.reopen(t) })
}

// resume breaks the feed at several places, one after the other, and finishes.
func (s *suite) resume(t *testing.T, next func() drop.Drop) {
	data := random(7, 9<<20+5)
	for _, stop := range []int{0, 1, 5 << 20, 5<<20 + 1, 8<<20 - 1, len(data)} {
		err := next().Put(t.Context(), archive, int64(len(data)), feedUntil(data, stop, errFeed))
		want(t, "Put whose feed breaks", err, errFeed)
		s.absent(t, archive)
		list, err := next().List(t.Context(), Dir)
		check(t, err)
		if len(list.Files) != 0 {
			t.Fatalf("an unfinished file is listed: %+v", list)
		}
	}
	var from int64
	err := next().Put(t.Context(), archive, int64(len(data)), func(ctx context.Context, offset int64, w io.Writer) error {
		from = offset
		return feed(data)(ctx, offset, w)
	})
	check(t, err)
	if !s.NoResume && from < 4<<20 {
		t.Errorf("resumed at %d of %d bytes, of which all had been given before", from, len(data))
	}
	s.holds(t, archive, data)
	s.absent(t, archive+".part")
}

// testPutAfterRemove: a damaged copy is removed to be fetched again; what was
// left of an interrupted Put must not come back then.
func testPutAfterRemove(t *testing.T, s *suite) {
	bad, good := random(1, 4<<20), random(2, 4<<20)
	want(t, "Put", s.Drop.Put(t.Context(), archive, int64(len(bad)), feedUntil(bad, 3<<20, errFeed)), errFeed)
	check(t, s.Drop.Remove(t.Context(), archive))
	s.put(t, archive, good)
	s.holds(t, archive, good)
}

// testPutPartTooLong: a part that is longer than the file is not its beginning.
func testPutPartTooLong(t *testing.T, s *suite) {
	data := random(1, 3<<20)
	s.place(t, archive+".part", random(9, 4<<20))
	s.put(t, archive, data)
	s.holds(t, archive, data)
}

// testPutPartIsLink: writing through a stranger's link would write elsewhere.
func testPutPartIsLink(t *testing.T, s *suite) {
	outside := filepath.Join(t.TempDir(), "outside")
	precious, data := random(3, 50), random(1, 100_000)
	check(t, os.WriteFile(outside, precious, 0o666))
	s.place(t, Dir+"/readme", nil)
	check(t, os.Symlink(outside, s.raw(archive+".part")))
	err := soon(t, "Put over a link", func(ctx context.Context) error {
		return s.Drop.Put(ctx, archive, int64(len(data)), feed(data))
	})
	got, rerr := os.ReadFile(outside)
	check(t, rerr)
	if !bytes.Equal(got, precious) {
		t.Fatal("Put wrote through a symbolic link")
	}
	if err != nil {
		s.absent(t, archive)
		return
	}
	if fi, err := os.Lstat(s.raw(archive)); err != nil || !fi.Mode().IsRegular() {
		t.Fatalf("Put published a link (%v)", err)
	}
	s.holds(t, archive, data)
}

// testPutHidesUnfinished looks at the folder while the bytes arrive.
func testPutHidesUnfinished(t *testing.T, s *suite) {
	data := random(1, 3<<20)
	other := s.reopen(t)
	err := s.Drop.Put(t.Context(), archive, int64(len(data)), func(ctx context.Context, offset int64, w io.Writer) error {
		for at := int(offset); at < len(data); at += 1 << 20 {
			if _, err := w.Write(data[at:min(at+1<<20, len(data))]); err != nil {
				return err
			}
			s.absent(t, archive)
			list, err := other.List(ctx, Dir)
			check(t, err)
			if len(list.Files) > 0 {
				t.Errorf("listed before it was whole: %+v", list)
			}
			_, err = other.Stat(ctx, archive)
			want(t, "Stat of an unfinished file", err, fs.ErrNotExist)
		}
		return nil
	})
	check(t, err)
	list, err := other.List(t.Context(), Dir)
	check(t, err)
	if diff := cmp.Diff([]drop.File{{Name: filepath.Base(archive), Size: int64(len(data))}}, list.Files); diff != "" {
		t.Error(diff)
	}
}

// testPutRefusesHead: Put of a head that is there would keep the old one and
// call it done.
func testPutRefusesHead(t *testing.T, s *suite) {
	for _, name := range []string{head, head + ".sig"} {
		want(t, "Put("+name+")", s.Drop.Put(t.Context(), name, 4, feed([]byte("head"))), fs.ErrInvalid)
		s.absent(t, name)
	}
}
