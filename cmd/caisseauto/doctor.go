package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
)

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, keys, database and processes; say what to do",
		Long: `Looks at what an exchange needs on this side, and says under each finding what to
do about it. Nothing is changed, and no network is touched. While something is
wrong the exit code is 78; notes alone are no reason for it.`,
		Example: "  caisseauto doctor --config server.toml",
		RunE:    func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
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
	common   *config.Common
	server   *config.Server // nil on a till
	till     *config.Till   // nil on a server
	findings []finding
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

func (a *app) doctor(ctx context.Context) error {
	_, role, err := a.side()
	if err != nil {
		return err
	}
	p := &patient{}
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
	}
	p.ok("configuration %s", p.common.File)
	for _, look := range []func(context.Context, *patient){lookKeys, lookFolders, lookClock, lookDatabase, lookInstalled, lookProcesses, lookRules, lookDrift} {
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
				a.printf("       → %s\n", f.Remedy)
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
