package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
)

// lateSyncRows is from how many rows on a batch is synced to the disk after
// its commit, not in it: 10,000 rows spread over a table are 40 MiB of log,
// whose sync takes longer than writing the rows, and the till waits meanwhile.
const lateSyncRows = 2_000

// syncLate runs a transaction of that many rows, and returns when it is on the
// disk. In WAL mode a large one is committed with synchronous=NORMAL: the lock
// is let go before the log is synced, and harden does that next. A power cut
// between the two takes the whole batch back, ledger row included, and nobody
// was told of it yet; the log's checksums see to that
// (https://www.sqlite.org/pragma.html#pragma_synchronous). In the other journal
// modes NORMAL is not as safe, and FULL stays. Where the log can be gathered,
// see [sqlite3.Conn.Late], the same is had by leaving out the sync of a commit
// with synchronous=FULL.
func (t *Till) syncLate(ctx context.Context, rows int64, transaction func() (time.Duration, error)) (time.Duration, error) {
	mode := ""
	err := t.conn.Query("PRAGMA journal_mode", func(s *sqlite3.Stmt) error { mode = s.Text(0); return nil })
	if err != nil {
		return 0, err
	}
	if rows < lateSyncRows || mode != "wal" {
		return transaction()
	}
	late, err := t.conn.Late(true)
	if err == nil && !late {
		err = t.conn.Exec("PRAGMA synchronous=NORMAL")
	}
	if err != nil {
		return 0, err
	}
	held, err := transaction()
	_, lerr := t.conn.Late(false)
	if err = errors.Join(err, lerr, t.conn.Exec("PRAGMA synchronous=FULL")); err != nil {
		return 0, err
	}
	t.hook("unsynced")
	return held, t.harden(ctx)
}

// harden brings a committed log to the disk. A checkpoint that copies all of
// it syncs first the log and then the database. One that cannot, because an
// older reader is at work, may sync nothing; then a commit with
// synchronous=FULL, of one row of our own, syncs the log with all that is in
// it.
func (t *Till) harden(ctx context.Context) error {
	var busy, pages, copied int64
	err := t.conn.Query("PRAGMA wal_checkpoint(PASSIVE)", func(s *sqlite3.Stmt) error {
		busy, pages, copied = s.Int(0), s.Int(1), s.Int(2)
		return nil
	})
	if err == nil && busy == 0 && pages == copied {
		return nil
	}
	_, err = t.locked(ctx, nil, func() error {
		return t.conn.Exec("UPDATE caisseauto_ledger SET rows = rows WHERE rowid = (SELECT max(rowid) FROM caisseauto_ledger)")
	})
	if err != nil {
		return fmt.Errorf("the batch is applied, but a power cut now could take it back: %w; run the import again", err)
	}
	return nil
}
