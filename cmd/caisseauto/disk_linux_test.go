package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// smallDisk puts a file system of that many bytes at path, until the test
// ends or more room is made with grow.
func smallDisk(t *testing.T, path string, size int) (grow func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(size int, flags uintptr) error {
		return syscall.Mount("tmpfs", path, "tmpfs", flags, fmt.Sprintf("size=%d", size))
	}
	if err := mount(size, 0); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, 0) })
	return func() {
		if err := mount(64<<20, syscall.MS_REMOUNT); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills each disk in turn: exit code 73, nothing half written,
// and with room again the same command goes on.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct{ name, disk string }{
		{"the outbox", "server/outbox"},
		{"the drop", "full"},
		{"the inbox", "till/inbox"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			// Rows that do not compress, and do not fit.
			w.sql("server/erp.db", `INSERT INTO article WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)
				SELECT 'Z'||i, 'ACME', hex(randomblob(400)), i, 'z'||i FROM n`)
			disk := w.path(c.disk)
			if c.disk == "full" {
				w.write(w.path("server/server.toml"), []byte(replaceOnce(worldServer, "file:../drop", "file:../full")))
				w.write(w.path("till/till.toml"), []byte(replaceOnce(worldTill, "file:../drop", "file:../full")))
			} else if err := os.Rename(disk, disk+".old"); err != nil && c.disk == "server/outbox" {
				t.Fatal(err)
			}
			grow := smallDisk(t, disk, 256<<10)
			if c.disk == "till/inbox" {
				if code, _, stderr := w.exportNow(); code != 0 {
					t.Fatal(stderr)
				}
			}
			before := w.articles("till/till.db")
			run := func() (int, string, string) { return w.exportNow() }
			if c.disk == "till/inbox" {
				run = w.importNow
			}
			if code, _, stderr := run(); code != exitCannotWrite {
				t.Fatalf("exit code %d, want 73: %s", code, stderr)
			}
			if w.articles("till/till.db") != before {
				t.Error("the till has changed")
			}
			grow()
			if code, _, stderr := run(); code != 0 {
				t.Fatalf("with room again: exit code %d: %s", code, stderr)
			}
			if code, _, stderr := w.importNow(); code != 0 {
				t.Fatalf("import: exit code %d: %s", code, stderr)
			}
			if w.articles("till/till.db") != w.articles("server/erp.db") {
				t.Error("the till is not what the server is")
			}
		})
	}
}

// TestFullStage: the private copy of a large batch does not fit on its disk.
func TestFullStage(t *testing.T) {
	w := newWorld(t)
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatal(stderr)
	}
	w.sql("server/erp.db", `INSERT INTO article WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 21000)
		SELECT 'Z'||i, 'ACME', hex(randomblob(500)), i, 'z'||i FROM n`)
	if code, _, stderr := w.exportNow(); code != 0 {
		t.Fatal(stderr)
	}
	grow := smallDisk(t, w.path("till/stage"), 256<<10)
	before := w.articles("till/till.db")
	code, _, stderr := w.importNow()
	if code != exitCannotWrite || !strings.Contains(stderr, "stage") {
		t.Fatalf("exit code %d, want 73: %s", code, stderr)
	}
	if w.articles("till/till.db") != before {
		t.Error("the till has changed")
	}
	grow()
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatalf("with room again: exit code %d: %s", code, stderr)
	}
	if w.articles("till/till.db") != w.articles("server/erp.db") {
		t.Error("the till is not what the server is")
	}
}
