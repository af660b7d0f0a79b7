package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// Stand returns the writer's record of the stream; the zero Stand when
// nothing was sealed yet. After NewEpoch its Last has a number and no digest.
func (s *Source) Stand(ctx context.Context, stream string) (st manifest.Stand, err error) {
	err = s.read(ctx, func(_ *session, tx pgx.Tx) error {
		if err := ready(ctx, tx); err != nil {
			return err
		}
		st, _, err = stand(ctx, tx, stream, "")
		return err
	})
	return st, err
}

// stand reads the record of a stream and its cursor. For is what the SELECT
// ends with: "FOR UPDATE" where it is about to be changed.
func stand(ctx context.Context, q querier, stream, lock string) (st manifest.Stand, c string, err error) {
	var epoch, sequence *int64
	var digest, kind, pending *string
	err = q.QueryRow(ctx, `SELECT epoch, sequence, digest, baseline, cursor, pending_epoch, pending_sequence, pending_digest, pending_kind, pending_cursor
		FROM caisseauto.caisseauto_stream WHERE stream = $1 `+lock, stream).
		Scan(&st.Last.Epoch, &st.Last.Sequence, &st.Last.Digest, &st.Baseline, &c, &epoch, &sequence, &digest, &kind, &pending)
	if errors.Is(err, pgx.ErrNoRows) {
		return st, "", nil
	}
	if err == nil && sequence != nil {
		st.Pending = &manifest.Pending{Position: manifest.Position{Epoch: *epoch, Sequence: *sequence, Digest: *digest},
			Kind: manifest.Kind(*kind), Cursor: *pending}
	}
	return st, c, err
}

// Reserve records durably, before anything is signed, that the number of p
// belongs to that content and to no other. It fails when another batch waits
// to be published, or when the stream no longer stands where p continues it.
// To reserve the same once more is no error.
func (s *Source) Reserve(ctx context.Context, stream string, p manifest.Pending) error {
	return s.write(ctx, func(_ *session, tx pgx.Tx) error {
		_, err := reserve(ctx, tx, stream, p)
		return err
	})
}

// reserve is Reserve in a transaction. It reports whether p was reserved before.
func reserve(ctx context.Context, tx pgx.Tx, stream string, p manifest.Pending) (again bool, err error) {
	st, _, err := stand(ctx, tx, stream, "FOR UPDATE")
	if err != nil {
		return false, err
	}
	switch {
	case st.Pending != nil && *st.Pending == p:
		return true, nil
	case st.Pending != nil:
		return false, busy("stream %s: batch %d of epoch %d waits to be published and nothing else can be sealed before; run the export again",
			stream, st.Pending.Sequence, st.Pending.Epoch)
	case p.Epoch != max(st.Last.Epoch, 1) || p.Sequence != st.Last.Sequence+1 || p.Digest == "":
		return false, busy("stream %s: batch %d of epoch %d does not follow %d of epoch %d, where the stream stands now; another export was faster, run it again",
			stream, p.Sequence, p.Epoch, st.Last.Sequence, st.Last.Epoch)
	case p.Kind != manifest.Baseline && st.Last.Digest == "":
		return false, fmt.Errorf("stream %s: the first batch of an epoch must be a baseline", stream)
	}
	if _, err := parseCursor(p.Cursor); err != nil {
		return false, err
	}
	return false, changeOne(ctx, tx, stream, `UPDATE caisseauto.caisseauto_stream SET pending_epoch = $2, pending_sequence = $3, pending_digest = $4,
		pending_kind = $5, pending_cursor = $6 WHERE stream = $1`, p.Epoch, p.Sequence, p.Digest, string(p.Kind), p.Cursor)
}

// busy says that another export was at the same stream. Nothing was changed.
func busy(format string, args ...any) error {
	return fmt.Errorf("%w: %w", database.ErrBusy, fmt.Errorf(format, args...))
}

// changeOne runs an UPDATE of a stream's row, which must be there.
func changeOne(ctx context.Context, tx pgx.Tx, stream, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, append([]any{stream}, args...)...)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("stream %s is not in caisseauto_stream; run: caisseauto init server", stream)
	}
	return err
}

// nothingPending are the columns of a batch that is reserved, emptied.
const nothingPending = "pending_epoch = NULL, pending_sequence = NULL, pending_digest = NULL, pending_kind = NULL, pending_cursor = NULL"

// Publish makes the reserved batch p the last one, and then prunes what no
// stream needs any more from the journal. It fails when p is not what was
// reserved; when p is the last one already there is nothing left to do.
func (s *Source) Publish(ctx context.Context, stream string, p manifest.Pending) error {
	err := s.write(ctx, func(_ *session, tx pgx.Tx) error {
		st, _, err := stand(ctx, tx, stream, "FOR UPDATE")
		if err != nil {
			return err
		}
		if st.Pending == nil && st.Last == p.Position {
			return nil
		}
		if st.Pending == nil || *st.Pending != p {
			return busy("stream %s: batch %d of epoch %d is not the one that was reserved; nothing was changed, run the export again",
				stream, p.Sequence, p.Epoch)
		}
		baseline := st.Baseline
		if p.Kind == manifest.Baseline {
			baseline = p.Sequence
		}
		err = changeOne(ctx, tx, stream, `UPDATE caisseauto.caisseauto_stream SET epoch = $2, sequence = $3, digest = $4, baseline = $5, cursor = $6, `+
			nothingPending+` WHERE stream = $1`, p.Epoch, p.Sequence, p.Digest, baseline, p.Cursor)
		if err != nil {
			return err
		}
		return rememberPublished(ctx, tx, stream, p.Position)
	})
	if err != nil {
		return err
	}
	return s.prune(ctx)
}

// rememberPublished records a batch of a stream down beside its publication,
// where batches of tills are collected: a till that has applied something else
// has it from elsewhere.
func rememberPublished(ctx context.Context, tx pgx.Tx, stream string, p manifest.Position) error {
	if ok, err := installed(ctx, tx, "caisseauto_published"); err != nil || !ok {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO caisseauto.caisseauto_published(stream, epoch, sequence, digest) VALUES ($1, $2, $3, $4)
		ON CONFLICT (stream, epoch, sequence) DO UPDATE SET digest = excluded.digest`, stream, p.Epoch, p.Sequence, p.Digest)
	return err
}

// Advance moves the cursor where there was nothing to seal, and prunes. While
// the journal has nothing between the two nothing is written: a snapshot of
// before serves as well.
func (s *Source) Advance(ctx context.Context, stream, text string) error {
	to, err := parseCursor(text)
	if err != nil {
		return err
	}
	idle := false
	err = s.read(ctx, func(_ *session, tx pgx.Tx) error {
		_, now, err := stand(ctx, tx, stream, "")
		if err != nil {
			return err
		}
		from, err := parseCursor(now)
		if err != nil || now == "" || !from.same(to) {
			return err
		}
		x, err := parseSnapshot(from.Snapshot)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, "SELECT NOT EXISTS (SELECT 1 FROM "+journal+" WHERE "+x.after()+" AND NOT "+future+")").Scan(&idle)
		return err
	})
	if err != nil || idle {
		return err
	}
	err = s.write(ctx, func(_ *session, tx pgx.Tx) error {
		st, now, err := stand(ctx, tx, stream, "FOR UPDATE")
		if err != nil {
			return err
		}
		from, err := parseCursor(now)
		if err != nil {
			return err
		}
		if st.Pending != nil || now != "" && from.Place == to.Place && !older(from.Snapshot, to.Snapshot) {
			return busy("stream %s was moved by another export meanwhile; run it again", stream)
		}
		return changeOne(ctx, tx, stream, `UPDATE caisseauto.caisseauto_stream SET cursor = $2 WHERE stream = $1`, text)
	})
	if err != nil {
		return err
	}
	return s.prune(ctx)
}

// NewEpoch records an operator's decision after a disaster, with its reason:
// the next batch is a baseline of a new epoch, and its epoch and number are
// higher than those of seen and than any that this database has given.
func (s *Source) NewEpoch(ctx context.Context, stream string, seen manifest.Position, reason string) error {
	return s.write(ctx, func(_ *session, tx pgx.Tx) error {
		st, _, err := stand(ctx, tx, stream, "FOR UPDATE")
		if err != nil {
			return err
		}
		sequence := max(st.Last.Sequence, seen.Sequence)
		if st.Pending != nil { // it may have been signed
			sequence = max(sequence, st.Pending.Sequence)
		}
		epoch := max(st.Last.Epoch, seen.Epoch, 1) + 1
		err = changeOne(ctx, tx, stream, `UPDATE caisseauto.caisseauto_stream SET epoch = $2, sequence = $3, digest = '', baseline = 0, `+nothingPending+
			` WHERE stream = $1`, epoch, sequence)
		if err != nil {
			return err
		}
		// What was reserved and not published is of no use any more.
		for _, table := range []string{"caisseauto_shelf", "caisseauto_shelf_large"} {
			ok, err := installed(ctx, tx, table)
			if ok {
				_, err = tx.Exec(ctx, "DELETE FROM caisseauto."+table+" WHERE stream = $1 AND sequence > $2", stream, st.Last.Sequence)
			}
			if err != nil {
				return err
			}
		}
		what := fmt.Sprintf("epoch %d begins after batch %d of epoch %d, number %d: %s", epoch, st.Last.Sequence, st.Last.Epoch, sequence+1, reason)
		_, err = tx.Exec(ctx, `INSERT INTO caisseauto.caisseauto_event(at, stream, what) VALUES (`+nowSQL+`, $1, $2)`, stream, what)
		return err
	})
}
