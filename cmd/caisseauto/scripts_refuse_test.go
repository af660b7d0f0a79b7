//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// TestShopScriptsRefuse: what must not be copied, replaced or followed.
func TestShopScriptsRefuse(t *testing.T) {
	c := newCarried(t)
	c.script(0, "push", "server")
	t.Run("foreign files", func(t *testing.T) {
		down := c.far + "/ACME/down/"
		for _, n := range []string{"notes.txt", "0000000002.tar.zst.filepart", "0000000000.tar.zst", "a b", "x\n-rw-r--r-- ? 0 0 9 Nov 24 03:51 0000000007.manifest.json",
			".hidden", "$(touch owned)", "0000000005.tar.zst", "0000000006.manifest.json"} {
			c.write(down+n, []byte("foreign"))
		}
		if err := os.Symlink("/etc/passwd", down+"0000000003.manifest.json"); err != nil {
			t.Fatal(err)
		}
		mustDir(down, "0000000004.tar.zst")
		mustDir(c.far, "ACME/up/$(touch owned)/x")
		want := c.files(c.path("server/outbox/ACME/down"))
		c.script(0, "pull", "001")
		c.script(0, "pull", "server")
		if d := cmp.Diff(want, c.files(c.path("till-001/inbox/ACME/down"))); d != "" {
			t.Errorf("(-outbox +inbox):\n%s", d)
		}
		for _, n := range []string{"0000000005.tar.zst", "0000000006.manifest.json"} { // half a batch of somebody else's
			if err := os.Remove(down + n); err != nil {
				t.Fatal(err)
			}
		}
		c.script(0, "push", "server")
	})
	down := c.far + "/ACME/down/"
	t.Run("a head without end", func(t *testing.T) {
		head := c.path("far/ACME/down/HEAD.json")
		was := c.read(head)
		defer c.write(head, was)
		before := c.files(c.path("till-001/inbox"))
		for _, size := range []int64{16385, 20 << 20} {
			if err := os.Truncate(head, size); err != nil {
				t.Fatal(err)
			}
			want := 0 // passed over: the batches do not need it
			if size > 16<<20 {
				want = exitRefused
			}
			c.script(want, "pull", "001")
			if d := cmp.Diff(before, c.files(c.path("till-001/inbox"))); d != "" {
				t.Errorf("%d bytes (-before +after):\n%s", size, d)
			}
		}
	})
	for _, tt := range []struct {
		name, script, file string
		change             func([]byte) []byte
	}{
		{"another size on the drop, push", "push", down + name(1, manifest.ArchiveExt), func(b []byte) []byte { return append(b, 0) }},
		{"another size on the drop, pull", "pull", down + name(1, manifest.ManifestExt), func(b []byte) []byte { return append(b, '\n') }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := c.read(tt.file)
			c.write(tt.file, tt.change(was))
			defer c.write(tt.file, was)
			side := map[string]string{"push": "server", "pull": "001"}[tt.script]
			before := [2]map[string]string{c.files(c.far), c.files(c.path("till-001/inbox"))}
			if out := c.script(exitRefused, tt.script, side); !strings.Contains(out, filepath.Base(tt.file)) {
				t.Errorf("the message does not name the file: %s", out)
			}
			if d := cmp.Diff(before, [2]map[string]string{c.files(c.far), c.files(c.path("till-001/inbox"))}); d != "" {
				t.Errorf("something was changed:\n%s", d)
			}
		})
	}
	t.Run("another manifest of the same size", func(t *testing.T) {
		c.sql("server/erp.db", "UPDATE client SET nom='x' WHERE code='C1'")
		c.must("server", "export", "--no-ship")
		file := down + name(1, manifest.ManifestExt)
		was := c.read(file)
		c.write(file, []byte(strings.Replace(string(was), "a", "b", 1)))
		before := c.files(c.far)
		c.script(exitRefused, "push", "server")
		if d := cmp.Diff(before, c.files(c.far)); d != "" {
			t.Errorf("something was changed:\n%s", d)
		}
		c.write(file, was)
		c.script(0, "push", "server")
	})
	t.Run("the drop is ahead", func(t *testing.T) {
		for _, ext := range []string{manifest.ArchiveExt, manifest.ManifestExt, manifest.SignatureExt} {
			if err := os.Remove(c.path("server/outbox/ACME/down/" + name(2, ext))); err != nil {
				t.Fatal(err)
			}
		}
		before := c.files(c.far)
		if out := c.script(exitRefused, "push", "server"); !strings.Contains(out, "restored") {
			t.Error(out)
		}
		if d := cmp.Diff(before, c.files(c.far)); d != "" {
			t.Errorf("something was changed:\n%s", d)
		}
	})
	t.Run("a damaged archive", func(t *testing.T) {
		file := down + name(2, manifest.ArchiveExt)
		b := c.read(file)
		b[len(b)/2] ^= 1
		c.write(file, b)
		if out := c.script(exitRefused, "pull", "001"); !strings.Contains(out, name(2, manifest.ArchiveExt)) {
			t.Error(out)
		}
		if _, err := os.Stat(c.path("till-001/inbox/ACME/down/" + name(2, manifest.ManifestExt))); err == nil {
			t.Error("a damaged batch is in the inbox")
		}
	})
}

// TestShopScriptsExitCodes are those of the program.
func TestShopScriptsExitCodes(t *testing.T) {
	c := newCarried(t)
	for _, tt := range []struct {
		name   string
		want   int
		change func(*carried)
	}{
		{"no network", exitUnavailable, func(c *carried) { c.server.port = "1" }},
		{"wrong key", exitDenied, func(c *carried) { c.key = c.path("wrong"); makeKey(t, c.key) }},
		{"unknown server", exitDenied, func(c *carried) { c.server.known = "/dev/null" }},
		{"usage", exitUsage, func(c *carried) { c.far = "/tmp/$(id)" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			copied := *c
			tt.change(&copied)
			for _, script := range []string{"pull", "push"} {
				copied.script(tt.want, script, "server")
			}
		})
	}
	t.Run("ssh is gone before sftp speaks", func(t *testing.T) {
		mustDir(c.dir, "bin")
		c.write(c.path("bin/sftp"), []byte("#!/bin/sh\nkill -s PIPE $$\n"))
		check(c.shop, os.Chmod(c.path("bin/sftp"), 0o755))
		t.Setenv("PATH", c.path("bin")+":"+os.Getenv("PATH"))
		c.script(exitUnavailable, "pull", "server")
		c.script(exitUnavailable, "push", "server")
	})
	t.Run("busy", func(t *testing.T) {
		done, err := carrying(c.path("till-001/inbox"), "ACME/down")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		c.script(exitBusy, "pull", "001")
		other, err := carrying(c.path("server/outbox"), "ACME/down")
		if err != nil {
			t.Fatal(err)
		}
		defer other()
		c.script(exitBusy, "push", "server")
	})
	t.Run("not allowed to write", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere; the jail's test has the case")
		}
		if err := os.Chmod(c.far, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(c.far, 0o700)
		c.script(exitDenied, "push", "server")
	})
	if got := fmt.Sprint(c.files(c.far)); got != "map[]" {
		t.Errorf("the drop holds %s", got)
	}
}
