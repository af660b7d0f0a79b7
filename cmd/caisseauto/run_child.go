package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"caisseauto/internal/config"
)

// grace is how long a process may go on after it was told to stop: it ends
// what it is at, or rolls it back.
const grace = 30 * time.Second

// start runs a process to its end, as a program of its own, and returns its
// exit code.
func (s *service) start(ctx context.Context, p config.Process, stdout, stderr io.Writer) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	cmd := exec.CommandContext(ctx, exe, s.arguments(p)...)
	cmd.Args[0] = "caisseauto"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return stop(cmd.Process) }
	cmd.WaitDelay = grace
	orphans(cmd)
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitDone, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return exitFailure, fmt.Errorf("it was ended: %w", err)
	}
	return exitFailure, err
}

// lines writes whole lines of several processes to one place, each with the
// name of its process.
type lines struct {
	mu   sync.Mutex
	to   io.Writer
	json bool
}

// say writes a line of our own about a process, or about run itself.
func (l *lines) say(process, format string, args ...any) {
	l.write(process, fmt.Appendf(nil, format, args...))
}

func (l *lines) write(process string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if process == "" {
		process = "run"
	}
	if !l.json {
		fmt.Fprintf(l.to, "%s %s: %s\n", now.Format(time.DateTime), process, line)
		return
	}
	if json.Valid(line) && len(line) > 0 && line[0] == '{' { // the process writes such a log itself
		fmt.Fprintf(l.to, "%s\n", line)
		return
	}
	doc, err := json.Marshal(map[string]string{"time": now.Format(time.RFC3339), "process": process, "msg": string(line)})
	if err == nil {
		fmt.Fprintf(l.to, "%s\n", doc)
	}
}

// of returns a writer for what one process says.
func (l *lines) of(process string) *lineWriter { return &lineWriter{to: l, process: process} }

// A lineWriter passes on whole lines.
type lineWriter struct {
	to      *lines
	process string
	rest    []byte
}

// maxLine is the longest line that is kept together.
const maxLine = 64 << 10

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		n := bytes.IndexByte(w.rest, '\n')
		if n < 0 && len(w.rest) < maxLine {
			return len(b), nil
		}
		if n < 0 {
			n = len(w.rest)
		}
		w.to.write(w.process, bytes.TrimRight(w.rest[:n], "\r"))
		w.rest = append([]byte(nil), w.rest[min(n+1, len(w.rest)):]...)
	}
}

// flush passes on what did not end with a line feed.
func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.to.write(w.process, w.rest)
		w.rest = nil
	}
}

// notify tells systemd something, if it started us and wants to hear it
// (sd_notify(3)).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}
