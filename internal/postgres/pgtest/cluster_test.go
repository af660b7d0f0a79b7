//go:build unix

package pgtest

import (
	"testing"
	"time"
)

func TestNewDatabase(t *testing.T) {
	begin := time.Now()
	c := Get(t)
	t.Logf("started in %s", time.Since(begin))
	begin = time.Now()
	a := c.NewDatabase(t, "CREATE TABLE a (x int, y text); INSERT INTO a VALUES (1, E'\\t\\\\N')", "INSERT INTO a VALUES (2)")
	t.Logf("database in %s", time.Since(begin))
	b := Get(t).NewDatabase(t, "CREATE TABLE a (x int)")
	if got := Query(t, a, "SELECT * FROM a ORDER BY x"); len(got) != 2 || got[0] != `1	\t\\N` || got[1] != `2	\N` {
		t.Errorf("%q", got)
	}
	if got := Query(t, b, "SELECT * FROM a"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
