// Package drop is about drops: trees of folders through which two sides
// exchange sealed files, one writer to each folder.
//
//	ACME/down/          stream ACME/down: the server writes, the tills read
//	ACME/up/017/        stream ACME/up/017: till 017 writes, the server reads
//	ACME/packages/      stream ACME/packages
//	ACME/receipts/      what the server has integrated of each till
//	ACME/trust/         trust documents
//
// A [Drop] is such a tree, wherever it is. [Local] is one in a folder of this
// machine; package sftp has the one behind an SFTP server; both pass the
// conformance suite in droptest.
//
// [Mirror] carries a stream's batches from one drop to another: the outbox to
// the server's drop, or the drop to the inbox. It understands names and
// nothing else. Whatever it carries, the reader verifies, so that a USB stick
// and a hostile server are the same to it.
//
// A drop's names follow one grammar ([ValidPath]), checked on both sides
// before anything is opened. What else lies in a folder is counted and left
// alone: it may be a stranger's, or a file on its way.
package drop
