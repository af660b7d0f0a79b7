package postgres

import (
	"context"
	"fmt"
	"time"
)

// A Condition is what somebody in trouble wants to know of the server and of
// our part of the database.
type Condition struct {
	Where   string // database and host
	Role    string // the account that is connected
	Version string // 15.18
	Replica bool   // it is in recovery, and can only be read
	Fsync   bool   // off: a power cut can damage the database
	Ahead   time.Duration
	// OldestTransaction is the age of the oldest transaction that is open
	// anywhere in the cluster and has written, and who has it; zero: none.
	// Nobody waits for it here, but the server cannot tidy up behind it.
	OldestTransaction time.Duration
	Oldest            string
	Prepared          int64 // transactions that wait for COMMIT PREPARED
	JournalEntries    int64 // that wait to be read by some stream, or to be removed
	JournalBytes      int64 // of the journal and its index
}

// Examine looks at the server and the database and changes nothing. Ahead is
// how far the server's clock is before this machine's. Errors are those of
// internal/database.
func Examine(ctx context.Context, dsn string) (c Condition, err error) {
	s, err := open(ctx, dsn, 5*time.Second)
	if err != nil {
		return c, err
	}
	defer s.Close(context.WithoutCancel(ctx))
	c.Where, c.Replica = Where(dsn), s.replica
	if err := c.examine(ctx, s); err != nil {
		return c, explain(ctx, c.Where, err)
	}
	return c, nil
}

func (c *Condition) examine(ctx context.Context, s *session) error {
	var now time.Time
	err := s.QueryRow(ctx, `SELECT current_user, split_part(current_setting('server_version'), ' ', 1), current_setting('fsync')::bool, clock_timestamp(),
		(SELECT count(*) FROM pg_prepared_xacts)`).Scan(&c.Role, &c.Version, &c.Fsync, &now, &c.Prepared)
	if err != nil {
		return err
	}
	c.Ahead = time.Until(now).Round(time.Second)
	// Of others' sessions this role may see the age, and not always the name.
	var seconds float64
	err = s.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8,
			coalesce((array_agg(format('process %s of %s (%s)', pid, coalesce(usename, 'somebody'), coalesce(nullif(application_name, ''), 'no name')) ORDER BY xact_start))[1], '')
		FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()`).Scan(&seconds, &c.Oldest)
	if err != nil {
		return err
	}
	c.OldestTransaction = time.Duration(seconds * float64(time.Second)).Round(time.Second)
	if ok, err := installed(ctx, s, "caisseauto_journal"); err != nil || !ok {
		return err
	}
	err = s.QueryRow(ctx, fmt.Sprintf("SELECT count(*), pg_total_relation_size('%[1]s') FROM %[1]s", journal)).Scan(&c.JournalEntries, &c.JournalBytes)
	if code(err) == codeDenied {
		return nil // told by what capture says of missing rights
	}
	return err
}
