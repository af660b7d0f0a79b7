package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// twins returns an alarm for every other till whose database is the same one.
func (c *Collector) twins(ctx context.Context, stream, incarnation string) (list []alarm, err error) {
	if incarnation == "" {
		return nil, nil
	}
	_, till, _ := splitUp(stream)
	err = c.db.Query(ctx, `SELECT dossier, till, host FROM caisseauto_collected WHERE stream<>?1 AND (incarnation=?2 OR head_incarnation=?2)`,
		func(s database.Row) error {
			list = append(list, alarm{AlarmFork, fmt.Sprintf("till %s and till %s of dossier %s%s have one database (%s): one was made from the other's image; begin a new epoch on one of them",
				till, s.Text(1), s.Text(0), at(s.Text(2)), incarnation)})
			return nil
		}, stream, incarnation)
	return list, err
}

func at(host string) string {
	if host == "" {
		return ""
	}
	return " on " + host
}

// A seenHead is what was recorded of a till's head.
type seenHead struct {
	file        string // digest of the file
	issue       int64
	at          manifest.Position
	host        string
	incarnation string
}

func (c *Collector) seenHead(ctx context.Context, stream string) (h seenHead, err error) {
	err = c.db.Query(ctx, `SELECT head_digest, head_issue, head_epoch, head_sequence, head_manifest, host, head_incarnation
		FROM caisseauto_collected WHERE stream=?1`, func(s database.Row) error {
		h = seenHead{file: s.Text(0), issue: s.Int(1), at: manifest.Position{Epoch: s.Int(2), Sequence: s.Int(3), Digest: s.Text(4)},
			host: s.Text(5), incarnation: s.Text(6)}
		return nil
	}, stream)
	return h, err
}

// SaveTill records what a till's verified head says of it. Digest is that of
// the head's file, by which a poll sees that nothing is new. It returns the
// alarms that it raised: the till says what contradicts what is known here.
// A head that was recorded already changes nothing.
func (c *Collector) SaveTill(ctx context.Context, dossier, till string, h *manifest.Head, digest string) ([]Alarm, error) {
	stream := manifest.StreamUp(dossier, till)
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	if before, err := c.seenHead(ctx, stream); err != nil || before.file == digest && digest != "" {
		return nil, c.finish(ctx, err)
	}
	var found []alarm
	_, err := c.db.Locked(ctx, stream, func() error {
		if err := c.known(ctx, stream); err != nil {
			return err
		}
		before, err := c.seenHead(ctx, stream)
		if err != nil {
			return err
		}
		if found, err = c.contradictions(ctx, stream, before, h); err != nil {
			return err
		}
		if h.Issue >= before.issue {
			if err := c.saveTill(ctx, stream, h, digest); err != nil {
				return err
			}
		}
		return c.raiseAll(ctx, dossier, till, found)
	})
	var list []Alarm
	for _, a := range found {
		list = append(list, Alarm{At: c.stamp(), Dossier: dossier, Till: till, Kind: a.kind, Text: a.text})
	}
	return list, c.finish(ctx, err)
}

func (c *Collector) saveTill(ctx context.Context, stream string, h *manifest.Head, digest string) error {
	s := manifest.TillState{}
	if h.Till != nil {
		s = *h.Till
	}
	if s.Applied == nil {
		s.Applied = &manifest.StreamPosition{}
	}
	oldest := ""
	if !s.OldestWaiting.IsZero() {
		oldest = s.OldestWaiting.UTC().Format(time.RFC3339)
	}
	alarms, err := json.Marshal(append([]string{}, s.Alarms...))
	if err != nil {
		return err
	}
	return c.db.Run(ctx, `UPDATE caisseauto_collected SET seen_at=?2, head_digest=?3, head_issue=?4, head_issued=?5, head_epoch=?6, head_sequence=?7,
		head_manifest=?8, head_incarnation=?9, applied_epoch=?10, applied_sequence=?11, applied_digest=?12, host=?13, version=?14,
		waiting=?15, oldest_waiting=?16, free_bytes=?17, alarms=?18 WHERE stream=?1`,
		stream, c.stamp(), digest, h.Issue, h.Issued.UTC().Format(time.RFC3339), h.Epoch, h.Sequence, h.Digest, s.Incarnation,
		s.Applied.Epoch, s.Applied.Sequence, s.Applied.Digest, s.Host, s.Version, s.Waiting, oldest, s.FreeBytes, string(alarms))
}

// contradictions finds what a head says that cannot be, with one database
// behind it.
func (c *Collector) contradictions(ctx context.Context, stream string, before seenHead, h *manifest.Head) ([]alarm, error) {
	_, till, _ := splitUp(stream)
	var list []alarm
	s := manifest.TillState{}
	if h.Till != nil {
		s = *h.Till
	}
	fork := func(format string, args ...any) {
		who := fmt.Sprintf(" (this head: database %s%s; before: database %s%s)", s.Incarnation, at(s.Host), before.incarnation, at(before.host))
		list = append(list, alarm{AlarmFork, fmt.Sprintf("till %s: ", till) + fmt.Sprintf(format, args...) + who})
	}
	last, err := c.ledger.Position(ctx, stream)
	if err != nil {
		return nil, err
	}
	sealed := ""
	err = c.db.Query(ctx, "SELECT digest FROM caisseauto_ledger WHERE stream=?1 AND epoch=?2 AND sequence=?3",
		func(s database.Row) error { sealed = s.Text(0); return nil }, stream, h.Epoch, h.Sequence)
	if err != nil {
		return nil, err
	}
	created := "" // by the till's own clock, as the head's time is
	err = c.db.Query(ctx, "SELECT created FROM caisseauto_ledger WHERE stream=?1 AND epoch=?2 AND sequence=?3",
		func(s database.Row) error { created = s.Text(0); return nil }, stream, last.Epoch, last.Sequence)
	if err != nil {
		return nil, err
	}
	// A till that was switched off between a batch and its head left the head
	// of before, which nobody may have seen yet: that is no contradiction.
	sealedAt, _ := time.Parse(time.RFC3339Nano, created)
	same := func(p manifest.Position) bool { return p.Epoch == h.Epoch && p.Sequence == h.Sequence }
	older := func(p manifest.Position) bool {
		return h.Epoch < p.Epoch || h.Epoch == p.Epoch && h.Sequence < p.Sequence
	}
	switch {
	case sealed != "" && sealed != h.Digest:
		fork("its head %d names another batch %d than the one integrated here: two databases seal as this till, or it was restored", h.Issue, h.Sequence)
	case same(before.at) && h.Digest != before.at.Digest:
		fork("its heads %d and %d name two different batches %d: two databases seal as this till, or it was restored", before.issue, h.Issue, h.Sequence)
	case h.Issue == before.issue && h.Position() != before.at:
		fork("two different heads bear the issue %d: two databases seal as this till, or it was restored", h.Issue)
	case h.Issue > before.issue && older(before.at):
		fork("its head %d stands at batch %d, and the older head %d stood at batch %d already: two databases seal as this till, or it was restored",
			h.Issue, h.Sequence, before.issue, before.at.Sequence)
	case h.Issue >= before.issue && older(last) && h.Issued.After(sealedAt):
		fork("its head %d stands at batch %d, and batch %d is integrated here already: two databases seal as this till, or it was restored",
			h.Issue, h.Sequence, last.Sequence)
	}
	twins, err := c.twins(ctx, stream, s.Incarnation)
	if err != nil {
		return nil, err
	}
	list = append(list, twins...)
	ahead, err := c.ahead(ctx, till, s.Applied)
	return append(list, ahead...), err
}

// ahead returns an alarm when a till has applied a batch that this server did
// not publish.
func (c *Collector) ahead(ctx context.Context, till string, p *manifest.StreamPosition) ([]alarm, error) {
	if p == nil {
		return nil, nil
	}
	published := ""
	err := c.db.Query(ctx, "SELECT digest FROM caisseauto_published WHERE stream=?1 AND epoch=?2 AND sequence=?3",
		func(s database.Row) error { published = s.Text(0); return nil }, p.Stream, p.Epoch, p.Sequence)
	if err != nil {
		return nil, err
	}
	if published == p.Digest {
		return nil, nil
	}
	if published == "" {
		// Batches from before this table are not in it. The stream's own
		// last one tells those from what never was.
		st, ok, err := c.db.Stand(ctx, p.Stream)
		if err != nil || !ok {
			return nil, err
		}
		if last := st.Last; p.Epoch < last.Epoch || p.Epoch == last.Epoch && p.Sequence < last.Sequence || last == p.Position() {
			return nil, nil
		}
		if st.Pending != nil && st.Pending.Position == p.Position() {
			return nil, nil
		}
	}
	return []alarm{{AlarmAhead, fmt.Sprintf("till %s has applied a batch %d of epoch %d of %s that this server did not publish: this database was restored, or the key is in two hands",
		till, p.Sequence, p.Epoch, p.Stream)}}, nil
}

// A TillStatus is what is known of one till.
type TillStatus struct {
	Dossier, Till string
	Integrated    manifest.Position // of its stream up, here
	Announced     manifest.Position // of the same, by its newest head
	Applied       manifest.Position // of the stream down, by its newest head
	Head          string            // digest of that head's file, empty: none was seen
	HeadIssue     int64
	HeadIssued    string
	SeenAt        string // when that head was seen first
	Host, Version string
	Incarnation   string
	Waiting       int64 // rows in its outbox
	OldestWaiting string
	FreeBytes     int64
	Says          []string // what it says is wrong
	Quarantined   int64    // rows that wait here
	Units         int64    // in so many units
	Discarded     int64
	Alarms        int64 // that stand here
	ReceiptDue    bool
}

// Tills returns what is known of a dossier's tills, by their numbers.
func (c *Collector) Tills(ctx context.Context, dossier string) ([]TillStatus, error) {
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	var list []TillStatus
	err := c.db.Query(ctx, `SELECT c.till, c.head_epoch, c.head_sequence, c.head_manifest, c.applied_epoch, c.applied_sequence, c.applied_digest,
		c.head_digest, c.head_issue, c.head_issued, c.seen_at, c.host, c.version,
		CASE c.head_incarnation WHEN '' THEN c.incarnation ELSE c.head_incarnation END, c.waiting, c.oldest_waiting, c.free_bytes, c.alarms,
		coalesce(q.rows, 0), coalesce(q.units, 0), coalesce(q.discarded, 0), coalesce(a.n, 0), CASE WHEN c.issue > c.shipped THEN 1 ELSE 0 END
		FROM caisseauto_collected AS c
		LEFT JOIN (SELECT stream, CAST(sum(rows) FILTER (WHERE state='waiting') AS BIGINT) AS rows, count(*) FILTER (WHERE state='waiting') AS units,
			CAST(sum(rows) FILTER (WHERE state='discarded') AS BIGINT) AS discarded FROM caisseauto_quarantine GROUP BY stream) AS q ON q.stream = c.stream
		LEFT JOIN (SELECT dossier, till, count(*) AS n FROM caisseauto_alarm WHERE cleared_at IS NULL GROUP BY dossier, till) AS a
			ON a.dossier = c.dossier AND a.till = c.till
		WHERE c.dossier=?1 ORDER BY c.till`, func(s database.Row) error {
		t := TillStatus{Dossier: dossier, Till: s.Text(0), Announced: manifest.Position{Epoch: s.Int(1), Sequence: s.Int(2), Digest: s.Text(3)},
			Applied: manifest.Position{Epoch: s.Int(4), Sequence: s.Int(5), Digest: s.Text(6)}, Head: s.Text(7), HeadIssue: s.Int(8),
			HeadIssued: s.Text(9), SeenAt: s.Text(10), Host: s.Text(11), Version: s.Text(12), Incarnation: s.Text(13), Waiting: s.Int(14),
			OldestWaiting: s.Text(15), FreeBytes: s.Int(16), Quarantined: s.Int(18), Units: s.Int(19), Discarded: s.Int(20), Alarms: s.Int(21), ReceiptDue: s.Int(22) != 0}
		list = append(list, t)
		return json.Unmarshal(s.Bytes(17), &list[len(list)-1].Says)
	}, dossier)
	for i := range list {
		if err != nil {
			break
		}
		list[i].Integrated, err = c.ledger.Position(ctx, manifest.StreamUp(dossier, list[i].Till))
	}
	return list, c.finish(ctx, err)
}
