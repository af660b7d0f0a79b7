package release

import (
	"fmt"

	"caisseauto/manifest"
)

// A verdict says what a package is for a till.
type verdict int

const (
	elsewhere verdict = iota // for another product, system or processor
	past                     // what runs came with it or after it
	abandoned                // given up before
	gone                     // no longer kept by its publisher: what came after it is
	unfit                    // a way back from a release that does not run here
	older                    // older than what runs, and no way back to it is signed
	wanted
)

// judge decides over one package, with cur running.
func (t *Till) judge(b *Batch, cur Place, s *state) verdict {
	switch {
	case t.product(b.Product) == nil || !b.Fits(t.goos(), t.goarch()):
		return elsewhere
	case !cur.IsZero() && b.Sequence <= cur.Sequence:
		return past
	case s.gave(b):
		return abandoned
	case b.gone && b.Rollback == nil: // a way back may find its release on the disk
		return gone
	case b.Rollback != nil && (cur.IsZero() || cur.Release != b.Rollback.From):
		return unfit
	case b.Rollback != nil:
		return wanted
	case b.Release == cur.Release:
		return past // the same release for a wider or narrower range of machines
	case b.Release < cur.Release:
		return older
	}
	return wanted
}

// next returns the package to install next, nil when there is none: the first
// of the chain whose product has nothing waiting before it, and whose
// requirements are installed. The error, a [*Refused], is about a package that
// nothing else can help.
func (t *Till) next(all []*Batch, installed map[string]Place, s *state) (*Batch, error) {
	var missing *Refused
	waits := map[string]bool{} // products whose next package cannot be installed yet
	for _, b := range all {
		cur := installed[b.Product]
		switch t.judge(b, cur, s) {
		case older:
			return nil, &Refused{Batch: b, Rule: "K8", Final: true,
				Reason: fmt.Sprintf("release %d runs here, which is newer, and no rollback from it to %d is signed", cur.Release, b.Release)}
		case wanted:
			if waits[b.Product] {
				continue
			}
			why := lacks(b, installed)
			if why == "" {
				return b, nil
			}
			waits[b.Product] = true
			if missing == nil {
				missing = &Refused{Batch: b, Rule: "K9", Reason: why}
			}
		}
	}
	if missing != nil {
		return nil, missing
	}
	return nil, nil
}

// lacks says which requirement of b is not installed, "" for none.
func lacks(b *Batch, installed map[string]Place) string {
	for _, r := range b.Requires {
		switch have := installed[r.Product]; {
		case have.IsZero():
			return fmt.Sprintf("it requires release %d of %s, and none is installed here", r.Release, r.Product)
		case have.Release < r.Release:
			return fmt.Sprintf("it requires release %d of %s, and release %d is installed here", r.Release, r.Product, have.Release)
		}
	}
	return ""
}

// A Refused package was not installed, and what runs was left alone.
type Refused struct {
	Batch  *Batch
	Rule   string // of SPEC.md
	Reason string
	Final  bool // it is not tried again
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%s, batch %d of %s: refused (rule %s): %s; nothing was changed", r.Batch, r.Batch.Sequence, r.Batch.Stream, r.Rule, r.Reason)
}

// Unwrap makes errors.Is(err, manifest.ErrRefused) hold.
func (r *Refused) Unwrap() error { return manifest.ErrRefused }
