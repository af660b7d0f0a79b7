package sourcetest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Source is the writer of streams that is tested; exporter.Source says what
// its methods are.
type Source interface {
	Stand(ctx context.Context, stream string) (manifest.Stand, error)
	Read(ctx context.Context, stream string, full bool, sink change.Sink) (manifest.Extract, error)
	Reserve(ctx context.Context, stream string, p manifest.Pending) error
	Publish(ctx context.Context, stream string, p manifest.Pending) error
	Advance(ctx context.Context, stream, cursor string) error
	NewEpoch(ctx context.Context, stream string, seen manifest.Position, reason string) error
}

// A Database is an ERP's database of one kind, empty but for a schema.
type Database interface {
	// Do runs statements as the ERP does. What they say, both kinds
	// understand.
	Do(sql string)
	// Text returns the one value of a query.
	Text(sql string) string
	// Install installs capture for the streams, or what is new of it.
	Install(streams map[string]database.SourceConfig) (Source, error)
	// Lines returns the rows of a table that are a dossier's, in the form of
	// [Model.Lines].
	Lines(c database.TableConfig) []string
}

// Run runs every test of the suite on databases that open makes with a
// schema. Table and column names in it are in lower case.
func Run(t *testing.T, open func(t testing.TB, schema string) Database) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, func(testing.TB, string) Database)
	}{
		{"Stand", testStand}, {"Moves", testMoves}, {"SharedTable", testSharedTable}, {"ConfigurationChanges", testConfigurationChanges},
		{"Absent", testAbsent}, {"Unchanged", testUnchanged}, {"Touches", testTouches}, {"TouchesMore", testTouchesMore}, {"Refused", testRefused},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// A stream is a stream with its reader.
type stream struct {
	Source
	t     testing.TB
	db    Database
	name  string
	conf  database.SourceConfig
	model *Model
}

// capture installs, and returns the streams with new readers.
func capture(t testing.TB, db Database, keys map[string][]string, streams map[string]database.SourceConfig) map[string]*stream {
	t.Helper()
	src, err := db.Install(streams)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]*stream{}
	for name, c := range streams {
		list[name] = &stream{src, t, db, name, c, &Model{T: t, Keys: keys}}
	}
	return list
}

// again installs another configuration; the reader stays.
func (s *stream) again(streams map[string]database.SourceConfig) {
	s.t.Helper()
	src, err := s.db.Install(streams)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Source, s.conf = src, streams[s.name]
}

func (s *stream) read(full bool) manifest.Extract {
	s.t.Helper()
	s.model.Begin()
	x, err := s.Read(s.t.Context(), s.name, full, s.model)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// export reads a batch into the model and publishes it.
func (s *stream) export() manifest.Extract {
	s.t.Helper()
	x := s.read(false)
	s.model.End(x)
	ctx := s.t.Context()
	if x.Kind == manifest.Delta && len(x.Tables) == 0 {
		s.ok(s.Advance(ctx, s.name, x.Cursor))
		return x
	}
	st, err := s.Stand(ctx, s.name)
	s.ok(err)
	p := pending(max(1, st.Last.Epoch), st.Last.Sequence+1, "d", x)
	s.ok(s.Reserve(ctx, s.name, p))
	s.ok(s.Publish(ctx, s.name, p))
	return x
}

func (s *stream) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// check compares the model with the database.
func (s *stream) check() {
	s.t.Helper()
	for _, t := range s.conf.Tables {
		s.checkTable(t)
	}
}

func (s *stream) checkTable(t database.TableConfig) {
	s.t.Helper()
	if d := cmp.Diff(s.db.Lines(t), s.model.Lines(t.Name)); d != "" {
		s.t.Fatalf("stream %s, table %s: (-database +reader)\n%s\nops %q", s.name, t.Name, d, s.model.Ops)
	}
}

// wants exports, and compares what the batch has with ops.
func (s *stream) wants(what string, ops ...string) {
	s.t.Helper()
	s.export()
	if !slices.Equal(s.model.Ops, ops) {
		s.t.Errorf("%s: stream %s: %q, want %q", what, s.name, s.model.Ops, ops)
	}
	s.check()
}

func pending(epoch, sequence int64, digest string, x manifest.Extract) manifest.Pending {
	return manifest.Pending{Position: manifest.Position{Epoch: epoch, Sequence: sequence, Digest: digest}, Kind: x.Kind, Cursor: x.Cursor}
}

// one is a configuration of one stream.
func one(tables ...database.TableConfig) map[string]database.SourceConfig {
	return map[string]database.SourceConfig{"A/down": {Tables: tables}}
}

var idKey = map[string][]string{"t": {"id"}, "u": {"id"}}

// testStand walks a stream through its life: nothing, reserved, published,
// crashed in between, a new epoch.
func testStand(t *testing.T, open func(testing.TB, string) Database) {
	ctx := t.Context()
	db := open(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES(1,1)")
	s := capture(t, db, idKey, one(database.TableConfig{Name: "t"}))["A/down"]
	stands := func(want manifest.Stand) {
		t.Helper()
		got, err := s.Stand(ctx, s.name)
		s.ok(err)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	fails := func(err error, part string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
	stands(manifest.Stand{})
	x := s.read(false)
	p1 := pending(1, 1, "d1", x)
	fails(s.Reserve(ctx, s.name, pending(1, 2, "d1", x)), "does not follow")
	fails(s.Reserve(ctx, s.name, pending(2, 1, "d1", x)), "does not follow")
	fails(s.Reserve(ctx, s.name, manifest.Pending{Position: p1.Position, Kind: manifest.Delta, Cursor: x.Cursor}), "must be a baseline")
	fails(s.Reserve(ctx, s.name, manifest.Pending{Position: p1.Position, Kind: x.Kind, Cursor: "?"}), "cursor")
	fails(s.Publish(ctx, s.name, p1), "is not the one that was reserved")
	fails(s.Reserve(ctx, "B/down", p1), "init server")
	s.ok(s.Reserve(ctx, s.name, p1))
	s.ok(s.Reserve(ctx, s.name, p1)) // once more is nothing new
	stands(manifest.Stand{Pending: &p1})
	fails(s.Reserve(ctx, s.name, pending(1, 1, "other", x)), "waits to be published")
	db.Do("UPDATE t SET v=8")
	fails(s.Advance(ctx, s.name, s.read(false).Cursor), "another export")
	fails(s.Publish(ctx, s.name, pending(1, 1, "other", x)), "is not the one")
	if x := s.read(false); x.Kind != manifest.Baseline { // what is pending does not count yet
		t.Error(x.Kind)
	}
	s.ok(s.Publish(ctx, s.name, p1))
	s.ok(s.Publish(ctx, s.name, p1)) // after a crash behind it
	stands(manifest.Stand{Last: p1.Position, Baseline: 1})
	if x := s.read(false); x.Kind != manifest.Delta || s.model.Rows != 1 { // what came after the reading of batch 1
		t.Errorf("%s with %d rows", x.Kind, s.model.Rows)
	}

	p2 := pending(1, 2, "d2", s.read(false))
	s.ok(s.Reserve(ctx, s.name, p2))
	s.ok(s.NewEpoch(ctx, s.name, manifest.Position{Sequence: 1}, "the drop's disk was replaced")) // with a batch pending, whose number may be signed
	stands(manifest.Stand{Last: manifest.Position{Epoch: 2, Sequence: 2}})
	fails(s.Publish(ctx, s.name, p2), "is not the one")
	s.ok(s.NewEpoch(ctx, s.name, manifest.Position{Sequence: 40}, "restored from the backup of Monday"))
	stands(manifest.Stand{Last: manifest.Position{Epoch: 3, Sequence: 40}})
	if n := db.Text("SELECT count(*) FROM caisseauto_event WHERE stream='A/down' AND what LIKE '%the drop''s disk%'"); n != "1" {
		t.Error("the reason is not kept")
	}
	x = s.read(false)
	if x.Kind != manifest.Baseline {
		t.Error("the first batch of an epoch is a", x.Kind)
	}
	p3 := pending(3, 41, "d3", x)
	s.ok(s.Reserve(ctx, s.name, p3))
	s.ok(s.Publish(ctx, s.name, p3))
	stands(manifest.Stand{Last: p3.Position, Baseline: 41})
	if x := s.read(false); x.Kind != manifest.Delta || len(x.Tables) != 0 {
		t.Errorf("%+v", x)
	}
}

// testMoves: a row that changes hands is a delete for the one and an upsert
// for the other; nobody is shown another's key.
func testMoves(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, d TEXT, v INTEGER); INSERT INTO t VALUES(1,'A',1),(2,'B',2),(3,NULL,3)")
	config := func(d string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "t", DossierColumn: "d", Dossier: d, Columns: true}}}
	}
	streams := capture(t, db, idKey, map[string]database.SourceConfig{"A/down": config("A"), "B/down": config("B")})
	step := func(sql string, wantA, wantB []string) {
		t.Helper()
		db.Do(sql)
		streams["A/down"].wants(sql, wantA...)
		for key := range streams["A/down"].model.Seen {
			if key == "t 2" && !strings.Contains(sql, "WHERE id=2") && sql != "DELETE FROM t" {
				t.Errorf("%s: A was shown %s", sql, key)
			}
		}
		streams["B/down"].wants(sql, wantB...)
	}
	up, del := []string{"t upsert id,d,v"}, []string{"t delete id"}
	step("SELECT 1", up, up)
	step("UPDATE t SET v=9 WHERE id=1", []string{"t patch id,v"}, nil)
	step("UPDATE t SET d='B' WHERE id=1", del, up)
	step("UPDATE t SET d='A', v=5 WHERE id=1", up, del)
	step("DELETE FROM t WHERE id=1; UPDATE t SET id=1 WHERE id=3", del, nil)
	step("INSERT INTO t VALUES(7,'A',7)", up, nil)
	step("INSERT INTO t VALUES(8,'B',8)", nil, up)
	step("DELETE FROM t WHERE id=7; UPDATE t SET id=7 WHERE id=8", del, []string{"t upsert id,d,v", "t delete id"})
	step("UPDATE t SET d='a' WHERE id=7", nil, del) // not A
	step("UPDATE t SET d='A' WHERE id=2", up, del)
	step("DELETE FROM t", del, nil)
}

// testSharedTable: two streams that ship different columns of one table. A
// change of a column is nothing to the stream that leaves it out; and when the
// columns that are tracked become others, masks written before are not misread.
func testSharedTable(t *testing.T, open func(testing.TB, string) Database) {
	db := open(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER); INSERT INTO t VALUES(1,1,1,1)")
	config := func(exclude ...string) database.SourceConfig {
		return database.SourceConfig{Tables: []database.TableConfig{{Name: "t", Exclude: exclude, Columns: true}}}
	}
	streams := capture(t, db, idKey, map[string]database.SourceConfig{"A/down": config("a"), "B/down": config("b")})
	a, b := streams["A/down"], streams["B/down"]
	for _, tt := range []struct {
		sql  string
		a, b []string
	}{
		{"SELECT 1", []string{"t upsert id,b,c"}, []string{"t upsert id,a,c"}},
		{"UPDATE t SET a=2", nil, []string{"t patch id,a"}},
		{"UPDATE t SET b=2", []string{"t patch id,b"}, nil},
		{"UPDATE t SET a=3, c=3", []string{"t patch id,c"}, []string{"t patch id,a,c"}},
	} {
		db.Do(tt.sql)
		a.wants(tt.sql, tt.a...)
		b.wants(tt.sql, tt.b...)
	}
	db.Do("UPDATE t SET c=4") // with the bits for a, b and c; then there are two left
	other := map[string]database.SourceConfig{"A/down": config("a"), "B/down": config("a", "b")}
	a.again(other)
	b.again(other)
	for _, s := range streams {
		s.export()
		s.check()
	}
}
