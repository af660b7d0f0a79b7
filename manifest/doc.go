// Package manifest makes and reads the signed statements that batches of rows
// travel with: the manifest of one batch, the head of a stream of them, and
// the receipt for what has arrived of one.
//
// A batch is three files in the folder of its stream, published in this
// order:
//
//	0000000042.tar.zst              the rows
//	0000000042.manifest.json.sig    the signature over the manifest's bytes
//	0000000042.manifest.json        the manifest; its appearance is the commit
//
// The manifest names the archive's size and SHA-256, every member of it, and
// the SHA-256 of the manifest before it. So the digest of one manifest binds
// the whole stream up to there, and a [Position], sequence and digest, is all
// that a reader has to remember.
//
// A writer fills a [Manifest] and calls [Seal]; a reader calls [Open], which
// verifies before it looks at anything, then [Manifest.Expect] (is it the file
// that its name says) and [Manifest.Follows] (is it the next one for me):
//
//	m, position, err := manifest.Open(name, "ACME/down", doc, sig, trust)
//	if err != nil {
//		return err // wraps ErrRefused, names the file and the rule
//	}
//	if err := m.Expect(name, "ACME/down", 42); err != nil {
//		return err
//	}
//	if err := m.Follows(last); err != nil {
//		return err // a *PositionError: replayed, forked, a gap …
//	}
//	// apply the rows; remember position in the same transaction
//
// A batch of the stream of packages is a release of some software: its manifest
// has a [Package] in place of tables.
//
// A till's batches go the other way, in a stream of its own (see [IsUp]), with
// control totals that a [Tally] adds up on both sides. What has arrived of
// them the server states in a [Receipt]; nothing else is a proof.
//
// There is no way to read a statement that was not verified. Whatever
// this package refuses, it refuses as a [*Refusal] or a [*PositionError]; both
// wrap [ErrRefused], and the numbers of the rules are those of SPEC.md.
//
// The encoding of a statement is fixed to the byte. Open encodes what it has
// read again and demands the same bytes, so that no two readers can
// understand one signed file in two ways.
package manifest
