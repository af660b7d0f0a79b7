//go:build unix

package release_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"caisseauto/internal/durable"
	"caisseauto/internal/release"
	"caisseauto/manifest"
)

var errBusy = errors.New("a sale is open")

// ready is a victim where 1.1 stands on the disk, whole, and was not switched
// to: a crash, or a sale that was opened, came between.
func ready(t *testing.T) *world {
	t.Helper()
	w := victim(t)
	asked := 0
	w.till.Busy = func(context.Context) error {
		if asked++; asked == 2 {
			return errBusy
		}
		return nil
	}
	if _, err := w.till.Run(t.Context()); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "is ready") {
		t.Fatal(err)
	}
	w.runs("caisse", "1.0")
	return w
}

// TestLeftRelease: a release that a crash has left, or that somebody touched, is
// used only as far as it is exactly what was signed; else it is installed anew,
// and nothing is written through it.
func TestLeftRelease(t *testing.T) {
	ready := ready(t)
	const at = "till/caisse/releases/1.1-r2-b3"
	want := tree(t, ready.path(at))
	in := func(w *world, name string) string { return w.path(at + "/" + name) }
	elsewhere := func(w *world, name string) { // moves it there, and leaves a link
		check(w.t, os.Rename(in(w, name), w.path("elsewhere/"+filepath.Base(in(w, name)))))
		check(w.t, os.Symlink(w.path("elsewhere/"+filepath.Base(in(w, name))), in(w, name)))
	}
	for _, c := range []struct {
		name  string
		do    func(w *world)
		again bool // it must be unpacked again, from its archive
	}{
		{"whole", func(*world) {}, false},
		{"without a statement", func(w *world) { check(w.t, os.Remove(w.path(at+".manifest.json"))) }, false},
		{"with another statement", func(w *world) { w.write(w.path(at+".manifest.json"), []byte("{}")) }, false},
		{"a file missing", func(w *world) { check(w.t, os.Remove(in(w, "README"))) }, true},
		{"a file cut", func(w *world) { check(w.t, os.Truncate(in(w, "README"), 3)) }, true},
		{"a file longer", func(w *world) { w.write(in(w, "README"), []byte("version 1.1\n\n")) }, true},
		{"a changed byte", func(w *world) { w.flip(in(w, "lib/a/data.txt"), 1000) }, true},
		{"a changed mode", func(w *world) { check(w.t, os.Chmod(in(w, "README"), 0o666)) }, true},
		{"a program without its mode", func(w *world) { check(w.t, os.Chmod(in(w, "bin/check"), 0o644)) }, true},
		{"setuid", func(w *world) { check(w.t, os.Chmod(in(w, "bin/check"), 0o755|os.ModeSetuid)) }, true},
		{"a folder that others write to", func(w *world) { check(w.t, os.Chmod(in(w, "lib"), 0o777)) }, true},
		{"a file more", func(w *world) { w.write(in(w, "lib/more"), nil) }, true},
		{"a folder more", func(w *world) { check(w.t, os.Mkdir(in(w, "lib/more"), 0o755)) }, true},
		{"a link more", func(w *world) { check(w.t, os.Symlink("README", in(w, "more"))) }, true},
		{"a link in place of a file", func(w *world) { elsewhere(w, "README") }, true},
		{"a link in place of a folder", func(w *world) { elsewhere(w, "lib") }, true},
		{"a link in place of all", func(w *world) { elsewhere(w, "") }, true},
		{"a fifo in place of a file", func(w *world) { w.fifo(in(w, "README")) }, true},
		{"a file in place of all", func(w *world) { check(w.t, os.RemoveAll(w.path(at))); w.write(w.path(at), nil) }, true},
		{"an empty folder in place of all", func(w *world) {
			check(w.t, os.RemoveAll(w.path(at)))
			check(w.t, os.Mkdir(w.path(at), 0o755))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready.clone(t)
			check(t, os.Mkdir(w.path("elsewhere"), 0o755))
			c.do(w)
			before := tree(t, w.path("elsewhere"))
			unpacked := false
			w.till.Progress = func(what string, _, _ int64) { unpacked = unpacked || what == "installing" }
			if got := outcomes(w.run()); got != "caisse 1.1 installed" || unpacked != c.again {
				t.Errorf("%q, unpacked: %t", got, unpacked)
			}
			if got := tree(t, w.path(at)); !maps.Equal(got, want) {
				t.Errorf("%q\nwant %q", got, want)
			}
			if got := tree(t, w.path("elsewhere")); !maps.Equal(got, before) {
				t.Errorf("elsewhere is %q, was %q", got, before)
			}
			w.tidy()
		})
	}
}

// tidy wants nothing unfinished below the product's folder.
func (w *world) tidy() {
	w.t.Helper()
	for _, name := range append(names(w.t, w.path("till/caisse")), names(w.t, w.path("till/caisse/releases"))...) {
		if strings.HasPrefix(name, ".") || name == "trial.json" {
			w.t.Errorf("%s is left", name)
		}
	}
}

// TestPlanted: a link or file that somebody put where an update writes.
func TestPlanted(t *testing.T) {
	victim := victim(t)
	const caisse, fresh = "till/caisse/", "till/caisse/releases/.new-1.1-r2-b3"
	link := func(w *world, name string) { check(w.t, os.Symlink(w.path("elsewhere"), w.path(name))) }
	while := func(w *world, what string, do func()) { // once, at the first word of that kind
		w.till.Progress = func(is string, _, _ int64) {
			if is == what && do != nil {
				do()
				do = nil
			}
		}
	}
	for _, c := range []struct {
		name string
		do   func(w *world)
		fail string // words of the error; "": it is installed all the same
	}{
		{"where a release is unpacked", func(w *world) { link(w, fresh) }, ""},
		{"the same, just before", func(w *world) {
			w.till.Confirm = func(context.Context, *release.Batch, release.Place) (string, bool, error) {
				link(w, fresh)
				return "", true, nil
			}
		}, ""},
		{"a folder inside, meanwhile", func(w *world) { while(w, "installing", func() { link(w, fresh+"/lib") }) }, "file exists"},
		{"a file inside, meanwhile", func(w *world) {
			while(w, "installing", func() {
				check(w.t, os.Mkdir(w.path(fresh+"/bin"), 0o755))
				check(w.t, os.Symlink(w.path("elsewhere/check"), w.path(fresh+"/bin/check")))
			})
		}, "file exists"},
		{"the statement", func(w *world) {
			check(w.t, os.Symlink(w.path("elsewhere/keep"), w.path(caisse+"releases/1.1-r2-b3.manifest.json")))
		}, ""},
		{"the notes of a trial", func(w *world) {
			w.till.Confirm = func(context.Context, *release.Batch, release.Place) (string, bool, error) {
				check(w.t, os.Symlink(w.path("elsewhere/keep"), w.path(caisse+"trial.json")))
				return "", true, nil
			}
		}, ""},
		{"all releases", func(w *world) {
			check(w.t, os.Rename(w.path(caisse+"releases"), w.path("elsewhere/releases")))
			check(w.t, os.Symlink(w.path("elsewhere/releases"), w.path(caisse+"releases")))
		}, "releases is no folder"},
		{"what runs, a folder", func(w *world) {
			check(w.t, os.Remove(w.path(caisse+"current")))
			check(w.t, os.CopyFS(w.path(caisse+"current"), os.DirFS(w.path(caisse+"releases/1.0-r1-b2"))))
		}, "which release of it runs is not known"},
		{"what runs, elsewhere", func(w *world) {
			check(w.t, os.Remove(w.path(caisse+"current")))
			link(w, caisse+"current")
		}, "none of its releases"},
		{"what runs, gone", func(w *world) {
			check(w.t, os.Remove(w.path(caisse+"current")))
			check(w.t, os.Symlink("releases/9.9-r9-b9", w.path(caisse+"current")))
		}, "not there"},
		{"garbage as notes of a trial", func(w *world) { w.write(w.path(caisse+"trial.json"), []byte("\x00{")) }, "trial.json"},
		{"a folder as notes of a trial", func(w *world) { check(w.t, os.Mkdir(w.path(caisse+"trial.json"), 0o755)) }, "trial.json"},
		{"garbage as a notebook", func(w *world) { w.write(w.path("till/.state.json"), []byte("\x00{")) }, ".state.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := victim.clone(t)
			check(t, os.Mkdir(w.path("elsewhere"), 0o755))
			w.write(w.path("elsewhere/keep"), []byte("what nobody is to touch"))
			c.do(w)
			before, there := w.landscape(), tree(t, w.path("elsewhere"))
			r, err := w.till.Run(t.Context())
			if c.fail == "" && (err != nil || outcomes(r) != "caisse 1.1 installed") {
				t.Errorf("%s, %v", outcomes(r), err)
			}
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Errorf("%v, want %q", err, c.fail)
				}
				w.same(before)
			}
			if got := tree(t, w.path("elsewhere")); !maps.Equal(got, there) {
				t.Errorf("elsewhere is %q, was %q", got, there)
			}
		})
	}
}

// TestTwice: of two updates at one time one is told to come again.
func TestTwice(t *testing.T) {
	w := victim(t)
	second := w.newTill()
	var errs []error
	w.till.Confirm = func(ctx context.Context, _ *release.Batch, _ release.Place) (string, bool, error) {
		_, run := second.Run(ctx)
		_, back := second.Rollback(ctx, "caisse", "jean")
		_, retry := second.Retry(ctx)
		errs = append(errs, run, back, retry, second.Untold(func(manifest.Update) error { return nil }))
		return "", true, nil
	}
	if got := outcomes(w.run()); got != "caisse 1.1 installed" || len(errs) != 4 {
		t.Errorf("%s, %v", got, errs)
	}
	for _, err := range errs {
		if !errors.Is(err, durable.ErrLocked) {
			t.Errorf("%v", err)
		}
	}
}

// TestUmask: what runs can be read by everybody, whoever installed it.
func TestUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.run()
	for name, is := range tree(t, w.path("till/caisse/current")+"/.") {
		if !strings.HasPrefix(is, "-rw-r--r--") && !strings.HasPrefix(is, "-rwxr-xr-x") && is != "drwxr-xr-x" {
			t.Errorf("%s is %.20q", name, is)
		}
	}
}
