//go:build unix

package exporter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"caisseauto/exporter"
	changes "caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A mortal source dies after so many steps: from then on its process does
// nothing more. Each call has a step before and one after it.
type mortal struct {
	*postgres.Source
	left int // steps; negative: it lives on
	at   string
}

func (m *mortal) step(name string, do func() error) error {
	for _, when := range []string{"before ", "after "} {
		if m.at != "" {
			return errCrash
		}
		if m.left == 0 {
			m.at = when + name
			return errCrash
		}
		m.left--
		if when == "before " {
			if err := do(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mortal) Shared(ctx context.Context, stream string) (sh manifest.Shared, err error) {
	return sh, m.step("Shared", func() error { sh, err = m.Source.Shared(ctx, stream); return err })
}

func (m *mortal) Read(ctx context.Context, stream string, full bool, sink changes.Sink) (x manifest.Extract, err error) {
	err = m.step("Read", func() error { x, err = m.Source.Read(ctx, stream, full, sink); return err })
	return x, err
}

func (m *mortal) Deposit(ctx context.Context, stream string, p manifest.Pending, document []byte, archive func() (io.ReadCloser, error)) error {
	return m.step("Deposit", func() error { return m.Source.Deposit(ctx, stream, p, document, archive) })
}

func (m *mortal) Signature(ctx context.Context, stream string, p manifest.Position, sig []byte) (counts []byte, err error) {
	err = m.step("Signature", func() error { counts, err = m.Source.Signature(ctx, stream, p, sig); return err })
	return counts, err
}

// Archive dies in the middle of the file, too.
func (m *mortal) Archive(ctx context.Context, stream string, sequence int64, w io.Writer) error {
	return m.step("Archive", func() error {
		return m.Source.Archive(ctx, stream, sequence, writer(func(b []byte) (int, error) {
			half := len(b) / 2
			if _, err := w.Write(b[:half]); err != nil {
				return 0, err
			}
			return len(b), m.step("a piece", func() error { _, err := w.Write(b[half:]); return err })
		}))
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (m *mortal) Publish(ctx context.Context, stream string, p manifest.Pending) error {
	return m.step("Publish", func() error { return m.Source.Publish(ctx, stream, p) })
}

func (m *mortal) Advance(ctx context.Context, stream, cursor string) error {
	return m.step("Advance", func() error { return m.Source.Advance(ctx, stream, cursor) })
}

func (m *mortal) TakeOff(ctx context.Context, stream string, upTo int64) error {
	return m.step("TakeOff", func() error { return m.Source.TakeOff(ctx, stream, upTo) })
}

func (m *mortal) NextIssue(ctx context.Context, stream string, above, oldest int64) (issue int64, err error) {
	err = m.step("NextIssue", func() error { issue, err = m.Source.NextIssue(ctx, stream, above, oldest); return err })
	return issue, err
}

// Hosts are several servers with one database, one key and one drop.
type hosts struct {
	t       *testing.T
	dsn     string
	dir     string
	signer  keys.Signer
	trust   *keys.Trust
	capture *postgres.Capture
	now     time.Time
	seen    map[string]string // content of each published file, wherever it was seen first
	head    manifest.Head     // of the drop
	issues  map[int64]string  // heads by their issue, wherever they were written
	died    string            // where the newest export died, "" when it did not
}

// newHosts makes them with an ECDSA key: each of its signatures is another one.
func newHosts(t *testing.T) *hosts {
	t.Helper()
	if raceEnabled {
		t.Skip("hosts take turns, which scripts/test runs without the race detector")
	}
	h := &hosts{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), seen: map[string]string{}, issues: map[int64]string{}}
	h.dsn = pgtest.Get(t).NewDatabase(t, `CREATE TABLE article(code text PRIMARY KEY, price int, picture bytea);
		INSERT INTO article SELECT 'A' || n, n, (SELECT decode(string_agg(md5(n || '.' || m), ''), 'hex') FROM generate_series(1, 20000) AS m) FROM generate_series(1, 4) AS n`)
	h.capture = postgres.NewCapture(map[string]database.SourceConfig{"ACME/down": {Tables: []database.TableConfig{{Name: "article", Columns: true}}}})
	if err := h.capture.Install(t.Context(), h.dsn, postgres.SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	pub, err := keys.New(filepath.Join(h.dir, "key"), keys.NewOptions{Kind: keys.ECDSA})
	if err == nil {
		h.signer, err = keys.Load(filepath.Join(h.dir, "key"), nil)
	}
	if err == nil {
		h.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedLine([]string{"server@acme"}, nil, pub, "")))
	}
	if err == nil {
		err = os.Mkdir(h.drop(), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hosts) drop() string              { return filepath.Join(h.dir, "drop") }
func (h *hosts) outbox(host string) string { return filepath.Join(h.dir, host) }

// host starts one process of a host that dies after so many steps.
func (h *hosts) host(name string, steps int) (*exporter.Exporter, *mortal) {
	m := &mortal{Source: postgres.NewSource(h.dsn, h.capture, postgres.SourceOptions{}), left: steps}
	return &exporter.Exporter{Source: m, Stream: "ACME/down", Outbox: h.outbox(name), Signer: h.signer, Principal: "server@acme",
		Trust: h.trust, Now: func() time.Time { return h.now }}, m
}

// look is what an export sees of the drop.
func (h *hosts) look(o *exporter.Options) {
	files := h.files(h.drop())
	for name := range files {
		if n, ext, ok := manifest.ParseFileName(name); ok {
			o.Seen = max(o.Seen, n)
			if ext == manifest.ArchiveExt && (o.Oldest == 0 || n < o.Oldest) {
				o.Oldest = n
			}
		}
	}
	o.SeenHead, o.Issue = h.head.Position(), h.head.Issue
	oldest := o.Oldest
	o.OnDrop = func(n int64) bool {
		_, archive := files[manifest.FileName(n, manifest.ArchiveExt)]
		_, document := files[manifest.FileName(n, manifest.ManifestExt)]
		return document && (archive || n < oldest)
	}
}

// files returns the batches' files of a folder.
func (h *hosts) files(dir string) map[string]string {
	h.t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	for _, entry := range entries {
		if _, _, ok := manifest.ParseFileName(entry.Name()); ok {
			data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				h.t.Fatal(err)
			}
			files[entry.Name()] = string(data)
		}
	}
	return files
}

// ship copies an outbox to the drop, file by file, and the head at last. It
// dies, too.
func (h *hosts) ship(host string, m *mortal) error {
	from, to := h.files(h.outbox(host)), h.files(h.drop())
	names := []string{}
	for name := range from {
		n, ext, _ := manifest.ParseFileName(name)
		_, there := to[name]
		_, whole := from[manifest.FileName(n, manifest.ArchiveExt)]
		if there && to[name] != from[name] {
			h.t.Fatalf("%s of %s is another one on the drop", name, host)
		}
		if !there && whole {
			names = append(names, fmt.Sprintf("%010d %d %s", n, slices.Index([]string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt}, ext), name))
		}
	}
	if behind := newestOf(from); behind < newestOf(to) {
		h.t.Fatalf("%s is at %d and the drop at %d: no carrier would take its head there", host, behind, newestOf(to))
	}
	slices.Sort(names)
	for _, name := range names {
		name = name[strings.LastIndex(name, " ")+1:]
		err := m.step("a file", func() error { return os.WriteFile(filepath.Join(h.drop(), name), []byte(from[name]), 0o644) })
		if err != nil {
			return err
		}
	}
	return m.step("the head", func() error {
		doc, err := os.ReadFile(filepath.Join(h.outbox(host), manifest.HeadName))
		if err != nil {
			return err
		}
		h.newHead(host, doc)
		return nil
	})
}

// newestOf returns the highest number that has a manifest.
func newestOf(files map[string]string) (newest int64) {
	for name := range files {
		if n, ext, _ := manifest.ParseFileName(name); ext == manifest.ManifestExt {
			newest = max(newest, n)
		}
	}
	return newest
}

// newHead looks at a head that arrives on the drop as a till does.
func (h *hosts) newHead(host string, doc []byte) {
	h.t.Helper()
	var head manifest.Head
	if err := json.Unmarshal(doc, &head); err != nil {
		h.t.Fatal(err)
	}
	if head.Issue <= h.head.Issue || head.Sequence < h.head.Sequence || head.Oldest < h.head.Oldest || head.Baseline < h.head.Baseline {
		h.t.Errorf("%s writes the head %+v after %+v", host, head, h.head)
	}
	files := h.files(h.drop())
	for n := head.Oldest; n <= head.Sequence; n++ {
		for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
			if _, ok := files[manifest.FileName(n, ext)]; !ok {
				h.t.Fatalf("the head of %s names %d to %d, and %s is not on the drop", host, head.Oldest, head.Sequence, manifest.FileName(n, ext))
			}
		}
	}
	h.head = head
}

// remember holds every file against what it was when it was first seen: one
// content a number, and one signature.
func (h *hosts) remember(dirs ...string) {
	h.t.Helper()
	for _, dir := range dirs {
		for name, data := range h.files(dir) {
			if first, ok := h.seen[name]; ok && first != data {
				h.t.Fatalf("%s/%s has another content than before", dir, name)
			}
			h.seen[name] = data
		}
	}
}

// rememberHead sees to it that no two heads have one issue.
func (h *hosts) rememberHead(host string) {
	h.t.Helper()
	doc, err := os.ReadFile(filepath.Join(h.outbox(host), manifest.HeadName))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var head manifest.Head
	if err == nil {
		err = json.Unmarshal(doc, &head)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if first, ok := h.issues[head.Issue]; ok && first != string(doc) {
		h.t.Fatalf("two heads have the issue %d:\n%s%s", head.Issue, first, doc)
	}
	h.issues[head.Issue] = string(doc)
}

// export is one run of a host. It returns errCrash when it died.
func (h *hosts) export(host string, steps int, away bool, o exporter.Options) (exporter.Result, error) {
	h.t.Helper()
	e, m := h.host(host, steps)
	defer m.Source.Close()
	if !away {
		h.look(&o)
		if h.head.Sequence > 0 {
			o.Confirmed = h.head.Position()
		}
	}
	r, err := e.Run(h.t.Context(), o)
	if err == nil && !away {
		if err = h.ship(host, m); err == nil {
			err = h.prune(e, m, r, o)
		}
		if err == nil {
			err = e.Clear(h.t.Context(), r.Position.Sequence)
		}
	}
	h.remember(h.outbox(host), h.drop())
	h.rememberHead(host)
	h.died = m.at
	if m.at != "" && !errors.Is(err, errCrash) {
		h.t.Fatalf("%s: died %s, and it says %v", host, m.at, err)
	}
	return r, err
}

// prune removes from the drop and the outbox what the head does not name.
func (h *hosts) prune(e *exporter.Exporter, m *mortal, r exporter.Result, o exporter.Options) error {
	if o.Oldest > 0 && o.Oldest < r.Oldest {
		for name := range h.files(h.drop()) {
			if n, ext, ok := manifest.ParseFileName(name); ok && ext == manifest.ArchiveExt && n < r.Oldest {
				if err := m.step("a removal", func() error { return os.Remove(filepath.Join(h.drop(), name)) }); err != nil {
					return err
				}
			}
		}
	}
	_, err := e.Prune(r.Oldest)
	return err
}

func (h *hosts) sql(sql string) { h.t.Helper(); pgtest.Exec(h.t, h.dsn, sql) }

// chained checks that the drop has every batch from the first on, signed and
// each naming the one before.
func (h *hosts) chained() {
	h.t.Helper()
	files := h.files(h.drop())
	previous := manifest.NoPrevious()
	for n := int64(1); n <= h.head.Sequence; n++ {
		doc, sig := files[manifest.FileName(n, manifest.ManifestExt)], files[manifest.FileName(n, manifest.SignatureExt)]
		m, p, err := manifest.Open(manifest.FileName(n, manifest.ManifestExt), "ACME/down", []byte(doc), []byte(sig), h.trust)
		if err != nil || m.Previous != previous {
			h.t.Fatalf("batch %d: it names %s, not %s: %v", n, m.Previous, previous, err)
		}
		previous = p.Digest
	}
	if files[manifest.FileName(h.head.Sequence+1, manifest.ManifestExt)] != "" || previous != h.head.Digest {
		h.t.Errorf("the head names batch %d (%s)", h.head.Sequence, h.head.Digest)
	}
}

// TestHostDiesAtEachStep: another host finishes, ships and goes on, whatever the
// first one had done, and so does the first one when it comes back.
func TestHostDiesAtEachStep(t *testing.T) {
	h := newHosts(t)
	places := []string{}
	for n, at := 0, "begin"; at != ""; n++ {
		h.now = h.now.Add(time.Hour)
		h.sql(fmt.Sprintf("UPDATE article SET price = price + 1 WHERE code = 'A%d'", 1+n%4))
		_, err := h.export("a", n, false, exporter.Options{Full: n%2 == 0})
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", n, err)
		}
		at = h.died
		places = append(places, at)
		h.sql("UPDATE article SET price = price + 1 WHERE code = 'A1'")
		for _, host := range []string{"b", "a"} {
			if _, err := h.export(host, -1, false, exporter.Options{}); err != nil {
				t.Fatalf("%s after a died %s: %v", host, at, err)
			}
		}
		h.chained()
		if n := pgtest.Query(t, h.dsn, "SELECT count(*) FROM caisseauto.caisseauto_shelf WHERE file IN ('archive', 'manifest')"); n[0] != "0" {
			t.Errorf("%s rows are left on the shelf", n[0])
		}
	}
	for _, want := range []string{"Shared", "Read", "Deposit", "Signature", "Publish", "NextIssue", "a file", "the head", "TakeOff"} {
		if !slices.Contains(places, "before "+want) || !slices.Contains(places, "after "+want) {
			t.Errorf("nobody died at %s: %q", want, places)
		}
	}
}

// TestHosts lets three hosts run in any order, and die at any step, also while
// they finish what another has left; now and then the drop cannot be reached.
// Baselines come when they are due, and not because another host made the last.
func TestHosts(t *testing.T) {
	h := newHosts(t)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	runs, died, unseen := 80, 0, 0
	if testing.Short() {
		runs = 40
	}
	o := exporter.Options{BaselineEvery: 20 * time.Hour, Retention: 30 * time.Hour}
	for n := range runs {
		h.now = h.now.Add(time.Hour)
		if rnd.IntN(4) > 0 {
			h.sql(fmt.Sprintf("INSERT INTO article VALUES ('B%d', %d) ON CONFLICT (code) DO UPDATE SET price = excluded.price", rnd.IntN(20), n))
		}
		steps := -1
		if rnd.IntN(2) == 0 {
			steps = rnd.IntN(30)
		}
		_, err := h.export(string(rune('a'+rnd.IntN(3))), steps, rnd.IntN(6) == 0, o)
		switch {
		case errors.Is(err, errCrash):
			died++
		case errors.Is(err, exporter.ErrUnseen):
			unseen++
		case err != nil:
			t.Fatal(err)
		}
	}
	for _, host := range []string{"c", "b", "a"} {
		if _, err := h.export(host, -1, false, o); err != nil {
			t.Fatal(err)
		}
	}
	h.chained()
	baselines := 0
	for name, doc := range h.files(h.drop()) {
		if strings.HasSuffix(name, manifest.ManifestExt) && strings.Contains(doc, `"kind": "baseline"`) {
			baselines++
		}
	}
	if most := runs/20 + 2; baselines > most || baselines < 2 {
		t.Errorf("%d baselines in %d hours, one is due every 20", baselines, runs)
	}
	if h.head.Oldest < h.head.Baseline-35 {
		t.Errorf("nothing was let go: %+v", h.head)
	}
	t.Logf("%d batches, %d baselines, %d deaths, %d times not seen, oldest %d", h.head.Sequence, baselines, died, unseen, h.head.Oldest)
}

// exports runs a host that must not fail.
func (h *hosts) exports(host string, away bool, o exporter.Options) exporter.Result {
	h.t.Helper()
	r, err := h.export(host, -1, away, o)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *hosts) archives() (list []int64) {
	for name := range h.files(h.drop()) {
		if n, ext, _ := manifest.ParseFileName(name); ext == manifest.ArchiveExt {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// TestHostsWithoutTheDrop: a host that has little in its outbox does not believe
// that the drop has no more, and lets nothing go there that is still kept.
func TestHostsWithoutTheDrop(t *testing.T) {
	h := newHosts(t)
	o := exporter.Options{Retention: 30 * 24 * time.Hour}
	for n := range 3 {
		h.sql(fmt.Sprintf("UPDATE article SET price = %d", n+10))
		h.exports("a", false, o)
	}
	o.Full = true
	h.exports("a", true, o) // the baseline 4 waits
	o.Full = false
	h.sql("UPDATE article SET price = 20")
	if r := h.exports("b", true, o); r.Position.Sequence != 5 || r.Oldest != 1 {
		t.Errorf("%+v", r)
	}
	for _, host := range []string{"b", "a", "b"} {
		h.exports(host, false, o)
		if got, want := fmt.Sprint(h.archives(), h.head.Oldest), "[1 2 3 4 5] 1"; got != want {
			t.Errorf("the drop has %s, want %s", got, want)
		}
	}
	h.chained()
	h.sql("UPDATE article SET price = 30")
	h.exports("a", false, o)
	h.sql("UPDATE article SET price = 31")
	if _, err := h.export("b", -1, true, o); !errors.Is(err, exporter.ErrUnseen) || !strings.Contains(err.Error(), "batch 6 was sealed on another host") {
		t.Errorf("%v", err)
	}
}

// TestHostsAndARestoredDatabase: a database that was put back does not know what
// was sealed since, and an outbox shows only what was sealed there.
func TestHostsAndARestoredDatabase(t *testing.T) {
	h := newHosts(t)
	h.exports("a", false, exporter.Options{})
	h.sql("CREATE TABLE kept AS SELECT * FROM caisseauto.caisseauto_stream; CREATE TABLE kept_shelf AS SELECT * FROM caisseauto.caisseauto_shelf")
	h.exports("a", false, exporter.Options{})
	h.sql("UPDATE article SET price = 5")
	h.exports("b", false, exporter.Options{})
	h.sql(`DELETE FROM caisseauto.caisseauto_stream; INSERT INTO caisseauto.caisseauto_stream SELECT * FROM kept;
		DELETE FROM caisseauto.caisseauto_shelf; INSERT INTO caisseauto.caisseauto_shelf SELECT * FROM kept_shelf`)
	if _, err := h.export("a", -1, true, exporter.Options{}); !errors.Is(err, exporter.ErrUnseen) || !strings.Contains(err.Error(), "older than the head") {
		t.Errorf("%v", err)
	}
	for _, host := range []string{"a", "b", "c"} {
		if _, err := h.export(host, -1, false, exporter.Options{}); !errors.Is(err, exporter.ErrAhead) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if r := h.exports("b", false, exporter.Options{NewEpoch: "restored"}); r.Position.Sequence != 3 || r.Position.Epoch != 2 {
		t.Errorf("%+v", r)
	}
	h.sql("UPDATE article SET price = 7")
	h.exports("a", false, exporter.Options{})
	h.sql("UPDATE caisseauto.caisseauto_stream SET cursor = replace(cursor, '/00000001/', '/00000009/')")
	if _, err := h.export("a", -1, true, exporter.Options{}); !errors.Is(err, exporter.ErrUnseen) || !strings.Contains(err.Error(), "restored or failed over") {
		t.Errorf("%v", err)
	}
	h.sql("UPDATE article SET price = 6")
	if r := h.exports("a", false, exporter.Options{}); r.Kind != manifest.Baseline || r.Position.Sequence != 5 {
		t.Errorf("%+v", r)
	}
}

// TestSpoiltShelf: what is on the shelf and not what was put there is not
// shipped; the host that has it helps, or an operator.
func TestSpoiltShelf(t *testing.T) {
	for _, c := range []struct{ name, sql, says string }{
		{"another archive", `UPDATE caisseauto.caisseauto_shelf_large SET data = set_byte(data, 5, 255 - get_byte(data, 5)) WHERE piece = 1`, "its archive is not the one"},
		{"a piece is gone", `DELETE FROM caisseauto.caisseauto_shelf_large WHERE piece = 1`, "its archive is not the one"},
		{"the server has crashed", `TRUNCATE caisseauto.caisseauto_shelf_large`, "its archive is not there"},
		{"another manifest", `UPDATE caisseauto.caisseauto_shelf SET data = overlay(data PLACING '\x20' FROM 2) WHERE file = 'manifest'`, "number was given to|signature"},
		{"another signature", `UPDATE caisseauto.caisseauto_shelf SET data = overlay(data PLACING '\x20' FROM 200) WHERE file = 'signature'`, "|signature"},
		{"no signature", `DELETE FROM caisseauto.caisseauto_shelf WHERE file = 'signature'`, "|signature"},
	} {
		for n, says := range slices.Repeat(strings.Split(c.says+"|"+c.says, "|")[:2], 2) {
			i, rescue := n%2, n < 2
			if says == "" {
				continue
			}
			at, left := "published", -1
			if i == 0 {
				at, left = "pending", 6 // before its signature
			}
			t.Run(fmt.Sprintf("%s of a batch that is %s, rescued: %t", c.name, at, rescue), func(t *testing.T) {
				h := newHosts(t)
				if _, err := h.export("a", left, true, exporter.Options{}); err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if i == 0 && h.died != "before Signature" {
					t.Fatalf("died %s", h.died)
				}
				h.sql(c.sql)
				_, err := h.export("b", -1, false, exporter.Options{})
				if !errors.Is(err, exporter.ErrLost) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "let that host run its export again") {
					t.Fatalf("%v", err)
				}
				if files := h.files(h.drop()); len(files) > 0 {
					t.Errorf("%d files were shipped", len(files))
				}
				h.sql("UPDATE article SET price = 9")
				if rescue {
					h.exports("a", false, exporter.Options{}) // it has the batch
				} else {
					h.exports("b", false, exporter.Options{NewEpoch: "lost"})
				}
				h.exports("b", false, exporter.Options{})
				if h.head.Sequence != 2 {
					t.Errorf("%+v", h.head)
				}
			})
		}
	}
}

// TestAnotherKey: a host whose key is another one cannot sign what the first has
// left, and publishes nothing.
func TestAnotherKey(t *testing.T) {
	h := newHosts(t)
	if _, err := h.export("a", 6, false, exporter.Options{}); !errors.Is(err, errCrash) || h.died != "before Signature" {
		t.Fatalf("%v, died %s", err, h.died)
	}
	pub, err := keys.New(filepath.Join(h.dir, "key2"), keys.NewOptions{})
	if err != nil {
		t.Fatal(err)
	}
	trust, signer, mine := h.trust, h.signer, "server@acme"
	lines := keys.AllowedLine([]string{mine}, nil, signer.Public(), "") + "\n" + keys.AllowedLine([]string{"other@acme"}, nil, pub, "") + "\n"
	if h.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(lines)); err != nil {
		t.Fatal(err)
	}
	if h.signer, err = keys.Load(filepath.Join(h.dir, "key2"), nil); err != nil {
		t.Fatal(err)
	}
	e, m := h.host("b", -1)
	defer m.Source.Close()
	e.Principal = "other@acme"
	if _, err := e.Run(t.Context(), exporter.Options{}); err == nil || !strings.Contains(err.Error(), "need the same key") {
		t.Errorf("%v", err)
	}
	if files := h.files(h.outbox("b")); len(files) > 0 {
		t.Errorf("%d files were published", len(files))
	}
	h.trust, h.signer = trust, signer
	h.exports("a", false, exporter.Options{})
	h.exports("b", false, exporter.Options{})
	h.chained()
}
