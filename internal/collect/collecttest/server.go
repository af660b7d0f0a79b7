package collecttest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

// now is the collectors' time.
func now() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

// RetailUploads is what the suite's server takes from its tills.
func RetailUploads(conflict string) []database.UploadConfig {
	up := func(name string, mode manifest.Mode, totals ...string) database.UploadConfig {
		return database.UploadConfig{Name: name, Mode: mode, DossierColumn: "dossier", Dossier: "ACME", Totals: totals}
	}
	client := up("client", manifest.Both)
	client.Conflict = conflict
	return []database.UploadConfig{client, up("reglement", manifest.Append, "montant"), up("ticket", manifest.Append, "total_ttc"),
		up("ticket_ligne", manifest.Append, "montant"), up("jet", manifest.Append), up("parametre_caisse", manifest.Replace)}
}

// retailTill is the SQL of a till of the retail shop, and of a server that
// knows two of them.
const retailTill = "INSERT INTO caisse VALUES('ACME','017','',''), ('ACME','018','','');" +
	"INSERT INTO client(dossier, code, nom, carte, version) VALUES('ACME','C1','un','111',1), ('ACME','C2','deux','222',1), ('ACME','C3','trois',NULL,1);"

// A Server is an ERP with a collector.
type Server struct {
	*collect.Collector
	DB      Database
	Config  database.SourceConfig // of ACME/down
	t       testing.TB
	kind    *Kind
	uploads map[string]*database.Upload
}

// NewServer makes a server with the tables of sql, which takes what uploads
// say. Customers go down, where there is such a table.
func NewServer(t testing.TB, k *Kind, sql string, uploads []database.UploadConfig) *Server {
	t.Helper()
	return openServer(t, k, sql, uploads, Options{})
}

func openServer(t testing.TB, k *Kind, sql string, uploads []database.UploadConfig, o Options) *Server {
	t.Helper()
	config := database.SourceConfig{Uploads: uploads, Tables: []database.TableConfig{{Name: "client", DossierColumn: "dossier", Dossier: "ACME"}}}
	s := &Server{DB: k.New(t, sql, config), Config: config, t: t, kind: k, uploads: map[string]*database.Upload{}}
	s.Collector = s.open(o)
	if err := s.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, err := s.DB.Uploads(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		s.uploads[u.Table] = u
	}
	return s
}

// open opens one more collector, which is closed at the test's end.
func (s *Server) open(o Options) *collect.Collector {
	s.t.Helper()
	if o.Now == nil {
		o.Now = now
	}
	c, err := s.DB.Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// NewRetailServer makes a server of the shop with tills 017 and 018.
func NewRetailServer(t testing.TB, k *Kind, conflict string) *Server {
	t.Helper()
	return NewServer(t, k, schema.Retail+`;INSERT INTO caisse(dossier, numero, libelle) VALUES('ACME','017',''),('ACME','018','')`, RetailUploads(conflict))
}

// Exec runs statements of an ERP's program.
func (s *Server) Exec(sql string) {
	s.t.Helper()
	if err := s.DB.Exec(sql); err != nil {
		s.t.Fatalf("%.200s: %v", sql, err)
	}
}

// Text returns the rows of a query, values joined by |, rows by spaces.
func (s *Server) Text(sql string) string {
	s.t.Helper()
	rows, err := s.DB.Rows(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return text(rows)
}

func text(rows [][]string) string {
	var list []string
	for _, r := range rows {
		list = append(list, strings.Join(r, "|"))
	}
	return strings.Join(list, " ")
}

// Want compares the rows of a query with those that Text returns.
func (s *Server) Want(want, sql string) {
	s.t.Helper()
	if got := s.Text(sql); got != want {
		s.t.Errorf("%s:\n got %s\nwant %s", sql, got, want)
	}
}

// literal returns a value as SQL.
func literal(v any) string {
	if text, ok := v.(string); ok {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	if v == nil {
		return "NULL"
	}
	return fmt.Sprint(v)
}

// Counts shows what became of a batch's rows.
func Counts(r change.Applied) string {
	return fmt.Sprintf("rows %d: +%d ~%d -%d =%d q%d c%d", r.Rows, r.Inserted, r.Updated, r.Deleted, r.Acknowledged, r.Quarantined, r.Conflicts)
}

func wantCounts(t testing.TB, r change.Applied, want string) {
	t.Helper()
	if got := Counts(r); got != want {
		t.Errorf("became of the rows: %s, want %s", got, want)
	}
}

func (s *Server) receipt(till string) *manifest.Receipt {
	s.t.Helper()
	r, _, err := s.Receipt(context.Background(), "ACME/up/"+till)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// alarms shows the alarms that stand, as kind: text.
func (s *Server) alarms() string {
	s.t.Helper()
	list, err := s.Alarms(context.Background(), collect.AlarmFilter{})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Kind+": "+a.Text)
	}
	return strings.Join(out, "\n")
}

// Units returns what waits in quarantine.
func (s *Server) Units() []collect.HeldUnit {
	s.t.Helper()
	list, err := s.Quarantine(context.Background(), collect.UnitFilter{})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// totalsText shows totals in one line.
func totalsText(t testing.TB, totals []manifest.Total) string {
	t.Helper()
	b, err := json.Marshal(totals)
	if err != nil {
		t.Fatal(err)
	}
	r := strings.NewReplacer(`"table":`, "", `"rows":`, "", `"sums":`, "", `"numbers":`, "", `"column":`, "", `"sum":`, "", `"`, "")
	return r.Replace(string(b))
}

// publish takes a number for a batch down, and publishes it. Cursor is that
// of a batch that was read.
func (s *Server) publish(sequence int64, kind manifest.Kind, cursor string) manifest.Position {
	s.t.Helper()
	source := s.DB.Source(s.Config)
	p := manifest.Pending{Position: manifest.Position{Epoch: 1, Sequence: sequence, Digest: digest(fmt.Sprint("down", sequence))}, Kind: kind, Cursor: cursor}
	if err := source.Reserve(context.Background(), "ACME/down", p); err != nil {
		s.t.Fatal(err)
	}
	if err := source.Publish(context.Background(), "ACME/down", p); err != nil {
		s.t.Fatal(err)
	}
	return p.Position
}

// published reads the first batch down, and publishes it.
func (s *Server) published() manifest.Position {
	s.t.Helper()
	x, err := s.DB.Source(s.Config).Read(context.Background(), "ACME/down", true, &lines{})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.publish(1, x.Kind, x.Cursor)
}
