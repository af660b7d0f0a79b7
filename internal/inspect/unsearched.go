package inspect

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"caisseauto/manifest"
)

// An Unsearched is a range of batches in which nothing could be looked for.
type Unsearched struct {
	Stream      string
	First, Last int64
	Reason      string
	// Wrong: it should not be so. What is not wrong was removed by the
	// writer's retention, is not complete yet, or lies before a part of a
	// stream that was copied.
	Wrong bool
}

// missed remembers that batches were not searched.
func (s *search) missed(u Unsearched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.found
	// The list is put in order at the end; one more than it has room for is
	// counted alone.
	if len(f.Unsearched) >= 2*maxUnsearched {
		f.join()
	}
	if len(f.Unsearched) >= 2*maxUnsearched {
		f.More += u.Last - u.First + 1
		return
	}
	f.Unsearched = append(f.Unsearched, u)
}

// join makes one range of batches that follow each other and have the same
// reason.
func (f *Found) join() {
	slices.SortFunc(f.Unsearched, func(a, b Unsearched) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.First, b.First))
	})
	out := f.Unsearched[:0]
	for _, u := range f.Unsearched {
		if n := len(out); n > 0 && out[n-1].Stream == u.Stream && out[n-1].Reason == u.Reason && out[n-1].Last == u.First-1 {
			out[n-1].Last = u.Last
		} else {
			out = append(out, u)
		}
	}
	f.Unsearched = out
}

// notSearched remembers why a batch could not be searched.
func (s *search) notSearched(ctx context.Context, p Place, sequence int64, err error) {
	if fatal(ctx, err) {
		s.fail(err)
		return
	}
	u := Unsearched{Stream: p.Stream, First: sequence, Last: sequence, Reason: reasonOf(p, sequence, err), Wrong: true}
	switch {
	case errors.Is(err, errIncomplete):
		u.Reason, u.Wrong = errIncomplete.Error(), false
	case errors.Is(err, ErrKey):
		u.Wrong = false
	case errors.Is(err, fs.ErrNotExist) && s.isPruned(ctx, p, sequence):
		u.Reason, u.Wrong = reasonPruned, false
	case errors.Is(err, fs.ErrNotExist):
		u.Reason = reasonMissing
	}
	s.missed(u)
}

// reasonOf is the text of an error without the name of the batch's file, so that
// those of one reason make one range.
func reasonOf(p Place, sequence int64, err error) string {
	reason := err.Error()
	for ext, word := range map[string]string{manifest.ManifestExt: "manifest ", manifest.SignatureExt: "signature ", manifest.ArchiveExt: "archive "} {
		if text, ok := strings.CutPrefix(reason, shown(p, manifest.FileName(sequence, ext))+": "); ok {
			return word + text
		}
	}
	return reason
}

// Why an archive is not there.
const (
	reasonPruned  = "its archive was removed by its writer's retention, as the head says"
	reasonMissing = "its archive is not there, and no head says that it was removed"
)

// isPruned reports whether a good head says that the archive was removed. The
// head of a place is read once.
func (s *search) isPruned(ctx context.Context, p Place, sequence int64) bool {
	s.heads.Lock()
	defer s.heads.Unlock()
	id := p.Stream + " " + p.Where
	oldest, ok := s.oldestOf[id]
	if !ok {
		oldest = s.oldest(ctx, p)
		s.oldestOf[id] = oldest
	}
	return sequence < oldest
}
