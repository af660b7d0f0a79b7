package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/schedule"
	"caisseauto/internal/term"
)

func (a *app) runCommand() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "run [PROCESS…]",
		Short: "Run the processes of the configuration on their schedule",
		Long: `Runs each [[process]] of the configuration every so often, as a service, or
those that are named. Every run is a program of its own: what goes wrong with one
does not touch the others. Two runs of one stream never overlap, also not with
one that is started by hand. With --once each runs once, in the order of the
file, and the exit code is the first that is not 0: for cron.`,
		Example: `  caisseauto run --config /etc/caisseauto/server.toml
  caisseauto run export_caisseauto_acme --once`,
		RunE: func(c *cobra.Command, names []string) error { return a.runProcesses(c.Context(), names, once) },
	}
	c.Flags().BoolVar(&once, "once", false, "run each once and end, for cron")
	return c
}

// A service is what run works with.
type service struct {
	app       *app
	common    *config.Common
	role      config.Role
	processes []config.Process
	out       *lines

	mu    sync.Mutex
	ended map[string]int // the exit code that each process ended with last
}

func (a *app) runProcesses(ctx context.Context, names []string, once bool) error {
	s, err := a.openService(names)
	if err != nil {
		return err
	}
	if once {
		return s.once(ctx)
	}
	return s.forever(ctx)
}

func (a *app) openService(names []string) (*service, error) {
	_, role, err := a.side()
	if err != nil {
		return nil, err
	}
	s := &service{app: a, role: role, out: &lines{to: a.stderr, json: a.logFormat == logJSON}, ended: map[string]int{}}
	if role == config.RoleTill {
		cfg, err := a.loadTill()
		if err != nil {
			return nil, err
		}
		s.common = &cfg.Common
	} else {
		cfg, err := a.loadServer()
		if err != nil {
			return nil, err
		}
		s.common = &cfg.Common
	}
	s.processes, err = s.chosen(names)
	return s, err
}

// chosen returns the processes that are named, or all; in the file's order.
func (s *service) chosen(names []string) (list []config.Process, err error) {
	c := s.common
	var known []string
	for _, p := range c.Processes {
		known = append(known, p.Name)
		if len(names) == 0 || slices.Contains(names, p.Name) {
			list = append(list, p)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, &usageError{fmt.Errorf("there is no process %q in %s; it has %q", n, c.File, known)}
		}
	}
	if len(list) == 0 {
		return nil, &config.Error{File: c.File, Key: "process", Problem: "there is no process to run",
			Hint: "write a table [[process]] with name, action and every for each; see caisseauto doctor"}
	}
	return list, nil
}

// once runs each process once, and tells what came of each.
func (s *service) once(ctx context.Context) error {
	var first error
	for _, p := range s.processes {
		begin := time.Now()
		code, err := s.start(ctx, p, s.app.stdout, s.app.stderr)
		took := term.Duration(time.Since(begin))
		if ctx.Err() != nil {
			s.out.say(slog.LevelWarn, p.Name, "stopped after %s", took)
			return context.Cause(ctx)
		}
		if err == nil && code != exitDone {
			err = &exitError{p.Name, code}
		}
		if err == nil {
			s.out.say(slog.LevelInfo, p.Name, "%s, done in %s", p.Action, took)
		} else {
			s.out.say(slog.LevelError, p.Name, "%s, %v after %s", p.Action, err, took)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// An exitError passes on the exit code of a process, which has said itself
// what was the matter.
type exitError struct {
	process string
	code    int
}

func (e *exitError) Error() string {
	return fmt.Sprintf("process %s ended with exit code %d", e.process, e.code)
}

// forever runs the processes until ctx ends.
func (s *service) forever(ctx context.Context) error {
	if err := durable.MkdirAll(s.common.Paths.Outbox, 0o755); err != nil {
		return err
	}
	unlock, err := durable.Lock(filepath.Join(s.common.Paths.Outbox, ".run"))
	if err != nil {
		return fmt.Errorf("another caisseauto run of %s is at work: %w", s.common.File, err)
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case
	list := s.scheduled()
	if len(list) == 0 {
		return &config.Error{File: s.common.File, Key: "process.every", Problem: "missing at every process that was asked for: there is nothing to wait for",
			Hint: `write every = "5m", or run them with --once`}
	}
	if err := notify("READY=1"); err != nil {
		s.out.say(slog.LevelWarn, "", "systemd could not be told that the service is ready: %v", err)
	}
	sch := &schedule.Schedule{Run: func(ctx context.Context, p schedule.Process) schedule.Outcome { return s.run(ctx, p.Name) }}
	sch.Loop(ctx, list)
	s.out.say(slog.LevelInfo, "", "stopped")
	return nil
}

// scheduled are the processes that have a time of their own.
func (s *service) scheduled() (list []schedule.Process) {
	for _, p := range s.processes {
		if p.Every.Duration == 0 {
			s.out.say(slog.LevelInfo, p.Name, "has no every: it runs by `caisseauto run %s --once` alone", p.Name)
			continue
		}
		list = append(list, schedule.Process{Name: p.Name, Stream: s.stream(p), Every: p.Every.Duration, Jitter: s.jitter(p)})
		s.out.say(slog.LevelInfo, p.Name, "%s every %s", p.Action, p.Every)
	}
	return list
}

// stream names what two processes must not work on at the same time.
func (s *service) stream(p config.Process) string {
	if s.role == config.RoleTill {
		return p.Action
	}
	return p.Action + "/" + p.Dossier
}

// jitter is the configured one, or a fifth of the time between two runs on a
// till: a thousand of them may have been switched on in the same minute.
func (s *service) jitter(p config.Process) time.Duration {
	if p.Jitter.Duration == 0 && s.role == config.RoleTill && p.Every.Duration >= time.Minute {
		return p.Every.Duration / 5
	}
	return p.Jitter.Duration
}

// run runs a process as the service does: its lines go to the log. What keeps
// ending the same way, without a network or at a busy database, is heard once.
func (s *service) run(ctx context.Context, name string) schedule.Outcome {
	i := slices.IndexFunc(s.processes, func(p config.Process) bool { return p.Name == name })
	last := s.last(name)
	said := s.out.of(name, last == exitUnavailable || last == exitBusy)
	code, err := s.start(ctx, s.processes[i], said.stdout(), said.stderr())
	said.end(err == nil && code == last)
	if ctx.Err() != nil {
		return schedule.Ended
	}
	s.judge(name, last, code, err)
	switch code {
	case exitBusy:
		return schedule.Busy
	case exitDenied:
		return schedule.Denied
	}
	return schedule.Ended
}

// last is the exit code that a process ended with last.
func (s *service) last(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[name]
}

// judge tells what a run came to, where a person should know. A network that
// is gone, or a database that is busy, is told when that begins and when it
// is over.
func (s *service) judge(name string, last, code int, err error) {
	if code == exitBusy && last == exitUnavailable {
		return // the network may still be gone: that is told when it is over
	}
	s.mu.Lock()
	s.ended[name] = code
	s.mu.Unlock()
	again := code == last
	switch {
	case err != nil:
		s.out.say(slog.LevelError, name, "could not be run to its end: %v", err)
	case code == exitDone && again, code == exitUnavailable && again, code == exitBusy && again:
	case code == exitDone:
		s.out.say(slog.LevelInfo, name, "well again")
	case code == exitUnavailable:
		s.out.say(slog.LevelWarn, name, "no network, or no drop: going on quietly until it is back")
	case code == exitBusy:
		s.out.say(slog.LevelInfo, name, "something else is at work: trying again soon, and quietly until it is done")
	case code == exitDenied:
		s.out.say(slog.LevelError, name, "exit code %d: not permitted; the next try is in 15 minutes or later", code)
	case code == exitRefused, code == exitOperator:
		s.out.say(slog.LevelWarn, name, "exit code %d", code)
	default:
		s.out.say(slog.LevelError, name, "exit code %d", code)
	}
}

// arguments are the command line of a process.
func (s *service) arguments(p config.Process) []string {
	args := []string{p.Action, "--config", s.common.File}
	if p.Dossier != "" && s.role != config.RoleTill {
		args = append(args, "--dossier", p.Dossier)
	}
	if p.Action == config.ActionUpdate {
		args = append(args, "--confirm", confirmNever)
	}
	if s.app.logFormat != "" {
		args = append(args, "--log", s.app.logFormat)
	}
	if s.app.verbose {
		args = append(args, "--verbose")
	}
	return args
}

// isExit returns the exit code that an error passes on.
func isExit(err error) (int, bool) {
	var e *exitError
	if errors.As(err, &e) {
		return e.code, true
	}
	return 0, false
}
