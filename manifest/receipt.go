package manifest

import (
	"slices"
	"strings"

	"caisseauto/keys"
)

// The most bytes that a receipt gives to the texts of one unit in quarantine.
const (
	MaxHeldKey    = 1024
	MaxHeldReason = 1000
)

// SealReceipt encodes r and signs the encoding. Of units in quarantine it
// names the first [MaxHeld], and cuts keys and reasons that are too long: they
// are for a person to read. The counts say all.
func SealReceipt(r *Receipt, s keys.Signer) (doc, sig []byte, err error) {
	doc, err = EncodeReceipt(r.clipped())
	if err != nil {
		return nil, nil, err
	}
	sig, err = s.Sign(doc, keys.NamespaceReceipt)
	return doc, sig, err
}

// OpenReceipt verifies and reads the receipt for the till's stream, as [Open]
// does a manifest. Only a server gives receipts. Whether it is newer than the
// last one, and names a batch that the till has sealed, is for the till to
// say.
func OpenReceipt(name, stream string, doc, sig []byte, trust *keys.Trust) (*Receipt, error) {
	who, bad := verify(doc, sig, MaxReceipt, trust, keys.NamespaceReceipt)
	if bad != nil {
		return nil, bad.in(name)
	}
	r, bad := parseReceipt(doc)
	if bad != nil {
		return nil, bad.in(name)
	}
	if !slices.Contains(who.Principals, r.Signer) {
		return nil, refuse("S6", "it says that %s signed it, but the key that did belongs to %s", r.Signer, strings.Join(who.Principals, ", ")).in(name)
	}
	if r.Stream != stream {
		return nil, elsewhere(r.Stream, stream).in(name)
	}
	if err := current(trust, who, r.Stream); err != nil {
		return nil, over(err).in(name)
	}
	return r, nil
}

func parseReceipt(doc []byte) (*Receipt, *Refusal) {
	var r Receipt
	if bad := decode(doc, &r, func() ([]byte, error) { return canonical(filledReceipt(&r)) }); bad != nil {
		return nil, bad
	}
	return &r, checkReceipt(&r)
}

func checkReceipt(r *Receipt) *Refusal {
	role, _, _ := strings.Cut(r.Signer, "@")
	switch {
	case r.Format != ReceiptFormat:
		return refuse("D4", "format is %q, not %q: another kind of file, or a newer version of this program wrote it", r.Format, ReceiptFormat)
	case !ValidStream(r.Stream) || !IsUp(r.Stream):
		return refuse("D5", "%q is not the stream of a till", r.Stream)
	case !keys.ValidPrincipal(r.Signer) || role != "server":
		return refuse("S6", "%q may not sign receipts", r.Signer)
	case !inRange(r.Epoch, maxInteger):
		return refuse("D6", "epoch %d is out of range", r.Epoch)
	case !inRange(r.Sequence, MaxSequence):
		return refuse("D6", "sequence %d is out of range", r.Sequence)
	case !inRange(r.Issue, maxInteger):
		return refuse("D6", "issue %d is out of range", r.Issue)
	case r.Integrated < 0 || r.Integrated > maxInteger:
		return refuse("D6", "integrated %d is out of range", r.Integrated)
	case !isDigest(r.Digest) || r.Digest == noPrevious:
		return refuse("D7", "manifest_sha256 is not the digest of a manifest")
	case !validTime(r.Issued):
		return refuse("D8", "issued is not a UTC time of whole seconds")
	case !isIncarnation(r.Incarnation):
		return refuse("C1", "incarnation is not 32 lower-case hex digits")
	case r.Waiting < 0 || r.Waiting > maxInteger || r.Discarded < 0 || r.Discarded > maxInteger:
		return refuse("C2", "quarantine or discarded is out of range")
	case len(r.Held) > MaxHeld:
		return refuse("C3", "%d units are named, more than %d", len(r.Held), MaxHeld)
	}
	for _, h := range r.Held {
		if bad := checkHeld(&h); bad != nil {
			return bad
		}
	}
	return checkTotals(r.Totals)
}

func checkHeld(h *Held) *Refusal {
	switch {
	case !inRange(h.Sequence, MaxSequence) || h.Rows < 0 || h.Rows > maxInteger:
		return refuse("C3", "a unit in quarantine: sequence %d or rows %d is out of range", h.Sequence, h.Rows)
	case !validType(h.Table) || !isWords(h.Key, MaxHeldKey):
		return refuse("C3", "a unit in quarantine, of batch %d: table or key cannot be one", h.Sequence)
	case h.Reason == "" || !isWords(h.Reason, MaxHeldReason) || !isWords(h.Closed, MaxHeldReason):
		return refuse("C3", "a unit in quarantine, of batch %d: its reason is missing, longer than %d bytes, or has control characters", h.Sequence, MaxHeldReason)
	}
	return nil
}

func (r *Receipt) clipped() *Receipt {
	c := *r
	c.Held = slices.Clone(r.Held[:min(len(r.Held), MaxHeld)])
	for i := range c.Held {
		h := &c.Held[i]
		h.Key = Clip(h.Key, MaxHeldKey)
		h.Reason, h.Closed = Clip(h.Reason, MaxHeldReason), Clip(h.Closed, MaxHeldReason)
	}
	return &c
}
