package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/sqlite"
	"caisseauto/keys"
)

type initFlags struct {
	dsn, drop, principal, number string
	hostKeys, tables             []string
	trust                        string
	printSQL                     bool
}

func (a *app) initCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init",
		Short: "Make what is missing: configuration, keys, journal, ledger",
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var s, t initFlags
	server := &cobra.Command{
		Use:   "server",
		Short: "Set up a server: configuration, signing key, allowed_signers, journal and triggers",
		Long: `Makes what is missing and changes nothing that is there: the configuration
(from --dossier, --dsn, --table …), the signing key, allowed_signers, and in the
ERP's database the journal and its triggers. It can be repeated at any time.`,
		Example: `  caisseauto init server --dossier ACME --dsn erp.db --drop file:drop --principal server@acme --table article --table tva
  caisseauto init server --config server.toml
  caisseauto init server --config server.toml --print-sql`,
		RunE: func(c *cobra.Command, _ []string) error { return a.initServer(c.Context(), s) },
	}
	till := &cobra.Command{
		Use:   "till",
		Short: "Set up a till: configuration, its key, the ledger, the outbox",
		Long: `Makes what is missing and changes nothing that is there: the configuration (from
--number, --dossier, --dsn …), the till's key, and in its database the ledger and
the outbox. What the till sends, the server says in what it imports. The server's allowed_signers must be brought here once: --trust FILE copies it.`,
		Example: `  caisseauto init till --number 017 --dossier ACME --dsn till.db --drop sftp://till-017@drop.acme.example/ --trust allowed_signers
  caisseauto init till --config till.toml`,
		RunE: func(c *cobra.Command, _ []string) error { return a.initTill(c.Context(), t) },
	}
	for f, cmd := range map[*initFlags]*cobra.Command{&s: server, &t: till} {
		cmd.Flags().StringVar(&f.dsn, "dsn", "", "`PATH` of the database, for a new configuration")
		cmd.Flags().StringVar(&f.drop, "drop", "", "`URL` of the drop, file:PATH or sftp://user@host:port/path, for a new configuration")
		cmd.Flags().StringVar(&f.principal, "principal", "", "`NAME` that signatures bear, for a new configuration")
		cmd.Flags().StringArrayVar(&f.hostKeys, "host-key", nil, "public `KEY` of the SFTP server, for a new configuration")
		cmd.Flags().BoolVar(&f.printSQL, "print-sql", false, "print what would be done to the database, and do nothing")
	}
	server.Flags().StringArrayVar(&s.tables, "table", nil, "`NAME` of a table that goes down to the tills, for a new configuration; repeat it")
	till.Flags().StringVar(&t.number, "number", "", "the till's `NUMBER`, for a new configuration")
	till.Flags().StringVar(&t.trust, "trust", "", "allowed_signers `FILE` of the server, to copy here")
	c.AddCommand(server, till)
	return c
}

func (a *app) initServer(ctx context.Context, f initFlags) error {
	path := a.configFile("server.toml")
	made, err := missing(path, func() error {
		s := &config.Server{}
		s.Database.DSN, s.Drop.URL, s.Drop.HostKey = f.dsn, f.drop, f.hostKeys
		s.Signing.Principal = f.principal
		d := config.Dossier{Code: a.dossier}
		for _, t := range f.tables {
			d.Tables = append(d.Tables, config.Table{Name: t})
		}
		s.Dossiers = []config.Dossier{d}
		return config.WriteServer(path, s)
	})
	if err != nil {
		return err
	}
	cfg, err := config.LoadServer(path)
	if err != nil {
		return err
	}
	if _, err := cfg.SQLite(); err != nil {
		return err
	}
	if f.printSQL {
		sql, err := captureOf(cfg).SQL(ctx, cfg.Database.DSN, sqlite.SourceOptions{})
		if err != nil {
			return err
		}
		a.printf("%s", sql)
		return nil
	}
	a.did(path, made)
	if err := a.initKeys(&cfg.Common); err != nil {
		return err
	}
	if err := a.initTrust(&cfg.Common); err != nil {
		return err
	}
	if cfg.Serve != nil {
		if err := a.initKey(cfg.Serve.HostKey, "caisseauto drop"); err != nil {
			return err
		}
	}
	capture := captureOf(cfg)
	missing, err := capture.SQL(ctx, cfg.Database.DSN, sqlite.SourceOptions{})
	if err != nil {
		return err
	}
	if err := capture.Install(ctx, cfg.Database.DSN, sqlite.SourceOptions{}); err != nil {
		return err
	}
	a.did(cfg.Database.DSN+": journal and triggers", missing != "")
	return nil
}

func (a *app) initTill(ctx context.Context, f initFlags) error {
	path := a.configFile("till.toml")
	made, err := missing(path, func() error {
		t := &config.Till{}
		t.Identity.Number, t.Identity.Dossier = f.number, a.dossier
		t.Database.DSN, t.Drop.URL, t.Drop.HostKey = f.dsn, f.drop, f.hostKeys
		t.Signing.Principal = f.principal
		if f.principal == "" {
			t.Signing.Principal = strings.ToLower("till-" + f.number + "@" + a.dossier)
		}
		return config.WriteTill(path, t)
	})
	if err != nil {
		return err
	}
	cfg, err := config.LoadTill(path)
	if err != nil {
		return err
	}
	if _, err := cfg.SQLite(); err != nil {
		return err
	}
	db, err := sqlite.OpenTill(cfg.Database.DSN, sqlite.TillOptions{Log: a.log()})
	if err != nil {
		return err
	}
	defer db.Close()
	dossier, err := a.tillDossier(cfg)
	if err != nil {
		return err
	}
	box := sqlite.NewOutbox(cfg.Database.DSN, outboxOptions(cfg, dossier))
	missingSQL, err := box.SQL(ctx)
	if err != nil {
		return err
	}
	if f.printSQL {
		a.printf("%s%s", db.InitSQL(), missingSQL)
		return nil
	}
	a.did(path, made)
	if err := a.initKeys(&cfg.Common); err != nil {
		return err
	}
	if err := a.tillTrust(&cfg.Common, f.trust); err != nil {
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
	return a.introduce(cfg)
}

// introduce prints what the server must know of a till before it accepts what
// the till sends.
func (a *app) introduce(cfg *config.Till) error {
	if cfg.Signing.Agent {
		return nil
	}
	signer, err := signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	a.printf("\nThe server accepts this till's batches with this line in its allowed_signers:\n%s\n",
		keys.AllowedLine([]string{cfg.Signing.Principal}, tillNamespaces, signer.Public(), ""))
	return nil
}

// missing calls create when path is not there, and reports whether it did.
func missing(path string, create func() error) (bool, error) {
	if _, err := os.Stat(path); err == nil {
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, create()
}

// did prints a line of what init found or made.
func (a *app) did(what string, made bool) {
	state := "is there"
	if made {
		state = "made"
	}
	a.printf("%-9s %s\n", state, what)
}

// initKeys makes the signing key and the login key that the configuration
// names and that are not there.
func (a *app) initKeys(c *config.Common) error {
	if c.Signing.Principal == "" || c.Signing.Agent {
		return nil
	}
	if err := a.initKey(c.Signing.Key, c.Signing.Principal); err != nil {
		return err
	}
	if c.Drop.Key == "" || c.Drop.Key == c.Signing.Key {
		return nil
	}
	return a.initKey(c.Drop.Key, c.Drop.User)
}

func (a *app) initKey(path, comment string) error {
	made, err := missing(path, func() error {
		_, err := keys.Generate(path, comment)
		return err
	})
	if err == nil {
		a.did(path, made)
	}
	return err
}

// initTrust makes the server's allowed_signers with its own key in it. One
// that is there is only read.
func (a *app) initTrust(c *config.Common) error {
	if c.Signing.Principal == "" {
		return c.NeedSigning()
	}
	signer, err := signerOf(c)
	if err != nil {
		return err
	}
	line := keys.AllowedLine([]string{c.Signing.Principal},
		serverNamespaces, signer.Public(), "")
	made, err := missing(c.Trust.AllowedSigners, func() error {
		return durable.Create(c.Trust.AllowedSigners, []byte(line+"\n"), 0o644)
	})
	if err != nil {
		return err
	}
	a.did(c.Trust.AllowedSigners, made)
	_, err = keys.LoadTrust(c.Trust.AllowedSigners)
	return err
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
	return err
}
