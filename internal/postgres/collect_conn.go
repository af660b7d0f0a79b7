package postgres

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
)

// parameter is one of the shared SQL's parameters.
var parameter = regexp.MustCompile(`\?([0-9]+)`)

// Run implements database.Conn.
func (d *collecting) Run(ctx context.Context, sql string, args ...any) error {
	return d.Query(ctx, sql, func(database.Row) error { return nil }, args...)
}

// Query implements database.Conn. The rows are read to their end before the
// first is handed out, so that row can use the connection.
func (d *collecting) Query(ctx context.Context, sql string, row func(database.Row) error, args ...any) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	own, ok := d.statement[sql]
	if !ok {
		own = parameter.ReplaceAllString(sql, "$$$1")
		d.statement[sql] = own
	}
	list, err := d.collect(ctx, own, args)
	if err != nil {
		return explain(ctx, d.where, err)
	}
	for i := range list {
		if err := row(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *collecting) collect(ctx context.Context, sql string, args []any) (list []textRow, err error) {
	rows, err := d.s.Query(ctx, sql, append([]any{text}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var wires []wire
	for rows.Next() {
		if wires == nil {
			for _, f := range rows.FieldDescriptions() {
				wires = append(wires, wireOf(f.DataTypeOID))
			}
		}
		r := textRow{wires: wires}
		for _, v := range rows.RawValues() {
			r.values = append(r.values, slices.Clone(v))
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// wireOf returns how a built-in type travels.
func wireOf(oid uint32) wire { return wires[oid] }

// A textRow is a row as text. It implements database.Row.
type textRow struct {
	values [][]byte
	wires  []wire
}

// Kind implements database.Row.
func (r *textRow) Kind(i int) change.Kind {
	if r.values[i] == nil {
		return change.Null
	}
	switch r.wires[i] {
	case wireInteger, wireBool:
		return change.Integer
	case wireReal:
		return change.Real
	case wireBlob:
		return change.Blob
	}
	return change.Text
}

// Int implements database.Row.
func (r *textRow) Int(i int) int64 {
	if r.wires[i] == wireBool && string(r.values[i]) == "t" {
		return 1
	}
	n, _ := parseInt(string(r.values[i])) // what is no number is 0
	return n
}

// Text implements database.Row.
func (r *textRow) Text(i int) string { return string(r.Bytes(i)) }

// Bytes implements database.Row.
func (r *textRow) Bytes(i int) []byte {
	if r.wires[i] == wireBlob && len(r.values[i]) >= 2 {
		b, _ := hex.DecodeString(string(r.values[i][2:])) // after \x
		return b
	}
	return r.values[i]
}

func parseInt(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

// run runs statements without parameters, and returns how many rows the last
// one wrote. They are planned anew each time: what they find in a batch's
// tables is another matter each time.
func (d *collecting) run(ctx context.Context, sql string) (int64, error) {
	results, err := d.s.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return 0, explain(ctx, d.where, err)
	}
	return results[len(results)-1].CommandTag.RowsAffected(), nil
}

// rows runs one such query and calls row for each of its rows: texts, nil for
// NULL, which are good until it returns. Row cannot use the connection.
func (d *collecting) rows(ctx context.Context, sql string, row func(values [][]byte) error) (err error) {
	results := d.s.PgConn().Exec(ctx, sql)
	defer func() {
		if cerr := results.Close(); err == nil {
			err = explain(ctx, d.where, cerr)
		}
	}()
	for results.NextResult() {
		r := results.ResultReader()
		for r.NextRow() {
			if err := row(r.Values()); err != nil {
				return err
			}
		}
	}
	return nil
}

// one returns the first row of such a query, its own copy.
func (d *collecting) one(ctx context.Context, sql string) (list [][]byte, err error) {
	err = d.rows(ctx, sql, func(values [][]byte) error {
		if list == nil {
			for _, v := range values {
				list = append(list, slices.Clone(v))
			}
		}
		return nil
	})
	return list, err
}

// copyIn sends rows in the text form of COPY
// (https://www.postgresql.org/docs/current/sql-copy.html).
func (d *collecting) copyIn(ctx context.Context, rows io.Reader, sql string) error {
	_, err := d.s.PgConn().CopyFrom(ctx, rows, sql)
	return explain(ctx, d.where, err)
}

// begin begins a transaction that may write.
func (d *collecting) begin(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	if _, err := d.run(ctx, "BEGIN"); err != nil {
		return err
	}
	d.inside = true
	return nil
}

// commit ends it. That the connection is lost meanwhile leaves open what
// became of it: the ledger knows.
func (d *collecting) commit(ctx context.Context) error {
	results, err := d.s.PgConn().Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return explain(ctx, d.where, err)
	}
	d.inside = false
	if tag := results[0].CommandTag.String(); tag != "COMMIT" {
		return fmt.Errorf("%s: the transaction ended with %s; nothing of it was kept", d.where, tag)
	}
	return nil
}

// rollback undoes an open transaction. Where that cannot be said to the
// server, the connection is closed, and the server does it.
func (d *collecting) rollback() {
	if !d.inside {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if d.s.IsClosed() {
		d.drop()
	} else if _, err := d.run(ctx, "ROLLBACK"); err != nil {
		d.drop()
	}
	d.inside = false
}

// lock takes the row of a till, which is made where there is none. Whoever
// integrates a batch of the till, or changes what its receipt says, has it.
func (d *collecting) lock(ctx context.Context, stream string) error {
	if stream == "" {
		return nil
	}
	dossier, till, _ := strings.Cut(stream, "/up/")
	_, err := d.run(ctx, fmt.Sprintf(`INSERT INTO caisseauto.caisseauto_collected(stream, dossier, till) VALUES (%[1]s, %[2]s, %[3]s) ON CONFLICT (stream) DO NOTHING;
		SELECT 1 FROM caisseauto.caisseauto_collected WHERE stream = %[1]s FOR UPDATE`, literal(stream), literal(dossier), literal(till)))
	return err
}

// retries is how often work is done again that the server has chosen to be
// rolled back, because it and another one waited for each other.
const retries = 5

// Locked implements collect.Driver.
func (d *collecting) Locked(ctx context.Context, stream string, work func() error) (held time.Duration, err error) {
	for n := 0; ; n++ {
		held, err = d.locked(ctx, stream, work)
		if n >= retries || !clash(err) {
			return held, err
		}
	}
}

func (d *collecting) locked(ctx context.Context, stream string, work func() error) (time.Duration, error) {
	if err := d.begin(ctx); err != nil {
		return 0, err
	}
	defer d.rollback()
	if err := d.lock(ctx, stream); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return 0, err
	}
	return time.Since(start), d.commit(ctx)
}

// Snapshot implements collect.Driver.
func (d *collecting) Snapshot(ctx context.Context, work func() error) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	if _, err := d.run(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	d.inside = true
	defer d.rollback()
	return work()
}

// tillClaimSQL names a till's lock, of those that a session holds.
const tillClaimSQL = "hashtext('caisseauto collect'), hashtext($1)"

// Claim implements collect.Driver, by a lock of this session: when the
// connection is lost, so is the claim.
func (d *collecting) Claim(ctx context.Context, stream string) (release func(), ok bool, err error) {
	err = d.twice(ctx, func() error {
		var got *bool // NULL on a replica, which has locks of its own
		err := d.s.QueryRow(ctx, "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_try_advisory_lock("+tillClaimSQL+") END", stream).Scan(&got)
		if err == nil && got == nil {
			return fmt.Errorf("%w: %s", database.ErrReadOnly, replicaAdvice)
		}
		ok = err == nil && *got
		return err
	})
	if err != nil || !ok {
		return nil, false, err
	}
	s := d.s
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s.IsClosed() {
			return
		}
		if _, err := s.Exec(ctx, "SELECT pg_advisory_unlock("+tillClaimSQL+")", pgx.QueryExecModeExec, stream); err != nil && s == d.s {
			d.drop() // the server lets go
		}
	}, true, nil
}
