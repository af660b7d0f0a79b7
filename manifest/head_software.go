package manifest

import (
	"slices"
	"time"
)

// Software is what the head of a till's stream says of the software packages
// there.
type Software struct {
	Packages []Installed // what runs, by product
	Updates  []Update    // the last attempts, the oldest first
}

// Installed is one product as it runs on a till.
type Installed struct {
	Product  string `json:"product"`
	Version  string `json:"version"`
	Release  int64  `json:"release"`
	Sequence int64  `json:"sequence"` // of the batch that brought it
}

// An Outcome says how an attempt to install a package ended.
type Outcome string

// The outcomes.
const (
	WasInstalled  Outcome = "installed"
	WasRefused    Outcome = "refused"     // nothing was changed
	WasRolledBack Outcome = "rolled back" // the release before it runs again
)

// An Update is one attempt to install a package.
type Update struct {
	At       time.Time `json:"at"`
	Product  string    `json:"product"`
	Version  string    `json:"version"`
	Release  int64     `json:"release"`
	Sequence int64     `json:"sequence"` // of the batch
	Outcome  Outcome   `json:"outcome"`
	By       string    `json:"by"`     // who confirmed it, in words
	Reason   string    `json:"reason"` // why it was not installed, "" when it was
}

// What a head says of software at most. It has room for all of that only when
// the words are few: older attempts go first, see SealHead.
const (
	MaxInstalled = 16
	MaxUpdates   = 5
	MaxBy        = 64  // bytes
	MaxReason    = 200 // bytes
)

func checkSoftware(s *Software) *Refusal {
	if len(s.Packages) > MaxInstalled || len(s.Updates) > MaxUpdates {
		return refuse("H10", "%d packages and %d updates, more than %d and %d", len(s.Packages), len(s.Updates), MaxInstalled, MaxUpdates)
	}
	for i, p := range s.Packages {
		switch {
		case !ValidProduct(p.Product) || !ValidVersion(p.Version) || !inRange(p.Release, maxInteger) || !inRange(p.Sequence, MaxSequence):
			return refuse("H10", "package %d, %q %q, is none", i+1, p.Product, p.Version)
		case i > 0 && p.Product <= s.Packages[i-1].Product:
			return refuse("H10", "package %d, %s, stands there twice or out of order", i+1, p.Product)
		}
	}
	for i, u := range s.Updates {
		switch {
		case !validTime(u.At):
			return refuse("D8", "update %d: at is not a UTC time of whole seconds", i+1)
		case !ValidProduct(u.Product) || !ValidVersion(u.Version) || !inRange(u.Release, maxInteger) || !inRange(u.Sequence, MaxSequence):
			return refuse("H10", "update %d, %q %q, is of no package", i+1, u.Product, u.Version)
		case u.Outcome != WasInstalled && u.Outcome != WasRefused && u.Outcome != WasRolledBack:
			return refuse("H10", "update %d: outcome %q is not installed, refused or rolled back", i+1, u.Outcome)
		case !isWords(u.By, MaxBy) || !isWords(u.Reason, MaxReason):
			return refuse("H10", "update %d: words that are too long or have control characters", i+1)
		}
	}
	return nil
}

// clippedSoftware returns s with words that fit, and no more than the newest
// attempts.
func clippedSoftware(s *Software) *Software {
	if s == nil {
		return nil
	}
	c := &Software{Packages: slices.Clone(s.Packages), Updates: slices.Clone(s.Updates)}
	c.Packages = c.Packages[:min(len(c.Packages), MaxInstalled)]
	c.Updates = c.Updates[max(0, len(c.Updates)-MaxUpdates):]
	for i := range c.Updates {
		u := &c.Updates[i]
		u.By, u.Reason = Clip(u.By, MaxBy), Clip(u.Reason, MaxReason)
	}
	return c
}

// lighter takes something out of a till's head, and reports whether there was
// anything to take: the oldest attempt, then the last alarm.
func (h *Head) lighter() bool {
	t := h.Till
	switch {
	case t == nil:
		return false
	case t.Software != nil && len(t.Software.Updates) > 1:
		t.Software.Updates = t.Software.Updates[1:]
	case len(t.Alarms) > 1:
		t.Alarms = t.Alarms[:len(t.Alarms)-1]
	default:
		return false
	}
	return true
}
