package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/keys"
)

func streamDown(dossier string) string { return importer.Stream(dossier) }

// fromFlag adds --from: a folder with the drop's layout in place of the drop.
func (a *app) fromFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.medium, "from", "", "`FOLDER` with the drop's layout in place of the drop: a USB stick, a copy")
}

func (a *app) shipCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ship",
		Short: "Copy what is sealed from the outbox to the drop, and nothing else",
		Long: `Copies what the drop lacks out of the outbox: on the server each dossier's stream
and its receipts, on a till the till's stream, with a release.toml each dossier's
packages. The files are sealed: it does not matter what carries them, how often, or
in which order. sftp, rsync, rclone or a USB stick do the same job.`,
		Example: `  caisseauto ship --config server.toml --dossier ACME
  caisseauto ship --config till.toml
  caisseauto ship --config release.toml
  caisseauto ship --to /media/usb`,
		RunE: func(c *cobra.Command, _ []string) error {
			_, role, err := a.anySide()
			if err != nil {
				return err
			}
			switch role {
			case config.RoleTill:
				return a.shipTill(c.Context())
			case config.RoleRelease:
				return a.shipRelease(c.Context())
			}
			return a.shipServer(c.Context())
		},
	}
	c.Flags().StringVar(&a.medium, "to", "", "`FOLDER` in place of the drop: a USB stick")
	return c
}

func (a *app) shipServer(ctx context.Context) error {
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
		if err := a.shipDossier(ctx, d, cfg.Paths.Outbox, dossier.Code); err != nil {
			return err
		}
		if err := a.shipDown(ctx, d, cfg, streamDown(dossier.Code)); err != nil {
			return fmt.Errorf("dossier %s: %w", dossier.Code, err)
		}
		n, err := a.shipReceipts(ctx, d, cfg.Paths.Outbox, dossier.Code)
		if err != nil {
			return fmt.Errorf("dossier %s: receipts: %w", dossier.Code, err)
		}
		if n > 0 {
			a.printf("%s: %d receipts shipped\n", dossier.Code, n)
		}
	}
	return nil
}

// shipRelease copies the packages of the dossier of --dossier, or of all.
func (a *app) shipRelease(ctx context.Context) error {
	cfg, err := a.loadRelease()
	if err != nil {
		return err
	}
	list, err := a.releaseDossiers(cfg)
	if err != nil {
		return err
	}
	d, err := a.openDrop(ctx, &cfg.Common)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, dossier := range list {
		if err := a.shipStream(ctx, d, cfg.Paths.Outbox, importer.StreamPackages(dossier.Code)); err != nil {
			return fmt.Errorf("dossier %s: %w", dossier.Code, err)
		}
	}
	return nil
}

func (a *app) shipTill(ctx context.Context) error {
	cfg, dossier, err := a.tillConfig(ctx)
	if err != nil {
		return err
	}
	d, err := a.openDrop(ctx, &cfg.Common)
	if err != nil {
		return err
	}
	defer d.Close()
	return a.shipStream(ctx, d, cfg.Paths.Outbox, importer.StreamUp(dossier, cfg.Identity.Number))
}

func (a *app) shipStream(ctx context.Context, d drop.Drop, outbox, stream string) error {
	r, err := a.ship(ctx, d, outbox, stream)
	if err == nil {
		a.shipped(stream, r)
	}
	return err
}

func (a *app) shipped(stream string, r drop.Report) {
	a.printf("%s: %d files, %d bytes shipped\n", stream, r.Files, r.Bytes)
}

// shipDossier copies the trust documents of a dossier.
func (a *app) shipDossier(ctx context.Context, d drop.Drop, outbox, dossier string) error {
	local, err := openLocal(outbox, true)
	if err != nil {
		return err
	}
	defer local.Close()
	return shipTrust(ctx, d, local, dossier)
}

// shipReceipts copies the receipts that differ from those on the drop.
func (a *app) shipReceipts(ctx context.Context, d drop.Drop, outbox, dossier string) (n int, err error) {
	local, err := openLocal(outbox, true)
	if err != nil {
		return 0, err
	}
	defer local.Close()
	folder := dossier + "/" + importer.ReceiptFolder
	l, err := local.List(ctx, folder)
	if err != nil {
		return 0, err
	}
	for _, f := range l.Files {
		if path.Ext(f.Name) != ".json" {
			continue
		}
		changed, err := drop.MirrorPair(ctx, d, local, folder+"/"+f.Name)
		if err != nil {
			return n, err
		}
		if changed {
			n++
		}
	}
	return n, nil
}

func (a *app) fetchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fetch",
		Short: "Copy what is new from the drop to the inbox, and nothing else",
		Long: `Copies into the inbox what is lacking there, with resume: on a till its stream,
its receipt and the packages that it would install, on the server what the tills
have sent. Nothing is applied: import, update, sync and collect do that, with or
without a network (--no-fetch, --no-ship).`,
		Example: "  caisseauto fetch --config till.toml\n  caisseauto fetch --from /media/usb",
		RunE: func(c *cobra.Command, _ []string) error {
			_, role, err := a.side()
			if err != nil {
				return err
			}
			if role == config.RoleTill {
				return a.fetchTill(c.Context())
			}
			return a.fetchServer(c.Context())
		},
	}
	a.fromFlag(c)
	return c
}

func (a *app) fetchTill(ctx context.Context) error {
	t, err := a.openTill(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := mayImport(ctx, t.cfg); err != nil {
		return err
	}
	r, err := t.fetch(ctx)
	if err != nil {
		return err
	}
	inbox, err := openLocal(t.cfg.Paths.Inbox, true)
	if err != nil {
		return err
	}
	defer inbox.Close()
	changed, err := drop.MirrorPair(ctx, inbox, t.drop, receiptPath(t.dossier, t.cfg.Identity.Number))
	if err != nil {
		return err
	}
	if err := fetchTrust(ctx, inbox, t.drop, t.dossier); err != nil {
		return err
	}
	receipt := ""
	if changed {
		receipt = ", and a new receipt"
	}
	a.printf("%s: %d files, %d bytes fetched%s\n", t.stream, r.Files, r.Bytes, receipt)
	if t.cfg.Update == nil {
		return nil
	}
	u := t.updater(updateFlags{})
	r, err = u.fetchAll(ctx)
	if err == nil {
		a.printf("%s: %d files, %d bytes fetched\n", u.packages.Stream, r.Files, r.Bytes)
	}
	return err
}

func (a *app) fetchServer(ctx context.Context) error {
	c, err := a.openCollection(collectFlags{})
	if err != nil {
		return err
	}
	w, err := c.worker(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.db.Init(ctx); err != nil {
		return err
	}
	jobs, err := c.jobs(ctx, w)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		stream := importer.StreamUp(j.dossier, j.till)
		r, err := w.fetch(ctx, stream, a.bar("fetching "+stream, true))
		if err != nil {
			return err
		}
		a.printf("%s: %d files, %d bytes fetched\n", stream, r.Files, r.Bytes)
	}
	return nil
}

// carrying keeps a second copy of the same stream out of a folder of ours, for
// as long as this process lives and has not called done: two of them would
// stand in each other's way at every file.
func carrying(root, stream string) (done func(), err error) {
	folder := streamFolder(root, stream)
	if err := durable.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	unlock, err := durable.Lock(filepath.Join(folder, ".carry"))
	if err != nil {
		return nil, fmt.Errorf("the files of %s are being copied by another process: %w", stream, err)
	}
	return func() { _ = unlock() }, nil // the kernel lets go in any case
}

// ship mirrors one stream from the outbox to the drop.
func (a *app) ship(ctx context.Context, d drop.Drop, outbox, stream string) (drop.Report, error) {
	return a.shipAs(ctx, d, outbox, stream, drop.MirrorOptions{})
}

// shipAs is ship with more options.
func (a *app) shipAs(ctx context.Context, d drop.Drop, outbox, stream string, o drop.MirrorOptions) (drop.Report, error) {
	done, err := carrying(outbox, stream)
	if err != nil {
		return drop.Report{}, err
	}
	defer done()
	local, err := openLocal(outbox, true)
	if err != nil {
		return drop.Report{}, err
	}
	defer local.Close()
	if o.From, err = firstArchive(ctx, local, stream); err != nil {
		return drop.Report{}, err
	}
	bar := a.bar("shipping", true)
	defer bar.close()
	o.Progress, o.Log = bar.copied, a.log()
	return drop.Mirror(ctx, d, local, stream, o)
}

// firstArchive returns the lowest number whose archive is there, 0 for none:
// of what is before it the archives were removed after their retention.
func firstArchive(ctx context.Context, d drop.Drop, stream string) (int64, error) {
	l, err := d.List(ctx, stream)
	if err != nil {
		return 0, err
	}
	for _, f := range l.Files {
		if n, ok := drop.Sequence(f.Name); ok && isArchive(f.Name) {
			return n, nil
		}
	}
	return 0, nil
}

// mirrorInbox copies a stream from the drop into the inbox, which is the folder
// root.
func mirrorInbox(ctx context.Context, root string, inbox, d drop.Drop, stream string, o drop.MirrorOptions) (drop.Report, error) {
	done, err := carrying(root, stream)
	if err != nil {
		return drop.Report{}, err
	}
	defer done()
	r, err := drop.Mirror(ctx, inbox, d, stream, o)
	if !errors.Is(err, drop.ErrConflict) {
		return r, err
	}
	// The inbox holds nothing but copies: where the drop has something else
	// under the same name, what counts is what verifies and continues the
	// chain, and the ledger knows how far that goes.
	o.Log.Warn("the inbox differs from the drop, fetching again", "stream", stream, "reason", err.Error())
	l, err := inbox.List(ctx, stream)
	if err != nil {
		return r, err
	}
	for _, f := range l.Files {
		if err := inbox.Remove(ctx, stream+"/"+f.Name); err != nil {
			return r, err
		}
	}
	return drop.Mirror(ctx, inbox, d, stream, o)
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
