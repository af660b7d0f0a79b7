// Package importer is the apply engine: it verifies the batches in a local
// inbox folder, and applies each in one transaction.
//
// An [Importer] joins an [Applier], which is a database with its ledger, with
// trusted keys and a folder. [Importer.Run] does one round: it reads the
// head, finds the batch after the one that the ledger names, and goes on
// until there is none left. For each batch:
//
//	manifest  size, signature, signer, stream, number, chain
//	archive   size and SHA-256 over the one open file, then its frame
//	members   each one that is signed for, in order, with its size, digest and
//	          rows; every row is parsed
//	check     tables and columns against the database, without a lock
//	apply     rows, ledger and position in one transaction
//
// What fails before apply has touched nothing; what fails in it is rolled
// back. All of it wraps [ErrRefused] when it is the data's fault.
//
// A till's stream is read the same way, with two differences. It has no
// baselines: it begins with its first batch. And what a till sealed wrong must
// not keep back the tickets behind it: a batch that is authentic and the next
// one, but cannot be applied, is given to the [Holder], and its files are kept
// in the folder held of the inbox.
//
// The head proves that the stream is fresh and whole. It is never needed to
// find a batch: a head that is missing, stale or forged takes that proof
// away, and Run says so after it has applied what is chained and signed.
package importer
