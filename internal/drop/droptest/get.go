package droptest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"caisseauto/internal/drop"
)

// writerFunc is a function as an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func testGetOffset(t *testing.T, s *suite) {
	data := random(1, 3<<20+11)
	s.place(t, archive, data)
	for _, offset := range []int{0, 1, 32768, 1 << 20, len(data) - 1, len(data)} {
		var b bytes.Buffer
		check(t, s.Drop.Get(t.Context(), archive, int64(offset), &b))
		if !bytes.Equal(b.Bytes(), data[offset:]) {
			t.Errorf("Get from %d gave %d bytes, not the %d expected", offset, b.Len(), len(data)-offset)
		}
	}
	for _, offset := range []int64{-1, int64(len(data)) + 1} {
		if err := s.Drop.Get(t.Context(), archive, offset, new(bytes.Buffer)); err == nil {
			t.Errorf("Get from %d of %d bytes succeeded", offset, len(data))
		}
	}
}

// testGetShrinking: a file that loses its end while it is read must not look
// complete.
func testGetShrinking(t *testing.T, s *suite) {
	s.place(t, archive, random(1, 24<<20))
	cut := false
	err := soon(t, "Get of a file that shrinks", func(ctx context.Context) error {
		return s.Drop.Get(ctx, archive, 0, writerFunc(func(p []byte) (int, error) {
			if !cut {
				cut = true
				return len(p), os.Truncate(s.raw(archive), 1<<20+7)
			}
			return len(p), nil
		}))
	})
	if err == nil {
		t.Error("Get succeeded though the file lost its end")
	}
}

// testGetPassesErrors: the receiving side's error must come through, for its
// kind decides what the caller does.
func testGetPassesErrors(t *testing.T, s *suite) {
	s.place(t, archive, random(1, 5<<20))
	written := 0
	err := soon(t, "Get into a full disk", func(ctx context.Context) error {
		return s.Drop.Get(ctx, archive, 0, writerFunc(func(p []byte) (int, error) {
			if written += len(p); written > 1<<20 {
				return 0, drop.ErrNoSpace
			}
			return len(p), nil
		}))
	})
	want(t, "Get into a full disk", err, drop.ErrNoSpace)
	if errors.Is(err, drop.ErrUnavailable) {
		t.Errorf("the drop is blamed for its reader's error: %v", err)
	}
	// And the drop is still usable.
	var b bytes.Buffer
	check(t, s.Drop.Get(t.Context(), archive, 5<<20-3, &b))
}

func testMissing(t *testing.T, s *suite) {
	for _, dir := range []string{Dir, "ACME/packages"} {
		list, err := s.Drop.List(t.Context(), dir)
		check(t, err)
		if len(list.Files) != 0 || list.Ignored != 0 {
			t.Errorf("List(%s) of a missing folder = %+v", dir, list)
		}
	}
	s.place(t, manifest, nil)
	for _, name := range []string{archive, head, "ACME/packages/0000000001.tar.zst"} {
		_, err := s.Drop.Stat(t.Context(), name)
		want(t, "Stat("+name+")", err, fs.ErrNotExist)
		want(t, "Get("+name+")", s.Drop.Get(t.Context(), name, 0, new(bytes.Buffer)), fs.ErrNotExist)
	}
}

func testRemove(t *testing.T, s *suite) {
	check(t, s.Drop.Remove(t.Context(), archive)) // not even a folder
	s.put(t, archive, random(1, 10))
	s.place(t, Dir+"/notes.txt", []byte("a stranger's"))
	check(t, s.Drop.Remove(t.Context(), archive))
	s.absent(t, archive)
	check(t, s.Drop.Remove(t.Context(), archive))
	s.holds(t, Dir+"/notes.txt", []byte("a stranger's"))
	s.put(t, archive, random(2, 20)) // the name is free again
	s.holds(t, archive, random(2, 20))
}
