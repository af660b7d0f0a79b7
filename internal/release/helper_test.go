package release_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/release"
	"caisseauto/keys"
	"caisseauto/manifest"
)

const stream = "ACME/packages"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB, seed string) keys.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, ed25519.SeedSize)...)[:ed25519.SeedSize]))
	check(t, err)
	signer, err := keys.NewSigner(s)
	check(t, err)
	return signer
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is a folder in memory, where the system has one that programs may run
// from: tests here wait for a disk most of their time otherwise, and none of
// them cuts the power.
func tempDir(t testing.TB) string {
	t.Helper()
	if !memory() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "release")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	return dir
}

var memory = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("/dev/shm", "release")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "try")
	return os.WriteFile(program, []byte(works), 0o755) == nil && exec.Command(program).Run() == nil
})

// A world has a release manager, his outbox, and a till that reads it as its
// inbox.
type world struct {
	t         testing.TB
	dir       string
	release   keys.Signer
	server    keys.Signer
	trust     *keys.Trust
	pub       *release.Publisher
	till      *release.Till
	now       time.Time
	asked     []string // packages that were confirmed
	restarted []string // releases
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return openWorld(t, tempDir(t))
}

// openWorld is the world in a folder, where another process may have made it.
func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, release: newKey(t, "release"), server: newKey(t, "server"), now: noon}
	allowed := keys.AllowedLine([]string{"release@acme"}, []string{keys.NamespacePackage, keys.NamespaceHead}, w.release.Public(), "") + "\n" +
		keys.AllowedLine([]string{"server@acme"}, []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespacePackage}, w.server.Public(), "") + "\n"
	var err error
	w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(allowed))
	check(t, err)
	now := func() time.Time { return w.now }
	w.pub = &release.Publisher{Stream: stream, Outbox: w.path("outbox"), Signer: w.release, Principal: "release@acme", Trust: w.trust, HeadLife: 24 * time.Hour, Now: now}
	w.till = w.newTill()
	w.till.Now = now
	return w
}

func (w *world) newTill() *release.Till {
	return &release.Till{Stream: stream, Inbox: w.path("inbox"), Folder: w.path("till"), Keep: 3, Trust: w.trust, OS: "linux", Arch: "amd64",
		Products: []release.Product{{Name: "caisse", Folder: w.path("till/caisse")}, {Name: "base", Folder: w.path("till/base")}},
		Confirm: func(_ context.Context, b *release.Batch, _ release.Place) (string, bool, error) {
			w.asked = append(w.asked, b.String())
			return "nobody", true, nil
		},
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// files makes a folder of files. A name that begins with "bin/" is a program.
func (w *world) files(name string, bodies map[string]string) string {
	w.t.Helper()
	dir := w.path(name)
	for file, body := range bodies {
		path := filepath.Join(dir, filepath.FromSlash(file))
		check(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		mode := fs.FileMode(0o640)
		if strings.HasPrefix(file, "bin/") {
			mode = 0o750
		}
		check(w.t, os.WriteFile(path, []byte(body), mode))
	}
	return dir
}

// works and fails are probes.
const (
	works = "#!/bin/sh\nexit 0\n"
	fails = "#!/bin/sh\necho no printer\nexit 3\n"
)

// request describes version of the product caisse, with this probe.
func (w *world) request(version, probe string) release.Request {
	w.t.Helper()
	w.files("src-"+version, map[string]string{"bin/check": probe, "README": "version " + version + "\n", "lib/a/data.txt": strings.Repeat(version, 1000)})
	return w.described(version)
}

// described is the request for files that are there.
func (w *world) described(version string) release.Request {
	return release.Request{Folder: w.path("src-" + version), Product: "caisse", Version: version, OS: "linux", Arch: "amd64", Notes: "Notes of " + version + "\n",
		Probe: &manifest.Probe{Command: []string{"bin/check"}, Seconds: 5}}
}

// publish publishes and carries all to the till.
func (w *world) publish(q release.Request) release.Published {
	w.t.Helper()
	p, err := w.pub.Publish(context.Background(), q)
	check(w.t, err)
	w.carry()
	return p
}

// carry copies the outbox to the inbox.
func (w *world) carry() {
	w.t.Helper()
	check(w.t, os.RemoveAll(w.path("inbox")))
	check(w.t, os.MkdirAll(w.path("inbox"), 0o755))
	entries, err := os.ReadDir(w.path("outbox"))
	check(w.t, err)
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			data, err := os.ReadFile(w.path("outbox/" + e.Name()))
			check(w.t, err)
			check(w.t, os.WriteFile(w.path("inbox/"+e.Name()), data, 0o644))
		}
	}
}

// run runs an update that must succeed.
func (w *world) run() release.Report {
	w.t.Helper()
	r, err := w.till.Run(context.Background())
	check(w.t, err)
	return r
}

// runs wants the version that current leads to, "" for none, and that its
// README says so too.
func (w *world) runs(product, version string) {
	w.t.Helper()
	for i := range w.till.Products {
		p := &w.till.Products[i]
		if p.Name != product {
			continue
		}
		at, err := p.Current()
		check(w.t, err)
		if at.Version != version {
			w.t.Fatalf("%s runs, want %q", at.Name(), version)
		}
		data, err := os.ReadFile(filepath.Join(p.Folder, "current", "README"))
		if version == "" && !errors.Is(err, fs.ErrNotExist) || version != "" && string(data) != "version "+version+"\n" {
			w.t.Fatalf("current has %q, %v", data, err)
		}
	}
}

// outcomes are what a run did, in a word each.
func outcomes(r release.Report) string {
	var words []string
	for _, u := range r.Updates {
		words = append(words, fmt.Sprintf("%s %s %s", u.Product, u.Version, u.Outcome))
	}
	return strings.Join(words, ", ")
}

// tree reads all that is below a folder, with the modes.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		check(t, err)
		fi, err := d.Info()
		check(t, err)
		switch {
		case d.IsDir():
			all[name] = fi.Mode().String()
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(path)
			check(t, err)
			all[name] = fi.Mode().String() + " " + string(data)
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			check(t, err)
			all[name] = "link to " + target
		default:
			all[name] = fi.Mode().String()
		}
		return nil
	}))
	return all
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	check(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return all
}
