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

// pruneSome deletes a chunk. Streams that this configuration has not, another
// host's or a dossier that was taken out, are waited for too, unless they have
// fallen so far behind that the journal grows without end.
func (s *Source) pruneSome(ctx context.Context, tx pgx.Tx) (int64, error) {
	here, err := place(ctx, tx)
	if err != nil {
		return 0, err
	}
	cursors := map[string]string{}
	err = each(ctx, tx, "SELECT stream, cursor FROM caisseauto.caisseauto_stream", nil, func(v [][]byte) error {
		cursors[string(v[0])] = string(v[1])
		return nil
	})
	if err != nil {
		return 0, err
	}
	var ours, others []string // conditions
	for _, stream := range slices.Sorted(maps.Keys(cursors)) {
		c, err := parseCursor(cursors[stream])
		if err != nil {
			return 0, err
		}
		_, configured := s.capture.streams[stream]
		switch {
		case cursors[stream] == "":
			continue // given up below: its next batch is a baseline
		case c.Place != here:
			return 0, nil // its next batch is a baseline, and may be being read
		}
		x, err := parseSnapshot(c.Snapshot)
		if err != nil {
			return 0, err
		}
		if configured {
			ours = append(ours, x.before())
		} else {
			others = append(others, x.before())
		}
	}
	if len(ours) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE %[2]s OR %[4]s LIMIT %[3]d))",
		journal, strings.Join(append(ours, others...), " AND "), pruneChunk, future))
	if err != nil || tag.RowsAffected() > 0 || len(others) == 0 {
		return tag.RowsAffected(), err
	}
	return 0, s.giveUp(ctx, tx)
}

// maxBehind is how many journal entries are kept for streams that nobody
// here exports.
const maxBehind = 2_000_000

// giveUp forgets how far the streams are that are not configured here, when
// the journal has grown too large: if they are exported again, everything goes.
// The number of rows is what the server's own statistics say.
func (s *Source) giveUp(ctx context.Context, tx pgx.Tx) error {
	n, err := number(ctx, tx, "SELECT reltuples::bigint FROM pg_class WHERE oid = $1::regclass", journal)
	if err != nil || n <= s.maxBehind {
		return err
	}
	tag, err := tx.Exec(ctx, "UPDATE caisseauto.caisseauto_stream SET cursor = '' WHERE cursor <> '' AND stream <> ALL ($1)", slices.Collect(maps.Keys(s.capture.streams)))
	if err == nil && tag.RowsAffected() > 0 {
		s.o.Log.Warn("streams that are not in this configuration kept the journal from being removed; their next batch will be a baseline", "streams", tag.RowsAffected(), "entries", n)
	}
	return err
}
