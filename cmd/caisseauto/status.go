package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
)

func (a *app) statusCommand() *cobra.Command {
	var acknowledge int64
	var reason string
	c := &cobra.Command{
		Use:   "status",
		Short: "Who is where, what waits, what is wrong",
		Long: `On the server: each till's positions, what waits on it and in quarantine, and the
alarms that stand. On a till: what waits in the outbox, and the newest receipt.
While an alarm stands, or rows are in quarantine, the exit code is 78. An alarm
is taken back with --acknowledge ID --reason TEXT.`,
		Example: `  caisseauto status --config server.toml
  caisseauto status --acknowledge 3 --reason 'the copy of till 017 is switched off'`,
		RunE: func(c *cobra.Command, _ []string) error {
			if (acknowledge > 0) != (reason != "") {
				return &usageError{errors.New("--acknowledge and --reason go together: the decision is recorded with its reason")}
			}
			_, role, err := a.side()
			if err != nil {
				return err
			}
			if role == config.RoleTill {
				return a.tillStatus(c.Context())
			}
			return a.withCollector(c.Context(), func(ctx context.Context, cfg *config.Server, db *sqlite.Collector) error {
				if acknowledge > 0 {
					if err := db.ClearAlarm(ctx, acknowledge, reason); err != nil {
						return err
					}
				}
				return a.serverStatus(ctx, cfg, db)
			})
		},
	}
	c.Flags().Int64Var(&acknowledge, "acknowledge", 0, "`ID` of an alarm that was looked at and stands no more")
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

// side finds the configuration that is meant, and whose it is.
func (a *app) side() (path string, role config.Role, err error) {
	if a.config == "" {
		return config.Find(".")
	}
	role, err = config.RoleOf(a.config)
	return a.config, role, err
}

// A serverState is what status prints on a server with --json.
type serverState struct {
	Dossier string              `json:"dossier"`
	Tills   []sqlite.TillStatus `json:"tills"`
	Alarms  []sqlite.Alarm      `json:"alarms"`
}

func (a *app) serverStatus(ctx context.Context, cfg *config.Server, db *sqlite.Collector) error {
	list, err := a.dossiers(cfg)
	if err != nil {
		return err
	}
	states, alarms, units := []serverState{}, 0, int64(0)
	for _, d := range list {
		s := serverState{Dossier: d.Code, Tills: []sqlite.TillStatus{}, Alarms: []sqlite.Alarm{}}
		tills, err := db.Tills(ctx, d.Code)
		if err != nil {
			return err
		}
		standing, err := db.Alarms(ctx, sqlite.AlarmFilter{Dossier: d.Code})
		if err != nil {
			return err
		}
		s.Tills, s.Alarms = append(s.Tills, tills...), append(s.Alarms, standing...)
		for _, t := range tills {
			units += t.Units
		}
		alarms += len(standing)
		states = append(states, s)
	}
	if a.json {
		err = term.JSON(a.stdout, states)
	} else {
		err = a.printStates(states)
	}
	if err == nil && (alarms > 0 || units > 0) {
		err = fmt.Errorf("%w: %d alarms stand and %d units are in quarantine; look at quarantine list, and take an alarm back with: caisseauto status --acknowledge ID --reason TEXT",
			errAlarm, alarms, units)
	}
	return err
}

func (a *app) printStates(states []serverState) error {
	t := term.NewTable("dossier", "till", "integrated", "sealed", "applied", "waiting", "oldest", "quarantine", "alarms", "head", "host", "version")
	for _, s := range states {
		for _, x := range s.Tills {
			t.Row(s.Dossier, x.Till, fmt.Sprint(x.Integrated.Sequence), fmt.Sprint(x.Announced.Sequence), fmt.Sprint(x.Applied.Sequence),
				term.Count(x.Waiting), dash(x.OldestWaiting), term.Count(x.Quarantined), term.Count(x.Alarms), ago(x.HeadIssued), dash(x.Host), dash(x.Version))
		}
	}
	if t.Len() == 0 {
		a.printf("no till has sent anything yet\n")
	} else if err := t.Print(a.stdout); err != nil {
		return err
	}
	for _, s := range states {
		for _, x := range s.Tills {
			for _, text := range x.Says {
				a.printf("till %s of %s says: %s\n", x.Till, s.Dossier, text)
			}
		}
		for _, x := range s.Alarms {
			a.printf("ALARM %d  %s  till %s of %s, %s: %s\n", x.ID, x.At, x.Till, x.Dossier, x.Kind, x.Text)
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ago tells how long a time is past.
func ago(stamp string) string {
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return "-"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
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
	v.Alarms = append(v.Alarms, state.Alarms...)
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
