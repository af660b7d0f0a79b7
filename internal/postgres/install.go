package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// Install makes our schema, tables, functions and triggers in the ERP's
// database, as far as they are missing or other than they should be, in one
// transaction. It changes nothing else there. Errors name the table of the
// configuration that cannot be captured; [database.ErrDenied] when the role
// does not own the tables: then see SQL.
func (c *Capture) Install(ctx context.Context, dsn string, o SourceOptions) error {
	s := NewSource(dsn, c, o)
	defer s.Close()
	if err := s.repair(ctx, ""); err != nil {
		return err
	}
	return s.read(ctx, func(sess *session, tx pgx.Tx) error {
		p, err := c.plan(ctx, tx, sess.path, "")
		if err != nil {
			return err
		}
		grants, err := p.grants(ctx, tx)
		if err == nil && len(grants) > 0 {
			err = fmt.Errorf("%w: this role lacks %d rights, the first: %s; let the owner of the tables, or a superuser, run what this prints: caisseauto init server --print-sql",
				database.ErrDenied, len(grants), grants[0])
		}
		return err
	})
}

// repair makes what is missing for one stream, or for all.
func (s *Source) repair(ctx context.Context, stream string) error {
	return s.patiently(ctx, func() error { return s.repairOnce(ctx, stream) })
}

func (s *Source) repairOnce(ctx context.Context, stream string) error {
	return s.write(ctx, func(c *session, tx pgx.Tx) error {
		// One at a time: two hosts would make the same things.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('caisseauto'))"); err != nil {
			return err
		}
		p, err := s.capture.plan(ctx, tx, c.path, stream)
		if err != nil {
			return err
		}
		for _, lock := range append([]string{fmt.Sprintf("SET LOCAL lock_timeout = %d", queueTime.Milliseconds())}, p.locks()...) {
			if _, err := tx.Exec(ctx, lock); code(err) == codeLockTimeout {
				return fmt.Errorf("%w: %w (%s)", errTaken, err, lock)
			} else if err != nil {
				return fmt.Errorf("%w (%s)", err, lock)
			}
		}
		for _, st := range p.statements {
			if _, err := tx.Exec(ctx, st.sql); err != nil {
				first, _, _ := strings.Cut(st.sql, "\n")
				return fmt.Errorf("%w (%s)", err, first)
			}
		}
		return nil
	})
}

// SQL returns the statements that Install would run, as a script for psql that
// the owner of the ERP's tables or a superuser may read and run: with it the
// role of database.dsn gets the rights that it lacks, and no more. It is empty
// when all is in place.
func (c *Capture) SQL(ctx context.Context, dsn string, o SourceOptions) (string, error) {
	s := NewSource(dsn, c, o)
	defer s.Close()
	var script string
	err := s.read(ctx, func(sess *session, tx pgx.Tx) error {
		p, err := c.plan(ctx, tx, sess.path, "")
		if err != nil {
			return err
		}
		grants, err := p.grants(ctx, tx)
		if err != nil || len(p.statements)+len(grants) == 0 {
			return err
		}
		var role string
		if err := tx.QueryRow(ctx, "SELECT current_user").Scan(&role); err != nil {
			return err
		}
		script = p.script(role, grants)
		return nil
	})
	return script, err
}

// script writes the plan for somebody who runs it with other rights. What is
// ours belongs to the role that exports: its functions run with its rights,
// which are few.
func (p *plan) script(role string, grants []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- For a superuser: psql -v ON_ERROR_STOP=1 -f FILE\n-- It changes nothing but what is written here; if a table is busy, it ends at once and can be run again.\nBEGIN;\nSET LOCAL lock_timeout = '%dms';\nSET LOCAL search_path = caisseauto, pg_catalog;\n", queueTime.Milliseconds())
	for _, lock := range p.locks() {
		b.WriteString(lock + ";\n")
	}
	as := master
	for _, s := range p.statements {
		if (s.who == ours) != (as == ours) {
			if s.who == ours {
				fmt.Fprintf(&b, "SET LOCAL ROLE %s;\n", quote(role))
			} else {
				b.WriteString("RESET ROLE;\n")
			}
		}
		as = s.who
		sql := s.sql
		if s.who == master {
			sql += " AUTHORIZATION " + quote(role)
		}
		b.WriteString(sql + ";\n")
	}
	if as == ours {
		b.WriteString("RESET ROLE;\n")
	}
	for _, g := range grants {
		fmt.Fprintf(&b, "%s TO %s;\n", g, quote(role))
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// grants returns the rights that the role lacks, as GRANT statements without
// their last word.
func (p *plan) grants(ctx context.Context, q querier) ([]string, error) {
	wanted := map[string]map[*Table]bool{}
	want := func(right string, t *Table) {
		if wanted[right] == nil {
			wanted[right] = map[*Table]bool{}
		}
		wanted[right][t] = true
	}
	for _, config := range p.catalog.capture.streams {
		for _, t := range config.Tables {
			want("SELECT", p.catalog.tables[tableRef{t.Schema, t.Name}])
		}
		for _, u := range config.Uploads {
			t := p.catalog.tables[tableRef{u.Schema, u.Name}]
			want("SELECT", t)
			want("INSERT", t)
			if u.Mode != manifest.Append {
				want("UPDATE", t)
				want("DELETE", t)
			}
		}
	}
	var list []string
	schemas := map[string]bool{}
	for right, tables := range wanted {
		for t := range tables {
			if t == nil {
				continue // told by the plan where it goes down, and by uploads where it goes up
			}
			var table, schema bool
			err := q.QueryRow(ctx, "SELECT has_table_privilege($1::oid, $2), has_schema_privilege($3, 'USAGE')", t.OID, right, t.Schema).Scan(&table, &schema)
			if err != nil {
				return nil, err
			}
			if !table {
				list = append(list, "GRANT "+right+" ON "+t.sql())
			}
			if !schema && !schemas[t.Schema] {
				schemas[t.Schema] = true
				list = append(list, "GRANT USAGE ON SCHEMA "+quote(t.Schema))
			}
		}
	}
	// Batches of tills are read into temporary tables.
	var temporary bool
	err := q.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'TEMPORARY')").Scan(&temporary)
	if err != nil {
		return nil, err
	}
	if !temporary && wanted["INSERT"] != nil {
		var name string
		if err := q.QueryRow(ctx, "SELECT current_database()").Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, "GRANT TEMPORARY ON DATABASE "+quote(name))
	}
	slices.Sort(list)
	return list, nil
}

// uploads returns what a stream down asks of its tills, parents first.
func (c *catalog) uploads(stream string) ([]*database.Upload, error) {
	list, err := database.Uploads(c.capture.streams[stream].Uploads, func(u database.UploadConfig) (*database.Table, error) {
		t, err := c.find(tableRef{u.Schema, u.Name})
		if err != nil {
			return nil, err
		}
		x, err := t.keyOf(u.Key)
		if err != nil {
			return nil, err
		}
		return t.neutral(x.Columns), nil
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s, %w", stream, err)
	}
	return list, nil
}

// neutral returns the table as both kinds of databases know it.
func (t *Table) neutral(key []string) *database.Table {
	n := &database.Table{Schema: t.Schema, Name: t.Name, Key: key}
	for i := range t.Columns {
		c := &t.Columns[i]
		n.Columns = append(n.Columns, database.Column{Name: c.Name, Type: sentType(c.wire, c.Type), Generated: c.Generated, Integer: c.wire == wireInteger})
	}
	for _, f := range t.ForeignKeys {
		n.ForeignKeys = append(n.ForeignKeys, database.ForeignKey{Schema: f.Schema, Table: f.Table, From: f.From, To: f.To})
	}
	return n
}
