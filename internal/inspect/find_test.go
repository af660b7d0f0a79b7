package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/inspect"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// find returns "stream sequence op" of each hit.
func find(t *testing.T, in *inspect.Inspector, list []inspect.Place, table, k string) (hits []string, found *inspect.Found) {
	t.Helper()
	found, err := in.Find(context.Background(), list, table, key(t, k), func(h inspect.Hit) error {
		hits = append(hits, fmt.Sprintf("%s %d %s", h.Stream, h.Sequence, h.Row.Op))
		return nil
	})
	fatal(t, err)
	return hits, found
}

// TestFindOrder: over streams in the order of time, within one in the order of
// the chain, also where a clock went back.
func TestFindOrder(t *testing.T) {
	down := newWriter(t)
	up := newWriterIn(t, down.drop, "ACME/up/017", "till-017@acme")
	noon := down.now
	at := func(w *writer, minute int, row string) {
		w.now = noon.Add(time.Duration(minute) * time.Minute)
		w.upsert(row)
	}
	at(down, 0, `["a",1]`)
	at(down, 10, `["b",1]`)
	at(up, 5, `["a",2]`)
	at(down, 20, `["a",3]`)
	at(down, 15, `["a",4]`) // the clock was put back
	at(up, 19, `["a",5]`)
	at(up, 25, `["a",6]`)
	want := []string{"ACME/down 1 upsert", "ACME/up/017 1 upsert", "ACME/up/017 2 upsert", "ACME/down 3 upsert", "ACME/down 4 upsert", "ACME/up/017 3 upsert"}
	both := &inspect.Inspector{Contents: down.inspector().Contents, Trust: func(string) *keys.Trust { return nil }}
	for _, workers := range []int{1, 2, 8} {
		both.Workers = workers
		got, found := find(t, both, down.places(), "article", "a")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d workers (-want +got):\n%s", workers, diff)
		}
		if found.Hits != 6 || found.Batches != 7 || found.Searched != 7 || len(found.Unsearched) != 0 {
			t.Errorf("%d workers: %+v", workers, found)
		}
	}
}

// TestFindMany: more hits than a chunk takes, from many archives at once, all
// of them and in order.
func TestFindMany(t *testing.T) {
	w := newWriter(t)
	const batches, rows = 20, 3000
	var list []string
	for n := range rows {
		list = append(list, fmt.Sprintf(`["%05d",1]`, n))
	}
	for range batches {
		w.upsert(list...)
	}
	in := w.inspector()
	in.Workers = 8
	n := 0
	found, err := in.Find(context.Background(), w.places(), "article", inspect.Key{}, func(h inspect.Hit) error {
		if want := fmt.Sprintf("%d %05d", n/rows+1, n%rows); want != fmt.Sprintf("%d %s", h.Sequence, h.Row.Values[0].Bytes) {
			return fmt.Errorf("hit %d is %d %s, want %s", n, h.Sequence, h.Row.Values[0].Bytes, want)
		}
		n++
		return nil
	})
	fatal(t, err)
	if n != batches*rows || found.Hits != batches*rows {
		t.Errorf("%d hits, want %d", n, batches*rows)
	}
	// An error of the caller, and an end of the context, end it.
	enough := errors.New("enough")
	if _, err := in.Find(context.Background(), w.places(), "article", inspect.Key{}, func(inspect.Hit) error { return enough }); err != enough {
		t.Errorf("the caller's error became %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := in.Find(ctx, w.places(), "article", inspect.Key{}, func(inspect.Hit) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the context's end became %v", err)
	}
}

// TestFindSkips: archives without rows of the table are not opened.
func TestFindSkips(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{article, odd}, nil, upsertArticle+`["a",1]`+"\n")
	w.seal([]manifest.Table{odd}, nil, upsertOdd+`["ACME",1,"x"]`+"\n")
	w.upsert(`["a",2]`)
	list := w.places()
	var opened atomic.Int64
	list[0].Files = counting{list[0].Files, &opened}
	if got, _ := find(t, w.inspector(), list, "article", "a"); len(got) != 2 || opened.Load() != 2 {
		t.Errorf("%q, %d archives were opened, want 2", got, opened.Load())
	}
	// Another table in the same archive is not looked at, though its key fits.
	twin := article
	twin.Name = "twin"
	w.seal([]manifest.Table{article, twin}, nil, upsertArticle+`["z",1]`+"\n", `{"table":"twin","op":"upsert","columns":["code","price"]}`+"\n"+`["b",1]`+"\n")
	if got, _ := find(t, w.inspector(), w.places(), "article", "b"); len(got) != 0 {
		t.Errorf("%q is another table's", got)
	}
	w.removeAll(4)
	got, found := find(t, w.inspector(), w.places(), "artcle", "a")
	if len(got) != 0 || !cmp.Equal(found.Tables, []string{"article", "odd"}) {
		t.Errorf("%q, the tables that there are: %q", got, found.Tables)
	}
}

type counting struct {
	inspect.Files
	opened *atomic.Int64
}

func (c counting) Open(ctx context.Context, name string, size int64) (*os.File, error) {
	c.opened.Add(1)
	return c.Files.Open(ctx, name, size)
}

// TestFindNeverSilent: whatever keeps a batch from being searched is told, and
// what is as it should be is told apart from what is wrong.
func TestFindNeverSilent(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *writer)
		want  string // "first-last wrong: words"
	}{
		{"pruned, and the head says so", func(w *writer) { w.head(3); w.remove(1, manifest.ArchiveExt); w.remove(2, manifest.ArchiveExt) }, "1-2 false: retention"},
		{"gone, and the head says that it is there", func(w *writer) { w.head(1); w.remove(2, manifest.ArchiveExt) }, "2-2 true: no head says"},
		{"gone, and the head is a stranger's", func(w *writer) {
			w.head(3)
			s := newWriterIn(w.t, w.drop, "ACME/up/017", "till-017@acme")
			w.signer, s.signer = s.signer, w.signer
			w.head(3)
			w.remove(2, manifest.ArchiveExt)
		}, "2-2 true: no head says"},
		{"archive changed", func(w *writer) { w.flip(2, manifest.ArchiveExt, 60) }, "2-2 true: archive refused: archive has the SHA-256"},
		{"archive cut", func(w *writer) { w.write(2, manifest.ArchiveExt, nil) }, "2-2 true: archive refused: it has 0 bytes"},
		{"a link for an archive", func(w *writer) {
			w.remove(2, manifest.ArchiveExt)
			fatal(w.t, os.Symlink(w.path(1, manifest.ArchiveExt), w.path(2, manifest.ArchiveExt)))
		}, "2-2 true: no head says"}, // a link is no file of a batch
		{"a folder for a manifest", func(w *writer) {
			w.remove(2, manifest.ManifestExt)
			fatal(w.t, os.Mkdir(w.path(2, manifest.ManifestExt), 0o755))
		}, "2-2 false: not complete yet"},
		{"manifest changed", func(w *writer) { w.flip(2, manifest.ManifestExt, 100) }, "2-2 true: manifest refused: bad signature"},
		{"not signed", func(w *writer) { w.remove(2, manifest.SignatureExt) }, "2-2 true: manifest refused: it is not signed"},
		{"two of them not signed", func(w *writer) { w.remove(2, manifest.SignatureExt); w.remove(3, manifest.SignatureExt) }, "2-3 true: not signed"},
		{"no manifest", func(w *writer) { w.remove(4, manifest.ManifestExt) }, "4-4 false: not complete yet"},
		{"nothing of it", func(w *writer) { w.removeAll(2); w.removeAll(3) }, "2-3 true: no file of it"},
		{"the beginning is not in the copy", func(w *writer) { w.removeAll(1); w.removeAll(2) }, "1-2 false: no file of it"},
		{"an endless manifest", func(w *writer) { w.write(2, manifest.ManifestExt, make([]byte, 5<<20)) }, "2-2 true: manifest refused: too large"},
		{"an endless signature", func(w *writer) { w.write(2, manifest.SignatureExt, make([]byte, 17<<10)) }, "2-2 true: signature refused: too large"},
		{"an archive of 5 GiB", func(w *writer) { fatal(w.t, os.Truncate(w.path(2, manifest.ArchiveExt), 5<<30)) }, "2-2 true: archive refused: it has 5368709120 bytes"},
		{"another batch's archive", func(w *writer) {
			data, err := os.ReadFile(w.path(1, manifest.ArchiveExt))
			fatal(w.t, err)
			w.write(2, manifest.ArchiveExt, data)
		}, "2-2 true: archive refused"},
		{"a key that does not fit the table of then", func(w *writer) {
			t := article
			t.Key = []string{"code", "price"}
			w.seal([]manifest.Table{t}, nil, upsertArticle+`["a",1]`+"\n")
		}, "5-5 false: the key does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriter(t)
			for n := range 4 {
				w.upsert(fmt.Sprintf(`["a",%d]`, n))
			}
			c.spoil(w)
			_, found := find(t, w.inspector(), w.places(), "article", "a")
			if len(found.Unsearched) != 1 {
				t.Fatalf("%+v, want one range", found.Unsearched)
			}
			u := found.Unsearched[0]
			numbers, words, _ := strings.Cut(c.want, ": ")
			if fmt.Sprintf("%d-%d %t", u.First, u.Last, u.Wrong) != numbers || !strings.Contains(u.Reason, words) || found.Wrong() != u.Wrong {
				t.Errorf("%+v, want %s", u, c.want)
			}
			if n := u.Last - u.First + 1; found.Searched != w.last.Sequence-n {
				t.Errorf("%d batches were searched, and %d of %d were not", found.Searched, n, w.last.Sequence)
			}
		})
	}
}

func (w *writer) remove(n int64, ext string) { fatal(w.t, os.Remove(w.path(n, ext))) }

func (w *writer) removeAll(n int64) {
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		w.remove(n, ext)
	}
}

func (w *writer) flip(n int64, ext string, at int) {
	data, err := os.ReadFile(w.path(n, ext))
	fatal(w.t, err)
	data[at] ^= 1
	w.write(n, ext, data)
}

// TestFindMisfit: a key that fits no batch at all is the caller's mistake.
func TestFindMisfit(t *testing.T) {
	w := newWriter(t)
	w.seal([]manifest.Table{odd}, nil, upsertOdd+`["ACME",1,"x"]`+"\n")
	_, err := w.inspector().Find(context.Background(), w.places(), "odd", key(t, "1"), func(inspect.Hit) error { return nil })
	if !errors.Is(err, inspect.ErrKey) || !strings.Contains(err.Error(), "code=") {
		t.Errorf("%v, want ErrKey with the form that works", err)
	}
	one, err := inspect.Local(filepath.Join(w.folder(), "0000000009"), "")
	fatal(t, err)
	if _, err := w.inspector().Find(context.Background(), one, "odd", key(t, "code=1"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a batch that is not there: %v", err)
	}
}

// TestFindLost: when the line is gone the search ends, and says so.
func TestFindLost(t *testing.T) {
	w := newWriter(t)
	for range 4 {
		w.upsert(`["a",1]`)
	}
	list := w.places()
	list[0].Files = broken{list[0].Files}
	_, err := w.inspector().Find(context.Background(), list, "article", key(t, "a"), func(inspect.Hit) error { return nil })
	if !errors.Is(err, inspect.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
}

type broken struct{ inspect.Files }

func (b broken) Open(ctx context.Context, name string, size int64) (*os.File, error) {
	if strings.HasPrefix(name, "0000000003") {
		return nil, fmt.Errorf("%w: the server has hung up", inspect.ErrLost)
	}
	return b.Files.Open(ctx, name, size)
}

// TestFindExchanged: room for an archive is made by what its manifest said when
// the search began; another manifest, though signed, is not taken in its place.
func TestFindExchanged(t *testing.T) {
	if raceEnabled {
		t.Skip("manifests of 2 MiB take seconds under the race detector")
	}
	w := newWriter(t)
	wide := article
	wide.Columns = append([]manifest.Column{}, article.Columns...)
	for n := range 2000 { // a manifest of 2 MiB: few of them are kept
		name := fmt.Sprintf("%s%04d", strings.Repeat("x", 1000), n)
		wide.Columns = append(wide.Columns, manifest.Column{Name: name})
	}
	w.upsert(`["a",1]`)
	for range 3 {
		w.seal([]manifest.Table{wide}, nil, `{"table":"article","op":"delete","columns":["code"]}`+"\n"+`["a"]`+"\n")
	}
	before := w.last
	w.seal([]manifest.Table{wide}, nil, `{"table":"article","op":"delete","columns":["code"]}`+"\n"+`["a"]`+"\n")
	e := &exchanging{seen: map[string]bool{}, other: map[string][]byte{}}
	for _, ext := range []string{manifest.ManifestExt, manifest.SignatureExt} {
		data, err := os.ReadFile(w.path(5, ext))
		fatal(t, err)
		e.other[manifest.FileName(5, ext)] = data
	}
	w.last = before
	w.seal([]manifest.Table{wide}, nil, `{"table":"article","op":"delete","columns":["code"]}`+"\n"+`["b"]`+"\n")
	list := w.places()
	e.Files = list[0].Files
	list[0].Files = e
	_, found := find(t, w.inspector(), list, "article", "a")
	if len(found.Unsearched) != 1 || !strings.Contains(found.Unsearched[0].Reason, "exchanged") {
		t.Errorf("%+v", found)
	}
}

// exchanging gives other files of a batch when they are read again.
type exchanging struct {
	inspect.Files
	mu    sync.Mutex
	seen  map[string]bool
	other map[string][]byte
}

func (e *exchanging) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if other := e.other[name]; other != nil && e.seen[name] {
		return other, nil
	}
	e.seen[name] = true
	return e.Files.Read(ctx, name, limit)
}
