//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/drop"
	"caisseauto/internal/postgres"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// Hosts are servers A and B with one database, one key and one drop, an outbox
// each, and a till.
type hosts struct {
	*world
	dsn     string
	program string
	seen    map[string]string // content of each published file, wherever it was seen first
}

func newHosts(t *testing.T, dossiers ...string) *hosts {
	t.Helper()
	if raceEnabled {
		t.Skip("processes of their own, which scripts/test runs without the race detector")
	}
	h := &hosts{world: &world{t: t, dir: t.TempDir()}, program: programLink(t), seen: map[string]string{}}
	h.dsn = pgtest.Get(t).NewDatabase(t, `CREATE TABLE article(code text PRIMARY KEY, dossier text, label text, price bigint);
		INSERT INTO article SELECT 'A' || n, 'ACME', 'label ' || n, n FROM generate_series(1, 2000) AS n`)
	for _, d := range []string{"a/keys", "b/keys", "till", "drop"} {
		mustDir(h.dir, d)
	}
	pub, err := keys.New(h.path("a/keys/server"), keys.NewOptions{Kind: keys.ECDSA})
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(worldServer, `dsn = "erp.db"`, fmt.Sprintf("driver = \"postgres\"\ndsn = %q", h.dsn), 1)
	for _, d := range dossiers {
		config += strings.ReplaceAll(worldServer[strings.Index(worldServer, "[[dossier]]"):], "ACME", d)
	}
	line := []byte(keys.AllowedLine([]string{"server@acme"}, nil, pub, "") + "\n")
	for _, host := range []string{"a", "b"} {
		h.write(h.path(host+"/server.toml"), []byte(config))
		h.write(h.path(host+"/allowed_signers"), line)
	}
	h.write(h.path("till/allowed_signers"), line)
	h.write(h.path("till/till.toml"), []byte(worldTill))
	if err := os.WriteFile(h.path("b/keys/server"), h.read(h.path("a/keys/server")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := h.run("init", "server", "--config", h.path("a/server.toml")); code != 0 {
		t.Fatal(stderr)
	}
	return h
}

// on starts an export on a host; done returns what it wrote and how it ended.
func (h *hosts) on(host string, args ...string) (p *os.Process, done func() (code int, stdout, stderr string)) {
	h.t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(h.program, append([]string{"export", "--config", h.path(host + "/server.toml")}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return cmd.Process, func() (int, string, string) {
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}
}

// exports runs an export that must do its work.
func (h *hosts) exports(host string, args ...string) string {
	h.t.Helper()
	_, done := h.on(host, args...)
	code, stdout, stderr := done()
	if code != 0 {
		h.t.Fatalf("export on %s: %d: %s", host, code, stderr)
	}
	return stdout
}

// remember holds every published file against what it was when it was first
// seen, in either outbox as on the drop.
func (h *hosts) remember() {
	h.t.Helper()
	for _, dir := range []string{"a/outbox/ACME/down", "b/outbox/ACME/down", "drop/ACME/down"} {
		entries, err := os.ReadDir(h.path(dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			if _, ext, ok := manifest.ParseFileName(e.Name()); !ok || ext == manifest.SignatureExt && !h.committed(dir, e.Name()) {
				continue
			}
			data := manifest.Digest(h.read(filepath.Join(h.path(dir), e.Name())))
			if first, ok := h.seen[e.Name()]; ok && first != data {
				h.t.Fatalf("%s/%s has another content than before", dir, e.Name())
			}
			h.seen[e.Name()] = data
		}
	}
}

// committed reports whether the manifest stands beside a signature.
func (h *hosts) committed(dir, signature string) bool {
	_, err := os.Stat(filepath.Join(h.path(dir), strings.TrimSuffix(signature, ".sig")))
	return err == nil
}

// same compares the till with the database, by value.
func (h *hosts) same() {
	h.t.Helper()
	if d := cmp.Diff(h.erp(), h.tills()); d != "" {
		h.t.Errorf("the till is not what the server is (-server +till):\n%s", d)
	}
}

func (h *hosts) erp() []string {
	return pgtest.Query(h.t, h.dsn, "SELECT code, label, price FROM article WHERE dossier = 'ACME' ORDER BY code COLLATE \"C\"")
}

func (h *hosts) tills() (list []string) {
	h.t.Helper()
	c, err := sqlite3.Open(h.path("till/till.db"), sqlite3.ReadOnly)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	err = c.Query("SELECT code, label, price FROM article ORDER BY code", func(s *sqlite3.Stmt) error {
		list = append(list, strings.Join([]string{s.Text(0), s.Text(1), s.Text(2)}, "\t"))
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// write keeps changing rows until ctx ends.
func (h *hosts) writes(ctx context.Context, n int) error {
	c := pgtest.Connect(h.t, h.dsn)
	rnd := rand.New(rand.NewPCG(uint64(n), 7))
	for i := 0; ctx.Err() == nil; i++ {
		code := fmt.Sprintf("W%d-%d", n, rnd.IntN(50))
		sql := fmt.Sprintf("INSERT INTO article VALUES ('%s', 'ACME', 'new', %d) ON CONFLICT (code) DO UPDATE SET price = excluded.price", code, i)
		switch rnd.IntN(4) {
		case 0:
			sql = fmt.Sprintf("DELETE FROM article WHERE code = '%s'", code)
		case 1:
			sql = fmt.Sprintf("BEGIN; UPDATE article SET price = price + 1 WHERE code = 'A%d'; UPDATE article SET label = 'l%d' WHERE code = '%s'; COMMIT", 1+rnd.IntN(2000), i, code)
		}
		if _, err := c.Exec(context.Background(), sql); err != nil && !strings.Contains(err.Error(), "40P01") {
			return err
		}
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
	}
	return nil
}

// TestHosts: two servers export one dossier all the time, with writers at work,
// and are killed at any moment; a till imports all the time. No host fails, no
// number has two contents, nothing is missing in the end, and no operator was
// asked. 12 seconds by default; with CAISSEAUTO_CRASH=5m that time.
func TestHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are killed for some seconds")
	}
	h := newHosts(t)
	h.exports("a", "--baseline")
	if code, _, stderr := h.run("init", "till", "--config", h.path("till/till.toml"), "--create-schema"); code != 0 {
		t.Fatal(stderr)
	}
	most := 12 * time.Second
	if d, err := time.ParseDuration(os.Getenv("CAISSEAUTO_CRASH")); err == nil {
		most = d
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	var all sync.WaitGroup
	var kills, exports, elsewhere, brought, imports atomic.Int64
	for n := range 3 {
		all.Go(func() {
			if err := h.writes(ctx, n); err != nil {
				t.Error(err)
			}
		})
	}
	for _, host := range []string{"a", "b"} {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
			for ctx.Err() == nil {
				p, done := h.on(host, "--log", "json")
				if rnd.IntN(2) == 0 {
					timer := time.AfterFunc(time.Duration(rnd.IntN(250))*time.Millisecond, func() { _ = p.Kill() })
					defer timer.Stop()
				}
				code, stdout, stderr := done()
				switch {
				case code < 0:
					kills.Add(1)
				case code != 0:
					t.Errorf("export on %s: %d: %s", host, code, stderr)
				case strings.Contains(stdout, "exported now by"):
					elsewhere.Add(1)
				default:
					exports.Add(1)
				}
				if strings.Contains(stderr, "another host") {
					brought.Add(1)
				}
				if rnd.IntN(8) == 0 { // it stays away for a while
					time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
				}
			}
		})
	}
	for ctx.Err() == nil {
		killed(t, h.program, []string{"import", "--config", h.path("till/till.toml")}, time.Hour)
		imports.Add(1)
		h.remember()
	}
	all.Wait()
	h.exports("b")
	h.exports("a")
	if code, _, stderr := h.importNow(); code != 0 {
		t.Fatal(stderr)
	}
	h.remember()
	h.same()
	chained(t, h.world)
	for _, server := range []string{"a", "b"} {
		if code, stdout, stderr := h.run("verify", "--signers", h.path(server+"/allowed_signers"), h.path("drop")); code != 0 {
			t.Errorf("%d: %s%s", code, stdout, stderr)
		}
	}
	t.Logf("%d exports, %d times another was at it, %d kills, %d times another's batch was finished or shipped, %d imports, %d published files",
		exports.Load(), elsewhere.Load(), kills.Load(), brought.Load(), imports.Load(), len(h.seen))
	if kills.Load() == 0 || elsewhere.Load() == 0 || exports.Load() == 0 {
		t.Error("the hosts did not meet")
	}
}

// stopped starts an export that has its claim and has read nothing yet, and
// stops it there.
func (h *hosts) stopped(host string) (p *os.Process, done func() (code int, stdout, stderr string)) {
	h.t.Helper()
	tx, err := pgtest.Connect(h.t, h.dsn).Begin(h.t.Context())
	if err == nil {
		_, err = tx.Exec(h.t.Context(), "LOCK TABLE article")
	}
	if err != nil {
		h.t.Fatal(err)
	}
	p, done = h.on(host)
	for n := 0; pgtest.Query(h.t, h.dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")[0] == "0"; n++ {
		if n == 1000 {
			h.t.Fatal("it does not claim the dossier")
		}
	}
	time.Sleep(100 * time.Millisecond) // it asks for the table again and again
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		h.t.Fatal(err)
	}
	if err := tx.Rollback(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return p, done
}

// TestHostAtWork: whoever comes second to a dossier is told who is at it, goes
// on with the next one, and has done well.
func TestHostAtWork(t *testing.T) {
	h := newHosts(t, "BRAVO")
	h.exports("a")
	p, done := h.stopped("a")
	out := h.exports("b")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(out, fmt.Sprintf("exported now by caisseauto@%s/%d", host, p.Pid)) || !strings.Contains(last, "BRAVO") || strings.Contains(last, "exported now") {
		t.Errorf("%s", out)
	}
	var list []exportResult
	if err := json.Unmarshal([]byte(h.exports("b", "--json", "--dossier", "ACME")), &list); err != nil || len(list) != 1 || list[0].Claimed == "" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, args := range [][]string{{"--baseline"}, {"--new-epoch", "--reason", "test"}} {
		if code, _, stderr := h.run(append([]string{"export", "--config", h.path("b/server.toml"), "--dossier", "ACME"}, args...)...); code != exitBusy || !strings.Contains(stderr, "was not done") {
			t.Errorf("%q: %d, %s", args, code, stderr)
		}
	}
	// It is gone from one moment to the other, and nobody has to know.
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	done()
	for n := 0; strings.Contains(out, "exported now"); n++ {
		if n == 20 {
			t.Fatal(out)
		}
		out = h.exports("b")
	}
}

// TestHostsWithoutTheDrop: what a host seals while the drop cannot be reached,
// the next one ships that reaches it; a host that does not have the newest batch
// waits, and is no case for an operator.
func TestHostsWithoutTheDrop(t *testing.T) {
	h := newHosts(t)
	h.exports("a")
	h.exports("b")
	away := func() {
		h.t.Helper()
		if err := os.Rename(h.path("drop"), h.path("away")); err != nil {
			t.Fatal(err)
		}
	}
	back := func() {
		h.t.Helper()
		if err := os.Rename(h.path("away"), h.path("drop")); err != nil {
			t.Fatal(err)
		}
	}
	export := func(host string, want int, says string) {
		h.t.Helper()
		_, done := h.on(host)
		if code, stdout, stderr := done(); code != want || !strings.Contains(stderr, says) {
			t.Errorf("export on %s: %d, %s%s", host, code, stdout, stderr)
		}
	}
	pgtest.Exec(t, h.dsn, "UPDATE article SET price = 3")
	h.exports("a")
	away()
	pgtest.Exec(t, h.dsn, "UPDATE article SET price = 4")
	export("b", exitUnavailable, "batch 2 was sealed on another host")
	export("a", exitUnavailable, "sealed, but not shipped")
	pgtest.Exec(t, h.dsn, "UPDATE article SET price = 5")
	export("b", exitUnavailable, "sealed, but not shipped") // it has batch 3 by the database
	back()
	h.exports("b")
	if h.manifest(4).Sequence != 4 {
		t.Error("batch 4 is not on the drop")
	}
	chained(t, h.world)
	// What the first one has of a head is older by now, and stays where it is.
	before := h.drop()
	if code, _, stderr := h.run("ship", "--config", h.path("a/server.toml")); code != 0 {
		t.Fatal(stderr)
	}
	if d := cmp.Diff(before, h.drop()); d != "" {
		t.Errorf("ship brings the drop back:\n%s", d)
	}
	pgtest.Exec(t, h.dsn, "UPDATE article SET price = 6")
	h.exports("a") // batch 5, which both hosts' heads name
	h.exports("b")
	if d := cmp.Diff(string(h.read(h.path("b/outbox/ACME/down/HEAD.json"))), string(h.read(h.down("HEAD.json")))); d != "" {
		t.Errorf("the newest head is not on the drop (-b +drop):\n%s", d)
	}
	before = h.drop()
	if code, _, stderr := h.run("ship", "--config", h.path("a/server.toml")); code != 0 {
		t.Fatal(stderr)
	}
	if d := cmp.Diff(before, h.drop()); d != "" {
		t.Errorf("ship brings the head back:\n%s", d)
	}
	// Without a drop of ours: something else carries both outboxes.
	for i, host := range []string{"a", "b", "a", "b"} {
		pgtest.Exec(t, h.dsn, fmt.Sprintf("UPDATE article SET price = %d", 10+i))
		h.exports(host, "--no-ship")
	}
	for _, host := range []string{"b", "a"} {
		if code, _, stderr := h.run("ship", "--config", h.path(host+"/server.toml")); code != 0 {
			t.Fatal(stderr)
		}
	}
	chained(t, h.world)
	if h.manifest(9).Sequence != 9 {
		t.Error("batch 9 is not on the drop")
	}
	if n := pgtest.Query(t, h.dsn, "SELECT count(DISTINCT sequence) FROM caisseauto.caisseauto_shelf WHERE file = 'manifest'"); n[0] != "1" {
		t.Errorf("%s batches are on the shelf, the newest one is to be there", n[0])
	}
	h.remember()
}

// TestStoppedHost: a process that stands still for longer than its claim is
// replaced. When it goes on it seals nothing and leaves the drop alone.
func TestStoppedHost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a claim outlives its host")
	}
	t.Parallel()
	h := newHosts(t)
	h.exports("a")
	pgtest.Exec(t, h.dsn, "UPDATE article SET price = 3")
	p, done := h.stopped("a")
	start := time.Now()
	for strings.Contains(h.exports("b"), "exported now") {
		if time.Since(start) > 25*time.Second {
			t.Fatal("it is not replaced")
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Logf("replaced after %s", time.Since(start).Round(time.Second))
	h.remember()
	before := h.drop()
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := done(); code != exitUnavailable && code != exitBusy {
		t.Errorf("%d: %s", code, stderr)
	}
	if d := cmp.Diff(before, h.drop()); d != "" {
		t.Errorf("the drop was written to:\n%s", d)
	}
	h.remember()
	h.exports("a")
	chained(t, h.world)
}

// drop returns the files of the stream on the drop.
func (h *hosts) drop() map[string]string {
	h.t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(h.path("drop/ACME/down"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		files[e.Name()] = manifest.Digest(h.read(h.down(e.Name())))
	}
	return files
}

// TestFence: without its claim an export writes nothing to the drop any more.
func TestFence(t *testing.T) {
	h := newHosts(t)
	src := postgres.NewSource(h.dsn, postgres.NewCapture(nil), postgres.SourceOptions{})
	claim, err := src.Claim(t.Context(), "ACME/down")
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	local, err := openLocal(h.path("drop"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	d := &fencedDrop{local, claim}
	feed := func(_ context.Context, _ int64, w io.Writer) error { _, err := w.Write([]byte("x")); return err }
	write := func(n int64) error {
		return errors.Join(d.Put(t.Context(), "ACME/down/"+name(n, manifest.ArchiveExt), 1, feed), d.Replace(t.Context(), "ACME/down/HEAD.json", []byte("x")))
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, h.dsn, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	for n, err := range []error{d.Put(t.Context(), "ACME/down/"+name(2, manifest.ArchiveExt), 1, feed), d.Replace(t.Context(), "ACME/down/HEAD.json", []byte("y")), d.Remove(t.Context(), "ACME/down/"+name(1, manifest.ArchiveExt))} {
		if !errors.Is(err, postgres.ErrClaimLost) || exitCode(err) != exitUnavailable {
			t.Errorf("%d: %v", n, err)
		}
	}
	files := h.drop()
	if d := cmp.Diff(map[string]string{name(1, manifest.ArchiveExt): manifest.Digest([]byte("x")), "HEAD.json": manifest.Digest([]byte("x"))}, files); d != "" {
		t.Error(d)
	}
}

// A slowDrop waits before each file until it may go on.
type slowDrop struct {
	drop.Drop
	reached, on chan struct{}
	written     []string
}

func (d *slowDrop) Put(ctx context.Context, name string, size int64, feed drop.Feed) error {
	d.reached <- struct{}{}
	<-d.on
	d.written = append(d.written, name)
	return d.Drop.Put(ctx, name, size, feed)
}

func (d *slowDrop) Replace(ctx context.Context, name string, data []byte) error {
	d.written = append(d.written, name)
	return d.Drop.Replace(ctx, name, data)
}

// TestClaimLostWhileShipping: the file that is being written when the claim goes
// is the last one, and no head follows.
func TestClaimLostWhileShipping(t *testing.T) {
	h := newHosts(t)
	var out, errs strings.Builder
	a := &app{stdout: &out, stderr: &errs, config: h.path("a/server.toml")}
	cfg, err := a.loadServer()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := trustOf(&cfg.Common)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		t.Fatal(err)
	}
	local, err := openLocal(h.path("drop"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	slow := &slowDrop{Drop: local, reached: make(chan struct{}), on: make(chan struct{})}
	src := a.erpOf(cfg).source()
	defer src.Close()
	job := &exportJob{app: a, cfg: cfg, source: src, signer: signer, trust: trust, drop: slow}
	result := make(chan error)
	go func() { result <- job.run(t.Context(), cfg.Dossiers[0]) }()
	<-slow.reached
	pgtest.Exec(t, h.dsn, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	slow.on <- struct{}{}
	if err := <-result; !errors.Is(err, postgres.ErrClaimLost) || exitCode(err) != exitUnavailable {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff([]string{"ACME/down/" + name(1, manifest.ArchiveExt)}, slow.written); d != "" {
		t.Errorf("written:\n%s", d)
	}
	h.exports("b")
	h.exports("a")
	chained(t, h.world)
	h.remember()
}
