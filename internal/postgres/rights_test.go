//go:build unix

package postgres

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// psql runs a script as a database administrator does.
func psql(t testing.TB, dsn, script string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("psql")
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, dsn).CombinedOutput()
	return string(out), err
}

// least makes a role with no right to anything in the database, and returns
// how it connects.
func (e *erp) least() (role, dsn string) {
	e.t.Helper()
	c := pgtest.Get(e.t)
	role = c.NewRole(e.t, "")
	db := pgtest.Database(e.t, e.dsn)
	e.do("REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE " + db + " FROM PUBLIC; GRANT CONNECT ON DATABASE " + db + " TO " + role)
	return role, c.DSN(db, role)
}

const shopSQL = articleSQL + `; CREATE SCHEMA "Shop 1"; CREATE TABLE "Shop 1"."Ticket"(till text, number bigint, total numeric(9,2), PRIMARY KEY (till, number)); CREATE TABLE client(id int PRIMARY KEY, name text, version int);
	CREATE TABLE hidden(id int PRIMARY KEY); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; INSERT INTO hidden VALUES (1);
	CREATE TABLE parted(id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted DEFAULT`

func shopConfig() map[string]database.SourceConfig {
	return map[string]database.SourceConfig{"A/down": {
		Tables: append(articles("A")["A/down"].Tables, database.TableConfig{Name: "client", Columns: true}, database.TableConfig{Name: "hidden"}, database.TableConfig{Name: "parted"}),
		Uploads: []database.UploadConfig{{Name: "Ticket", Schema: "Shop 1", Mode: manifest.Append, TillColumn: "till"},
			{Name: "client", Mode: manifest.Both, VersionColumn: "version"}},
	}}
}

// A role that has no right to anything gets what it needs, and no more, from a
// script that a superuser runs; with it it exports, and mends what is its own.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	e := newERP(t, shopSQL)
	role, dsn := e.least()
	// Which functions may be called can be the whole cluster's doing.
	e.do("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC")
	c := NewCapture(shopConfig())
	if err := c.Install(t.Context(), dsn, SourceOptions{}); !errors.Is(err, database.ErrDenied) || !strings.Contains(err.Error(), "--print-sql") {
		t.Errorf("without a right: %v", err)
	}
	script, err := c.SQL(t.Context(), dsn, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := psql(t, e.dsn, script); err != nil || out != "" {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	if again, err := c.SQL(t.Context(), dsn, SourceOptions{}); err != nil || again != "" {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if err := c.Install(t.Context(), dsn, SourceOptions{}); err != nil {
		t.Error(err)
	}
	want := []string{`Shop 1.Ticket INSERT`, `Shop 1.Ticket SELECT`, "public.article SELECT", "public.client DELETE", "public.client INSERT", "public.client SELECT", "public.client UPDATE", "public.hidden SELECT", "public.parted SELECT"}
	if got := pgtest.Query(t, e.dsn, "SELECT table_schema || '.' || table_name || ' ' || privilege_type FROM information_schema.role_table_grants WHERE grantee = '"+role+"' AND table_schema <> 'caisseauto' ORDER BY 1"); !slices.Equal(got, want) {
		t.Errorf("rights %q, want %q", got, want)
	}
	if got := pgtest.Query(t, e.dsn, "SELECT DISTINCT owner FROM (SELECT relowner::regrole AS owner FROM pg_class WHERE relnamespace = 'caisseauto'::regnamespace UNION ALL SELECT proowner::regrole FROM pg_proc WHERE pronamespace = 'caisseauto'::regnamespace UNION ALL SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'caisseauto') AS o"); !slices.Equal(got, []string{role}) {
		t.Errorf("what is ours belongs to %q", got)
	}

	asRole := *e
	asRole.dsn = dsn
	s := asRole.stream(c, "A/down")
	s.round()
	e.do("UPDATE article SET price = 1; INSERT INTO hidden VALUES (2); TRUNCATE client; INSERT INTO parted_1 VALUES (1)")
	if got := s.round(); got != "delta article:changes,client:whole,hidden:changes,parted:changes 7" {
		t.Error(got)
	}
	// A function is ours to mend; a trigger is not.
	e.do("CREATE OR REPLACE FUNCTION caisseauto.caisseauto_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; UPDATE article SET price = 2")
	if got := s.round(); got != "delta article:whole 5" {
		t.Error(got)
	}
	e.do("DROP TRIGGER caisseauto_1_row ON article; UPDATE article SET price = 3")
	s.model.Begin()
	if _, err := s.Read(t.Context(), s.name, false, s.model); !errors.Is(err, database.ErrDenied) || !strings.Contains(err.Error(), `"public"."article"`) || !strings.Contains(err.Error(), "--print-sql") {
		t.Error(err)
	}
	if script, err = c.SQL(t.Context(), dsn, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	if out, err := psql(t, e.dsn, script); err != nil || out != "" {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	if got := s.round(); got != "delta article:whole 5" {
		t.Error(got)
	}
	e.do("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC; GRANT EXECUTE ON FUNCTION pg_current_wal_lsn() TO PUBLIC")
}

// Each right that is missing is said, and nothing is read or sent without it.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	e := newERP(t, shopSQL)
	role, dsn := e.least()
	c := NewCapture(shopConfig())
	mend := func() {
		t.Helper()
		for n := 0; ; n++ {
			script, err := c.SQL(t.Context(), dsn, SourceOptions{})
			if err != nil || n > 2 || n == 0 && script == "" {
				t.Fatalf("%v, after %d scripts the next: %s", err, n, script)
			}
			if script == "" {
				return
			}
			if out, err := psql(t, e.dsn, script); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, script)
			}
		}
	}
	mend()
	asRole := *e
	asRole.dsn = dsn
	s := asRole.stream(c, "A/down")
	s.round()
	for _, tt := range []struct{ name, sql, says string }{
		{"SELECT", "REVOKE SELECT ON article FROM " + role, "article"},
		{"USAGE", "REVOKE USAGE ON SCHEMA public FROM " + role, "public"},
		{"row security", "ALTER ROLE " + role + " NOBYPASSRLS", "BYPASSRLS"},
		{"EXECUTE", "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC, " + role, "pg_control_system"},
		{"our schema", "ALTER SCHEMA caisseauto OWNER TO postgres", "caisseauto"},
		{"the journal", "ALTER TABLE caisseauto.caisseauto_journal OWNER TO postgres", "caisseauto_journal"},
		{"the record", "ALTER TABLE caisseauto.caisseauto_stream OWNER TO postgres", "caisseauto_stream"},
		{"the function", "ALTER FUNCTION caisseauto.caisseauto_1() OWNER TO pg_monitor", "--print-sql"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.do("UPDATE article SET price = price + 1 WHERE id = 4; " + tt.sql + "; UPDATE article SET price = price + 1 WHERE id = 2; DELETE FROM client; INSERT INTO client VALUES (1); UPDATE hidden SET id = id + 1")
			s.model.Begin()
			_, err := s.Read(t.Context(), s.name, false, s.model)
			if err == nil { // the record alone is written
				err = s.Reserve(t.Context(), s.name, manifest.Pending{})
			}
			if !errors.Is(err, database.ErrDenied) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v and %q", err, database.ErrDenied, tt.says)
			}
			mend()
			s.round()
			e.do("UPDATE article SET price = price + 1 WHERE id = 2")
			if got := s.round(); got != "delta article:changes 1" {
				t.Error(got)
			}
		})
	}
	e.do("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
}
