package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// lines writes whole lines of several processes to one place, each with the
// name of its process.
type lines struct {
	mu   sync.Mutex
	to   io.Writer
	json bool
}

// say writes a line of our own about a process, or about run itself.
func (l *lines) say(level slog.Level, process, format string, args ...any) {
	text := fmt.Appendf(nil, format, args...)
	if !l.json {
		switch level {
		case slog.LevelWarn:
			text = append([]byte("warning: "), text...)
		case slog.LevelError:
			text = append([]byte("error: "), text...)
		}
	}
	l.write(line{level, text}, process)
}

// A line is one that a process wrote, or that is written about it.
type line struct {
	level slog.Level
	text  []byte
}

func (l *lines) write(said line, process string) {
	if process == "" {
		process = "run"
	}
	out := fmt.Appendf(nil, "%s %s: %s\n", time.Now().Format(time.DateTime), process, said.text)
	if l.json {
		out = encodeLine(said, process)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.to.Write(out) // a log that cannot be written is no reason to stop the exchange
}

// encodeLine is a line of a log in JSON. One that the process wrote in this
// form itself gets the name of the process, and stays as it is beyond that.
func encodeLine(said line, process string) []byte {
	text := said.text
	name, err := json.Marshal(process)
	if err == nil && len(text) > 2 && text[0] == '{' && json.Valid(text) {
		return fmt.Appendf(nil, "{\"process\":%s,%s\n", name, bytes.TrimLeft(text[1:], " \t"))
	}
	doc, err := json.Marshal(struct {
		Time    string `json:"time"`
		Level   string `json:"level"`
		Process string `json:"process"`
		Message string `json:"msg"`
	}{time.Now().Format(time.RFC3339Nano), said.level.String(), process, string(text)})
	if err != nil {
		doc = name
	}
	return append(doc, '\n')
}

// A talk is what one run of a process says. It may be held back until the run
// has ended: who is off line for a week needs to hear it once.
type talk struct {
	to      *lines
	process string

	mu    sync.Mutex
	hold  bool
	held  []line
	parts [2]*lineWriter
}

// of returns the talk of one run of a process.
func (l *lines) of(process string, hold bool) *talk {
	t := &talk{to: l, process: process, hold: hold}
	t.parts = [2]*lineWriter{{talk: t, level: slog.LevelInfo}, {talk: t, level: slog.LevelWarn}}
	return t
}

func (t *talk) stdout() io.Writer { return t.parts[0] }
func (t *talk) stderr() io.Writer { return t.parts[1] }

// maxHeld is how many lines are held back: a run that says more has something
// to say.
const maxHeld = 200

func (t *talk) write(said line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hold && len(t.held) < maxHeld {
		t.held = append(t.held, said)
		return
	}
	t.release()
	t.to.write(said, t.process)
}

func (t *talk) release() {
	for _, said := range t.held {
		t.to.write(said, t.process)
	}
	t.hold, t.held = false, nil
}

// end passes on what did not end with a line feed and what was held back;
// with forget, that is not passed on.
func (t *talk) end(forget bool) {
	for _, w := range t.parts {
		w.flush()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if forget {
		t.held = nil
	}
	t.release()
}

// A lineWriter makes lines of what a process writes.
type lineWriter struct {
	talk  *talk
	level slog.Level
	rest  []byte
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
		w.talk.write(line{w.level, bytes.Clone(bytes.TrimRight(w.rest[:n], "\r"))})
		w.rest = bytes.Clone(w.rest[min(n+1, len(w.rest)):])
	}
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.talk.write(line{w.level, w.rest})
		w.rest = nil
	}
}
