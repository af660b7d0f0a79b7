// Package sqlite keeps reference data flowing out of one SQLite database and
// into others.
//
// On the server, triggers note in a journal which rows of the ERP's tables
// were touched, and by which key alone:
//
//	c := sqlite.NewCapture(map[string]database.SourceConfig{"ACME/down": {Tables: …}})
//	err := c.Install(ctx, "erp.db", sqlite.SourceOptions{})
//
// A [Source] then reads, in one snapshot of the database, the rows whose keys
// the journal names: a row that is there is sent as it is now, one that is not
// is sent as a delete. So an entry too many does no harm, and what happened to
// a row in between does not matter. A journal also knows which dossier a row
// belonged to, so that a row that moves is a delete for one stream and an
// upsert for the other. The number that a batch bears is taken with
// [Source.Reserve] before it is signed and confirmed with [Source.Publish].
//
// On a till, a [Till] applies a verified batch in one transaction with the
// ledger row that says so. An [Outbox] is the till's other side: triggers
// journal the rows that the server wants of it, in the POS's own transaction,
// and only a receipt of the server's lets go of them.
//
// The other way, [OpenCollector] takes tills' batches into the ERP's database,
// by the rules of internal/collect: what the rules or the database do not let
// in is kept in quarantine, the whole ticket that it is a part of, and what is
// behind goes on.
//
// Both databases belong to other programs. Nothing in them is changed but the
// tables and triggers whose names begin with caisseauto_ (and the rows that a
// batch brings); their journal mode is left as it is. In WAL mode a snapshot
// disturbs nobody; in the other modes the ERP cannot commit while one is being
// read, which for a baseline of a large table takes seconds.
package sqlite
