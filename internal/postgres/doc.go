// Package postgres keeps reference data flowing out of an ERP's PostgreSQL
// database, version 13 or later, which many programs write at once.
//
// Triggers note in a journal which rows were touched, by their key, in the
// transaction that touches them; see trigger.go for what they may and may not
// do. A [Source] reads, in one REPEATABLE READ snapshot, the rows whose keys
// the journal names:
//
//	c := postgres.NewCapture(map[string]database.SourceConfig{"ACME/down": {Tables: …}})
//	err := c.Install(ctx, "host=/run/postgresql dbname=erp", postgres.SourceOptions{})
//	src := postgres.NewSource("host=/run/postgresql dbname=erp", c, postgres.SourceOptions{})
//
// Which entries are new since the last batch is a question of snapshots: a
// number that is given when a row is written says nothing of when its
// transaction commits, and whoever reads "all above the last one" loses rows.
// The cursor is the text of pg_current_snapshot(), and new is what was not
// visible in it. So nobody waits for a transaction that stays open, either. A
// snapshot means something in one cluster, on one timeline; the cursor says on
// which, and on another one the next batch is a baseline.
//
// Values are PostgreSQL's own text for them: numeric, dates, arrays, json and
// what else SQLite has no kind for travel exactly; see types.go.
//
// The other way, [OpenCollector] takes tills' batches in, by the rules of
// internal/collect. Their rows are sent into temporary tables first, and then
// judged and written in a few statements for all of them, under a lock of the
// till's row; see collect_batch.go. Collectors of any number of hosts share the
// tills.
//
// Nothing of the database is changed but the schema caisseauto, triggers whose
// names begin with caisseauto_, and the rows that a till's batch brings.
package postgres
