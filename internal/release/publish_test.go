//go:build unix

package release_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"caisseauto/internal/release"
	"caisseauto/manifest"
)

// TestDeterministic: the same files make the same bytes, whenever and by
// whomever they were written.
func TestDeterministic(t *testing.T) {
	bodies := map[string]string{"bin/check": works, "README": "version 1.0\n", "z/y/x": "deep", "Z long name/" + strings.Repeat("n", 90) + "/" + strings.Repeat("m", 90): "long", "empty": ""}
	var archives, statements [][]byte
	for n, mode := range []os.FileMode{0o600, 0o664} {
		w := newWorld(t)
		order := []string{"bin/check", "README", "z/y/x", "empty"}
		if n == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			w.files("src", map[string]string{name: bodies[name]})
		}
		dir := w.files("src", bodies)
		check(t, os.Chmod(filepath.Join(dir, "README"), mode))
		check(t, os.Chtimes(filepath.Join(dir, "README"), noon, noon.Add(time.Duration(n)*time.Hour)))
		w.publish(release.Request{Folder: dir, Product: "caisse", Version: "1.0", OS: "linux", Arch: "amd64", Probe: &manifest.Probe{Command: []string{"bin/check"}, Seconds: 5}})
		archives = append(archives, w.read(w.path("outbox/0000000001.tar.zst")))
		statements = append(statements, w.read(w.path("outbox/0000000001.manifest.json")), w.read(w.path("outbox/0000000001.manifest.json.sig")))
	}
	if !bytes.Equal(archives[0], archives[1]) || !bytes.Equal(statements[0], statements[2]) || !bytes.Equal(statements[1], statements[3]) {
		t.Error("the same folder twice is not the same package")
	}
}

// TestRefusedFolders: what packages do not carry is refused by its name, and
// nothing is published.
func TestRefusedFolders(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world, dir string)
		says  string
	}{
		"symbolic link":           {func(w *world, dir string) { check(w.t, os.Symlink("README", dir+"/link")) }, "link is no regular file"},
		"link that leads outside": {func(w *world, dir string) { check(w.t, os.Symlink("/etc", dir+"/etc")) }, "etc is no regular file"},
		"FIFO":                    {func(w *world, dir string) { check(w.t, syscall.Mkfifo(dir+"/fifo", 0o644)) }, "fifo is no regular file"},
		"socket": {func(w *world, dir string) {
			l, err := net.Listen("unix", dir+"/s")
			check(w.t, err)
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			l.Close()
		}, "s is no regular file"},
		"setuid":                    {func(w *world, dir string) { check(w.t, os.Chmod(dir+"/bin/check", 0o755|os.ModeSetuid)) }, "bin/check has the mode"},
		"setgid":                    {func(w *world, dir string) { check(w.t, os.Chmod(dir+"/README", 0o644|os.ModeSetgid)) }, "README has the mode"},
		"name not ASCII":            {func(w *world, dir string) { w.files("bad", map[string]string{"Écran.txt": ""}) }, "only printable ASCII"},
		"name of a device":          {func(w *world, dir string) { w.files("bad", map[string]string{"x/aux.txt": ""}) }, "name of a device"},
		"name with a colon":         {func(w *world, dir string) { w.files("bad", map[string]string{"a:b": ""}) }, "which Windows does not take"},
		"names that differ in case": {func(w *world, dir string) { w.files("bad", map[string]string{"readme": ""}) }, "one name where case does not count"},
		"nothing": {func(w *world, dir string) {
			check(w.t, os.RemoveAll(dir))
			check(w.t, os.MkdirAll(dir+"/empty", 0o755))
		}, "there is no file in it"},
		"no such folder":           {func(w *world, dir string) { check(w.t, os.RemoveAll(dir)) }, "no such file"},
		"probe that is not there":  {func(w *world, dir string) { check(w.t, os.Remove(dir+"/bin/check")) }, "no program among the files"},
		"probe that is no program": {func(w *world, dir string) { check(w.t, os.Chmod(dir+"/bin/check", 0o644)) }, "no program among the files"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.files("bad", map[string]string{"bin/check": works, "README": "x"})
			c.spoil(w, dir)
			_, err := w.pub.Publish(t.Context(), release.Request{Folder: dir, Product: "caisse", Version: "1.0", OS: "linux", Arch: "amd64", Probe: &manifest.Probe{Command: []string{"bin/check"}, Seconds: 5}})
			if !errors.Is(err, release.ErrRequest) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "nothing was published") {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			for _, left := range names(t, w.path("outbox")) {
				if left != ".lock" {
					t.Errorf("%s is left", left)
				}
			}
		})
	}
}

// TestEmptyFolders are left out, and told.
func TestEmptyFolders(t *testing.T) {
	w := newWorld(t)
	q := w.request("1.0", works)
	check(t, os.MkdirAll(filepath.Join(q.Folder, "log", "old"), 0o755))
	if p := w.publish(q); strings.Join(p.Empty, " ") != "log log/old" {
		t.Errorf("%q", p.Empty)
	}
}

// TestReleases: which number a version gets, and which ones are refused.
func TestReleases(t *testing.T) {
	w := newWorld(t)
	first := w.request("1.0", works)
	w.publish(first)
	if p := w.publish(first); p.Sealed || p.Batch.Sequence != 1 {
		t.Errorf("published twice: %+v", p)
	}
	first.Arch = "arm64"
	if p := w.publish(first); p.Batch.Release != 1 || p.Batch.Sequence != 2 {
		t.Errorf("for another processor: release %d", p.Batch.Release)
	}
	if p := w.publish(w.request("1.1", works)); p.Batch.Release != 2 {
		t.Errorf("the next version: release %d", p.Batch.Release)
	}
	jump := w.request("1.2", works)
	jump.Release = 10
	w.publish(jump)
	if p := w.publish(w.request("1.3", works)); p.Batch.Release != 11 {
		t.Errorf("after a jump: release %d", p.Batch.Release)
	}
	other := w.request("9", works)
	other.Product = "base"
	if p := w.publish(other); p.Batch.Release != 1 {
		t.Errorf("another product: release %d", p.Batch.Release)
	}
	before := tree(t, w.path("outbox"))
	for name, spoil := range map[string]func(q *release.Request){
		"another content under a version": func(q *release.Request) { q.Notes = "other words" },
		"a release that is not newer":     func(q *release.Request) { q.Version, q.Release = "2.0", 11 },
		"an older release":                func(q *release.Request) { q.Version, q.Release = "2.0", 3 },
		"another machine's older version": func(q *release.Request) { q.Arch, q.Version, q.OS = "amd64", "1.0", "linux" },
		"a product that cannot be one":    func(q *release.Request) { q.Product = "Caisse" },
		"a version that cannot be one":    func(q *release.Request) { q.Version = "a b" },
		"a requirement of itself": func(q *release.Request) {
			q.Version, q.Requires = "2.0", []manifest.Requirement{{Product: "caisse", Release: 50}}
		},
		"a probe without end": func(q *release.Request) {
			q.Version, q.Probe = "2.0", &manifest.Probe{Command: []string{"bin/check"}, Seconds: 0}
		},
		"a way back to nothing": func(q *release.Request) {
			*q = release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 11, To: 3}}
		},
		"a way back that leads on": func(q *release.Request) {
			*q = release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 1, To: 2}}
		},
		"a way back elsewhere": func(q *release.Request) {
			*q = release.Request{Product: "caisse", OS: "windows", Arch: "amd64", Rollback: &manifest.Rollback{From: 11, To: 1}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := w.described("1.3")
			spoil(&q)
			if _, err := w.pub.Publish(t.Context(), q); !errors.Is(err, release.ErrRequest) {
				t.Errorf("%v", err)
			}
		})
	}
	after := tree(t, w.path("outbox"))
	delete(before, ".staging") // an empty folder
	delete(after, ".staging")
	if !maps.Equal(before, after) {
		t.Errorf("the outbox has %q, had %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}
}

// TestChangesWhilePacked: a file that changes while it is read makes no package.
func TestChangesWhilePacked(t *testing.T) {
	w := newWorld(t)
	q := w.request("1.0", works)
	w.pub.Progress = func(int64, int64) {
		f, err := os.OpenFile(filepath.Join(q.Folder, "lib/a/data.txt"), os.O_APPEND|os.O_WRONLY, 0)
		check(t, err)
		_, err = io.WriteString(f, "more")
		check(t, errors.Join(err, f.Close()))
	}
	if _, err := w.pub.Publish(t.Context(), q); err == nil || !strings.Contains(err.Error(), "lib/a/data.txt") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(w.path("outbox/0000000001.manifest.json")); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was published")
	}
}

// TestAdopt: a new machine goes on from a copy of the drop; one that published
// something else finds out.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.publish(w.request("1.1", works))
	w.run()
	check(t, os.Rename(w.path("outbox"), w.path("old")))
	if n, top, err := w.pub.Adopt(w.path("old")); n != 2 || top != 2 || err != nil {
		t.Fatalf("%d, %d, %v", n, top, err)
	}
	w.now = w.now.Add(time.Minute)
	if p := w.publish(w.request("1.2", works)); p.Batch.Sequence != 3 || p.Batch.Release != 3 {
		t.Errorf("%+v", p.Batch)
	}
	if got := outcomes(w.run()); got != "caisse 1.2 installed" { // its head counts on from the one on the drop
		t.Errorf("%s", got)
	}
	if n, _, err := w.pub.Adopt(w.path("old")); n != 0 || err != nil { // behind us
		t.Errorf("%d, %v", n, err)
	}

	// The old machine, brought back, publishes too.
	w.pub.Outbox = w.path("old")
	w.publish2("1.9")
	if _, _, err := w.pub.Adopt(w.path("outbox")); !errors.Is(err, release.ErrForked) {
		t.Errorf("%v", err)
	}
	w.pub.Outbox = w.path("third")
	check(t, os.WriteFile(w.path("outbox/0000000003.manifest.json"), []byte("garbage"), 0o644))
	if _, _, err := w.pub.Adopt(w.path("outbox")); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("garbage on the drop: %v", err)
	}
}

// publish2 publishes without carrying anything to the till.
func (w *world) publish2(version string) {
	w.t.Helper()
	_, err := w.pub.Publish(w.t.Context(), w.request(version, works))
	check(w.t, err)
}

// TestRenew: a head that has expired is signed anew.
func TestRenew(t *testing.T) {
	w := newWorld(t)
	if b, err := w.pub.Renew(); b != nil || err != nil {
		t.Errorf("nothing is published: %v, %v", b, err)
	}
	w.publish(w.request("1.0", works))
	w.now = w.now.Add(25 * time.Hour)
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrStale) {
		t.Errorf("%v", err)
	}
	if b, err := w.pub.Renew(); err != nil || b.Sequence != 1 {
		t.Errorf("%v, %v", b, err)
	}
	w.carry()
	w.run()
	w.runs("caisse", "1.0")
}

// TestMayNotPublish: a key that tills would not accept seals nothing.
func TestMayNotPublish(t *testing.T) {
	w := newWorld(t)
	q := w.request("1.0", works)
	w.pub.Signer = w.server
	if _, err := w.pub.Publish(t.Context(), q); !errors.Is(err, manifest.ErrKey) || !strings.Contains(err.Error(), "nothing was sealed") {
		t.Errorf("the server's key: %v", err)
	}
	w.pub.Signer = newKey(t, "stranger")
	if _, err := w.pub.Publish(t.Context(), q); !errors.Is(err, manifest.ErrKey) || !strings.Contains(err.Error(), `release@acme namespaces="package@caisseauto,head@caisseauto" ssh-ed25519`) {
		t.Errorf("a stranger's key: %v", err)
	}
	if left := names(t, w.path("outbox")); len(left) > 0 {
		t.Errorf("%v", left)
	}
}
