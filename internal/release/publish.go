package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Publisher seals packages into one stream.
type Publisher struct {
	Stream string
	// Outbox is the local folder of the stream. It belongs to the Publisher,
	// and is its only memory.
	Outbox    string
	Signer    manifest.Signer
	Principal string
	Trust     *manifest.Trust
	// TrustVersion is the newest version of the dossier's trust documents,
	// which the heads name; 0: it follows none.
	TrustVersion int64
	// HeadLife is the time after which tills install nothing more.
	HeadLife time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Progress is told the bytes read so far, of how many; nil: nobody is.
	Progress func(done, total int64)
	Log      *slog.Logger
}

// A Request says what is to be published.
type Request struct {
	// Folder has the files. It is "" for a Rollback, which has those of the
	// release that it leads to.
	Folder   string
	Product  string
	Version  string
	OS, Arch string
	// Release is the number of the release; 0: that of the same version for
	// another system, else one more than the product's newest.
	Release  int64
	Notes    string
	Requires []manifest.Requirement
	Probe    *manifest.Probe
	// Rollback leads from a release back to an older one.
	Rollback *manifest.Rollback
	// NewEpoch, when it is not empty, is the reason why an operator begins a
	// new epoch: tills have seen packages that are lost. After is the highest
	// number that they have seen, as far as it is known.
	NewEpoch string
	After    int64
	// Archives are folders that are searched for the archive of the release
	// that a Rollback leads to, beside the Outbox.
	Archives []string
}

// Published tells what Publish did.
type Published struct {
	Batch    *Batch
	Sealed   bool     // else the newest release has these very files, and nothing was done
	Finished bool     // a package that was interrupted was published first
	Empty    []string // folders without files, which were left out
	Elapsed  time.Duration
}

// Errors that callers branch on.
var (
	// ErrRequest: a package cannot be like that. Nothing was published.
	ErrRequest = errors.New("cannot be published")
	// ErrForked: two packages bear one number. An operator must look.
	ErrForked = errors.New("the stream of packages is forked")
)

// Publish seals one package and renews the head. It can be killed at any
// moment: what was sealed is published by the next call with the same bytes. A
// call with what is published already does nothing more. The errors are
// [ErrRequest], manifest.ErrKey and durable.ErrLocked.
func (p *Publisher) Publish(ctx context.Context, q Request) (r Published, err error) {
	start := time.Now()
	unlock, all, err := p.begin(&r.Finished)
	if IsOver(err) && q.NewEpoch != "" { // that is what it is for
		err = nil
	}
	if unlock != nil {
		defer func() { _ = unlock() }() // the kernel lets go in any case
	}
	if err != nil {
		return r, err
	}
	if q.NewEpoch != "" {
		numbers, err := manifests(p.Outbox)
		if err != nil {
			return r, err
		}
		q.After = max(q.After, last(numbers))
	}
	pkg, err := q.describe(all)
	if err != nil {
		return r, err
	}
	var archive *packed
	if q.Rollback != nil {
		archive, err = p.again(ctx, all, q, pkg)
	} else {
		archive, err = p.pack(ctx, q, pkg, q.place(all).Sequence)
	}
	if err != nil {
		return r, errors.Join(err, os.RemoveAll(p.staging()))
	}
	r.Empty = archive.empty
	if same := published(all, pkg); same != nil && q.NewEpoch == "" {
		r.Batch, r.Elapsed = same, time.Since(start)
		return r, errors.Join(os.RemoveAll(p.staging()), p.renew(all))
	}
	if err := q.newVersion(all); err != nil {
		return r, errors.Join(err, os.RemoveAll(p.staging()))
	}
	position, err := p.reserve(q, all, pkg, archive)
	if err != nil {
		return r, errors.Join(err, os.RemoveAll(p.staging()))
	}
	if r.Batch, err = p.finish(position.Sequence); err != nil {
		return r, err
	}
	r.Sealed, r.Elapsed = true, time.Since(start)
	p.log().Info("package sealed", "stream", p.Stream, "sequence", r.Batch.Sequence, "product", pkg.Product, "version", pkg.Version, "release", pkg.Release)
	return r, p.renew(append(all, r.Batch))
}

// Renew signs the head anew, with nothing else: an expired one keeps tills from
// installing. It returns the newest batch, nil when there is none and so no
// head.
func (p *Publisher) Renew() (*Batch, error) {
	var finished bool
	unlock, all, err := p.begin(&finished)
	if unlock != nil {
		defer func() { _ = unlock() }()
	}
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], p.renew(all)
}

// begin takes the lock, makes sure that our key counts, finishes what was
// interrupted and reads what is published. When that ends with what a key
// signed that does not count any more, all of it is returned beside an error for
// which IsOver holds, and the lock is held.
func (p *Publisher) begin(finished *bool) (unlock func() error, all []*Batch, err error) {
	if err := manifest.KeyMaySign(p.Trust, p.Signer, p.Principal, p.Stream); err != nil {
		return nil, nil, err
	}
	if err := durable.MkdirAll(p.staging(), 0o755); err != nil {
		return nil, nil, err
	}
	unlock, err = durable.Lock(filepath.Join(p.Outbox, ".lock"))
	if err != nil {
		return nil, nil, fmt.Errorf("another publish of %s is running: %w", p.Stream, err)
	}
	fail := func(err error) (func() error, []*Batch, error) { return nil, nil, errors.Join(err, unlock()) }
	staged, err := manifests(p.staging())
	if err != nil {
		return fail(err)
	}
	if len(staged) > 0 { // the manifest is written last: it and the archive are whole
		if _, err := p.finish(staged[0]); err != nil {
			return fail(fmt.Errorf("finishing a package that was interrupted: %w", err))
		}
		*finished = true
	}
	all, over := chain(p.Outbox, p.Stream, p.Trust)
	if over != nil && !IsOver(over) {
		return fail(fmt.Errorf("what is published already: %w; nothing was published", over))
	}
	numbers, err := manifests(p.Outbox)
	if err != nil {
		return fail(err)
	}
	if over == nil && last(numbers) != end(all).Sequence {
		return fail(fmt.Errorf("%s: batch %d has no signature; bring the outbox back from the drop or a backup; nothing was published", p.Outbox, end(all).Sequence+1))
	} else if over != nil {
		over = fmt.Errorf("what is published already: %w; nothing was published; go on behind it with: caisseauto publish --new-epoch --reason TEXT", over)
	}
	if *finished {
		if err := p.renew(all); err != nil {
			return fail(err)
		}
	}
	return unlock, all, over
}

// last returns the last of ascending numbers, 0 for none.
func last(numbers []int64) int64 {
	if len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// describe makes of a request what the manifest is to say, but for the files.
func (q *Request) describe(all []*Batch) (*manifest.Package, error) {
	if q.Rollback != nil {
		return q.describeBack(all)
	}
	p := &manifest.Package{Product: q.Product, Version: q.Version, Release: q.Release, OS: q.OS, Arch: q.Arch,
		Notes: q.Notes, Requires: slices.Clone(q.Requires), Probe: q.Probe}
	slices.SortFunc(p.Requires, func(a, b manifest.Requirement) int {
		if a.Product < b.Product {
			return -1
		}
		return 1
	})
	top := int64(0)
	for _, b := range all {
		if b.Product != q.Product {
			continue
		}
		top = max(top, b.Release)
		if q.Release == 0 && b.Version == q.Version && b.Rollback == nil {
			p.Release = b.Release // of another system, or of this one: then newVersion looks
		}
	}
	if p.Release == 0 {
		p.Release = top + 1
	}
	return p, nil
}

// newVersion refuses a release that is not newer than the newest one for the
// same machines.
func (q *Request) newVersion(all []*Batch) error {
	if q.Rollback != nil {
		return nil
	}
	top := highest(all, q.Product, q.OS, q.Arch)
	switch {
	case top == nil:
		return nil
	case top.Version == q.Version && q.Release == 0:
		return fmt.Errorf("%w: %s for %s/%s is published already (batch %d), with other files or other words; give what is new another version", ErrRequest, top, q.OS, q.Arch, top.Sequence)
	case q.Release > 0 && q.Release <= top.Release:
		return fmt.Errorf("%w: release %d is not newer than %s (batch %d); leave --release out, or say a higher one; to go back, publish a rollback", ErrRequest, q.Release, top, top.Sequence)
	}
	for _, b := range all {
		if q.Release == 0 && b.Product == q.Product && b.Version == q.Version && b.Release <= top.Release {
			return fmt.Errorf("%w: version %s is release %d of other machines, and %s is newer for %s/%s; give it another version", ErrRequest, q.Version, b.Release, top, q.OS, q.Arch)
		}
	}
	return nil
}

// place is where the next package goes, and its Digest what it names as the one
// before it.
func (q *Request) place(all []*Batch) manifest.Position {
	last := end(all)
	at := manifest.Position{Epoch: max(last.Epoch, 1), Sequence: last.Sequence + 1, Digest: last.Digest}
	if q.NewEpoch != "" {
		at = manifest.Position{Epoch: at.Epoch + 1, Sequence: max(last.Sequence, q.After) + 1}
	}
	if at.Digest == "" {
		at.Digest = manifest.NoPrevious()
	}
	return at
}

// published returns the newest batch for the same machines if it says just
// this, nil if not: then the same command was given twice.
func published(all []*Batch, p *manifest.Package) *Batch {
	b := newest(all, p.Product, p.OS, p.Arch)
	if b == nil || b.Version != p.Version || b.Release != p.Release || b.Notes != p.Notes ||
		!slices.Equal(b.Requires, p.Requires) || !slices.Equal(b.Files, p.Files) ||
		(b.Probe == nil) != (p.Probe == nil) || (b.Rollback == nil) != (p.Rollback == nil) {
		return nil
	}
	if p.Probe != nil && (b.Probe.Seconds != p.Probe.Seconds || !slices.Equal(b.Probe.Command, p.Probe.Command)) {
		return nil
	}
	if p.Rollback != nil && *b.Rollback != *p.Rollback {
		return nil
	}
	return b
}

func (p *Publisher) staging() string { return filepath.Join(p.Outbox, ".staging") }

func (p *Publisher) now() time.Time {
	if p.Now != nil {
		return manifest.Time(p.Now())
	}
	return manifest.Time(time.Now())
}

func (p *Publisher) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.New(slog.DiscardHandler)
}
