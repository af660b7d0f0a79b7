package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

func (a *app) trustPublishCommand() *cobra.Command {
	var noShip bool
	c := &cobra.Command{
		Use:   "publish FILE",
		Short: "Publish a version that enough roots have signed (server)",
		Long: `Verifies the document and the signatures beside it (FILE.root-1.sig …) as every
reader will, takes it over into allowed_signers here, and ships it before anything
that is signed under it. Where the key under [signing] is the one that the version
retires, put the new one there first. The first version takes the tills of the
dossier, which are in allowed_signers by hand, into a list of tills.`,
		Example: "  caisseauto trust publish 0000000002.json",
		RunE:    func(c *cobra.Command, args []string) error { return a.trustPublish(c.Context(), args, noShip) },
	}
	c.Flags().BoolVar(&noShip, "no-ship", false, "into the outbox only; something else carries the files")
	return c
}

func (a *app) trustPublish(ctx context.Context, args []string, noShip bool) error {
	if len(args) != 1 {
		return &usageError{errors.New("FILE: which version? its signatures lie beside it")}
	}
	doc, signatures, err := signedDraft(args[0])
	if err != nil {
		return err
	}
	p, err := a.publication(ctx)
	if err != nil {
		return err
	}
	defer p.out.Close()
	next, err := updateTrust(p.cfg.Trust.AllowedSigners, func(t *keys.Trust) (*keys.Trust, error) {
		return p.version(t, doc, signatures)
	})
	if err != nil {
		return err
	}
	b := next.Block(p.dossier)
	a.printf("%s follows version %d now: %d of %d roots must sign the next one; %d tills in list %d\n", p.dossier, b.Version, b.Threshold, len(b.Roots), len(b.Tills), b.TillsVersion)
	return p.ship(noShip)
}

// signedDraft reads a document and the signatures that lie beside it.
func signedDraft(path string) ([]byte, []rotation.Signature, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	names, err := filepath.Glob(path + ".root-*.sig")
	if err != nil {
		return nil, nil, err
	}
	var list []rotation.Signature
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, rotation.Signature{File: filepath.Base(n), Data: data})
	}
	return doc, list, nil
}

// A publication is what publish and add-till work with.
type publication struct {
	app     *app
	ctx     context.Context
	cfg     *config.Server
	dossier string
	signer  keys.Signer
	out     drop.Drop // the outbox
}

// version takes over a signed version.
func (p *publication) version(t *keys.Trust, doc []byte, signatures []rotation.Signature) (*keys.Trust, error) {
	first := t.Block(p.dossier) == nil
	var next *keys.Trust
	var d *rotation.Document
	var err error
	switch b := t.Block(p.dossier); {
	case first:
		next, d, err = rotation.Begin(t, doc, signatures)
	case b.Digest == keys.Digest(doc): // an earlier run did not come to its end
		next = t
	default:
		next, d, err = rotation.Advance(t, p.dossier, doc, signatures)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was published", err)
	}
	if d != nil && d.Dossier != p.dossier {
		return nil, &usageError{fmt.Errorf("it is of dossier %s, not of %s; nothing was published", d.Dossier, p.dossier)}
	}
	if err := p.mine(next); err != nil {
		return nil, err
	}
	name := rotation.Name(next.Block(p.dossier).Version)
	var published []rotation.Signature
	for _, s := range signatures { // whatever the draft was called
		s.File = name + s.File[strings.LastIndex(s.File, ".root-"):]
		if drop.ValidPath(p.dossier + "/" + drop.TrustFolder + "/" + s.File) {
			published = append(published, s)
		}
	}
	if err := p.put(name, doc, published); err != nil {
		return nil, err
	}
	// Receipts are not numbered like batches: those of a key that is no
	// longer good are made anew.
	if err := p.renewReceipts(next, t); err != nil {
		return nil, err
	}
	return p.relist(next, first)
}

// mine makes sure that our own key signs under the new version.
func (p *publication) mine(t *keys.Trust) error {
	for _, namespace := range serverNamespaces {
		if err := t.For(p.dossier).MaySign(p.signer, p.cfg.Signing.Principal, p.dossier, namespace); err != nil {
			return fmt.Errorf("%w; nothing was published; name the key that this version has for %s under [signing] in %s first",
				err, p.cfg.Signing.Principal, p.cfg.File)
		}
	}
	return nil
}

// put puts a document behind its signatures into the outbox.
func (p *publication) put(name string, doc []byte, signatures []rotation.Signature) error {
	dir := p.dossier + "/" + drop.TrustFolder + "/"
	for _, s := range signatures {
		if err := p.putOne(dir+s.File, s.Data); err != nil {
			return err
		}
	}
	return p.putOne(dir+name, doc)
}

func (p *publication) putOne(name string, data []byte) error {
	err := drop.PutBytes(p.ctx, p.out, name, data)
	if errors.Is(err, drop.ErrConflict) && strings.HasSuffix(name, ".sig") {
		// Another signature over the same bytes is as good; the one that is
		// published stays.
		return nil
	}
	return err
}

// renewReceipts has the receipts of a dossier made anew when the keys of
// servers have come to an end since before.
func (p *publication) renewReceipts(next, before *keys.Trust) error {
	b, old := next.Block(p.dossier), before.Block(p.dossier)
	if old == nil || len(b.Retired)+len(b.Revoked) == 0 || len(b.Retired) == len(old.Retired) && len(b.Revoked) == len(old.Revoked) {
		return nil
	}
	return p.app.withCollector(p.ctx, func(ctx context.Context, _ *config.Server, db *collect.Collector) error {
		return db.RenewReceipts(ctx, p.dossier)
	})
}

// relist signs the list of tills anew where the newest one is not signed by our
// key: the first time, and when the server has another key.
func (p *publication) relist(t *keys.Trust, first bool) (*keys.Trust, error) {
	return p.list(t, t.Block(p.dossier).TillsVersion > 0, func(l *rotation.TillList) error {
		if !first {
			return nil
		}
		for _, h := range t.ByHand() {
			if strings.HasPrefix(h.Principal, "till-") && strings.HasSuffix(h.Principal, "@"+strings.ToLower(p.dossier)) {
				l.Keys = appendGrant(l.Keys, rotation.Grant{Principal: h.Principal, Namespaces: tillNamespaces, Key: keys.AuthorizedLine(h.Key, "")})
			}
		}
		return nil
	})
}

// listed reports whether our own key signed the newest list of tills.
func (p *publication) listed(t *keys.Trust, b *keys.Block) bool {
	name := rotation.TillsName(b.TillsVersion)
	files := trustFiles{p.ctx, p.out, p.dossier}
	doc, err := files.Read(name)
	if err != nil {
		return false
	}
	sig, err := files.Read(name + ".sig")
	if err != nil {
		return false
	}
	who, err := t.For(p.dossier).Identify(doc, sig, keys.NamespaceTills)
	return err == nil && keys.Digest(doc) == b.TillsDigest && who.Fingerprint == ssh.FingerprintSHA256(p.signer.Public())
}

// words writes allowed_signers beside the documents: what they say, in
// ssh-keygen's words.
func (p *publication) words(b *keys.Block) error {
	return p.out.Replace(p.ctx, p.dossier+"/"+drop.TrustFolder+"/"+drop.TrustedName, b.Text())
}

// ship brings the documents to the drop, before anything that is signed under
// them.
func (p *publication) ship(noShip bool) error {
	if noShip {
		p.app.printf("in the outbox; caisseauto ship, or the next export, brings it to the drop\n")
		return nil
	}
	d, err := p.app.openDrop(p.ctx, &p.cfg.Common)
	if err == nil {
		defer d.Close()
		err = shipTrust(p.ctx, d, p.out, p.dossier)
	}
	if err != nil {
		return fmt.Errorf("it counts here, and is not on the drop yet; the next export brings it there: %w", err)
	}
	p.app.printf("shipped to %s/%s\n", p.dossier, drop.TrustFolder)
	return nil
}
