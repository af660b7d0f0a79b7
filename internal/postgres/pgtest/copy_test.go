//go:build unix

package pgtest

import (
	"testing"
	"time"
)

// who is a server: its system identifier, and its timeline by the name of the
// present WAL file. The control file tells the timeline only from the first
// checkpoint after a promotion on.
const who = "SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"

func TestRestore(t *testing.T) {
	c := Start(t, Options{})
	a := c.NewDatabase(t, "CREATE TABLE a (x int); INSERT INTO a VALUES (1)")
	before := Query(t, a, who)[0]
	system := before[:len(before)-len("\t00000001")]
	if before != system+"\t00000001" {
		t.Fatalf("a new server is %s", before)
	}
	backup := c.Backup(t)
	Exec(t, a, "INSERT INTO a VALUES (2)")

	c.Rollback(t, backup)
	sees(t, a, "SELECT x FROM a", "1")
	sees(t, a, who, system+"\t00000001")
	Exec(t, a, "INSERT INTO a VALUES (3)")

	c.Restore(t, backup)
	sees(t, a, "SELECT x FROM a", "1")
	sees(t, a, who, system+"\t00000002")
	Exec(t, a, "INSERT INTO a VALUES (4)")
	c.Restart(t)
	sees(t, a, "SELECT x FROM a ORDER BY x", "1", "4")

	second := c.Backup(t)
	c.Restore(t, second)
	sees(t, a, "SELECT x FROM a ORDER BY x", "1", "4")
	sees(t, a, who, system+"\t00000003")

	clone := Clone(t, backup)
	b := clone.DSN(Database(t, a), "postgres")
	sees(t, b, "SELECT x FROM a", "1")
	sees(t, b, who, before)
	Exec(t, b, "INSERT INTO a VALUES (5)")
	sees(t, a, "SELECT x FROM a ORDER BY x", "1", "4")

	if other := Query(t, Get(t).DSN("postgres", "postgres"), who)[0]; other == before {
		t.Errorf("two servers are one: %s", other)
	}
}

func TestStandby(t *testing.T) {
	c := Start(t, Options{})
	a := c.NewDatabase(t, "CREATE TABLE a (x int); INSERT INTO a VALUES (1)")
	standby := c.Standby(t)
	b := standby.DSN(Database(t, a), "postgres")
	sees(t, b, "SELECT x FROM a", "1")
	refused(t, b, "INSERT INTO a VALUES (9)", "25006")
	for _, x := range []string{"2", "3", "4"} {
		Exec(t, b, "SELECT pg_wal_replay_pause()")
		Exec(t, a, "INSERT INTO a VALUES ("+x+")")
		resume := time.AfterFunc(100*time.Millisecond, func() { query(b, "SELECT pg_wal_replay_resume()") })
		standby.Follow(t, c)
		resume.Stop()
		sees(t, b, "SELECT max(x) FROM a", x)
	}
	before := Query(t, a, who)[0]
	standby.Promote(t)
	Exec(t, b, "INSERT INTO a VALUES (5)")
	Exec(t, a, "INSERT INTO a VALUES (6)")
	sees(t, b, "SELECT x FROM a ORDER BY x", "1", "2", "3", "4", "5")
	sees(t, a, "SELECT x FROM a ORDER BY x", "1", "2", "3", "4", "6")
	sees(t, a, who, before)
	sees(t, b, who, before[:len(before)-1]+"2")
}
