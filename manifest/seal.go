package manifest

import (
	"errors"
	"slices"
	"strings"

	"caisseauto/keys"
)

// Limits on what a stranger can make a reader hold in memory before anything
// is verified.
const (
	MaxManifest  = 4 << 20           // some 20,000 members, 160 GiB of rows
	MaxHead      = 16 << 10          // one of 600 bytes, or a till's with all its alarms
	MaxReceipt   = 4 << 20           // numbers with 10,000 holes in several tables, and MaxHeld units
	MaxSignature = keys.MaxSignature // 16 KiB
)

// Seal encodes m and signs the encoding. doc is the file *.manifest.json, sig
// the file *.manifest.json.sig. It refuses what [Open] would refuse.
func Seal(m *Manifest, s keys.Signer) (doc, sig []byte, err error) {
	doc, err = Encode(m)
	if err != nil {
		return nil, nil, err
	}
	sig, err = s.Sign(doc, BatchNamespace(m.Stream))
	return doc, sig, err
}

// Sign signs a manifest whose bytes were fixed earlier, as after a crash
// between the sealing and the publication. It signs nothing that [Open] would
// refuse.
func Sign(doc []byte, s keys.Signer) (sig []byte, err error) {
	m, r := parseManifest(doc)
	if r != nil {
		return nil, r.in("manifest to sign")
	}
	return s.Sign(doc, BatchNamespace(m.Stream))
}

// Open verifies and reads a manifest that was found in the folder of stream:
// the size, the signature sig over the bytes doc by a key of trust in the
// stream's namespace, and only then the content. There is no other way to
// read one. name stands in errors.
//
// It returns the manifest and its position in the stream. An error is a
// [Refusal], which wraps [ErrRefused] and names the rule. What the reader
// expects beyond that, it asks with [Manifest.Expect] and [Manifest.Follows].
func Open(name, stream string, doc, sig []byte, trust *keys.Trust) (*Manifest, Position, error) {
	who, r := verify(doc, sig, MaxManifest, trust, BatchNamespace(stream))
	if r != nil {
		return nil, Position{}, r.in(name)
	}
	m, r := parseManifest(doc)
	if r != nil {
		return nil, Position{}, r.in(name)
	}
	if !slices.Contains(who.Principals, m.Signer) {
		return nil, Position{}, refuse("S6", "it says that %s signed it, but the key that did belongs to %s", m.Signer, strings.Join(who.Principals, ", ")).in(name)
	}
	if m.Stream != stream {
		return nil, Position{}, elsewhere(m.Stream, stream).in(name)
	}
	if err := trust.Batch(who.Fingerprint, m.Stream, m.Sequence); err != nil {
		return nil, Position{}, over(err).in(name)
	}
	return m, Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: Digest(doc)}, nil
}

// SealHead encodes h and signs the encoding. A till's alarms and attempts to
// install software are cut to what a head has room for.
func SealHead(h *Head, s keys.Signer) (doc, sig []byte, err error) {
	h = h.clipped()
	for {
		if doc, err = EncodeHead(h); err != nil {
			return nil, nil, err
		}
		if len(doc) <= MaxHead || !h.lighter() {
			break
		}
	}
	sig, err = s.Sign(doc, keys.NamespaceHead)
	return doc, sig, err
}

// OpenHead verifies and reads a head as [Open] does a manifest. Whether it is
// stale the caller asks with [Head.Expired]: a stale head is an alarm, not a
// forgery.
func OpenHead(name string, doc, sig []byte, trust *keys.Trust) (*Head, error) {
	who, r := verify(doc, sig, MaxHead, trust, keys.NamespaceHead)
	if r != nil {
		return nil, r.in(name)
	}
	h, r := parseHead(doc)
	if r != nil {
		return nil, r.in(name)
	}
	may := func(p string) bool { return MaySign(h.Stream, p) }
	if !slices.ContainsFunc(who.Principals, may) {
		return nil, refuse("S6", "stream %s, but the key that signed belongs to %s, who may not sign it", h.Stream, strings.Join(who.Principals, ", ")).in(name)
	}
	if err := current(trust, who, h.Stream); err != nil {
		return nil, over(err).in(name)
	}
	return h, nil
}

// verify looks at sizes, then at the signature; never at the content.
func verify(doc, sig []byte, limit int, trust *keys.Trust, namespace string) (keys.Signed, *Refusal) {
	none := keys.Signed{}
	if len(doc) > limit {
		return none, refuse("D1", "%d bytes, more than the %d that a reader takes", len(doc), limit)
	}
	if len(sig) > MaxSignature {
		return none, refuse("S1", "its signature has %d bytes, more than the %d that a reader takes", len(sig), MaxSignature)
	}
	if trust == nil {
		return none, refuse("S4", "no trusted keys were given")
	}
	who, err := trust.Identify(doc, sig, namespace)
	if err != nil {
		return none, &Refusal{Rule: signatureRule(err), Detail: "signature: ", Err: err}
	}
	return who, nil
}

// current asks whether the key still signs for the stream's dossier.
func current(trust *keys.Trust, who keys.Signed, stream string) error {
	dossier, _, _ := strings.Cut(stream, "/")
	return trust.Current(who.Fingerprint, dossier)
}

// over refuses what a key signed that does not count there, or not any more.
func over(err error) *Refusal { return &Refusal{Rule: "S7", Detail: "signature: ", Err: err} }

func signatureRule(err error) string {
	switch {
	case errors.Is(err, keys.ErrSignatureFormat):
		return "S2"
	case errors.Is(err, keys.ErrWrongNamespace):
		return "S3"
	case errors.Is(err, keys.ErrUnknownKey):
		return "S4"
	}
	return "S5"
}

func parseManifest(doc []byte) (*Manifest, *Refusal) {
	if len(doc) > MaxManifest {
		return nil, refuse("D1", "%d bytes, more than %d", len(doc), MaxManifest)
	}
	var m Manifest
	if r := decode(doc, &m, func() ([]byte, error) { return canonical(filled(&m)) }); r != nil {
		return nil, r
	}
	return &m, checkManifest(&m)
}

func parseHead(doc []byte) (*Head, *Refusal) {
	var f headFile
	if r := decode(doc, &f, func() ([]byte, error) { return canonical(&f) }); r != nil {
		return nil, r
	}
	h, r := f.head()
	if r != nil {
		return nil, r
	}
	return h, checkHead(h)
}

// Expect refuses a manifest that was found under another stream's or another
// number's name than its own. name stands in errors.
func (m *Manifest) Expect(name, stream string, sequence int64) error {
	if m.Stream != stream {
		return elsewhere(m.Stream, stream).in(name)
	}
	if m.Sequence != sequence {
		return refuse("P1", "it is batch %d, found under the name of batch %d", m.Sequence, sequence).in(name)
	}
	return nil
}

// Expect refuses a head that was found in another stream's folder.
func (h *Head) Expect(name, stream string) error {
	if h.Stream != stream {
		return elsewhere(h.Stream, stream).in(name)
	}
	return nil
}

func elsewhere(is, found string) *Refusal {
	return refuse("P1", "it belongs to stream %s, not to %s where it was found", is, found)
}
