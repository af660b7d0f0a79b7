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
		own, err := ownGrants(ctx, tx)
		if err != nil {
			return err
		}
		if len(own) > 0 { // without them nobody can see what else is missing
			script = (&plan{}).script(own) + "-- Then look what else there is to do: caisseauto init server --print-sql\n"
			return nil
		}
		p, err := c.plan(ctx, tx, sess.path, "")
		if err != nil {
			return err
		}
		grants, err := p.grants(ctx, tx)
		if err == nil && len(p.statements)+len(grants) > 0 {
			script = p.script(grants)
		}
		return err
	})
	return script, err
}

// script writes the plan for somebody who runs it with other rights. What is
// ours belongs to the role that exports: its functions run with its rights,
// which are few. It gets them first: with those on our tables they leave their
// traces in the catalog before it is noted how that looks.
func (p *plan) script(grants []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- For a superuser: psql -v ON_ERROR_STOP=1 -f FILE\n-- It changes nothing but what is written here; if a table is busy, it ends at once and can be run again.\nBEGIN;\nSET LOCAL lock_timeout = '%dms';\nSET LOCAL search_path = caisseauto, pg_catalog;\n", queueTime.Milliseconds())
	for _, statement := range append(grants, p.locks()...) {
		b.WriteString(statement + ";\n")
	}
	as := master
	for _, s := range p.statements {
		if (s.who == ours) != (as == ours) {
			if s.who == ours {
				fmt.Fprintf(&b, "SET LOCAL ROLE %s;\n", quote(p.role))
			} else {
				b.WriteString("RESET ROLE;\n")
			}
		}
		as = s.who
		sql := s.sql
		if s.who == master {
			sql += " AUTHORIZATION " + quote(p.role)
		}
		b.WriteString(sql + ";\n")
	}
	if as == ours {
		b.WriteString("RESET ROLE;\n")
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// grants returns the statements that give the role the rights that it lacks.
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
	to := " TO " + quote(p.role)
	// What the server lets everybody do, unless somebody has closed it.
	list, err := texts(ctx, q, `SELECT 'GRANT EXECUTE ON FUNCTION pg_catalog.' || f FROM unnest(ARRAY['pg_control_system()', 'pg_walfile_name(pg_lsn)', 'pg_current_wal_lsn()', 'pg_current_snapshot()']) AS f
		WHERE NOT has_function_privilege('pg_catalog.' || f, 'EXECUTE')`)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i] += to
	}
	for right, tables := range wanted {
		for t := range tables {
			if t == nil {
				continue // told by the plan where it goes down, and by uploads where it goes up
			}
			var table, schema, hidden bool
			err := q.QueryRow(ctx, "SELECT has_table_privilege($1::oid, $2), has_schema_privilege($3, 'USAGE'), row_security_active($1::oid)", t.OID, right, t.Schema).Scan(&table, &schema, &hidden)
			if err != nil {
				return nil, err
			}
			if !table {
				list = append(list, "GRANT "+right+" ON "+t.sql()+to)
			}
			if !schema {
				list = append(list, "GRANT USAGE ON SCHEMA "+quote(t.Schema)+to)
			}
			if hidden {
				list = append(list, "ALTER ROLE "+quote(p.role)+" BYPASSRLS")
			}
		}
	}
	// Batches of tills are read into temporary tables.
	var temporary bool
	err = q.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'TEMPORARY')").Scan(&temporary)
	if err != nil {
		return nil, err
	}
	if !temporary && wanted["INSERT"] != nil {
		var name string
		if err := q.QueryRow(ctx, "SELECT current_database()").Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, "GRANT TEMPORARY ON DATABASE "+quote(name)+to)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// ownGrants returns the statements that give the role the rights that it lacks
// on what is ours, where it belongs to another one.
func ownGrants(ctx context.Context, q querier) ([]string, error) {
	return texts(ctx, q, `SELECT 'GRANT USAGE, CREATE ON SCHEMA caisseauto TO ' || quote_ident(current_user) FROM pg_namespace
			WHERE nspname = 'caisseauto' AND NOT (has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE'))
		UNION ALL SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON caisseauto.%I TO %I', c.relname, current_user) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
			WHERE s.nspname = 'caisseauto' AND c.relkind = 'r'
				AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
		ORDER BY 1`)
}

// texts returns the one column of a query.
func texts(ctx context.Context, q querier, sql string) (list []string, err error) {
	err = each(ctx, q, sql, nil, func(v [][]byte) error { list = append(list, string(v[0])); return nil })
	return list, err
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
