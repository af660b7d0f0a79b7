package sqlite

import (
	"context"
	"fmt"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Stand returns the writer's record of the stream; the zero Stand when
// nothing was sealed yet. After NewEpoch its Last has a number and no digest.
func (s *Source) Stand(ctx context.Context, stream string) (st manifest.Stand, err error) {
	err = s.read(ctx, func(db *sqlite3.Conn) error {
		ok, err := Exists(db, "caisseauto_stream")
		if err != nil {
			return err
		}
		if !ok {
			return s.notInstalled()
		}
		st, _, err = stand(db, stream)
		return err
	})
	return st, err
}

func (s *Source) notInstalled() error {
	if s.till {
		return fmt.Errorf("%s: %w for an outbox; run: caisseauto init till", s.path, database.ErrNotInstalled)
	}
	return fmt.Errorf("%s: %w for capture; run: caisseauto init server", s.path, database.ErrNotInstalled)
}

// stand reads the record of a stream and its cursor.
func stand(db *sqlite3.Conn, stream string) (st manifest.Stand, c string, err error) {
	err = db.Query(`SELECT epoch, sequence, digest, baseline, cursor, pending_sequence IS NOT NULL,
		pending_epoch, pending_sequence, pending_digest, pending_kind, pending_cursor
		FROM caisseauto_stream WHERE stream=?1`, func(r *sqlite3.Stmt) error {
		st.Last = manifest.Position{Epoch: r.Int(0), Sequence: r.Int(1), Digest: r.Text(2)}
		st.Baseline, c = r.Int(3), r.Text(4)
		if r.Int(5) != 0 {
			st.Pending = &manifest.Pending{
				Position: manifest.Position{Epoch: r.Int(6), Sequence: r.Int(7), Digest: r.Text(8)},
				Kind:     manifest.Kind(r.Text(9)), Cursor: r.Text(10),
			}
		}
		return nil
	}, stream)
	return st, c, err
}

// Reserve records durably, before anything is signed, that the number of p
// belongs to that content and to no other. It fails when another batch waits
// to be published, or when the stream no longer stands where p continues it.
// To reserve the same once more is no error.
func (s *Source) Reserve(ctx context.Context, stream string, p manifest.Pending) error {
	return s.write(ctx, func(db *sqlite3.Conn) error {
		st, _, err := stand(db, stream)
		if err != nil {
			return err
		}
		switch {
		case st.Pending != nil && *st.Pending == p:
			return nil
		case st.Pending != nil:
			return fmt.Errorf("stream %s: batch %d of epoch %d waits to be published and nothing else can be sealed before; run the export again",
				stream, st.Pending.Sequence, st.Pending.Epoch)
		case p.Epoch != max(st.Last.Epoch, 1) || p.Sequence != st.Last.Sequence+1 || p.Digest == "":
			return fmt.Errorf("stream %s: batch %d of epoch %d does not follow %d of epoch %d, where the stream stands now; another export was faster, run it again",
				stream, p.Sequence, p.Epoch, st.Last.Sequence, st.Last.Epoch)
		case p.Kind != manifest.Baseline && st.Last.Digest == "" && !s.till:
			return fmt.Errorf("stream %s: the first batch of an epoch must be a baseline", stream)
		}
		if _, err := parseCursor(p.Cursor); err != nil {
			return err
		}
		return changeOne(db, stream, `UPDATE caisseauto_stream SET pending_epoch=?2, pending_sequence=?3, pending_digest=?4,
			pending_kind=?5, pending_cursor=?6 WHERE stream=?1`, p.Epoch, p.Sequence, p.Digest, string(p.Kind), p.Cursor)
	})
}

// changeOne runs an UPDATE of a stream's row, which must be there.
func changeOne(db *sqlite3.Conn, stream, sql string, args ...any) error {
	if err := db.Run(sql, append([]any{stream}, args...)...); err != nil {
		return err
	}
	if db.Changes() != 1 {
		return fmt.Errorf("stream %s is not in caisseauto_stream; run: caisseauto init server", stream)
	}
	return nil
}

// Publish makes the reserved batch p the last one, and then prunes what no
// stream needs any more from the journal. It fails when p is not what was
// reserved; when p is the last one already there is nothing left to do.
func (s *Source) Publish(ctx context.Context, stream string, p manifest.Pending) error {
	err := s.publish(ctx, stream, p, func(db *sqlite3.Conn) error { return rememberPublished(db, stream, p.Position) })
	if err != nil {
		return err
	}
	return s.prune(ctx)
}

// publish does that in one transaction with also.
func (s *Source) publish(ctx context.Context, stream string, p manifest.Pending, also func(*sqlite3.Conn) error) error {
	return s.write(ctx, func(db *sqlite3.Conn) error {
		st, _, err := stand(db, stream)
		if err != nil {
			return err
		}
		if st.Pending == nil && st.Last == p.Position {
			return nil
		}
		if st.Pending == nil || *st.Pending != p {
			return fmt.Errorf("stream %s: batch %d of epoch %d is not the one that was reserved; nothing was changed, run the export again",
				stream, p.Sequence, p.Epoch)
		}
		baseline := st.Baseline
		if p.Kind == manifest.Baseline {
			baseline = p.Sequence
		}
		err = changeOne(db, stream, `UPDATE caisseauto_stream SET epoch=?2, sequence=?3, digest=?4, baseline=?5, cursor=?6,
			pending_epoch=NULL, pending_sequence=NULL, pending_digest=NULL, pending_kind=NULL, pending_cursor=NULL
			WHERE stream=?1`, p.Epoch, p.Sequence, p.Digest, baseline, p.Cursor)
		if err != nil || also == nil {
			return err
		}
		return also(db)
	})
}

// Advance moves the cursor where there was nothing to seal, and prunes. When
// the stream stands there already nothing is written to the ERP's database.
func (s *Source) Advance(ctx context.Context, stream, cursor string) error {
	moved, err := s.advance(ctx, stream, cursor, nil)
	if err != nil || !moved {
		return err
	}
	return s.prune(ctx)
}

// advance moves the cursor in one transaction with also, unless it stands
// there already.
func (s *Source) advance(ctx context.Context, stream, cursor string, also func(*sqlite3.Conn) error) (moved bool, err error) {
	to, err := parseCursor(cursor)
	if err != nil {
		return false, err
	}
	same := false
	err = s.read(ctx, func(db *sqlite3.Conn) error {
		_, now, err := stand(db, stream)
		same = now == cursor
		return err
	})
	if err != nil || same {
		return false, err
	}
	err = s.write(ctx, func(db *sqlite3.Conn) error {
		st, now, err := stand(db, stream)
		if err != nil {
			return err
		}
		from, err := parseCursor(now)
		if err != nil {
			return err
		}
		if st.Pending != nil || from.Seq > to.Seq {
			return fmt.Errorf("stream %s was moved by another export meanwhile; run it again", stream)
		}
		err = changeOne(db, stream, `UPDATE caisseauto_stream SET cursor=?2 WHERE stream=?1`, cursor)
		if err != nil || also == nil {
			return err
		}
		return also(db)
	})
	return true, err
}

// NewEpoch records an operator's decision after a disaster, with its reason:
// the next batch is a baseline of a new epoch, and its epoch and number are
// higher than those of seen and than any that this database has given.
func (s *Source) NewEpoch(ctx context.Context, stream string, seen manifest.Position, reason string) error {
	return s.newEpoch(ctx, stream, seen, reason, nil)
}

// newEpoch does that in one transaction with also.
func (s *Source) newEpoch(ctx context.Context, stream string, seen manifest.Position, reason string, also func(*sqlite3.Conn) error) error {
	return s.write(ctx, func(db *sqlite3.Conn) error {
		st, _, err := stand(db, stream)
		if err != nil {
			return err
		}
		sequence := max(st.Last.Sequence, seen.Sequence)
		if st.Pending != nil { // it may have been signed
			sequence = max(sequence, st.Pending.Sequence)
		}
		epoch := max(st.Last.Epoch, seen.Epoch, 1) + 1
		err = changeOne(db, stream, `UPDATE caisseauto_stream SET epoch=?2, sequence=?3, digest='', baseline=0,
			pending_epoch=NULL, pending_sequence=NULL, pending_digest=NULL, pending_kind=NULL, pending_cursor=NULL
			WHERE stream=?1`, epoch, sequence)
		if err != nil {
			return err
		}
		if also != nil {
			if err := also(db); err != nil {
				return err
			}
		}
		what := fmt.Sprintf("epoch %d begins after batch %d of epoch %d, number %d: %s", epoch, st.Last.Sequence, st.Last.Epoch, sequence+1, reason)
		return db.Run(`INSERT INTO caisseauto_event(at, stream, what) VALUES(strftime('%Y-%m-%dT%H:%M:%SZ','now'), ?1, ?2)`, stream, what)
	})
}

// rememberPublished records a batch of a stream down beside its publication.
func rememberPublished(db *sqlite3.Conn, stream string, p manifest.Position) error {
	if ok, err := Exists(db, "caisseauto_published"); err != nil || !ok {
		return err
	}
	return db.Run(`INSERT INTO caisseauto_published(stream, epoch, sequence, digest) VALUES(?1,?2,?3,?4)
		ON CONFLICT(stream, epoch, sequence) DO UPDATE SET digest=excluded.digest`, stream, p.Epoch, p.Sequence, p.Digest)
}
