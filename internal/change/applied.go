package change

import "time"

// Applied tells what applying one batch did to a database.
type Applied struct {
	Rows     int64         // rows in the batch
	Inserted int64         // rows that were not there before
	Updated  int64         // rows that were there and were written
	Deleted  int64         // rows that went
	Locked   time.Duration // from the granted write lock to the end of the commit
}
