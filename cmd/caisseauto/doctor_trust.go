package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"caisseauto/internal/drop"
	"caisseauto/internal/sqlite"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// lookTrust looks at what is known of trust documents here: how many roots
// there are to sign the next version.
func lookTrust(_ context.Context, p *patient) {
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return // told by lookKeys
	}
	if len(trust.Dossiers()) == 0 {
		p.ok("who is trusted is kept by hand on every machine; caisseauto trust new lets it travel with the files")
		return
	}
	for _, dossier := range trust.Dossiers() {
		b := trust.Block(dossier)
		switch n := int64(len(b.Roots)); {
		case b.Threshold == n && n > 1:
			p.note("add a root: caisseauto trust rotate --root root-N@…=FILE.pub", "all %d roots of %s have to sign: when one key is lost, no version can ever follow version %d", n, dossier, b.Version)
		case b.Threshold == 1:
			p.note("let two sign: caisseauto trust rotate --root root-N@…=FILE.pub --threshold 2", "one root of %s decides alone: whoever steals its key decides whom all tills trust", dossier)
		default:
			tills := "" // a till has no need of the list
			if b.TillsVersion > 0 {
				tills = fmt.Sprintf(", list %d of tills", b.TillsVersion)
			}
			p.ok("trust documents of %s: version %d, %d of %d roots sign the next one%s", dossier, b.Version, b.Threshold, n, tills)
		}
	}
}

// codes are the dossiers of this side.
func (p *patient) codes(ctx context.Context) (list []string) {
	for _, d := range p.dossiers {
		list = append(list, d.Code)
	}
	if p.till != nil {
		st, err := sqlite.ReadStanding(ctx, p.common.Database.DSN, rulesOf(p.till, ""))
		if code := cmp.Or(st.Followed, st.User, given(p.till, st)); err == nil && code != "" {
			list = append(list, code)
		}
	}
	return list
}

// lookTrustOnDrop looks at the trust documents on the drop: whether they go on
// from what is known here, and, on a till, whether the server's list has its key.
func (p *patient) lookTrustOnDrop(ctx context.Context, d drop.Drop, dossier string) {
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return
	}
	b := trust.Block(dossier)
	if b == nil {
		names, err := trustFiles{ctx, d, dossier}.Names()
		if err == nil && len(names) > 0 {
			p.note("compare the digest of the newest version with the server's operator, who reads it from caisseauto trust show, then: caisseauto trust accept --sha256 DIGEST",
				"%s has trust documents on the drop, and this machine does not follow them", dossier)
		}
		return
	}
	next, walk, err := rotation.Follow(trust, dossier, trustFiles{ctx, d, dossier}, true)
	switch {
	case errors.Is(err, rotation.ErrRefused):
		p.wrong("ask the server's operator whether this document is his; until then version "+fmt.Sprint(next.Block(dossier).Version)+" stays in force",
			"%s/%s/%v", dossier, drop.TrustFolder, err)
		return
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return // lookDrop has told what the drop is like
	case len(walk.Documents) > 0:
		p.ok("%d newer trust documents of %s are on the drop and good; the next run takes them over", len(walk.Documents), dossier)
	}
	if p.till == nil || p.common.Signing.Principal == "" {
		return
	}
	signer, err := p.app.signerOf(p.common)
	if err != nil {
		return
	}
	if !next.For(dossier).Holds(p.common.Signing.Principal)(signer.Public()) {
		p.wrong("on the server: caisseauto trust add-till "+p.till.Identity.Number+" --key FILE, with a copy of "+filepath.Base(p.common.Signing.Key)+".pub",
			"the server's newest list of tills does not have this till's key: nothing that it sells is accepted")
		return
	}
	p.ok("the server's newest list of tills has this till's key")
}
