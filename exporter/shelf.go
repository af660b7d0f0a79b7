package exporter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Shelf is what a Source is, too, when several hosts may write its streams,
// one after the other, each into an outbox of its own. It keeps a copy of what
// was sealed until that is known to be on the drop, so that any host goes on
// where another one has died, with the same bytes.
type Shelf interface {
	// Shared returns what all hosts know of the stream between them, with
	// what Stand returns, as of one moment.
	Shared(ctx context.Context, stream string) (manifest.Shared, error)
	// Deposit is Reserve, and in the same step keeps the manifest and the
	// archive, which it opens.
	Deposit(ctx context.Context, stream string, p manifest.Pending, document []byte, archive func() (io.ReadCloser, error)) error
	// Signature keeps the signature of a batch that waits to be published,
	// unless there is one already, and returns the one that counts.
	Signature(ctx context.Context, stream string, p manifest.Position, sig []byte) ([]byte, error)
	// Archive writes the archive that was kept of a batch to w, nothing when
	// it was lost.
	Archive(ctx context.Context, stream string, sequence int64, w io.Writer) error
	// TakeOff lets go of the published batches up to a number. Of the newest
	// one and of the newest baseline it keeps the manifest and the signature.
	TakeOff(ctx context.Context, stream string, upTo int64) error
	// NextIssue gives out the issue of the next head, higher than any before
	// and than the one named, and remembers the oldest archive it names.
	NextIssue(ctx context.Context, stream string, above, oldest int64) (int64, error)
}

// ErrUnseen says that nothing can be sealed here before the drop can be looked
// at: only that, or another host's outbox, tells how far the stream has gone.
var ErrUnseen = errors.New("the newest batches cannot be seen from here")

// shelf returns the Source as a Shelf, nil where one host alone writes.
func (e *Exporter) shelf() Shelf {
	s, _ := e.Source.(Shelf)
	return s
}

// stand returns the writer's record of the stream, and what hosts share of it.
func (e *Exporter) stand(ctx context.Context) (stand manifest.Stand, shared manifest.Shared, err error) {
	if e.shelf() == nil {
		stand, err = e.Source.Stand(ctx, e.Stream)
		return stand, shared, err
	}
	shared, err = e.shelf().Shared(ctx, e.Stream)
	return shared.Stand, shared, err
}

// bring writes what the shelf keeps, and neither the drop nor this outbox has,
// to where this host would have it if it had sealed it itself.
func (e *Exporter) bring(ctx context.Context, shared manifest.Shared, o Options) error {
	for _, k := range shared.Kept {
		var err error
		switch {
		case shared.Pending != nil && k.Sequence == shared.Pending.Sequence:
			err = e.bringPending(ctx, k, shared.Pending.Position)
		case k.Settled || o.OnDrop != nil && o.OnDrop(k.Sequence):
			err = e.bringSigned(k)
		default:
			err = e.bringPublished(ctx, k, shared.Last.Epoch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// brought is where an archive stands that was not looked at yet.
func (e *Exporter) brought() string { return filepath.Join(e.staging(), "shelf") }

// bringPending stages a batch that another host has left between its number
// and its publication, unless its bytes are here.
func (e *Exporter) bringPending(ctx context.Context, k manifest.Kept, p manifest.Position) error {
	if e.staged(p) {
		return nil
	}
	if manifest.Digest(k.Document) != p.Digest {
		return e.spoilt(k, errors.New("its manifest is not the one that the number was given to"))
	}
	a, err := archiveOf(k.Document)
	if err != nil {
		return e.spoilt(k, err)
	}
	// What is staged was never reserved.
	if err := os.RemoveAll(e.staging()); err != nil {
		return err
	}
	err = e.archive(ctx, k, a, filepath.Join(e.staging(), manifest.FileName(k.Sequence, manifest.ArchiveExt)))
	if errors.Is(err, ErrLost) {
		return e.spoilt(k, err)
	}
	if err != nil {
		return err
	}
	e.log().Info("a batch that another host began is finished here", "stream", e.Stream, "sequence", k.Sequence)
	return durable.WriteFile(filepath.Join(e.staging(), manifest.FileName(k.Sequence, manifest.ManifestExt)), k.Document, 0o644)
}

// staged reports whether finish has here what it needs of a batch. One that is
// in the outbox is committed, and finish looks at it.
func (e *Exporter) staged(p manifest.Position) bool {
	doc, err := e.reserved(p)
	if err != nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(e.Outbox, manifest.FileName(p.Sequence, manifest.ManifestExt))); err == nil {
		return true
	}
	a, err := archiveOf(doc)
	name := manifest.FileName(p.Sequence, manifest.ArchiveExt)
	return err == nil && (holds(filepath.Join(e.staging(), name), a) || holds(filepath.Join(e.Outbox, name), a))
}

// bringPublished writes a batch into the outbox that another host has published
// and not shipped. One that is spoilt is missing to all tills, until an epoch
// begins in which nobody asks for it.
func (e *Exporter) bringPublished(ctx context.Context, k manifest.Kept, epoch int64) error {
	have, err := e.same(k)
	if err != nil {
		return err
	}
	final := filepath.Join(e.Outbox, manifest.FileName(k.Sequence, manifest.ArchiveExt))
	if _, err := os.Stat(final); have && err == nil {
		return nil
	}
	m, _, err := manifest.Open(manifest.FileName(k.Sequence, manifest.ManifestExt), e.Stream, k.Document, k.Signature, e.Trust)
	if err == nil && !holds(final, m.Archive) {
		err = e.archive(ctx, k, m.Archive, final)
	}
	if errors.Is(err, ErrLost) || errors.Is(err, manifest.ErrRefused) {
		if k.Epoch < epoch {
			e.log().Warn("a batch of an earlier epoch cannot be shipped", "stream", e.Stream, "sequence", k.Sequence, "error", err.Error())
			return nil
		}
		return e.spoilt(k, err)
	}
	if err != nil || have {
		return err
	}
	e.log().Info("a batch that another host sealed is shipped from here", "stream", e.Stream, "sequence", k.Sequence)
	return e.writeSigned(k)
}

// bringSigned writes the manifest of a batch into the outbox that is on the drop
// already: it tells when the batch was made. One that is spoilt is of no use,
// and of no need.
func (e *Exporter) bringSigned(k manifest.Kept) error {
	have, err := e.same(k)
	if err != nil || have {
		return err
	}
	if _, _, err := manifest.Open(manifest.FileName(k.Sequence, manifest.ManifestExt), e.Stream, k.Document, k.Signature, e.Trust); err != nil {
		e.log().Warn("the database's copy of a manifest is spoilt", "stream", e.Stream, "sequence", k.Sequence, "error", err.Error())
		return nil
	}
	return e.writeSigned(k)
}

func (e *Exporter) writeSigned(k manifest.Kept) error {
	if err := durable.WriteFile(filepath.Join(e.Outbox, manifest.FileName(k.Sequence, manifest.SignatureExt)), k.Signature, 0o644); err != nil {
		return err
	}
	return durable.Create(filepath.Join(e.Outbox, manifest.FileName(k.Sequence, manifest.ManifestExt)), k.Document, 0o644)
}

// same reports whether the outbox has the batch. Another one under its number
// is from a copy of the database, or from before it was restored.
func (e *Exporter) same(k manifest.Kept) (bool, error) {
	base := manifest.FileName(k.Sequence, manifest.ManifestExt)
	name := filepath.Join(e.Outbox, base)
	doc, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || bytes.Equal(doc, k.Document) {
		return err == nil, err
	}
	if _, _, err := manifest.Open(base, e.Stream, k.Document, k.Signature, e.Trust); err != nil {
		e.log().Warn("the database's copy of a manifest is spoilt; the outbox has the batch", "stream", e.Stream, "sequence", k.Sequence, "error", err.Error())
		return true, nil
	}
	return false, fmt.Errorf("%s: %w: it is another batch than the one that the database sealed under this number: the database was restored from a backup, or a copy of it runs elsewhere; nothing was sealed; make sure that no copy runs, then %s",
		name, ErrAhead, e.epochHint())
}

// archive gets an archive off the shelf. It has its name when it is whole.
func (e *Exporter) archive(ctx context.Context, k manifest.Kept, a manifest.Archive, final string) (err error) {
	if err := durable.MkdirAll(e.staging(), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(e.brought(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	sum := sha256.New()
	err = e.shelf().Archive(ctx, e.Stream, k.Sequence, io.MultiWriter(f, sum))
	size, serr := f.Seek(0, io.SeekCurrent)
	if err == nil {
		err = serr
	}
	if err == nil {
		err = durable.SyncFile(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	switch {
	case size == 0:
		return fmt.Errorf("%w: its archive is not there any more, as after a crash of the server", ErrLost)
	case hex.EncodeToString(sum.Sum(nil)) != a.SHA256:
		return fmt.Errorf("%w: its archive is not the one that the manifest names", ErrLost)
	}
	return durable.Publish(e.brought(), final)
}

// spoilt is the error of a batch that is nowhere but on the shelf, and cannot
// be used from there.
func (e *Exporter) spoilt(k manifest.Kept, why error) error {
	if !errors.Is(why, ErrLost) {
		why = fmt.Errorf("%w: %w", ErrLost, why)
	}
	return fmt.Errorf("%s: another host sealed batch %d, which is not known to be on the drop, and the database's copy in caisseauto_shelf cannot be used: %w; nothing was sealed or shipped; let that host run its export again, which has the batch in its outbox; if that is lost, %s",
		e.Stream, k.Sequence, why, e.epochHint())
}

// archiveOf returns what a manifest says of its archive. Its bytes are those
// that the database recorded, or were verified.
func archiveOf(document []byte) (manifest.Archive, error) {
	var m struct{ Archive manifest.Archive }
	err := json.Unmarshal(document, &m)
	return m.Archive, err
}

// holds reports whether a file is that archive.
func holds(path string, a manifest.Archive) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return err == nil && n == a.Size && hex.EncodeToString(sum.Sum(nil)) == a.SHA256
}

// reserve records that the number belongs to what was packed.
func (e *Exporter) reserve(ctx context.Context, b *batch) error {
	if e.shelf() == nil {
		return e.Source.Reserve(ctx, e.Stream, b.pending)
	}
	return e.shelf().Deposit(ctx, e.Stream, b.pending, b.document, func() (io.ReadCloser, error) {
		return os.Open(filepath.Join(e.staging(), b.manifest.Archive.Name))
	})
}

// unseen refuses to go on without a look at the drop where this outbox alone
// does not show how far the stream has gone: the database may have been put
// back to a state in which it does not know what other hosts have sealed since.
func (e *Exporter) unseen(stand manifest.Stand, shared manifest.Shared, have int64, o Options) error {
	if e.shelf() == nil || o.OnDrop != nil || stand.Last.Digest == "" {
		return nil
	}
	head, err := e.lastHead()
	if err != nil {
		return err
	}
	why := ""
	switch {
	case have < stand.Last.Sequence:
		why = fmt.Sprintf("batch %d was sealed on another host and is not in %s", stand.Last.Sequence, e.Outbox)
	case shared.Moved:
		why = fmt.Sprintf("the database was restored or failed over since batch %d", stand.Last.Sequence)
	case head.Stream == e.Stream && head.Issue > shared.Issue:
		why = fmt.Sprintf("the database is older than the head in %s, as after the restore of a backup", e.Outbox)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w: %s, and the drop was not looked at; nothing was sealed; run the export again when the drop can be reached (and without --no-ship)", e.Stream, ErrUnseen, why)
}

// Clear lets the database go of its copies of the batches up to a number, which
// are all on the drop, or are carried there from this outbox by something else.
// Where one host alone writes there are none.
func (e *Exporter) Clear(ctx context.Context, upTo int64) error {
	if e.shelf() == nil || upTo <= 0 {
		return nil
	}
	return e.shelf().TakeOff(ctx, e.Stream, upTo)
}
