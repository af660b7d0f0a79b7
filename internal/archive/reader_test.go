package archive

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func TestRoundTrip(t *testing.T) {
	for name, in := range map[string][]file{"small": small, "none": nil, "one": small[3:]} {
		t.Run(name, func(t *testing.T) {
			archive, sum := write(t, in)
			if err := Check(bytes.NewReader(archive), sum); err != nil {
				t.Fatal(err)
			}
			if got := TarSize(list(in)); got != sum.TarSize {
				t.Errorf("TarSize = %d, the writer made %d", got, sum.TarSize)
			}
			for _, r := range []io.Reader{bytes.NewReader(archive), bytes.NewBuffer(archive), iotest.OneByteReader(bytes.NewReader(archive)), iotest.DataErrReader(bytes.NewReader(archive))} {
				got, err := readAll(r, list(in), sum.TarSize)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(in, got, cmp.AllowUnexported(file{})); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			}
		})
	}
}

// TestSkippedBodies: what a caller does not read is checked all the same.
func TestSkippedBodies(t *testing.T) {
	archive, sum := write(t, small)
	r, err := NewReader(bytes.NewReader(archive), list(small), sum.TarSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range small {
		if at, _, err := r.Next(); at != i || err != nil {
			t.Fatal(at, err)
		}
	}
	for range 2 {
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatalf("error %v, want io.EOF", err)
		}
	}
	wrong := list(small)
	wrong[3].SHA256 = wrong[0].SHA256
	r, err = NewReader(bytes.NewReader(archive), wrong, sum.TarSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, _, err = r.Next()
	}
	if !strings.Contains(err.Error(), "member 4") {
		t.Errorf("error %v, want one of member 4", err)
	}
}

// TestFlipEveryByte flips each bit of an archive. Check must see all of them.
// And should a file with such a flip have the signed digest, the Reader must
// not give out another byte than the members' own. (It may give out these: some
// bits of a zstd block say the same either way.)
func TestFlipEveryByte(t *testing.T) {
	archive, sum := write(t, small)
	for i := range archive {
		for bit := range 8 {
			bad := bytes.Clone(archive)
			bad[i] ^= 1 << bit
			if err := Check(bytes.NewReader(bad), sum); err == nil || !strings.Contains(err.Error(), "SHA-256") {
				t.Fatalf("byte %d bit %d: Check returned %v", i, bit, err)
			}
			got, err := readAll(bytes.NewReader(bad), list(small), sum.TarSize)
			if !slices.Equal(got, small[:len(got)]) {
				t.Fatalf("byte %d bit %d: other bytes came out (error %v): %q", i, bit, err, got)
			}
		}
	}
}

// TestCutArchive cuts the file at every byte.
func TestCutArchive(t *testing.T) {
	archive, sum := write(t, small)
	for n := range archive {
		if err := Check(bytes.NewReader(archive[:n]), sum); err == nil {
			t.Fatalf("cut at byte %d: Check has no error", n)
		}
		if _, err := Hash(bytes.NewReader(archive[:n])); err == nil {
			t.Fatalf("cut at byte %d: Hash has no error", n)
		}
		if got, err := readAll(bytes.NewReader(archive[:n]), list(small), sum.TarSize); err == nil {
			t.Fatalf("cut at byte %d: Reader has no error after %d members", n, len(got))
		}
	}
}

// TestSplice puts a member of one archive into another: alike in name, size
// and place, and only the digest tells.
func TestSplice(t *testing.T) {
	ours := []file{{"data/a", "prix 349\n"}, {"data/b", "tva 2000\n"}}
	theirs := []file{{"data/a", "prix 001\n"}, {"data/b", "tva 0000\n"}}
	for i := range ours {
		mixed := append([]file(nil), ours...)
		mixed[i] = theirs[i]
		archive, sum := write(t, mixed)
		got, err := readAll(bytes.NewReader(archive), list(ours), sum.TarSize)
		if err == nil || !strings.Contains(err.Error(), "SHA-256") || len(got) > i {
			t.Errorf("member %d spliced: %d members, error %v", i+1, len(got), err)
		}
	}
}

// TestReaderErrors are those of the file under the Reader.
func TestReaderErrors(t *testing.T) {
	archive, sum := write(t, small)
	broken := errors.New("disk is gone")
	for n := range archive {
		_, err := readAll(io.MultiReader(bytes.NewReader(archive[:n]), iotest.ErrReader(broken)), list(small), sum.TarSize)
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: error %v, want that of the file", n, err)
		}
	}
	if err := Check(iotest.ErrReader(broken), sum); !errors.Is(err, broken) {
		t.Errorf("Check: %v", err)
	}
}

// TestMemberList: a list that cannot be is refused before the file is read.
func TestMemberList(t *testing.T) {
	ok := Member{Name: "data/a", Size: 1}
	for name, ms := range map[string][]Member{
		"parent":     {{Name: "../a"}},
		"inside":     {{Name: "data/../a"}},
		"absolute":   {{Name: "/a"}},
		"upper case": {{Name: "data/A"}},
		"backslash":  {{Name: `data\a`}},
		"drive":      {{Name: "c:a"}},
		"empty":      {{Name: ""}},
		"empty part": {{Name: "data//a"}},
		"slash":      {{Name: "data/"}},
		"hidden":     {{Name: "data/.a"}},
		"option":     {{Name: "-rf"}},
		"NUL":        {{Name: "data/a\x00"}},
		"line feed":  {{Name: "data/a\n"}},
		"accent":     {{Name: "data/é"}},
		"long":       {{Name: strings.Repeat("a", 101)}},
		"twice":      {ok, ok},
		"negative":   {{Name: "data/a", Size: -1}},
		"too large":  {{Name: "data/a", Size: MaxMember + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewReader(iotest.ErrReader(errors.New("read")), ms, TarSize(ms)); err == nil || !strings.Contains(err.Error(), "of the list") {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := NewReader(nil, []Member{ok}, TarSize([]Member{ok})-1); err == nil || !strings.Contains(err.Error(), "make a tar of") {
		t.Errorf("wrong tar size: %v", err)
	}
}

// endless is a zstd frame of zeros without end: 128 KiB for each 4 bytes.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	const head = "\x28\xb5\x2f\xfd\x04\x60" // checksum, window of 4 MiB
	for i := range p {
		if e.n < len(head) {
			p[i] = head[e.n]
		} else {
			p[i] = "\x02\x00\x10\x00"[(e.n-len(head))%4] // RLE, 128 KiB, of 0
		}
		e.n++
	}
	return len(p), nil
}

// TestEndless reads archives that never end, and must not.
func TestEndless(t *testing.T) {
	e := &endless{}
	if err := Check(e, Sum{Size: 1 << 20}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("Check: %v", err)
	}
	if e.n > 1<<20+1 {
		t.Errorf("Check read %d bytes", e.n)
	}
	e = &endless{}
	if _, err := readAll(e, list(small), TarSize(list(small))); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("Reader: %v", err)
	}
	if e.n > 1<<20 {
		t.Errorf("Reader read %d bytes", e.n)
	}
}

// TestBomb is a file that makes a gigabyte of a few bytes, behind members
// that are as they should be, and whose manifest is signed.
func TestBomb(t *testing.T) {
	z, err := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	bomb := z.EncodeAll(append(plainTar(t, small), make([]byte, 1<<27)...), nil)
	before := heap()
	if _, err := readAll(bytes.NewReader(bomb), list(small), TarSize(list(small))); err == nil || !strings.Contains(err.Error(), "goes on after its end") {
		t.Errorf("error %v", err)
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d MiB of memory", grown>>20)
	}
}

// heap returns all bytes ever allocated.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// TestCloseEarly stops at every stage and looks for goroutines left behind.
func TestCloseEarly(t *testing.T) {
	archive, sum := write(t, small)
	before := runtime.NumGoroutine()
	for stop := range 5 {
		r, err := NewReader(bytes.NewReader(archive), list(small), sum.TarSize)
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader
		for range stop {
			if _, body, err = r.Next(); err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		r.Close()
		r.Close()
		if _, _, err := r.Next(); err == nil {
			t.Error("Next after Close has no error")
		}
		if body != nil {
			_, _ = io.ReadAll(body)
		}
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestReaderWindow: a window that Check would refuse is not allocated by a
// Reader either.
func TestReaderWindow(t *testing.T) {
	raw := plainTar(t, small)
	n := len(raw)<<3 | 1 // one raw block, the last
	frame := append([]byte("\x28\xb5\x2f\xfd\x04\x70"), byte(n), byte(n>>8), byte(n>>16))
	frame = append(append(frame, raw...), 0, 0, 0, 0)
	_, err := readAll(bytes.NewReader(frame), list(small), TarSize(list(small)))
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("window of 16 MiB: %v", err)
	}
}

// TestCloseWaits: the file may be closed as soon as Close has returned.
func TestCloseWaits(t *testing.T) {
	archive, sum := write(t, small)
	f := &slow{r: bytes.NewReader(archive), started: make(chan struct{}, 1)}
	r, err := NewReader(f, list(small), sum.TarSize)
	if err != nil {
		t.Fatal(err)
	}
	<-f.started
	r.Close()
	if f.active.Load() != 0 {
		t.Error("Close returned while the file was being read")
	}
}

// slow is a file that knows when it is read.
type slow struct {
	r       io.Reader
	started chan struct{}
	active  atomic.Int64
}

func (s *slow) Read(p []byte) (int, error) {
	s.active.Add(1)
	defer s.active.Add(-1)
	select {
	case s.started <- struct{}{}:
	default:
	}
	time.Sleep(20 * time.Millisecond)
	return s.r.Read(p)
}
