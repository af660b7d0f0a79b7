// Package collect takes tills' batches into the ERP's database, whatever kind
// of database that is.
//
// A [Collector] knows the rules: whose rows a till may send, what a conflict
// is and who wins it, what goes into quarantine (always the whole ticket that
// a row is a part of), which numbers are missing, what a receipt says. It
// keeps its own records in tables whose names begin with caisseauto_, with SQL
// that every kind of database understands.
//
// A [Driver] is one connection to one kind of database, and a [Batch] the
// engine that takes the rows of a batch in there: row by row in SQLite, which
// is in the same process, and in sets in PostgreSQL, which is not. Package
// collecttest has the tests that every kind passes.
package collect
