package collect

import (
	"context"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// Receipt returns what the next receipt of a stream says, all but who signs
// it and when, and whether it says anything that the one that was shipped
// last did not. It is nil while nothing was integrated.
func (c *Collector) Receipt(ctx context.Context, stream string) (_ *manifest.Receipt, due bool, err error) {
	if err := c.asked(ctx); err != nil {
		return nil, false, err
	}
	var r *manifest.Receipt
	err = c.db.Snapshot(ctx, func() (err error) { r, due, err = c.nextReceipt(ctx, stream); return err })
	return r, due, c.finish(ctx, err)
}

func (c *Collector) nextReceipt(ctx context.Context, stream string) (_ *manifest.Receipt, due bool, err error) {
	r := &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: stream, Totals: []manifest.Total{}, Held: []manifest.Held{}}
	found := false
	err = c.db.Query(ctx, "SELECT incarnation, issue, shipped, integrated FROM caisseauto_collected WHERE stream=?1", func(s database.Row) error {
		found = true
		r.Incarnation, r.Issue, r.Integrated = s.Text(0), s.Int(1), s.Int(3)
		due = s.Int(1) > s.Int(2)
		return nil
	}, stream)
	if err != nil || !found {
		return nil, false, err
	}
	p, err := c.ledger.Position(ctx, stream)
	if err != nil || p.IsZero() {
		return nil, false, err
	}
	r.Epoch, r.Sequence, r.Digest = p.Epoch, p.Sequence, p.Digest
	totals, err := c.totals(ctx, stream)
	if err != nil {
		return nil, false, err
	}
	r.Totals = append(r.Totals, totals...)
	err = c.db.Query(ctx, `SELECT CAST(coalesce(sum(rows) FILTER (WHERE state='waiting'), 0) AS BIGINT),
		CAST(coalesce(sum(rows) FILTER (WHERE state='discarded'), 0) AS BIGINT)
		FROM caisseauto_quarantine WHERE stream=?1`, func(s database.Row) error { r.Waiting, r.Discarded = s.Int(0), s.Int(1); return nil }, stream)
	if err != nil {
		return nil, false, err
	}
	// What waits comes before what is closed: a till can do something about it.
	err = c.db.Query(ctx, `SELECT sequence, tab, key, rows, reason, coalesce(closed, '') FROM (
		SELECT * FROM caisseauto_quarantine WHERE stream=?1 AND state<>'integrated' ORDER BY state='discarded', id LIMIT ?2) AS held ORDER BY id`,
		func(s database.Row) error {
			r.Held = append(r.Held, manifest.Held{Sequence: s.Int(0), Table: s.Text(1), Key: s.Text(2), Rows: s.Int(3), Reason: s.Text(4), Closed: s.Text(5)})
			return nil
		}, stream, manifest.MaxHeld)
	return r, due, err
}

// ReceiptDone records that the receipt with that issue was shipped.
func (c *Collector) ReceiptDone(ctx context.Context, stream string, issue int64) error {
	return c.write(ctx, "", func() error {
		return c.db.Run(ctx, "UPDATE caisseauto_collected SET shipped=?2 WHERE stream=?1 AND shipped<?2", stream, issue)
	})
}

// RenewReceipts makes the receipts of a dossier's tills due once more: with a
// new number, because they are to be signed by another key.
func (c *Collector) RenewReceipts(ctx context.Context, dossier string) error {
	return c.write(ctx, "", func() error {
		return c.db.Run(ctx, "UPDATE caisseauto_collected SET issue=issue+1 WHERE dossier=?1", dossier)
	})
}
