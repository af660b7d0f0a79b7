//go:build unix

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shellScripts are all files of the scripts' folder that begin as one for sh, and
// what they source.
func shellScripts(t *testing.T) (list []string) {
	t.Helper()
	for _, pattern := range []string{"*", "cron/*"} {
		names, err := filepath.Glob(filepath.Join(scriptsDir(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err == nil && (bytes.HasPrefix(b, []byte("#!/bin/sh\n")) || strings.HasSuffix(name, "-lib.sh")) {
				list = append(list, name)
			}
		}
	}
	return list
}

// TestFormShell: no script needs more than POSIX sh, and each that is a
// program may be run.
func TestFormShell(t *testing.T) {
	list := shellScripts(t)
	for _, name := range []string{"pull", "push", "add-till", "remove-till", "add-release", "remove-release", "setup-drop", "sftp-lib.sh", "drop-lib.sh", "cron/caisseauto-quiet",
		"export_caisseauto", "import_caisseauto", "synchroniseur", "import_updatecaisse"} {
		path := filepath.Join(scriptsDir(t), name)
		if !slices.Contains(list, path) {
			t.Errorf("%s is not there, or is not for sh", name)
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode()&0o111 == 0 && !strings.HasSuffix(name, ".sh") {
			t.Errorf("%s cannot be run", name)
		}
	}
	shellcheck, _ := exec.LookPath("shellcheck")
	bashisms := regexp.MustCompile(`(?m)^[^#\n]*(\[\[ |\bfunction |\blocal |\bdeclare |<<<|<\(|[\s=(]\$'|&>|\bpipefail\b|\$RANDOM)`)
	for _, path := range list {
		name := filepath.Base(path)
		if out, err := exec.Command("sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bashisms.Find(withoutAwk(b)); at != nil {
			t.Errorf("%s: not for every sh: %s", name, at)
		}
		if shellcheck == "" || name == "bench-tickets" {
			continue
		}
		if out, err := exec.Command(shellcheck, "-x", "-S", "warning", path).CombinedOutput(); err != nil {
			t.Errorf("shellcheck %s:\n%s", name, out)
		}
	}
}

// withoutAwk leaves out what stands in single quotes over several lines: it is
// written in another language.
func withoutAwk(b []byte) []byte {
	return regexp.MustCompile(`(?s)awk [^']*'[^']*\n[^']*'`).ReplaceAll(b, nil)
}

// accepted reports whether the program takes a command line.
func accepted(t *testing.T, where string, words []string) {
	t.Helper()
	a := &app{stdout: io.Discard, stderr: io.Discard}
	c, rest, err := a.root().Find(words)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err != nil || len(words) == 0 || c.Name() != words[0] && !c.HasAlias(words[0]) {
		t.Errorf("%s: the program does not take %q: %v", where, words, err)
	}
}

// TestFormUnits: systemd takes every unit, and the program every command
// line in them.
func TestFormUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(scriptsDir(t), "systemd/*"))
	if err != nil || len(units) != 11 {
		t.Fatalf("%d units: %v", len(units), err)
	}
	dir := t.TempDir()
	var verify []string
	for _, path := range units {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text, name := string(b), filepath.Base(path)
		service := strings.HasSuffix(name, ".service")
		oneshot := strings.Contains(text, "Type=oneshot\n")
		want := []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "ReadWritePaths=", "User=caisseauto", "CapabilityBoundingSet=\n"}
		if !service {
			want = []string{"RandomizedDelaySec=", "Persistent=yes", "WantedBy=timers.target"}
		} else if oneshot {
			want = append(want, "SuccessExitStatus=69 75\n")
		} else {
			want = append(want, "Restart=on-failure", "RestartPreventExitStatus=2\n")
		}
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("%s has no %s", name, line)
			}
		}
		if at := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/caisseauto (.*)$`).FindStringSubmatch(text); at != nil {
			accepted(t, name, strings.Fields(at[1]))
		} else if service {
			t.Errorf("%s starts nothing", name)
		}
		name = strings.Replace(name, "@.", "@ACME.", 1)
		text = strings.ReplaceAll(text, "/usr/local/bin/caisseauto", "/bin/true") // must be there to be verified
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		verify = append(verify, filepath.Join(dir, name))
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	for _, path := range verify {
		out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte(dir)) { // a warning names the file
			t.Errorf("%s: %v\n%s", filepath.Base(path), err, out)
		}
		if !strings.HasSuffix(path, ".service") {
			continue
		}
		out, err = exec.Command(analyze, "security", "--no-pager", "--offline=yes", "--threshold=25", path).CombinedOutput()
		if err != nil && !bytes.Contains(out, []byte("unrecognized option")) {
			t.Errorf("%s is more open than 2.5 of 10: %v\n%s", filepath.Base(path), err, out)
		}
	}
}

// TestFormCron: the lines have the form of /etc/cron.d, and the wrapper is
// silent where nobody needs to look.
func TestFormCron(t *testing.T) {
	line := regexp.MustCompile(`^(?:[0-9*/,-]+ ){5}caisseauto caisseauto-quiet (?:-j [0-9]+ )?caisseauto (.*)$`)
	for _, name := range []string{"caisseauto-server", "caisseauto-till"} {
		b, err := os.ReadFile(filepath.Join(scriptsDir(t), "cron", name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for text := range strings.Lines(string(b)) {
			text = strings.TrimSuffix(text, "\n")
			if strings.HasPrefix(text, "#") || regexp.MustCompile(`^[A-Z]+=`).MatchString(text) {
				continue
			}
			at := line.FindStringSubmatch(text)
			if at == nil || strings.Contains(text, "%") { // cron makes line breaks of it
				t.Errorf("%s: %s", name, text)
				continue
			}
			found++
			accepted(t, name, strings.Fields(at[1]))
		}
		if found != 2 {
			t.Errorf("%s: %d lines", name, found)
		}
	}
	quiet := filepath.Join(scriptsDir(t), "cron/caisseauto-quiet")
	for _, tt := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"sh", "-c", "echo fine"}, 0, ""},
		{[]string{"sh", "-c", "echo off line; exit 69"}, 0, ""},
		{[]string{"sh", "-c", "echo busy >&2; exit 75"}, 0, ""},
		{[]string{"sh", "-c", "echo 'two  words' >&2; exit 65"}, 65, "two  words\n"},
		{[]string{"-j", "1", "sh", "-c", "exit 78"}, 78, "exit code 78\n"},
		{[]string{"no-such-program"}, 127, "exit code 127\n"},
		{[]string{"-j", "x", "true"}, 2, "usage"},
		{nil, 2, "usage"},
	} {
		code, out := runScript(t, quiet, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || tt.out == "" && out != "" {
			t.Errorf("%q: exit code %d, %q", tt.args, code, out)
		}
	}
}

// The orders that the Task Scheduler Schema gives to elements, where it gives
// one; the others of a task are xs:all.
var taskOrder = map[string][]string{
	"TimeTrigger": {"Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit", "RandomDelay"},
}

// taskElements are the elements that may stand in each other.
var taskElements = map[string][]string{
	"": {"Task"}, "Task": {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"},
	"RegistrationInfo": {"URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description", "Documentation"},
	"Triggers":         {"TimeTrigger"}, "TimeTrigger": taskOrder["TimeTrigger"],
	"Repetition": {"Interval", "Duration", "StopAtDurationEnd"},
	"Settings": {"AllowStartOnDemand", "RestartOnFailure", "MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries",
		"AllowHardTerminate", "StartWhenAvailable", "NetworkProfileName", "RunOnlyIfNetworkAvailable", "WakeToRun", "Enabled", "Hidden",
		"DeleteExpiredTaskAfter", "IdleSettings", "NetworkSettings", "ExecutionTimeLimit", "Priority", "RunOnlyIfIdle"},
	"Principals": {"Principal"}, "Principal": {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"},
	"Actions": {"Exec"}, "Exec": {"Command", "Arguments", "WorkingDirectory"},
}

// TestFormWindows: there is no Windows here. What can be told from the
// files is: their form, their order, and that they name each other.
func TestFormWindows(t *testing.T) {
	dir := filepath.Join(scriptsDir(t), "windows")
	for name, action := range map[string]string{"export_caisseauto": "export", "collect_caisseauto": "collect", "import_caisseauto": "import",
		"synchroniseur": "sync", "import_updatecaisse": "import_updatecaisse"} {
		values := checkTask(t, filepath.Join(dir, name+".xml"))
		if values["URI"] != `\caisseauto\`+name || !strings.HasSuffix(values["Arguments"], `-File "C:\Program Files\caisseauto\`+name+`.ps1"`) {
			t.Errorf("%s: %v", name, values)
		}
		for _, key := range []string{"Interval", "RandomDelay", "ExecutionTimeLimit"} {
			if !regexp.MustCompile(`^PT[1-9][0-9]*[HMS]$`).MatchString(values[key]) || key == "Interval" && strings.HasSuffix(values[key], "S") {
				t.Errorf("%s: %s %q is not a duration of at least a minute", name, key, values[key])
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, name+".ps1"))
		if err != nil {
			t.Fatal(err)
		}
		at := regexp.MustCompile(`(?m)^exit \(Invoke-Caisseauto '(\w+)' '(\w+)' \(Join-Path \$env:ProgramData '(.*)'\) \$args\)$`).FindSubmatch(b)
		if at == nil || string(at[1]) != name || string(at[2]) != action {
			t.Errorf("%s.ps1 does not call %s: %q", name, action, at)
			continue
		}
		accepted(t, name, []string{action, "--config", string(at[3])})
	}
	scripts, _ := filepath.Glob(filepath.Join(dir, "*.ps1"))
	for _, path := range scripts {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexFunc(b, func(r rune) bool { return r > 126 || r < 32 && r != '\n' }); i >= 0 {
			t.Errorf("%s: byte %d is not plain ASCII, which Windows PowerShell would misread", filepath.Base(path), i)
		}
		for _, pair := range []string{"{}", "()", "[]"} {
			if bytes.Count(b, []byte(pair[:1])) != bytes.Count(b, []byte(pair[1:])) {
				t.Errorf("%s: %s do not match", filepath.Base(path), pair)
			}
		}
	}
}

// checkTask holds a task against the schema, and returns its values.
func checkTask(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("encoding=")) {
		t.Errorf("%s names an encoding: Register-ScheduledTask gets it as UTF-16, and would refuse any other", path)
	}
	values, last := map[string]string{}, map[string]int{}
	stack := []string{""}
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		top := stack[len(stack)-1]
		switch x := token.(type) {
		case xml.StartElement:
			name := x.Name.Local
			if x.Name.Space != "http://schemas.microsoft.com/windows/2004/02/mit/task" || !slices.Contains(taskElements[top], name) {
				t.Errorf("%s: %s may not stand in %q", path, name, top)
			}
			if i := slices.Index(taskOrder[top], name) + 1; i > 0 {
				if i <= last[top] {
					t.Errorf("%s: %s stands too late in %s", path, name, top)
				}
				last[top] = i
			}
			stack = append(stack, name)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if text := strings.TrimSpace(string(x)); text != "" {
				values[top] = text
			}
		}
	}
}

// TestShopScriptsNames: the ERP's names are commands, and pass arguments and
// exit codes on.
func TestShopScriptsNames(t *testing.T) {
	s := newShop(t)
	t.Setenv("CAISSEAUTO", programLink(t))
	for _, tt := range []struct{ name, side string }{{"export_caisseauto", "server"}, {"import_caisseauto", "001"}, {"synchroniseur", "001"}} {
		script := filepath.Join(scriptsDir(t), tt.name)
		if code, out := runScript(t, script, "--config", s.config(tt.side)); code != 0 {
			t.Errorf("%s: exit code %d: %s", tt.name, code, out)
		}
		if code, out := runScript(t, script, "--config", s.path("two words.toml")); code != exitUsage || !strings.Contains(out, "two words.toml") {
			t.Errorf("%s: exit code %d: %s", tt.name, code, out)
		}
	}
	if _, err := os.Stat(s.up("001", "HEAD.json")); err != nil {
		t.Error(err)
	}
	if code, out := runScript(t, filepath.Join(scriptsDir(t), "import_updatecaisse"), "--config", s.path("none.toml")); code != exitUsage {
		t.Errorf("import_updatecaisse: exit code %d: %s", code, out)
	}
}
