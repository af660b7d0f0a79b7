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
	size                         int64 // of the archive, as it is on the disk
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
		p, size := box[n], int64(0)
		if info, err := e.Info(); err == nil {
			size = info.Size()
			if p.since.IsZero() || info.ModTime().Before(p.since) {
				p.since = info.ModTime()
			}
		}
		switch ext {
		case manifest.ArchiveExt:
			p.archive, p.size = true, size
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

// lowest returns the lowest number above n of which there is any file, 0 for
// none.
func (b inbox) lowest(n int64) int64 {
	low := int64(0)
	for m := range b {
		if m > n && (low == 0 || m < low) {
			low = m
		}
	}
	return low
}

// first returns the number of the baseline that a new till begins with: the
// one that the head names, else the newest in the inbox; 1 where there is none.
// A stream up has no baselines, and every batch of it counts: it begins with
// batch 1, or with the lowest one when that begins an epoch, because a till
// may begin new epochs before anything of it has arrived.
func (i *Importer) first(box inbox, head *manifest.Head) (int64, error) {
	if manifest.IsUp(i.Stream) {
		low := box.lowest(0)
		if low > 1 && box.whole(low) {
			if m, _, err := i.open(low); err != nil || m.Previous != manifest.NoPrevious() {
				return 1, nil // which is missing: complete says so
			}
			return low, nil
		}
		return 1, nil
	}
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

// jump returns the number of a batch that begins a new epoch behind numbers
// that nobody will see any more, 0 when there is none: the writer gave them out
// in an epoch that an operator has ended since. The head must say so too, and
// nothing of the numbers between may be here.
func (i *Importer) jump(box inbox, head *manifest.Head, after manifest.Position) int64 {
	n := box.lowest(after.Sequence)
	if after.IsZero() || head == nil || head.Epoch <= after.Epoch || n <= after.Sequence+1 || !box.whole(n) {
		return 0
	}
	m, _, err := i.open(n)
	if err != nil || m.Follows(after) != nil {
		return 0 // complete says what is missing
	}
	return n
}

// again looks at another copy of the batch that was applied last, if one is
// here: a writer that runs twice, or from an old backup, has signed it anew.
// A copy that is not its own says nothing.
func (i *Importer) again(box inbox, pos manifest.Position) error {
	if p := box[pos.Sequence]; pos.IsZero() || !p.manifest || !p.signature {
		return nil
	}
	m, got, err := i.open(pos.Sequence)
	if err == nil && got.Epoch == pos.Epoch && got.Digest != pos.Digest {
		return fmt.Errorf("%w: %w; nothing was applied; keep both, and %s", ErrFork, m.Follows(pos), i.forkHint())
	}
	return nil
}

// command is what a user runs to apply this stream.
func (i *Importer) command() string {
	if manifest.IsUp(i.Stream) {
		return "collect"
	}
	return "import"
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
	m, pos, err := manifest.Open(name, i.Stream, doc, sig, i.Trust)
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
	if low := box.lowest(0); r.After.IsZero() && manifest.IsUp(i.Stream) && !box.whole(low) {
		next = max(next, low) // it may begin an epoch; see first
	}
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
	if manifest.IsUp(i.Stream) {
		return fmt.Errorf("%s: %w: %s, but batch %d is not all there: withheld, removed, or not copied yet; the server stands at %d, unchanged since, and gives no receipt beyond it; run collect again, and if this stays, ask for the batch at the till: caisseauto sync ships what no receipt covers",
			i.Stream, manifest.ErrRefused, by, next, r.After.Sequence)
	}
	if r.After.IsZero() {
		return refuse(i.Stream, "%s, but no baseline is there to begin with (a first batch, or one made by: caisseauto export --baseline)", by)
	}
	return fmt.Errorf("%s: %w: %s, but batch %d is not all there: withheld, removed, or not copied yet; the database stands at %d, unchanged since; run again, and if this stays, ask for the batch at the server (caisseauto ship) or for a baseline (caisseauto export --baseline)",
		i.Stream, manifest.ErrRefused, by, next, r.After.Sequence)
}
