// Package sftpd is the embedded SFTP server: for small sites, tests and the
// demo. It serves one drop, with a jail for every login.
//
//	ACME/down/                    a till reads, the writer writes
//	ACME/receipts/017.json(.sig)  till 017 reads, the writer writes
//	ACME/up/017/                  till 017 writes, the writer reads
//	ACME/packages/                a till and the writer read, the release manager writes
//	ACME/trust/                   a till and the release manager read, the writer writes
//
// So a stolen login of the server cannot touch software, nor a release
// manager's data.
//
// A login sees its own dossier, and of that only the lines above that name it,
// a till those with its own number. Everything else is not there: it is not
// listed, and asking for it gets the same answer as asking for nothing. In the
// folders that a login writes to it also sees strangers by name, so that they
// can be reported.
//
// # Writing
//
// Only names of the format can be made, and nothing that has its final name
// changes any more, except heads and receipts, which are replaced whole. All
// bytes go to NAME.part first. They get the final name by RENAME, or, for
// stock clients that open the final name itself, at CLOSE; before that they
// are synced, so that an acknowledged file survives a power cut. (The library
// cannot offer fsync@openssh.com, so a client cannot ask.) A client that is
// cut off leaves only the part, to go on with.
//
// The writer of a stream may remove its own batch files, for it clears them
// away when a receipt covers them. It can then publish other bytes under that
// number; the reader's ledger and the chain of digests catch that, not the
// server. Heads, receipts and trust documents cannot be removed. Setting times
// and modes is accepted and does nothing. Folders and links cannot be made:
// the server makes a login's own folders.
//
// # Limits
//
// Logins are by public key alone. [Limits] bounds connections, handles, sizes
// and every wait, for neither x/crypto/ssh nor pkg/sftp does. A panic in a
// handler costs one request.
package sftpd
