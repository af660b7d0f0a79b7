package release

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNoRoom: the disk has no room for a package. Nothing was changed.
var ErrNoRoom = errors.New("not enough room on the disk")

// spare is what must stay free: the till goes on selling meanwhile.
const spare = 64 << 20

// room refuses a package that would fill a disk.
func (t *Till) room(p *Product, b *Batch) error {
	if t.Free == nil {
		return nil
	}
	archive := b.Archive.Size
	if fi, err := os.Stat(t.archive(b)); err == nil {
		archive = max(0, archive-fi.Size())
	}
	if _, err := os.Stat(p.path(placeOf(b))); err == nil {
		return nil // from an earlier run; prepare looks at it
	}
	for _, need := range []struct {
		dir   string
		bytes int64
	}{{t.Inbox, archive}, {p.releases(), b.Package.Size() + archive}} { // they may be on one disk
		dir := need.dir
		for { // the folder may not be there yet
			if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
				break
			}
			dir = filepath.Dir(dir)
		}
		if free := t.Free(dir); free > 0 && free < need.bytes+spare {
			return fmt.Errorf("%s: %w: it takes %d MiB, and %d MiB are free in %s, of which %d stay for the till's work; nothing was changed; make room, or keep fewer releases ([update] keep)",
				b, ErrNoRoom, need.bytes>>20+1, free>>20, dir, spare>>20)
		}
	}
	return nil
}
