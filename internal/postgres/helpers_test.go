//go:build unix

package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
	"caisseauto/internal/database/sourcetest"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// An erp is a database with a connection of the ERP's own.
type erp struct {
	*pgx.Conn
	t   testing.TB
	dsn string
	own *session // with our settings, for the comparison
}

func newERP(t testing.TB, schema string) *erp {
	t.Helper()
	skipAlone(t)
	dsn := pgtest.Get(t).NewDatabase(t, schema)
	own, err := open(context.Background(), dsn, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close(context.Background()) })
	return &erp{pgtest.Connect(t, dsn), t, dsn, own}
}

// besides are parts of the names of tests in which goroutines of ours meet.
var besides = []string{"Claim", "Release", "UnderWriters", "Together", "ExactlyOnce", "Stopped", "Deposit"}

// skipAlone skips, under the race detector, what it has nothing to find in:
// scripts/test runs it without.
func skipAlone(t testing.TB) {
	t.Helper()
	if raceEnabled && !slices.ContainsFunc(besides, func(part string) bool { return strings.Contains(t.Name(), part) }) {
		t.Skip("one goroutine and a server, which scripts/test looks at without the race detector")
	}
}

// clear empties the database for the next of several cases: that is quicker
// than a database for each.
func (e *erp) clear(t testing.TB, schema string) {
	e.t = t
	e.do("RESET ROLE; RESET ALL; DROP SCHEMA IF EXISTS caisseauto CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")
	e.do(schema)
}

func (e *erp) do(sql string) {
	e.t.Helper()
	if _, err := e.Exec(context.Background(), sql); err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
}

// A stream is a stream with its reader.
type stream struct {
	*Source
	name  string
	model *sourcetest.Model
	e     *erp
	log   *strings.Builder
}

func (e *erp) capture(streams map[string]database.SourceConfig) map[string]*stream {
	e.t.Helper()
	c := NewCapture(streams)
	if err := c.Install(context.Background(), e.dsn, SourceOptions{}); err != nil {
		e.t.Fatal(err)
	}
	list := map[string]*stream{}
	for name := range streams {
		list[name] = e.stream(c, name)
	}
	return list
}

// stream returns a Source with a model of what its reader has.
func (e *erp) stream(c *Capture, name string) *stream {
	e.t.Helper()
	log := &strings.Builder{}
	s := &stream{Source: NewSource(e.dsn, c, SourceOptions{Log: slog.New(slog.NewTextHandler(log, nil))}), name: name, e: e, log: log,
		model: &sourcetest.Model{T: e.t, Keys: map[string][]string{}}}
	e.t.Cleanup(func() { s.Close() })
	return s
}

// keys tells the model the keys of the tables, which the ERP may rename.
func (s *stream) keys() {
	tables := s.e.tables(s.capture)
	for _, t := range s.capture.streams[s.name].Tables {
		s.model.Keys[t.Name] = t.Key
		if table := tables[tableRef{t.Schema, t.Name}]; table != nil && len(t.Key) == 0 {
			if x, err := table.keyOf(nil); err == nil {
				s.model.Keys[t.Name] = x.Columns
			}
		}
	}
}

func (e *erp) tables(c *Capture) map[tableRef]*Table {
	e.t.Helper()
	cat, err := c.catalog(context.Background(), e.Conn, []string{"public"})
	if err != nil {
		e.t.Fatal(err)
	}
	return cat.tables
}

// export reads a batch into the model and publishes it.
func (s *stream) export(full bool) manifest.Extract {
	s.e.t.Helper()
	s.keys()
	s.model.Begin()
	x, err := s.Read(context.Background(), s.name, full, s.model)
	if err != nil {
		s.e.t.Fatal(err)
	}
	s.model.End(x)
	s.publish(x)
	return x
}

func (s *stream) publish(x manifest.Extract) {
	s.e.t.Helper()
	ctx := context.Background()
	if x.Kind == manifest.Delta && len(x.Tables) == 0 {
		if err := s.Advance(ctx, s.name, x.Cursor); err != nil {
			s.e.t.Fatal(err)
		}
		return
	}
	st, err := s.Stand(ctx, s.name)
	if err != nil {
		s.e.t.Fatal(err)
	}
	p := manifest.Pending{Kind: x.Kind, Cursor: x.Cursor,
		Position: manifest.Position{Epoch: max(1, st.Last.Epoch), Sequence: st.Last.Sequence + 1, Digest: "d"}}
	if err := s.Reserve(ctx, s.name, p); err != nil {
		s.e.t.Fatal(err)
	}
	if err := s.Publish(ctx, s.name, p); err != nil {
		s.e.t.Fatal(err)
	}
}

// lines returns the rows of a table that belong to a dossier, in the form of
// the model, each value as Read is to write it.
func (e *erp) lines(s *session, table *Table, t database.TableConfig) []string {
	e.t.Helper()
	var columns []*Column
	var names []string
	for i := range table.Columns {
		if col := &table.Columns[i]; !col.Generated && !slices.Contains(t.Exclude, col.Name) {
			columns, names = append(columns, col), append(names, col.Name)
		}
	}
	sql := "SELECT " + database.QuoteAll("", names) + " FROM " + table.sql()
	if t.DossierColumn != "" {
		sql += " WHERE " + quote(t.DossierColumn) + "::text = " + literal(t.Dossier)
	}
	list := []string{}
	err := each(context.Background(), s, sql, []any{pgx.QueryExecModeExec}, func(row [][]byte) error {
		m := map[string]string{}
		for i, col := range columns {
			b, err := col.wire.appendValue(nil, row[i])
			if err != nil {
				return err
			}
			m[col.Name] = string(b)
		}
		list = append(list, fmt.Sprint(m))
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// check compares the model with the database, by value.
func (s *stream) check() {
	s.e.t.Helper()
	tables := s.e.tables(s.capture)
	for _, t := range s.capture.streams[s.name].Tables {
		if d := cmp.Diff(s.e.lines(s.e.own, tables[tableRef{t.Schema, t.Name}], t), s.model.Lines(t.Name)); d != "" {
			s.e.t.Fatalf("stream %s, table %s: (-database +reader)\n%s\nops %q", s.name, t.Name, d, s.model.Ops)
		}
	}
}

// round exports, compares, and returns what the batch had, in one line.
func (s *stream) round() string {
	s.e.t.Helper()
	x := s.export(false)
	s.check()
	kinds := []string{}
	for _, t := range x.Tables {
		kinds = append(kinds, t.Name+":"+string(t.Scope))
	}
	return fmt.Sprintf("%s %s %d", x.Kind, strings.Join(kinds, ","), s.model.Rows)
}

// seeds returns how many random cases a test is to try: so many, or what
// CAISSEAUTO_SEEDS says.
func seeds(n int) int {
	if more, err := strconv.Atoi(os.Getenv("CAISSEAUTO_SEEDS")); err == nil {
		return more
	}
	return n
}
