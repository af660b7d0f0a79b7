package drop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"

	"github.com/google/go-cmp/cmp"
)

const dir = "ACME/down"

// side is a local drop and the folder it is in.
type side struct {
	*drop.Local
	root string
}

func newSide(t *testing.T) side {
	t.Helper()
	root := t.TempDir()
	l, err := drop.OpenLocal(root)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return side{l, root}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts a file into the stream's folder by hand.
func (s side) write(t *testing.T, base, data string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(s.root, dir), 0o750))
	check(t, os.WriteFile(filepath.Join(s.root, dir, base), []byte(data), 0o640))
}

func (s side) batches(t *testing.T, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		s.write(t, fmt.Sprintf("%010d.tar.zst", n), fmt.Sprint("archive ", n))
		s.write(t, fmt.Sprintf("%010d.manifest.json.sig", n), fmt.Sprint("signature ", n))
		s.write(t, fmt.Sprintf("%010d.manifest.json", n), fmt.Sprint("manifest ", n))
	}
}

func (s side) head(t *testing.T, text string) {
	t.Helper()
	s.write(t, "HEAD.json", "head "+text)
	s.write(t, "HEAD.json.sig", "sig "+text)
}

// shows returns what the folder lists, shortened: "1a 1s 1m H Hs".
func (s side) shows(t *testing.T) string {
	t.Helper()
	list, err := s.List(t.Context(), dir)
	check(t, err)
	var all []string
	for _, f := range list.Files {
		f.Name = strings.NewReplacer(".tar.zst", "a", ".manifest.json.sig", "s", ".manifest.json", "m",
			"HEAD.json.sig", "Hs", "HEAD.json", "H").Replace(f.Name)
		all = append(all, strings.TrimLeft(f.Name, "0"))
	}
	return strings.Join(all, " ")
}

func (s side) read(t *testing.T, base string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.root, dir, base))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func TestMirrorOptions(t *testing.T) {
	skip := func(end string) func(string) bool {
		return func(base string) bool { return strings.HasSuffix(base, end) }
	}
	for name, test := range map[string]struct {
		o     drop.MirrorOptions
		shows string
		err   error
	}{
		"all":                    {drop.MirrorOptions{}, "1m 1s 1a 2m 2s 2a 3m 3s 3a H Hs", nil},
		"from":                   {drop.MirrorOptions{From: 3}, "3m 3s 3a H Hs", nil},
		"from behind the end":    {drop.MirrorOptions{From: 4}, "H Hs", nil},
		"to: no head":            {drop.MirrorOptions{To: 2}, "1m 1s 1a 2m 2s 2a", nil},
		"to the last: head":      {drop.MirrorOptions{To: 3}, "1m 1s 1a 2m 2s 2a 3m 3s 3a H Hs", nil},
		"from to":                {drop.MirrorOptions{From: 2, To: 2}, "2m 2s 2a", nil},
		"skip archives":          {drop.MirrorOptions{Skip: skip(".tar.zst")}, "1m 1s 2m 2s 3m 3s H Hs", nil},
		"archives too large":     {drop.MirrorOptions{MaxArchive: 8}, "", drop.ErrTooLarge},
		"archives not too large": {drop.MirrorOptions{MaxArchive: 9, From: 3}, "3m 3s 3a H Hs", nil},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := newSide(t), newSide(t)
			src.batches(t, 1, 3)
			src.head(t, "3")
			_, err := drop.Mirror(t.Context(), dst, src, dir, test.o)
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if got := dst.shows(t); got != test.shows {
				t.Errorf("copied %q, want %q", got, test.shows)
			}
		})
	}
}

// A batch with an oversized file stops what is behind it, not what is before.
func TestMirrorTooLarge(t *testing.T) {
	for base, size := range map[string]int64{
		"0000000002.manifest.json":     drop.MaxManifest + 1,
		"0000000002.manifest.json.sig": drop.MaxSignature + 1,
		"0000000002.tar.zst":           1001,
	} {
		src, dst := newSide(t), newSide(t)
		src.batches(t, 1, 3)
		src.head(t, "3")
		check(t, os.Truncate(filepath.Join(src.root, dir, base), size))
		r, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{MaxArchive: 1000})
		if !errors.Is(err, drop.ErrTooLarge) || !strings.Contains(fmt.Sprint(err), base) {
			t.Errorf("%s: %v", base, err)
		}
		if got := dst.shows(t); got != "1m 1s 1a" || r.Files != 3 {
			t.Errorf("%s: copied %q, %+v", base, got, r)
		}
		check(t, os.Truncate(filepath.Join(src.root, dir, base), size-1))
		_, err = drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{MaxArchive: 1000})
		check(t, err)
	}
	src, dst := newSide(t), newSide(t)
	src.head(t, strings.Repeat("x", drop.MaxHead))
	if _, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{}); !errors.Is(err, drop.ErrTooLarge) {
		t.Errorf("a head without end: %v", err)
	}
}

// A source that is older than the target, such as a stick from last week,
// gives no head.
func TestMirrorBehind(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 2)
	src.head(t, "2")
	dst.batches(t, 1, 3)
	dst.head(t, "3")
	r, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{})
	check(t, err)
	if diff := cmp.Diff(drop.Report{Skipped: 6, Behind: true}, r); diff != "" {
		t.Error(diff)
	}
	if got := dst.read(t, "HEAD.json"); got != "head 3" {
		t.Errorf("the head went back to %q", got)
	}
	// An outbox whose batches were all purged renews its head still.
	empty := newSide(t)
	empty.head(t, "3 again")
	r, err = drop.Mirror(t.Context(), dst, empty, dir, drop.MirrorOptions{})
	check(t, err)
	if got := dst.read(t, "HEAD.json"); got != "head 3 again" || !r.Head {
		t.Errorf("the head is %q, %+v", got, r)
	}
}

// Quick looks at nothing but the heads while they are equal.
func TestMirrorQuick(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 1)
	src.head(t, "1")
	dst.head(t, "1")
	quick := drop.MirrorOptions{Quick: true}
	r, err := drop.Mirror(t.Context(), dst, src, dir, quick)
	check(t, err)
	if diff := cmp.Diff(drop.Report{}, r); diff != "" {
		t.Error(diff)
	}
	src.head(t, "1 renewed")
	r, err = drop.Mirror(t.Context(), dst, src, dir, quick)
	check(t, err)
	if got := dst.shows(t); got != "1m 1s 1a H Hs" || r.Files != 5 {
		t.Errorf("copied %q, %+v", got, r)
	}
	// Without heads there is nothing to be quick by.
	src, dst = newSide(t), newSide(t)
	src.batches(t, 1, 1)
	_, err = drop.Mirror(t.Context(), dst, src, dir, quick)
	check(t, err)
	if got := dst.shows(t); got != "1m 1s 1a" {
		t.Errorf("copied %q", got)
	}
}

// hooked is a drop that calls a hook before every Get.
type hooked struct {
	drop.Drop
	get func(name string)
}

func (h hooked) Get(ctx context.Context, name string, offset int64, w io.Writer) error {
	h.get(name)
	return h.Drop.Get(ctx, name, offset, w)
}

// The writer replaces its head between the readings of signature and head.
func TestMirrorHeadReplacedMeanwhile(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 2)
	src.head(t, "1")
	reads := 0
	_, err := drop.Mirror(t.Context(), dst, hooked{src, func(name string) {
		if strings.HasSuffix(name, "HEAD.json") {
			if reads++; reads == 1 {
				src.head(t, "2")
			}
		}
	}}, dir, drop.MirrorOptions{})
	check(t, err)
	if head, sig := dst.read(t, "HEAD.json"), dst.read(t, "HEAD.json.sig"); head != "head 2" || sig != "sig 2" {
		t.Errorf("the pair is %q and %q", head, sig)
	}
	n := 0
	_, err = drop.Mirror(t.Context(), dst, hooked{src, func(string) { n++; src.head(t, fmt.Sprint(n)) }}, dir, drop.MirrorOptions{})
	if !errors.Is(err, drop.ErrUnavailable) {
		t.Errorf("a head that never rests: %v", err)
	}
}

// A batch published while the mirror runs is not named by the head it copies.
func TestMirrorPublishedMeanwhile(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 1)
	src.head(t, "1")
	done := false
	_, err := drop.Mirror(t.Context(), dst, hooked{src, func(name string) {
		if strings.HasSuffix(name, ".tar.zst") && !done {
			done = true
			src.batches(t, 2, 2)
			src.head(t, "2")
		}
	}}, dir, drop.MirrorOptions{})
	check(t, err)
	if got := dst.shows(t) + ", " + dst.read(t, "HEAD.json"); got != "1m 1s 1a H Hs, head 1" {
		t.Errorf("copied %q", got)
	}
}

// Half a head is none.
func TestMirrorHalfHead(t *testing.T) {
	for _, missing := range []string{"HEAD.json", "HEAD.json.sig"} {
		src, dst := newSide(t), newSide(t)
		src.batches(t, 1, 1)
		src.head(t, "1")
		check(t, os.Remove(filepath.Join(src.root, dir, missing)))
		r, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{})
		check(t, err)
		if got := dst.shows(t); got != "1m 1s 1a" || r.Head {
			t.Errorf("without %s: copied %q, %+v", missing, got, r)
		}
	}
}

// The writer removes an old batch while it is copied: not an error.
func TestMirrorRemovedMeanwhile(t *testing.T) {
	for _, gone := range []string{".tar.zst", ".manifest.json.sig", ".manifest.json"} {
		src, dst := newSide(t), newSide(t)
		src.batches(t, 1, 2)
		src.head(t, "2")
		var log bytes.Buffer
		r, err := drop.Mirror(t.Context(), dst, hooked{src, func(name string) {
			if strings.HasSuffix(name, "0000000001"+gone) {
				for _, end := range []string{".tar.zst", ".manifest.json.sig", ".manifest.json"} {
					check(t, src.Remove(t.Context(), dir+"/0000000001"+end))
				}
			}
		}}, dir, drop.MirrorOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
		check(t, err)
		if got := dst.shows(t); !strings.HasSuffix(got, "2m 2s 2a H Hs") || strings.Contains(got, "1m") || r.Waiting != 1 {
			t.Errorf("%s: copied %q, %+v", gone, got, r)
		}
		if !strings.Contains(log.String(), "removed from the source") {
			t.Errorf("%s: the log says %q", gone, log.String())
		}
	}
}

// What one side lacks of a batch may already be on the other.
func TestMirrorCompletes(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 1)
	dst.batches(t, 1, 1)
	check(t, os.Remove(filepath.Join(src.root, dir, "0000000001.tar.zst")))
	check(t, os.Remove(filepath.Join(dst.root, dir, "0000000001.manifest.json")))
	r, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{})
	check(t, err)
	if got := dst.shows(t); got != "1m 1s 1a" || r.Waiting != 0 {
		t.Errorf("copied %q, %+v", got, r)
	}
}

func TestMirrorRefuses(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	for _, d := range []string{"", "ACME", "ACME/receipts", "ACME/trust", "../down", "ACME/down/"} {
		if _, err := drop.Mirror(t.Context(), dst, src, d, drop.MirrorOptions{}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Mirror of %q: %v", d, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := drop.Mirror(ctx, dst, src, dir, drop.MirrorOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The errors of both sides keep their kinds.
func TestMirrorErrors(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	src.batches(t, 1, 1)
	for _, kind := range []error{drop.ErrUnavailable, drop.ErrDenied, drop.ErrNoSpace} {
		_, err := drop.Mirror(t.Context(), dst, failing{src, kind}, dir, drop.MirrorOptions{})
		if !errors.Is(err, kind) {
			t.Errorf("source fails with %v: %v", kind, err)
		}
	}
}

type failing struct {
	drop.Drop
	err error
}

func (f failing) Get(_ context.Context, name string, _ int64, _ io.Writer) error {
	if strings.Contains(name, "HEAD") {
		return fs.ErrNotExist
	}
	return fmt.Errorf("get %s: %w", name, f.err)
}

// endless is a drop whose files never end.
type endless struct{ drop.Drop }

func (endless) Get(_ context.Context, name string, _ int64, w io.Writer) error {
	for range 1 << 10 {
		if _, err := w.Write(make([]byte, 1<<10)); err != nil {
			return fmt.Errorf("get %s: %w", name, err)
		}
	}
	return errors.New("nobody stopped the file without end")
}

func TestMirrorEndlessHead(t *testing.T) {
	_, err := drop.Mirror(t.Context(), newSide(t), endless{newSide(t)}, dir, drop.MirrorOptions{})
	if !errors.Is(err, drop.ErrTooLarge) {
		t.Errorf("a head without end: %v", err)
	}
}

func TestMirrorPair(t *testing.T) {
	src, dst := newSide(t), newSide(t)
	const doc = "ACME/receipts/017.json"
	run := func(want bool) {
		t.Helper()
		changed, err := drop.MirrorPair(t.Context(), dst, src, doc)
		check(t, err)
		if changed != want {
			t.Errorf("changed = %v", changed)
		}
	}
	run(false)
	check(t, src.Replace(t.Context(), doc, []byte("one")))
	run(false) // unsigned yet
	check(t, src.Replace(t.Context(), doc+".sig", []byte("sig")))
	run(true)
	run(false)
	check(t, src.Replace(t.Context(), doc, []byte("two")))
	run(true)
	var b bytes.Buffer
	check(t, dst.Get(t.Context(), doc, 0, &b))
	if b.String() != "two" {
		t.Errorf("got %q", b.String())
	}
	for _, bad := range []string{"", doc + ".sig", "ACME/down/0000000001.manifest.json", "../receipts/017.json"} {
		if _, err := drop.MirrorPair(t.Context(), dst, src, bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("MirrorPair(%q): %v", bad, err)
		}
	}
}
