package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

func (a *app) trustCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trust",
		Short: "Who is trusted: documents that offline roots sign, lists of tills that the server signs",
		Long: `Trust travels with the files: trust/0000000003.json on the drop says who the server
and the release manager are, signed by m of n roots that are kept off line, and tills
walk from version to version by themselves. Which tills there are says a list that
the server signs, so that a till is added by one command.

A version is drafted on the server (new, rotate, retire, revoke), carried to each
root and signed there (sign, or ssh-keygen -Y sign), carried back and published
(publish). keys/CEREMONY.md goes through it step by step.

Without trust documents allowed_signers is kept by hand on every machine.`,
		Example: `  caisseauto trust new --dossier ACME --root root-1@acme=root-1.pub --root root-2@acme=root-2.pub --root root-3@acme=root-3.pub --threshold 2
  caisseauto trust sign 0000000001.json --key root-1
  caisseauto trust publish 0000000001.json
  caisseauto trust add-till 017 --key till-017.pub
  caisseauto trust show`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.trustNewCommand(), a.trustRotateCommand(), a.trustLimitCommand(false), a.trustLimitCommand(true),
		a.trustSignCommand(), a.trustPublishCommand(), a.trustAddTillCommand(), a.trustAcceptCommand(), a.trustShowCommand())
	return c
}

// trustIn is what counts of allowed_signers in a dossier.
func trustIn(c *config.Common, dossier string) (*keys.Trust, error) {
	t, err := trustOf(c)
	if err != nil {
		return nil, err
	}
	return t.For(dossier), nil
}

// versionOf is the newest version of a dossier's trust documents that is known,
// 0 where none is followed.
func versionOf(t *keys.Trust, dossier string) int64 {
	if b := t.Block(dossier); b != nil {
		return b.Version
	}
	return 0
}

// withheld refuses what a head says of trust documents that are not here: a
// thief who can keep one from the tills goes on with a key that it revokes.
func withheld(h *importer.Head, t *keys.Trust, dossier string) error {
	known := versionOf(t, dossier)
	if h == nil || known == 0 || h.Trust <= known {
		return nil
	}
	name := dossier + "/" + drop.TrustFolder + "/" + rotation.Name(known+1)
	return fmt.Errorf("%s: %w: the head of %s names version %d of the trust documents, and this one is not here: withheld, removed, or not copied yet; version %d stays in force; run again, and if this stays, ask for it at the server (caisseauto ship)",
		name, rotation.ErrRefused, h.Stream, h.Trust, known)
}

// updateTrust changes an allowed_signers file, all at once, while no other
// process of ours does. change returns the trust as it is to be, also beside an
// error; nil leaves the file alone.
func updateTrust(path string, change func(*keys.Trust) (*keys.Trust, error)) (*keys.Trust, error) {
	unlock, err := durable.Lock(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%s is being changed by another process: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be changed: %w", path, err)
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case
	now, err := keys.LoadTrust(path)
	if err != nil {
		return nil, err
	}
	next, err := change(now)
	if next == nil || bytes.Equal(next.Text(), now.Text()) {
		return now, err
	}
	if werr := durable.WriteFile(path, next.Text(), 0o644); werr != nil {
		return now, errors.Join(err, fmt.Errorf("%w; it is as it was", werr))
	}
	return next, err
}

// trustFiles are the trust documents of a dossier on a drop.
type trustFiles struct {
	ctx     context.Context
	drop    drop.Drop
	dossier string
}

func (f trustFiles) Names() ([]string, error) {
	l, err := f.drop.List(f.ctx, f.dossier+"/"+drop.TrustFolder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, x := range l.Files {
		names = append(names, x.Name)
	}
	return names, nil
}

func (f trustFiles) Read(name string) ([]byte, error) {
	return drop.ReadSmall(f.ctx, f.drop, f.dossier+"/"+drop.TrustFolder+"/"+name)
}

// followTrust walks the trust documents that are on a drop and not yet known
// here, and returns what counts in the dossier then. What cannot be believed
// changes nothing: the trust that is known stays in force, and the error tells.
func (a *app) followTrust(ctx context.Context, c *config.Common, src drop.Drop, dossier string, tills bool) (*keys.Trust, error) {
	now, err := trustOf(c)
	if err != nil {
		return nil, err
	}
	b := now.Block(dossier)
	if b == nil {
		return now.For(dossier), nil
	}
	files := trustFiles{ctx, src, dossier}
	if !tills { // one look, without a listing: this is done at every poll
		next := dossier + "/" + drop.TrustFolder + "/" + rotation.Name(b.Version+1)
		if _, err := src.Stat(ctx, next); errors.Is(err, fs.ErrNotExist) {
			return now.For(dossier), nil
		} else if err != nil {
			return now.For(dossier), err
		}
	}
	next, walk, err := rotation.Follow(now, dossier, files, tills)
	err = distrust(dossier, next, err)
	if bytes.Equal(next.Text(), now.Text()) {
		return now.For(dossier), err
	}
	for _, d := range walk.Documents {
		a.log().Info("trust document", "dossier", dossier, "version", d.Version, "roots", len(d.Roots), "threshold", d.Threshold)
	}
	_, werr := updateTrust(c.Trust.AllowedSigners, func(t *keys.Trust) (*keys.Trust, error) {
		if bytes.Equal(t.Text(), now.Text()) {
			return next, nil
		}
		next, _, _ := rotation.Follow(t, dossier, files, tills) // what it says is told already
		return next, nil
	})
	if werr != nil && !errors.Is(werr, durable.ErrLocked) { // else another process is at it
		err = errors.Join(err, fmt.Errorf("version %d of %s counts in this run alone, because it cannot be kept: %w; let this account write %s and its folder",
			next.Block(dossier).Version, dossier, werr, c.Trust.AllowedSigners))
	}
	return next.For(dossier), err
}

// followed is what counts in a dossier by what is on a drop now, for those who
// only look: nothing is written.
func followed(ctx context.Context, d drop.Drop, t *keys.Trust, dossier string) (*keys.Trust, error) {
	next, _, err := rotation.Follow(t, dossier, trustFiles{ctx, d, dossier}, true)
	if errors.Is(err, rotation.ErrRefused) {
		err = fmt.Errorf("%s/%s/%w", dossier, drop.TrustFolder, err)
	}
	return next.For(dossier), err
}

// distrust tells what a refused document means.
func distrust(dossier string, t *keys.Trust, err error) error {
	if !errors.Is(err, rotation.ErrRefused) {
		return err
	}
	return fmt.Errorf("%s/%s/%w; the trust of %s stays at version %d and list %d of tills, what is signed under them counts as before; ask the server's operator whether this document is his",
		dossier, drop.TrustFolder, err, dossier, t.Block(dossier).Version, t.Block(dossier).TillsVersion)
}

// shipTrust copies the trust documents of a dossier to a drop. They go before
// what is signed under them.
func shipTrust(ctx context.Context, d, outbox drop.Drop, dossier string) error {
	_, err := drop.MirrorTrust(ctx, d, outbox, dossier)
	if errors.Is(err, drop.ErrConflict) {
		return fmt.Errorf("trust documents of %s: %w; nothing of theirs was replaced: the server was restored from a backup, or runs twice; compare with: caisseauto trust show", dossier, err)
	}
	return err
}

// fetchTrust copies the trust documents of a dossier into the inbox. What lies
// there under the same name and is another one was refused, or is a stranger's:
// what the drop has counts.
func fetchTrust(ctx context.Context, inbox, d drop.Drop, dossier string) error {
	_, err := drop.MirrorTrust(ctx, inbox, d, dossier)
	if !errors.Is(err, drop.ErrConflict) {
		return err
	}
	names, err := trustFiles{ctx, inbox, dossier}.Names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := inbox.Remove(ctx, dossier+"/"+drop.TrustFolder+"/"+n); err != nil {
			return err
		}
	}
	_, err = drop.MirrorTrust(ctx, inbox, d, dossier)
	return err
}
