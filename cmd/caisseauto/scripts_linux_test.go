package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scriptsFolder is the repository's folder of scripts.
var scriptsFolder, _ = filepath.Abs("../../scripts")

// TestScriptsForm: every script is one that sh reads, every unit one that
// systemd takes, every task of Windows well-formed.
func TestScriptsForm(t *testing.T) {
	for _, name := range []string{"pull", "push", "sftp-lib.sh", "setup-drop", "add-till", "drop-lib.sh", "cron/quiet",
		"export_caisseauto", "import_caisseauto", "synchroniseur", "import_updatecaisse"} {
		if out, err := exec.Command("sh", "-n", filepath.Join(scriptsFolder, name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	tasks, _ := filepath.Glob(filepath.Join(scriptsFolder, "windows/*.xml"))
	if len(tasks) != 4 {
		t.Errorf("tasks: %v", tasks)
	}
	for _, path := range tasks {
		checkTask(t, path)
	}
	bin, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd here")
	}
	dir := t.TempDir()
	units, _ := filepath.Glob(filepath.Join(scriptsFolder, "systemd/*"))
	var verify []string
	for _, path := range units {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The program is not installed here, and it must be an absolute path.
		data = bytes.ReplaceAll(data, []byte("/usr/local/bin/caisseauto"), []byte("/bin/true"))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o644); err != nil {
			t.Fatal(err)
		}
		verify = append(verify, filepath.Join(dir, strings.Replace(filepath.Base(path), "@.", "@ACME.", 1)))
	}
	if out, err := exec.Command(bin, append([]string{"verify", "--man=no"}, verify...)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte(dir)) {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

// checkTask holds a task against the order of the schema's elements, which is
// fixed (Microsoft, Task Scheduler Schema: taskType, execActionType).
func checkTask(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var top []string
	name := strings.TrimSuffix(filepath.Base(path), ".xml")
	depth, action := 0, ""
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			if depth++; depth == 2 {
				top = append(top, x.Name.Local)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if strings.Contains(string(x), ".ps1") {
				action = string(x)
			}
		}
	}
	if diff := cmp.Diff([]string{"RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"}, top); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), name+".ps1")); err != nil || !strings.Contains(action, name+".ps1") {
		t.Errorf("%s runs %q, %v", name, action, err)
	}
}

// A drop over OpenSSH, for scripts.
type sshDrop struct {
	port, options string // of sftp
	hostKey       string // public
}

// startDrop starts a real sshd; config are its further lines.
func startDrop(t *testing.T, config string) sshDrop {
	t.Helper()
	const sshd = "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		t.Skipf("no sshd: %v", err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	keygen(t, filepath.Join(dir, "host"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	text := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s/host\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nUseDNS no\nMaxStartups 100\nSubsystem sftp internal-sftp\n%s", port, dir, config)
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(sshd, "-D", "-e", "-f", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd said:\n%s", log.String())
		}
	})
	for range 300 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	pub, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	host := strings.Join(strings.Fields(string(pub))[:2], " ")
	known := filepath.Join(dir, "known")
	if err := os.WriteFile(known, []byte("[127.0.0.1]:"+port+" "+host+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return sshDrop{port: port, hostKey: host,
		options: fmt.Sprintf("-P %s -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes", port, known)}
}

func keygen(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
}

// script runs one of the scripts, and returns its exit code and what it said.
func script(t *testing.T, env []string, name string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(scriptsFolder, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestShopScriptsCarry: the whole exchange with sftp -b as the only transport;
// cut off in the middle, run again, with foreign files about, and with a
// conflict.
func TestShopScriptsCarry(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("sshd lets in the account that runs it; root here")
	}
	s := newShop(t)
	key := filepath.Join(t.TempDir(), "key")
	keygen(t, key)
	d := startDrop(t, "AuthorizedKeysFile "+key+".pub\nPermitRootLogin prohibit-password\n")
	remote := mustDir(s.dir, "remote")
	env := []string{"SFTP_OPTIONS=" + d.options + " -i " + key, "DROP=" + remote}
	must := func(name string, args ...string) string {
		t.Helper()
		code, out := script(t, env, name, args...)
		if code != 0 {
			t.Fatalf("%s %v: exit code %d: %s", name, args, code, out)
		}
		return out
	}
	round := func() {
		t.Helper()
		for _, n := range shopTills {
			s.must(n, "sync", "--no-ship")
			must("push", "till", "ACME", n, "root@127.0.0.1", s.path("till-"+n+"/outbox"))
		}
		must("pull", "server", "ACME", "root@127.0.0.1", s.path("server/inbox"))
		s.must("server", "collect", "--no-fetch")
		s.must("server", "export", "--no-ship")
		must("push", "server", "ACME", "root@127.0.0.1", s.path("server/outbox"))
		for _, n := range shopTills {
			must("pull", "till", "ACME", n, "root@127.0.0.1", s.path("till-"+n+"/inbox"))
			s.must(n, "import", "--no-fetch")
		}
	}
	must("push", "server", "ACME", "root@127.0.0.1", s.path("server/outbox"))
	for _, n := range shopTills {
		mustDir(s.dir, "remote/ACME/up/"+n)
		s.sell(n, 1, 20)
	}
	s.write(filepath.Join(remote, "ACME/down/;rm -rf x"), []byte("foreign"))
	s.write(filepath.Join(remote, "ACME/down/0000000001.tar.zst.filepart"), []byte("foreign"))
	s.sql("server/erp.db", "UPDATE client SET nom='Renommé' WHERE code='C2' AND dossier='ACME'")
	round()
	s.sell("002", 21, 30)
	round()
	round() // receipts travel, and what they cause
	s.complete()
	for _, n := range shopTills {
		if d := cmp.Diff(s.values("server/erp.db", "client", "dossier='ACME'"), s.values("till-"+n+"/till.db", "client", "1")); d != "" {
			t.Errorf("till %s: %s", n, d)
		}
		if left := s.count("till-"+n+"/till.db", "SELECT count(*) FROM MICPTRACK WHERE tab IN (SELECT tab FROM caisseauto_table WHERE name='ticket')"); left != 0 {
			t.Errorf("till %s: %d tickets wait, their receipt did not come", n, left)
		}
	}
	if out := must("pull", "till", "ACME", "001", "root@127.0.0.1", s.path("till-001/inbox")); !strings.Contains(out, "0 files") {
		t.Errorf("a second pull: %s", out)
	}
	if strings.Contains(strings.Join(list(t, s.path("till-001/inbox/ACME/down")), " "), "rm") {
		t.Error("a foreign file was copied")
	}

	// A batch that was cut off on its way is begun again where it stopped.
	s.sql("server/erp.db", "UPDATE client SET nom='Coupé' WHERE code='C2' AND dossier='ACME'")
	s.must("server", "export", "--no-ship")
	must("push", "server", "ACME", "root@127.0.0.1", s.path("server/outbox"))
	names := list(t, filepath.Join(remote, "ACME/down"))
	newest := ""
	for _, n := range names {
		if strings.HasSuffix(n, ".tar.zst") {
			newest = max(newest, n)
		}
	}
	s.write(s.path("till-001/inbox/ACME/down/"+newest+".part"), s.read(filepath.Join(remote, "ACME/down", newest))[:40])
	must("pull", "till", "ACME", "001", "root@127.0.0.1", s.path("till-001/inbox"))
	s.must("001", "import", "--no-fetch")
	if got := s.text("till-001/till.db", "SELECT nom FROM client WHERE code='C2'"); got != "Coupé" {
		t.Error(got)
	}

	// Other bytes under our name are an alarm, and stay.
	s.write(filepath.Join(remote, "ACME/down", newest), []byte("somebody else's"))
	if code, out := script(t, env, "push", "server", "ACME", "root@127.0.0.1", s.path("server/outbox")); code != exitOperator || !strings.Contains(out, newest) {
		t.Errorf("exit code %d: %s", code, out)
	}
	// Not reachable, not let in, not understood.
	for want, try := range map[int][]string{
		exitUnavailable: {"SFTP_OPTIONS=-P 1"},
		exitDenied:      {"SFTP_OPTIONS=" + d.options + " -i /nonexistent"},
	} {
		if code, out := script(t, append(env, try...), "pull", "till", "ACME", "001", "root@127.0.0.1", s.path("till-001/inbox")); code != want {
			t.Errorf("exit code %d, want %d: %s", code, want, out)
		}
	}
	if code, _ := script(t, env, "pull", "till", "../etc", "001", "root@127.0.0.1", s.dir); code != exitUsage {
		t.Errorf("a dossier that is a path: exit code %d", code)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
