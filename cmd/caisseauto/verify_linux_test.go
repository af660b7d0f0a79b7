package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestVerifyOffline runs verify as a process of its own in a network namespace
// that has no interface, under strace: it must come to the same answer as
// anywhere, and must not have asked for a single socket.
func TestVerifyOffline(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	program, err := exec.LookPath("caisseauto") // that testscript.Main put there
	if err != nil {
		t.Fatal(err)
	}
	args := []string{program, "verify", "--signers", w.path("till/allowed_signers"), "--contents", "all", w.path("drop")}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Log("strace is not installed (apt-get install strace): only the namespace is tested")
	} else {
		args = append([]string{strace, "-f", "-qq", "-e", "trace=%network,openat", "-o", trace}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out)+errText(err), "operation not permitted") {
		t.Skipf("no network namespaces here: %v %s", err, out)
	}
	if err != nil || !strings.Contains(string(out), "nothing is wrong") {
		t.Fatalf("%v\n%s", err, out)
	}
	if strace == "" {
		return
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	opened := false
	for line := range strings.Lines(string(calls)) {
		switch {
		case strings.Contains(line, "openat("):
			opened = opened || strings.Contains(line, "0000000002.tar.zst")
		case strings.Contains(line, "("):
			t.Errorf("a system call of the network: %s", line)
		}
	}
	if !opened {
		t.Errorf("the trace does not show that an archive was opened: it shows nothing at all\n%s", calls)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
