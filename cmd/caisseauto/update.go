package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/release"
)

type updateFlags struct {
	confirm, product               string
	noFetch, rollback, retry, list bool
}

// The ways to confirm packages.
const (
	confirmAlways = "always"
	confirmOnce   = "once"
	confirmNever  = "never"
)

func (a *app) updateCommand() *cobra.Command {
	var f updateFlags
	c := &cobra.Command{
		Use:     "update",
		Aliases: []string{"import_updatecaisse"},
		Short:   "Install software packages (till)",
		Long: `Fetches the packages that are for this till's products ([update] in till.toml),
verifies each whole, installs it beside what runs, and switches to it in one
step. Then the package's own probe must succeed; if it does not, what ran before
runs again, and the package is not tried any more. It stops at the first package
that fails.

--confirm always asks at each package, once at the first alone, never at none
(piloted: for schedules, and what import_updatecaisse does). Where there is no
terminal to ask on, always and once change nothing and exit with 78.

--rollback goes back to the release before, --list shows what runs, what waits
and what there is to go back to.`,
		Example: `  caisseauto update --config till.toml
  caisseauto update --confirm never
  caisseauto update --list
  caisseauto update --rollback --product caisse`,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.confirm == "" {
				f.confirm = confirmAlways
				if c.CalledAs() == "import_updatecaisse" {
					f.confirm = confirmNever
				}
			}
			return a.update(c.Context(), f)
		},
	}
	c.Flags().StringVar(&f.confirm, "confirm", "", "`WHEN` to ask: always (default), once or never")
	c.Flags().StringVar(&f.product, "product", "", "`NAME` of the product to roll back, where there are several")
	c.Flags().BoolVar(&f.rollback, "rollback", false, "go back to the release before the one that runs")
	c.Flags().BoolVar(&f.retry, "retry", false, "try again what failed or was rolled back before")
	c.Flags().BoolVar(&f.list, "list", false, "show what runs and what waits, and change nothing")
	c.Flags().BoolVar(&f.noFetch, "no-fetch", false, "install what is in the inbox; something else carries the files")
	a.fromFlag(c)
	c.MarkFlagsMutuallyExclusive("from", "no-fetch")
	c.MarkFlagsMutuallyExclusive("rollback", "retry", "list")
	return c
}

// An updater is what update works with.
type updater struct {
	*till
	flags    updateFlags
	packages *release.Till
	bar      *bar
	by       string // who has said yes in this run
}

func (a *app) update(ctx context.Context, f updateFlags) error {
	if !slices.Contains([]string{confirmAlways, confirmOnce, confirmNever}, f.confirm) {
		return &usageError{fmt.Errorf("--confirm %s: write always, once or never", f.confirm)}
	}
	u, err := a.openUpdater(ctx, f)
	if err != nil {
		return err
	}
	defer u.close()
	switch {
	case f.list:
		return u.printList(u.packages.Standing())
	case f.rollback:
		return u.rollback(ctx)
	}
	return u.install(ctx)
}

func (a *app) openUpdater(ctx context.Context, f updateFlags) (*updater, error) {
	t, err := a.openTill(ctx)
	if err != nil {
		return nil, err
	}
	if t.cfg.Update == nil {
		t.close()
		return nil, &config.Error{File: t.cfg.File, Key: "update", Problem: "missing: nothing says what this till installs",
			Hint: "write [update] with a table [[update.product]] for each product"}
	}
	return t.updater(f), nil
}

// updater is what installs on the till.
func (t *till) updater(f updateFlags) *updater {
	u := &updater{till: t, flags: f, bar: t.app.bar("installing", true)}
	u.packages = packagesOf(t.cfg, t.dossier)
	u.packages.Trust, u.packages.Log = t.trust, t.app.log()
	u.packages.Progress = u.bar.show
	u.packages.Busy, u.packages.Free = u.busy, freeBytes
	u.packages.Confirm = u.confirm
	for i := range u.packages.Products {
		if argv := t.cfg.Update.Products[i].Restart; len(argv) > 0 {
			u.packages.Products[i].Restart = u.restarter(argv)
		}
	}
	return u
}

// packagesOf are a till's packages as the configuration describes them, as far
// as it takes to look at them.
func packagesOf(cfg *config.Till, dossier string) *release.Till {
	stream := importer.StreamPackages(dossier)
	p := &release.Till{Stream: stream, Inbox: streamFolder(cfg.Paths.Inbox, stream), Folder: cfg.Update.Folder, Keep: cfg.Update.Keep}
	for _, x := range cfg.Update.Products {
		p.Products = append(p.Products, release.Product{Name: x.Name, Folder: x.Folder})
	}
	return p
}

// install fetches and installs what is new.
func (u *updater) install(ctx context.Context) error {
	trustErr := u.follow(ctx, !u.flags.noFetch)
	u.packages.Trust = u.trust
	if u.flags.retry {
		n, err := u.packages.Retry(ctx)
		if err != nil {
			return err
		}
		u.app.printf("till %s: %d packages that were given up are tried again\n", u.cfg.Identity.Number, n)
	}
	if trustErr == nil {
		trustErr = u.upToDate(ctx)
	}
	if trustErr != nil {
		return fmt.Errorf("%w; nothing was installed", trustErr)
	}
	var fetchErr error
	if !u.flags.noFetch {
		if _, fetchErr = u.fetchManifests(ctx); fetchErr != nil && !errors.Is(fetchErr, drop.ErrUnavailable) {
			return fmt.Errorf("fetching %s: %w; nothing was installed", u.packages.Stream, fetchErr)
		}
		u.packages.Fetch = u.fetchArchive
	}
	r, err := u.packages.Run(ctx)
	err = u.conclude(ctx, r, err)
	if err == nil && fetchErr != nil {
		return fmt.Errorf("what the inbox held is installed, but nothing could be fetched: %w", fetchErr)
	}
	return err
}

// upToDate refuses to install while the server's head names a newer trust
// document than the till has: it may be the one that revokes a key.
func (u *updater) upToDate(ctx context.Context) error {
	head, err := u.db.Head(ctx, u.stream)
	if err != nil {
		return err
	}
	if !u.flags.noFetch {
		if d, err := u.remote(ctx); err == nil {
			if r, err := remoteHead(ctx, d, u.stream, u.trust); err == nil && r.head != nil {
				head = r.head
			}
		}
	}
	return withheld(head, u.trust, u.dossier)
}

// rollback goes back to the release before.
func (u *updater) rollback(ctx context.Context) error {
	product := u.flags.product
	if product == "" {
		if len(u.packages.Products) > 1 {
			return &usageError{errors.New("several products are installed here; say which with --product")}
		}
		product = u.packages.Products[0].Name
	}
	by, err := u.operator()
	if err != nil {
		return err
	}
	if err := u.busy(ctx); err != nil {
		return fmt.Errorf("going back waits: %w; nothing was changed", err)
	}
	r, err := u.packages.Rollback(ctx, product, by)
	return u.conclude(ctx, r, err)
}

// conclude tells what a run came to, in the till's journal and here.
func (u *updater) conclude(ctx context.Context, r release.Report, err error) error {
	u.bar.close()
	err = errors.Join(err, u.tell(ctx))
	if perr := u.print(r, err); err == nil {
		err = perr
	}
	return err
}

// fetchManifests copies what is signed of the stream: every manifest, for a
// till follows the chain from the first, and the head. Archives are fetched
// one by one when they are wanted.
func (u *updater) fetchManifests(ctx context.Context) (drop.Report, error) {
	return u.mirrorPackages(ctx, drop.MirrorOptions{Skip: isArchive})
}

func (u *updater) fetchArchive(ctx context.Context, sequence int64) error {
	_, err := u.mirrorPackages(ctx, drop.MirrorOptions{From: sequence, To: sequence})
	return err
}

func (u *updater) mirrorPackages(ctx context.Context, o drop.MirrorOptions) (drop.Report, error) {
	d, err := u.remote(ctx)
	if err != nil {
		return drop.Report{}, err
	}
	return u.mirrorStream(ctx, d, u.packages.Stream, o)
}

// fetchAll brings what the next update needs into the inbox, and installs
// nothing.
func (u *updater) fetchAll(ctx context.Context) (drop.Report, error) {
	first, err := u.fetchManifests(ctx)
	if err != nil {
		return first, err
	}
	wanted, err := u.packages.Wanted()
	if err != nil {
		return first, err
	}
	second, err := u.mirrorPackages(ctx, drop.MirrorOptions{Skip: func(base string) bool {
		n, ok := drop.Sequence(base)
		return ok && isArchive(base) && !wanted[n]
	}})
	second.Files, second.Bytes = first.Files+second.Files, first.Bytes+second.Bytes
	return second, err
}
