package manifest

import "time"

func checkHead(h *Head) *Refusal {
	switch {
	case h.Format != HeadFormat:
		return refuse("D4", "format is %q, not %q: another kind of file, or a newer version of this program wrote it", h.Format, HeadFormat)
	case !ValidStream(h.Stream):
		return refuse("D5", "%q is not a stream", h.Stream)
	case !inRange(h.Epoch, maxInteger):
		return refuse("D6", "epoch %d is out of range", h.Epoch)
	case !inRange(h.Sequence, MaxSequence):
		return refuse("D6", "sequence %d is out of range", h.Sequence)
	case !inRange(h.Issue, maxInteger):
		return refuse("D6", "issue %d is out of range", h.Issue)
	case !isDigest(h.Digest) || h.Digest == noPrevious:
		return refuse("D7", "manifest_sha256 is not the digest of a manifest")
	case !validTime(h.Issued) || !validTime(h.Expires):
		return refuse("D8", "issued or expires is not a UTC time of whole seconds")
	case beginsPlain(h.Stream) && h.Baseline != 0:
		return refuse("H1", "baseline is %d, but stream %s has none", h.Baseline, h.Stream)
	case !beginsPlain(h.Stream) && !inRange(h.Baseline, h.Sequence):
		return refuse("H1", "baseline %d is not among the batches 1 to %d", h.Baseline, h.Sequence)
	case !inRange(h.Oldest, h.Sequence):
		return refuse("H2", "oldest %d is not among the batches 1 to %d", h.Oldest, h.Sequence)
	case !h.Expires.After(h.Issued):
		return refuse("H3", "it expires before it was issued")
	case h.Trust < 0 || h.Trust > MaxSequence || h.Trust > 0 && IsUp(h.Stream):
		return refuse("H9", "trust %d is no version of a trust document that such a head can name", h.Trust)
	case IsUp(h.Stream) && h.Till == nil:
		return refuse("H7", "the till says nothing of itself")
	case !IsUp(h.Stream) && h.Till != nil:
		return refuse("H7", "only a till speaks of itself")
	case h.Till != nil:
		return checkTillState(h.Till, h.Stream)
	}
	return nil
}

// Expired reports whether the head is stale at the time now. A stale head
// means that its writer does not run, or that somebody holds back its files:
// an alarm. What is chained already still applies.
func (h *Head) Expired(now time.Time) bool { return !now.Before(h.Expires) }
