package droptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"

	"github.com/google/go-cmp/cmp"
)

// stream writes a stream's folder with the batches first to last on disk.
// Only names and sizes mean anything here; the head names the last batch.
func stream(t *testing.T, root string, first, last int) {
	t.Helper()
	dir := filepath.Join(root, filepath.FromSlash(Dir))
	check(t, os.MkdirAll(dir, 0o777))
	write := func(name string, data []byte) {
		t.Helper()
		check(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}
	for n := first; n <= last; n++ {
		write(fmt.Sprintf("%010d.tar.zst", n), random(uint64(n), 2000*n%90_000+n))
		write(fmt.Sprintf("%010d.manifest.json.sig", n), random(uint64(n+1000), 300+n))
		write(fmt.Sprintf("%010d.manifest.json", n), random(uint64(n+2000), 900+n))
	}
	write("HEAD.json", fmt.Appendf(nil, "head %d", last))
	write("HEAD.json.sig", fmt.Appendf(nil, "signature %d", last))
}

// local opens a new folder as a drop.
func local(t *testing.T, root string) drop.Drop {
	t.Helper()
	d, err := drop.OpenLocal(root)
	check(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// same checks that both trees hold the same stream.
func same(t *testing.T, a, b string) {
	t.Helper()
	if diff := cmp.Diff(files(t, a, Dir), files(t, b, Dir)); diff != "" {
		t.Fatalf("the folders differ:\n%.2000s", diff)
	}
}

// consistent checks what must hold on the target after any interruption: a
// manifest has its archive and signature, a head has all it names.
func consistent(t *testing.T, root string) {
	t.Helper()
	all := files(t, root, Dir)
	for name := range all {
		n, ok := strings.CutSuffix(name, ".manifest.json")
		if !ok {
			continue
		}
		if _, ok := all[n+".tar.zst"]; !ok {
			t.Errorf("batch %s has a manifest and no archive", n)
		}
		if _, ok := all[n+".manifest.json.sig"]; !ok {
			t.Errorf("batch %s has a manifest and no signature", n)
		}
	}
	var last int
	if head, ok := all["HEAD.json"]; ok {
		if _, err := fmt.Sscanf(head, "head %d", &last); err != nil {
			t.Errorf("torn head %q", head)
		}
	}
	for n := 1; n <= last; n++ {
		if _, ok := all[fmt.Sprintf("%010d.manifest.json", n)]; !ok {
			t.Errorf("the head names batch %d and there is no %d", last, n)
		}
	}
}

func testMirrorPush(t *testing.T, s *suite) {
	outbox := t.TempDir()
	s.mirrorBothTimes(t, outbox, s.Drop, local(t, outbox))
	same(t, outbox, s.Raw)
}

func testMirrorPull(t *testing.T, s *suite) {
	inbox := t.TempDir()
	s.mirrorBothTimes(t, s.Raw, local(t, inbox), s.Drop)
	same(t, inbox, s.Raw)
}

// mirrorBothTimes mirrors three batches, then nothing, then two more.
func (s *suite) mirrorBothTimes(t *testing.T, from string, dst, src drop.Drop) {
	t.Helper()
	run := func(files, skipped int, head bool) {
		t.Helper()
		var done, total int64
		r, err := drop.Mirror(t.Context(), dst, src, Dir, drop.MirrorOptions{Progress: func(d, n int64) {
			if d < done || d > n {
				t.Errorf("progress went from %d to %d of %d", done, d, n)
			}
			done, total = d, n
		}})
		check(t, err)
		want := drop.Report{Files: files, Bytes: r.Bytes, Skipped: skipped, Head: head}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Error(diff)
		}
		if done != total {
			t.Errorf("progress ended at %d of %d", done, total)
		}
	}
	run(0, 0, false)
	stream(t, from, 1, 3)
	run(11, 0, true)
	run(0, 9, false)
	stream(t, from, 4, 5)
	run(8, 9, true)
}

// testMirrorPushInterrupted breaks the push in the middle of every file and
// after every file, one after the other, on one target.
func testMirrorPushInterrupted(t *testing.T, s *suite) {
	outbox := t.TempDir()
	stream(t, outbox, 1, 4)
	src := local(t, outbox)
	for i := 0; ; i++ {
		dst := &breaking{Drop: s.Drop, after: 1, inside: i%2 == 0}
		_, err := drop.Mirror(t.Context(), dst, src, Dir, drop.MirrorOptions{})
		consistent(t, s.Raw)
		if err == nil {
			break
		}
		want(t, "interrupted push", err, errFeed)
		if i > 40 {
			t.Fatal("no end is in sight: what was copied is copied again")
		}
	}
	same(t, outbox, s.Raw)
}

// testMirrorPullInterrupted breaks the pull at each place, each time into a
// new inbox, and then finishes it.
func testMirrorPullInterrupted(t *testing.T, s *suite) {
	stream(t, s.Raw, 1, 3)
	for after := 0; ; after++ {
		inbox := t.TempDir()
		dst := local(t, inbox)
		_, err := drop.Mirror(t.Context(), &breaking{Drop: dst, after: after}, s.Drop, Dir, drop.MirrorOptions{})
		consistent(t, inbox)
		done := err == nil
		if !done {
			want(t, "interrupted pull", err, errFeed)
			_, err := drop.Mirror(t.Context(), dst, s.Drop, Dir, drop.MirrorOptions{})
			check(t, err)
		}
		same(t, inbox, s.Raw)
		if done {
			if after != 11 {
				t.Errorf("%d steps, want 3 batches of three files and a head of two", after)
			}
			return
		}
	}
}

// breaking is a drop that lets after changes through and breaks the next one,
// in the middle of the file or before its first byte.
type breaking struct {
	drop.Drop
	after  int
	inside bool
}

func (b *breaking) Put(ctx context.Context, name string, size int64, f drop.Feed) error {
	if b.after == 0 && !b.inside {
		return errFeed
	}
	if b.after--; b.after < 0 {
		return b.Drop.Put(ctx, name, size, func(ctx context.Context, offset int64, w io.Writer) error {
			left := (size - offset) / 2
			return f(ctx, offset, writerFunc(func(p []byte) (int, error) {
				if int64(len(p)) > left {
					n, err := w.Write(p[:left])
					left = 0
					return n, errors.Join(errFeed, err)
				}
				left -= int64(len(p))
				return w.Write(p)
			}))
		})
	}
	return b.Drop.Put(ctx, name, size, f)
}

func (b *breaking) Replace(ctx context.Context, name string, data []byte) error {
	if b.after == 0 {
		return errFeed
	}
	b.after--
	return b.Drop.Replace(ctx, name, data)
}

// testMirrorConflict: two streams of one name. Nothing is changed.
func testMirrorConflict(t *testing.T, s *suite) {
	for name, damage := range map[string]func(b []byte) []byte{
		"0000000001.tar.zst":           func(b []byte) []byte { return append(b, 'x') },
		"0000000002.manifest.json.sig": func(b []byte) []byte { return b[:len(b)-1] },
		"0000000002.manifest.json":     func(b []byte) []byte { b[5] ^= 1; return b },
	} {
		outbox := t.TempDir()
		stream(t, outbox, 1, 3)
		check(t, os.RemoveAll(s.raw(Dir)))
		stream(t, s.Raw, 1, 2)
		b, err := os.ReadFile(s.raw(Dir + "/" + name))
		check(t, err)
		s.place(t, Dir+"/"+name, damage(b))
		before := files(t, s.Raw, Dir)
		for what, pair := range map[string][2]drop.Drop{
			"push": {s.Drop, local(t, outbox)},
			"pull": {local(t, outbox), s.Drop},
		} {
			_, err = drop.Mirror(t.Context(), pair[0], pair[1], Dir, drop.MirrorOptions{})
			want(t, what+" with another "+name, err, drop.ErrConflict)
		}
		if !maps.Equal(before, files(t, s.Raw, Dir)) {
			t.Errorf("another %s: the conflict did not leave the drop as it was", name)
		}
	}
}

// testMirrorWaits: a batch that is not whole yet is left for the next time.
func testMirrorWaits(t *testing.T, s *suite) {
	for _, late := range []string{"0000000002.tar.zst", "0000000002.manifest.json", "0000000002.manifest.json.sig"} {
		check(t, os.RemoveAll(s.raw(Dir)))
		stream(t, s.Raw, 1, 3)
		data, err := os.ReadFile(s.raw(Dir + "/" + late))
		check(t, err)
		check(t, os.Remove(s.raw(Dir+"/"+late)))
		inbox := t.TempDir()
		dst := local(t, inbox)
		r, err := drop.Mirror(t.Context(), dst, s.Drop, Dir, drop.MirrorOptions{})
		check(t, err)
		if r.Waiting != 1 || r.Files != 8 {
			t.Errorf("without %s: %+v, want one batch waiting", late, r)
		}
		for name := range files(t, inbox, Dir) {
			if strings.HasPrefix(name, "0000000002") {
				t.Errorf("without %s, %s was copied", late, name)
			}
		}
		s.place(t, Dir+"/"+late, data)
		r, err = drop.Mirror(t.Context(), dst, s.Drop, Dir, drop.MirrorOptions{})
		check(t, err)
		if r.Waiting != 0 || r.Files != 3 {
			t.Errorf("with %s at last: %+v", late, r)
		}
		same(t, inbox, s.Raw)
	}
}
