package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// Read gives sink every row of the stream's next batch out of one snapshot of
// the database: first what is inserted and changed, tables parents first and
// rows in key order, then what is deleted, tables children first. With full,
// or when the stream has no batch yet in its epoch, or when the database is
// another than the one that the last batch was read from (restored, failed
// over, moved), that is every row of every table; else the rows whose keys the
// journal names since the last batch. Nothing is changed in the database,
// except that triggers which are missing or not as they should be are made
// again, before the snapshot is taken; then their tables go whole.
//
// Errors name the table, and the row where it is one; see the errors of
// internal/database.
func (s *Source) Read(ctx context.Context, stream string, full bool, sink change.Sink) (x manifest.Extract, err error) {
	// Triggers are checked in the snapshot itself: what it holds was written
	// under their eyes. Whoever renews them has to look again.
	const attempts = 5
	for range attempts {
		err = s.patiently(ctx, func() error { return s.readOnce(ctx, stream, full, sink, &x) })
		if !errors.Is(err, errStale) {
			return x, err
		}
		problem := err
		if err := s.repair(ctx, stream); errors.Is(err, database.ErrDenied) {
			return manifest.Extract{}, fmt.Errorf("%w; nothing was sealed, because changes may have gone by them, and this role may not mend it: %w", problem, err)
		} else if err != nil {
			return manifest.Extract{}, err
		}
	}
	return manifest.Extract{}, fmt.Errorf("%s: somebody removes the capture triggers as soon as they are made; find out who, and run the export again", s.where)
}

// readOnce reads one batch in one transaction. Its tables are locked against
// those who would drop, alter or truncate them before the snapshot is taken: a
// snapshot that is older than a TRUNCATE finds the table empty
// (https://www.postgresql.org/docs/current/mvcc-caveats.html).
func (s *Source) readOnce(ctx context.Context, stream string, full bool, sink change.Sink, x *manifest.Extract) error {
	return s.use(ctx, func(c *session) error {
		if c.replica {
			return fmt.Errorf("%w: %s", database.ErrReadOnly, replicaAdvice)
		}
		if err := ready(ctx, c); err != nil {
			return err
		}
		cat, err := s.capture.catalog(ctx, c, c.path)
		if err != nil {
			return err
		}
		tables, err := cat.stream(stream)
		if err != nil {
			return err
		}
		e := &extraction{ctx: ctx, sink: sink, kept: deleteMemory}
		if e.writers, err = writers(ctx, c, tables); err != nil {
			return err
		}
		return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if err := begin(ctx, tx, tables); err != nil {
				return err
			}
			p, err := s.capture.plan(ctx, tx, c.path, stream)
			if err != nil {
				return err
			}
			if len(p.statements) > 0 {
				return fmt.Errorf("%w: %s", errStale, p.problem())
			}
			e.tx = tx
			*x, err = s.extract(e, p, stream, full)
			return err
		})
	})
}

// begin locks the tables, and settles how the transaction's queries are
// planned: journaled keys are walked, and each row is looked up by its key,
// whatever the planner knows of a journal that was empty a moment ago.
func begin(ctx context.Context, tx pgx.Tx, tables []*carried) error {
	sql := "SET LOCAL jit = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL work_mem = '64MB'; SET LOCAL max_parallel_workers_per_gather = 0"
	var names []string
	for _, t := range tables {
		names = append(names, t.sql())
	}
	if len(names) > 0 {
		sql += "; LOCK TABLE " + strings.Join(names, ", ") + " IN ACCESS SHARE MODE NOWAIT"
	}
	_, err := tx.Exec(ctx, sql)
	if code(err) == codeLockTimeout {
		err = fmt.Errorf("%w: %w", errTaken, err)
	}
	return err
}

// extract reads one batch in the transaction.
func (s *Source) extract(e *extraction, p *plan, stream string, full bool) (x manifest.Extract, err error) {
	ctx, tx := e.ctx, e.tx
	st, text, err := stand(ctx, tx, stream, "")
	if err != nil {
		return x, err
	}
	last, err := parseCursor(text)
	if err != nil {
		return x, err
	}
	next := cursor{Tables: map[string]mark{}}
	if next.Place, err = place(ctx, tx); err != nil {
		return x, err
	}
	if err := tx.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&next.Snapshot); err != nil {
		return x, err
	}
	x.Kind = manifest.Delta
	moved := last.Place != next.Place
	if moved && st.Last.Digest != "" {
		s.o.Log.Warn("this is not the database, or not the journal, that the last batch was read from: it was restored, failed over or rewritten; every row goes once more, as a baseline",
			"stream", stream, "batch", st.Last.Sequence, "was", last.Place, "is", next.Place)
	}
	if full || st.Last.Digest == "" || moved {
		x.Kind = manifest.Baseline
	}
	if !moved {
		if e.from, err = parseSnapshot(last.Snapshot); err != nil {
			return x, err
		}
	}
	list, err := e.decide(p, last, &next, x.Kind == manifest.Baseline)
	if err != nil {
		return x, err
	}
	if err := e.run(list); err != nil {
		return x, err
	}
	for _, t := range list {
		if t.whole || t.rows > 0 {
			x.Tables = append(x.Tables, t.describe())
		}
	}
	if err := offer(ctx, tx, p.catalog, stream, last, &next, &x); err != nil {
		return x, err
	}
	if x.Kind == manifest.Baseline && st.Last.Digest != "" && !moved && last.same(next) {
		if x.Unchanged, err = e.unchanged(list); err != nil {
			return x, err
		}
	}
	x.Cursor = next.String()
	return x, nil
}

// decide says which tables go whole: all of a baseline; one that is shipped
// otherwise than before or whose triggers may have missed something; one with
// an entry that names no row, after a TRUNCATE or the renaming of its key; and
// one with a row whose key is written otherwise than it was.
func (e *extraction) decide(p *plan, last cursor, next *cursor, baseline bool) ([]*extracted, error) {
	dirty := map[int64]bool{}
	if !baseline {
		if err := e.readChanged(); err != nil {
			return nil, err
		}
		dirty = e.dirty
	}
	var list []*extracted
	for _, t := range p.tables {
		was, m := last.Tables[t.Name], mark{Shape: t.shape(), Generation: p.generation[t.tab]}
		if !was.is(m) && p.replaced(t.captured) {
			m.Writers = strings.Join(e.writers[t.OID], " ")
		} else if was.is(m) {
			m.Writers = both(was.Writers, e.writers[t.OID])
		}
		next.Tables[t.Name] = m
		x := &extracted{carried: t, whole: baseline || dirty[t.tab] || !was.is(m) || was.Writers != ""}
		if !x.whole && e.changed[t.tab] {
			var err error
			if x.whole, err = e.delta(x).rewritten(); err != nil {
				return nil, fmt.Errorf("table %s: %w", t.sql(), err)
			}
		}
		list = append(list, x)
	}
	wholeWithTouched(list)
	return list, nil
}

// both returns those of a list with blanks that are in the other one, too.
func both(list string, other []string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(list), func(s string) bool { return !slices.Contains(other, s) }), " ")
}

// writers returns who is writing to each of the tables now: transactions, by
// the virtual numbers that they have as long as they live. It is asked before
// the snapshot is taken: whoever is not in the list is over in the snapshot, or
// begins to write with what is in place now.
func writers(ctx context.Context, c *session, tables []*carried) (map[uint32][]string, error) {
	oids := make([]uint32, len(tables))
	for i, t := range tables {
		oids[i] = t.OID
	}
	rows, err := c.Query(ctx, `SELECT o.oid, l.virtualtransaction FROM unnest($1::oid[]) AS o(oid),
			LATERAL (SELECT o.oid AS relid UNION SELECT relid FROM pg_partition_tree(o.oid)) AS r JOIN pg_locks AS l ON l.relation = r.relid
		WHERE l.mode = 'RowExclusiveLock' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`, oids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[uint32][]string{}
	for rows.Next() {
		var oid uint32
		var who string
		if err := rows.Scan(&oid, &who); err != nil {
			return nil, err
		}
		list[oid] = append(list[oid], who)
	}
	return list, rows.Err()
}

// describe states a table as the manifest has it.
func (t *extracted) describe() manifest.Table {
	m := manifest.Table{Name: t.Name, Scope: manifest.Changes, Columns: t.described(), Key: t.names()}
	if t.whole {
		m.Scope = manifest.Whole
	}
	m.Schema = manifest.Fingerprint(m.Columns, m.Key)
	return m
}

// unchanged reports whether the journal has no entry for any row of the
// stream since its last batch.
func (e *extraction) unchanged(list []*extracted) (bool, error) {
	for _, t := range list {
		d := e.delta(t)
		var found bool
		sql := "SELECT EXISTS (SELECT 1 FROM " + journal + " WHERE " + e.window() + fmt.Sprintf(" AND tab = %d AND ", t.tab) + dirtyEntry + ")" +
			" OR EXISTS (SELECT 1 FROM " + d.source() + ")"
		if err := e.tx.QueryRow(e.ctx, sql, d.args...).Scan(&found); err != nil || found {
			return false, err
		}
	}
	return true, nil
}

// offer adds to a batch of a stream down what its tills are to send, when
// that has changed since the last batch and in every baseline, and the number
// of the newest integrated batch.
func offer(ctx context.Context, tx pgx.Tx, cat *catalog, stream string, last cursor, next *cursor, x *manifest.Extract) error {
	list, err := cat.uploads(stream)
	if err != nil {
		return err
	}
	if next.Uploads, err = database.Offer(x, list, last.Uploads); err != nil {
		return err
	}
	dossier, _, _ := strings.Cut(stream, "/")
	x.Integrated, err = integrated(ctx, tx, dossier)
	return err
}

// integrated returns the number of the dossier's newest integrated batch.
func integrated(ctx context.Context, tx pgx.Tx, dossier string) (int64, error) {
	if ok, err := installed(ctx, tx, "caisseauto_dossier"); err != nil || !ok {
		return 0, err
	}
	return number(ctx, tx, "SELECT coalesce(max(integrated), 0) FROM caisseauto.caisseauto_dossier WHERE dossier = $1", dossier)
}
