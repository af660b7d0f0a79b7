package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){
		"caisseauto": func() { os.Exit(realMain()) },
		"measured":   func() { os.Exit(measured(os.Args[1:])) },
	})
}

// measured runs a command, and says on a last line of stderr how much memory it
// had at most. Its own process has next to none: what a child is said to have
// had includes what its parent had when it was forked.
func measured(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "\n%d KiB\n", peak(cmd.ProcessState))
	return cmd.ProcessState.ExitCode()
}

// tidy removes the template of the tests' worlds when they are done with it.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	defer func() {
		for _, dir := range templateDirs {
			_ = os.RemoveAll(dir)
		}
	}()
	return t.M.Run()
}

// TestScripts drives the real main through testdata/script/*.txtar, with the
// machine's own sqlite3, ssh-keygen, zstd, tar and jq.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			repository, err := filepath.Abs("../..")
			e.Setenv("REPOSITORY", repository) // for scripts that a document holds
			return err
		},
		// Each command is a process of the test binary, and with the race
		// detector in it that takes most of a second to begin.
		Condition: func(cond string) (bool, error) {
			if cond == "race" {
				return raceEnabled, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": exitsWith,
			"flip": flip,
		},
	})
}
