//go:build unix

package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// noise returns bytes that do not compress, the same ones for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

func opened(archive []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }
}

// next is the batch that follows where the stream stands.
func next(t testing.TB, s *Source, document []byte, kind manifest.Kind) manifest.Pending {
	t.Helper()
	sh, err := s.Shared(context.Background(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Pending{Kind: kind, Cursor: `{"snapshot":"1:1:","place":"x"}`, Position: manifest.Position{
		Epoch: max(1, sh.Last.Epoch), Sequence: sh.Last.Sequence + 1, Digest: manifest.Digest(document)}}
}

// deposit puts a batch on the shelf, and publishes it.
func deposit(t testing.TB, s *Source, document, archive []byte, kind manifest.Kind) manifest.Pending {
	t.Helper()
	ctx := context.Background()
	p := next(t, s, document, kind)
	err := s.Deposit(ctx, "A/down", p, document, opened(archive))
	if err == nil {
		_, err = s.Signature(ctx, "A/down", p.Position, append([]byte("signed "), document...))
	}
	if err == nil {
		err = s.Publish(ctx, "A/down", p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onShelf describes what is kept, one line a batch, archives by their length
// after they were compared with what is wanted.
func onShelf(t testing.TB, s *Source, archives map[int64][]byte) (list []string) {
	t.Helper()
	sh, err := s.Shared(context.Background(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range sh.Kept {
		line := fmt.Sprintf("%d/%d %s %q", k.Epoch, k.Sequence, k.Document, k.Signature)
		if !k.Settled {
			var b bytes.Buffer
			if err := s.Archive(context.Background(), "A/down", k.Sequence, &b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), archives[k.Sequence]) {
				t.Errorf("the archive of batch %d has %d other bytes than the %d that were put there", k.Sequence, b.Len(), len(archives[k.Sequence]))
			}
			line += " archive"
		}
		list = append(list, line)
	}
	return list
}

// TestShelf: what is put on it comes back byte by byte, and leaves it when it is
// said to be on the drop.
func TestShelf(t *testing.T) {
	t.Parallel()
	s := newERP(t, articleSQL).capture(articles("A"))["A/down"].Source
	ctx := t.Context()
	archives := map[int64][]byte{}
	for i, size := range []int{1, shelfPiece - 1, shelfPiece, shelfPiece + 1, 3*shelfPiece + 7} {
		n := int64(i + 1)
		archives[n] = noise(uint64(i), size)
		kind := manifest.Delta
		if n == 1 || n == 3 {
			kind = manifest.Baseline
		}
		deposit(t, s, fmt.Appendf(nil, "m%d", n), archives[n], kind)
	}
	p := next(t, s, []byte("m6"), manifest.Delta)
	archives[6] = noise(6, 100)
	if err := s.Deposit(ctx, "A/down", p, []byte("m6"), opened(archives[6])); err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		if d := cmp.Diff(want, onShelf(t, s, archives)); d != "" {
			t.Error(d)
		}
	}
	check(`1/1 m1 "signed m1" archive`, `1/2 m2 "signed m2" archive`, `1/3 m3 "signed m3" archive`, `1/4 m4 "signed m4" archive`, `1/5 m5 "signed m5" archive`, `1/6 m6 "" archive`)
	off := func(upTo int64) {
		t.Helper()
		if err := s.TakeOff(ctx, "A/down", upTo); err != nil {
			t.Fatal(err)
		}
	}
	off(2)
	check(`1/3 m3 "signed m3" archive`, `1/4 m4 "signed m4" archive`, `1/5 m5 "signed m5" archive`, `1/6 m6 "" archive`)
	off(100)
	check(`1/3 m3 "signed m3"`, `1/5 m5 "signed m5"`, `1/6 m6 "" archive`)
	if err := s.Archive(ctx, "A/down", 5, io.Discard); !errors.Is(err, database.ErrBusy) {
		t.Errorf("an archive that was taken off: %v", err)
	}
	if err := s.NewEpoch(ctx, "A/down", manifest.Position{}, "test"); err != nil {
		t.Fatal(err)
	}
	check(`1/3 m3 "signed m3"`, `1/5 m5 "signed m5"`)
	archives[7] = noise(7, 10)
	deposit(t, s, []byte("m7"), archives[7], manifest.Baseline)
	off(7)
	check(`2/7 m7 "signed m7"`)
	if n := pgtest.Query(t, s.dsn, "SELECT count(*) FROM caisseauto.caisseauto_shelf WHERE sequence <> 7"); n[0] != "0" {
		t.Errorf("%s rows are left", n[0])
	}
}

// TestSignature: the first one counts, and none comes after the publication.
func TestSignature(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	a, b := e.capture(articles("A"))["A/down"].Source, NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})
	defer b.Close()
	p := next(t, a, []byte("m"), manifest.Baseline)
	if err := a.Deposit(t.Context(), "A/down", p, []byte("m"), opened([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Source{b, a, b} {
		got, err := s.Signature(t.Context(), "A/down", p.Position, fmt.Appendf(nil, "of %t", s == a))
		if err != nil || string(got) != "of false" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := a.Publish(t.Context(), "A/down", p); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Signature(t.Context(), "A/down", p.Position, []byte("late")); !errors.Is(err, database.ErrBusy) {
		t.Errorf("%v", err)
	}
}

// TestDepositOfTwo: of two hosts at one number, one has it, with its bytes, and
// the other is told to come again.
func TestDepositOfTwo(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.capture(articles("A"))
	for range 10 {
		docs := []string{"a", "b"}
		errs := make([]error, 2)
		var all sync.WaitGroup
		sources := []*Source{NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{}), NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})}
		p := next(t, sources[0], []byte("a"), manifest.Baseline)
		for i := range docs {
			all.Go(func() {
				p := p
				p.Digest = manifest.Digest([]byte(docs[i]))
				errs[i] = sources[i].Deposit(context.Background(), "A/down", p, []byte(docs[i]), opened([]byte(docs[i])))
			})
		}
		all.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], database.ErrBusy) {
			t.Fatalf("%v", errs)
		}
		sh, err := sources[0].Shared(t.Context(), "A/down")
		if err != nil || sh.Pending.Digest != manifest.Digest([]byte(docs[won])) {
			t.Fatalf("%+v, %v", sh, err)
		}
		if d := cmp.Diff([]string{fmt.Sprintf(`%d/%d %s "" archive`, p.Epoch, p.Sequence, docs[won])}, onShelf(t, sources[1], map[int64][]byte{p.Sequence: []byte(docs[won])})); d != "" {
			t.Error(d)
		}
		if err := sources[0].Publish(t.Context(), "A/down", *sh.Pending); err != nil {
			t.Fatal(err)
		}
		if err := sources[1].TakeOff(t.Context(), "A/down", p.Sequence); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, e.dsn, "TRUNCATE caisseauto.caisseauto_shelf, caisseauto.caisseauto_shelf_large")
		for _, s := range sources {
			s.Close()
		}
	}
}

// TestDepositCut: whatever message of a deposit is the last that comes through,
// the number is reserved and all bytes are there, or neither.
func TestDepositCut(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.capture(articles("A"))
	c := pgtest.Get(t)
	net := c.Proxy(t)
	far := NewSource(net.DSN(pgtest.Database(t, e.dsn), "postgres"), NewCapture(articles("A")), SourceOptions{})
	near := NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})
	defer far.Close()
	defer near.Close()
	archive := noise(1, 2*shelfPiece+5)
	reserved, whole := 0, false
	for n := 0; !whole; n++ {
		document := fmt.Appendf(nil, "m%d", n)
		p := next(t, near, document, manifest.Baseline)
		if _, err := far.Stand(t.Context(), "A/down"); err != nil { // it is connected
			t.Fatal(err)
		}
		net.CutAfterMessages(pgtest.ToServer, n)
		err := far.Deposit(t.Context(), "A/down", p, document, opened(archive))
		whole = !net.WasCut()
		net.Count()
		if err != nil && !errors.Is(err, database.ErrUnavailable) || whole && err != nil {
			t.Fatalf("after %d messages: %v", n, err)
		}
		far.Close()
		waitForDead(t, e.dsn)
		sh, serr := near.Shared(t.Context(), "A/down")
		if serr != nil {
			t.Fatal(serr)
		}
		if sh.Pending == nil {
			if err == nil || len(sh.Kept) != 0 {
				t.Fatalf("after %d messages: not reserved, %d batches are kept: %v", n, len(sh.Kept), err)
			}
			continue
		}
		reserved++
		if d := cmp.Diff([]string{fmt.Sprintf(`1/%d %s "" archive`, p.Sequence, document)}, onShelf(t, near, map[int64][]byte{p.Sequence: archive})); d != "" {
			t.Fatal(d)
		}
		if err := near.Publish(t.Context(), "A/down", p); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, e.dsn, "TRUNCATE caisseauto.caisseauto_shelf, caisseauto.caisseauto_shelf_large")
	}
	if reserved < 2 {
		t.Errorf("no cut came between the server's commit and its answer")
	}
}

// waitForDead waits until the server has ended what a cut connection left.
func waitForDead(t *testing.T, dsn string) {
	t.Helper()
	for range 200 {
		if n := pgtest.Query(t, dsn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"); n[0] == "0" {
			return
		}
	}
	t.Fatal("a session is at work still")
}

// TestDepositFails: an archive that cannot be read reserves nothing, and the
// error is that of the file.
func TestDepositFails(t *testing.T) {
	t.Parallel()
	s := newERP(t, articleSQL).capture(articles("A"))["A/down"].Source
	broken := errors.New("a sector is bad")
	for _, good := range []int{0, 100, shelfPiece, 2 * shelfPiece} {
		p := next(t, s, []byte("m"), manifest.Baseline)
		err := s.Deposit(t.Context(), "A/down", p, []byte("m"), func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(noise(1, good)), iotest.ErrReader(broken))), nil
		})
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", good, err)
		}
		if sh, err := s.Shared(t.Context(), "A/down"); err != nil || sh.Pending != nil || len(sh.Kept) > 0 {
			t.Errorf("%+v, %v", sh, err)
		}
	}
}

// TestNextIssue: no issue is given twice, whatever each host believes.
func TestNextIssue(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.capture(articles("A"))
	var mu sync.Mutex
	seen := map[int64]bool{}
	var all sync.WaitGroup
	for host := range 4 {
		all.Go(func() {
			s := NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})
			defer s.Close()
			for i := range 20 {
				n, err := s.NextIssue(context.Background(), "A/down", int64(i*host), 1)
				mu.Lock()
				if err != nil || seen[n] || n <= int64(i*host) {
					t.Errorf("%d, %v", n, err)
				}
				seen[n] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	s := NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})
	defer s.Close()
	if _, err := s.NextIssue(t.Context(), "A/down", 1000, 7); err != nil {
		t.Fatal(err)
	}
	if sh, err := s.Shared(t.Context(), "A/down"); err != nil || sh.Issue != 1001 || sh.Oldest != 7 {
		t.Errorf("%+v, %v", sh, err)
	}
	if _, err := s.NextIssue(t.Context(), "B/down", 0, 0); err == nil {
		t.Error("a stream that is not there was given an issue")
	}
}

// TestOldDatabase: one that was prepared before several hosts could export gets
// what is missing, and keeps what it has.
func TestOldDatabase(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := e.capture(articles("A"))["A/down"]
	s.round()
	e.do("DROP TABLE caisseauto.caisseauto_shelf, caisseauto.caisseauto_shelf_large; ALTER TABLE caisseauto.caisseauto_stream DROP COLUMN issue, DROP COLUMN oldest")
	sh, err := s.Shared(t.Context(), "A/down")
	if err != nil || sh.Issue != 0 || sh.Last.Sequence != 1 || sh.Last.Digest != "d" || sh.Baseline != 1 {
		t.Fatalf("%+v, %v", sh, err)
	}
	if n, err := s.NextIssue(t.Context(), "A/down", 5, 1); err != nil || n != 6 {
		t.Errorf("%d, %v", n, err)
	}
	if script, err := s.capture.SQL(t.Context(), e.dsn, SourceOptions{}); err != nil || script != "" {
		t.Errorf("%s, %v", script, err)
	}
	e.do("UPDATE article SET price = 3 WHERE id = 2")
	if got := s.round(); got != "delta article:changes 1" {
		t.Error(got)
	}
	e.do("DROP TABLE caisseauto.caisseauto_shelf, caisseauto.caisseauto_shelf_large; ALTER TABLE caisseauto.caisseauto_stream DROP COLUMN issue, DROP COLUMN oldest")
	e.do("UPDATE article SET price = 4 WHERE id = 2")
	if got := s.round(); got != "delta article:changes 1" { // the reader repairs, too
		t.Error(got)
	}
}

// TestMoved: a database that is restored, or fails over, says so.
func TestMoved(t *testing.T) {
	t.Parallel()
	s := newERP(t, articleSQL).capture(articles("A"))["A/down"]
	s.round()
	moved := func() bool {
		t.Helper()
		sh, err := s.Shared(t.Context(), "A/down")
		if err != nil {
			t.Fatal(err)
		}
		return sh.Moved
	}
	if moved() {
		t.Error("moved at once")
	}
	s.e.do("UPDATE caisseauto.caisseauto_stream SET cursor = replace(cursor, '/00000001/', '/00000002/')") // another timeline
	if !moved() {
		t.Error("not moved")
	}
}
