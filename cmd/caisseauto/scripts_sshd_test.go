//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A stockServer is a real sshd on a loopback port, with a host key of its own.
type stockServer struct {
	port    string
	hostKey string // its public key, "ssh-ed25519 AAAA…"
	known   string // a known_hosts file with it
}

// startStock starts sshd as the current user, with further lines of
// sshd_config.
func startStock(t *testing.T, more string) stockServer {
	t.Helper()
	const sshd = "/usr/sbin/sshd"
	for _, program := range []string{sshd, "sftp", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("%v (apt-get install openssh-server openssh-client)", err)
		}
	}
	if os.Geteuid() == 0 { // where sshd keeps its unprivileged child; a container has none
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s := stockServer{hostKey: makeKey(t, filepath.Join(dir, "host")), known: filepath.Join(dir, "known_hosts")}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, s.port, _ = net.SplitHostPort(addr)
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nPidFile none\nUsePAM no\nPasswordAuthentication no\n"+
		"UseDNS no\nLogLevel INFO\nMaxStartups 300\nSubsystem sftp internal-sftp\n%s", s.port, filepath.Join(dir, "host"), more)
	file := filepath.Join(dir, "sshd_config")
	for name, text := range map[string]string{file: config, s.known: fmt.Sprintf("[127.0.0.1]:%s %s\n", s.port, s.hostKey)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(sshd, "-t", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("sshd -t: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(sshd, "-D", "-e", "-f", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("sshd said:\n%s", said)
		}
	})
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return s
		}
		if time.Now().After(end) {
			t.Fatal("sshd does not listen")
		}
	}
}

// makeKey has ssh-keygen make an ed25519 key, and returns its public half
// without a comment.
func makeKey(t *testing.T, file string) string {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// scriptsDir is the folder of the scripts.
func scriptsDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// runScript runs a command and returns its exit code and all that it printed.
func runScript(t *testing.T, name string, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), b.String()
	case err != nil:
		t.Fatal(err)
	}
	return 0, b.String()
}
