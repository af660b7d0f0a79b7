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
  caisseauto doctor --config till.toml --drop
  caisseauto doctor --config release.toml`,
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
	server   *config.Server // one of the three, the others are nil
	till     *config.Till
	release  *config.Release
	dossiers []config.Dossier // that are asked about; on a till none
	tryDrop  bool
	now      time.Time
	findings []finding
}

// init is the command that makes what is missing on this side.
func (p *patient) init() string {
	role := config.RoleServer
	switch {
	case p.till != nil:
		role = config.RoleTill
	case p.release != nil:
		role = config.RoleRelease
	}
	return fmt.Sprintf("caisseauto init %s --config %s", role, p.common.File)
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
	_, role, err := a.anySide()
	if err != nil {
		return err
	}
	p := &patient{app: a, tryDrop: tryDrop, now: time.Now()}
	if err := p.load(role); err != nil {
		return err
	}
	p.ok("configuration %s", p.common.File)
	looks := []func(context.Context, *patient){
		lookKeys, lookOwnKey, lookTrust, lookFolders, lookClock, lookDatabase, lookInstalled, lookOutbox, lookProcesses, lookRules, lookUpdate, lookDrift, lookDrop,
	}
	if p.release != nil { // who has no database, and no process
		looks = []func(context.Context, *patient){lookKeys, lookReleaseKey, lookTrust, lookFolders, lookClock, lookDrop}
	}
	for _, look := range looks {
		look(ctx, p)
	}
	return a.report(p)
}

// load reads the configuration, which is of that role.
func (p *patient) load(role config.Role) (err error) {
	switch role {
	case config.RoleTill:
		if p.till, err = p.app.loadTill(); err == nil {
			p.common = &p.till.Common
		}
	case config.RoleRelease:
		if p.release, err = p.app.loadRelease(); err != nil {
			return err
		}
		p.common = &p.release.Common
		var list []config.ReleaseDossier
		list, err = p.app.releaseDossiers(p.release)
		for _, d := range list {
			p.dossiers = append(p.dossiers, config.Dossier{Code: d.Code})
		}
	default:
		if p.server, err = p.app.loadServer(); err == nil {
			p.common = &p.server.Common
			p.dossiers, err = p.app.dossiers(p.server)
		}
	}
	return err
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
