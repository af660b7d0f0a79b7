package sqlite

import (
	"context"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Receipt returns what the next receipt of a stream says, all but who signs
// it and when, and whether it says anything that the one that was shipped
// last did not. It is nil while nothing was integrated.
func (c *Collector) Receipt(ctx context.Context, stream string) (_ *manifest.Receipt, due bool, err error) {
	if err := c.asked(ctx); err != nil {
		return nil, false, err
	}
	// One snapshot, so that all of it belongs together.
	if err := c.t.conn.Exec("BEGIN"); err != nil {
		return nil, false, environment(err)
	}
	defer func() { _ = c.t.rollback() }() // it only read
	r := &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: stream, Totals: []manifest.Total{}, Held: []manifest.Held{}}
	found := false
	err = c.t.conn.Query("SELECT incarnation, issue, shipped, integrated FROM caisseauto_collected WHERE stream=?1", func(s *sqlite3.Stmt) error {
		found = true
		r.Incarnation, r.Issue, r.Integrated = s.Text(0), s.Int(1), s.Int(3)
		due = s.Int(1) > s.Int(2)
		return nil
	}, stream)
	if err != nil || !found {
		return nil, false, environment(err)
	}
	p, err := c.t.position(stream)
	if err != nil || p.IsZero() {
		return nil, false, environment(err)
	}
	r.Epoch, r.Sequence, r.Digest = p.Epoch, p.Sequence, p.Digest
	totals, err := c.totals(stream)
	if err != nil {
		return nil, false, environment(err)
	}
	r.Totals = append(r.Totals, totals...)
	err = c.t.conn.Query(`SELECT coalesce(sum(rows) FILTER (WHERE state='waiting'), 0), coalesce(sum(rows) FILTER (WHERE state='discarded'), 0)
		FROM caisseauto_quarantine WHERE stream=?1`, func(s *sqlite3.Stmt) error { r.Waiting, r.Discarded = s.Int(0), s.Int(1); return nil }, stream)
	if err != nil {
		return nil, false, environment(err)
	}
	// What waits comes before what is closed: a till can do something about it.
	err = c.t.conn.Query(`SELECT sequence, tab, key, rows, reason, coalesce(closed, '') FROM (
		SELECT * FROM caisseauto_quarantine WHERE stream=?1 AND state<>'integrated' ORDER BY state='discarded', id LIMIT ?2) ORDER BY id`,
		func(s *sqlite3.Stmt) error {
			r.Held = append(r.Held, manifest.Held{Sequence: s.Int(0), Table: s.Text(1), Key: s.Text(2), Rows: s.Int(3), Reason: s.Text(4), Closed: s.Text(5)})
			return nil
		}, stream, manifest.MaxHeld)
	return r, due, environment(err)
}

// ReceiptDone records that the receipt with that issue was shipped.
func (c *Collector) ReceiptDone(ctx context.Context, stream string, issue int64) error {
	return c.write(ctx, func() error {
		return c.t.conn.Run("UPDATE caisseauto_collected SET shipped=max(shipped, ?2) WHERE stream=?1", stream, issue)
	})
}

// RenewReceipts makes the receipts of a dossier's tills due once more: with a
// new number, because they are to be signed by another key.
func (c *Collector) RenewReceipts(ctx context.Context, dossier string) error {
	return c.write(ctx, func() error {
		return c.t.conn.Run("UPDATE caisseauto_collected SET issue=issue+1 WHERE dossier=?1", dossier)
	})
}
