package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

func (a *app) trustAcceptCommand() *cobra.Command {
	var digest string
	c := &cobra.Command{
		Use:   "accept",
		Short: "Follow the trust documents of the drop, from one whose digest was compared (till, release manager)",
		Long: `Takes over the version on the drop that has this SHA-256, and follows the versions
after it from then on. Nothing but the digest says that the document is the right
one: let the server's operator read it out from caisseauto trust show. A till that is
set up with the server's allowed_signers (init till --trust) does not need this.`,
		Example: "  caisseauto trust accept --config till.toml --sha256 52879e7442ae…",
		RunE:    func(c *cobra.Command, _ []string) error { return a.trustAccept(c.Context(), digest) },
	}
	c.Flags().StringVar(&digest, "sha256", "", "`DIGEST` of the document, 64 hexadecimal digits")
	a.fromFlag(c)
	return c
}

var wholeDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a *app) trustAccept(ctx context.Context, digest string) error {
	if !wholeDigest.MatchString(digest) {
		return &usageError{errors.New("--sha256 DIGEST: all 64 digits, as caisseauto trust show prints them on the server")}
	}
	c, dossier, err := a.acceptor(ctx)
	if err != nil {
		return err
	}
	d, err := a.openDrop(ctx, c)
	if err != nil {
		return err
	}
	defer d.Close()
	files := trustFiles{ctx, d, dossier}
	doc, signatures, err := withDigest(files, digest)
	if err != nil {
		return err
	}
	if _, err := missing(c.Trust.AllowedSigners, func() error { return durable.Create(c.Trust.AllowedSigners, nil, 0o644) }); err != nil {
		return err
	}
	next, err := updateTrust(c.Trust.AllowedSigners, func(t *keys.Trust) (*keys.Trust, error) {
		next, _, err := rotation.Begin(t, doc, signatures)
		if err != nil {
			return nil, fmt.Errorf("%s/%s/%w; nothing was changed", dossier, drop.TrustFolder, err)
		}
		if next.Block(dossier) == nil {
			return nil, fmt.Errorf("%w: the document is another dossier's; nothing was changed", rotation.ErrRefused)
		}
		next, _, err = rotation.Follow(next, dossier, files, false)
		return next, err
	})
	if next != nil && next.Block(dossier) != nil {
		a.printf("%s follows version %d here now\n", dossier, next.Block(dossier).Version)
	}
	return err
}

// acceptor finds whose list of keys is meant.
func (a *app) acceptor(ctx context.Context) (*config.Common, string, error) {
	_, role, err := a.anySide()
	if err != nil {
		return nil, "", err
	}
	switch role {
	case config.RoleTill:
		cfg, dossier, err := a.tillConfig(ctx)
		if err != nil {
			return nil, "", err
		}
		return &cfg.Common, dossier, nil
	case config.RoleRelease:
		cfg, err := a.loadRelease()
		if err != nil {
			return nil, "", err
		}
		d, err := cfg.Dossier(a.dossier)
		if err != nil {
			return nil, "", err
		}
		return &cfg.Common, d.Code, nil
	}
	cfg, dossier, err := a.trustServer()
	if err != nil {
		return nil, "", err
	}
	return &cfg.Common, dossier, nil
}

// withDigest finds the document with that digest, and its signatures.
func withDigest(files trustFiles, digest string) ([]byte, []rotation.Signature, error) {
	names, err := files.Names()
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		if rotation.Version(n) == 0 {
			continue
		}
		doc, err := files.Read(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if keys.Digest(doc) == digest {
			signatures, err := rotation.Signatures(files, names, n)
			return doc, signatures, err
		}
	}
	return nil, nil, fmt.Errorf("%w: no trust document on the drop has the SHA-256 %s; nothing was changed: a digit is wrong, or the drop holds other documents than the server's", rotation.ErrRefused, digest)
}
