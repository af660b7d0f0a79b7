package sqlite

import (
	"context"
	"fmt"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Read gives sink every row of the stream's next batch out of one snapshot of
// the database: first what is inserted and changed, tables parents first and
// rows in key order, then what is deleted, tables children first. With full,
// or when the stream has no batch yet in its epoch, that is every row of every
// table; else the rows whose keys the journal names since the last batch.
// Nothing is changed in the database, except that triggers which are missing
// or not as they should be are made again, before the snapshot is taken; then
// their tables go whole.
//
// Errors name the table, and the row where it is one; [database.ErrBusy],
// [database.ErrNotInstalled].
func (s *Source) Read(ctx context.Context, stream string, full bool, sink change.Sink) (manifest.Extract, error) {
	// Triggers are checked in the snapshot itself: what it holds was written
	// under their eyes. Whoever renews them has to look again.
	const attempts = 5
	for range attempts {
		var x manifest.Extract
		stale := false
		err := s.read(ctx, func(db *sqlite3.Conn) (err error) {
			p, err := s.capture.plan(db, stream)
			if err != nil {
				return fmt.Errorf("%s: %w", s.path, err)
			}
			if !p.own["caisseauto_table"] {
				return s.notInstalled()
			}
			if stale = len(p.statements) > 0; stale {
				return nil
			}
			x, err = s.extract(db, p, stream, full, sink)
			return err
		})
		if err != nil || !stale {
			return x, err
		}
		if err := s.repair(ctx, stream); err != nil {
			return x, err
		}
	}
	return manifest.Extract{}, fmt.Errorf("%s: somebody removes the capture triggers as soon as they are made; find out who, and run the export again", s.path)
}

// repair makes what is missing for one stream.
func (s *Source) repair(ctx context.Context, stream string) error {
	return s.write(ctx, func(db *sqlite3.Conn) error {
		p, err := s.capture.plan(db, stream)
		if err != nil {
			return err
		}
		return p.run(db)
	})
}

// extract reads one batch in the transaction that db has open.
func (s *Source) extract(db *sqlite3.Conn, p *plan, stream string, full bool, sink change.Sink) (x manifest.Extract, err error) {
	e := &extraction{db: db, sink: sink, capture: s.capture, kept: deleteMemory}
	st, text, err := stand(db, stream)
	if err != nil {
		return x, err
	}
	last, err := parseCursor(text)
	if err != nil {
		return x, err
	}
	e.from = last.Seq
	broken, err := e.bounds()
	if err != nil {
		return x, err
	}
	next := cursor{Seq: e.to, Tables: map[string]mark{}}
	x.Kind = manifest.Delta
	if full || st.Last.Digest == "" {
		x.Kind = manifest.Baseline
	}
	var list []*extracted
	for _, t := range p.tables {
		m := mark{Shape: t.shape(), Generation: p.generation[t.tab]}
		next.Tables[t.Name] = m
		list = append(list, &extracted{carried: t,
			whole: x.Kind == manifest.Baseline || broken || last.Tables[t.Name] != m})
	}
	wholeWithTouched(list)
	if err := e.run(list); err != nil {
		return x, err
	}
	for _, t := range list {
		if t.whole || t.rows > 0 {
			x.Tables = append(x.Tables, t.describe())
		}
	}
	if err := s.capture.offer(db, stream, last, &next, &x); err != nil {
		return x, err
	}
	if x.Kind == manifest.Baseline && st.Last.Digest != "" && !broken && last.same(next) {
		if x.Unchanged, err = e.unchanged(list); err != nil {
			return x, err
		}
	}
	x.Cursor = next.String()
	return x, nil
}

// unchanged reports whether the journal has no entry for any row of the
// stream since its last batch.
func (e *extraction) unchanged(list []*extracted) (bool, error) {
	found := false
	for _, t := range list {
		d := e.delta(t)
		err := e.db.Query("SELECT 1 FROM "+d.source()+" LIMIT 1", func(*sqlite3.Stmt) error { found = true; return nil }, d.bound...)
		if err != nil || found {
			return false, err
		}
	}
	return true, nil
}

// bounds finds the journal's newest entry, and reports whether entries since
// the cursor are missing: pruned while the stream was not configured, deleted
// by hand, or gone with a journal of which this is not the same. The numbers
// have no holes by themselves: a rollback gives them back.
func (e *extraction) bounds() (broken bool, err error) {
	var there int64
	err = e.db.Query(`SELECT `+e.capture.newest()+`, (SELECT count(*) FROM `+e.capture.journal()+` WHERE seq > ?1)`, func(r *sqlite3.Stmt) error {
		e.to, there = r.Int(0), r.Int(1)
		return nil
	}, e.from)
	return there != e.to-e.from, err
}

// describe states a table as the manifest has it.
func (t *extracted) describe() manifest.Table {
	m := manifest.Table{Name: t.Name, Scope: manifest.Changes, Columns: t.columns, Key: t.names()}
	if t.whole {
		m.Scope = manifest.Whole
	}
	m.Schema = manifest.Fingerprint(m.Columns, m.Key)
	return m
}
