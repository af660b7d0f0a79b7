//go:build unix

package release_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/internal/release"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// The variables that make TestReleaseKilled a process to be killed: the folder
// of its world, what it is to do there, and at which of the steps that it can
// see it kills itself.
const (
	killDir  = "CAISSEAUTO_RELEASE_DIR"
	killJob  = "CAISSEAUTO_RELEASE_JOB"
	killStep = "CAISSEAUTO_RELEASE_STEP"
)

// kills is how often a process is killed, at least. With CAISSEAUTO_CRASH=5m it
// is as often as that time allows (scripts/crash).
const kills = 200

// TestReleaseKilled is no test: it is what the others kill.
func TestReleaseKilled(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("a process for TestReleaseKill")
	}
	w := openWorld(t, dir)
	left, _ := strconv.Atoi(os.Getenv(killStep))
	w.steps(func() {
		if left--; left == 0 {
			check(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
		}
	})
	fmt.Println("go")
	fmt.Println("ended:", jobs[os.Getenv(killJob)](w))
}

// jobs are what is killed. Each ends in the same state, however often it was
// begun before.
var jobs = map[string]func(w *world) error{
	"run": func(w *world) error { _, err := w.till.Run(context.Background()); return err },
	"back": func(w *world) error {
		_, err := w.till.Rollback(context.Background(), "caisse", "jean")
		return err
	},
	"publish 1.0": func(w *world) error { return w.publishKilled("1.0") },
	"publish 1.1": func(w *world) error { return w.publishKilled("1.1") },
	"publish back": func(w *world) error {
		_, err := w.pub.Publish(context.Background(), release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 2, To: 1}})
		return err
	},
}

func (w *world) publishKilled(version string) error {
	_, err := w.pub.Publish(context.Background(), w.described(version))
	return err
}

// steps calls step at every moment at which a Till or a Publisher calls
// anybody, each of which lies between two changes of the disk.
func (w *world) steps(step func()) {
	now := func() time.Time { step(); return w.now }
	w.till.Now, w.pub.Now, w.pub.Signer = now, now, stepSigner{w.pub.Signer, step}
	w.till.Busy = func(context.Context) error { step(); return nil }
	w.till.Confirm = func(context.Context, *release.Batch, release.Place) (string, bool, error) {
		step()
		return "nobody", true, nil
	}
	w.till.Progress = func(string, int64, int64) { step() }
	w.pub.Progress = func(int64, int64) { step() }
	w.till.Products[0].Restart = func(context.Context, string) error { step(); return nil }
	w.till.Log, w.pub.Log = slog.New(stepper{slog.DiscardHandler, step}), slog.New(stepper{slog.DiscardHandler, step})
	w.till.Fetch = func(_ context.Context, n int64) error {
		step()
		name := manifest.FileName(n, manifest.ArchiveExt)
		data, err := os.ReadFile(w.path("outbox/" + name))
		return errors.Join(err, os.WriteFile(w.path("inbox/"+name), data, 0o644))
	}
}

// stepSigner makes a step of each signature.
type stepSigner struct {
	keys.Signer
	step func()
}

func (s stepSigner) Sign(message []byte, namespace string) ([]byte, error) {
	s.step()
	return s.Signer.Sign(message, namespace)
}

// stepper makes a step of each line of the log.
type stepper struct {
	slog.Handler
	step func()
}

func (s stepper) Enabled(context.Context, slog.Level) bool  { return true }
func (s stepper) Handle(context.Context, slog.Record) error { s.step(); return nil }
func (s stepper) WithAttrs([]slog.Attr) slog.Handler        { return s }
func (s stepper) WithGroup(string) slog.Handler             { return s }

// killed does a job in another process, and kills it: at a step, or else after
// a while. It reports whether it came to its end before.
func (w *world) killed(job string, step int, after time.Duration) (ended bool) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestReleaseKilled$")
	cmd.Env = append(os.Environ(), killDir+"="+w.dir, killJob+"="+job, killStep+"="+strconv.Itoa(step))
	out, err := cmd.StdoutPipe()
	check(w.t, err)
	check(w.t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "go" {
	}
	if step == 0 {
		time.Sleep(after)
		check(w.t, cmd.Process.Kill())
	}
	for lines.Scan() {
		ended = ended || strings.HasPrefix(lines.Text(), "ended:")
	}
	_ = cmd.Wait()
	if !ended && cmd.ProcessState.ExitCode() >= 0 {
		w.t.Fatalf("%s: it was not killed, and did not end: %s", job, cmd.ProcessState)
	}
	return ended
}

// An act is something that a till does, and may be killed in.
type act struct {
	name    string
	prepare func(w *world)
	job     string
	from    string // the version that runs before
	to      string // and after
	through string // what is tried meanwhile; "": to
}

// acts follow one another.
func acts() []act {
	publish := func(version, probe string) func(w *world) {
		return func(w *world) { w.publish(w.request(version, probe)) }
	}
	return []act{
		{"the first one", publish("1.0", works), "run", "", "1.0", ""},
		{"the next one", publish("1.1", works), "run", "1.0", "1.1", ""},
		{"one that does not work", publish("1.2", fails), "run", "1.1", "1.1", "1.2"},
		{"two at once", func(w *world) { publish("1.3", works)(w); publish("1.4", works)(w) }, "run", "1.1", "1.4", "1.3"},
		{"the way back by hand", func(*world) {}, "back", "1.4", "1.3", ""},
		{"the way back that is signed", func(w *world) {
			w.publish(release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 4, To: 2}})
		}, "run", "1.3", "1.1", ""},
		{"and on", publish("1.5", works), "run", "1.1", "1.5", ""},
	}
}

// TestReleaseKill kills a till at each step of each thing that it does, and at
// random moments besides. What runs is always one whole release, as signed; and
// the next run ends where the one would have ended that nobody killed.
func TestReleaseKill(t *testing.T) {
	if testing.Short() || racing {
		t.Skip("processes are killed for some seconds")
	}
	w := newWorld(t)
	killed := 0
	var all []*killing
	for _, a := range acts() {
		a.prepare(w)
		k := &killing{act: a, start: w.clone(t)}
		begin := time.Now()
		k.finish(w) // as it goes when nobody kills it
		k.took, k.want = time.Since(begin), w.outcome()
		all = append(all, k)
		for step := 1; ; step++ {
			if !k.once(t, step, 0) {
				break
			}
			killed++
		}
	}
	steps := killed
	for more := until(t); killed < kills || more(); {
		k := all[rand.IntN(len(all))]
		if k.once(t, 0, time.Duration(rand.Int64N(int64(k.took)*3/2))) {
			killed++
		}
	}
	t.Logf("%d kills at steps, %d at random", steps, killed-steps)
}

// until says whether the time is not over that CAISSEAUTO_CRASH asks for.
func until(t *testing.T) func() bool {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("CAISSEAUTO_CRASH"))
	if err != nil {
		return func() bool { return false }
	}
	end := time.Now().Add(d)
	return func() bool { return time.Now().Before(end) }
}

// A killing is an act from one state of the disk to another.
type killing struct {
	act
	start *world
	took  time.Duration
	want  map[string]string
}

// once kills the act once, looks, and lets it come to its end. It reports false
// when it ended before it could be killed.
func (k *killing) once(t *testing.T, step int, after time.Duration) bool {
	t.Helper()
	w := k.start.clone(t)
	defer func() { check(t, os.RemoveAll(w.dir)) }()
	where := fmt.Sprintf("%s, killed at step %d, after %s", k.name, step, after)
	if w.killed(k.job, step, after) {
		return false
	}
	if is := w.whole(where); is != k.from && is != k.to && is != k.through {
		t.Fatalf("%s: %q runs", where, is)
	}
	k.finish(w)
	w.whole(where)
	got := w.outcome()
	if !maps.Equal(got, k.want) {
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if got[name] != k.want[name] {
				t.Errorf("%s is %.300q\nwant %.300q", name, got[name], k.want[name])
			}
		}
		t.Fatalf("%s: it ends with %q\nwant %q", where, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(k.want)))
	}
	return true
}

// finish does what is left of the act: an update, as the next schedule brings
// it, and once more after what went wrong; an operator asks for his way back
// again where it was not gone.
func (k *killing) finish(w *world) {
	w.t.Helper()
	_, err := w.till.Run(w.t.Context())
	for n := 0; errors.Is(err, durable.ErrLocked) && n < 100; n++ { // its probe was being started, and has the lock until it is
		time.Sleep(10 * time.Millisecond)
		_, err = w.till.Run(w.t.Context())
	}
	if errors.Is(err, release.ErrProbe) {
		_, err = w.till.Run(w.t.Context())
	}
	check(w.t, err)
	at, err := w.till.Products[0].Current()
	check(w.t, err)
	if k.job == "back" && at.Version == k.from {
		check(w.t, jobs["back"](w))
	}
	w.runs("caisse", k.to)
}

// outcome is all that an act leaves behind.
func (w *world) outcome() map[string]string {
	all := w.landscape()
	all["state"] = string(w.read(w.path("till/.state.json")))
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasPrefix(name, "till/caisse") && name != "state" })
	return all
}

// whole wants what current leads to, if it leads anywhere, to be a release of
// which every file is as signed, and no other there. It is written without the
// functions that it is about. It returns the version.
func (w *world) whole(where string) string {
	w.t.Helper()
	target, err := os.Readlink(w.path("till/caisse/current"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	check(w.t, err)
	dir := w.path("till/caisse/" + target)
	name := dir + ".manifest.json"
	m, _, err := manifest.Open(name, stream, w.read(name), w.read(name+".sig"), w.trust)
	if err != nil {
		w.t.Fatalf("%s: %v", where, err)
	}
	if want := fmt.Sprintf("releases/%s-r%d-b%d", m.Version, m.Release, m.Sequence); target != want {
		w.t.Fatalf("%s: current leads to %s, of which %s is signed", where, target, want)
	}
	got := map[string]string{}
	for file, is := range tree(w.t, dir) {
		if mode, body, ok := strings.Cut(is, " "); ok {
			sum := sha256.Sum256([]byte(body))
			got[filepath.ToSlash(file)] = mode + " " + hex.EncodeToString(sum[:])
		}
	}
	for _, f := range m.Files {
		mode := map[string]string{"0644": "-rw-r--r--", "0755": "-rwxr-xr-x"}[f.Mode]
		if got[f.Name] != mode+" "+f.SHA256 {
			w.t.Fatalf("%s: %s of %s is %q", where, f.Name, target, got[f.Name])
		}
	}
	if len(got) != len(m.Files) {
		w.t.Fatalf("%s: %s has %d files, signed are %d", where, target, len(got), len(m.Files))
	}
	return m.Version
}
