package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
)

// ourSchema holds every table and function that is ours.
const ourSchema = "caisseauto"

// sessionSQL settles what a value looks like as text, whatever the role, the
// database or the machine say: ISO dates in UTC, shortest exact floats, blobs
// in hexadecimal digits (https://www.postgresql.org/docs/current/runtime-config-client.html).
//
// The search_path is ours and the system's: no function or operator of
// somebody else's schema can come into our statements. Rows that row level
// security would hide make an error, where they would be missing in silence
// otherwise. What is committed here is signed next, so that it must be on the
// disk whatever the ERP has chosen for itself.
const sessionSQL = `SET search_path = caisseauto, pg_catalog; SET datestyle = 'ISO, YMD'; SET timezone = 'UTC';
SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; SET lc_monetary = 'C'; SET xmloption = 'content';
SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET row_security = off; SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = on; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off; SET default_transaction_deferrable = off`

// A session is one connection, and what the role's own search_path is: where
// tables are looked for whose schema nobody names.
type session struct {
	*pgx.Conn
	path    []string
	replica bool // the server is in recovery: it can be read alone
	version int  // server_version_num, 150018
}

// minVersion is the first server that has xid8 and pg_current_snapshot()
// (https://www.postgresql.org/docs/13/release-13.html).
const minVersion = 130000

// open connects. The connection string is of either form of libpq; a password
// is looked for where libpq looks (PGPASSFILE, ~/.pgpass), and all else that
// it leaves out, too.
func open(ctx context.Context, dsn string, lockTimeout time.Duration) (*session, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database.dsn: %w: %w", database.ErrDSN, err)
	}
	if _, ok := config.RuntimeParams["application_name"]; !ok {
		config.RuntimeParams["application_name"] = "caisseauto"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 15 * time.Second
	}
	config.OnNotice = nil
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explain(ctx, where(config), err)
	}
	s := &session{Conn: c}
	if err := s.settle(ctx, lockTimeout); err != nil {
		_ = c.Close(context.WithoutCancel(ctx))
		return nil, explain(ctx, where(config), err)
	}
	return s, nil
}

// settle reads what the server is, then makes the session ours.
func (s *session) settle(ctx context.Context, lockTimeout time.Duration) error {
	if _, err := s.Exec(ctx, "SET statement_timeout = 0"); err != nil { // what comes next takes longer than this
		return err
	}
	err := s.QueryRow(ctx, `SELECT (`+pathSQL+`), pg_is_in_recovery(), current_setting('server_version_num')::int`).
		Scan(&s.path, &s.replica, &s.version)
	if err != nil {
		return err
	}
	if s.version < minVersion {
		return fmt.Errorf("%w: it is PostgreSQL %d, and capture needs 13 or later", errOld, s.version/10000)
	}
	s.path = slices.DeleteFunc(s.path, func(n string) bool { return n == ourSchema || n == "pg_catalog" })
	// Newer servers have more time limits; idle_session_timeout is there from 14 on, transaction_timeout from 17 on.
	_, err = s.Exec(ctx, fmt.Sprintf("%s; %s; SET lock_timeout = %d; SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')",
		sessionSQL, aliveSQL, lockTimeout.Milliseconds()))
	return err
}

// pathSQL is the query of the schemas of the search_path that are there. Those
// that the role may not look into come last: that a right is missing is a
// better word than that a table is.
const pathSQL = `SELECT coalesce(array_agg(s.nspname::text ORDER BY has_schema_privilege(s.oid, 'USAGE') DESC, n), '{}')
	FROM regexp_matches(current_setting('search_path'), '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g') WITH ORDINALITY AS p(part, n)
	JOIN pg_catalog.pg_namespace AS s ON s.nspname = CASE coalesce(part[1], part[2]) WHEN '$user' THEN current_user ELSE coalesce(replace(part[1], '""', '"'), lower(part[2])) END`

var errOld = errors.New("the server is too old")

// where names the server and the database of a connection string, without
// anything secret.
func where(c *pgx.ConnConfig) string {
	host := c.Host
	if !strings.HasPrefix(host, "/") {
		host = fmt.Sprintf("%s:%d", host, c.Port)
	}
	return fmt.Sprintf("database %q at %s", c.Database, host)
}

// Where names the server and the database of a connection string for
// messages, without anything secret; a string that cannot be read is not
// repeated.
func Where(dsn string) string {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "database.dsn"
	}
	return where(config)
}

// text asks for results in the text format: PostgreSQL's own words for a
// value, which are exact.
var text = pgx.QueryResultFormats{pgx.TextFormatCode}

// each calls row for every row of a query, whose values are their text, nil
// for NULL; they are the connection's and good until row returns.
func each(ctx context.Context, q querier, sql string, args []any, row func(values [][]byte) error) error {
	rows, err := q.Query(ctx, sql, append([]any{text}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// number returns the one number of a query.
func number(ctx context.Context, q querier, sql string, args ...any) (n int64, err error) {
	err = q.QueryRow(ctx, sql, args...).Scan(&n)
	return n, err
}
