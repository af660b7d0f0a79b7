package release

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"caisseauto/manifest"
)

// Errors that callers branch on.
var (
	// ErrStale: no fresh head names the end of the chain. It wraps
	// manifest.ErrRefused.
	ErrStale = errors.New("nothing proves that the packages are the newest")
	// ErrIncomplete: the head names a package that has not come yet.
	ErrIncomplete = errors.New("not all of it has come yet")
)

// look reads the stream in the inbox as far as a fresh head vouches for it,
// and notes in s how far that is. Nothing published yet is no error.
func (t *Till) look(s *state) ([]*Batch, error) {
	all, err := chain(t.Inbox, t.Stream, t.Trust)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was installed", t.Stream, err)
	}
	if err := t.continues(s, all); err != nil {
		return nil, err
	}
	h, err := t.head(s)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(all) == 0 && s.Issue == 0:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w (rule K10): there is no head; nothing was installed; has all of the stream's folder been copied?", t.Stream, stale())
	case err != nil:
		return nil, err
	}
	upTo := -1
	for i, b := range all {
		if b.Sequence == h.Sequence {
			upTo = i
		}
	}
	switch {
	case upTo < 0:
		return nil, fmt.Errorf("%s: %w: the head names batch %d, and batch %d is the last one here; nothing was installed; try again later", t.Stream, ErrIncomplete, h.Sequence, end(all).Sequence)
	case all[upTo].Position != h.Position():
		return nil, fmt.Errorf("%s: %w: %w (rule P3): the head names another batch %d than the one here; nothing was installed; call the release manager", t.Stream, manifest.ErrRefused, ErrForked, h.Sequence)
	}
	if err := t.continues(s, all[:upTo+1]); err != nil { // a head may not lead back either
		return nil, err
	}
	last := all[upTo].Position
	s.Epoch, s.Sequence, s.Digest = last.Epoch, last.Sequence, last.Digest
	s.Issue, s.Issued, s.Head = h.Issue, h.Issued, h.Digest
	for _, b := range all {
		b.gone = b.Sequence < h.Oldest
	}
	return all[:upTo+1], nil
}

func stale() error { return fmt.Errorf("%w: %w", manifest.ErrRefused, ErrStale) }

// continues refuses a chain that does not pass through the place that was seen
// before.
func (t *Till) continues(s *state, all []*Batch) error {
	if s.position().IsZero() {
		return nil
	}
	for _, b := range all {
		switch {
		case b.Sequence == s.Sequence && b.Position != s.position():
			return fmt.Errorf("%s: %w: %w (rule P3): batch %d was another one before; nothing was installed; keep both, and call the release manager", t.Stream, manifest.ErrRefused, ErrForked, b.Sequence)
		case b.Sequence == s.Sequence, b.Epoch > s.Epoch && b.Sequence > s.Sequence:
			return nil
		}
	}
	return fmt.Errorf("%s: %w (rule P2): batch %d was seen before, and the stream ends at batch %d now: an old state is served, or files are missing; nothing was installed; call the release manager: if it is lost, he begins a new epoch (publish --new-epoch --after %d)", t.Stream, manifest.ErrRefused, s.Sequence, end(all).Sequence, s.Sequence)
}

// head verifies the head in the inbox, and that it is fresh.
func (t *Till) head(s *state) (*manifest.Head, error) {
	doc, sig, err := readPair(filepath.Join(t.Inbox, manifest.HeadName), manifest.MaxHead)
	if err != nil {
		return nil, err
	}
	h, err := manifest.OpenHead(manifest.HeadName, doc, sig, t.Trust)
	if err == nil {
		err = h.Expect(manifest.HeadName, t.Stream)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was installed", t.Stream, err)
	}
	now := t.now()
	switch {
	case h.Older(s.Issue, s.Issued):
		return nil, fmt.Errorf("%s: %w (rule H4): the head is older (issue %d of %s) than the one accepted before (issue %d of %s): replayed; nothing was installed",
			t.Stream, stale(), h.Issue, stamp(h.Issued), s.Issue, stamp(s.Issued))
	case h.Issue == s.Issue && h.Digest != s.Head:
		return nil, fmt.Errorf("%s: %w: %w (rule H4): two heads bear the issue %d: the release key is used on two machines; nothing was installed; call the release manager", t.Stream, manifest.ErrRefused, ErrForked, h.Issue)
	case s.Issue > 0 && h.Future(now, s.Issued):
		return nil, fmt.Errorf("%s: %w (rule H5): the head was issued at %s, in the future of this machine's clock (%s); nothing was installed; set the clock right, here or where it was issued",
			t.Stream, stale(), stamp(h.Issued), stamp(now))
	}
	for _, known := range []time.Time{s.Issued, h.Issued} { // a clock that is behind what was signed is wrong
		if known.After(now) {
			now = known
		}
	}
	if h.Expired(now) {
		return nil, fmt.Errorf("%s: %w (rule K10): the head expired at %s and no newer one has come; nothing was installed; the release manager renews it with: caisseauto publish --renew; check the network and this machine's clock (now %s)",
			t.Stream, stale(), stamp(h.Expires), stamp(now))
	}
	return h, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
