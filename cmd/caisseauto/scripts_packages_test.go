//go:build unix

package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// sealed puts packages into a release manager's outbox, as he has sealed them,
// and returns their folder.
func (c *carried) sealed(numbers ...int64) string {
	c.t.Helper()
	const from = "../../testdata/vectors/good/ACME/packages/"
	to := mustDir(c.dir, "release/outbox/ACME/packages") + "/"
	copied := []string{"HEAD.json", "HEAD.json.sig"}
	for _, n := range numbers {
		copied = append(copied, name(n, manifest.ArchiveExt), name(n, manifest.SignatureExt), name(n, manifest.ManifestExt))
	}
	for _, file := range copied {
		b, err := os.ReadFile(from + file)
		check(c.shop, err)
		c.write(to+file, b)
	}
	return to
}

// sealedLarge is one more package, of some megabytes. Only its parts are of
// interest: the scripts do not verify signatures.
func (c *carried) sealedLarge(n int64) {
	c.t.Helper()
	to := c.sealed()
	archive := make([]byte, 4<<20)
	_, _ = rand.Read(archive)
	c.write(to+name(n, manifest.ArchiveExt), archive)
	c.write(to+name(n, manifest.SignatureExt), []byte("signature"))
	c.write(to+name(n, manifest.ManifestExt), fmt.Appendf(nil, "{\"sha256\": \"%x\"}\n", sha256.Sum256(archive)))
}

// TestShopScriptsPackages: software goes from a release manager to the tills
// that ask for it, each archive once.
func TestShopScriptsPackages(t *testing.T) {
	c := newCarried(t)
	outbox, far, inbox := c.sealed(1, 2), c.far+"/ACME/packages/", c.path("till-001/inbox/ACME/packages")+"/"
	same := func(what string, want, got map[string]string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s:\n%s", what, d)
		}
	}
	for range 2 { // the second time there is nothing to do
		c.script(0, "push", "release")
		same("packages (-outbox +drop)", c.files(outbox), c.files(far))
	}
	if list, err := os.ReadDir(c.far + "/ACME"); err != nil || len(list) != 1 {
		t.Fatalf("push release made more than its own folder: %v, %v", list, err)
	}
	c.script(0, "pull", "001", "-p")
	same("packages (-drop +inbox)", c.files(far), c.files(inbox))

	// What was there once, and an update is done with, is not fetched again; a
	// manifest is, for the chain needs it.
	for _, n := range []string{name(1, manifest.ArchiveExt), name(2, manifest.ArchiveExt), name(1, manifest.ManifestExt)} {
		check(c.shop, os.Remove(inbox+n))
	}
	c.sealed(3)
	c.script(0, "push", "release")
	c.script(0, "pull", "001", "-p")
	want := c.files(far)
	delete(want, name(1, manifest.ArchiveExt))
	delete(want, name(2, manifest.ArchiveExt))
	same("one more (-drop +inbox)", want, c.files(inbox))
	c.script(0, "pull", "001", "-p", "-a")
	same("all (-drop +inbox)", c.files(far), c.files(inbox))

	// Killed in the middle, and gone on with.
	c.sealedLarge(4)
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		c.write(far+name(4, ext), c.read(outbox+name(4, ext)))
	}
	archive := name(4, manifest.ArchiveExt)
	c.killedScript("pull", "001", inbox+archive+".part", "-p")
	if _, err := os.Stat(inbox + archive); err == nil {
		t.Fatal("half an archive is in the inbox")
	}
	c.script(0, "pull", "001", "-p")
	same("large (-drop +inbox)", c.files(far), c.files(inbox))
}

// TestShopScriptsPackagesRefuse: what must not be shipped or fetched.
func TestShopScriptsPackagesRefuse(t *testing.T) {
	c := newCarried(t)
	c.script(0, "push", "server")
	outbox, far, inbox := c.sealed(1, 2, 3), c.far+"/ACME/packages/", c.path("till-001/inbox")
	c.script(0, "push", "release")

	before := c.files(c.far)
	for _, file := range []string{name(3, manifest.ManifestExt), name(3, manifest.SignatureExt), name(3, manifest.ArchiveExt)} {
		check(c.shop, os.Remove(outbox+file))
	}
	if out := c.script(exitRefused, "push", "release"); !strings.Contains(out, "the outbox ends at "+name(2, manifest.ManifestExt)) ||
		!strings.Contains(out, "caisseauto publish without --no-ship") {
		t.Errorf("an outbox that is behind: %s", out)
	}
	c.sealed(1, 2, 3)
	c.write(outbox+name(2, manifest.ArchiveExt), []byte("another package"))
	if out := c.script(exitRefused, "push", "release"); !strings.Contains(out, name(2, manifest.ArchiveExt)) {
		t.Errorf("another package under a name that is there: %s", out)
	}
	if d := cmp.Diff(before, c.files(c.far)); d != "" {
		t.Errorf("something was shipped (-before +after):\n%s", d)
	}
	c.script(exitUsage, "push", "release", "-p")
	c.script(exitUsage, "pull", "release")
	c.script(exitUsage, "pull", "server", "-p")

	busy, err := carrying(inbox, "ACME/packages")
	check(c.shop, err)
	out := c.script(exitBusy, "pull", "001", "-p")
	busy()
	if files := c.files(inbox); !strings.Contains(out, "ACME/packages") || files["ACME/down/HEAD.json"] == "" || files["ACME/packages/HEAD.json"] != "" {
		t.Errorf("an update is at work on the packages: %s\n%v", out, files)
	}

	// Prices that are damaged do not keep an update back, nor the other way round.
	damage := func(dir string, n int64) (mend func()) {
		file := filepath.Join(c.far, dir, name(n, manifest.ArchiveExt))
		was := c.read(file)
		c.write(file, append([]byte{was[0] ^ 1}, was[1:]...))
		return func() { c.write(file, was) }
	}
	mend := damage("ACME/packages", 2)
	if out := c.script(exitRefused, "pull", "001", "-p"); !strings.Contains(out, "packages/"+name(2, manifest.ArchiveExt)) {
		t.Errorf("a damaged package: %s", out)
	}
	if files := c.files(inbox); files["ACME/packages/HEAD.json"] != "" || files["ACME/packages/"+name(2, manifest.ManifestExt)] != "" {
		t.Errorf("a damaged package is in the inbox: %v", slices.Sorted(maps.Keys(files)))
	}
	mend()
	check(c.shop, os.RemoveAll(filepath.Join(inbox, "ACME/down")))
	damage("ACME/down", 1)
	c.script(exitRefused, "pull", "001", "-p")
	if d := cmp.Diff(c.files(far), c.files(filepath.Join(inbox, "ACME/packages"))); d != "" {
		t.Errorf("packages (-drop +inbox):\n%s", d)
	}
}
