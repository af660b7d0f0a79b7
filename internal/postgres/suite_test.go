//go:build unix

package postgres

import (
	"context"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
	"caisseauto/internal/postgres/pgtest"
)

// TestSource is the suite that every kind of ERP database passes.
func TestSource(t *testing.T) {
	sourcetest.Run(t, func(t testing.TB, schema string) sourcetest.Database {
		return &suiteDB{erp: newERP(t, schema)}
	})
}

type suiteDB struct {
	*erp
	capture *Capture
}

func (d *suiteDB) Do(sql string) { d.do(sql) }

func (d *suiteDB) Text(sql string) string {
	d.t.Helper()
	return pgtest.Query(d.t, d.dsn, "SET search_path = caisseauto, public; "+sql)[0]
}

func (d *suiteDB) Install(streams map[string]database.SourceConfig) (sourcetest.Source, error) {
	d.capture = NewCapture(streams)
	if err := d.capture.Install(context.Background(), d.dsn, SourceOptions{}); err != nil {
		return nil, err
	}
	s := NewSource(d.dsn, d.capture, SourceOptions{})
	d.t.Cleanup(func() { s.Close() })
	return s, nil
}

func (d *suiteDB) Lines(c database.TableConfig) []string {
	return d.lines(d.own, d.tables(d.capture)[tableRef{c.Schema, c.Name}], c)
}
