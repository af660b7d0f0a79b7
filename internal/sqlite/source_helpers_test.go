package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// srcKeys are the keys of the test's tables.
var srcKeys sync.Map

// A srcModel is a reader that does by value what the format says: the oracle
// of what Read sends. Keys of tables in fold compare without case.
type srcModel struct {
	*sourcetest.Model
	fold map[string]bool
}

func newSrcModel(t testing.TB) *srcModel {
	m := &srcModel{fold: map[string]bool{}}
	m.Model = &sourcetest.Model{T: t, KeyOf: srcKeyList, Canonical: m.canonical}
	return m
}

// canonical makes keys that SQLite holds for equal the same text.
func (m *srcModel) canonical(table, key string) string {
	if m.fold[table] {
		key = foldName(key)
	}
	parts := strings.Split(key, "|")
	for i := range parts {
		parts[i] = strings.TrimSuffix(parts[i], ".0")
	}
	return strings.Join(parts, "|")
}

// srcDB is an ERP's database.
type srcDB struct {
	*sqlite3.Conn
	t    testing.TB
	path string
}

func newSrcDB(t testing.TB, schema string) *srcDB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "erp 'é'.db")
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	db := &srcDB{c, t, path}
	db.do("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF")
	db.do(schema)
	return db
}

func (db *srcDB) do(sql string) {
	db.t.Helper()
	if err := db.Exec(sql); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
}

// lines returns the rows of a table that belong to a dossier, in the form of
// srcModel.lines.
func (db *srcDB) lines(c database.TableConfig) []string {
	db.t.Helper()
	tab, err := ReadTable(db.Conn, c.Name)
	if err != nil {
		db.t.Fatal(err)
	}
	var names []string
	for _, col := range tab.Columns {
		if !col.Generated && !containsName(c.Exclude, col.Name) {
			names = append(names, col.Name)
		}
	}
	sql := "SELECT " + database.QuoteAll("", names) + " FROM " + database.Quote(c.Name)
	if c.DossierColumn != "" {
		sql += " WHERE " + database.Quote(c.DossierColumn) + " = " + quoteText(c.Dossier) + " COLLATE BINARY"
	}
	list := []string{}
	err = db.Query(sql, func(s *sqlite3.Stmt) error {
		row := map[string]string{}
		for i, n := range names {
			v := s.Value(i)
			row[n] = string(change.AppendValue(nil, &v))
		}
		list = append(list, fmt.Sprint(row))
		return nil
	})
	if err != nil {
		db.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// A srcStream is a stream with its reader.
type srcStream struct {
	*Source
	name  string
	model *srcModel
	db    *srcDB
}

func (db *srcDB) capture(streams map[string]database.SourceConfig) map[string]*srcStream {
	db.t.Helper()
	c := NewCapture(streams)
	if err := c.Install(context.Background(), db.path, SourceOptions{}); err != nil {
		db.t.Fatal(err)
	}
	list := map[string]*srcStream{}
	for name, config := range streams {
		s := &srcStream{Source: NewSource(db.path, c, SourceOptions{}), name: name, model: newSrcModel(db.t), db: db}
		for _, t := range config.Tables {
			srcKeys.Store(t.Name, db.keyOf(t))
		}
		list[name] = s
	}
	return list
}

func (db *srcDB) keyOf(c database.TableConfig) []string {
	if len(c.Key) > 0 {
		return c.Key
	}
	tab, err := ReadTable(db.Conn, c.Name)
	if err != nil {
		db.t.Fatal(err)
	}
	return tab.Key
}

// export reads a batch into the model and publishes it.
func (s *srcStream) export(full bool) manifest.Extract {
	s.db.t.Helper()
	ctx := context.Background()
	s.model.Begin()
	x, err := s.Read(ctx, s.name, full, s.model)
	if err != nil {
		s.db.t.Fatal(err)
	}
	s.model.End(x)
	s.publish(x)
	return x
}

func (s *srcStream) publish(x manifest.Extract) {
	s.db.t.Helper()
	ctx := context.Background()
	if x.Kind == manifest.Delta && len(x.Tables) == 0 {
		if err := s.Advance(ctx, s.name, x.Cursor); err != nil {
			s.db.t.Fatal(err)
		}
		return
	}
	st, err := s.Stand(ctx, s.name)
	if err != nil {
		s.db.t.Fatal(err)
	}
	p := manifest.Pending{Kind: x.Kind, Cursor: x.Cursor,
		Position: manifest.Position{Epoch: max(1, st.Last.Epoch), Sequence: st.Last.Sequence + 1, Digest: "d"}}
	if err := s.Reserve(ctx, s.name, p); err != nil {
		s.db.t.Fatal(err)
	}
	if err := s.Publish(ctx, s.name, p); err != nil {
		s.db.t.Fatal(err)
	}
}

// check compares the model with the database.
func (s *srcStream) check(tables []database.TableConfig) {
	s.db.t.Helper()
	for _, t := range tables {
		if d := cmp.Diff(s.db.lines(t), s.model.Lines(t.Name)); d != "" {
			s.db.t.Fatalf("stream %s, table %s: (-database +reader)\n%s\nops %q", s.name, t.Name, d, s.model.Ops)
		}
	}
}

func srcKeyList(table string) []string {
	v, _ := srcKeys.Load(table)
	return v.([]string)
}

// text returns the first column of the one row of a query.
func (db *srcDB) text(sql string) (text string) {
	db.t.Helper()
	if err := db.Query(sql, func(s *sqlite3.Stmt) error { text = s.Text(0); return nil }); err != nil {
		db.t.Fatal(err)
	}
	return text
}

func srcPending(epoch, sequence int64, digest string, x manifest.Extract) manifest.Pending {
	return manifest.Pending{Position: manifest.Position{Epoch: epoch, Sequence: sequence, Digest: digest}, Kind: x.Kind, Cursor: x.Cursor}
}
