// Package sftp is the client side of a drop behind an SFTP server: OpenSSH,
// this program's own server (package sftpd), or a gateway to an object store.
//
// [Dial] makes one connection and returns a [Client], which is a drop.Drop.
// A caller uses it for one round of work, or keeps it between polls, and
// closes it. After drop.ErrUnavailable the connection is gone and a later
// Dial starts afresh: nothing is retried in here, because only the caller
// knows whether the till has something better to do meanwhile.
//
// # What it takes care of
//
// A till's line is an ADSL or a mobile one. It goes silent without a word,
// comes back, and has minutes of data queued in a modem. So every wait ends:
//
//   - connect, then key exchange, login and start of SFTP under one deadline;
//   - a watchdog that counts bytes: an answer is owed and none came for
//     Timeouts.Stall;
//   - a budget for each operation, which a transfer earns by its bytes, so that
//     one byte a second does not hold the till for ever;
//   - the caller's context.
//
// All four end in closing the TCP connection, the only thing that frees a
// hung call of pkg/sftp or x/crypto/ssh.
//
// The server is known by pinned keys, of which only the types are negotiated.
// Nothing it says is trusted further than that: listings are bounded while
// they arrive, names must fit the format, sizes are compared with what came,
// links and folders are not opened. What a file holds is judged by its
// signature, elsewhere.
//
// # An upload
//
// [Client.Put] writes NAME.part, syncs it where the server offers
// fsync@openssh.com, looks at its size and renames it, never over anything.
// Cut off at any point it goes on there in the next call; a lost answer to
// the rename shows as a name that is there with its size. See [RenameMode]
// for servers that cannot rename.
//
// Without fsync@openssh.com the server has acknowledged a file, not secured
// it; package sftpd, whose library cannot offer that request, syncs before it
// renames. A signed receipt of the reader is what counts as delivered.
package sftp
