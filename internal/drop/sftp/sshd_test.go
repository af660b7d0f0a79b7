package sftp_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop/sftp"
)

// An openssh is a real sshd on a loopback port, with a configuration, a host
// key and an account list of its own.
type openssh struct {
	root   string
	addr   string
	user   string
	host   ssh.PublicKey
	client ssh.Signer
}

const sshdPath = "/usr/sbin/sshd"

// startSSHD starts sshd as the current user. options are further lines of
// sshd_config; sftp are options of internal-sftp.
func startSSHD(t *testing.T, sftpOptions string, options ...string) openssh {
	t.Helper()
	if _, err := os.Stat(sshdPath); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no sshd: %v", err)
		}
		t.Skipf("no sshd: %v (apt-get install openssh-server)", err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// Where sshd keeps its unprivileged child; made at boot, which a
		// container does not have.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s := openssh{root: t.TempDir(), user: me.Username, client: newKey(t)}
	s.host = writeHostKey(t, filepath.Join(dir, "host"))
	authorized := filepath.Join(dir, "authorized")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(s.client.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ {
		s.addr = freePort(t)
		err := s.run(t, dir, fmt.Sprintf("Subsystem sftp internal-sftp %s\nAuthorizedKeysFile %s\n%s\n", sftpOptions, authorized, strings.Join(options, "\n")))
		if err == nil {
			return s
		}
		if try == 3 {
			t.Fatal(err)
		}
	}
}

func (s openssh) run(t *testing.T, dir, more string) error {
	_, port, _ := net.SplitHostPort(s.addr)
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nLogLevel INFO\nMaxStartups 300\n%s", port, filepath.Join(dir, "host"), more)
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := exec.Command(sshdPath, "-D", "-e", "-f", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-exited:
			return fmt.Errorf("sshd: %v\n%s", err, log.String())
		default:
		}
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			continue
		}
		c.Close()
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-exited
			if t.Failed() {
				t.Logf("sshd said:\n%s", log.String())
			}
		})
		return nil
	}
	cmd.Process.Kill()
	<-exited
	return fmt.Errorf("sshd does not listen:\n%s", log.String())
}

func (s openssh) config() sftp.Config {
	return sftp.Config{Addr: s.addr, User: s.user, Path: s.root, HostKeys: []ssh.PublicKey{s.host}, Signers: []ssh.Signer{s.client}}
}

// writeHostKey has ssh-keygen make an ed25519 key in file.
func writeHostKey(t *testing.T, file string, more ...string) ssh.PublicKey {
	t.Helper()
	args := append([]string{"-q", "-t", "ed25519", "-N", "", "-f", file}, more...)
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
