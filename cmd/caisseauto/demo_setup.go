package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// setUp makes databases, keys and configurations, as init does.
func (d *demo) setUp(ctx context.Context) error {
	for _, dir := range []string{d.server("keys"), filepath.Join(d.dir, "drop", demoDossier)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := d.fillServer(ctx); err != nil {
		return err
	}
	users := make([]config.ServeUser, 0, len(d.tills))
	for _, number := range d.tills { // the late one too: its key is known before it comes
		login, err := d.makeTill(number)
		if err != nil {
			return err
		}
		users = append(users, config.ServeUser{Name: "till-" + number, Dossier: demoDossier, Till: number,
			Keys: config.PublicKeys{keys.AuthorizedLine(login, "")}})
	}
	manager, err := d.releaseLogin()
	if err != nil {
		return err
	}
	if err := d.writeServer(append(users, manager)); err != nil {
		return err
	}
	if err := d.quiet(ctx, "init", "server", "--config", d.server("server.toml")); err != nil {
		return err
	}
	if err := d.makeRelease(ctx); err != nil {
		return err
	}
	if err := d.ceremony(ctx); err != nil {
		return err
	}
	if d.late != "" {
		d.tills = d.tills[:len(d.tills)-1]
	}
	for _, number := range d.tills {
		if err := d.joinTill(ctx, number); err != nil {
			return err
		}
	}
	return d.believe(ctx, d.tills...)
}

// ceremony makes three roots, two of whom sign whom the tills may trust. Here
// they lie in a folder; in life each is kept off line, by another person.
func (d *demo) ceremony(ctx context.Context) error {
	roots := filepath.Join(d.dir, "roots")
	if err := os.MkdirAll(roots, 0o700); err != nil {
		return err
	}
	draft := filepath.Join(roots, rotation.Name(1))
	args := []string{"trust", "new", "--config", d.server("server.toml"), "--threshold", "2", "--to", roots,
		"--key", "release@demo=" + d.release("keys/release.pub")}
	for _, n := range []string{"root-1", "root-2", "root-3"} {
		key := filepath.Join(roots, n)
		if _, err := keys.Generate(key, n+"@demo"); err != nil {
			return err
		}
		args = append(args, "--root", n+"@demo="+key+".pub")
	}
	for _, step := range [][]string{
		args,
		{"trust", "sign", draft, "--key", filepath.Join(roots, "root-1"), "--yes"},
		{"trust", "sign", draft, "--key", filepath.Join(roots, "root-3"), "--yes"},
		{"trust", "publish", "--config", d.server("server.toml"), draft},
	} {
		if err := d.quiet(ctx, step...); err != nil {
			return err
		}
	}
	// Everybody begins with the list that was published.
	list, err := os.ReadFile(d.server("allowed_signers"))
	if err != nil {
		return err
	}
	return durable.WriteFile(d.release("allowed_signers"), list, 0o644)
}

// addLate adds the last till when the others are at work: an empty disk, the
// server's allowed_signers, and one command.
func (d *demo) addLate(ctx context.Context) error {
	if d.late == "" {
		return nil
	}
	d.say("server     an operator seals a baseline, for till %s, which is new", d.late)
	if err := d.round(ctx, "--baseline"); err != nil {
		return err
	}
	if err := d.joinTill(ctx, d.late, "--create-schema"); err != nil {
		return err
	}
	if err := d.believe(ctx, d.late); err != nil {
		return err
	}
	d.say("till %s   is added: no database, no table; its tables are made by the signed manifests", d.late)
	if err := d.importInto(ctx, d.late); err != nil {
		return err
	}
	d.tills = append(d.tills, d.late)
	return nil
}

// believe adds tills' keys to the list of tills that the server signs.
func (d *demo) believe(ctx context.Context, tills ...string) error {
	for _, number := range tills {
		err := d.quiet(ctx, "trust", "add-till", number, "--config", d.server("server.toml"), "--key", d.till(number, "keys/till.pub"))
		if err != nil {
			return err
		}
	}
	return nil
}

// fillServer makes the ERP's database, of two companies.
func (d *demo) fillServer(ctx context.Context) error {
	c, err := sqlite3.Open(d.server("erp.db"), sqlite3.Create)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Exec("PRAGMA journal_mode=WAL"); err != nil {
		return err
	}
	if err := retail.CreateSchema(c); err != nil {
		return err
	}
	if _, err := retail.Fill(ctx, c, retail.Options{Dossier: demoDossier, Tills: d.tills}); err != nil {
		return err
	}
	_, err = retail.Fill(ctx, c, retail.Other())
	return err
}

func (d *demo) writeServer(users []config.ServeUser) error {
	s := &config.Server{}
	s.Database.DSN, s.Drop.URL = "erp.db", "file:../drop"
	s.Signing.Principal = "server@demo"
	s.Serve = &config.Serve{Listen: fmt.Sprintf("127.0.0.1:%d", d.port), Users: users}
	dossier := config.Dossier{Code: demoDossier}
	for _, t := range retail.Exchange() {
		dossier.Tables = append(dossier.Tables, config.Table{Name: t.Name, Direction: t.Direction, DossierColumn: t.DossierColumn,
			Exclude: t.Exclude, Capture: t.Capture, Conflict: t.Conflict, Append: t.Append,
			TillColumn: t.TillColumn, Totals: t.Totals, VersionColumn: t.VersionColumn, Touches: t.Touches})
	}
	s.Dossiers = []config.Dossier{dossier}
	s.Processes = []config.Process{
		{Name: "export_caisseauto_acme", Action: config.ActionExport, Dossier: demoDossier, Every: config.Duration{Duration: 5 * time.Minute}},
		{Name: "collect_caisseauto_acme", Action: config.ActionCollect, Dossier: demoDossier, Every: config.Duration{Duration: time.Minute}},
	}
	return config.WriteServer(d.server("server.toml"), s)
}

// makeTill makes a till's folder with a login key, and an empty database with
// the POS's tables; the late one has none.
func (d *demo) makeTill(number string) (ssh.PublicKey, error) {
	if err := os.MkdirAll(d.till(number, "keys"), 0o755); err != nil {
		return nil, err
	}
	if number == d.late {
		return keys.Generate(d.till(number, "keys/sftp"), "till-"+number)
	}
	c, err := sqlite3.Open(d.till(number, "till.db"), sqlite3.Create)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Exec("PRAGMA journal_mode=WAL"); err != nil {
		return nil, err
	}
	if err := retail.CreateSchema(c); err != nil {
		return nil, err
	}
	return keys.Generate(d.till(number, "keys/sftp"), "till-"+number)
}

// joinTill writes a till's configuration, with the server's host key pinned,
// and brings it the server's allowed_signers.
func (d *demo) joinTill(ctx context.Context, number string, args ...string) error {
	host, err := keys.LoadSSH(d.server("keys/ssh_host"), nil)
	if err != nil {
		return err
	}
	t := &config.Till{}
	t.Identity.Number, t.Identity.Dossier = number, demoDossier
	t.Identity.DefaultUser, t.Identity.ServiceUser = retail.DefaultUser(number), demoService
	t.Identity.Registry = &config.Registry{Table: "caisse", Key: "numero"}
	t.Users = &config.Users{Table: "utilisateur", Key: "code",
		Attachment: &config.Attachment{Table: "utilisateur_caisse", User: "utilisateur", Till: "caisse"}}
	t.Database.DSN = "till.db"
	t.Drop.URL = fmt.Sprintf("sftp://till-%s@127.0.0.1:%d/", number, d.port)
	t.Drop.HostKey = config.PublicKeys{keys.AuthorizedLine(host.PublicKey(), "")}
	t.Drop.Key = "keys/sftp"
	t.Signing.Principal = fmt.Sprintf("till-%s@acme", number)
	t.Signing.Key = "keys/till"
	t.JET = config.DefaultJET()
	t.Update = &config.Update{Products: []config.Product{{Name: demoProduct}}}
	t.Processes = []config.Process{
		{Name: "import_caisseauto", Action: config.ActionImport, Every: config.Duration{Duration: 5 * time.Minute}},
		{Name: "synchroniseur", Action: config.ActionSync, Every: config.Duration{Duration: time.Minute}},
		{Name: "import_updatecaisse", Action: config.ActionUpdate, Every: config.Duration{Duration: time.Hour}},
	}
	if err := config.WriteTill(d.till(number, "till.toml"), t); err != nil {
		return err
	}
	return d.quiet(ctx, append([]string{"init", "till", "--config", d.till(number, "till.toml"), "--trust", d.server("allowed_signers")}, args...)...)
}

// quiet runs one command line whose output is of no interest here.
func (d *demo) quiet(ctx context.Context, args ...string) error {
	a := &bytes.Buffer{}
	if code := run(ctx, args, nil, a, a); code != exitDone {
		return fmt.Errorf("caisseauto %v: exit code %d: %s", args, code, a.String())
	}
	return nil
}
