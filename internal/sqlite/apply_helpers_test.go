package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const testStream = "ACME/down"

func applyDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// A testBatch is a batch made by hand.
type testBatch struct {
	m      *manifest.Manifest
	p      manifest.Position
	blocks []*change.Block
}

// A testReader hands out blocks and spoils each at the next call, so that a
// reader that keeps what it borrowed is found out.
type testReader struct {
	blocks []*change.Block
	lent   *change.Block
}

func (r *testReader) Next() (*change.Block, error) {
	if r.lent != nil {
		for i := range r.lent.Values {
			for j := range r.lent.Values[i].Bytes {
				r.lent.Values[i].Bytes[j] = '?'
			}
			r.lent.Values[i] = change.Value{Kind: change.Text, Bytes: []byte("spoiled")}
		}
	}
	if len(r.blocks) == 0 {
		return nil, io.EOF
	}
	r.lent, r.blocks = r.blocks[0].Clone(), r.blocks[1:]
	return r.lent, nil
}

func (b *testBatch) reader() change.BlockReader { return &testReader{blocks: b.blocks} }

// newBatch returns the batch that follows p; with no p, the first baseline.
func newBatch(p manifest.Position) *testBatch {
	b := &testBatch{m: &manifest.Manifest{Stream: testStream, Epoch: 1, Kind: manifest.Delta, Previous: p.Digest, Created: time.Now()}}
	if p.IsZero() {
		b.m.Kind, b.m.Previous = manifest.Baseline, strings.Repeat("0", 64)
	}
	b.m.Sequence = p.Sequence + 1
	b.p = manifest.Position{Epoch: 1, Sequence: b.m.Sequence, Digest: applyDigest(fmt.Sprint(b.m.Sequence))}
	return b
}

// table declares a table of the batch.
func (b *testBatch) table(name string, scope manifest.Scope, key, columns []string) {
	t := manifest.Table{Name: name, Scope: scope, Key: key}
	for _, c := range columns {
		t.Columns = append(t.Columns, manifest.Column{Name: c})
	}
	b.m.Tables = append(b.m.Tables, t)
}

// rows adds rows.
func (b *testBatch) rows(table string, op change.Op, columns []string, rows ...[]any) {
	if len(rows) == 0 {
		return
	}
	h := &change.Header{Table: table, Op: op, Columns: columns}
	b.m.Members = append(b.m.Members, manifest.Member{Table: table, Rows: int64(len(rows))})
	for part := range slices.Chunk(rows, change.BlockRows) {
		blk := &change.Block{Header: h}
		for _, r := range part {
			for _, v := range r {
				blk.Values = append(blk.Values, testValue(v))
			}
		}
		b.blocks = append(b.blocks, blk)
	}
}

func testValue(v any) change.Value {
	switch v := v.(type) {
	case nil:
		return change.Value{}
	case int:
		return change.Value{Kind: change.Integer, Int: int64(v)}
	case int64:
		return change.Value{Kind: change.Integer, Int: v}
	case float64:
		return change.Value{Kind: change.Real, Real: v}
	case string:
		return change.Value{Kind: change.Text, Bytes: []byte(v)}
	case []byte:
		return change.Value{Kind: change.Blob, Bytes: v}
	case change.Value:
		return v
	}
	panic(fmt.Sprintf("%T", v))
}

// newTill makes a database with a schema and opens it as a till.
func newTill(t testing.TB, schema string, o TillOptions) *Till {
	t.Helper()
	path := filepath.Join(t.TempDir(), "till.db")
	c := openPlain(t, path)
	if err := c.Exec("PRAGMA journal_mode=WAL;" + schema); err != nil {
		t.Fatal(err)
	}
	return openTill(t, path, o)
}

func openTill(t testing.TB, path string, o TillOptions) *Till {
	t.Helper()
	if o.StageDir == "" {
		o.StageDir = t.TempDir()
	}
	till, err := OpenTill(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { till.Close() })
	if err := till.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return till
}

func openPlain(t testing.TB, path string) *sqlite3.Conn {
	t.Helper()
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	c.BusyTimeout(5 * time.Second)
	t.Cleanup(func() { c.Close() })
	return c
}

// apply applies a batch that must pass Check too.
func (b *testBatch) apply(t *Till) (change.Applied, error) {
	if err := t.Check(context.Background(), b.m); err != nil {
		return change.Applied{}, err
	}
	return t.Apply(context.Background(), b.m, b.p, b.reader())
}

// dump returns the content of all tables but ours, by value: one line a row,
// sorted.
func dumpLive(t testing.TB, c *sqlite3.Conn) []string {
	t.Helper()
	var lines []string
	names, err := Tables(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		lines = append(lines, dumpLiveTable(t, c, n)...)
	}
	return lines
}

func dumpLiveTable(t testing.TB, c *sqlite3.Conn, name string) []string {
	t.Helper()
	var lines []string
	err := c.Query("SELECT * FROM "+database.Quote(name), func(s *sqlite3.Stmt) error {
		line := name
		for i := range s.Columns() {
			v := s.Value(i)
			line += fmt.Sprintf(" | %d:%s", v.Kind, database.ShowValue(v))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func queryText(t testing.TB, c *sqlite3.Conn, sql string, args ...any) string {
	t.Helper()
	var out []string
	err := c.Query(sql, func(s *sqlite3.Stmt) error {
		var row []string
		for i := range s.Columns() {
			row = append(row, database.ShowValue(s.Value(i)))
		}
		out = append(out, strings.Join(row, ","))
		return nil
	}, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ";")
}
