package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"caisseauto/manifest"
)

// shelfSQL makes the shelf: a copy of each sealed batch, from the moment that it
// has its number to the moment that it is known to be on the drop. Whatever
// host dies in between, another one has the same bytes. Archives are in pieces
// that a host can hold in memory, and are not compressed once more.
const shelfSQL = `CREATE TABLE caisseauto.caisseauto_shelf(` + shelfColumns + `);
ALTER TABLE caisseauto.caisseauto_shelf ALTER COLUMN data SET STORAGE EXTERNAL`

const shelfColumns = `stream text NOT NULL, epoch bigint NOT NULL, sequence bigint NOT NULL, file text NOT NULL, piece bigint NOT NULL, data bytea NOT NULL,
		PRIMARY KEY (stream, sequence, file, piece)`

// shelfLargeSQL makes the place for archives of more than one piece, which are
// baselines as a rule. It is UNLOGGED: a crash of the server empties it, and a
// standby has nothing of it. Writing them to the WAL, too, took a fifth of a
// baseline's time, and lost is only what no host has in its outbox any more.
const shelfLargeSQL = `CREATE UNLOGGED TABLE caisseauto.caisseauto_shelf_large(` + shelfColumns + `);
ALTER TABLE caisseauto.caisseauto_shelf_large ALTER COLUMN data SET STORAGE EXTERNAL`

// The files of a batch on the shelf. When it is on the drop, the manifests of the
// newest batch and of the newest baseline stay as those that are settled, with
// their signatures: a head goes with the manifest that it names, and every host
// knows how old the baseline is.
const (
	onShelfArchive   = "archive"
	onShelfManifest  = "manifest"
	onShelfSettled   = "settled"
	onShelfSignature = "signature"
)

// shelfPiece is the size of an archive's pieces in bytes.
const shelfPiece = 1 << 20

// unhurried is for a transaction of which nothing is lost that matters when the
// server crashes within the second.
const unhurried = "SET LOCAL synchronous_commit = off"

// hasHeads reports whether caisseauto_stream has the columns that heads need.
func hasHeads(ctx context.Context, q querier) (ok bool, err error) {
	n, err := number(ctx, q, `SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('caisseauto.caisseauto_stream')
		AND attname IN ('issue', 'oldest') AND NOT attisdropped`)
	return n == 2, err
}

// Shared returns what all hosts that export the stream know between them. What
// is missing for it in a database that was set up before is made.
func (s *Source) Shared(ctx context.Context, stream string) (sh manifest.Shared, err error) {
	complete := false
	read := func(_ *session, tx pgx.Tx) (err error) {
		if err := ready(ctx, tx); err != nil {
			return err
		}
		if complete, err = installed(ctx, tx, "caisseauto_shelf"); err != nil || !complete {
			return err
		}
		if complete, err = installed(ctx, tx, "caisseauto_shelf_large"); err != nil || !complete {
			return err
		}
		if complete, err = hasHeads(ctx, tx); err != nil || !complete {
			return err
		}
		sh, err = shared(ctx, tx, stream)
		return err
	}
	if err := s.read(ctx, read); err != nil || complete {
		return sh, err
	}
	if err := s.repair(ctx, stream); err != nil {
		return sh, err
	}
	return sh, s.read(ctx, read)
}

func shared(ctx context.Context, tx pgx.Tx, stream string) (sh manifest.Shared, err error) {
	var text string
	if sh.Stand, text, err = stand(ctx, tx, stream, ""); err != nil {
		return sh, err
	}
	last, err := parseCursor(text)
	if err != nil {
		return sh, err
	}
	here, err := place(ctx, tx)
	if err != nil {
		return sh, err
	}
	sh.Moved = last.Place != here
	err = tx.QueryRow(ctx, "SELECT issue, oldest FROM caisseauto.caisseauto_stream WHERE stream = $1", stream).Scan(&sh.Issue, &sh.Oldest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return sh, err
	}
	rows, err := tx.Query(ctx, `SELECT m.epoch, m.sequence, m.data,
			(SELECT s.data FROM caisseauto.caisseauto_shelf AS s WHERE s.stream = m.stream AND s.sequence = m.sequence AND s.file = 'signature' AND s.piece = 0), m.file = 'settled'
		FROM caisseauto.caisseauto_shelf AS m WHERE m.stream = $1 AND m.file IN ('manifest', 'settled') ORDER BY m.sequence`, stream)
	if err != nil {
		return sh, err
	}
	sh.Kept, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (k manifest.Kept, err error) {
		err = row.Scan(&k.Epoch, &k.Sequence, &k.Document, &k.Signature, &k.Settled)
		return k, err
	})
	return sh, err
}

// Deposit is Reserve, and puts a copy of the batch's manifest and archive on the
// shelf in the same transaction. Archive opens the archive; it is read in
// pieces, and closed.
func (s *Source) Deposit(ctx context.Context, stream string, p manifest.Pending, document []byte, archive func() (io.ReadCloser, error)) error {
	return s.write(ctx, func(_ *session, tx pgx.Tx) error {
		if again, err := reserve(ctx, tx, stream, p); err != nil || again {
			return err
		}
		const put = `INSERT INTO caisseauto.caisseauto_shelf(stream, epoch, sequence, file, piece, data) VALUES ($1, $2, $3, '` + onShelfManifest + `', 0, $4)`
		if _, err := tx.Exec(ctx, put, stream, p.Epoch, p.Sequence, document); err != nil {
			return err
		}
		f, err := archive()
		if err != nil {
			return err
		}
		defer f.Close()
		rows := &pieces{stream: stream, at: p.Position, archive: bufio.NewReaderSize(f, shelfPiece+1), buf: make([]byte, shelfPiece)}
		table := "caisseauto_shelf"
		if _, err := rows.archive.Peek(shelfPiece + 1); err == nil {
			table = "caisseauto_shelf_large"
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{ourSchema, table}, []string{"stream", "epoch", "sequence", "file", "piece", "data"}, rows)
		if rows.err != nil { // the server only knows that it was told to stop
			return rows.err
		}
		return err
	})
}

// pieces are the rows of an archive on the shelf.
type pieces struct {
	stream  string
	at      manifest.Position
	archive *bufio.Reader
	buf     []byte
	n       int64 // rows so far
	row     []any
	err     error
}

func (p *pieces) Next() bool {
	n, err := io.ReadFull(p.archive, p.buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		p.err = err
	}
	p.row = []any{p.stream, p.at.Epoch, p.at.Sequence, onShelfArchive, p.n, p.buf[:n]}
	p.n++
	return n > 0 && p.err == nil
}

func (p *pieces) Values() ([]any, error) { return p.row, nil }
func (p *pieces) Err() error             { return p.err }

// Signature makes sig the signature of the batch at p, which waits to be
// published, unless another host has signed it before; it returns the one that
// counts. Two good signatures of one key may differ, and a batch has one.
func (s *Source) Signature(ctx context.Context, stream string, p manifest.Position, sig []byte) (counts []byte, err error) {
	err = s.write(ctx, func(_ *session, tx pgx.Tx) error {
		st, _, err := stand(ctx, tx, stream, "FOR UPDATE")
		if err != nil {
			return err
		}
		if st.Pending == nil || st.Pending.Position != p {
			return busy("stream %s: batch %d of epoch %d was finished by another export meanwhile; run it again", stream, p.Sequence, p.Epoch)
		}
		if _, err := tx.Exec(ctx, unhurried); err != nil {
			return err
		}
		const put = `INSERT INTO caisseauto.caisseauto_shelf(stream, epoch, sequence, file, piece, data) VALUES ($1, $2, $3, '` + onShelfSignature + `', 0, $4) ON CONFLICT DO NOTHING`
		if _, err := tx.Exec(ctx, put, stream, p.Epoch, p.Sequence, sig); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT data FROM caisseauto.caisseauto_shelf WHERE stream = $1 AND sequence = $2 AND file = '`+onShelfSignature+`'`,
			stream, p.Sequence).Scan(&counts)
	})
	return counts, err
}

// Archive writes the archive of a batch on the shelf to w; nothing when the
// server has lost it.
func (s *Source) Archive(ctx context.Context, stream string, sequence int64, w io.Writer) error {
	return s.read(ctx, func(_ *session, tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM caisseauto.caisseauto_shelf WHERE stream = $1 AND sequence = $2 AND file = '`+onShelfManifest+`')`,
			stream, sequence).Scan(&there)
		if err == nil && !there {
			err = busy("stream %s: batch %d was taken off the shelf by another export meanwhile; run it again", stream, sequence)
		}
		for _, table := range []string{"caisseauto_shelf", "caisseauto_shelf_large"} {
			if err != nil {
				return err
			}
			var piece []byte
			rows, _ := tx.Query(ctx, `SELECT data FROM caisseauto.`+table+` WHERE stream = $1 AND sequence = $2 AND file = '`+onShelfArchive+`' ORDER BY piece`, stream, sequence)
			_, err = pgx.ForEachRow(rows, []any{(*pgtype.DriverBytes)(&piece)}, func() error {
				_, err := w.Write(piece)
				return err
			})
		}
		return err
	})
}

// TakeOff takes the published batches up to a number off the shelf: they are
// known to be on the drop. Of the newest batch and of the newest baseline what is
// signed stays.
func (s *Source) TakeOff(ctx context.Context, stream string, upTo int64) error {
	const which = ` WHERE k.stream = $1 AND k.sequence <= $2 AND EXISTS (SELECT 1 FROM caisseauto.caisseauto_stream AS s WHERE s.stream = k.stream AND k.sequence <= s.sequence AND `
	const done = which + `(k.sequence NOT IN (s.baseline, s.sequence) OR k.file = '` + onShelfArchive + `'))`
	const settled = which + `k.sequence IN (s.baseline, s.sequence) AND k.file = '` + onShelfManifest + `')`
	var some bool
	err := s.read(ctx, func(_ *session, tx pgx.Tx) error {
		const shelf = "EXISTS (SELECT 1 FROM caisseauto.caisseauto_shelf AS k"
		return tx.QueryRow(ctx, "SELECT "+shelf+done+") OR "+shelf+settled+")", stream, upTo).Scan(&some)
	})
	if err != nil || !some {
		return err
	}
	return s.write(ctx, func(_ *session, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, unhurried); err != nil {
			return err
		}
		for _, sql := range []string{"DELETE FROM caisseauto.caisseauto_shelf_large AS k" + done, "DELETE FROM caisseauto.caisseauto_shelf AS k" + done,
			"UPDATE caisseauto.caisseauto_shelf AS k SET file = '" + onShelfSettled + "'" + settled} {
			if _, err := tx.Exec(ctx, sql, stream, upTo); err != nil {
				return err
			}
		}
		return nil
	})
}

// NextIssue gives out the number of the stream's next head, above any that was
// given before and above the one named, and remembers what that head says is
// the oldest archive that is kept.
func (s *Source) NextIssue(ctx context.Context, stream string, above, oldest int64) (issue int64, err error) {
	err = s.write(ctx, func(_ *session, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `UPDATE caisseauto.caisseauto_stream SET issue = greatest(issue, $2) + 1, oldest = $3 WHERE stream = $1 RETURNING issue`,
			stream, above, oldest).Scan(&issue)
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("stream %s is not in caisseauto_stream; run: caisseauto init server", stream)
		}
		return err
	})
	return issue, err
}
