package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Stand is [Source.Stand].
func (b *Outbox) Stand(ctx context.Context, stream string) (manifest.Stand, error) {
	if err := b.check(stream); err != nil {
		return manifest.Stand{}, err
	}
	return b.s.Stand(ctx, stream)
}

// Reserve is [Source.Reserve]; no batch of a stream up is a baseline.
func (b *Outbox) Reserve(ctx context.Context, stream string, p manifest.Pending) error {
	if err := b.check(stream); err != nil {
		return err
	}
	return b.s.Reserve(ctx, stream, p)
}

// Publish makes the reserved batch p the last one, and notes how far the
// journal went in it, for the day when a receipt names it. Nothing is pruned.
func (b *Outbox) Publish(ctx context.Context, stream string, p manifest.Pending) error {
	if err := b.check(stream); err != nil {
		return err
	}
	c, err := parseCursor(p.Cursor)
	if err != nil {
		return err
	}
	return b.s.publish(ctx, stream, p, func(db *sqlite3.Conn) error {
		return db.Run(`INSERT OR REPLACE INTO caisseauto_sent(epoch, sequence, digest, cursor) VALUES(?1, ?2, ?3, ?4)`,
			p.Epoch, p.Sequence, p.Digest, c.Seq)
	})
}

// Advance moves the cursor where there was nothing to seal: rows came and went.
// Their entries go with the last batch's receipt.
func (b *Outbox) Advance(ctx context.Context, stream, to string) error {
	if err := b.check(stream); err != nil {
		return err
	}
	c, err := parseCursor(to)
	if err != nil {
		return err
	}
	_, err = b.s.advance(ctx, stream, to, func(db *sqlite3.Conn) error {
		return db.Run(`UPDATE caisseauto_sent SET cursor=?1 WHERE (epoch, sequence) = (SELECT epoch, sequence FROM caisseauto_sent
			ORDER BY epoch DESC, sequence DESC LIMIT 1)`, c.Seq)
	})
	return err
}

// NewEpoch is [Source.NewEpoch]. The database gets another incarnation, and
// its next batch holds everything that no receipt covers, sealed before or not.
func (b *Outbox) NewEpoch(ctx context.Context, stream string, seen manifest.Position, reason string) error {
	if err := b.check(stream); err != nil {
		return err
	}
	return b.s.newEpoch(ctx, stream, seen, reason, func(db *sqlite3.Conn) error {
		c, err := outboxCapture(db, &b.o)
		if err != nil {
			return err
		}
		from := int64(0)
		err = db.Query("SELECT coalesce((SELECT min(seq) - 1 FROM "+c.journal()+"), "+c.newest()+")", func(s *sqlite3.Stmt) error { from = s.Int(0); return nil })
		if err != nil {
			return err
		}
		if err := changeOne(db, stream, `UPDATE caisseauto_stream SET cursor=?2 WHERE stream=?1`, cursor{Seq: from}.String()); err != nil {
			return err
		}
		return db.Exec("UPDATE caisseauto_till SET incarnation=" + newIncarnation)
	})
}

// repair makes what is missing. Where entries are missing that no batch has,
// it journals every row anew, after what is left.
func (b *Outbox) repair(ctx context.Context) error {
	return b.s.write(ctx, func(db *sqlite3.Conn) error {
		p, err := b.o.plan(db)
		if err != nil {
			return err
		}
		if err := p.run(db); err != nil {
			return err
		}
		_, text, err := stand(db, b.stream)
		if err != nil {
			return err
		}
		last, err := parseCursor(text)
		if err != nil {
			return err
		}
		e := &extraction{db: db, capture: p.capture, from: last.Seq}
		broken, err := b.broken(db, p, e)
		if err != nil || !broken {
			return err
		}
		return b.heal(db, p, e)
	})
}

// broken reports whether entries are missing: behind the cursor, or the one
// before it that was closed with a batch.
func (b *Outbox) broken(db *sqlite3.Conn, p *plan, e *extraction) (bool, error) {
	broken, err := e.bounds()
	if err != nil || broken {
		return broken, err
	}
	return p.newestOpen(db, e.from)
}

// heal journals everything again after a hole in the journal. What is left
// behind the cursor comes first: it knows what rows were like before.
func (b *Outbox) heal(db *sqlite3.Conn, p *plan, e *extraction) error {
	keys := ""
	err := db.Query("SELECT name FROM pragma_table_info(?1) WHERE name GLOB 'k[0-9]*'", func(s *sqlite3.Stmt) error {
		keys += ", " + database.Quote(s.Text(0))
		return nil
	}, p.capture.outbox)
	if err != nil {
		return err
	}
	j := p.capture.journal()
	// The numbers begin above every one that was given, and above the cursor.
	start := max(e.to, e.from)
	if err := setNewest(db, p.capture, start); err != nil {
		return err
	}
	err = db.Run(fmt.Sprintf("INSERT INTO %[1]s(seq, tab, mask, at, base%[2]s) SELECT ?2 + row_number() OVER (ORDER BY seq), tab, mask, at, base%[2]s"+
		" FROM %[1]s WHERE seq > ?1 AND seq <= ?2 ORDER BY seq", j, keys), e.from, start)
	if err != nil {
		return err
	}
	again := &plan{capture: p.capture}
	for _, t := range p.tables {
		again.rejournal(t.captured, false, true)
	}
	if err := again.run(db); err != nil {
		return err
	}
	if err := changeOne(db, b.stream, `UPDATE caisseauto_stream SET cursor=?2 WHERE stream=?1`, cursor{Seq: start}.String()); err != nil {
		return err
	}
	return db.Run(`INSERT INTO caisseauto_event(at, stream, what) VALUES(strftime('%Y-%m-%dT%H:%M:%SZ','now'), ?1,
		'entries of the outbox were gone that no batch has; all rows of this till go up once more')`, b.stream)
}

// setNewest records the journal's highest number.
func setNewest(db *sqlite3.Conn, c *Capture, seq int64) error {
	if err := db.Run("UPDATE sqlite_sequence SET seq=?1 WHERE name=?2", seq, c.outbox); err != nil || db.Changes() > 0 {
		return err
	}
	return db.Run("INSERT INTO sqlite_sequence(name, seq) VALUES(?2, ?1)", seq, c.outbox)
}

// incarnation returns the database's name for itself.
func incarnation(db *sqlite3.Conn) (id string, err error) {
	err = db.Query("SELECT incarnation FROM caisseauto_till", func(s *sqlite3.Stmt) error { id = s.Text(0); return nil })
	return id, err
}

// appliedDown returns the last batch of the stream down, nil when there is
// none.
func appliedDown(db *sqlite3.Conn, dossier string) (p *manifest.StreamPosition, err error) {
	if ok, err := Exists(db, "caisseauto_ledger"); err != nil || !ok {
		return nil, err
	}
	stream := manifest.StreamDown(dossier)
	err = db.Query(`SELECT epoch, sequence, digest FROM caisseauto_ledger WHERE stream=?1 ORDER BY epoch DESC, sequence DESC LIMIT 1`,
		func(s *sqlite3.Stmt) error {
			p = &manifest.StreamPosition{Stream: stream, Epoch: s.Int(0), Sequence: s.Int(1), Digest: s.Text(2)}
			return nil
		}, stream)
	return p, err
}

// ready runs work in a read transaction of a prepared database.
func (b *Outbox) ready(ctx context.Context, work func(*sqlite3.Conn) error) error {
	return b.s.read(ctx, func(db *sqlite3.Conn) error {
		ok, err := Exists(db, "caisseauto_till")
		if err != nil {
			return err
		}
		if !ok {
			return b.s.notInstalled()
		}
		return work(db)
	})
}

// Incarnation returns the database's name for itself, which a new epoch
// changes.
func (b *Outbox) Incarnation(ctx context.Context) (id string, err error) {
	err = b.ready(ctx, func(db *sqlite3.Conn) error {
		id, err = incarnation(db)
		return err
	})
	return id, err
}

// Applied returns the last batch of the stream down that was applied, nil when
// there is none.
func (b *Outbox) Applied(ctx context.Context) (p *manifest.StreamPosition, err error) {
	err = b.ready(ctx, func(db *sqlite3.Conn) error {
		p, err = appliedDown(db, b.o.Dossier)
		return err
	})
	return p, err
}

// Waiting is what stands in the outbox, sealed or not, that no receipt covers.
type Waiting struct {
	Rows    int64     // entries: a row that changed twice has two
	Tickets int64     // rows of tables that others are a part of
	Oldest  time.Time // when the oldest entry that says so was written; zero: there is none
}

// Waiting returns what waits in the outbox.
func (b *Outbox) Waiting(ctx context.Context) (w Waiting, err error) {
	err = b.ready(ctx, func(db *sqlite3.Conn) error {
		p, err := b.o.plan(db)
		if err != nil {
			return err
		}
		err = db.Query("SELECT count(*), coalesce(min(at), 0) FROM "+p.capture.journal(), func(s *sqlite3.Stmt) error {
			if w.Rows = s.Int(0); s.Int(1) > 0 {
				w.Oldest = time.Unix(s.Int(1), 0).UTC()
			}
			return nil
		})
		if err == nil {
			w.Tickets, err = p.tickets(db, -1)
		}
		return err
	})
	return w, err
}

// tickets counts the rows of root tables in the journal, up to an entry; -1 is
// all of them.
func (p *plan) tickets(db *sqlite3.Conn, to int64) (n int64, err error) {
	parents := map[string]bool{}
	for _, t := range p.tables {
		parents[foldName(t.up.Parent)] = true
	}
	for _, t := range p.tables {
		if !parents[foldName(t.Name)] || t.up.Parent != "" {
			continue
		}
		d := (&extraction{capture: p.capture}).delta(&extracted{carried: t})
		sql := "SELECT count(*) FROM (SELECT DISTINCT " + d.keys + " FROM " + t.journal + " WHERE tab = ?1 AND (?2 < 0 OR seq <= ?2))"
		if err := db.Query(sql, func(s *sqlite3.Stmt) error { n += s.Int(0); return nil }, t.tab, to); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// State returns a small text that SetState has kept, "" when there is none.
func (b *Outbox) State(ctx context.Context, name string) (value string, err error) {
	err = b.ready(ctx, func(db *sqlite3.Conn) error {
		value, err = state(db, name)
		return err
	})
	return value, err
}

func state(db *sqlite3.Conn, name string) (value string, err error) {
	err = db.Query("SELECT value FROM caisseauto_state WHERE name=?1", func(s *sqlite3.Stmt) error { value = s.Text(0); return nil }, name)
	return value, err
}

// SetState keeps a small text in the database under a name; "" removes it.
// The name "receipt" is the outbox's own.
func (b *Outbox) SetState(ctx context.Context, name, value string) error {
	if name == receiptState {
		return errors.New("the state receipt is the outbox's own")
	}
	return b.s.write(ctx, func(db *sqlite3.Conn) error { return setState(db, name, value) })
}

func setState(db *sqlite3.Conn, name, value string) error {
	if value == "" {
		return db.Run("DELETE FROM caisseauto_state WHERE name=?1", name)
	}
	return db.Run("INSERT INTO caisseauto_state(name, value) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value=excluded.value", name, value)
}
