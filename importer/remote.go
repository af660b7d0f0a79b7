package importer

import "caisseauto/manifest"

// ErrRefused is what every error wraps that says: this data must not be used.
var ErrRefused = manifest.ErrRefused

// Stream returns the name of the stream that the tills of a dossier follow.
func Stream(dossier string) string { return manifest.StreamDown(dossier) }

// StreamUp returns the name of the stream that a till sends.
func StreamUp(dossier, till string) string { return manifest.StreamUp(dossier, till) }

// StreamPackages returns the name of the stream of software packages.
func StreamPackages(dossier string) string { return manifest.StreamPackages(dossier) }

// The statements that travel, for commands that plan or show by them.
type (
	// A Manifest is the signed statement of what a batch holds.
	Manifest = manifest.Manifest
	// A Head is a writer's statement of its newest batch.
	Head = manifest.Head
	// A TillState is what a till's head says of the till.
	TillState = manifest.TillState
	// A Receipt is a server's statement of what it has integrated.
	Receipt = manifest.Receipt
	// A Held is a unit in quarantine, as a receipt names it.
	Held = manifest.Held
	// A Total is a control total of one table.
	Total = manifest.Total
	// A Position is a place in a stream.
	Position = manifest.Position
	// A StreamPosition is a place in a named stream.
	StreamPosition = manifest.StreamPosition
)

// What a command must know of the files' names and sizes to copy them.
const (
	ReceiptFormat        = manifest.ReceiptFormat
	MaxReceipt           = manifest.MaxReceipt
	MaxHead              = manifest.MaxHead
	MaxSignature         = manifest.MaxSignature
	HeadName             = manifest.HeadName
	HeadSignatureName    = manifest.HeadSignatureName
	ReceiptFolder        = "receipts"
	ReceiptSignatureTail = ".sig" // behind the receipt's name
)

// ReceiptName returns the name of a till's receipt in the folder receipts.
func ReceiptName(till string) string { return manifest.ReceiptName(till) }

// ManifestName returns the name of a batch's manifest.
func ManifestName(sequence int64) string {
	return manifest.FileName(sequence, manifest.ManifestExt)
}

// OpenHead verifies a head that was read elsewhere than from an inbox, and
// that it belongs to the stream. Whoever copies files may plan by it what to
// copy; what is applied is decided in Run.
func OpenHead(stream string, doc, sig []byte, trust *manifest.Trust) (*Head, error) {
	h, err := manifest.OpenHead(manifest.HeadName, doc, sig, trust)
	if err != nil {
		return nil, err
	}
	return h, h.Expect(manifest.HeadName, stream)
}

// OpenManifest verifies the manifest of a batch that was read elsewhere than
// from an inbox, and that it is the one of that number.
func OpenManifest(stream string, sequence int64, doc, sig []byte, trust *manifest.Trust) (*Manifest, error) {
	name := ManifestName(sequence)
	m, _, err := manifest.Open(name, stream, doc, sig, trust)
	if err != nil {
		return nil, err
	}
	return m, m.Expect(name, stream, sequence)
}

// OpenReceipt verifies a receipt for the till's stream. name stands in errors.
func OpenReceipt(name, stream string, doc, sig []byte, trust *manifest.Trust) (*Receipt, error) {
	return manifest.OpenReceipt(name, stream, doc, sig, trust)
}

// SealReceipt encodes a receipt and signs the encoding.
func SealReceipt(r *Receipt, s manifest.Signer) (doc, sig []byte, err error) {
	return manifest.SealReceipt(r, s)
}

// Digest returns the SHA-256 of a statement's bytes, as statements name it.
func Digest(doc []byte) string { return manifest.Digest(doc) }
