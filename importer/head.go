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
// is wrong with the freshness of the stream, if anything. No head and [ErrFork]:
// the stream is forked at the place that was applied.
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
	case known != nil && h.Older(known.Issue, known.Issued):
		return known, refuse(manifest.HeadName, "an older head (issue %d of %s) than the one accepted before (issue %d of %s): replayed",
			h.Issue, stamp(h.Issued), known.Issue, stamp(known.Issued))
	case known != nil && h.Future(i.now(), known.Issued):
		return known, refuse(manifest.HeadName, "it was issued at %s, in the future of this machine's clock (%s); set the clock right, here or where it was issued",
			stamp(h.Issued), stamp(i.now()))
	case known != nil && h.Issue == known.Issue && h.Position() != known.Position():
		return known, fmt.Errorf("%s: %w: %w: two different heads bear the issue %d: its writer runs twice, or its key is in two hands; %s",
			manifest.HeadName, manifest.ErrRefused, ErrFork, h.Issue, i.forkHint())
	}
	if h == nil {
		return known, i.fresh(known)
	}
	if err := i.fork(h, pos); err != nil {
		return nil, err
	}
	if known == nil || h.Issue != known.Issue || !h.Issued.Equal(known.Issued) {
		if err := i.Applier.SaveHead(ctx, h); err != nil {
			return h, err
		}
	}
	if !pos.IsZero() && h.Epoch > pos.Epoch && h.Sequence <= pos.Sequence {
		return h, refuse(manifest.HeadName, "(rule P6) its writer began epoch %d at number %d or below, but batch %d of epoch %d was applied here; the new epoch must begin above that: begin another one there",
			h.Epoch, h.Sequence, pos.Sequence, pos.Epoch)
	}
	return h, i.fresh(h)
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
// behind the writer's own statement is not believed. Of a till's stream that
// is not asked: a till may be off line for weeks, and status shows since when.
func (i *Importer) fresh(h *manifest.Head) error {
	if h == nil || manifest.IsUp(i.Stream) {
		return nil // nothing was promised
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

// ErrFork: the writer signed two batches of one number, or two heads of one
// issue. It runs twice, or was restored from a backup, or its key is in two
// hands.
var ErrFork = errors.New("the stream is forked")

// forkHint says what to do about that.
func (i *Importer) forkHint() string {
	if manifest.IsUp(i.Stream) {
		return "find out which machines run as this till; stop all but one, and there run: caisseauto sync --new-epoch --reason TEXT"
	}
	return "call whoever runs the server"
}

// fork compares a verified head with the database's own position.
func (i *Importer) fork(h *manifest.Head, pos manifest.Position) error {
	if h.Sequence == pos.Sequence && h.Epoch == pos.Epoch && h.Digest != pos.Digest {
		return fmt.Errorf("%s: %w: %w: it names another batch %d (%s) than the one applied here (%s); nothing was applied; keep both, and %s",
			manifest.HeadName, manifest.ErrRefused, ErrFork, h.Sequence, h.Digest, pos.Digest, i.forkHint())
	}
	return nil
}
