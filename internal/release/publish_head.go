package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// renew signs and writes the statement of the newest batch. The signature goes
// first; a reader that meets the two apart reads again.
func (p *Publisher) renew(all []*Batch) error {
	last := end(all)
	issue, err := p.lastIssue()
	if err != nil {
		return err
	}
	now := p.now()
	h := &manifest.Head{
		Format: manifest.HeadFormat, Stream: p.Stream, Epoch: last.Epoch, Sequence: last.Sequence, Digest: last.Digest,
		Oldest: p.oldest(all), Issue: issue + 1, Issued: now, Expires: now.Add(p.HeadLife), Trust: p.TrustVersion,
	}
	doc, sig, err := manifest.SealHead(h, p.Signer)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(p.Outbox, manifest.HeadSignatureName), sig, 0o644); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.Outbox, manifest.HeadName), doc, 0o644)
}

// oldest returns the lowest number whose archive is in the outbox; the newest
// where none is, as on a new machine.
func (p *Publisher) oldest(all []*Batch) int64 {
	for _, b := range all {
		if _, err := os.Lstat(filepath.Join(p.Outbox, b.Archive.Name)); err == nil {
			return b.Sequence
		}
	}
	return end(all).Sequence
}

// lastIssue returns the counter of the head in the outbox, 0 when there is none
// that says so. It is only our own, and only ever goes up.
func (p *Publisher) lastIssue() (int64, error) {
	doc, err := os.ReadFile(filepath.Join(p.Outbox, manifest.HeadName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var h struct{ Issue int64 }
	if json.Unmarshal(doc, &h) != nil || h.Issue < 0 {
		return 0, nil
	}
	return h.Issue, nil
}

// Adopt takes what another machine has published into the outbox: manifests
// and signatures out of dir, a copy of the stream's folder on the drop, as far
// as they are verified and go on where the outbox ends. Their archives stay on
// the drop. top is the highest number there. [ErrForked]: the drop has another
// package under a number of ours. An error for which [IsOver] holds: the drop ends
// with what a key signed that does not count any more; what is before it was
// taken over.
func (p *Publisher) Adopt(dir string) (adopted int, top int64, err error) {
	theirs, over := chain(dir, p.Stream, p.Trust)
	if over != nil && !IsOver(over) {
		return 0, 0, fmt.Errorf("what the drop holds: %w; nothing was published", over)
	}
	numbers, err := manifests(dir)
	if err != nil {
		return 0, 0, err
	}
	top = last(numbers)
	if adopted, err = p.adopt(dir, theirs); err == nil && over != nil {
		err = fmt.Errorf("what the drop holds: %w; nothing was published; go on behind it with: caisseauto publish --new-epoch --reason TEXT", over)
	}
	return adopted, top, err
}

// adopt takes verified batches out of dir into the outbox.
func (p *Publisher) adopt(dir string, theirs []*Batch) (adopted int, err error) {
	if err := durable.MkdirAll(p.Outbox, 0o755); err != nil {
		return 0, err
	}
	staged, err := manifests(p.staging())
	if err != nil {
		return 0, err
	}
	for _, b := range theirs {
		name := manifest.FileName(b.Sequence, manifest.ManifestExt)
		doc, sig, err := readPair(filepath.Join(dir, name), manifest.MaxManifest)
		if err != nil {
			return adopted, err
		}
		ours, err := os.ReadFile(filepath.Join(p.Outbox, name))
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(staged) > 0 && staged[0] == b.Sequence:
			ours, err = os.ReadFile(filepath.Join(p.staging(), name))
		case errors.Is(err, fs.ErrNotExist):
			if err := durable.WriteFile(filepath.Join(p.Outbox, name+".sig"), sig, 0o644); err != nil {
				return adopted, err
			}
			if err := durable.Create(filepath.Join(p.Outbox, name), doc, 0o644); err != nil {
				return adopted, err
			}
			adopted++
			continue
		}
		if err != nil {
			return adopted, err
		}
		if manifest.Digest(ours) != b.Position.Digest {
			return adopted, fmt.Errorf("%w: the drop has %s as batch %d of %s, and %s holds another one: it was published on two machines; nothing was published; find out which tills installed which, and keep both outboxes",
				ErrForked, b, b.Sequence, p.Stream, p.Outbox)
		}
	}
	return adopted, p.adoptHead(dir)
}

// adoptHead makes the next head count on from the one on the drop.
func (p *Publisher) adoptHead(dir string) error {
	doc, sig, err := readPair(filepath.Join(dir, manifest.HeadName), manifest.MaxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := manifest.OpenHead(manifest.HeadName, doc, sig, p.Trust)
	if err != nil || h.Stream != p.Stream {
		return nil // not ours: ours replaces it
	}
	issue, err := p.lastIssue()
	if err != nil || issue >= h.Issue {
		return err
	}
	if err := durable.WriteFile(filepath.Join(p.Outbox, manifest.HeadSignatureName), sig, 0o644); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.Outbox, manifest.HeadName), doc, 0o644)
}
