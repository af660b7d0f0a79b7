// Package exporter is the seal engine: it turns what changed in a database
// into the next signed, numbered batch of a stream, in a local outbox folder.
//
// An [Exporter] joins a [Source], which reads the changes and keeps the
// writer's record, with a key and a folder. [Exporter.Run] does one round:
//
//	lock      the outbox; one writer per stream
//	finish    a batch that a crash left between its number and its publication
//	compare   the outbox and the drop with the database: a stream that is ahead
//	          of its database was restored from a backup, and stops here
//	pack      the rows, out of one snapshot, into a staged archive and manifest
//	reserve   the number in the database, for exactly these bytes
//	sign      and publish: archive, signature, manifest
//	verify    what is on the disk, as a reader will
//	publish   in the database; the cursor moves
//	head      signed again, also when there was nothing new
//
// The order is the point. Before reserve nothing was signed, and a crash
// leaves only files that nobody knows of. After it the number belongs to
// those bytes: whatever crashes, the next run publishes the same ones. So no
// writer ever signs two batches with one number.
//
// Where several hosts write a stream, one after the other, each has an outbox of
// its own, and the Source is a [Shelf], too. It keeps a copy of what was sealed,
// from reserve until [Exporter.Clear] says that it is on the drop: a step bring,
// before finish, puts it where this host would have it if it had sealed it
// itself. Heads are numbered by the Source then, and who may write now is for
// the caller to see to.
//
// The engine sees no network. Whatever carries the outbox to the tills may do
// so at any time and in any order.
package exporter
