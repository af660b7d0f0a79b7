package verify

import (
	"fmt"
	"os"
	"slices"

	"caisseauto/manifest"
)

// A tally follows one stream: it takes the checked batches in the order of
// their numbers and finds what is wrong between them.
type tally struct {
	report  *Report
	stream  *Stream
	place   place
	root    *os.Root
	heading heading
	receipt *manifest.Receipt

	first []Fault // found before the first batch: in the folder, the head, the receipt

	before  *batch // the one before, good or not
	next    int64  // the number that comes next
	later   int64  // batches behind the head
	begun   bool
	keep    bool // the chain is followed: more than one batch was asked for
	notYets int64
	broken  bool // files without a manifest stand before the next batch
	unread  bool // the folder cannot be read
}

// keepStatement keeps what was found in a head or receipt. It is filed with
// the first batch, for the report may be at another stream until then.
func (t *tally) keepStatement(s *statement) {
	t.first = append(t.first, s.faults...)
	t.stream.saw(s.seen...)
}

// announce tells in the report what a good head and receipt say.
func (t *tally) announce() {
	if h := t.heading.head; h != nil {
		t.stream.Head = &Announced{Sequence: h.Sequence, Epoch: h.Epoch, Issued: h.Issued, Expires: h.Expires}
	}
	if r := t.receipt; r != nil {
		t.stream.Receipt = &Announced{Sequence: r.Sequence, Epoch: r.Epoch, Issued: r.Issued, Held: r.Waiting, Signer: r.Signer}
	}
}

// begin files what was found before the first batch.
func (t *tally) begin() {
	if t.begun {
		return
	}
	t.begun = true
	t.report.Streams = append(t.report.Streams, t.stream)
	for _, f := range t.first {
		t.report.add(t.stream, f)
	}
}

// take files one batch.
func (t *tally) take(b *batch) {
	t.begin()
	if b.notYet {
		// Behind the head it is being written, or a stranger's. Before it,
		// the next batch tells which numbers are missing, or the end.
		if t.broken = true; b.sequence > t.announced() {
			t.notYets++
		}
		return
	}
	s := t.stream
	if t.keep {
		t.link(b)
	}
	s.saw(b.seen...)
	for _, f := range b.faults {
		t.report.add(s, f)
	}
	if s.First == 0 {
		s.First = b.sequence
	}
	s.Last = b.sequence
	if b.opened {
		t.count(b)
	}
	t.before, t.next, t.broken = b, b.sequence+1, false
}

// count adds a good manifest to the stream's figures.
func (t *tally) count(b *batch) {
	s := t.stream
	s.Batches++
	s.Rows += b.rows
	s.Files += b.files
	if b.latest != nil && len(s.Packages) < maxPackages {
		s.Packages = manifest.AddLatest(s.Packages, *b.latest)
	}
	s.Bytes += b.bytes
	if b.kind == manifest.Baseline {
		s.Base++
	}
	if b.pruned {
		s.Pruned++
	}
	if s.From.IsZero() {
		s.From = b.created
	}
	s.Until = b.created
	if h := t.heading.head; h != nil && b.sequence > h.Sequence {
		t.later++
	}
	i := slices.IndexFunc(s.Signers, func(k Signing) bool { return k.Principal == b.signer && k.Fingerprint == b.fingerprint })
	if i < 0 {
		if len(s.Signers) >= 1000 {
			return
		}
		s.Signers, i = append(s.Signers, Signing{Principal: b.signer, Fingerprint: b.fingerprint, First: b.sequence}), len(s.Signers)
	}
	s.Signers[i].Last = b.sequence
	s.Signers[i].Batches++
}

// link holds a batch against the one before it (rules P4 to P6). The digest
// is taken over the bytes that are there, whatever else is wrong with them.
func (t *tally) link(b *batch) {
	starts := b.opened && b.previous == manifest.NoPrevious()
	if b.sequence > t.next && !(starts && t.mayBegin(b)) {
		t.missing(t.next, b.sequence-1)
	}
	if !b.opened {
		return
	}
	if t.before == nil || t.before.sequence != b.sequence-1 || t.before.digest == "" {
		if starts {
			t.stream.saw(Chain)
			if t.before != nil && t.before.opened && !t.raised(b) {
				b.fault(Chain, "P6", "it begins a new epoch, %d, but batch %d before it is of epoch %d", b.epoch, t.before.sequence, t.before.epoch)
			}
		}
		return
	}
	t.stream.saw(Chain)
	switch {
	case starts && t.before.opened && !t.raised(b):
		b.fault(Chain, "P6", "it names none before it, but is of epoch %d like batch %d", b.epoch, t.before.sequence)
	case starts:
	case b.previous != t.before.digest:
		b.fault(Chain, "P5", "it follows the manifest %s, but the one before it here is %s", b.previous, t.before.digest)
	case t.before.opened && b.epoch != t.before.epoch:
		b.fault(Chain, "P6", "it is of epoch %d, and the one before it of epoch %d", b.epoch, t.before.epoch)
	}
}

// mayBegin reports whether the numbers before b, the first batch of an epoch,
// may be missing: an operator's new epoch has passed over them and nothing of
// them is there, or a till began one before the drop saw anything of it.
func (t *tally) mayBegin(b *batch) bool {
	if t.broken {
		return false
	}
	if t.before == nil {
		return manifest.IsUp(t.place.stream)
	}
	return t.raised(b)
}

// raised reports whether b is of a later epoch than the batch before it.
func (t *tally) raised(b *batch) bool {
	return t.before != nil && t.before.opened && b.epoch > t.before.epoch
}

// missing files a range of numbers of which no manifest is there, under the
// name of the first.
func (t *tally) missing(from, to int64) {
	text := "it is not there"
	if to > from {
		text = fmt.Sprintf("the batches %d to %d are not there", from, to)
	}
	t.report.add(t.stream, Fault{File: t.place.stream + "/" + manifest.FileName(from, manifest.ManifestExt), Check: Completeness, Text: text})
}

// announced returns the newest number that a good head or receipt speaks of.
func (t *tally) announced() int64 {
	n := int64(0)
	if t.heading.head != nil {
		n = t.heading.head.Sequence
	}
	if t.receipt != nil {
		n = max(n, t.receipt.Sequence)
	}
	return n
}

// end files what can be said when the last batch was seen.
func (t *tally) end() {
	t.begin()
	s := t.stream
	if t.keep && !t.unread {
		if n := t.announced(); n >= t.next {
			t.missing(t.next, n)
		}
		if t.announced() == 0 && s.Verdicts[Completeness] != Wrong {
			s.seen[Completeness] = false // nothing says how far the stream goes
		}
		t.remarks()
	}
	s.conclude()
	if t.root != nil {
		_ = t.root.Close() // it was read from only
	}
}

// remarks notes what an operator wants to know and is not wrong.
func (t *tally) remarks() {
	s := t.stream
	if t.place.found != "" {
		s.note(t.place.found)
	}
	if s.Last == 0 && s.Faults == 0 {
		s.note("nothing is here yet")
	}
	if t.later > 0 {
		s.note(fmt.Sprintf("%d batches are newer than the head: its writer has not renewed it yet", t.later))
	}
	if t.notYets > 0 {
		s.note(fmt.Sprintf("%d batches beyond the head are not complete: being written, or left behind", t.notYets))
	}
	if h := t.heading.head; h != nil && manifest.IsUp(s.Stream) {
		if text := silence(h, t.report.At); text != "" {
			s.note(text)
		}
	}
	if !manifest.IsUp(s.Stream) || t.place.dossier == "" {
		return
	}
	switch r := t.receipt; {
	case r == nil && s.Last > 0:
		s.note("no receipt of the server: nothing shows that a batch has arrived")
	case r != nil && s.Last > r.Sequence:
		s.note(fmt.Sprintf("batches %d to %d have no receipt yet", r.Sequence+1, s.Last))
	}
	if r := t.receipt; r != nil && r.Waiting > 0 {
		s.note(fmt.Sprintf("%d rows are in quarantine at the server", r.Waiting))
	}
}
