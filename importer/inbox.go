package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"caisseauto/manifest"
)

// An inbox is what the folder holds, by number. Names that are not of the
// format are passed over: no path is ever built from one.
type inbox map[int64]parts

// parts says which files of a batch are there, and since when the first is.
type parts struct {
	archive, signature, manifest bool
	since                        time.Time
}

// patience is how long a batch may be on its way: a gigabyte over a poor line.
const patience = time.Hour

func (i *Importer) list() (inbox, error) {
	entries, err := os.ReadDir(i.Inbox)
	if err != nil {
		return nil, err
	}
	box := inbox{}
	for _, e := range entries {
		n, ext, ok := manifest.ParseFileName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		p := box[n]
		if info, err := e.Info(); err == nil && (p.since.IsZero() || info.ModTime().Before(p.since)) {
			p.since = info.ModTime()
		}
		switch ext {
		case manifest.ArchiveExt:
			p.archive = true
		case manifest.SignatureExt:
			p.signature = true
		case manifest.ManifestExt:
			p.manifest = true
		}
		box[n] = p
	}
	return box, nil
}

// whole reports whether all three files of a batch are there.
func (b inbox) whole(n int64) bool {
	p := b[n]
	return p.archive && p.signature && p.manifest
}

// begun reports whether some files of a batch are there, but not all, and the
// first of them came not too long ago.
func (b inbox) begun(n int64, now time.Time) bool {
	p, ok := b[n]
	return ok && !b.whole(n) && now.Sub(p.since) < patience
}

// newest returns the highest number whose manifest is there, 0 for none.
func (b inbox) newest() int64 {
	top := int64(0)
	for n, p := range b {
		if p.manifest && n > top {
			top = n
		}
	}
	return top
}

// first returns the number of the baseline that a new till begins with: the
// one that the head names, else the newest in the inbox; 1 where there is none.
func (i *Importer) first(box inbox, head *manifest.Head) (int64, error) {
	if head != nil && box.whole(head.Baseline) {
		return head.Baseline, nil
	}
	for n := box.newest(); n > 0; n-- {
		if !box.whole(n) {
			continue
		}
		m, _, err := i.open(n)
		if err != nil {
			return 0, err
		}
		if m.Kind == manifest.Baseline {
			return n, nil
		}
	}
	return 1, nil
}

// open verifies the manifest with that number.
func (i *Importer) open(n int64) (*manifest.Manifest, manifest.Position, error) {
	name := manifest.FileName(n, manifest.ManifestExt)
	doc, err := readCapped(filepath.Join(i.Inbox, name), manifest.MaxManifest)
	if err != nil {
		return nil, manifest.Position{}, err
	}
	sig, err := readCapped(filepath.Join(i.Inbox, manifest.FileName(n, manifest.SignatureExt)), manifest.MaxSignature)
	if err != nil {
		return nil, manifest.Position{}, err
	}
	m, pos, err := manifest.Open(name, doc, sig, i.Trust)
	if err != nil {
		return nil, pos, err
	}
	return m, pos, m.Expect(name, i.Stream, n)
}

// readCapped reads a file that must not be larger than limit: these bytes are
// not trusted yet.
func readCapped(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, refuse(filepath.Base(path), "%d bytes, more than the %d that such a file may have", info.Size(), limit)
	}
	return os.ReadFile(path)
}

// refuse makes the error for data that must not be used. Nothing of it was.
func refuse(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s; nothing of it was applied", name, manifest.ErrRefused, fmt.Sprintf(format, args...))
}

// complete looks at what was left: a batch on its way is waited for, a hole
// is an alarm.
func (i *Importer) complete(box inbox, head *manifest.Head, r *Report) error {
	next := r.After.Sequence + 1
	promised := box.newest()
	by := fmt.Sprintf("batch %d is here", promised)
	if head != nil && head.Sequence > promised {
		promised = head.Sequence
		by = fmt.Sprintf("the head announces batch %d", promised)
	}
	if box.begun(next, i.now()) {
		r.Waiting = fmt.Sprintf("batch %d has begun to arrive; it is taken when its archive, signature and manifest are all there", next)
		return nil
	}
	if _, stuck := box[next]; stuck && promised < next {
		promised, by = next, fmt.Sprintf("batch %d began to arrive more than an hour ago", next)
	}
	if promised < next {
		return nil
	}
	if r.After.IsZero() {
		return refuse(i.Stream, "%s, but no baseline is there to begin with (a first batch, or one made by: caisseauto export --baseline)", by)
	}
	return fmt.Errorf("%s: %w: %s, but batch %d is not all there: withheld, removed, or not copied yet; the database stands at %d, unchanged since; run again, and if this stays, ask for the batch at the server (caisseauto ship) or for a baseline (caisseauto export --baseline)",
		i.Stream, manifest.ErrRefused, by, next, r.After.Sequence)
}
