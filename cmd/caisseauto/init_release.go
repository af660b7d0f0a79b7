package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/keys"
)

type initReleaseFlags struct {
	drop, principal string
	hostKeys        []string
}

func (a *app) initReleaseCommand() *cobra.Command {
	var f initReleaseFlags
	c := &cobra.Command{
		Use:   "release",
		Short: "Set up a release manager: configuration, his key, allowed_signers",
		Long: `Makes what is missing and changes nothing that is there: release.toml (from
--dossier, --drop, --principal …), the key that signs software packages, and
allowed_signers. It ends with the line by which tills and server believe that key.
The machine should be another one than the server: whoever has this key decides
what every till runs.`,
		Example: `  caisseauto init release --dossier ACME --drop sftp://release@drop.acme.example/ --host-key "ssh-ed25519 AAAA…" --principal release@acme
  caisseauto init release --config release.toml`,
		RunE: func(*cobra.Command, []string) error { return a.initRelease(f) },
	}
	c.Flags().StringVar(&f.drop, "drop", "", "`URL` of the drop, file:PATH or sftp://user@host:port/path, for a new configuration")
	c.Flags().StringVar(&f.principal, "principal", "", "release@`NAME` that signatures bear, for a new configuration")
	c.Flags().StringArrayVar(&f.hostKeys, "host-key", nil, "public `KEY` of the SFTP server, for a new configuration")
	a.keyTypeFlag(c)
	return c
}

func (a *app) initRelease(f initReleaseFlags) error {
	path := a.configFile(config.ReleaseFile)
	made, err := missing(path, func() error {
		r := &config.Release{Dossiers: []config.ReleaseDossier{{Code: a.dossier}}}
		r.Drop.URL, r.Drop.HostKey = f.drop, f.hostKeys
		r.Signing.Principal = f.principal
		return config.WriteRelease(path, r)
	})
	if err != nil {
		return err
	}
	cfg, err := config.LoadRelease(path)
	if err != nil {
		return err
	}
	a.did(path, made)
	if err := a.initKeys(&cfg.Common); err != nil {
		return err
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	line := releaseLine(cfg, signer)
	trust, err := a.initSigners(&cfg.Common, line)
	if err != nil {
		return err
	}
	a.makeKnown(cfg, signer, trust, line)
	return nil
}

// releaseLine is the line of allowed_signers for a release manager's key.
func releaseLine(cfg *config.Release, signer keys.Signer) string {
	return keys.AllowedLine([]string{cfg.Signing.Principal}, releaseNamespaces, signer.Public(), "")
}

// mayPublish makes sure that a till with this list of keys would accept the
// packages of a dossier that the key signs.
func mayPublish(cfg *config.Release, signer keys.Signer, trust *keys.Trust, dossier string) error {
	return trust.For(dossier).MaySign(signer, cfg.Signing.Principal, dossier, releaseNamespaces...)
}

// makeKnown says how those who are to believe the key learn of it. No list
// that is there is touched: it says whom a machine trusts, and that its owner
// decides.
func (a *app) makeKnown(cfg *config.Release, signer keys.Signer, trust *keys.Trust, line string) {
	for _, d := range cfg.Dossiers {
		if err := mayPublish(cfg, signer, trust, d.Code); err != nil {
			a.printf("\n%s was there and is as it was; with it packages of %s are refused: %v\n", cfg.Trust.AllowedSigners, d.Code, err)
		}
	}
	a.printf(`
Where trust documents say who is trusted, the roots sign for this key. On the
server, with a copy of its public half (caisseauto trust new begins them):
%s

Everywhere else packages are accepted with this line in allowed_signers: here, at
the server and at every till:
%s
`, grantCommand(cfg), line)
}

// grantCommand drafts the trust document that has the key.
func grantCommand(cfg *config.Release) string {
	pub := "FILE.pub" // with an agent nothing may lie here
	if cfg.Signing.Key != "" {
		pub = cfg.Signing.Key + ".pub"
	}
	return fmt.Sprintf("caisseauto trust rotate --dossier %s --key %s=%s", cfg.Dossiers[0].Code, cfg.Signing.Principal, pub)
}
