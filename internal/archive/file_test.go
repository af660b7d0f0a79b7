package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// writeForm makes an archive of the form open, each body read from a file.
func writeForm(t *testing.T, files []file) ([]byte, Sum) {
	t.Helper()
	var out bytes.Buffer
	w, err := open.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ways := []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.OneByteReader, iotest.DataErrReader}
	for i, m := range list(files) {
		digest, err := w.AddFile(m.Name, m.Size, ways[i%len(ways)](strings.NewReader(files[i].body)))
		if err != nil {
			t.Fatal(err)
		}
		if digest != m.SHA256 {
			t.Fatalf("%s: digest %s, want %s", m.Name, digest, m.SHA256)
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

// TestAddFile makes the bytes of Add, and they can be read.
func TestAddFile(t *testing.T) {
	in := append(small[:4:4], pack...)
	body := string(rows(600<<10, 1))
	for i, n := range []int{0, 1, 511, 513, 32<<10 + 1, 128 << 10, len(body)} {
		in = append(in, file{fmt.Sprint("n/", i), body[:n]})
	}
	got, sum := writeForm(t, in)
	var out bytes.Buffer
	w, err := open.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, f := range in {
		if i%3 == 2 { // the two ways mix
			_, err = w.AddFile(f.name, int64(len(f.body)), strings.NewReader(f.body))
		} else {
			_, err = w.Add(f.name, append(w.Buffer(), f.body...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want, err := w.Close(); err != nil || want != sum || !bytes.Equal(got, out.Bytes()) {
		t.Errorf("AddFile made %+v, Add %+v (%v)", sum, want, err)
	}
	if err := Check(bytes.NewReader(got), sum); err != nil {
		t.Error(err)
	}
	files, err := readForm(open, bytes.NewReader(got), list(in), sum.TarSize)
	if err != nil || len(files) != len(in) {
		t.Errorf("%d of %d members, %v", len(files), len(in), err)
	}
}

// TestAddFileGivesUp: a body of another length, or that cannot be read, is an
// error at once, and no archive comes of it.
func TestAddFileGivesUp(t *testing.T) {
	before := runtime.NumGoroutine()
	broken := errors.New("disk is gone")
	body := string(rows(300<<10, 1))
	for _, tc := range []struct {
		name string
		size int
		r    io.Reader
		want string
	}{
		{"shorter", len(body) + 1, strings.NewReader(body), "ends after"},
		{"empty", 1, strings.NewReader(""), "ends after 0 of 1 bytes"},
		{"longer", len(body) - 1, strings.NewReader(body), "goes on after"},
		{"longer than nothing", 0, strings.NewReader("x"), "goes on after 0 bytes"},
		{"longer, with the end", 1, iotest.DataErrReader(strings.NewReader("xy")), "goes on after 1 bytes"},
		{"breaks", len(body) + 1, io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), broken.Error()},
		{"breaks at the end", len(body), io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), broken.Error()},
	} {
		w, err := open.NewWriter(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddFile("before", 1, strings.NewReader("b")); err != nil {
			t.Fatal(err)
		}
		_, err = w.AddFile("Body", int64(tc.size), tc.r)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "Body") {
			t.Errorf("%s: error %v, want %q in it", tc.name, err, tc.want)
		}
		if _, again := w.AddFile("after", 1, strings.NewReader("a")); again != err {
			t.Errorf("%s: AddFile after it: %v", tc.name, again)
		}
		if _, again := w.Close(); again != err {
			t.Errorf("%s: Close after it: %v", tc.name, again)
		}
		if _, again := w.AddFile("after", 1, strings.NewReader("a")); again != errClosed {
			t.Errorf("%s: AddFile after Close: %v", tc.name, again)
		}
	}
	noMoreGoroutines(t, before)
}

// TestAddFileRefuses leaves the archive as it was.
func TestAddFileRefuses(t *testing.T) {
	w, err := Rows.NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	unread := iotest.ErrReader(errors.New("read it"))
	if _, err := w.AddFile("data/a", 1, strings.NewReader("a")); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"data/a": 1, "data/A": 1, "data/b": MaxMember + 1, "data/c": -1} {
		if _, err := w.AddFile(name, size, unread); err == nil || strings.Contains(err.Error(), "read it") {
			t.Errorf("%s of %d bytes: %v", name, size, err)
		}
	}
	if sum, err := w.Close(); err != nil || sum.TarSize != 4*block {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestAddFileDiskFull: the writer stops reading soon after the disk is full.
func TestAddFileDiskFull(t *testing.T) {
	w, err := open.NewWriter(&full{100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil && i < 100; i++ {
		_, err = w.AddFile(fmt.Sprint(i), 400<<10, bytes.NewReader(rows(400<<10, i)[:400<<10]))
	}
	if !errors.Is(err, errFull) {
		t.Errorf("AddFile: %v", err)
	}
	if _, err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
}

// TestLargeFile writes and reads one file of a package with the memory of a
// small one. What was allocated in all is no less than what was held at once.
func TestLargeFile(t *testing.T) {
	const size = memoryMembers * 8 << 20
	var out bytes.Buffer
	before := heap()
	w, err := open.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	m := Member{Name: "Big.img", Size: size}
	if m.SHA256, err = w.AddFile(m.Name, m.Size, io.LimitReader(zeroFile{}, size)); err != nil {
		t.Fatal(err)
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	written := heap()
	r, err := open.NewReader(&out, []Member{m}, sum.TarSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, body, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
	t.Logf("%.1f MiB to write, %.1f MiB to read", float64(written-before)/(1<<20), float64(heap()-written)/(1<<20))
	if written-before > 40<<20 || heap()-written > 24<<20 {
		t.Errorf("%d MiB to write, %d MiB to read", (written-before)>>20, (heap()-written)>>20)
	}
}

// zeroFile has no end.
type zeroFile struct{}

func (zeroFile) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
