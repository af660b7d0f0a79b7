package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"caisseauto/manifest"
)

// head opens the head in the inbox and holds it against the newest one that
// was accepted before. It returns the newest verified head there is, and what
// is wrong with the freshness of the stream, if anything. A forked stream is
// an errFork.
func (i *Importer) head(ctx context.Context, pos manifest.Position) (*manifest.Head, error) {
	known, err := i.Applier.Head(ctx, i.Stream)
	if err != nil {
		return nil, err
	}
	h, err := i.openHead()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		h = nil // never needed to find a batch; but see fresh
	case err != nil:
		return known, err
	case known != nil && older(h, known):
		return known, refuse(manifest.HeadName, "an older head (issue %d of %s) than the one accepted before (issue %d of %s): replayed",
			h.Issue, stamp(h.Issued), known.Issue, stamp(known.Issued))
	case known != nil && i.future(h, known):
		return known, refuse(manifest.HeadName, "it was issued at %s, in the future of this machine's clock (%s); set the clock right, here or at the server",
			stamp(h.Issued), stamp(i.now()))
	case known != nil && h.Issue == known.Issue && h.Position() != known.Position():
		return known, refuse(manifest.HeadName, "two different heads bear the issue %d: the stream is forked, or its key is in two hands", h.Issue)
	}
	if h == nil {
		return known, i.fresh(known)
	}
	if err := fork(h, pos); err != nil {
		return nil, err
	}
	if known == nil || *h != *known {
		if err := i.Applier.SaveHead(ctx, h); err != nil {
			return h, err
		}
	}
	return h, i.fresh(h)
}

// older reports whether h is from before known. The counter alone does not
// say so: a thief of the key could have driven it up once, and every honest
// head after it would look old for ever.
func older(h, known *manifest.Head) bool {
	return h.Issue < known.Issue && !h.Issued.After(known.Issued)
}

// clockSkew is how far the clocks of server and till may be apart.
const clockSkew = 24 * time.Hour

// future reports whether h claims a time that this machine's clock, where it
// can be believed, says has not come. Accepted, it would make every later
// head look expired.
func (i *Importer) future(h, known *manifest.Head) bool {
	now := i.now()
	return !now.Before(known.Issued) && h.Issued.After(now.Add(clockSkew))
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05Z") }

// openHead verifies the head in the inbox.
func (i *Importer) openHead() (*manifest.Head, error) {
	doc, err := readCapped(filepath.Join(i.Inbox, manifest.HeadName), manifest.MaxHead)
	if err != nil {
		return nil, err
	}
	sig, err := readCapped(filepath.Join(i.Inbox, manifest.HeadSignatureName), manifest.MaxSignature)
	if err != nil {
		return nil, err
	}
	return OpenHead(i.Stream, doc, sig, i.Trust)
}

// fresh refuses to call a stream current whose newest head has expired: it
// may be frozen by somebody who holds newer batches back. A clock that runs
// behind the writer's own statement is not believed.
func (i *Importer) fresh(h *manifest.Head) error {
	if h == nil {
		return nil // a first import from a folder without a head: nothing was promised
	}
	now := i.now()
	if h.Issued.After(now) {
		now = h.Issued
	}
	if h.Expired(now) {
		return fmt.Errorf("%s: %w: it expired at %s and no newer one has come: the server's export has stopped, or somebody holds newer batches back; what is chained stays applied; check the export process, the network and this machine's clock (now %s)",
			manifest.HeadName, manifest.ErrRefused, stamp(h.Expires), stamp(now))
	}
	return nil
}

// errFork: the writer signed two batches of one number.
var errFork = errors.New("the stream is forked")

// fork compares a verified head with the database's own position.
func fork(h *manifest.Head, pos manifest.Position) error {
	if h.Sequence == pos.Sequence && h.Epoch == pos.Epoch && h.Digest != pos.Digest {
		return fmt.Errorf("%s: %w: %w: it names another batch %d (%s) than the one applied here (%s); nothing was applied; keep both, and call whoever runs the server",
			manifest.HeadName, manifest.ErrRefused, errFork, h.Sequence, h.Digest, pos.Digest)
	}
	return nil
}
