package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/schedule"
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
	troubled  map[string]int // the exit code that each process ended with last
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
	s := &service{app: a, role: role, out: &lines{to: a.stderr, json: a.logFormat == "json"}, troubled: map[string]int{}}
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
	s.processes, err = chosen(s.common, names)
	return s, err
}

// chosen returns the processes that are named, or all; in the file's order.
func chosen(c *config.Common, names []string) (list []config.Process, err error) {
	var known []string
	for _, p := range c.Processes {
		known = append(known, p.Name)
		if len(names) == 0 && p.Action == config.ActionUpdate {
			continue // not yet in this version; doctor says so
		}
		if len(names) == 0 || slices.Contains(names, p.Name) {
			list = append(list, p)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, &usageError{fmt.Errorf("there is no process %q in %s; it has %q", n, c.File, known)}
		}
	}
	for _, p := range list {
		if p.Action == config.ActionUpdate {
			return nil, &usageError{fmt.Errorf("process %q: the action update is not in this version yet", p.Name)}
		}
	}
	if len(list) == 0 {
		return nil, &config.Error{File: c.File, Key: "process", Problem: "there is no process to run",
			Hint: "write a table [[process]] with name, action and every for each; see caisseauto doctor"}
	}
	return list, nil
}

// once runs each process once.
func (s *service) once(ctx context.Context) error {
	var first error
	for _, p := range s.processes {
		code, err := s.start(ctx, p, s.app.stdout, s.app.stderr)
		if err == nil && code != exitDone {
			err = &exitError{p.Name, code}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
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
	byName := map[string]config.Process{}
	var list []schedule.Process
	for _, p := range s.processes {
		if p.Every.Duration == 0 {
			s.out.say(p.Name, "has no every: it runs by `caisseauto run %s --once` alone", p.Name)
			continue
		}
		byName[p.Name] = p
		list = append(list, schedule.Process{Name: p.Name, Stream: s.stream(p), Every: p.Every.Duration, Jitter: s.jitter(p)})
		s.out.say(p.Name, "%s every %s", p.Action, p.Every)
	}
	if err := notify("READY=1"); err != nil {
		s.app.log().Warn("telling systemd that the service is ready", "error", err.Error())
	}
	sch := &schedule.Schedule{Run: func(ctx context.Context, p schedule.Process) schedule.Outcome { return s.run(ctx, byName[p.Name]) }}
	sch.Loop(ctx, list)
	s.out.say("", "stopped")
	return nil
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

// run runs a process as the service does: its lines go to the log.
func (s *service) run(ctx context.Context, p config.Process) schedule.Outcome {
	out, errs := s.out.of(p.Name), s.out.of(p.Name)
	code, err := s.start(ctx, p, out, errs)
	out.flush()
	errs.flush()
	if ctx.Err() != nil {
		return schedule.Ended
	}
	s.judge(p.Name, code, err)
	switch code {
	case exitBusy:
		return schedule.Busy
	case exitDenied:
		return schedule.Denied
	}
	return schedule.Ended
}

// judge tells what a run came to, where a person should know. A network that
// is gone is told when it goes and when it is back.
func (s *service) judge(name string, code int, err error) {
	s.out.mu.Lock()
	last := s.troubled[name]
	s.troubled[name] = code
	s.out.mu.Unlock()
	switch {
	case err != nil:
		s.out.say(name, "could not be run: %v", err)
	case code == exitDone && last != exitDone && last != exitBusy:
		s.out.say(name, "well again")
	case code == exitDone, code == exitBusy, code == exitUnavailable && last == exitUnavailable:
	case code == exitUnavailable:
		s.out.say(name, "no network, or no drop: going on quietly until it is back")
	case code == exitDenied:
		s.out.say(name, "exit code %d: not permitted; the next try is in 15 minutes or later", code)
	default:
		s.out.say(name, "exit code %d", code)
	}
}

// arguments are the command line of a process.
func (s *service) arguments(p config.Process) []string {
	args := []string{p.Action, "--config", s.common.File}
	if p.Dossier != "" && s.role != config.RoleTill {
		args = append(args, "--dossier", p.Dossier)
	}
	if s.app.logFormat == "json" {
		args = append(args, "--log", "json")
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
