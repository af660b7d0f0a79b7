package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/drop"
	"caisseauto/keys"
)

func streamDown(dossier string) string { return importer.Stream(dossier) }

func (a *app) shipCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ship",
		Short: "Copy sealed batches from the outbox to the drop, and nothing else (server)",
		Long: `Copies what the drop lacks of each dossier's stream out of the outbox. The
files are sealed: it does not matter what carries them, how often, or in which
order. sftp, rsync, rclone or a USB stick do the same job.`,
		Example: "  caisseauto ship --config server.toml --dossier ACME",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			cfg, err := a.loadServer()
			if err != nil {
				return err
			}
			list, err := a.dossiers(cfg)
			if err != nil {
				return err
			}
			d, err := a.openDrop(ctx, &cfg.Common)
			if err != nil {
				return err
			}
			defer d.Close()
			for _, dossier := range list {
				r, err := a.ship(ctx, d, cfg.Paths.Outbox, streamDown(dossier.Code))
				if err != nil {
					return fmt.Errorf("dossier %s: %w", dossier.Code, err)
				}
				a.printf("%s: %d files, %d bytes shipped\n", streamDown(dossier.Code), r.Files, r.Bytes)
			}
			return nil
		},
	}
}

func (a *app) fetchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fetch",
		Short: "Copy new batches from the drop to the inbox, and nothing else (till)",
		Long: `Copies what the till lacks of its stream from the drop into its inbox, with
resume. Nothing is applied: import does that, with or without a network.`,
		Example: "  caisseauto fetch --config till.toml",
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := a.openTill()
			if err != nil {
				return err
			}
			defer t.close()
			r, err := t.fetch(c.Context())
			if err != nil {
				return err
			}
			a.printf("%s: %d files, %d bytes fetched\n", t.stream, r.Files, r.Bytes)
			return nil
		},
	}
}

// ship mirrors one stream from the outbox to the drop.
func (a *app) ship(ctx context.Context, d drop.Drop, outbox, stream string) (drop.Report, error) {
	local, err := openLocal(outbox, true)
	if err != nil {
		return drop.Report{}, err
	}
	defer local.Close()
	bar := a.bar("shipping", true)
	defer bar.close()
	return drop.Mirror(ctx, d, local, stream, drop.MirrorOptions{Progress: bar.copied, Log: a.log()})
}

// A remote is the head of a stream on a drop: the verified statement, and the
// files it came from.
type remote struct {
	head     *importer.Head // nil: there is none
	doc, sig []byte
}

func headName(stream string) string { return stream + "/HEAD.json" }

// remoteHead reads and verifies the head of a stream on a drop. None there is
// no error.
func remoteHead(ctx context.Context, d drop.Drop, stream string, trust *keys.Trust) (remote, error) {
	doc, sig, err := drop.ReadPair(ctx, d, headName(stream))
	if errors.Is(err, fs.ErrNotExist) {
		return remote{}, nil
	}
	if err != nil {
		return remote{}, err
	}
	h, err := importer.OpenHead(stream, doc, sig, trust)
	if err != nil {
		return remote{}, err
	}
	return remote{h, doc, sig}, nil
}

// keep puts the head's files into an inbox.
func (r remote) keep(ctx context.Context, inbox drop.Drop, stream string) error {
	return errors.Join(inbox.Replace(ctx, headName(stream)+".sig", r.sig), inbox.Replace(ctx, headName(stream), r.doc))
}
