package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"caisseauto/internal/archive"
	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// defaultHeadLife is how long a head is fresh: a till that has seen no newer
// one for a day is cut off, by a fault or by somebody.
const defaultHeadLife = 24 * time.Hour

// numbers returns the oldest number whose archive, and the newest whose
// manifest is in the outbox, zeros when there is none; whole is the newest that
// has both. What has a manifest alone was sealed by another host.
func (e *Exporter) numbers() (oldest, newest, whole int64, err error) {
	entries, err := os.ReadDir(e.Outbox)
	if err != nil {
		return 0, 0, 0, err
	}
	last := int64(0)                // with an archive
	for _, entry := range entries { // sorted by name, and names are padded: manifests come before archives
		n, ext, ok := manifest.ParseFileName(entry.Name())
		switch {
		case ok && ext == manifest.ManifestExt:
			newest = n
		case ok && ext == manifest.ArchiveExt:
			last = n
			if oldest == 0 {
				oldest = n
			}
		}
		if newest == last {
			whole = last
		}
	}
	return oldest, newest, whole, nil
}

// compare holds the newest number in the outbox, and the one seen on the drop,
// against the database's, and returns the oldest number that is still there.
// A database restored from an old backup would otherwise give a number out a
// second time. Where neither place shows the newest batch that the database
// knows, nothing can be said about that, and nothing is sealed.
func (e *Exporter) compare(stand manifest.Stand, shared manifest.Shared, o Options) (oldest int64, err error) {
	oldest, newest, whole, err := e.numbers()
	if err != nil {
		return 0, err
	}
	where, have := e.Outbox, max(newest, o.Seen)
	if e.shelf() != nil { // the database itself has brought the other manifests here
		have = max(whole, o.Seen)
	}
	if o.Seen > newest {
		newest, where = o.Seen, "the drop"
	}
	last := stand.Last.Sequence
	if err := e.unseen(stand, shared, have, o); err != nil && newest <= last {
		return 0, err
	}
	switch {
	case newest > last:
		return 0, fmt.Errorf("%s: %w: %s holds batch %d, the database knows only of %d, as after the restore of a backup, or where a copy of this database runs elsewhere; nothing was sealed; make sure that no copy runs, then %s",
			e.Stream, ErrAhead, where, newest, last, e.epochHint())
	case o.SeenHead.Sequence == last && o.SeenHead.Epoch == stand.Last.Epoch && stand.Last.Digest != "" && o.SeenHead.Digest != stand.Last.Digest:
		return 0, fmt.Errorf("%s: %w: the head on the drop names another batch %d (%s) than this database sealed (%s): a copy of this database runs elsewhere; nothing was sealed; stop the copy, then %s",
			e.Stream, ErrAhead, last, o.SeenHead.Digest, stand.Last.Digest, e.epochHint())
	case have < last && stand.Last.Digest != "":
		return 0, fmt.Errorf("%s: %w: batch %d, the newest that the database knows, is neither in %s nor seen on the drop; nothing was sealed; bring the outbox back, or run again when the drop can be reached; if both are lost, %s",
			e.Stream, ErrLost, last, e.Outbox, e.epochHint())
	}
	seen := o.Oldest
	if e.shelf() != nil && o.OnDrop == nil {
		seen = shared.Oldest // this outbox may have only what was sealed here
	}
	if oldest == 0 || seen > 0 && seen < oldest {
		oldest = seen
	}
	return oldest, nil
}

// beginEpoch records the operator's decision, above every number and every
// epoch that was ever seen: the database may have been made anew, empty.
func (e *Exporter) beginEpoch(ctx context.Context, o Options) error {
	_, newest, _, err := e.numbers()
	if err != nil {
		return err
	}
	head, err := e.lastHead()
	if err != nil {
		return err
	}
	seen := manifest.Position{Epoch: max(head.Epoch, o.SeenHead.Epoch), Sequence: max(newest, o.Seen)}
	return e.Source.NewEpoch(ctx, e.Stream, seen, o.NewEpoch)
}

// reread verifies the batch in the outbox as a reader would, from the disk,
// before the head names it: what was signed must be what was written.
func (e *Exporter) reread(p manifest.Position) error {
	doc, err := os.ReadFile(filepath.Join(e.Outbox, manifest.FileName(p.Sequence, manifest.ManifestExt)))
	if err != nil {
		return err
	}
	sig, err := os.ReadFile(filepath.Join(e.Outbox, manifest.FileName(p.Sequence, manifest.SignatureExt)))
	if err != nil {
		return err
	}
	m, got, err := manifest.Open(manifest.FileName(p.Sequence, manifest.ManifestExt), e.Stream, doc, sig, e.Trust)
	if err != nil {
		return fmt.Errorf("the batch just sealed does not verify (is the key of [signing] in allowed_signers under its principal?): %w", err)
	}
	if got != p {
		return fmt.Errorf("%s: the outbox holds %v in place of %v", e.Stream, got, p)
	}
	f, err := os.Open(filepath.Join(e.Outbox, m.Archive.Name))
	if err != nil {
		return err
	}
	defer f.Close()
	want := archive.Sum{Size: m.Archive.Size, SHA256: m.Archive.SHA256, TarSize: m.Archive.TarSize}
	if err := archive.Check(f, want); err != nil {
		return fmt.Errorf("%s: %w: not what was sealed: %w; %s", f.Name(), ErrLost, err, e.epochHint())
	}
	return nil
}

// renewHead signs and writes the statement of the newest batch. The
// signature goes first; a reader that meets the two apart reads again.
func (e *Exporter) renewHead(ctx context.Context, stand manifest.Stand, oldest, seenIssue int64) error {
	life := e.HeadLife
	if life == 0 {
		life = defaultHeadLife
	}
	previous, err := e.lastHead()
	if err != nil {
		return err
	}
	now := e.now()
	h := &manifest.Head{
		Format: manifest.HeadFormat, Stream: e.Stream,
		Epoch: stand.Last.Epoch, Sequence: stand.Last.Sequence, Digest: stand.Last.Digest,
		Baseline: stand.Baseline, Oldest: oldest,
		Issue: max(previous.Issue, seenIssue) + 1, Issued: now, Expires: now.Add(life),
		Trust: e.TrustVersion,
	}
	if e.shelf() != nil {
		if h.Issue, err = e.shelf().NextIssue(ctx, e.Stream, h.Issue-1, oldest); err != nil {
			return err
		}
	}
	if e.Till != nil {
		if h.Till, err = e.Till(ctx); err != nil {
			return err
		}
	}
	doc, sig, err := manifest.SealHead(h, e.Signer)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(e.Outbox, manifest.HeadSignatureName), sig, 0o644); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(e.Outbox, manifest.HeadName), doc, 0o644)
}

// Testify renews the head without sealing anything, for a writer that must not
// go on but can still say where it stands. It reports whether there was
// anything to say: a writer that never sealed a batch has no head.
func (e *Exporter) Testify(ctx context.Context, o Options) (bool, error) {
	stand, err := e.Source.Stand(ctx, e.Stream)
	if err != nil || stand.Last.Digest == "" {
		return false, err
	}
	if err := durable.MkdirAll(e.Outbox, 0o755); err != nil {
		return false, err
	}
	unlock, err := durable.Lock(filepath.Join(e.Outbox, ".lock"))
	if err != nil {
		return false, err
	}
	defer func() { _ = unlock() }()
	oldest, _, _, err := e.numbers()
	if err != nil {
		return false, err
	}
	if oldest == 0 || oldest > stand.Last.Sequence {
		oldest = stand.Last.Sequence
	}
	return true, e.renewHead(ctx, stand, oldest, o.Issue)
}

// lastHead returns what is wanted of the head in the outbox, zeros when there
// is none. Only these are wanted, and from our own folder: a head
// whose signature a crash left behind still tells which were used.
func (e *Exporter) lastHead() (h ownHead, err error) {
	doc, err := os.ReadFile(filepath.Join(e.Outbox, manifest.HeadName))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if json.Unmarshal(doc, &h) != nil || h.Issue < 0 || h.Epoch < 0 {
		return ownHead{}, nil
	}
	return h, nil
}

// An ownHead is what a writer wants to know of the head that it wrote last.
type ownHead struct {
	Stream               string
	Issue, Epoch, Oldest int64
}
