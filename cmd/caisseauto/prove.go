package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/proof"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type proveFlags struct{ till, from, to, drop, signers string }

func (a *app) proveCommand() *cobra.Command {
	var f proveFlags
	c := &cobra.Command{
		Use:   "prove",
		Short: "Show that all of a till's tickets have arrived, from signed files alone",
		Long: `Verifies every manifest of a till's stream, adds up their control totals, and
holds them against the server's signed receipt: "N of N", or what is missing, down
to the ticket and the cent, with exit code 65. It needs public keys alone: no
database and no private key. --from and --to take a batch's number or a date
(2026-11-01, or with a time 2026-11-01T08:00:00Z); a date in --to counts whole.`,
		Example: `  caisseauto prove --till 017
  caisseauto prove --till 017 --from 2026-11-01 --to 2026-11-30
  caisseauto prove --till 017 --dossier ACME --drop /mnt/usb/drop --signers allowed_signers`,
		RunE: func(c *cobra.Command, _ []string) error { return a.prove(c.Context(), f) },
	}
	c.Flags().StringVar(&f.till, "till", "", "`NUMBER` of the till; on a till its own by default")
	c.Flags().StringVar(&f.from, "from", "", "first `BATCH` or date")
	c.Flags().StringVar(&f.to, "to", "", "last `BATCH` or date")
	c.Flags().StringVar(&f.drop, "drop", "", "`FOLDER` that is a copy of the drop; else the drop of the configuration")
	c.Flags().StringVar(&f.signers, "signers", "", "allowed_signers `FILE`; else the one of the configuration")
	return c
}

func (a *app) prove(ctx context.Context, f proveFlags) error {
	o, err := proofOptions(f)
	if err != nil {
		return err
	}
	dossier, d, trust, err := a.provable(ctx, &f)
	if err != nil {
		return err
	}
	defer d.Close()
	r, err := proof.Prove(ctx, dropFiles{d, dossier}, dossier, f.till, trust, o)
	if err != nil {
		return err
	}
	if a.json {
		err = term.JSON(a.stdout, r)
	} else {
		a.printf("till %s of %s\n", f.till, dossier)
		for _, line := range r.Lines {
			a.printf("  %s\n", line)
		}
		for _, line := range r.Missing {
			a.printf("  MISSING %s\n", line)
		}
		if r.OK() {
			a.printf("everything that was sealed has arrived\n")
		}
	}
	if err == nil && !r.OK() {
		err = fmt.Errorf("%w: till %s of %s: %d things are missing, named above; nothing was changed; if the server has not collected yet, collect and prove again",
			importer.ErrRefused, f.till, dossier, len(r.Missing))
	}
	return err
}

// provable finds what to read and whom to believe: in the flags, or in the
// configuration of either side.
func (a *app) provable(ctx context.Context, f *proveFlags) (dossier string, d drop.Drop, trust *keys.Trust, err error) {
	var common *config.Common
	if f.drop == "" || f.signers == "" || f.till == "" || a.dossier == "" {
		if dossier, common, err = a.eitherSide(ctx, f); err != nil {
			return "", nil, nil, err
		}
	}
	if a.dossier != "" {
		dossier = a.dossier
	}
	if f.till == "" {
		return "", nil, nil, &usageError{errors.New("--till NUMBER: whose tickets are to be proven")}
	}
	if f.signers != "" {
		trust, err = keys.LoadTrust(f.signers)
	} else {
		trust, err = trustOf(common)
	}
	if err != nil {
		return "", nil, nil, err
	}
	if f.drop != "" {
		d, err = openLocal(f.drop, false)
	} else {
		d, err = a.openDrop(ctx, common)
	}
	if err != nil {
		return "", nil, nil, err
	}
	trust, err = followed(ctx, d, trust, dossier)
	return dossier, d, trust, err
}

// eitherSide reads the configuration that is there, a server's or a till's.
func (a *app) eitherSide(ctx context.Context, f *proveFlags) (string, *config.Common, error) {
	path, role, err := a.side()
	if err != nil {
		return "", nil, err
	}
	if role == config.RoleTill {
		cfg, err := config.LoadTill(path)
		if err != nil {
			return "", nil, err
		}
		if f.till == "" {
			f.till = cfg.Identity.Number
		}
		dossier, err := a.tillDossier(ctx, cfg)
		return dossier, &cfg.Common, err
	}
	cfg, err := config.LoadServer(path)
	if err != nil {
		return "", nil, err
	}
	d, err := cfg.Dossier(a.dossier)
	if err != nil {
		return "", nil, err
	}
	return d.Code, &cfg.Common, nil
}

// proofOptions reads --from and --to.
func proofOptions(f proveFlags) (o proof.Options, err error) {
	number := func(s string) (int64, bool) {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && n > 0
	}
	if f.from != "" {
		if n, ok := number(f.from); ok {
			o.From = n
		} else if o.Since, _, err = when(f.from); err != nil {
			return o, &usageError{fmt.Errorf("--from %s: %w", f.from, err)}
		}
	}
	if f.to != "" {
		if n, ok := number(f.to); ok {
			o.To = n
		} else {
			t, day, err := when(f.to)
			if err != nil {
				return o, &usageError{fmt.Errorf("--to %s: %w", f.to, err)}
			}
			if o.Until = t.Add(time.Second); day {
				o.Until = t.AddDate(0, 0, 1)
			}
		}
	}
	return o, nil
}

// when reads a date, or a date with a time.
func when(s string) (t time.Time, day bool, err error) {
	if t, err = time.Parse(time.DateOnly, s); err == nil {
		return t, true, nil
	}
	if t, err = time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), false, nil
	}
	return t, false, errors.New("write a batch's number, a date like 2026-11-01, or a time like 2026-11-01T08:00:00Z")
}

// dropFiles is a dossier's folder on a drop as the proof reads it.
type dropFiles struct {
	drop    drop.Drop
	dossier string
}

func (f dropFiles) Manifests(ctx context.Context, folder string) ([]int64, error) {
	l, err := f.drop.List(ctx, f.dossier+"/"+folder)
	if err != nil {
		return nil, err
	}
	var list []int64
	for _, file := range l.Files {
		if n, ok := drop.Sequence(file.Name); ok && importer.ManifestName(n) == file.Name {
			list = append(list, n)
		}
	}
	return list, nil
}

func (f dropFiles) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	path := f.dossier + "/" + name
	size, err := f.drop.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d that such a file may have: %w", path, size, limit, drop.ErrTooLarge)
	}
	b := capped{left: limit}
	err = f.drop.Get(ctx, path, 0, &b)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return b.Bytes(), err
}

// A capped buffer takes no more than it should: the file may have grown.
type capped struct {
	bytes.Buffer
	left int64
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		return 0, drop.ErrTooLarge
	}
	return c.Buffer.Write(p)
}
