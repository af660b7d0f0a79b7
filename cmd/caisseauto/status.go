package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/release"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
)

type statusFlags struct {
	acknowledge                       int64
	reason                            string
	drop, signers, report, prometheus string
	watch                             bool
	every                             time.Duration
}

func (a *app) statusCommand() *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Who is where, what waits, what is wrong",
		Long: `Each till's positions, how far it is behind in batches and time, what waits on it
and in quarantine, its alarms, program and clock, which software packages run there and
whether another release is on the drop: from the signed heads, receipts and manifests
on it, so that it can be asked wherever the drop can be read, with --drop and --signers
without any configuration. On the server the alarms that stand in its database come
with it. On a till: what waits in the outbox, and the newest receipt.

While an alarm stands, or rows are in quarantine, the exit code is 78; a package that a
till has refused or rolled back is told, and does not change it. An alarm of
the server is taken back with --acknowledge ID --reason TEXT.`,
		Example: `  caisseauto status --config server.toml
  caisseauto status --watch
  caisseauto status --drop /mnt/usb/drop --signers allowed_signers --html status.html
  caisseauto status --prometheus /var/lib/node_exporter/caisseauto.prom
  caisseauto status --acknowledge 3 --reason 'the copy of till 017 is switched off'`,
		RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context(), f) },
	}
	c.Flags().Int64Var(&f.acknowledge, "acknowledge", 0, "`ID` of an alarm that was looked at and stands no more")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	c.Flags().StringVar(&f.drop, "drop", "", "`FOLDER` that is the drop or a copy of it; else the drop of the configuration")
	c.Flags().StringVar(&f.signers, "signers", "", "allowed_signers `FILE`; else the one of the configuration")
	c.Flags().StringVar(&f.report, "html", "", "write a page into `FILE`: the table, a timeline for each till, charts")
	c.Flags().StringVar(&f.prometheus, "prometheus", "", "write the figures into `FILE` for node_exporter's textfile collector")
	c.Flags().BoolVar(&f.watch, "watch", false, "show it on the whole terminal and keep it up to date; end with Ctrl-C")
	c.Flags().DurationVar(&f.every, "every", 5*time.Second, "with --watch, how often to look")
	return c
}

func (a *app) status(ctx context.Context, f statusFlags) error {
	if (f.acknowledge > 0) != (f.reason != "") {
		return &usageError{errors.New("--acknowledge and --reason go together: the decision is recorded with its reason")}
	}
	if f.watch && f.every < time.Second {
		return &usageError{fmt.Errorf("--every %s: write one second or more", f.every)}
	}
	if f.drop == "" {
		_, role, err := a.side()
		if err != nil {
			return err
		}
		if role == config.RoleTill {
			return a.tillStatus(ctx)
		}
	}
	if f.acknowledge > 0 {
		err := a.withCollector(ctx, func(ctx context.Context, _ *config.Server, db *collect.Collector) error {
			return db.ClearAlarm(ctx, f.acknowledge, f.reason)
		})
		if err != nil {
			return err
		}
	}
	if f.watch {
		return a.watch(ctx, f)
	}
	return a.dropStatus(ctx, f)
}

// side finds the configuration that is meant, and whether it is a server's or
// a till's. A release manager's is refused.
func (a *app) side() (path string, role config.Role, err error) {
	path, role, err = a.anySide()
	if err == nil && role == config.RoleRelease {
		err = &config.Error{File: path, Problem: "this is a release manager's configuration, and this command is for a server or a till",
			Hint: "name a server.toml or a till.toml with --config FILE"}
	}
	return path, role, err
}

// anySide is side for commands that a release manager has too.
func (a *app) anySide() (path string, role config.Role, err error) {
	if a.config == "" {
		return config.Find(".")
	}
	role, err = config.RoleOf(a.config)
	return a.config, role, err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// A tillState is what status prints on a till with --json.
type tillState struct {
	Till        string   `json:"till"`
	Stream      string   `json:"stream"`
	Sealed      int64    `json:"sealed"`
	Epoch       int64    `json:"epoch"`
	Receipt     int64    `json:"receipt"`
	Applied     int64    `json:"applied"`
	Waiting     int64    `json:"waiting"`
	Tickets     int64    `json:"tickets_waiting"`
	Oldest      string   `json:"oldest_waiting,omitempty"`
	Quarantine  int64    `json:"quarantine"`
	Offline     string   `json:"offline_since,omitempty"`
	Incarnation string   `json:"incarnation"`
	Alarms      []string `json:"alarms"`

	Software *release.Software `json:"software,omitempty"` // nil: none is installed by this program
}

func (a *app) tillStatus(ctx context.Context) error {
	cfg, dossier, err := a.tillConfig(ctx)
	if err != nil {
		return err
	}
	s := &synchroniser{app: a, cfg: cfg, dossier: dossier, stream: importer.StreamUp(dossier, cfg.Identity.Number),
		box: sqlite.NewOutbox(cfg.Database.DSN, outboxOptions(cfg, dossier))}
	v, err := s.read(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return term.JSON(a.stdout, v)
	}
	t := term.NewTable("till", "sealed", "receipt", "applied", "rows waiting", "tickets waiting", "oldest", "in quarantine", "off line since")
	t.Row(v.Till, fmt.Sprint(v.Sealed), fmt.Sprint(v.Receipt), fmt.Sprint(v.Applied), term.Count(v.Waiting), term.Count(v.Tickets), dash(v.Oldest),
		term.Count(v.Quarantine), dash(v.Offline))
	if err := t.Print(a.stdout); err != nil {
		return err
	}
	if v.Software != nil {
		a.printf("software: %s\n", running(runsOf(v.Software)))
		if n := len(v.Software.Updates); n > 0 {
			u := v.Software.Updates[n-1]
			a.printf("last update, %s: %s\n", u.At.Format(time.RFC3339), term.Clean(sentence(u)))
		}
	}
	if len(v.Alarms) > 0 {
		return fmt.Errorf("%w: %s", errAlarm, strings.Join(v.Alarms, "; "))
	}
	return nil
}

// read reads what status shows of a till.
func (s *synchroniser) read(ctx context.Context) (v tillState, err error) {
	v = tillState{Till: s.cfg.Identity.Number, Stream: s.stream, Alarms: []string{}}
	stand, err := s.box.Stand(ctx, s.stream)
	if err != nil {
		return v, err
	}
	v.Sealed, v.Epoch = stand.Last.Sequence, stand.Last.Epoch
	state, err := s.state(ctx)
	if err != nil {
		return v, err
	}
	v.Incarnation, v.Waiting = state.Incarnation, state.Waiting
	v.Alarms, v.Software = append(v.Alarms, state.Alarms...), state.Software
	if state.Applied != nil {
		v.Applied = state.Applied.Sequence
	}
	if !state.OldestWaiting.IsZero() {
		v.Oldest = state.OldestWaiting.UTC().Format(time.RFC3339)
	}
	w, err := s.box.Waiting(ctx)
	if err != nil {
		return v, err
	}
	v.Tickets = w.Tickets
	last, err := s.box.Received(ctx)
	if err != nil {
		return v, err
	}
	if last != nil {
		v.Receipt, v.Quarantine = last.Sequence, last.Waiting
	}
	v.Offline, err = s.box.State(ctx, stateOffline)
	return v, err
}
