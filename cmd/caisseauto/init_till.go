package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

// principalOf is the name that a till signs with, unless another is
// configured.
func principalOf(number, dossier string) string {
	return strings.ToLower("till-" + number + "@" + dossier)
}

// A tillSetUp is one run of init till.
type tillSetUp struct {
	app     *app
	flags   initFlags
	cfg     *config.Till
	dossier string
	made    bool // the configuration
}

func (a *app) initTill(ctx context.Context, f initFlags) error {
	s := &tillSetUp{app: a, flags: f}
	if f.move && (f.createSchema || f.printSQL) {
		return &usageError{errors.New("--move goes alone: first leave the old dossier, then set up what is new")}
	}
	if err := s.configure(); err != nil {
		return err
	}
	if f.createSchema && !f.printSQL {
		if err := s.createDatabase(); err != nil {
			return err
		}
	}
	if f.move {
		return s.move(ctx)
	}
	// The dossier is given once; after that the database says whose it is.
	if err := s.whose(ctx); err != nil {
		return err
	}
	db, err := s.open(s.dossier)
	if err != nil {
		return err
	}
	defer db.Close()
	box := sqlite.NewOutbox(s.cfg.Database.DSN, outboxOptions(s.cfg, s.dossier))
	missingSQL, err := box.SQL(ctx)
	if err != nil {
		return err
	}
	if f.printSQL {
		return s.printSQL(ctx, db, missingSQL)
	}
	return s.install(ctx, db, box, missingSQL)
}

// configure loads the configuration, and makes it first where there is none.
func (s *tillSetUp) configure() error {
	f := s.flags
	path := s.app.configFile("till.toml")
	made, err := missing(path, func() error {
		t := &config.Till{}
		t.Identity.Number, t.Identity.Dossier = f.number, s.app.dossier
		t.Database.DSN, t.Drop.URL, t.Drop.HostKey = f.dsn, f.drop, f.hostKeys
		t.Signing.Principal = cmp.Or(f.principal, principalOf(f.number, s.app.dossier))
		return config.WriteTill(path, t)
	})
	if err != nil {
		return err
	}
	if s.cfg, err = config.LoadTill(path); err != nil {
		return err
	}
	s.made = made
	_, err = s.cfg.SQLite()
	return err
}

// createDatabase makes the database file where there is none: the tables of a
// new till come from the stream.
func (s *tillSetUp) createDatabase() error {
	path := s.cfg.Database.DSN
	made, err := missing(path, func() error { return sqlite.CreateDatabase(path) })
	if err == nil {
		s.app.did(path+": database", made)
	}
	return err
}

// whose finds out which dossier the till is to follow.
func (s *tillSetUp) whose(ctx context.Context) error {
	st, err := sqlite.ReadStanding(ctx, s.cfg.Database.DSN, rulesOf(s.cfg, ""))
	if err != nil {
		return err
	}
	told := cmp.Or(s.app.dossier, given(s.cfg, st))
	s.dossier = cmp.Or(st.Followed, st.User, told)
	switch {
	case s.dossier == "":
		return &config.Error{File: s.cfg.File, Key: "till.dossier", Problem: "which dossier the till follows is not known yet",
			Hint: "give it once, for the first import: caisseauto init till --dossier CODE"}
	case s.app.dossier != "" && s.cfg.Identity.Dossier != "" && s.app.dossier != s.cfg.Identity.Dossier:
		return &usageError{fmt.Errorf("--dossier %s: %s says dossier %s; correct one of the two", s.app.dossier, s.cfg.File, s.cfg.Identity.Dossier)}
	case s.app.dossier != "" && s.app.dossier != s.dossier:
		return fmt.Errorf("%w: this till follows dossier %s, not %s; nothing was changed; to move it: caisseauto init till --move --dossier %s", errDossier, s.dossier, s.app.dossier, s.app.dossier)
	}
	s.principal(s.dossier)
	return nil
}

// principal fills in in whose name the till signs.
func (s *tillSetUp) principal(dossier string) {
	if s.cfg.Signing.Principal == "" {
		s.cfg.Signing.Principal = principalOf(s.cfg.Identity.Number, dossier)
	}
}

// open opens the database for the work of one dossier.
func (s *tillSetUp) open(dossier string) (*sqlite.Till, error) {
	outbox := outboxOptions(s.cfg, dossier)
	return sqlite.OpenTill(s.cfg.Database.DSN, sqlite.TillOptions{StageDir: s.cfg.Paths.Stage, Log: s.app.log(), Outbox: &outbox})
}

func (s *tillSetUp) printSQL(ctx context.Context, db *sqlite.Till, outbox string) error {
	if s.flags.createSchema {
		m, err := s.schema(ctx)
		if err != nil {
			return err
		}
		for _, sql := range sqlite.CreateSchemaSQL(m) {
			s.app.printf("%s;\n", strings.TrimRight(sql, ";\n"))
		}
	}
	s.app.printf("%s%s", db.InitSQL(), outbox)
	return nil
}

// install makes keys, ledger, tables and outbox.
func (s *tillSetUp) install(ctx context.Context, db *sqlite.Till, box *sqlite.Outbox, missingSQL string) error {
	a, cfg := s.app, s.cfg
	a.did(cfg.File, s.made)
	if err := a.initKeys(&cfg.Common); err != nil {
		return err
	}
	if err := a.tillTrust(&cfg.Common, s.flags.trust); err != nil {
		return err
	}
	if err := db.Init(ctx); err != nil {
		return err
	}
	a.did(cfg.Database.DSN+": ledger", true)
	if err := box.Install(ctx); err != nil {
		return err
	}
	a.did(fmt.Sprintf("%s: outbox %s", cfg.Database.DSN, cfg.Database.Outbox), missingSQL != "")
	if cfg.Identity.Dossier == "" && a.dossier != "" {
		if err := db.SaveDossier(ctx, a.dossier); err != nil {
			return err
		}
		a.printf("%-9s dossier %s, for the first import; then user %s decides\n", "given", a.dossier, cfg.Identity.DefaultUser)
	}
	if s.flags.createSchema {
		m, err := s.schema(ctx)
		if err != nil {
			return err
		}
		tables, err := db.CreateSchema(ctx, m)
		if err != nil {
			return err
		}
		a.printf("%-9s %d tables of stream %s, as its signed manifests describe them%s\n", "made", len(tables), m.Stream, listed(tables))
		if err := box.Install(ctx); err != nil { // the tables to send may be there now
			return err
		}
	}
	return a.introduce(cfg)
}

func listed(names []string) string {
	if len(names) == 0 {
		return ": all were there"
	}
	return ": " + strings.Join(names, ", ")
}

// schema reads the newest signed description of the stream's tables.
func (s *tillSetUp) schema(ctx context.Context) (*importer.Manifest, error) {
	d, err := s.app.openDrop(ctx, &s.cfg.Common)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	trust, err := s.app.followTrust(ctx, &s.cfg.Common, d, s.dossier, false)
	if trust == nil {
		return nil, err
	}
	return streamSchema(ctx, d, streamDown(s.dossier), trust)
}

// move makes the till ready for another dossier.
func (s *tillSetUp) move(ctx context.Context) error {
	to := s.app.dossier
	if to == "" {
		to = s.cfg.Identity.Dossier
	}
	switch {
	case to == "":
		return &usageError{errors.New("--move: say where to with --dossier CODE")}
	case s.cfg.Identity.Dossier != "" && s.cfg.Identity.Dossier != to:
		return &usageError{fmt.Errorf("--move --dossier %s: %s says dossier %s; correct it there first, with principal and the address of the drop", to, s.cfg.File, s.cfg.Identity.Dossier)}
	}
	st, err := sqlite.ReadStanding(ctx, s.cfg.Database.DSN, rulesOf(s.cfg, ""))
	if err != nil {
		return err
	}
	if st.Followed == to {
		s.app.printf("till %s follows dossier %s already\n", s.cfg.Identity.Number, to)
		return nil
	}
	from := st.Followed
	db, err := s.open(cmp.Or(from, to))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Init(ctx); err != nil {
		return err
	}
	if from != "" {
		deleted, err := db.Leave(ctx, from)
		if err != nil {
			return err
		}
		s.app.printf("%-9s dossier %s: %s rows of it are deleted here; the till's own tickets stay\n", "left", from, term.Count(deleted))
	}
	return s.arrive(ctx, db, to)
}

// arrive says what comes next in the new dossier.
func (s *tillSetUp) arrive(ctx context.Context, db *sqlite.Till, to string) error {
	if err := db.SaveDossier(ctx, to); err != nil {
		return err
	}
	box := sqlite.NewOutbox(s.cfg.Database.DSN, outboxOptions(s.cfg, to))
	if err := box.Install(ctx); err != nil {
		return err
	}
	s.principal(to)
	if err := s.app.introduce(s.cfg); err != nil {
		return err
	}
	s.app.printf("\nThe next import loads dossier %s: caisseauto import\n", to)
	return nil
}

// introduce prints what the server must know of a till before it accepts what
// the till sends.
func (a *app) introduce(cfg *config.Till) error {
	if cfg.Signing.Agent {
		return nil
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	a.printf("\nThe server accepts this till's batches with this line in its allowed_signers:\n%s\n",
		keys.AllowedLine([]string{cfg.Signing.Principal}, tillNamespaces, signer.Public(), ""))
	return nil
}

// tillTrust brings the server's allowed_signers to the till.
func (a *app) tillTrust(c *config.Common, from string) error {
	path := c.Trust.AllowedSigners
	made, err := missing(path, func() error {
		if from == "" {
			return nil
		}
		if _, err := keys.LoadTrust(from); err != nil {
			return err
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return durable.Create(path, data, 0o644)
	})
	if err != nil {
		return err
	}
	if made && from == "" {
		fmt.Fprintf(a.stderr, "caisseauto: %s is not there: bring the server's allowed_signers here by a way that you trust (init till --trust FILE copies it); without it no batch is accepted\n", path)
		return nil
	}
	a.did(path, made)
	_, err = keys.LoadTrust(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
