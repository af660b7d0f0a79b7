package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// holdChunk is how much of a unit's rows, or of an archive, stands in one row
// of caisseauto_quarantine_row.
const holdChunk = 256 << 10

// openUnit writes the row of a unit that goes into quarantine.
func (r *Run) openUnit(table, key string, rows int64, reason string) (id int64, err error) {
	err = r.c.db.Query(r.ctx, `INSERT INTO caisseauto_quarantine(at, stream, dossier, till, epoch, sequence, tab, key, rows, reason)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) RETURNING id`, func(s database.Row) error { id = s.Int(0); return nil },
		r.c.stamp(), r.Stream, r.Dossier, r.Till, r.At.Epoch, r.At.Sequence, words(table), key, rows, words(reason))
	return id, err
}

// words returns text as a receipt can say it: on one line, without what a
// terminal would take for a command. A trigger of the ERP may say anything.
func words(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
}

// A quarantined writes the rows of a unit, as members of an archive.
type quarantined struct {
	r    *Run
	unit int64
	n    int
	op   *Op
	buf  []byte
}

func (q *quarantined) add(op *Op, row []change.Value) error {
	if op != q.op || len(q.buf) >= holdChunk {
		if err := q.flush(); err != nil {
			return err
		}
		q.op, q.buf = op, change.AppendHeader(q.buf[:0], *op.Header)
	}
	q.buf = change.AppendRow(q.buf, row)
	return nil
}

func (q *quarantined) flush() error {
	if q.op == nil {
		return nil
	}
	sent := q.op.Table.Sent
	shape, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	q.n++
	q.op = nil
	err = q.r.c.db.Run(q.r.ctx, "INSERT INTO caisseauto_quarantine_row(unit, n, shape, data) VALUES(?1,?2,?3,?4)", q.unit, q.n, string(shape), q.buf)
	if err != nil {
		return fmt.Errorf("keeping rows of table %s: %w", database.Quote(sent.Name), err)
	}
	return nil
}

// bases adds the rows of a table as they were before the till changed them:
// all of them, or the one of the key of a row of op.
func (q *quarantined) bases(t *Table, op *Op, row []change.Value) error {
	if t.Base == nil {
		return nil
	}
	return q.r.batch.Bases(t, op, row, func(base []change.Value) error { return q.add(t.Base, base) })
}

// row adds a row that was counted.
func (q *quarantined) row(op *Op, row []change.Value) error {
	op.addTo(op.held, row)
	return q.add(op, row)
}

// holdAll puts the whole batch into quarantine.
func (r *Run) holdAll(reason string) error {
	id, err := r.openUnit("", "", r.Res.Rows, reason)
	if err != nil {
		return err
	}
	q := quarantined{r: r, unit: id}
	for _, t := range r.Tables {
		if err := q.bases(t, nil, nil); err != nil {
			return err
		}
	}
	if err := r.batch.Each(q.row); err != nil {
		return err
	}
	r.Res.Quarantined = r.Res.Rows
	r.alarm(AlarmBatch, "batch %d of till %s is in quarantine whole: %s", r.At.Sequence, r.Till, strings.TrimSpace(reason))
	return q.flush()
}

// A Unit is rows that are taken in together or not at all.
type Unit struct {
	// Members calls work for its rows, parents first.
	Members func(work func(op *Op, row []change.Value) error) error
	Refused *Refused
}

// Quarantine keeps the units that were refused, in the order of the batch.
// The transaction is open.
func (r *Run) Quarantine(units []Unit) error {
	var kinds []string
	counts, firsts := map[string]int{}, map[string]string{}
	r.reason = ""
	for _, u := range units {
		if r.reason == "" {
			r.reason = words(u.Refused.Reason)
		}
		if kind := u.Refused.Alarm; kind != "" {
			if counts[kind]++; counts[kind] == 1 {
				kinds = append(kinds, kind)
				firsts[kind] = u.Refused.Reason
			}
		}
		if err := r.holdUnit(u); err != nil {
			return err
		}
	}
	for _, kind := range kinds {
		// One for a batch: a till that has gone mad would drown all others.
		r.alarm(kind, "batch %d of till %s: %s, in quarantine now: %s", r.At.Sequence, r.Till, plural(counts[kind], "unit"), firsts[kind])
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// holdUnit puts one unit of the batch into quarantine.
func (r *Run) holdUnit(u Unit) error {
	table, key, rows := "", "", int64(0)
	err := u.Members(func(op *Op, row []change.Value) error {
		if rows == 0 {
			table, key = op.Header.Table, op.shownKey(row)
		}
		rows++
		return nil
	})
	if err != nil {
		return err
	}
	id, err := r.openUnit(table, key, rows, u.Refused.Reason)
	if err != nil {
		return err
	}
	q := quarantined{r: r, unit: id}
	err = u.Members(func(op *Op, row []change.Value) error {
		if len(op.Key) == 0 {
			return nil
		}
		return q.bases(op.Table, op, row)
	})
	if err != nil {
		return err
	}
	if err := u.Members(q.row); err != nil {
		return err
	}
	r.Res.Quarantined += rows
	if u.Refused.Conflict != nil {
		r.Res.Conflicts++
		if err := r.record(u.Refused.Conflict); err != nil {
			return err
		}
	}
	return q.flush()
}

// Hold puts a batch into quarantine that is the till's and follows the one
// before it, but whose archive cannot be read. Cause says why. Its bytes,
// which stand in folder dir, are kept as they are, and the position moves on.
func (c *Collector) Hold(ctx context.Context, m *manifest.Manifest, p manifest.Position, dir string, cause error) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	r, err := c.newRun(ctx, m.Stream, p, nil, func() *manifest.Tally { return manifest.NewTally(nil) })
	if err != nil {
		return c.finish(ctx, err)
	}
	defer r.batch.Close()
	for _, member := range m.Members {
		r.Res.Rows += member.Rows
	}
	// The numbers have come, whatever is to be read of them.
	for _, total := range m.Totals {
		numbers, err := manifest.ParseRanges(total.Numbers)
		if err != nil {
			return err
		}
		r.Tables = append(r.Tables, &Table{Sent: manifest.Table{Name: total.Table}, Upload: database.FindUpload(r.Uploads, total.Table), numbers: numbers})
	}
	reason := fmt.Sprintf("the archive %s cannot be read: %v", m.Archive.Name, cause)
	_, err = r.locked(func() error { return c.expect(ctx, m, p) }, func() error {
		id, err := r.openUnit("", "", r.Res.Rows, strings.ReplaceAll(reason, "; nothing of it was applied", ""))
		if err != nil {
			return err
		}
		r.Res.Quarantined = r.Res.Rows
		r.alarm(AlarmBatch, "batch %d of till %s is in quarantine whole: %s", p.Sequence, r.Till, reason)
		return r.holdFile(id, filepath.Join(dir, m.Archive.Name))
	}, func() error {
		if err := c.ledger.Record(ctx, m, p, r.Res); err != nil {
			return err
		}
		return r.conclude(m)
	})
	return c.finish(ctx, err)
}

// holdFile keeps the bytes of a file with a unit.
func (r *Run) holdFile(unit int64, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the name is in the reason
	}
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, holdChunk)
	for n := 1; ; n++ {
		k, err := io.ReadFull(f, buf)
		if k > 0 {
			if err := r.c.db.Run(r.ctx, "INSERT INTO caisseauto_quarantine_row(unit, n, shape, data) VALUES(?1,?2,'',?3)", unit, n, buf[:k]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
