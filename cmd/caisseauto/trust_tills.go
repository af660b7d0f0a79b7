package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

type addTillFlags struct {
	key    string
	noShip bool
}

func (a *app) trustAddTillCommand() *cobra.Command {
	var f addTillFlags
	c := &cobra.Command{
		Use:   "add-till NUMBER",
		Short: "Let a till sign its batches: one command, and no root (server)",
		Long: `Adds the till's public key, which init till has made and printed, to the signed list
of tills, or, without trust documents, to allowed_signers. A till that gets another
key is added once more; retire the old key when the till uses the new one.`,
		Example: "  caisseauto trust add-till 017 --dossier ACME --key till-017.pub",
		RunE:    func(c *cobra.Command, args []string) error { return a.trustAddTill(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.key, "key", "", "public key `FILE` of the till")
	c.Flags().BoolVar(&f.noShip, "no-ship", false, "into the outbox only; something else carries the files")
	return c
}

func (a *app) trustAddTill(ctx context.Context, args []string, f addTillFlags) error {
	if len(args) != 1 || f.key == "" || !keys.ValidDossier(args[0]) {
		return &usageError{errors.New("NUMBER and --key FILE.pub: which till, and which key is its?")}
	}
	pub, _, err := keys.LoadPublic(f.key)
	if err != nil {
		return err
	}
	p, err := a.publication(ctx)
	if err != nil {
		return err
	}
	defer p.out.Close()
	g := rotation.Grant{Principal: principalOf(args[0], p.dossier), Namespaces: tillNamespaces, Key: keys.AuthorizedLine(pub, "")}
	if err := p.catchUp(f.noShip); err != nil {
		return err
	}
	was := 0
	next, err := updateTrust(p.cfg.Trust.AllowedSigners, func(t *keys.Trust) (*keys.Trust, error) {
		if other := slices.DeleteFunc(t.Owners(pub), func(who string) bool { return who == g.Principal }); len(other) > 0 {
			return nil, &usageError{fmt.Errorf("%s is the key of %s already: every till has a key of its own, which caisseauto init till makes; nothing was changed", f.key, strings.Join(other, ", "))}
		}
		b := t.Block(p.dossier)
		if b == nil {
			return withLine(t, g)
		}
		was = len(b.Tills)
		return p.list(t, false, func(l *rotation.TillList) error {
			l.Keys = appendGrant(l.Keys, g)
			return nil
		})
	})
	if err != nil {
		return err
	}
	b := next.Block(p.dossier)
	if b == nil {
		a.printf("%s may sign: its line is in %s\n", g.Principal, p.cfg.Trust.AllowedSigners)
		return nil
	}
	if was == len(b.Tills) {
		a.printf("%s may sign with this key already, by list %d of tills\n", g.Principal, b.TillsVersion)
	} else {
		a.printf("%s may sign: list %d of tills has %d keys\n", g.Principal, b.TillsVersion, len(b.Tills))
	}
	return p.ship(f.noShip)
}

// publication opens what publish and the lists of tills work with.
func (a *app) publication(ctx context.Context) (*publication, error) {
	cfg, dossier, err := a.trustServer()
	if err != nil {
		return nil, err
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return nil, err
	}
	out, err := openLocal(cfg.Paths.Outbox, true)
	if err != nil {
		return nil, err
	}
	return &publication{app: a, ctx: ctx, cfg: cfg, dossier: dossier, signer: signer, out: out}, nil
}

// catchUp takes over what is on the drop and not known here: a server that was
// restored from a backup must not sign a second list of the same number.
func (p *publication) catchUp(noShip bool) error {
	t, err := trustOf(&p.cfg.Common)
	if err != nil || noShip || t.Block(p.dossier) == nil {
		return err
	}
	d, err := p.app.openDrop(p.ctx, &p.cfg.Common)
	if err != nil {
		return fmt.Errorf("whether the drop has newer lists cannot be seen, nothing was changed: %w; or give --no-ship", err)
	}
	defer d.Close()
	_, err = p.app.followTrust(p.ctx, &p.cfg.Common, d, p.dossier, true)
	return err
}

// list changes the list of tills, signs it and puts it into the outbox; again
// signs one that says the same anew. A list of the next number that lies there
// already was signed by a run that did not come to its end: it counts, and what
// is to change is changed in the one after it. So no number is ever signed twice.
func (p *publication) list(t *keys.Trust, again bool, change func(*rotation.TillList) error) (*keys.Trust, error) {
	files := trustFiles{p.ctx, p.out, p.dossier}
	for {
		b := t.Block(p.dossier)
		l := rotation.DraftTills(b, p.cfg.Signing.Principal)
		if err := change(l); err != nil {
			return nil, err
		}
		if rotation.SameTills(b, l) && (!again || p.listed(t, b)) {
			return t, p.words(b)
		}
		name := rotation.TillsName(l.Version)
		doc, err := files.Read(name)
		if errors.Is(err, fs.ErrNotExist) {
			// A signature alone is over bytes that nobody has.
			if err := p.out.Remove(p.ctx, p.dossier+"/"+drop.TrustFolder+"/"+name+".sig"); err != nil {
				return nil, err
			}
			return p.newList(t, l)
		}
		if err != nil {
			return nil, err
		}
		sig, err := files.Read(name + ".sig")
		if err != nil {
			return nil, err
		}
		if t, _, err = rotation.Enrol(t, p.dossier, l.Version, doc, sig); err != nil {
			return nil, fmt.Errorf("%s lies in the outbox already: %w; nothing was changed; if the drop has newer lists, take them over first: caisseauto collect", name, err)
		}
	}
}

func (p *publication) newList(t *keys.Trust, l *rotation.TillList) (*keys.Trust, error) {
	l.Created = time.Now().UTC().Truncate(time.Second)
	doc, err := l.Encode()
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was changed", err)
	}
	sig, err := p.signer.Sign(doc, keys.NamespaceTills)
	if err != nil {
		return nil, err
	}
	next, _, err := rotation.Enrol(t, p.dossier, l.Version, doc, sig)
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was changed; name the key that %s has in the newest version under [signing]", err, p.cfg.Signing.Principal)
	}
	name := rotation.TillsName(l.Version)
	if err := p.put(name, doc, []rotation.Signature{{File: name + ".sig", Data: sig}}); err != nil {
		return nil, err
	}
	return next, p.words(next.Block(p.dossier))
}

// appendGrant adds a key unless it is there.
func appendGrant(list []rotation.Grant, g rotation.Grant) []rotation.Grant {
	if slices.ContainsFunc(list, func(x rotation.Grant) bool { return x.Key == g.Key && x.Principal == g.Principal }) {
		return list
	}
	return append(slices.Clone(list), g)
}

// withLine adds a line by hand.
func withLine(t *keys.Trust, g rotation.Grant) (*keys.Trust, error) {
	pub, err := keys.ParsePublic(g.Key)
	if err != nil {
		return nil, err
	}
	if t.Holds(g.Principal)(pub) {
		return t, nil
	}
	line := keys.AllowedLine([]string{g.Principal}, g.Namespaces, pub, "")
	text := t.Text()
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return keys.ParseAllowedSigners("allowed_signers", append(text, line+"\n"...))
}

// trustLimit retires or revokes a key: a till's at once, another's by a draft.
func (a *app) trustLimit(ctx context.Context, args []string, f draftFlags, revoke bool) error {
	number, flag := f.through, "--through NUMBER: the last number that counts of what the key signed"
	if revoke {
		number, flag = f.from, "--from NUMBER: the first number that does not count any more"
	}
	if len(args) != 1 || number < 0 || revoke && number < 1 {
		return &usageError{errors.New("PRINCIPAL, and " + flag)}
	}
	if strings.HasPrefix(args[0], "till-") {
		return a.tillLimit(ctx, args[0], f.key, number, revoke)
	}
	d, err := a.drafted(f)
	if err != nil {
		return err
	}
	fingerprint, err := oneKey(d.Keys, args[0], f.key)
	if err != nil {
		return err
	}
	end := keys.Limit{Principal: args[0], Key: fingerprint, Stream: streamOf(d.Dossier, args[0]), Sequence: number}
	d.Retired, d.Revoked = limited(d.Retired, d.Revoked, end, revoke)
	return a.writeDraft(d, f)
}

func (a *app) tillLimit(ctx context.Context, principal, key string, number int64, revoke bool) error {
	p, err := a.publication(ctx)
	if err != nil {
		return err
	}
	defer p.out.Close()
	if err := p.catchUp(false); err != nil {
		return err
	}
	fingerprint := ""
	next, err := updateTrust(p.cfg.Trust.AllowedSigners, func(t *keys.Trust) (*keys.Trust, error) {
		b := t.Block(p.dossier)
		if b == nil {
			return nil, &usageError{fmt.Errorf("%s has no trust documents: take the till's line out of %s", p.dossier, p.cfg.Trust.AllowedSigners)}
		}
		return p.list(t, false, func(l *rotation.TillList) (err error) {
			if fingerprint, err = oneKey(l.Keys, principal, key); err != nil {
				return err
			}
			role, _, _ := strings.Cut(principal, "@")
			end := keys.Limit{Principal: principal, Key: fingerprint, Sequence: number, Stream: p.streamUp(strings.TrimPrefix(role, "till-"))}
			l.Retired, l.Revoked = limited(l.Retired, l.Revoked, end, revoke)
			return nil
		})
	})
	if err != nil {
		return err
	}
	word := "retired after"
	if revoke {
		word = "revoked from"
	}
	a.printf("%s's key %s is %s batch %d, by list %d of tills\n", principal, fingerprint, word, number, next.Block(p.dossier).TillsVersion)
	return p.ship(false)
}

// streamUp is the stream of a till, whose principal is in lower case, as the
// server knows it: one that it has never heard of has no batches to be judged.
func (p *publication) streamUp(till string) string {
	_ = p.app.withCollector(p.ctx, func(ctx context.Context, _ *config.Server, db *collect.Collector) error {
		known, err := db.Tills(ctx, p.dossier)
		for _, k := range known {
			if strings.EqualFold(k.Till, till) {
				till = k.Till
			}
		}
		return err
	})
	return importer.StreamUp(p.dossier, till)
}
