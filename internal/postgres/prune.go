package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
)

// pruneChunk is the number of journal entries that one transaction deletes.
// Nobody waits for it: inserts and deletes do not meet.
const pruneChunk = 50_000

// older reports whether snapshot a is not newer than b.
func older(a, b string) bool {
	x, errX := parseSnapshot(a)
	y, errY := parseSnapshot(b)
	return errX == nil && errY == nil && number64(x.xmax) <= number64(y.xmax)
}

// number64 returns a transaction's number; parseSnapshot has looked at it.
func number64(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// prune deletes the journal entries that every configured stream has behind
// it. An entry that stays is only a waste of space: when the database is busy
// or ctx ends, the rest is left for the next time.
func (s *Source) prune(ctx context.Context) error {
	for {
		var deleted int64
		err := s.write(ctx, func(_ *session, tx pgx.Tx) (err error) {
			deleted, err = s.pruneSome(ctx, tx)
			return err
		})
		if errors.Is(err, database.ErrBusy) || ctx.Err() != nil {
			return nil
		}
		if err != nil || deleted < pruneChunk {
			return err
		}
	}
}

func (s *Source) pruneSome(ctx context.Context, tx pgx.Tx) (int64, error) {
	here, err := place(ctx, tx)
	if err != nil {
		return 0, err
	}
	var behind []string
	for _, stream := range slices.Sorted(maps.Keys(s.capture.streams)) {
		_, text, err := stand(ctx, tx, stream, "")
		if err != nil {
			return 0, err
		}
		c, err := parseCursor(text)
		if err != nil {
			return 0, err
		}
		switch {
		case text == "":
			continue // not in the table yet: its journal begins when it is
		case c.Place != here:
			return 0, nil // its next batch is a baseline, and may be being read
		}
		x, err := parseSnapshot(c.Snapshot)
		if err != nil {
			return 0, err
		}
		behind = append(behind, x.before())
	}
	if len(behind) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE %[2]s LIMIT %[3]d))",
		journal, strings.Join(behind, " AND "), pruneChunk))
	return tag.RowsAffected(), err
}
