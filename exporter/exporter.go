package exporter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Source is the database whose changes are sealed, and where the writer
// keeps its record of the stream. internal/sqlite has one.
type Source interface {
	// Stand returns the writer's record of the stream; the zero Stand when
	// nothing was sealed yet.
	Stand(ctx context.Context, stream string) (manifest.Stand, error)
	// Read gives sink every row of the next batch out of one snapshot. With
	// full, or when nothing was sealed yet, that is a baseline.
	Read(ctx context.Context, stream string, full bool, sink change.Sink) (manifest.Extract, error)
	// Reserve records durably, before anything is signed, that the number
	// belongs to that content and to no other.
	Reserve(ctx context.Context, stream string, p manifest.Pending) error
	// Publish makes the reserved batch the last one, and lets go of what
	// the journal no longer needs.
	Publish(ctx context.Context, stream string, p manifest.Pending) error
	// Advance moves the cursor where there was nothing to seal.
	Advance(ctx context.Context, stream, cursor string) error
	// NewEpoch records an operator's decision: the next batch is a baseline
	// of a new epoch; epoch and number are above those of seen and above the
	// source's own record. Seen needs no digest.
	NewEpoch(ctx context.Context, stream string, seen manifest.Position, reason string) error
}

// A Signer signs in the name of one key; keys.Load returns one.
type Signer = manifest.Signer

// Errors that callers branch on.
var (
	// ErrAhead: the stream holds batches that the database knows nothing of,
	// as after the restore of an old backup. An operator must decide.
	ErrAhead = errors.New("the stream is ahead of its database")
	// ErrLost: the database promised a number whose sealed bytes are gone.
	ErrLost = errors.New("a sealed batch is lost")
)

// An Exporter seals one stream into one outbox folder.
type Exporter struct {
	Source Source
	Stream string
	// Outbox is the local folder of the stream. It belongs to the Exporter.
	Outbox string
	Signer Signer
	// Principal is the name that the manifests and heads bear.
	Principal string
	// Trust must hold the Signer's key under Principal: every batch is
	// verified as a reader would before its head is written.
	Trust *manifest.Trust
	// TrustVersion is the newest version of the dossier's trust documents,
	// which the heads name; 0: it follows none.
	TrustVersion int64
	// HeadLife is the time after which readers call a head stale; 0 is 24 h.
	HeadLife time.Duration
	// Till is asked, for the head of a stream up, what the till says of
	// itself, after the batch was sealed; nil for other streams.
	Till func(ctx context.Context) (*manifest.TillState, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Progress is told the rows read so far; nil: nobody is.
	Progress func(rows int64)
	Log      *slog.Logger
}

// Options say what one run is to do.
type Options struct {
	// Full asks for a baseline: every row of every table.
	Full bool
	// NewEpoch, when it is not empty, is the reason why an operator begins a
	// new epoch. It implies Full.
	NewEpoch string
	// Seen is the highest number known to be on the drop, 0 when that is not
	// known: it uncovers a database restored from an old backup even where
	// the outbox went with it.
	Seen int64
	// SeenHead is the place that the newest head on the drop names; the zero
	// Position when that is not known.
	SeenHead manifest.Position
	// Oldest is the lowest number on the drop whose archive is there, 0 when
	// that is not known.
	Oldest int64
	// BaselineEvery is the age of the newest baseline from which on a run makes
	// another one by itself; 0: never.
	BaselineEvery time.Duration
	// Retention is the age from which on archives behind the newest baseline
	// are no longer kept; 0: never. Manifests and signatures stay.
	Retention time.Duration
	// Confirmed is a place in this stream that some reader says, signed, that
	// it has applied: the newest baseline must not be behind it for anything
	// to be let go. The digest is not looked at.
	Confirmed manifest.Position
	// Issue is the counter of the newest head known to be on the drop.
	Issue int64
	// OnDrop reports whether a batch is on the drop, as far as the drop still
	// keeps it; nil when the drop was not looked at. Only a Shelf asks.
	OnDrop func(sequence int64) bool
}

// A Result tells what a run did.
type Result struct {
	Sealed   bool              // a batch was made; else there was nothing new
	Finished bool              // a batch that an earlier crash had left was published first
	Position manifest.Position // the newest batch of the stream
	Kind     manifest.Kind     // of the sealed batch
	Rows     int64
	Tables   []string // tables of the sealed batch, in the order of the manifest
	Archive  int64    // bytes of its archive
	Oldest   int64    // the lowest number whose archive is to be kept, as the head says; see Prune
	Elapsed  time.Duration
}

// Run seals what changed since the last batch, if anything did, and renews
// the head. It is safe to kill at any moment: the next run finishes the same
// batch with the same bytes. A second run at the same time fails with
// durable.ErrLocked.
func (e *Exporter) Run(ctx context.Context, o Options) (Result, error) {
	start := time.Now()
	if err := e.selfCheck(); err != nil {
		return Result{}, err
	}
	if err := durable.MkdirAll(e.staging(), 0o755); err != nil {
		return Result{}, err
	}
	unlock, err := durable.Lock(filepath.Join(e.Outbox, ".lock"))
	if err != nil {
		return Result{}, fmt.Errorf("another %s of %s is running: %w", e.command(), e.Stream, err)
	}
	defer func() { _ = unlock() }() // the kernel lets go in any case

	if o.NewEpoch != "" {
		if err := e.beginEpoch(ctx, o); err != nil {
			return Result{}, err
		}
		o.Full = true
	}
	stand, shared, err := e.stand(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := e.bring(ctx, shared, o); err != nil {
		return Result{}, err
	}
	var r Result
	if stand.Pending != nil {
		if err := e.finish(ctx, *stand.Pending); err != nil {
			return Result{}, err
		}
		r.Finished = true
		stand.Last = stand.Pending.Position
		if stand.Pending.Kind == manifest.Baseline {
			stand.Baseline = stand.Last.Sequence
		}
	}
	oldest, err := e.compare(stand, shared, o)
	if err != nil {
		return Result{}, err
	}
	if oldest, err = e.resume(stand, shared, oldest, o); err != nil {
		return Result{}, err
	}
	if err := e.sealAll(ctx, &stand, o, &r); err != nil {
		return Result{}, err
	}
	if oldest == 0 {
		oldest = stand.Last.Sequence
	}
	oldest = e.retain(stand, oldest, o)
	r.Position, r.Oldest = stand.Last, oldest
	if stand.Last.Digest != "" { // a new epoch without a batch has no head yet
		err = e.renewHead(ctx, stand, oldest, o.Issue)
	}
	r.Elapsed = time.Since(start)
	return r, err
}

// seal reads, packs and publishes one batch, and brings stand up to it.
func (e *Exporter) seal(ctx context.Context, stand *manifest.Stand, w wish, r *Result) error {
	b, err := e.pack(ctx, *stand, w)
	if err != nil {
		return err
	}
	if b == nil {
		return nil
	}
	// From here on the number belongs to these bytes. Nothing is signed
	// before the database has it on its disk.
	if err := e.reserve(ctx, b); err != nil {
		return err
	}
	if err := e.finish(ctx, b.pending); err != nil {
		return err
	}
	stand.Last = b.pending.Position
	if b.pending.Kind == manifest.Baseline {
		stand.Baseline = stand.Last.Sequence
	}
	r.Sealed, r.Kind, r.Rows, r.Archive = true, b.pending.Kind, b.rows, b.manifest.Archive.Size
	for _, t := range b.manifest.Tables {
		r.Tables = append(r.Tables, t.Name)
	}
	return nil
}

// finish publishes the batch p out of the staging folder, or finds that it
// was published already, and then tells the database so. It is the one way
// by which batches reach the outbox, after a crash as without one.
func (e *Exporter) finish(ctx context.Context, p manifest.Pending) error {
	if err := e.publish(ctx, p.Position); err != nil {
		return err
	}
	if err := e.reread(p.Position); err != nil {
		return err
	}
	return e.Source.Publish(ctx, e.Stream, p)
}

// publish moves archive, signature and manifest to their final names, in
// that order: the manifest is the commit.
func (e *Exporter) publish(ctx context.Context, p manifest.Position) error {
	doc, err := e.reserved(p)
	if err != nil {
		return err
	}
	sig, err := e.sign(ctx, doc, p)
	if err != nil {
		return err
	}
	archive := manifest.FileName(p.Sequence, manifest.ArchiveExt)
	err = durable.Publish(filepath.Join(e.staging(), archive), filepath.Join(e.Outbox, archive))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil { // not staged: it must stand at its final place already
		if _, serr := os.Stat(filepath.Join(e.Outbox, archive)); serr != nil {
			return fmt.Errorf("%s: %w: neither staged nor in the outbox; %s", archive, ErrLost, e.epochHint())
		}
	}
	if sig != nil {
		if err := durable.WriteFile(filepath.Join(e.Outbox, manifest.FileName(p.Sequence, manifest.SignatureExt)), sig, 0o644); err != nil {
			return err
		}
	}
	if err := durable.Create(filepath.Join(e.Outbox, manifest.FileName(p.Sequence, manifest.ManifestExt)), doc, 0o644); err != nil {
		return err
	}
	return os.RemoveAll(e.staging())
}

// sign returns the signature over the manifest's bytes, nil when the batch is in
// the outbox: then it is immutable. Before that it replaces one that a crash
// may have left: with ECDSA two good signatures differ. Which one counts among
// several hosts, the database says before anybody sees any of them.
func (e *Exporter) sign(ctx context.Context, doc []byte, p manifest.Position) ([]byte, error) {
	name := manifest.FileName(p.Sequence, manifest.ManifestExt)
	if _, err := os.Stat(filepath.Join(e.Outbox, name)); err == nil {
		return nil, nil
	}
	sig, err := manifest.Sign(doc, e.Signer)
	if err != nil || e.shelf() == nil {
		return sig, err
	}
	// Other hosts' batches bear their principal: ours must not count there.
	if err := e.verify(name, doc, sig); err != nil {
		return nil, err
	}
	if sig, err = e.shelf().Signature(ctx, e.Stream, p, sig); err != nil {
		return nil, err
	}
	return sig, e.verify(name, doc, sig)
}

// verify holds a manifest that another host may have written or signed against
// what readers accept, before anything is published.
func (e *Exporter) verify(name string, doc, sig []byte) error {
	if _, _, err := manifest.Open(name, e.Stream, doc, sig, e.Trust); err != nil {
		return fmt.Errorf("the batch that was left to be published does not verify (all hosts that export a dossier need the same key and principal in [signing]): %w", err)
	}
	return nil
}

// reserved returns the manifest's bytes that the database recorded for p.
func (e *Exporter) reserved(p manifest.Position) ([]byte, error) {
	name := manifest.FileName(p.Sequence, manifest.ManifestExt)
	for _, dir := range []string{e.Outbox, e.staging()} {
		doc, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if manifest.Digest(doc) != p.Digest {
			return nil, fmt.Errorf("%s: %w: its bytes are not those that the database recorded for number %d; nothing was published; %s",
				filepath.Join(dir, name), ErrLost, p.Sequence, e.epochHint())
		}
		return doc, nil
	}
	return nil, fmt.Errorf("%s: %w: the database recorded it, but neither the outbox nor its staging folder holds it; %s", name, ErrLost, e.epochHint())
}

// epochHint ends the errors that only an operator can get out of.
func (e *Exporter) epochHint() string {
	return fmt.Sprintf("an operator must begin a new epoch: caisseauto %s --new-epoch --reason TEXT", e.command())
}

// command is what a user runs for this stream.
func (e *Exporter) command() string {
	if manifest.IsUp(e.Stream) {
		return "sync"
	}
	return "export"
}

func (e *Exporter) staging() string { return filepath.Join(e.Outbox, ".staging") }

func (e *Exporter) now() time.Time {
	if e.Now != nil {
		return e.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

func (e *Exporter) log() *slog.Logger {
	if e.Log != nil {
		return e.Log
	}
	return slog.New(slog.DiscardHandler)
}
