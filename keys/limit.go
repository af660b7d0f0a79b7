package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Why a good signature of a known key does not count.
var (
	// ErrRetired: the key has signed here up to a number, and no further.
	ErrRetired = errors.New("retired key")
	// ErrRevoked: from a number on nothing of the key is believed.
	ErrRevoked = errors.New("revoked key")
)

// A Limit says how far the signatures of a key count in one stream. Validity
// goes by number and never by time: a till's clock may be wrong, and whoever
// has a stolen key can write any time he likes.
type Limit struct {
	Principal string `json:"principal"`
	Key       string `json:"key"` // fingerprint, SHA256:…
	Stream    string `json:"stream"`
	// Sequence is the last number that counts of a retired key, 0 for none,
	// and the first that does not of a revoked one.
	Sequence int64 `json:"sequence"`
}

// An ending is a limit as allowed_signers holds it.
type ending struct {
	Limit
	revoked bool
}

// Batch says whether a signature by the key with that fingerprint counts for
// the batch of a stream with that number. The errors are [ErrRetired] and
// [ErrRevoked].
//
// A key that is limited in another stream of the same dossier has no business
// here either.
func (t *Trust) Batch(fingerprint, stream string, sequence int64) error {
	dossier, _, _ := strings.Cut(stream, "/")
	for _, e := range t.endings {
		if e.Key != fingerprint || !inDossier(e.Stream, dossier) {
			continue
		}
		switch {
		case e.Stream != stream:
			return fmt.Errorf("%w: %s was retired or revoked in %s, and signs nothing in %s", ErrRevoked, e.name(), e.Stream, stream)
		case e.revoked && sequence >= e.Sequence:
			return fmt.Errorf("%w: %s is revoked in %s from number %d on", ErrRevoked, e.name(), stream, e.Sequence)
		case !e.revoked && sequence > e.Sequence:
			return fmt.Errorf("%w: %s is retired in %s: it counts up to number %d", ErrRetired, e.name(), stream, e.Sequence)
		}
	}
	return nil
}

// Current says whether the key with that fingerprint still signs for a
// dossier what its owner makes anew all the time: heads, receipts, lists of
// tills. A key that was retired or revoked does not, whatever the number: who
// stole it could prove with it that nothing is new, or that a ticket has
// arrived. The errors are [ErrRetired] and [ErrRevoked].
func (t *Trust) Current(fingerprint, dossier string) error {
	for _, e := range t.endings {
		if e.Key != fingerprint || !inDossier(e.Stream, dossier) {
			continue
		}
		if e.revoked {
			return fmt.Errorf("%w: %s is revoked in %s", ErrRevoked, e.name(), e.Stream)
		}
		return fmt.Errorf("%w: %s is retired in %s; its owner signs with another key now", ErrRetired, e.name(), e.Stream)
	}
	return nil
}

func (b *Block) endings() []ending {
	var list []ending
	for _, l := range slices.Concat(b.Retired, b.TillsRetired) {
		list = append(list, ending{l, false})
	}
	for _, l := range slices.Concat(b.Revoked, b.TillsRevoked) {
		list = append(list, ending{l, true})
	}
	return list
}

func (e ending) name() string { return e.Principal + "'s key " + e.Key }

func inDossier(stream, dossier string) bool {
	code, _, _ := strings.Cut(stream, "/")
	return strings.EqualFold(code, dossier)
}
