package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// nobody is a user who owns nothing.
const nobody = 65534

// outside runs a command of the program as a process of its own, under another
// user where uid is not 0, and wants it to end without a panic and in 100 MiB.
func outside(t *testing.T, uid uint32, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var path [2]string
	for i, name := range []string{"measured", "caisseauto"} {
		p, err := exec.LookPath(name) // that testscript.Main put there
		if err != nil {
			t.Fatal(err)
		}
		path[i] = p
	}
	if uid != 0 { // who may not look into the folder that they lie in
		for i, p := range path {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			path[i] = filepath.Join(forAll(t), filepath.Base(p))
			if err := os.WriteFile(path[i], b, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(path[0], append([]string{path[1]}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	said := errs.String()
	at := strings.LastIndex(strings.TrimSuffix(said, "\n"), "\n")
	var kib int64
	if _, err := fmt.Sscanf(said[at+1:], "%d KiB", &kib); err != nil || kib == 0 {
		t.Errorf("nothing was measured: %v: %s", err, said)
	}
	if kib > 100<<10 && !raceEnabled {
		t.Errorf("%v took %d MiB", args[0], kib>>10)
	}
	if strings.Contains(said, "goroutine ") {
		t.Errorf("a panic: %s", said)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said[:at]
}

// forAll returns a folder that others may look into.
func forAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestShopVerifyUnreadable: what an account may not read is wrong, and never
// passed over, by the program, by the script, and in the status.
func TestShopVerifyUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody who may not read; anybody else cannot make such files for another")
	}
	s := newShop(t)
	forAll(t) // the shop's folder beside it, too
	s.soldTwice()
	s.must("002", "sync")
	open := exec.Command("chmod", "-R", "a+rX", s.path("drop"), s.path("server/allowed_signers"))
	if out, err := open.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	signers := filepath.Join(forAll(t), "allowed_signers")
	s.write(signers, s.read(s.path("server/allowed_signers")))
	folder := forAll(t)
	program := filepath.Join(folder, "verify")
	s.write(program, s.read("../../scripts/verify"))
	s.write(filepath.Join(folder, "verify-trust.sh"), s.read("../../scripts/verify-trust.sh"))
	for _, x := range []struct {
		path, want string
		status     string // in an alarm; "": the status has no need of the file
	}{
		{"ACME/down/" + name(1, manifest.ManifestExt), "signature ACME/down/0000000001.manifest.json", "till 001"},
		{"ACME/down/" + name(1, manifest.SignatureExt), "signature ACME/down/0000000001.manifest.json", "till 001"},
		{"ACME/down/" + name(1, manifest.ArchiveExt), "hash ACME/down/0000000001.tar.zst", ""},
		{"ACME/down/HEAD.json", "signature ACME/down/HEAD.json", "HEAD.json"},
		{"ACME/receipts/001.json", "signature ACME/receipts/001.json", "till 001"},
		{"ACME/down", "completeness ACME/down", "ACME/down"},
		{"ACME/up/001", "completeness ACME/up/001", "till 001"},
		{"ACME/up", "completeness ACME/up", "ACME/up"},
		{"ACME/receipts", "completeness ACME/receipts", "receipts"},
		{"ACME", "completeness ACME", "dossier ACME"},
		{".", "completeness " + s.path("drop"), "-"},
	} {
		t.Run(x.path, func(t *testing.T) {
			locked := s.path("drop/" + x.path)
			info, err := os.Stat(locked)
			check(s, err)
			check(s, os.Chmod(locked, 0))
			defer os.Chmod(locked, info.Mode().Perm())
			args := []string{"--signers", signers, "--json", s.path("drop")}
			code, out, errs := outside(t, nobody, append([]string{"verify"}, args...)...)
			f := found(t, code, out)
			if code != exitRefused || len(f.Faults) != 1 || f.Faults[0] != x.want {
				t.Errorf("exit code %d, faults %q, want %q: %s", code, f.Faults, x.want, errs)
			}
			cmd := exec.Command("sh", append([]string{program}, args...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			script, _ := cmd.Output()
			if diff := cmp.Diff(f, found(t, cmd.ProcessState.ExitCode(), string(script))); diff != "" {
				t.Errorf("the program and scripts/verify do not agree (-program +script):\n%s", diff)
			}
			want := exitOperator
			switch x.status {
			case "":
				want = exitDone
			case "-":
				want, x.status = exitDenied, ""
			}
			code, out, errs = outside(t, nobody, "status", "--signers", signers, "--drop", s.path("drop"))
			if code != want || !strings.Contains(out, x.status) || x.status != "" && !strings.Contains(out, "ALARM") {
				t.Errorf("status: exit code %d, want %d and an alarm with %q: %s%s", code, want, x.status, out, errs)
			}
		})
	}
}

// TestShopStrays: 100,000 files that belong to nothing, or that pretend to
// belong to a stream, get their verdict in little memory, and the status is
// still told.
func TestShopStrays(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 files")
	}
	for _, x := range []struct {
		folder, name string
		code, status int
	}{
		{"down", "stray-%06d", exitDone, exitOperator},
		{"down", "%010d.manifest.json", exitRefused, exitOperator},
		{"receipts", "R%06d.json", exitRefused, exitDone},
	} {
		t.Run(x.folder+" "+x.name, func(t *testing.T) {
			s := newShop(t)
			s.sell("001", 1, 2)
			s.must("001", "sync")
			s.must("server", "collect")
			for i := range 100_000 {
				f, err := os.Create(s.path(filepath.Join("drop/ACME", x.folder, fmt.Sprintf(x.name, i+1000))))
				check(s, err)
				f.Close()
			}
			args := []string{"--signers", s.path("server/allowed_signers")}
			if x.code == exitDone { // the script takes hours to tell that 100,000 statements are none
				verified(t, s.path("server/allowed_signers"), s.path("drop")).want(t)
			}
			if code, _, errs := outside(t, 0, append([]string{"verify", s.path("drop")}, args...)...); code != x.code {
				t.Errorf("verify: exit code %d, want %d: %s", code, x.code, errs)
			}
			code, out, errs := outside(t, 0, append([]string{"status", "--html", s.path("page.html"), "--drop", s.path("drop")}, args...)...)
			if code != x.status || !strings.Contains(out, "\n001 ") {
				t.Errorf("status: exit code %d: %.2000s%s", code, out, errs)
			}
		})
	}
}
