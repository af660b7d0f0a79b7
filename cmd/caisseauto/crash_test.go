//go:build unix

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// TestCrash kills export and import with SIGKILL at random moments, over and
// over. One number must never get a second content, and in the end the till
// must hold, by value, what the server holds. 40 kills by default; with
// CAISSEAUTO_CRASH=5m as many as fit that time (scripts/crash).
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are killed for some seconds")
	}
	w := newWorld(t)
	program := programLink(t)
	more := func(kills int) bool { return kills < 40 }
	if d, err := time.ParseDuration(os.Getenv("CAISSEAUTO_CRASH")); err == nil {
		end := time.Now().Add(d)
		more = func(int) bool { return time.Now().Before(end) }
	}
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	seen := map[string]string{}
	kills := 0
	for round := 0; more(kills); round++ {
		w.sql("server/erp.db", fmt.Sprintf(`UPDATE article SET price = %d WHERE code = 'A1%d';
			REPLACE INTO article VALUES('C%d','ACME','crash',%d,'c%[3]d'); DELETE FROM article WHERE code = 'C%d'`,
			round, round%9, round%20, round, (round+7)%20))
		for _, args := range [][]string{{"export", "--config", w.path("server/server.toml")}, {"import", "--config", w.path("till/till.toml")}} {
			if killed(t, program, args, time.Duration(rnd.IntN(150))*time.Millisecond) {
				kills++
			}
			unchanged(t, w, seen)
		}
		if round%5 == 4 {
			settle(t, w)
		}
	}
	settle(t, w)
	chained(t, w)
	t.Logf("%d kills, %d published files", kills, len(seen))
}

// programLink returns a name under which the test binary is the program.
func programLink(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "caisseauto")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// killed runs a command and kills it after a while. It reports whether that
// came before its own end; a command that ended must have ended well, or must
// have met the half of a head.
func killed(t *testing.T, program string, args []string, after time.Duration) bool {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	if err == nil {
		return false
	}
	switch code := cmd.ProcessState.ExitCode(); {
	case code < 0:
		return true
	case code == exitRefused && strings.Contains(errs.String(), "do not belong together") &&
		(strings.Contains(errs.String(), "HEAD.json") || strings.Contains(errs.String(), "/receipts/")):
		// A writer died between the two files of a head or a receipt. Until
		// its next run nobody can tell that from a forged one.
		return false
	}
	t.Fatalf("%v: %v: %s", args, err, errs.String())
	return false
}

// unchanged holds every published file against what it was when it was first
// seen, in the outbox as on the drop: one content per number.
func unchanged(t *testing.T, w *world, seen map[string]string) {
	t.Helper()
	for _, dir := range []string{"server/outbox/ACME/down", "drop/ACME/down"} {
		entries, err := os.ReadDir(w.path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			_, ext, ok := manifest.ParseFileName(e.Name())
			if !ok || ext == manifest.SignatureExt {
				continue
			}
			sum := sha256.Sum256(w.read(filepath.Join(w.path(dir), e.Name())))
			digest := hex.EncodeToString(sum[:])
			// A staged archive may be seen before its manifest commits it: it
			// is already the one.
			if first, ok := seen[e.Name()]; ok && first != digest {
				t.Fatalf("%s/%s has another content than before", dir, e.Name())
			}
			seen[e.Name()] = digest
		}
	}
}

// settle lets both sides run to their end.
func settle(t *testing.T, w *world) {
	t.Helper()
	if code, _, stderr := w.exportNow(); code != 0 {
		t.Fatalf("export after a kill: %d: %s", code, stderr)
	}
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatalf("import after a kill: %d: %s", code, stderr)
	}
	if d := cmp.Diff(w.articles("server/erp.db"), w.articles("till/till.db")); d != "" {
		t.Fatalf("the till is not what the server is (-server +till):\n%s", d)
	}
}

// chained checks that numbers have no hole and each batch names the one before.
func chained(t *testing.T, w *world) {
	t.Helper()
	previous := manifest.NoPrevious()
	n := int64(1)
	for ; ; n++ {
		doc, err := os.ReadFile(w.down(name(n, manifest.ManifestExt)))
		if err != nil {
			break
		}
		if m := w.manifest(n); m.Previous != previous {
			t.Errorf("batch %d names %s as the one before, not %s", n, m.Previous, previous)
		}
		previous = manifest.Digest(doc)
	}
	if files, _ := filepath.Glob(w.down("0*.manifest.json")); int64(len(files)) != n-1 {
		t.Errorf("%d manifests, but number %d is missing", len(files), n)
	}
}
