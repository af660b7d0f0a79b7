package main

import (
	"log/slog"
	"os"
	"time"

	"caisseauto/internal/term"
)

// The forms of a log. None was asked for: warnings only, as text, for results
// go to stdout and a cron line that has nothing to tell should be quiet.
const (
	logText = "text"
	logJSON = "json"
)

// log returns the logger of this run, on stderr: warnings only; with --log
// also an event for each batch; with --verbose each step. What it says names
// streams, numbers, files and times, never rows: no secret and nobody's data
// gets into a log.
func (a *app) log() *slog.Logger {
	level := slog.LevelWarn
	if a.logFormat != "" {
		level = slog.LevelInfo
	}
	if a.verbose {
		level = slog.LevelDebug
	}
	return a.logAt(level)
}

func (a *app) logAt(level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if a.logFormat == logJSON {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}

// event logs that something was done to a batch of a stream: its number, and
// the time that it took, in seconds.
func (a *app) event(what, stream string, sequence int64, took time.Duration, more ...any) {
	args := append([]any{"stream", stream, "sequence", sequence, "duration", took.Round(time.Millisecond).Seconds()}, more...)
	a.log().Info(what, args...)
}

// When a bar appears, and how often a line is logged; 0: as term has it. Tests
// have less patience.
var progressAfter, progressEvery time.Duration

// newProgress starts a bar, or where stderr is no terminal a line every half
// minute, whatever else is logged: what takes that long is to be seen.
func (a *app) newProgress(label string, total int64, bytes bool) *term.Progress {
	out := a.stderr
	if out == nil {
		out = os.Stderr
	}
	return term.NewProgress(term.ProgressOptions{Label: label, Total: total, Bytes: bytes, Out: out, Log: a.logAt(slog.LevelInfo),
		After: progressAfter, LogEvery: progressEvery})
}
