//go:build unix

package durable

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

var errNoLink error = syscall.EPERM

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func TestIsNoSpace(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Op: "write", Err: syscall.ENOSPC}: true,
		&os.LinkError{Op: "link", Err: syscall.EDQUOT}:  true,
		syscall.EIO: false,
		nil:         false,
	} {
		if IsNoSpace(err) != want {
			t.Errorf("IsNoSpace(%v) = %v", err, !want)
		}
	}
}

// TestUnwritableFolder runs as another account where this one is root, for
// whom no folder is unwritable.
func TestUnwritableFolder(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o644))
	check(t, os.Symlink("old", filepath.Join(dir, "link")))
	check(t, os.Chmod(dir, 0o555))
	defer os.Chmod(dir, 0o755)
	cmd := start(t, "denied", dir)
	if os.Geteuid() == 0 {
		cmd = asNobody(t, cmd, dir)
	}
	out, err := cmd.CombinedOutput()
	check(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 8 {
		t.Fatalf("output %q", out)
	}
	for _, line := range lines {
		if f := strings.Fields(line); f[1] != "true" {
			t.Errorf("not refused for its permissions: %s", line)
		}
	}
	holds(t, filepath.Join(dir, "old"), []byte("old"), "link")
	pointsTo(t, filepath.Join(dir, "link"), "old")
}

// asNobody runs cmd as an account without rights, which must be able to reach
// the test binary and dir.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) *exec.Cmd {
	t.Helper()
	for p := dir; p != os.TempDir() && len(p) > len(os.TempDir()); p = filepath.Dir(p) {
		fi, err := os.Stat(p)
		check(t, err)
		check(t, os.Chmod(p, fi.Mode().Perm()|0o011))
	}
	binary := filepath.Join(t.TempDir(), "test")
	data, err := os.ReadFile(cmd.Path)
	check(t, err)
	check(t, os.WriteFile(binary, data, 0o755))
	for p := filepath.Dir(binary); len(p) > len(os.TempDir()); p = filepath.Dir(p) {
		check(t, os.Chmod(p, 0o755))
	}
	cmd.Path = binary
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}
