package sqlite

import (
	"context"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
)

// TestSource is the suite that every kind of ERP database passes.
func TestSource(t *testing.T) {
	sourcetest.Run(t, func(t testing.TB, schema string) sourcetest.Database {
		return suiteDB{newSrcDB(t, "PRAGMA foreign_keys=ON; "+schema)}
	})
}

type suiteDB struct{ *srcDB }

func (d suiteDB) Do(sql string) { d.do(sql) }

func (d suiteDB) Text(sql string) string { return d.text(sql) }

func (d suiteDB) Install(streams map[string]database.SourceConfig) (sourcetest.Source, error) {
	c := NewCapture(streams)
	if err := c.Install(context.Background(), d.path, SourceOptions{}); err != nil {
		return nil, err
	}
	return NewSource(d.path, c, SourceOptions{}), nil
}

func (d suiteDB) Lines(c database.TableConfig) []string { return d.lines(c) }
