package main

import (
	"context"
	"slices"
	"strings"

	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
	"caisseauto/keys"
)

// lookUpdate looks at what a till needs to install software packages, where it
// is configured to.
func lookUpdate(ctx context.Context, p *patient) {
	if p.till == nil || p.till.Update == nil {
		return
	}
	u := p.till.Update
	p.lookReleaseManagers()
	if u.BusyQuery != "" {
		if _, err := sqlite.Ask(ctx, p.common.Database.DSN, u.BusyQuery); err != nil {
			p.wrong("correct update.busy_query in "+p.common.File, "whether a sale is open cannot be asked, so that nothing is installed: %v", err)
		}
	}
	dossier, err := p.app.tillDossier(ctx, p.till)
	if err != nil {
		return // said elsewhere
	}
	all, _ := packagesOf(p.till, dossier).Standing() // what waits is not looked at here
	for _, s := range all {
		switch {
		case s.Trial:
			p.wrong("caisseauto update --confirm never --config "+p.common.File+", which finishes or undoes it", "%s: release %d runs and has not proven itself: an update was stopped", s.Product, s.Current.Release)
		case s.Current.IsZero():
			p.note("none, if none was published for this machine yet: caisseauto update --list", "%s: no package is installed", s.Product)
		default:
			p.ok("%s: %s (release %d) runs", s.Product, s.Current.Version, s.Current.Release)
		}
	}
	for i := range u.Products {
		if _, err := packagesOf(p.till, dossier).Products[i].Current(); err != nil {
			p.wrong("see there", "%v", err)
		}
	}
	if !slices.ContainsFunc(p.common.Processes, func(x config.Process) bool { return x.Action == config.ActionUpdate }) {
		p.note(p.processLines("import_updatecaisse", config.ActionUpdate, "", "1h"), "packages are not installed by themselves: there is no process update")
	}
}

// lookReleaseManagers looks whether anybody may sign packages.
func (p *patient) lookReleaseManagers() {
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return // said elsewhere
	}
	for _, who := range trust.Principals(keys.NamespacePackage) {
		if strings.HasPrefix(who, "release@") {
			p.ok("packages are accepted from %s", who)
			return
		}
	}
	p.wrong("bring the line that caisseauto init release prints into "+p.common.Trust.AllowedSigners+", or have it in the trust documents",
		"%s knows no release manager: no package is accepted", p.common.Trust.AllowedSigners)
}
