package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
)

func (a *app) doctorCommand() *cobra.Command {
	var tryDrop bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, keys, database and processes; say what to do",
		Long: `Looks at what an exchange needs on this side, and says under each finding what to
do about it. Nothing is changed, and no network is touched unless --drop asks for
it. While something is wrong the exit code is 78; notes alone are no reason for it.`,
		Example: `  caisseauto doctor --config server.toml
  caisseauto doctor --config till.toml --drop`,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context(), tryDrop) },
	}
	c.Flags().BoolVar(&tryDrop, "drop", false, "reach for the drop too, over the network if that is the way")
	return c
}

// How bad a finding is.
const (
	findingOK    = "ok"
	findingNote  = "note"
	findingWrong = "WRONG"
)

// A finding is one thing that was looked at.
type finding struct {
	State  string `json:"state"`
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
}

// A patient is what is looked at.
type patient struct {
	app      *app
	common   *config.Common
	server   *config.Server   // nil on a till
	dossiers []config.Dossier // of the server, that are asked about
	till     *config.Till     // nil on a server
	tryDrop  bool
	now      time.Time
	findings []finding
}

// init is the command that makes what is missing on this side.
func (p *patient) init() string {
	if p.till != nil {
		return "caisseauto init till --config " + p.common.File
	}
	return "caisseauto init server --config " + p.common.File
}

func (p *patient) ok(format string, args ...any) {
	p.findings = append(p.findings, finding{State: findingOK, What: fmt.Sprintf(format, args...)})
}

func (p *patient) note(remedy, format string, args ...any) {
	p.findings = append(p.findings, finding{findingNote, fmt.Sprintf(format, args...), remedy})
}

func (p *patient) wrong(remedy, format string, args ...any) {
	p.findings = append(p.findings, finding{findingWrong, fmt.Sprintf(format, args...), remedy})
}

func (a *app) doctor(ctx context.Context, tryDrop bool) error {
	_, role, err := a.side()
	if err != nil {
		return err
	}
	p := &patient{app: a, tryDrop: tryDrop, now: time.Now()}
	if role == config.RoleTill {
		if p.till, err = a.loadTill(); err != nil {
			return err
		}
		p.common = &p.till.Common
	} else {
		if p.server, err = a.loadServer(); err != nil {
			return err
		}
		p.common = &p.server.Common
		if p.dossiers, err = a.dossiers(p.server); err != nil {
			return err
		}
	}
	p.ok("configuration %s", p.common.File)
	for _, look := range []func(context.Context, *patient){
		lookKeys, lookOwnKey, lookTrust, lookFolders, lookClock, lookDatabase, lookInstalled, lookOutbox, lookProcesses, lookRules, lookDrift, lookDrop,
	} {
		look(ctx, p)
	}
	return a.report(p)
}

// report prints what was found.
func (a *app) report(p *patient) error {
	wrong := 0
	for _, f := range p.findings {
		if f.State == findingWrong {
			wrong++
		}
	}
	if a.json {
		if err := term.JSON(a.stdout, p.findings); err != nil {
			return err
		}
	} else {
		for _, f := range p.findings {
			a.printf("%-6s %s\n", f.State, term.Clean(f.What))
			if f.Remedy != "" {
				for i, line := range strings.Split(f.Remedy, "\n") {
					lead := "       → "
					if i > 0 {
						lead = ""
					}
					a.printf("%s%s\n", lead, term.Clean(line))
				}
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %d findings; nothing was changed; do what stands under them and run doctor again", errFindings, wrong)
	}
	return nil
}

// errFindings: an operator must mend something.
var errFindings = errors.New("not all is well")

// opened opens the till's database for looking; nil where it cannot be.
func (p *patient) opened() *sqlite.Till {
	db, err := sqlite.OpenTill(p.common.Database.DSN, sqlite.TillOptions{})
	if err != nil {
		return nil
	}
	return db
}
