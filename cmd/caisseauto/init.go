package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/keys"
)

type initFlags struct {
	driver, dsn, drop, principal, number string
	hostKeys, tables                     []string
	trust                                string
	printSQL, createSchema, move         bool
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
  caisseauto init server --driver postgres --dsn 'host=/run/postgresql dbname=erp' --dossier ACME --principal server@acme --table article
  caisseauto init server --config server.toml
  caisseauto init server --config server.toml --print-sql`,
		RunE: func(c *cobra.Command, _ []string) error { return a.initServer(c.Context(), s) },
	}
	till := &cobra.Command{
		Use:   "till",
		Short: "Set up a till: configuration, its key, the ledger, the outbox",
		Long: `Makes what is missing and changes nothing that is there: the configuration (from
--number, --dossier, --dsn …), the till's key, and in its database the ledger and
the outbox. What the till sends, the server says in what it imports. The
server's allowed_signers must be brought here once: --trust FILE copies it.
With default_user in the configuration, --dossier says once which dossier the
very first import follows; after it the user's own row does.`,
		Example: `  caisseauto init till --number 017 --dossier ACME --dsn till.db --drop sftp://till-017@drop.acme.example/ --trust allowed_signers
  caisseauto init till --config till.toml
  caisseauto init till --dossier ACME --create-schema
  caisseauto init till --dossier BETA --move`,
		RunE: func(c *cobra.Command, _ []string) error { return a.initTill(c.Context(), t) },
	}
	for f, cmd := range map[*initFlags]*cobra.Command{&s: server, &t: till} {
		cmd.Flags().StringVar(&f.dsn, "dsn", "", "`PATH` of the database, or connection string of a PostgreSQL one, for a new configuration")
		cmd.Flags().StringVar(&f.drop, "drop", "", "`URL` of the drop, file:PATH or sftp://user@host:port/path, for a new configuration")
		cmd.Flags().StringVar(&f.principal, "principal", "", "`NAME` that signatures bear, for a new configuration")
		cmd.Flags().StringArrayVar(&f.hostKeys, "host-key", nil, "public `KEY` of the SFTP server, for a new configuration")
		a.keyTypeFlag(cmd)
		cmd.Flags().BoolVar(&f.printSQL, "print-sql", false, "print what would be done to the database, and do nothing")
	}
	server.Flags().StringVar(&s.driver, "driver", "", "`KIND` of the ERP's database, sqlite or postgres, for a new configuration")
	server.Flags().StringArrayVar(&s.tables, "table", nil, "`NAME` of a table that goes down to the tills, for a new configuration; repeat it")
	till.Flags().StringVar(&t.number, "number", "", "the till's `NUMBER`, for a new configuration")
	till.Flags().StringVar(&t.trust, "trust", "", "allowed_signers `FILE` of the server, to copy here")
	till.Flags().BoolVar(&t.createSchema, "create-schema", false, "make the database, if there is none, and the tables that it lacks, as the stream's signed manifests describe them")
	till.Flags().BoolVar(&t.move, "move", false, "leave the dossier that the till follows for the one of --dossier; what it has sold must be delivered")
	till.Flags().StringVar(&a.medium, "from", "", "`FOLDER` with the drop's layout in place of the drop, for --create-schema")
	c.AddCommand(server, till, a.initReleaseCommand())
	return c
}

func (a *app) keyTypeFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.keyKind, "key-type", string(keys.Ed25519), "`KIND` of the signing key that is made: ed25519, or ecdsa (P-256) for a till under fiscal rules that list it")
}

func (a *app) initServer(ctx context.Context, f initFlags) error {
	path := a.configFile("server.toml")
	made, err := missing(path, func() error {
		s := &config.Server{}
		s.Database.Driver, s.Database.DSN, s.Drop.URL, s.Drop.HostKey = f.driver, f.dsn, f.drop, f.hostKeys
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
	db := a.erpOf(cfg)
	if f.printSQL {
		sql, err := db.sql(ctx)
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
	missing, err := db.sql(ctx)
	if err != nil {
		return err
	}
	if err := db.install(ctx); err != nil {
		return err
	}
	a.did(cfg.Database.DSN+": journal and triggers", missing != "")
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
		_, err := keys.New(path, keys.NewOptions{Kind: keys.Kind(a.keyKind), Comment: comment})
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
	signer, err := a.signerOf(c)
	if err != nil {
		return err
	}
	_, err = a.initSigners(c, keys.AllowedLine([]string{c.Signing.Principal}, serverNamespaces, signer.Public(), ""))
	return err
}

// initSigners makes allowed_signers with a line in it. One that is there is
// only read.
func (a *app) initSigners(c *config.Common, line string) (*keys.Trust, error) {
	made, err := missing(c.Trust.AllowedSigners, func() error {
		return durable.Create(c.Trust.AllowedSigners, []byte(line+"\n"), 0o644)
	})
	if err != nil {
		return nil, err
	}
	a.did(c.Trust.AllowedSigners, made)
	return keys.LoadTrust(c.Trust.AllowedSigners)
}
