package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

type draftFlags struct {
	roots, grants, out []string
	threshold          int64
	through, from      int64
	key, draft, dir    string
}

func (f *draftFlags) common(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "to", ".", "`FOLDER` that the draft goes to")
	c.Flags().StringVar(&f.draft, "draft", "", "`FILE` of a draft that nobody has signed yet, to change it once more")
}

func (a *app) trustNewCommand() *cobra.Command {
	var f draftFlags
	c := &cobra.Command{
		Use:   "new",
		Short: "Draft the first trust document of a dossier (server)",
		Long: `Drafts version 1: who the roots are, how many of them must sign, and which keys the
server (that of the configuration) and the release manager have. It counts when
that many roots have signed it and it is published.`,
		Example: "  caisseauto trust new --dossier ACME --root root-1@acme=root-1.pub --root root-2@acme=root-2.pub --root root-3@acme=root-3.pub --threshold 2 --key release@acme=release.pub",
		RunE:    func(*cobra.Command, []string) error { return a.trustNew(f) },
	}
	c.Flags().StringArrayVar(&f.roots, "root", nil, "`PRINCIPAL=FILE.pub` of a root; repeat it")
	c.Flags().StringArrayVar(&f.grants, "key", nil, "`PRINCIPAL=FILE.pub` of another server or a release manager; repeat it")
	c.Flags().Int64Var(&f.threshold, "threshold", 0, "how many roots must sign")
	c.Flags().StringVar(&f.dir, "to", ".", "`FOLDER` that the draft goes to")
	return c
}

func (a *app) trustRotateCommand() *cobra.Command {
	var f draftFlags
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Draft the next version: other roots, another threshold, another key of the server (server)",
		Long: `Drafts the version that follows. A new root key gets a new name; the old roots and
the new ones sign it, as many of each as their version demands. A new key of the
server or the release manager is added beside the old one, which --through retires:
it stays good for batches up to that number and signs no heads and receipts any more.`,
		Example: `  caisseauto trust rotate --root root-4@acme=root-4.pub --drop root-1@acme
  caisseauto trust rotate --key server@acme=keys/server-2027.pub --through 1200`,
		RunE: func(*cobra.Command, []string) error { return a.trustRotate(f) },
	}
	c.Flags().StringArrayVar(&f.roots, "root", nil, "`PRINCIPAL=FILE.pub` of a root that comes; repeat it")
	c.Flags().StringArrayVar(&f.grants, "key", nil, "`PRINCIPAL=FILE.pub` of a server or release manager that comes; repeat it")
	c.Flags().StringArrayVar(&f.out, "drop", nil, "`WHO` goes: a root's principal, or the fingerprint of a key; repeat it")
	c.Flags().Int64Var(&f.threshold, "threshold", 0, "how many roots must sign from then on")
	c.Flags().Int64Var(&f.through, "through", -1, "retire the other keys of the principals of --key: the last `NUMBER` that counts of what they signed")
	f.common(c)
	return c
}

// trustLimitCommand is retire, or revoke.
func (a *app) trustLimitCommand(revoke bool) *cobra.Command {
	var f draftFlags
	c := &cobra.Command{
		Use:   "retire PRINCIPAL",
		Short: "End a key that is no longer used: what it signed up to a number stays good",
		Long: `Of a till (till-017@acme) it counts at once: the server signs the list of tills. Of a
server or a release manager it is a draft for the roots. A retired key signs no
heads and receipts any more; name the key that follows it under [signing] first.`,
		Example: `  caisseauto trust retire till-017@acme --through 412
  caisseauto trust retire server@acme --key SHA256:oPvI1H… --through 1200`,
		RunE: func(c *cobra.Command, args []string) error { return a.trustLimit(c.Context(), args, f, revoke) },
	}
	if revoke {
		c.Use = "revoke PRINCIPAL"
		c.Short = "Refuse a key that was stolen: from a number on it has signed nothing"
		c.Long = `Of a till (till-017@acme) it counts at once: the server signs the list of tills. Of a
server or a release manager it is a draft for the roots. From that number on its
batches are refused by whoever has not applied them yet; its heads and receipts are
refused from the moment that the version arrives. A reader that has applied some of
them needs a new epoch: caisseauto export --new-epoch (see keys/CEREMONY.md).`
		c.Example = `  caisseauto trust revoke till-017@acme --from 413
  caisseauto trust revoke server@acme --key SHA256:oPvI1H… --from 1201`
		c.Flags().Int64Var(&f.from, "from", -1, "the first `NUMBER` that does not count")
	} else {
		c.Flags().Int64Var(&f.through, "through", -1, "the last `NUMBER` that counts")
	}
	c.Flags().StringVar(&f.key, "key", "", "`FINGERPRINT` of the key, where the principal has several")
	f.common(c)
	return c
}

func (a *app) trustNew(f draftFlags) error {
	cfg, dossier, err := a.trustServer()
	if err != nil {
		return err
	}
	t, err := trustOf(&cfg.Common)
	if err != nil {
		return err
	}
	if t.Block(dossier) != nil {
		return &usageError{fmt.Errorf("%s follows trust documents already, version %d; the next one is drafted with: caisseauto trust rotate", dossier, t.Block(dossier).Version)}
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	d := &rotation.Document{Format: rotation.Format, Dossier: dossier, Version: 1, Previous: rotation.NoPrevious(), Threshold: f.threshold,
		Keys: []rotation.Grant{{Principal: cfg.Signing.Principal, Namespaces: rotation.May(cfg.Signing.Principal), Key: keys.AuthorizedLine(signer.Public(), "")}}}
	if len(f.roots) == 0 || f.threshold == 0 {
		return &usageError{errors.New("--root PRINCIPAL=FILE.pub, for each root, and --threshold: how many of them must sign")}
	}
	if err := addKeys(d, f); err != nil {
		return err
	}
	return a.writeDraft(d, f)
}

func (a *app) trustRotate(f draftFlags) error {
	d, err := a.drafted(f)
	if err != nil {
		return err
	}
	if len(f.roots)+len(f.grants)+len(f.out) == 0 && f.threshold == 0 {
		return &usageError{errors.New("what shall change? --root, --key, --drop or --threshold")}
	}
	if f.threshold != 0 {
		d.Threshold = f.threshold
	}
	if err := dropKeys(d, f.out); err != nil {
		return err
	}
	if f.through >= 0 {
		if err := retireOthers(d, f); err != nil {
			return err
		}
	}
	if err := addKeys(d, f); err != nil {
		return err
	}
	return a.writeDraft(d, f)
}

// retireOthers retires the keys that those of --key follow.
func retireOthers(d *rotation.Document, f draftFlags) error {
	for _, g := range f.grants {
		principal, _, _ := strings.Cut(g, "=")
		for _, old := range d.Keys {
			fingerprint := rotation.Fingerprint(old.Key)
			if old.Principal != principal || slices.ContainsFunc(slices.Concat(d.Retired, d.Revoked), func(l keys.Limit) bool { return l.Key == fingerprint }) {
				continue
			}
			d.Retired = append(d.Retired, keys.Limit{Principal: principal, Key: fingerprint, Stream: streamOf(d.Dossier, principal), Sequence: f.through})
		}
	}
	return nil
}

// limited sets the one limit that a key has.
func limited(retired, revoked []keys.Limit, end keys.Limit, revoke bool) (newRetired, newRevoked []keys.Limit) {
	same := func(l keys.Limit) bool { return l.Key == end.Key }
	retired, revoked = slices.DeleteFunc(slices.Clone(retired), same), slices.DeleteFunc(slices.Clone(revoked), same)
	if revoke {
		return retired, append(revoked, end)
	}
	return append(retired, end), revoked
}

// streamOf is the stream that a principal seals.
func streamOf(dossier, principal string) string {
	if role, _, _ := strings.Cut(principal, "@"); role == "release" {
		return dossier + "/packages"
	}
	return streamDown(dossier)
}

// oneKey finds the key of a principal that is meant.
func oneKey(list []rotation.Grant, principal, key string) (fingerprint string, err error) {
	var found []string
	for _, g := range list {
		if f := rotation.Fingerprint(g.Key); g.Principal == principal && (key == "" || key == f) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return "", &usageError{fmt.Errorf("%s has no such key here; see: caisseauto trust show", principal)}
	case 1:
		return found[0], nil
	}
	return "", &usageError{fmt.Errorf("%s has several keys; say which one with --key: %s", principal, strings.Join(found, ", "))}
}

// trustServer loads the server's configuration and says which dossier is meant.
func (a *app) trustServer() (*config.Server, string, error) {
	cfg, err := a.loadServer()
	if err != nil {
		return nil, "", err
	}
	list, err := a.dossiers(cfg)
	if err != nil {
		return nil, "", err
	}
	if len(list) != 1 {
		return nil, "", &usageError{errors.New("--dossier CODE: each dossier has trust documents of its own")}
	}
	return cfg, list[0].Code, cfg.NeedSigning()
}

// drafted is the draft that is to be changed, or a new one that says what the
// newest version says.
func (a *app) drafted(f draftFlags) (*rotation.Document, error) {
	cfg, dossier, err := a.trustServer()
	if err != nil {
		return nil, err
	}
	t, err := trustOf(&cfg.Common)
	if err != nil {
		return nil, err
	}
	b := t.Block(dossier)
	switch {
	case b == nil:
		return nil, &usageError{fmt.Errorf("%s has no trust documents yet; begin with: caisseauto trust new", dossier)}
	case f.draft == "":
		return rotation.Draft(b), nil
	}
	doc, err := os.ReadFile(f.draft)
	if err != nil {
		return nil, err
	}
	d, err := rotation.Parse(f.draft, doc)
	if err == nil && (d.Dossier != dossier || d.Version != b.Version+1 || d.Previous != b.Digest) {
		err = &usageError{fmt.Errorf("%s is no draft of the version that comes next in %s", f.draft, dossier)}
	}
	return d, err
}

// addKeys adds the roots and keys of the flags.
func addKeys(d *rotation.Document, f draftFlags) error {
	for _, r := range f.roots {
		principal, key, err := named(r)
		if err != nil {
			return err
		}
		d.Roots = append(d.Roots, rotation.Root{Principal: principal, Key: key})
	}
	for _, g := range f.grants {
		principal, key, err := named(g)
		if err != nil {
			return err
		}
		d.Keys = append(d.Keys, rotation.Grant{Principal: principal, Namespaces: rotation.May(principal), Key: key})
	}
	return nil
}

// named reads PRINCIPAL=FILE.pub.
func named(arg string) (principal, key string, err error) {
	principal, file, ok := strings.Cut(arg, "=")
	if !ok || !keys.ValidPrincipal(principal) {
		return "", "", &usageError{fmt.Errorf("%q: write a principal and the file of its public key, root-1@acme=root-1.pub", arg)}
	}
	pub, _, err := keys.LoadPublic(file)
	if err != nil {
		return "", "", err
	}
	return principal, keys.AuthorizedLine(pub, ""), nil
}

func dropKeys(d *rotation.Document, who []string) error {
	for _, w := range who {
		before := len(d.Roots) + len(d.Keys)
		d.Roots = slices.DeleteFunc(slices.Clone(d.Roots), func(r rotation.Root) bool { return r.Principal == w || rotation.Fingerprint(r.Key) == w })
		d.Keys = slices.DeleteFunc(slices.Clone(d.Keys), func(g rotation.Grant) bool { return rotation.Fingerprint(g.Key) == w })
		if len(d.Roots)+len(d.Keys) == before {
			return &usageError{fmt.Errorf("--drop %s: no root has that name, and no key that fingerprint; see: caisseauto trust show", w)}
		}
		gone := func(l keys.Limit) bool { return l.Key == w }
		d.Retired, d.Revoked = slices.DeleteFunc(slices.Clone(d.Retired), gone), slices.DeleteFunc(slices.Clone(d.Revoked), gone)
	}
	return nil
}

// writeDraft writes a draft, says what it says, and what comes next.
func (a *app) writeDraft(d *rotation.Document, f draftFlags) error {
	d.Created = time.Now().UTC().Truncate(time.Second)
	doc, err := d.Encode()
	if r := (*rotation.Refusal)(nil); errors.As(err, &r) {
		return &usageError{errors.New(r.Detail)}
	}
	if err != nil {
		return err
	}
	path := cmp.Or(f.draft, filepath.Join(f.dir, rotation.Name(d.Version)))
	if signed, _ := filepath.Glob(path + ".root-*.sig"); len(signed) > 0 {
		return &usageError{fmt.Errorf("%s is signed already (%s): another draft needs other signatures; remove them first", path, signed[0])}
	}
	if err := durable.WriteFile(path, doc, 0o644); err != nil {
		return err
	}
	if err := a.describe(d, doc, nil); err != nil {
		return err
	}
	a.printf("\n%s is a draft. Carry it to each root, who compares its digest and signs it:\n  caisseauto trust sign %s --key root-1\n  (or: ssh-keygen -Y sign -f root-1 -n %s %s && mv %s.sig %s)\nand publish it here: caisseauto trust publish %s\n",
		path, filepath.Base(path), keys.NamespaceTrust, filepath.Base(path), filepath.Base(path), rotation.SignatureName(filepath.Base(path), "root-1@x"), path)
	return nil
}
