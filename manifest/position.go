package manifest

import "fmt"

// A Reason says why a batch cannot be the next one.
type Reason string

// The reasons of a [PositionError].
const (
	// Applied: this very batch was applied before. Harmless.
	Applied Reason = "applied"
	// Replayed: an older batch than the last one that was applied.
	Replayed Reason = "replayed"
	// Forked: another batch of the same number was applied. The writer
	// signed two, or its key is in other hands: an alarm.
	Forked Reason = "forked"
	// Gap: batches between are missing, or nothing was applied yet and it
	// is not a baseline.
	Gap Reason = "gap"
	// Unchained: the right number, but another batch before it than the one
	// that was applied: an alarm.
	Unchained Reason = "unchained"
	// WrongEpoch: of an epoch that is over, or of a new one in its middle.
	WrongEpoch Reason = "epoch"
)

// A PositionError says that a batch, verified in itself, is not the next one
// for this reader, and carries the evidence. It wraps [ErrRefused].
type PositionError struct {
	Reason   Reason
	Stream   string
	Last     Position // what the reader applied last
	Got      Position // the batch
	Kind     Kind     // of the batch
	Previous string   // the digest that the batch names as the one before it
}

func (e *PositionError) Error() string {
	batch := fmt.Sprintf("%s batch %d (epoch %d)", e.Stream, e.Got.Sequence, e.Got.Epoch)
	last := fmt.Sprintf("batch %d (epoch %d)", e.Last.Sequence, e.Last.Epoch)
	switch e.Reason {
	case Applied:
		return batch + ": refused (rule P2): applied already; nothing to do"
	case Replayed:
		return fmt.Sprintf("%s: refused (rule P2): %s was applied already; an old file is served again", batch, last)
	case Forked:
		return fmt.Sprintf("%s: refused (rule P3): another batch of this number was applied: %s, this one is %s; ask the writer's operator which one is right",
			batch, e.Last.Digest, e.Got.Digest)
	case Gap:
		if e.Last.IsZero() {
			return batch + ": refused (rule P4): nothing was applied yet, so a " + e.begins() + " must come first"
		}
		return fmt.Sprintf("%s: refused (rule P4): %s was applied last, batch %d must come next", batch, last, e.Last.Sequence+1)
	case Unchained:
		fresh := "baseline"
		if beginsPlain(e.Stream) {
			fresh = "epoch"
		}
		return fmt.Sprintf("%s: refused (rule P5): it follows the manifest %s, but the one that was applied is %s; ask the writer's operator for a new %s",
			batch, e.Previous, e.Last.Digest, fresh)
	}
	return fmt.Sprintf("%s: refused (rule P6): %s was applied last; a new epoch begins with a %s of a higher number", batch, last, e.begins())
}

// begins says what a stream, or an epoch of it, begins with.
func (e *PositionError) begins() string {
	if beginsPlain(e.Stream) {
		return "batch that names none before it"
	}
	return "baseline"
}

// Unwrap makes errors.Is(err, ErrRefused) hold.
func (e *PositionError) Unwrap() error { return ErrRefused }

// Position returns the place of m in its stream.
func (m *Manifest) Position() (Position, error) {
	doc, err := Encode(m)
	if err != nil {
		return Position{}, err
	}
	return Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: Digest(doc)}, nil
}

// Follows returns nil when m is the batch to apply after the one at last: the
// next number, naming that very manifest as the one before it. After nothing
// (the zero Position), and when the epoch was raised, it is a baseline of a
// higher number; in a stream up or of packages, a batch that names none before it. Otherwise the
// error is a [*PositionError].
//
// A reader whose next batch is not on the drop any more may decide to start
// again from a newer baseline; it sees that by Reason [Gap] and Kind
// [Baseline].
func (m *Manifest) Follows(last Position) error {
	got, err := m.Position()
	if err != nil {
		return err
	}
	reason := m.misplaced(last, got)
	if reason == "" {
		return nil
	}
	return &PositionError{Reason: reason, Stream: m.Stream, Last: last, Got: got, Kind: m.Kind, Previous: m.Previous}
}

func (m *Manifest) misplaced(last, got Position) Reason {
	switch {
	case last.IsZero():
		// A stream up or of packages has no baselines: it begins with the first batch of an
		// epoch, and only the caller can know whether one was before that.
		if m.Kind != Baseline && m.Previous != noPrevious {
			return Gap
		}
	case got == last:
		return Applied
	case m.Epoch < last.Epoch:
		return WrongEpoch
	case m.Epoch > last.Epoch:
		if m.Previous != noPrevious || m.Sequence <= last.Sequence {
			return WrongEpoch
		}
	case m.Sequence < last.Sequence:
		return Replayed
	case m.Sequence == last.Sequence:
		return Forked
	case m.Sequence > last.Sequence+1:
		return Gap
	case m.Previous != last.Digest:
		return Unchained
	}
	return ""
}
