//go:build linux || darwin

package sqlite3

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
)

const lateSchema = "PRAGMA journal_mode=WAL; CREATE TABLE a(k INTEGER PRIMARY KEY, v TEXT); CREATE TABLE b(k INTEGER PRIMARY KEY, v);"

// fillLate writes some MiB in the open transaction.
const fillLate = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1500) INSERT INTO a(v) SELECT hex(randomblob(500)) FROM n;"

func lateConn(t *testing.T, path string) *Conn {
	t.Helper()
	mustExec(t, openInside(t, path, Create), lateSchema)
	c := openInside(t, path, Applying)
	mustExec(t, c, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=50; SELECT * FROM a")
	if on, err := c.Late(true); !on || err != nil {
		t.Fatal(on, err)
	}
	return c
}

func logSum(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// TestLateCommit: what is committed is in the file, before anybody sees it.
func TestLateCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := lateConn(t, path)
	for range 3 {
		mustExec(t, c, "BEGIN IMMEDIATE; "+fillLate+" UPDATE a SET v='x' WHERE k%7=0; COMMIT")
		sum := logSum(t, path)
		got := dump(t, openInside(t, path, ReadOnly), "SELECT * FROM a; ")
		if want := dump(t, c, "SELECT * FROM a; "); got != want {
			t.Fatal("another connection sees another content")
		}
		if _, err := c.Late(false); err != nil {
			t.Fatal(err)
		}
		if logSum(t, path) != sum {
			t.Fatal("the log was written after the commit")
		}
		if on, err := c.Late(true); !on || err != nil {
			t.Fatal(on, err)
		}
	}
	if s := dump(t, openInside(t, path, ReadWrite), "PRAGMA integrity_check"); s != "3:ok|\n" {
		t.Error(s)
	}
}

// TestLateRollback: after a rollback nothing more is written to the log, where
// another program may have written since.
func TestLateRollback(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := lateConn(t, path)
	other := openInside(t, path, ReadWrite)
	mustExec(t, other, "PRAGMA wal_autocheckpoint=0")
	for i := range 6 {
		// With an empty log the rollback reads nothing of it.
		mustExec(t, other, "PRAGMA wal_checkpoint(TRUNCATE)")
		mustExec(t, c, "BEGIN IMMEDIATE; "+fillLate+"; ROLLBACK")
		mustExec(t, other, "INSERT INTO b(v) VALUES(hex(randomblob(9000)))")
		sum := logSum(t, path)
		if _, err := c.Late(false); err != nil {
			t.Fatal(err)
		}
		if logSum(t, path) != sum {
			t.Fatalf("round %d: the log was written after the lock was let go", i)
		}
		if on, err := c.Late(true); !on || err != nil {
			t.Fatal(on, err)
		}
	}
	if s := dump(t, other, "SELECT count(*), (SELECT count(*) FROM b) FROM a"); s != "1:0|1:6|\n" {
		t.Error(s)
	}
	if s := dump(t, other, "PRAGMA integrity_check"); s != "3:ok|\n" {
		t.Error(s)
	}
}

// TestLateRefused: where the commit asks for no sync, or there is no log,
// nothing is gathered.
func TestLateRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := lateConn(t, path)
	if _, err := c.Late(false); err != nil {
		t.Fatal(err)
	}
	mustExec(t, c, "PRAGMA synchronous=NORMAL")
	if on, err := c.Late(true); on || err != nil {
		t.Errorf("synchronous=NORMAL: %t %v", on, err)
	}
	plain := openInside(t, path, ReadWrite)
	mustExec(t, plain, "SELECT * FROM a")
	if on, err := plain.Late(true); on || err != nil {
		t.Errorf("opened without: %t %v", on, err)
	}
	journal := filepath.Join(t.TempDir(), "b.db")
	mustExec(t, openInside(t, journal, Create), "CREATE TABLE a(k)")
	d := openInside(t, journal, Applying)
	mustExec(t, d, "SELECT * FROM a")
	if on, err := d.Late(true); on || err != nil {
		t.Errorf("with a rollback journal: %t %v", on, err)
	}
}

// TestLateClose: a connection that is closed with its log still gathered
// leaves nothing behind.
func TestLateClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := lateConn(t, path)
	mustExec(t, c, "BEGIN IMMEDIATE; "+fillLate)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	late.mu.Lock()
	n := len(late.files)
	late.mu.Unlock()
	if n != 0 {
		t.Errorf("%d files are still known", n)
	}
	if s := dump(t, openInside(t, path, ReadWrite), "SELECT count(*) FROM a"); s != "1:0|\n" {
		t.Error(s)
	}
}
