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

// ClockSkew is how far the clocks of a head's writer and its reader may be apart.
const ClockSkew = 24 * time.Hour

// Older reports whether h is from before a head of that issue, issued then (rule
// H4). The counter alone does not say so: a thief of the key could have driven it
// up once, and every honest head after it would look old for ever.
func (h *Head) Older(issue int64, issued time.Time) bool {
	return h.Issue < issue && !h.Issued.After(issued)
}

// Future reports whether h claims a time that the reader's clock, now, says has
// not come, where that clock can be believed: it is not behind known, when the
// newest accepted head was issued (rule H5). Accepted, it would make every later
// head look expired.
func (h *Head) Future(now, known time.Time) bool {
	return !now.Before(known) && h.Issued.After(now.Add(ClockSkew))
}

// Expired reports whether the head is stale at the time now. A stale head
// means that its writer does not run, or that somebody holds back its files:
// an alarm. What is chained already still applies.
func (h *Head) Expired(now time.Time) bool { return !now.Before(h.Expires) }
