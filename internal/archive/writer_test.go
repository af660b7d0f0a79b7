package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSameInputSameBytes: an archive depends on its members alone, not on the
// number of processors, the buffers or the timing.
func TestSameInputSameBytes(t *testing.T) {
	var in []file
	body := string(rows(2<<20, 1))
	for i := range 9 { // in all more than an encoder would take for one job
		in = append(in, file{fmt.Sprintf("data/a.%04d.ndjson", i+1), body[i*7919:]})
	}
	want, _ := write(t, in)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 8} {
		runtime.GOMAXPROCS(procs)
		if got, _ := write(t, in); !bytes.Equal(got, want) {
			t.Errorf("other bytes with %d processors", procs)
		}
	}
}

// full takes n bytes and then has no more space.
type full struct{ n int }

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.n {
		n := f.n
		f.n = 0
		return n, errFull
	}
	f.n -= len(p)
	return len(p), nil
}

// TestDiskFull has no space after every number of bytes up to the whole.
func TestDiskFull(t *testing.T) {
	in := []file{{"data/a", string(rows(400<<10, 1))}, {"data/b", string(rows(400<<10, 2))}}
	archive, _ := write(t, in)
	before := runtime.NumGoroutine()
	for n := 0; n < len(archive); n += 1 + len(archive)/12 {
		w, err := NewWriter(&full{n})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range in {
			if _, err := w.Add(f.name, []byte(f.body)); err != nil && !errors.Is(err, errFull) {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); !errors.Is(err, errFull) {
			t.Fatalf("after %d bytes: Close returned %v", n, err)
		}
		if _, err := w.Add("data/c", nil); err == nil {
			t.Fatal("Add after Close has no error")
		}
	}
	noMoreGoroutines(t, before)
}

func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lazy is a slow disk that knows when it is written to.
type lazy struct{ writes, active atomic.Int64 }

func (l *lazy) Write(p []byte) (int, error) {
	l.writes.Add(1)
	l.active.Add(1)
	time.Sleep(5 * time.Millisecond)
	l.active.Add(-1)
	return len(p), nil
}

func TestAbort(t *testing.T) {
	before := runtime.NumGoroutine()
	body := rows(1<<20, 1)
	for n := range 8 {
		disk := &lazy{}
		w, err := NewWriter(disk)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, err := w.Add(fmt.Sprint("data/", i), bytes.Clone(body)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < 20 && disk.active.Load() == 0; i++ {
			time.Sleep(200 * time.Microsecond) // so that a write is under way, if there is one
		}
		w.Abort()
		at := disk.writes.Load()
		if disk.active.Load() != 0 {
			t.Error("a write goes on after Abort")
		}
		w.Abort()
		if _, err := w.Close(); err == nil {
			t.Error("Close after Abort has no error")
		}
		time.Sleep(5 * time.Millisecond)
		if disk.writes.Load() != at {
			t.Error("written to after Abort")
		}
	}
	noMoreGoroutines(t, before)
}

func TestAddRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, tc := range []struct {
		name string
		size int
		want string
	}{
		{"data/a", 1, ""},
		{"data/a", 1, "twice"},
		{"../a", 1, "dot"},
		{"data/Article", 1, "[a-z0-9"},
		{"data/b", MaxMember, ""},
		{"data/c", MaxMember + 1, "at most"},
	} {
		_, err := w.Add(tc.name, make([]byte, tc.size))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s of %d bytes: %v, want %q", tc.name, tc.size, err, tc.want)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Errorf("refused members must not spoil the others: %v", err)
	}
}

// TestBuffers: what Buffer gives is never one that is still being compressed.
func TestBuffers(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var in []file
	for i := range 30 {
		f := file{fmt.Sprintf("data/a.%04d", i), strings.Repeat(fmt.Sprintln(i), 40000)}
		in = append(in, f)
		if _, err := w.Add(f.name, append(w.Buffer(), f.body...)); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(&out, list(in), sum.TarSize); err != nil {
		t.Error(err)
	}
}

// TestLargeMembers has the largest members, in a file.
func TestLargeMembers(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var in []file
	body := rows(MaxMember, 1)[:MaxMember]
	for i := range 3 {
		in = append(in, file{fmt.Sprint("data/", i), string(body)})
		if _, err := w.Add(in[i].name, bytes.Clone(body)); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time to its end too
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := Check(f, sum); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(f, list(in), sum.TarSize); err != nil {
		t.Fatal(err)
	}
}
