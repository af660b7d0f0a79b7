//go:build unix

package release

import (
	"os/exec"
	"path/filepath"
	"syscall"
)

// together puts the command and all that it starts into one group, which is
// ended as one.
func together(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// apart ends what the command has left behind.
func apart(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // mostly nobody is left
	}
}

// running is the folder through which the release in dir runs.
func (p *Product) running(string) string { return filepath.Join(p.Folder, currentName) }
