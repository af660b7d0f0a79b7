package sqlite

import (
	"context"
	"fmt"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
)

// A srcCounter is a sink that only counts.
type srcCounter struct {
	rows  int
	bytes int64
}

func (c *srcCounter) Start(change.Header) error { return nil }

func (c *srcCounter) Row(line []byte) error {
	c.rows++
	c.bytes += int64(len(line))
	return nil
}

const srcArticle = `CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, label TEXT, short TEXT, price INTEGER, cost INTEGER,
	vat TEXT, unit TEXT, family INTEGER, supplier INTEGER, stock INTEGER, weight REAL, active INTEGER, note TEXT, created TEXT, changed TEXT);
	CREATE INDEX article_family ON article(family); CREATE INDEX article_supplier ON article(supplier, code);`

// srcArticles makes a database of n articles of 16 columns, whose stream has
// its baseline.
func srcArticles(b testing.TB, n int, columns bool) (*srcDB, *Source) {
	db := newSrcDB(b, srcArticle)
	db.do(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
		INSERT INTO article SELECT i, printf('30%%011d', i*7919%%1000000007), 'Article numéro '||i||' en boîte', 'art '||i, i*37%%10000, i*17%%9000, 'N', 'PCE',
		i%%100, i%%997, i%%50, i*0.125, 1, NULL, '2025-01-02 10:11:12', '2026-02-03 04:05:06' FROM n`, n))
	s := db.capture(map[string]database.SourceConfig{"ACME/down": {Tables: []database.TableConfig{{Name: "article", Columns: columns}}}})["ACME/down"]
	x, err := s.Read(context.Background(), "ACME/down", true, &srcCounter{})
	if err != nil {
		b.Fatal(err)
	}
	s.publish(x)
	return db, s.Source
}

func benchRead(b *testing.B, s *Source, full bool, want int) {
	for b.Loop() {
		var c srcCounter
		if _, err := s.Read(context.Background(), "ACME/down", full, &c); err != nil || c.rows != want {
			b.Fatal(c.rows, err)
		}
	}
	b.ReportMetric(float64(want*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReadBaseline reads a whole table of 16 columns.
func BenchmarkReadBaseline(b *testing.B) {
	const n = 200_000
	_, s := srcArticles(b, n, false)
	benchRead(b, s, true, n)
}

// BenchmarkReadDelta reads 1,000 rows of a million, spread over all pages.
func BenchmarkReadDelta(b *testing.B) {
	for _, columns := range []bool{false, true} {
		b.Run(fmt.Sprintf("columns=%v", columns), func(b *testing.B) {
			db, s := srcArticles(b, 1_000_000, columns)
			db.do("UPDATE article SET price = price + 1 WHERE id % 1000 = 0")
			benchRead(b, s, false, 1000)
		})
	}
}

// BenchmarkReadPrices reads a price change of every row.
func BenchmarkReadPrices(b *testing.B) {
	const n = 200_000
	db, s := srcArticles(b, n, true)
	db.do("UPDATE article SET price = price + 1")
	benchRead(b, s, false, n)
}

// BenchmarkTriggers updates one column of every row under the triggers.
func BenchmarkTriggers(b *testing.B) {
	const n = 100_000
	for _, columns := range []bool{false, true} {
		b.Run(fmt.Sprintf("columns=%v", columns), func(b *testing.B) {
			db, _ := srcArticles(b, n, columns)
			for b.Loop() {
				db.do("UPDATE article SET price = price + 1")
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*b.N), "µs/row")
		})
	}
}
