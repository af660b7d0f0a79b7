package change

import "time"

// Applied tells what applying one batch did to a database.
type Applied struct {
	Rows     int64         // rows in the batch
	Inserted int64         // rows that were not there before
	Updated  int64         // rows that were there and were written
	Deleted  int64         // rows that went
	Filtered int64         // rows that a till's own rules deleted after that
	Locked   time.Duration // from the granted write lock to the end of the commit

	// Of a till's batch.
	Acknowledged int64 // rows that were there before, equal
	Quarantined  int64 // rows that could not be taken, and are kept
	Conflicts    int64 // rows that both sides had changed
}
