//go:build unix

package release_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/release"
	"caisseauto/manifest"
)

// TestProbe: when a release has proven itself, and what is said when not.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		args   []string
		says   string // "": it works
	}{
		"works":                 {"exit 0", nil, ""},
		"ends with another":     {"exit 7", nil, "exit status 7"},
		"says why":              {"echo out; echo err >&2; exit 1", nil, "exit status 1: out err"},
		"says too much":         {"i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 1", nil, "line 1999"},
		"controls the terminal": {`printf '\033[2J\007gone'; exit 1`, nil, "exit status 1: [2J gone"},
		"takes too long":        {"sleep 60", nil, "not ended after 1s"},
		"ignores the end":       {"trap '' TERM INT; sleep 60 & sleep 60; wait", nil, "not ended after 1s"},
		"is killed":             {"kill -9 $$", nil, "signal: killed"},
		"leaves somebody":       {"(sleep 60; touch \"$PWD/../late\") >/dev/null 2>&1 & exit 0", nil, ""},
		"leaves a writer":       {"sleep 60 & exit 0", nil, ""}, // which holds our end of the pipe
		"arguments":             {`[ "$#" = 3 ] && [ "$1" = '$HOME; exit 1' ] && [ "$2" = '' ] && [ "$3" = 'é *' ]`, []string{"$HOME; exit 1", "", "é *"}, ""},
		"folder":                {`[ -f README ] && [ -f bin/check ]`, nil, ""},
		"through current":       {`case $0 in */caisse/current/bin/check) exit 0;; esac; echo $0; exit 1`, nil, ""},
		"product":               {`[ "$CAISSEAUTO_PRODUCT $CAISSEAUTO_VERSION" = "caisse 1.1" ]`, nil, ""},
		"secrets":               {`[ -z "$SSH_AUTH_SOCK$CAISSEAUTO_PASSPHRASE_FILE$CREDENTIALS_DIRECTORY" ]`, nil, ""},
		"is no program":         {"", nil, "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", "/tmp/agent")
			t.Setenv("CAISSEAUTO_PASSPHRASE_FILE", "/etc/secret")
			t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
			w := newWorld(t)
			w.publish(w.request("1.0", works))
			w.run()
			body := "#!/bin/sh\n" + c.script + "\n"
			if c.script == "" {
				body = "\x7fELF, but for the rest"
			}
			q := w.request("1.1", body)
			q.Probe = &manifest.Probe{Command: append([]string{"bin/check"}, c.args...), Seconds: 60}
			if strings.Contains(c.says, "1s") {
				q.Probe.Seconds = 1
			}
			w.publish(q)
			begin := time.Now()
			r, err := w.till.Run(t.Context())
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				w.runs("caisse", "1.1")
				return
			}
			if !errors.Is(err, release.ErrProbe) || !strings.Contains(r.Updates[0].Reason, c.says) && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v\n%+v, want %q", err, r.Updates, c.says)
			}
			if len(r.Updates) != 1 || len(r.Updates[0].Reason) > manifest.MaxReason || len(err.Error()) > 2000 {
				t.Errorf("%+v, %d bytes", r.Updates, len(err.Error()))
			}
			w.runs("caisse", "1.0")
		})
	}
}

// TestNoProbe: a release that has none works.
func TestNoProbe(t *testing.T) {
	w := newWorld(t)
	q := w.request("1.0", fails)
	q.Probe = nil
	w.publish(q)
	w.run()
	w.runs("caisse", "1.0")
}

// TestRestart: what runs is restarted after each switch, and a restart that
// fails is a release that does not work.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	var did []string
	fail := ""
	w.till.Products[0].Restart = func(_ context.Context, dir string) error {
		current, err := filepath.EvalSymlinks(w.path("till/caisse/current"))
		check(t, err)
		want, err := filepath.EvalSymlinks(dir)
		check(t, err)
		if current != want {
			t.Errorf("current leads to %s, told is %s", current, dir)
		}
		did = append(did, filepath.Base(dir))
		if filepath.Base(dir) == fail {
			return errors.New("the unit does not start")
		}
		return nil
	}
	w.publish(w.request("1.0", works))
	w.run()
	w.publish(w.request("1.1", fails))
	w.till.Run(t.Context())
	w.publish(w.request("1.2", works))
	fail = "1.2-r3-b3"
	if r, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) || r.Updates[0].Reason != "restart: the unit does not start" {
		t.Errorf("%+v, %v", r.Updates, err)
	}
	w.runs("caisse", "1.0")
	if got := strings.Join(did, " "); got != "1.0-r1-b1 1.1-r2-b2 1.0-r1-b1 1.2-r3-b3 1.0-r1-b1" {
		t.Errorf("%s", got)
	}
	if _, err := os.Stat(w.path("till/caisse/trial.json")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the trial is not over")
	}
}
