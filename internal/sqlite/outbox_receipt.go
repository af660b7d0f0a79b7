package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// receiptState is the name under which the last accepted receipt is kept.
const receiptState = "receipt"

// Pruned tells what a receipt let go of.
type Pruned struct {
	Batches int64 // that the receipt covers and the one before it did not
	Rows    int64 // entries that left the outbox
	Tickets int64 // of them rows of tables that others are a part of
	// Ignored says why a good receipt changed nothing; empty when it counts.
	Ignored string
}

// Receipt takes the server's receipt, verified already: it keeps it, and lets
// go of the entries up to the very batch that it names. Nothing else ever
// does. The same receipt once more finishes what a crash has left.
//
// A receipt that is older than the last one, or is for another till, wraps
// [manifest.ErrRefused]; one for a batch that this database never sealed wraps
// [ErrForked]. Both change nothing.
func (b *Outbox) Receipt(ctx context.Context, r *manifest.Receipt) (Pruned, error) {
	var done Pruned
	if r.Stream != b.stream {
		return done, fmt.Errorf("receipt: %w: it is for %s, and this till is %s; nothing was changed", manifest.ErrRefused, r.Stream, b.stream)
	}
	to, moved := int64(0), false
	err := b.s.write(ctx, func(db *sqlite3.Conn) (err error) {
		done, to, moved = Pruned{}, 0, false
		if ok, err := Exists(db, "caisseauto_till"); err != nil {
			return err
		} else if !ok {
			return b.s.notInstalled()
		}
		last, err := received(db)
		if err != nil {
			return err
		}
		if err := newer(r, last); err != nil {
			return err
		}
		if to, done.Ignored, err = b.sealed(db, r); err != nil || done.Ignored != "" {
			return err
		}
		moved = true
		return b.accept(db, r, last, to, &done)
	})
	if err != nil || !moved {
		return done, err
	}
	done.Rows, err = b.pruneUp(ctx, to, r.Integrated)
	return done, err
}

// newer refuses a receipt that does not come after the last one.
func newer(r, last *manifest.Receipt) error {
	if last == nil {
		return nil
	}
	behind := r.Epoch < last.Epoch || r.Epoch == last.Epoch && r.Sequence < last.Sequence
	switch {
	case r.Issue < last.Issue || behind:
		return fmt.Errorf("receipt %d of %s for batch %d: %w: receipt %d for batch %d was accepted already; an old file is served again, nothing was changed",
			r.Issue, r.Stream, r.Sequence, manifest.ErrRefused, last.Issue, last.Sequence)
	case r.Issue == last.Issue && r.Position() != last.Position():
		return fmt.Errorf("receipt %d of %s: %w: another one of this number, for batch %d, was accepted already, this one is for batch %d; nothing was changed; ask the server's operator which one is right",
			r.Issue, r.Stream, manifest.ErrRefused, last.Sequence, r.Sequence)
	}
	return nil
}

// sealed finds the batch that a receipt names, and how far the journal went in
// it.
func (b *Outbox) sealed(db *sqlite3.Conn, r *manifest.Receipt) (to int64, ignored string, err error) {
	digest := ""
	err = db.Query("SELECT digest, cursor FROM caisseauto_sent WHERE epoch=?1 AND sequence=?2", func(s *sqlite3.Stmt) error {
		digest, to = s.Text(0), s.Int(1)
		return nil
	}, r.Epoch, r.Sequence)
	if err != nil || digest == r.Digest && digest != "" {
		return to, "", err
	}
	st, _, err := stand(db, b.stream)
	if err != nil {
		return 0, "", err
	}
	if digest == "" && st.Pending != nil && st.Pending.Position == r.Position() {
		return 0, fmt.Sprintf("batch %d is not recorded as published yet; the next run does that", r.Sequence), nil
	}
	if digest == "" && r.Epoch < st.Last.Epoch {
		return 0, fmt.Sprintf("batch %d is of epoch %d, which is over", r.Sequence, r.Epoch), nil
	}
	what := "this database never sealed it"
	if digest != "" {
		what = fmt.Sprintf("this database sealed %.12s under that number", digest)
	}
	return 0, "", fmt.Errorf("the receipt names batch %d of epoch %d (%.12s) of %s: %w: %s (it stands at batch %d of epoch %d); it was restored from an old backup, or a copy of it runs elsewhere; nothing was removed; when no other copy runs any more, begin a new epoch: caisseauto sync --new-epoch --reason TEXT",
		r.Sequence, r.Epoch, r.Digest, b.stream, ErrForked, what, st.Last.Sequence, st.Last.Epoch)
}

// accept keeps a receipt and what follows from it, but for the entries.
func (b *Outbox) accept(db *sqlite3.Conn, r, last *manifest.Receipt, to int64, done *Pruned) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := setState(db, receiptState, string(text)); err != nil {
		return err
	}
	if err := db.Run("DELETE FROM caisseauto_sent WHERE (epoch, sequence) < (?1, ?2)", r.Epoch, r.Sequence); err != nil {
		return err
	}
	done.Batches = db.Changes() + 1
	if last != nil { // its own row was still there
		if done.Batches--; last.Position() == r.Position() {
			done.Batches = 0
		}
	}
	// A new epoch may have gone back behind what is delivered.
	_, now, err := stand(db, b.stream)
	if err != nil {
		return err
	}
	c, err := parseCursor(now)
	if err != nil {
		return err
	}
	if c.Seq < to {
		if err := changeOne(db, b.stream, `UPDATE caisseauto_stream SET cursor=?2 WHERE stream=?1`, cursor{Seq: to}.String()); err != nil {
			return err
		}
	}
	p, err := b.o.plan(db)
	if err != nil {
		return err
	}
	done.Tickets, err = p.tickets(db, to)
	return err
}

// pruneUp deletes the entries up to one, in short transactions with pauses, so
// that the POS's writes come in between.
func (b *Outbox) pruneUp(ctx context.Context, to, integrated int64) (rows int64, err error) {
	for {
		start := time.Now()
		n := int64(0)
		err := b.s.write(ctx, func(db *sqlite3.Conn) (err error) {
			n, err = b.pruneChunk(db, to, integrated)
			return err
		})
		rows += n
		if err != nil {
			return rows, fmt.Errorf("%s: the receipt is accepted, but entries of the outbox that it covers are still there: %w; the next run removes them", b.s.path, err)
		}
		if n == 0 {
			return rows, nil
		}
		select {
		case <-ctx.Done():
			return rows, fmt.Errorf("%s: stopped: %w", b.s.path, context.Cause(ctx))
		case <-time.After(time.Since(start)):
		}
	}
}

// pruneChunk deletes the oldest entries. Keys of rows that both sides change
// are remembered until the server's answer is here.
func (b *Outbox) pruneChunk(db *sqlite3.Conn, to, integrated int64) (int64, error) {
	p, err := b.o.plan(db)
	if err != nil {
		return 0, err
	}
	j := p.capture.journal()
	first, highest := int64(0), int64(0)
	err = db.Query("SELECT coalesce((SELECT min(seq) FROM "+j+"), 0), "+p.capture.newest(), func(s *sqlite3.Stmt) error {
		first, highest = s.Int(0), s.Int(1)
		return nil
	})
	if err != nil || first == 0 || first > to {
		return 0, err
	}
	to = min(to, first+pruneChunk-1)
	for _, t := range p.tables {
		if !t.up.both() {
			continue
		}
		keys, err := journaledKeys(db, t.captured, "seq <= ?2 AND tab = ?1", t.tab, to)
		if err != nil {
			return 0, err
		}
		for _, key := range keys {
			if err := db.Run("INSERT INTO caisseauto_pending(tab, key, integrated) VALUES(?1, ?2, ?3)", t.tab, key, integrated); err != nil {
				return 0, err
			}
		}
	}
	if err := db.Run("DELETE FROM "+j+" WHERE seq <= ?1", to); err != nil {
		return 0, err
	}
	n := db.Changes()
	// With its last entry the journal would forget which numbers it gave; see
	// Capture.newest.
	return n, setNewest(db, p.capture, highest)
}

// journaledKeys returns the different keys of a table in the journal, as JSON
// arrays.
func journaledKeys(db *sqlite3.Conn, t *captured, where string, args ...any) (keys []string, err error) {
	list := make([]string, len(t.key))
	for i := range list {
		list[i] = fmt.Sprintf("k%d", i+1)
	}
	places := all(len(list))
	err = db.Query("SELECT DISTINCT "+strings.Join(list, ", ")+" FROM "+t.journal+" WHERE "+where, func(s *sqlite3.Stmt) error {
		keys = append(keys, string(appendPlaces(nil, s, places)))
		return nil
	}, args...)
	return keys, err
}

// Received returns the last receipt that was accepted, nil before the first.
func (b *Outbox) Received(ctx context.Context) (r *manifest.Receipt, err error) {
	err = b.ready(ctx, func(db *sqlite3.Conn) error {
		r, err = received(db)
		return err
	})
	return r, err
}

func received(db *sqlite3.Conn) (*manifest.Receipt, error) {
	text, err := state(db, receiptState)
	if err != nil || text == "" {
		return nil, err
	}
	r := &manifest.Receipt{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, fmt.Errorf("the last receipt, in caisseauto_state of %s: %w", db.Path(), err)
	}
	return r, nil
}
