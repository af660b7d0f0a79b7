package sqlite3

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

func openInside(t *testing.T, path string, mode Mode) *Conn {
	t.Helper()
	c, err := Open(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustExec(t *testing.T, c *Conn, sql string) {
	t.Helper()
	if err := c.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// dump returns a query's rows as text.
func dump(t *testing.T, c *Conn, sql string) string {
	t.Helper()
	var b strings.Builder
	err := c.Query(sql, func(s *Stmt) error {
		for i := range s.Columns() {
			fmt.Fprintf(&b, "%d:%s|", s.Kind(i), s.Text(i))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// misses returns how many pages the connection has read from its files.
func misses(t *testing.T, c *Conn) int {
	t.Helper()
	p, err := c.malloc(8)
	if err != nil {
		t.Fatal(err)
	}
	defer libc.Xfree(c.tls, p)
	if rc := lib.Xsqlite3_db_status(c.tls, c.db, lib.SQLITE_DBSTATUS_CACHE_MISS, p, p+4, 0); rc != lib.SQLITE_OK {
		t.Fatal(rc)
	}
	return int(*(*int32)(pointer(p)))
}

const keepSchema = `PRAGMA journal_mode=WAL; CREATE TABLE a(k INTEGER PRIMARY KEY, v TEXT); CREATE INDEX a_v ON a(v); CREATE TABLE b(k INTEGER PRIMARY KEY, v);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO a SELECT i, hex(randomblob(100)) FROM n;`

// TestKeepCache: what another connection commits costs the pages that it has
// changed, and not the whole cache.
func TestKeepCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, b := openInside(t, path, Create), openInside(t, path, Create)
	mustExec(t, a, keepSchema)
	dump(t, a, "SELECT * FROM a")
	mustExec(t, b, "INSERT INTO b VALUES(1, 'new'); UPDATE a SET v='changed' WHERE k=1500")
	before := misses(t, a)
	a.KeepCache()
	mustExec(t, a, "BEGIN IMMEDIATE")
	got := dump(t, a, "SELECT * FROM a")
	mustExec(t, a, "COMMIT")
	if n := misses(t, a) - before; n == 0 || n > 10 {
		t.Errorf("%d pages were read again", n)
	}
	if want := dump(t, b, "SELECT * FROM a"); got != want || !strings.Contains(got, "changed") {
		t.Error("the two connections see two contents")
	}
}

// TestKeepCacheRandom has two connections do whatever there is, and wants the
// one that mends its cache to see what a new connection sees, always.
func TestKeepCacheRandom(t *testing.T) {
	if raceSlow > 1 {
		t.Skip("scripts/test runs it without the race detector")
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			path := filepath.Join(t.TempDir(), "a.db")
			a, b := openInside(t, path, Create), openInside(t, path, Create)
			mustExec(t, a, keepSchema+"PRAGMA wal_autocheckpoint=50")
			mustExec(t, b, "PRAGMA wal_autocheckpoint=50")
			tables := 0
			for step := range 50 {
				for range random.IntN(4) {
					k := random.IntN(3500)
					list := []string{
						fmt.Sprintf("INSERT OR REPLACE INTO a VALUES(%d, hex(randomblob(%d)))", k, random.IntN(3000)),
						fmt.Sprintf("DELETE FROM a WHERE k BETWEEN %d AND %d", k, k+random.IntN(200)),
						fmt.Sprintf("UPDATE a SET v = v || 'x' WHERE k %% 97 = %d", k%97),
						fmt.Sprintf("INSERT INTO b(v) VALUES(%d)", step),
						"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA incremental_vacuum",
						fmt.Sprintf("CREATE TABLE t%d(x); INSERT INTO t%d VALUES(1)", tables, tables),
						"BEGIN; DELETE FROM a; ROLLBACK",
					}
					n := random.IntN(len(list))
					if strings.HasPrefix(list[n], "CREATE") {
						tables++
					}
					if random.IntN(60) == 0 {
						mustExec(t, b, "VACUUM")
					}
					mustExec(t, []*Conn{a, b, b, b}[random.IntN(4)], list[n])
				}
				a.KeepCache()
				begin := []string{"BEGIN", "BEGIN IMMEDIATE"}[random.IntN(2)]
				mustExec(t, a, begin)
				const everything = "SELECT 1, k, v FROM a UNION ALL SELECT 2, k, v FROM b UNION ALL SELECT 3, name, sql FROM sqlite_schema UNION ALL SELECT 4, v, k FROM (SELECT v, k FROM a INDEXED BY a_v ORDER BY v)"
				got := dump(t, a, everything)
				if random.IntN(3) == 0 && begin != "BEGIN" {
					mustExec(t, a, fmt.Sprintf("UPDATE a SET v = 'w%d' WHERE k %% 31 = %d", step, step%31))
					got = dump(t, a, everything)
				}
				mustExec(t, a, "COMMIT")
				fresh, err := Open(path, ReadOnly)
				if err != nil {
					t.Fatal(err)
				}
				want := dump(t, fresh, everything)
				fresh.Close()
				if got != want {
					t.Fatalf("step %d: the mended cache shows another content than the file", step)
				}
			}
			if s := dump(t, b, "PRAGMA integrity_check"); s != "3:ok|\n" {
				t.Fatal(s)
			}
		})
	}
}

// TestSlab takes and gives slots at random, and wants each to keep its own
// content.
func TestSlab(t *testing.T) {
	openInside(t, filepath.Join(t.TempDir(), "a.db"), Create)
	if pages.memory == nil {
		t.Skip("no slab on this system")
	}
	tls := libc.NewTLS()
	defer tls.Close()
	random := rand.New(rand.NewPCG(1, 2))
	type piece struct {
		p    uintptr
		size int
		mark byte
	}
	var held []piece
	bytesOf := func(x piece) []byte { return unsafe.Slice((*byte)(pointer(x.p)), x.size) }
	check := func(x piece) {
		t.Helper()
		if !bytes.Equal(bytesOf(x), bytes.Repeat([]byte{x.mark}, x.size)) {
			t.Fatal("a piece has another's content")
		}
	}
	inside := 0
	for step := range 20000 {
		switch n := random.IntN(10); {
		case n < 6 || len(held) == 0:
			x := piece{size: []int{100, 4096, 4097, 4368, slabSlot, slabSlot + 1, 9000}[random.IntN(7)], mark: byte(step)}
			x.p = slabMalloc(tls, int32(x.size))
			if got := pages.has(x.p); got != (x.size > slabLeast && x.size <= slabSlot) {
				t.Fatalf("%d bytes in a slot: %t", x.size, got)
			} else if got {
				inside++
			}
			if int(slabSize(tls, x.p)) < x.size {
				t.Fatal("too small")
			}
			copy(bytesOf(x), bytes.Repeat([]byte{x.mark}, x.size))
			held = append(held, x)
		case n < 9:
			i := random.IntN(len(held))
			check(held[i])
			slabFree(tls, held[i].p)
			held = slices.Delete(held, i, i+1)
		default:
			i := random.IntN(len(held))
			x := &held[i]
			size := 4000 + random.IntN(1000)
			x.p = slabRealloc(tls, x.p, int32(size))
			x.size = min(x.size, size)
			check(*x)
			x.size = size
			copy(bytesOf(*x), bytes.Repeat([]byte{x.mark}, x.size))
		}
	}
	for _, x := range held {
		check(x)
		slabFree(tls, x.p)
	}
	if inside == 0 || pages.spare > slabSpare {
		t.Errorf("%d pieces in slots, %d empty chunks kept", inside, pages.spare)
	}
}
