package pgtest

import "testing"

// A full disk is PostgreSQL's own error, and the server goes on.
func TestDisk(t *testing.T) {
	d := NewDisk(t, 150<<20)
	c := Start(t, Options{Folder: d.Folder})
	a := c.NewDatabase(t, "CREATE TABLE a (x text); INSERT INTO a VALUES (1)", "CHECKPOINT")
	d.Fill(t, 2<<20)
	refused(t, a, "INSERT INTO a SELECT repeat('x', 1000) FROM generate_series(1, 10000)", "53100")
	sees(t, a, "SELECT x FROM a", "1")
	d.Fill(t, 0)
	refused(t, a, "CREATE TABLE b AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)", "53100")
	d.Free(t)
	Exec(t, a, "INSERT INTO a SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
	sees(t, a, "SELECT count(*) FROM a", "10001")
}
