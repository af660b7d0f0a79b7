package sqlite

import (
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// TestStatementsUseIndexes: every statement that looks for a row by its key
// does so by the key's index, whatever its collation.
func TestStatementsUseIndexes(t *testing.T) {
	for name, schema := range awkward {
		t.Run(name, func(t *testing.T) {
			// Looking for the children of a row may well be a scan: the
			// schema's author decides on an index for that.
			till := newTill(t, schema+tillOnly[name], TillOptions{IgnoreForeignKeys: true})
			names, err := Tables(till.conn)
			if err != nil {
				t.Fatal(err)
			}
			b := newBatch(manifest.Position{})
			for _, n := range names {
				if strings.HasPrefix(n, "pos_") {
					continue
				}
				tab, err := ReadTable(till.conn, n)
				if err != nil {
					t.Fatal(err)
				}
				if k := keyOf[n]; k != nil {
					tab.Key = k
				}
				b.table(n, manifest.Whole, tab.Key, tab.testColumns())
			}
			plan, err := till.plan(b.m)
			if err != nil {
				t.Fatal(err)
			}
			run := newApplyRun(till, t.Context(), plan)
			defer run.close()
			for _, m := range b.m.Tables {
				columns := make([]string, len(m.Columns))
				for i, c := range m.Columns {
					columns[i] = c.Name
				}
				for _, h := range []*change.Header{{Table: m.Name, Op: change.Upsert, Columns: columns}, {Table: m.Name, Op: change.Delete, Columns: m.Key}} {
					op, err := run.op(h)
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range []*sqlite3.Stmt{op.hot, op.full, op.remove, op.exists, op.look} {
						wantNoScan(t, till.conn, s)
					}
				}
			}
		})
	}
}

func wantNoScan(t *testing.T, c *sqlite3.Conn, s *sqlite3.Stmt) {
	t.Helper()
	if s == nil {
		return
	}
	err := c.Query("EXPLAIN QUERY PLAN "+s.SQL(), func(q *sqlite3.Stmt) error {
		if strings.HasPrefix(q.Text(3), "SCAN") {
			t.Errorf("%s: %s", s.SQL(), q.Text(3))
		}
		return nil
	}, make([]any, s.Params())...)
	if err != nil {
		t.Errorf("%s: %v", s.SQL(), err)
	}
}
