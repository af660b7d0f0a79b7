package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

func lookKeys(_ context.Context, p *patient) {
	s := p.common.Signing
	switch _, err := p.app.signerOf(p.common); {
	case s.Principal == "" && p.till == nil:
		p.note(p.init()+", unless this server only looks at a drop", "no key to look at: nothing can be signed here")
	case s.Agent && err != nil:
		p.wrong("start the agent where the scheduled processes find it (SSH_AUTH_SOCK in their environment), and ssh-add the key", "signing key: %v", err)
	case s.Agent:
		p.ok("signing key in the SSH agent")
	case err != nil && s.Principal != "":
		p.wrong("one that is missing: "+p.init()+"; one that others can read: chmod 600 "+s.Key+"; an encrypted one: "+threeWays, "signing key: %v", err)
	default:
		p.lookKeyFile(s.Key)
	}
	if _, err := keys.LoadTrust(p.common.Trust.AllowedSigners); err != nil {
		remedy := "correct the file, or where there is none: " + p.init()
		if p.till != nil {
			remedy = "bring the server's allowed_signers here by a way that you trust (" + p.init() + " --trust FILE copies it); without it no batch is accepted"
		}
		p.wrong(remedy, "allowed_signers: %v", err)
	} else {
		p.ok("allowed_signers %s", p.common.Trust.AllowedSigners)
	}
}

// lookKeyFile looks at a key file by itself.
func (p *patient) lookKeyFile(path string) {
	d, err := keys.Describe(path)
	if err != nil {
		p.wrong("one that is missing: "+p.init()+"; one that others can read: chmod 600 "+path, "signing key: %v", err)
		return
	}
	p.ok("signing key %s, %s", path, d[0].Fingerprint)
}

// lowSpace is what a disk should have left: a baseline of a large dossier, a
// few times over.
const lowSpace = 512 << 20

func lookFolders(_ context.Context, p *patient) {
	folders, beside, what := []string{p.common.Paths.Outbox, p.common.Paths.Inbox, p.common.Paths.Stage}, p.common.Database.DSN, "the database"
	if p.common.Database.Driver == config.DriverPostgres { // it has a machine and a disk of its own
		beside, what = p.common.File, "the configuration"
	}
	if p.release != nil {
		folders, beside, what = folders[:1], p.common.File, "the configuration"
		if p.common.Drop.Local() {
			folders = append(folders, p.common.Drop.Folder)
		}
	}
	if trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners); err == nil && len(trust.Dossiers()) > 0 {
		folders = append(folders, filepath.Dir(p.common.Trust.AllowedSigners)) // trust documents are written there
	}
	for _, dir := range folders {
		there := dir
		for { // one that is not there yet is made where it is needed
			if _, err := os.Stat(there); err == nil || filepath.Dir(there) == there {
				break
			}
			there = filepath.Dir(there)
		}
		probe, err := os.CreateTemp(there, ".doctor-*")
		if err != nil {
			p.wrong("give the account that runs caisseauto the right to write there", "folder %s: %v", dir, err)
			continue
		}
		_ = probe.Close()
		_ = os.Remove(probe.Name())
	}
	if free := freeBytes(filepath.Dir(beside)); free > 0 && free < lowSpace {
		p.wrong("make room: a full disk stops what is sealed or applied here (exit code 73)", "%s is free beside %s", term.Size(free), what)
	} else if free > 0 {
		p.ok("folders can be written to, %s is free", term.Size(free))
	}
}

func lookDatabase(ctx context.Context, p *patient) {
	path := p.common.Database.DSN
	if p.common.Database.Driver == config.DriverPostgres {
		lookPostgres(ctx, p)
		return
	}
	if err := mayWrite(path); err != nil {
		p.wrong("correct database.dsn, or give the account that runs caisseauto the right to read and write the file and its folder", "database: %v", err)
		return
	}
	c, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		p.wrong("correct database.dsn, or give this account the right to read and write the file and its folder", "database: %v", err)
		return
	}
	defer c.Close()
	mode := ""
	if err := c.Query("PRAGMA journal_mode", func(s *sqlite3.Stmt) error { mode = s.Text(0); return nil }); err != nil {
		p.wrong("if another program holds it, try again; if it is damaged, restore it from a backup", "database %s: %v", path, err)
		return
	}
	if mode != "wal" {
		p.note("with the programs that use it stopped: sqlite3 "+path+" 'PRAGMA journal_mode=WAL'; without it whoever reads keeps the others from writing, and an import makes the cashier wait",
			"database %s has journal mode %s", path, mode)
		return
	}
	p.ok("database %s, journal mode WAL", path)
}

func lookInstalled(ctx context.Context, p *patient) {
	if p.server != nil {
		sql, err := p.app.erpOf(p.server).sql(ctx)
		switch {
		case err != nil:
			p.wrong("correct the tables in "+p.common.File, "capture: %v", err)
		case sql != "":
			p.wrong(p.init()+" (--print-sql shows what it would do)", "journal and triggers are not as they should be")
		default:
			p.ok("journal and triggers are in place")
		}
		return
	}
	st, err := sqlite.ReadStanding(ctx, p.common.Database.DSN, rulesOf(p.till, ""))
	switch {
	case err != nil:
		p.wrong("correct [users] in "+p.common.File+", or the database", "whose till this is: %v", err)
	case st.Followed == "" && st.User == "" && given(p.till, st) == "":
		p.wrong(p.init()+" --dossier CODE", "no dossier is known: nothing was imported yet, and none was given")
	case st.Followed == "":
		p.note("caisseauto import --config "+p.common.File, "nothing was imported yet")
	default:
		if err := mayImport(ctx, p.till); err != nil {
			p.wrong("as it says; until then nothing is imported", "%v", err)
			return
		}
		p.ok("till %s follows dossier %s", p.till.Identity.Number, st.Followed)
	}
}

// lookProcesses says what nobody does.
func lookProcesses(_ context.Context, p *patient) {
	has := func(action, dossier string) bool {
		i := slices.IndexFunc(p.common.Processes, func(x config.Process) bool {
			return x.Action == action && (p.till != nil || x.Dossier == dossier || x.Dossier == "")
		})
		if i >= 0 && p.common.Processes[i].Every.Duration == 0 {
			name := p.common.Processes[i].Name
			p.note(`write every = "5m", unless cron or a timer runs it: caisseauto run `+name+" --once", "process %s has no every: the service leaves it out", name)
		}
		return i >= 0
	}
	lines := p.processLines
	if p.server != nil {
		for _, d := range p.dossiers {
			if has(config.ActionExport, d.Code) {
				p.ok("dossier %s has an export process", d.Code)
			} else {
				p.wrong(lines("export_caisseauto_"+strings.ToLower(d.Code), "export", d.Code, "5m"), "dossier %s has no export process: nothing is sealed for its tills", d.Code)
			}
			up := slices.ContainsFunc(d.Tables, func(t config.Table) bool { return t.Direction != config.DirectionDown })
			if up && !has(config.ActionCollect, d.Code) {
				p.wrong(lines("collect_caisseauto_"+strings.ToLower(d.Code), "collect", d.Code, "1m"), "dossier %s has no collect process: what its tills send is not integrated", d.Code)
			}
		}
		return
	}
	for _, x := range []struct{ name, action, every, why string }{
		{"import_caisseauto", config.ActionImport, "5m", "reference data does not come by itself"},
		{"synchroniseur", config.ActionSync, "1m", "tickets do not go up by themselves"},
	} {
		if has(x.action, "") {
			p.ok("the till has a process %s", x.action)
		} else {
			p.wrong(lines(x.name, x.action, "", x.every), "the till has no process %s: %s", x.action, x.why)
		}
	}
}

// processLines is what to write for a process.
func (p *patient) processLines(name, action, dossier, every string) string {
	text := fmt.Sprintf("add to %s, or leave it to cron or a timer (scripts/README.md):\n         [[process]]\n         name    = %q\n         action  = %q\n", p.common.File, name, action)
	if dossier != "" {
		text += fmt.Sprintf("         dossier = %q\n", dossier)
	}
	return text + fmt.Sprintf("         every   = %q", every)
}

// lookRules says which of a till's own rules are not configured.
func lookRules(_ context.Context, p *patient) {
	if p.till == nil {
		return
	}
	if p.till.Identity.DefaultUser == "" {
		p.note(`default_user = "…" in [till], for a till that is to follow its default user`, "no default user: the till follows the dossier in its configuration")
	}
	if p.till.Users == nil {
		p.note(`[users] with table, key and attachment in till.toml, for a till that is to keep its own users alone`, "no user filter: all users of the dossier are on this till")
	} else if p.till.Identity.ServiceUser == "" {
		p.note(`service_user = "…" in [till]: then an import that would delete it is refused`, "the account that the processes run under is not protected from the user filter")
	}
	if p.till.Identity.Registry == nil {
		p.note(`registry = { table = "…", key = "…" } in [till]`, "nobody looks whether the server knows this till's number")
	}
}

// lookDrift tells what an import leaves out.
func lookDrift(ctx context.Context, p *patient) {
	if p.till == nil {
		return
	}
	db := p.opened()
	if db == nil {
		return // told already
	}
	defer db.Close()
	list, err := db.Drifts(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.wrong("if another program holds the database, try again", "schema: %v", err)
		return
	}
	for _, d := range list {
		p.note("change the till's table so that it fits, then ask the server for a baseline: caisseauto export --baseline",
			"since batch %d of %s, %s of table %s is ignored: %s (sent %q, here %q)", d.Sequence, d.Stream, d.Column, d.Table, d.Kind, d.Sent, d.Have)
	}
}
