package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/sftpd"
	"caisseauto/keys"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the drop over SFTP, one jail per till (small sites, tests)",
		Long: `Serves the local drop of the configuration over SFTP until it is stopped. Each
[[serve.user]] logs in with its public key and sees its dossier's folder and
nothing else; a till writes only its own up/NUMBER, a release manager (release =
true) only packages, and what is published cannot be overwritten. For larger
sites OpenSSH does the same job.`,
		Example: "  caisseauto serve --config server.toml",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadServer()
			if err != nil {
				return err
			}
			return a.serve(c.Context(), cfg)
		},
	}
}

func (a *app) serve(ctx context.Context, cfg *config.Server) error {
	s, err := a.sftpServer(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	ln, err := net.Listen("tcp", cfg.Serve.Listen)
	if err != nil {
		return fmt.Errorf("%w: %w; is another caisseauto serve running?", drop.ErrUnavailable, err)
	}
	a.printf("serving %s at %s for %d users; stop with Ctrl-C\n", cfg.Serve.Root, ln.Addr(), len(cfg.Serve.Users))
	return s.Serve(ctx, ln)
}

// sftpServer makes the embedded server that the configuration describes.
func (a *app) sftpServer(cfg *config.Server) (*sftpd.Server, error) {
	if cfg.Serve == nil {
		return nil, &config.Error{File: cfg.File, Key: "serve", Problem: "missing, and this command needs it",
			Hint: `write [serve] with listen, and a [[serve.user]] for each till`}
	}
	host, err := keys.LoadSSH(cfg.Serve.HostKey, nil)
	if err != nil {
		return nil, fmt.Errorf("host key: %w; caisseauto init server makes one", err)
	}
	users, err := serveUsers(cfg)
	if err != nil {
		return nil, err
	}
	return sftpd.New(sftpd.Config{Root: cfg.Serve.Root, HostKey: host, Users: sftpd.StaticUsers(users...), Log: a.log()})
}

// serveUsers spreads the configuration's users over their keys. One that names
// no dossier is of the only one.
func serveUsers(cfg *config.Server) ([]sftpd.User, error) {
	var out []sftpd.User
	for _, u := range cfg.Serve.Users {
		pubs, err := u.Keys.Parse()
		if err != nil {
			return nil, err
		}
		if u.Dossier == "" && len(cfg.Dossiers) > 1 {
			return nil, &config.Error{File: cfg.File, Key: "serve.user.dossier", Problem: fmt.Sprintf("user %s names no dossier, and there are several", u.Name),
				Hint: "write dossier = \"CODE\"; one user with a key of its own for each dossier"}
		}
		for _, pub := range pubs {
			out = append(out, sftpUser(u, pub, cfg))
		}
	}
	return out, nil
}

func sftpUser(u config.ServeUser, pub ssh.PublicKey, cfg *config.Server) sftpd.User {
	d := u.Dossier
	if d == "" {
		d = cfg.Dossiers[0].Code
	}
	return sftpd.User{Name: u.Name, Key: pub, Dossier: d, Till: u.Till, Writer: u.Writer, Release: u.Release}
}
