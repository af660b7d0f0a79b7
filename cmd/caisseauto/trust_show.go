package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/term"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

func (a *app) trustShowCommand() *cobra.Command {
	var signers string
	c := &cobra.Command{
		Use:   "show [FILE…]",
		Short: "Show who is trusted here, or what a draft says and who has signed it",
		Example: `  caisseauto trust show
  caisseauto trust show --signers allowed_signers 0000000002.json`,
		RunE: func(_ *cobra.Command, args []string) error { return a.trustShow(args, signers) },
	}
	c.Flags().StringVar(&signers, "signers", "", "allowed_signers `FILE`; else the one of the configuration, where there is one")
	return c
}

func (a *app) trustShow(files []string, signers string) error {
	t, err := a.shownTrust(signers, len(files) > 0)
	if err != nil {
		return err
	}
	for _, f := range files {
		doc, signatures, err := signedDraft(f)
		if err != nil {
			return err
		}
		d, err := rotation.Parse(f, doc)
		if err != nil {
			return err
		}
		var b *keys.Block
		if t != nil {
			b = t.Block(d.Dossier)
		}
		if a.json {
			if err := term.JSON(a.stdout, d); err != nil {
				return err
			}
			continue
		}
		if err := a.describe(d, doc, b); err != nil {
			return err
		}
		a.signatures(t, d, doc, signatures)
	}
	if len(files) > 0 {
		return nil
	}
	if len(t.Dossiers()) == 0 {
		a.printf("no trust documents are followed here; allowed_signers is kept by hand:\n")
	}
	for _, dossier := range t.Dossiers() {
		b := t.Block(dossier)
		a.printf("%s: version %d, sha256 %s; %d of %d roots must sign the next one\n", dossier, b.Version, b.Digest, b.Threshold, len(b.Roots))
		if b.TillsVersion > 0 {
			a.printf("%s: list %d of tills, sha256 %s\n", dossier, b.TillsVersion, b.TillsDigest)
		}
	}
	return a.showLines(t)
}

// shownTrust finds whose allowed_signers is meant; nil where a draft is looked
// at and there is none.
func (a *app) shownTrust(signers string, optional bool) (*keys.Trust, error) {
	if signers != "" {
		return keys.LoadTrust(signers)
	}
	if a.config == "" && !configHere() {
		if optional {
			return nil, nil
		}
		return nil, &usageError{errors.New("--signers FILE or --config FILE: whose list of keys?")}
	}
	c, err := a.commonConfig()
	if err != nil {
		return nil, err
	}
	return trustOf(c)
}

// showLines lists all keys, and how far each counts.
func (a *app) showLines(t *keys.Trust) error {
	type row struct {
		Dossier, Principal, Fingerprint, Counts string
		Signs                                   []string
	}
	var rows []row
	add := func(dossier string, lines []keys.Line, retired, revoked []keys.Limit) {
		for _, l := range lines {
			f := ssh.FingerprintSHA256(l.Key)
			rows = append(rows, row{dossier, l.Principal, f, counts(f, retired, revoked), l.Namespaces})
		}
	}
	for _, dossier := range t.Dossiers() {
		b := t.Block(dossier)
		add(dossier, b.Roots, nil, nil)
		add(dossier, b.Keys, b.Retired, b.Revoked)
		add(dossier, b.Tills, b.TillsRetired, b.TillsRevoked)
	}
	for _, l := range t.ByHand() {
		counts := "yes"
		if len(t.Dossiers()) > 0 && !strings.HasPrefix(l.Principal, "till-") {
			counts = "only in dossiers without trust documents"
		}
		rows = append(rows, row{"by hand", l.Principal, ssh.FingerprintSHA256(l.Key), counts, l.Namespaces})
	}
	if a.json {
		return term.JSON(a.stdout, rows)
	}
	table := term.NewTable("dossier", "principal", "key", "counts", "signs")
	for _, r := range rows {
		table.Row(r.Dossier, r.Principal, r.Fingerprint, r.Counts, short(r.Signs))
	}
	return table.Print(a.stdout)
}

// short are namespaces without what all of them end with.
func short(namespaces []string) string {
	if len(namespaces) == 0 {
		return "everything"
	}
	var list []string
	for _, n := range namespaces {
		list = append(list, strings.TrimSuffix(n, "@caisseauto"))
	}
	return strings.Join(list, ", ")
}

func counts(fingerprint string, retired, revoked []keys.Limit) string {
	for _, l := range retired {
		if l.Key == fingerprint {
			return fmt.Sprintf("up to %s %d", l.Stream, l.Sequence)
		}
	}
	for _, l := range revoked {
		if l.Key == fingerprint {
			return fmt.Sprintf("REVOKED from %s %d", l.Stream, l.Sequence)
		}
	}
	return "yes"
}

// describe says what a document says, and what it changes where the version
// before it is known.
func (a *app) describe(d *rotation.Document, doc []byte, before *keys.Block) error {
	a.printf("trust document %d of %s, made %s\nsha256 %s\n%d of %d roots must sign the version after it\n",
		d.Version, d.Dossier, d.Created.Format("2006-01-02 15:04 MST"), keys.Digest(doc), d.Threshold, len(d.Roots))
	table := term.NewTable("change", "principal", "key", "counts", "signs")
	known := map[string]string{} // key: counts
	if before != nil {
		for _, l := range before.Roots {
			known[ssh.FingerprintSHA256(l.Key)] = "yes"
		}
		for _, l := range before.Keys {
			f := ssh.FingerprintSHA256(l.Key)
			known[f] = counts(f, before.Retired, before.Revoked)
		}
	}
	row := func(principal, key string, signs []string) {
		f := rotation.Fingerprint(key)
		change, now := "", counts(f, d.Retired, d.Revoked)
		switch was, ok := known[f]; {
		case before == nil:
		case !ok:
			change = "comes"
		case was != now:
			change = "changes"
		}
		delete(known, f)
		table.Row(change, principal, f, now, short(signs))
	}
	for _, r := range d.Roots {
		row(r.Principal, r.Key, rotation.May(r.Principal))
	}
	for _, g := range d.Keys {
		row(g.Principal, g.Key, g.Namespaces)
	}
	if before != nil {
		for _, l := range slices.Concat(before.Roots, before.Keys) {
			if _, gone := known[ssh.FingerprintSHA256(l.Key)]; gone {
				table.Row("goes", l.Principal, ssh.FingerprintSHA256(l.Key), "no", short(l.Namespaces))
			}
		}
	}
	return table.Print(a.stdout)
}

// signatures says who has signed a draft so far, and whether it is enough.
func (a *app) signatures(t *keys.Trust, d *rotation.Document, doc []byte, signatures []rotation.Signature) {
	names := []string{}
	for _, s := range signatures {
		names = append(names, s.File)
	}
	a.printf("signatures beside it: %s\n", dash(strings.Join(names, ", ")))
	empty, err := keys.ParseAllowedSigners("", nil)
	if err == nil {
		if t == nil || t.Block(d.Dossier) == nil {
			_, _, err = rotation.Begin(empty, doc, signatures)
		} else {
			_, _, err = rotation.Advance(t, d.Dossier, doc, signatures)
		}
	}
	if err != nil {
		a.printf("not yet to be published: %v\n", err)
		return
	}
	a.printf("enough have signed it: caisseauto trust publish FILE\n")
}
