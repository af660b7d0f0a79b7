package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stock returns the path of a tool of the system, which scripts/test installs.
func stock(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return p
}

// runTool returns what a tool says.
func runTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestStockTools opens an archive with what every system has.
func TestStockTools(t *testing.T) {
	stock(t, "zstd")
	gnutar := stock(t, "tar")
	archive, _ := write(t, append([]file{{"data/gros.0001.ndjson", string(rows(1<<20, 1))}}, small...))
	path := filepath.Join(t.TempDir(), "0000000001.tar.zst")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string { return runTool(t, name, args...) }
	run("zstd", "-tq", path)
	if out := run("zstd", "-lv", path); !strings.Contains(out, "Check: XXH64") || !strings.Contains(out, "# Zstandard Frames: 1") {
		t.Errorf("zstd -lv:\n%s", out)
	}
	for _, f := range small {
		if out := run(gnutar, "--zstd", "-xOf", path, f.name); out != f.body {
			t.Errorf("tar -xO %s: %q", f.name, out)
		}
	}
	lines := strings.Split(strings.TrimSpace(run(gnutar, "--zstd", "--numeric-owner", "--utc", "-tvf", path)), "\n")
	if len(lines) != len(small)+1 {
		t.Fatalf("tar -t has %d lines", len(lines))
	}
	for _, l := range lines {
		if !strings.HasPrefix(l, "-rw-r--r-- 0/0 ") || !strings.Contains(l, "1970-01-01 00:00") {
			t.Errorf("tar -tv: %s", l)
		}
	}
}
