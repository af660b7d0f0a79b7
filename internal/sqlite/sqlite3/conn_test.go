package sqlite3_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
)

func open(t *testing.T, path string) *sqlite3.Conn {
	t.Helper()
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestValuesRoundTrip(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	if err := c.Exec("CREATE TABLE t(a,b,c,d,e,f,g); -- and a comment\n"); err != nil {
		t.Fatal(err)
	}
	want := []change.Value{
		{}, {Kind: change.Integer, Int: -1 << 63}, {Kind: change.Real, Real: 0.1},
		{Kind: change.Text, Bytes: []byte("é\x00\xff")}, {Kind: change.Blob, Bytes: []byte{}},
		{Kind: change.Text, Bytes: []byte{}}, {Kind: change.Blob, Bytes: []byte{0, 1}},
	}
	ins, err := c.Prepare("INSERT INTO t VALUES(?,?,?,?,?,?,?)")
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Close()
	for range 3 {
		if err := ins.BindRow(want); err != nil {
			t.Fatal(err)
		}
		if _, err := ins.Step(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err = c.Query("SELECT * FROM t", func(s *sqlite3.Stmt) error {
		n++
		var got []change.Value
		for i := range s.Columns() {
			got = append(got, s.Value(i))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Fatalf("%d rows, %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, b := open(t, path), open(t, path)
	if err := a.Exec("CREATE TABLE t(a PRIMARY KEY); BEGIN IMMEDIATE; INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	b.BusyTimeout(10 * time.Millisecond)
	if err := b.Exec("BEGIN IMMEDIATE"); !sqlite3.IsBusy(err) {
		t.Errorf("second writer: %v", err)
	}
	if err := a.Run("INSERT INTO t VALUES(?)", 1); !sqlite3.IsUnique(err) {
		t.Errorf("duplicate: %v", err)
	}
	if !a.InTransaction() {
		t.Error("the transaction is gone")
	}
	if err := a.Exec("SELEC"); err == nil {
		t.Error("a syntax error passed")
	}
	if _, err := sqlite3.Open(filepath.Join(t.TempDir(), "none"), sqlite3.ReadWrite); err == nil {
		t.Error("a missing file opened")
	}
	if err := a.Run("INSERT INTO t VALUES(?)"); err == nil {
		t.Error("a missing argument passed")
	}
}

func TestWatch(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	stop := c.Watch(ctx)
	defer stop()
	err := c.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n")
	if !sqlite3.IsInterrupt(err) {
		t.Errorf("got %v", err)
	}
}
