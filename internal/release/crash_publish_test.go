//go:build unix

package release_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"caisseauto/manifest"
)

// TestReleaseKillPublish kills a release manager at each step and at random
// moments. What he sealed before is published by the next call with the same
// bytes, whatever time it is then, and a till never reads half of it.
func TestReleaseKillPublish(t *testing.T) {
	if testing.Short() || racing {
		t.Skip("processes are killed for some seconds")
	}
	w := newWorld(t)
	check(t, os.Mkdir(w.path("outbox"), 0o755))
	w.request("1.0", works)
	w.request("1.1", works)
	killed := 0
	type sealing struct {
		job   string
		n     int64
		start *world
		took  time.Duration
	}
	var all []sealing
	for _, job := range []string{"publish 1.0", "publish 1.1", "publish back"} {
		s := sealing{job: job, n: int64(len(all) + 1), start: w.clone(t)}
		begin := time.Now()
		check(t, jobs[job](w))
		s.took = time.Since(begin)
		all = append(all, s)
		for step := 1; publishKilled(t, s.start, job, s.n, step, 0); step++ {
			killed++
		}
	}
	for more, tries := until(t), 0; tries < 24 || more(); tries++ {
		s := all[rand.IntN(len(all))]
		if publishKilled(t, s.start, s.job, s.n, 0, time.Duration(rand.Int64N(int64(s.took)))) {
			killed++
		}
	}
	t.Logf("%d kills", killed)
}

// publishKilled kills the job that publishes batch n once, and finishes it. It
// reports false when it ended before it could be killed.
func publishKilled(t *testing.T, start *world, job string, n int64, step int, after time.Duration) bool {
	t.Helper()
	w := start.clone(t)
	defer func() { check(t, os.RemoveAll(w.dir)) }()
	if w.killed(job, step, after) {
		return false
	}
	w.carry()
	_, err := w.till.Run(t.Context()) // may wait, or miss one half of a head
	if version := w.whole(job); err == nil && version == "" && n > 1 {
		t.Errorf("%s: the till has nothing", job)
	}
	name := manifest.FileName(n, manifest.ManifestExt)
	var sealed []byte
	for _, dir := range []string{"outbox/.staging/", "outbox/"} {
		if doc, err := os.ReadFile(w.path(dir + name)); err == nil {
			sealed = doc
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	w.now = noon.Add(time.Hour)
	check(t, jobs[job](w))
	doc := w.read(w.path("outbox/" + name))
	if sealed != nil && !bytes.Equal(doc, sealed) {
		t.Fatalf("%s, killed at step %d, after %s: batch %d was sealed as\n%s\nand is published as\n%s", job, step, after, n, sealed, doc)
	}
	if _, p := w.batch(n); p.Sequence != n || slices.Contains(names(t, w.path("outbox")), manifest.FileName(n+1, manifest.ManifestExt)) {
		t.Fatalf("%s, killed at step %d, after %s: %q", job, step, after, names(t, w.path("outbox")))
	}
	if left := names(t, w.path("outbox/.staging")); len(left) > 0 {
		t.Errorf("%s: staged still: %q", job, left)
	}
	w.carry()
	w.run()
	w.runs("caisse", []string{"", "1.0", "1.1", "1.0"}[n])
	return true
}
