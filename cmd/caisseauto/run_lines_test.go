package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/config"
)

// What a process writes in pieces of any size comes out as whole lines, and
// those that are held back come out or not as a whole.
func TestTalk(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	for _, tt := range []struct {
		name         string
		hold, forget bool
		pieces       []string
		want         []string
	}{
		{"pieces", false, false, []string{"a", "b\nc", "d\r\n", "\n"}, []string{"ab", "cd", ""}},
		{"no line feed at the end", false, false, []string{"a\nb"}, []string{"a", "b"}},
		{"an endless line", false, false, []string{long}, []string{long}},
		{"held, and passed on", true, false, []string{"a\nb"}, []string{"a", "b"}},
		{"held, and forgotten", true, true, []string{"a\nb"}, nil},
		{"more than is held", true, true, []string{strings.Repeat("a\n", maxHeld+1), "b\nc"}, append(times(maxHeld+1, "a"), "b", "c")},
		{"not held, and forgotten too late", false, true, []string{"a\n"}, []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			said := (&lines{to: &out}).of("p", tt.hold)
			for _, s := range tt.pieces {
				if n, err := io.WriteString(said.stderr(), s); n != len(s) || err != nil {
					t.Fatal(n, err)
				}
			}
			said.end(tt.forget)
			var got []string
			for l := range strings.Lines(out.String()) {
				_, text, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " p: ")
				if !ok {
					t.Errorf("no name in %q", l)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func times(n int, s string) (list []string) {
	for range n {
		list = append(list, s)
	}
	return list
}

// A log in JSON has one object on every line, each with its process.
func TestJSONLines(t *testing.T) {
	for _, tt := range []struct{ text, wantLevel, wantMsg string }{
		{`till  batch`, "WARN", "till  batch"},
		{`{"time":"2026-01-01T00:00:00Z","level":"DEBUG","msg":"own"}`, "DEBUG", "own"},
		{`{"broken`, "WARN", `{"broken`},
		{`{}`, "WARN", "{}"},
		{`["a"]`, "WARN", `["a"]`},
		{"\x1b[31mred \xff", "WARN", "\x1b[31mred \ufffd"},
		{"", "WARN", ""},
	} {
		var got struct{ Time, Level, Process, Msg string }
		out := encodeLine(line{slog.LevelWarn, []byte(tt.text)}, `p"1`)
		if err := json.Unmarshal(out, &got); err != nil || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("%q: %s: %v", tt.text, out, err)
		}
		if got.Process != `p"1` || got.Level != tt.wantLevel || got.Msg != tt.wantMsg || got.Time == "" {
			t.Errorf("%q: %+v", tt.text, got)
		}
	}
}

// What is said after each run of a row of runs that end with these codes.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		codes []int
		want  []string
	}{
		{[]int{0, 0}, []string{"", ""}},
		{[]int{69, 69, 0, 69}, []string{"warning: no network", "", "well again", "warning: no network"}},
		{[]int{69, 75, 69, 75, 0, 0}, []string{"warning: no network", "", "", "", "well again", ""}},
		{[]int{75, 75, 0}, []string{"something else is at work", "", "well again"}},
		{[]int{75, 69, 0}, []string{"something else is at work", "warning: no network", "well again"}},
		{[]int{65, 65, 78, 0}, []string{"warning: exit code 65", "warning: exit code 65", "warning: exit code 78", "well again"}},
		{[]int{2, 73, 1}, []string{"error: exit code 2", "error: exit code 73", "error: exit code 1"}},
		{[]int{69, 65, 69}, []string{"warning: no network", "warning: exit code 65", "warning: no network"}},
		{[]int{77, 77}, []string{"error: exit code 77", "error: exit code 77"}},
		{[]int{-1, 0}, []string{"error: could not be run to its end: gone", "well again"}},
	} {
		var out bytes.Buffer
		s := &service{out: &lines{to: &out}, ended: map[string]int{}}
		for i, code := range tt.codes {
			out.Reset()
			var err error
			if code < 0 {
				code, err = exitFailure, fmt.Errorf("gone")
			}
			s.judge("p", s.last("p"), code, err)
			_, got, _ := strings.Cut(out.String(), " p: ")
			if !strings.HasPrefix(got, tt.want[i]) || tt.want[i] == "" && got != "" {
				t.Errorf("%v: after run %d: %q, want %q", tt.codes, i, got, tt.want[i])
			}
		}
	}
}

// A thousand tills that are switched on together do not come together.
func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		role                config.Role
		every, jitter, want time.Duration
	}{
		{config.RoleTill, 5 * time.Minute, 0, time.Minute},
		{config.RoleTill, time.Minute, 0, 12 * time.Second},
		{config.RoleTill, 59 * time.Second, 0, 0},
		{config.RoleTill, time.Hour, time.Second, time.Second},
		{config.RoleServer, time.Hour, 0, 0},
		{config.RoleServer, time.Hour, time.Minute, time.Minute},
	} {
		p := config.Process{Every: config.Duration{Duration: tt.every}, Jitter: config.Duration{Duration: tt.jitter}}
		if got := (&service{role: tt.role}).jitter(p); got != tt.want {
			t.Errorf("%s every %s, %s: %s, want %s", tt.role, tt.every, tt.jitter, got, tt.want)
		}
	}
}

// A line of the text log begins with the time and the name, and has a word
// for what is serious.
func TestSay(t *testing.T) {
	var out bytes.Buffer
	l := &lines{to: &out}
	l.say(slog.LevelInfo, "p", "a %d", 1)
	l.say(slog.LevelWarn, "", "b")
	l.say(slog.LevelError, "p", "c")
	const stamp = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d `
	if !regexp.MustCompile("^" + stamp + "p: a 1\n" + stamp + "run: warning: b\n" + stamp + "p: error: c\n$").MatchString(out.String()) {
		t.Errorf("%q", out.String())
	}
}
