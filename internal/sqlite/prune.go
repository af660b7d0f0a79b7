package sqlite

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// pruneChunk is the number of journal entries that one transaction deletes:
// it holds the write lock for a few milliseconds.
const pruneChunk = 5000

// prune deletes the journal entries that every configured stream has behind
// it, in short transactions with as long a pause after each, so that the
// ERP's writes come in between. An entry that stays is only a waste of space:
// when the database is busy or ctx ends, the rest is left for the next time.
func (s *Source) prune(ctx context.Context) error {
	for {
		start := time.Now()
		more, err := s.pruneSome(ctx)
		if errors.Is(err, database.ErrBusy) || ctx.Err() != nil {
			return nil
		}
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Since(start)):
		}
	}
}

func (s *Source) pruneSome(ctx context.Context) (more bool, err error) {
	var to int64
	err = s.read(ctx, func(db *sqlite3.Conn) error {
		to, err = s.pruneTo(db)
		return err
	})
	if err != nil || to == 0 {
		return false, err
	}
	err = s.write(ctx, func(db *sqlite3.Conn) error {
		to, err := s.pruneTo(db)
		if err != nil || to == 0 {
			return err
		}
		return db.Run(`DELETE FROM caisseauto_journal WHERE seq <= ?1`, to)
	})
	return true, err
}

// pruneTo returns up to which entry the next chunk goes, 0: there is none. The
// newest entry stays: from it alone SQLite knows that its number was given
// (see newest), and a number that is given twice would be missed.
func (s *Source) pruneTo(db *sqlite3.Conn) (int64, error) {
	needed := int64(-1)
	for _, stream := range slices.Sorted(maps.Keys(s.capture.streams)) {
		_, text, err := stand(db, stream)
		if err != nil {
			return 0, err
		}
		if text == "" {
			continue // not in the table yet; its first batch is a baseline
		}
		c, err := parseCursor(text)
		if err != nil {
			return 0, err
		}
		if needed < 0 || c.Seq < needed {
			needed = c.Seq
		}
	}
	var first, last int64
	err := db.Query(`SELECT coalesce((SELECT min(seq) FROM caisseauto_journal), 0), coalesce((SELECT max(seq) FROM caisseauto_journal), 0)`,
		func(r *sqlite3.Stmt) error { first, last = r.Int(0), r.Int(1); return nil })
	needed = min(needed, last-1)
	if err != nil || first > needed {
		return 0, err
	}
	return min(needed, first+pruneChunk-1), nil
}
