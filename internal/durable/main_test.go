package durable

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// jobVar makes the test binary do one of the jobs below instead of testing:
// the tests need a second process to kill or to hold a lock.
const jobVar = "DURABLE_TEST_JOB"

func TestMain(m *testing.M) {
	job := os.Getenv(jobVar)
	if job == "" {
		os.Exit(m.Run())
	}
	if err := jobs[job](os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

var jobs = map[string]func(args []string) error{
	"replace": jobReplace,
	"publish": jobPublish,
	"point":   jobPoint,
	"lock":    jobLock,
	"denied":  jobDenied,
}

// start starts a job in a process of its own.
func start(t *testing.T, job string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), jobVar+"="+job)
	return cmd
}

// body returns the nth content: one letter, so that a mixture shows.
func body(n int) []byte { return bytes.Repeat([]byte{'a' + byte(n%26)}, 100_000) }

// whole returns what is wrong with data as one of the bodies.
func whole(data []byte) error {
	if len(data) != 100_000 || strings.Trim(string(data), string(data[:1])) != "" {
		return fmt.Errorf("%d bytes that were never written as a whole", len(data))
	}
	return nil
}

// jobReplace replaces the file args[0] until it is killed.
func jobReplace(args []string) error {
	for n := 0; ; n++ {
		if err := WriteFile(args[0], body(n), 0o600); err != nil {
			return err
		}
	}
}

// jobPublish makes files 0, 1, 2, … in the folder args[0] until it is killed,
// odd ones by Create, even ones by Publish.
func jobPublish(args []string) error {
	for n := 0; ; n++ {
		final := filepath.Join(args[0], fmt.Sprint(n))
		if n%2 == 1 {
			if err := Create(final, body(n), 0o600); err != nil {
				return err
			}
			continue
		}
		if err := writeSynced(final+".part", body(n)); err != nil {
			return err
		}
		if err := Publish(final+".part", final); err != nil {
			return err
		}
	}
}

// jobPoint points the link args[0] to one target and the other until it is
// killed.
func jobPoint(args []string) error {
	for n := 0; ; n++ {
		if err := Point(args[0], targets[n%2]); err != nil {
			return err
		}
	}
}

// targets are a short one and one that no inode holds.
var targets = [2]string{"releases/1", "releases/" + strings.Repeat("x", 200)}

// writeSynced writes a file as the callers of Publish do.
func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// jobLock takes the lock args[0], says so, and holds it until it is killed.
func jobLock(args []string) error {
	if _, err := Lock(args[0]); err != nil {
		return err
	}
	fmt.Println("locked")
	select {}
}

// jobDenied does every write in the folder args[0], all of which must fail.
func jobDenied(args []string) error {
	old := filepath.Join(args[0], "old")
	for what, err := range map[string]error{
		"WriteFile": WriteFile(old, []byte("new"), 0o600),
		"Create":    Create(filepath.Join(args[0], "new"), []byte("new"), 0o600),
		"Publish":   Publish(old, filepath.Join(args[0], "new")),
		"MkdirAll":  MkdirAll(filepath.Join(args[0], "a/b"), 0o700),
		"Remove":    Tree{}.Remove(old),
		"RenameNew": RenameNew(old, filepath.Join(args[0], "new")),
		"Point":     Point(filepath.Join(args[0], "link"), "new"),
		"Unpoint":   Unpoint(filepath.Join(args[0], "link")),
	} {
		fmt.Printf("%s %v %v\n", what, os.IsPermission(err) || strings.Contains(fmt.Sprint(err), "permission denied"), err)
	}
	return nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds checks that the file holds want and that the folder holds nothing but
// the given names.
func holds(t *testing.T, path string, want []byte, names ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", path, got, want)
	}
	only(t, filepath.Dir(path), append(names, filepath.Base(path))...)
}

// only checks that the folder holds the names and no temporary file.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(names) {
		t.Fatalf("%s holds %q, want %q", dir, got, names)
	}
}
