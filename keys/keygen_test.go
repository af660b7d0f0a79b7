package keys

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// needKeygen returns the stock ssh-keygen, which the tests hold this package
// against.
func needKeygen(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed: apt-get install openssh-client")
	}
	return path
}

// keygen makes a key with ssh-keygen and returns its path.
func keygen(t testing.TB, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	args = append([]string{"-q", "-f", path, "-C", "test only"}, args...)
	if out, err := exec.Command(needKeygen(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
	return path
}

// stockVerify asks ssh-keygen -Y verify.
func stockVerify(t testing.TB, allowed, message, sig []byte, principal, namespace string) bool {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cmd := exec.Command(needKeygen(t), "-Y", "verify", "-f", write("allowed_signers", allowed),
		"-I", principal, "-n", namespace, "-s", write("sig", sig))
	cmd.Stdin = bytes.NewReader(message)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return err == nil
}

// stockSign signs with ssh-keygen -Y sign.
func stockSign(t testing.TB, key, namespace string, message []byte, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(path, message, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-Y", "sign", "-q", "-f", key, "-n", namespace}, args...)
	if out, err := exec.Command(needKeygen(t), append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -Y sign: %v\n%s", err, out)
	}
	return read(t, path+".sig")
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// load loads a key that must be good.
func load(t testing.TB, path string) Signer {
	t.Helper()
	s, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh makes a key with Generate.
func fresh(t testing.TB) Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := Generate(path, "test only"); err != nil {
		t.Fatal(err)
	}
	return load(t, path)
}

// trust parses a list that must be good.
func trust(t testing.TB, data string) *Trust {
	t.Helper()
	tr, err := ParseAllowedSigners("allowed_signers", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
