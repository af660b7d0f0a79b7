//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Backup makes a base backup of the running server with pg_basebackup, and
// returns its folder, which is removed at the test's end.
func (c *Cluster) Backup(t testing.TB) (folder string) {
	t.Helper()
	folder = Folder(t)
	if err := c.basebackup(folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

func (c *Cluster) basebackup(folder string, args ...string) error {
	return c.m.run(c.dir, "pg_basebackup", append([]string{"-d", c.DSN("postgres", "postgres"), "-D", folder,
		"--checkpoint=fast", "--wal-method=fetch", "--no-sync"}, args...)...)
}

// Restore puts the server back to a backup, as an administrator does after a
// loss: same system identifier, same port, on a new timeline. What was
// committed after the backup is gone.
func (c *Cluster) Restore(t testing.TB, backup string) {
	t.Helper()
	c.own(t)
	c.replace(t, backup)
	auto, err := os.ReadFile(filepath.Join(c.Data(), "postgresql.auto.conf"))
	if err == nil {
		// There is no archive: recovery ends where the backup does.
		err = c.write("postgresql.auto.conf", string(auto)+"restore_command = 'false'\n")
	}
	if err == nil {
		err = c.write("recovery.signal", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Start(t)
	c.await(t, "the end of recovery", "SELECT NOT pg_is_in_recovery()")
}

// Rollback puts the server back to a backup as a restored disk image does:
// nothing tells the server, which goes on with the same system identifier and
// on the same timeline.
func (c *Cluster) Rollback(t testing.TB, backup string) {
	t.Helper()
	c.own(t)
	c.replace(t, backup)
	c.Start(t)
}

// replace stops the server and puts a backup in the place of its data.
func (c *Cluster) replace(t testing.TB, backup string) {
	t.Helper()
	err := c.stop(Immediate)
	if err == nil {
		err = os.RemoveAll(c.Data())
	}
	if err == nil {
		err = c.m.run(c.dir, "/bin/cp", "-R", "-p", backup, c.Data())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Clone starts one more server from a backup, on a port of its own: the copy
// of an ERP that somebody tries things on. It has the system identifier and
// the timeline of the server that the backup is of. It is removed at the
// test's end.
func Clone(t testing.TB, backup string) *Cluster {
	t.Helper()
	c := lay(t)
	c.replace(t, backup)
	c.Start(t)
	return c
}

// Standby makes and starts a replica of the server, which takes reads only and
// follows by streaming. It is removed at the test's end.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	s := lay(t)
	if err := c.basebackup(s.Data(), "--write-recovery-conf"); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	s.Follow(t, c)
	return s
}

// lay makes the folders of a cluster that somebody else fills.
func lay(t testing.TB) *Cluster {
	t.Helper()
	c, err := need(t).place("")
	if err != nil {
		t.Fatal(err)
	}
	c.clean(t)
	return c
}

// Follow waits until a standby shows all that the other server has committed
// so far.
func (c *Cluster) Follow(t testing.TB, primary *Cluster) {
	t.Helper()
	// A record of our own, for the log's present end may be the head of a page
	// that no record follows.
	at := Query(t, primary.DSN("postgres", "postgres"), "SELECT pg_logical_emit_message(true, 'pgtest', '')")[0]
	c.await(t, "what is committed", fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= '%s'::pg_lsn", at))
}

// Promote makes a standby a server of its own, on a new timeline. The one it
// followed runs on.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	if got := Query(t, c.DSN("postgres", "postgres"), "SELECT pg_promote(true, 60)")[0]; got != "t" {
		t.Fatalf("pgtest: the standby is not promoted:\n%s", c.tail())
	}
}

// await waits until a query answers true.
func (c *Cluster) await(t testing.TB, what, sql string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if Query(t, c.DSN("postgres", "postgres"), sql)[0] == "t" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("pgtest: %s does not come within %s:\n%s", what, patience, c.tail())
		}
	}
}

// Proxy opens a network before the server that can be lost: clients take its
// DSN in place of the cluster's. It ends with the test.
func (c *Cluster) Proxy(t testing.TB) *Proxy {
	t.Helper()
	return newProxy(t, filepath.Join(c.dir, fmt.Sprintf(".s.PGSQL.%d", c.port)), freePort())
}

// DSN returns how to connect through the proxy.
func (p *Proxy) DSN(db, user string) string { return dsn("127.0.0.1", p.port, db, user) }
