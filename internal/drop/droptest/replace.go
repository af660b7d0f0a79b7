package droptest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"caisseauto/internal/drop"
)

func testReplace(t *testing.T, s *suite) {
	for _, name := range []string{head, head + ".sig"} {
		for i, size := range []int{300, 300, 4000, 1, drop.MaxHead} {
			data := random(uint64(i), size)
			check(t, s.Drop.Replace(t.Context(), name, data))
			s.holds(t, name, data)
		}
		err := s.Drop.Replace(t.Context(), name, make([]byte, drop.MaxHead+1))
		want(t, "Replace with more than readers accept", err, drop.ErrTooLarge)
		s.holds(t, name, random(4, drop.MaxHead))
	}
	list, err := s.Drop.List(t.Context(), Dir)
	check(t, err)
	if got := strings.Join(names(list), " "); got != "HEAD.json HEAD.json.sig" || list.Ignored != 0 {
		t.Errorf("after many replacements the folder lists %q and %d strangers", got, list.Ignored)
	}
}

// testReplaceOnlyHeads: what is immutable cannot be overwritten by mistake.
func testReplaceOnlyHeads(t *testing.T, s *suite) {
	for _, name := range []string{archive, manifest, manifest + ".sig"} {
		want(t, "Replace("+name+")", s.Drop.Replace(t.Context(), name, []byte("x")), fs.ErrInvalid)
		s.absent(t, name)
	}
	data := random(1, 100)
	s.put(t, manifest, data)
	want(t, "Replace", s.Drop.Replace(t.Context(), manifest, []byte("x")), fs.ErrInvalid)
	s.holds(t, manifest, data)
}

func testReplaceReceipt(t *testing.T, s *suite) {
	if s.Jailed {
		t.Skip("a till writes no receipts")
	}
	for _, name := range []string{"ACME/receipts/017.json", "ACME/receipts/017.json.sig"} {
		check(t, s.Drop.Replace(t.Context(), name, []byte("one")))
		check(t, s.Drop.Replace(t.Context(), name, []byte("two")))
		s.holds(t, name, []byte("two"))
	}
	list, err := s.Drop.List(t.Context(), "ACME/receipts")
	check(t, err)
	if got := strings.Join(names(list), " "); got != "017.json 017.json.sig" {
		t.Errorf("receipts lists %q", got)
	}
}

// testReplaceIsWhole replaces a head many times while two readers look, one
// through a second connection and one on the disk. Every reading is one of the
// two heads.
func testReplaceIsWhole(t *testing.T, s *suite) {
	a, b := bytes.Repeat([]byte("a"), drop.MaxHead), bytes.Repeat([]byte("b"), drop.MaxHead)
	check(t, s.Drop.Replace(t.Context(), head, a))
	other := s.reopen(t)
	ctx, stop := context.WithCancel(t.Context())
	seen := make(chan int, 2)
	watch := func(read func() ([]byte, error)) {
		n := 0
		defer func() { seen <- n }()
		for ctx.Err() == nil {
			got, err := read()
			if s.HeadGap && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Errorf("reading a head while it is replaced: %v", err)
				return
			}
			if !bytes.Equal(got, a) && !bytes.Equal(got, b) {
				t.Errorf("a reader saw %d bytes that are neither head", len(got))
				return
			}
			n++
		}
	}
	go watch(func() ([]byte, error) { return os.ReadFile(s.raw(head)) })
	go watch(func() ([]byte, error) {
		var buf bytes.Buffer
		err := other.Get(context.WithoutCancel(ctx), head, 0, &buf)
		return buf.Bytes(), err
	})
	for i := range 150 {
		check(t, s.Drop.Replace(t.Context(), head, [][]byte{b, a}[i%2]))
	}
	stop()
	if x, y := <-seen, <-seen; x == 0 || y == 0 {
		t.Errorf("the readers looked %d and %d times", x, y)
	}
}
