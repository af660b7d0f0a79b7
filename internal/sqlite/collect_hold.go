package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// holdChunk is how much of a unit's rows, or of an archive, stands in one row
// of caisseauto_quarantine_row.
const holdChunk = 256 << 10

// openUnit writes the row of a unit that goes into quarantine.
func (r *collectRun) openUnit(table, key string, rows int64, reason string) (int64, error) {
	err := r.apply.run(`INSERT INTO caisseauto_quarantine(at, stream, dossier, till, epoch, sequence, tab, key, rows, reason)
		VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)`, r.c.stamp(), r.stream, r.dossier, r.till, r.at.Epoch, r.at.Sequence, table, key, rows, words(reason))
	return r.c.t.conn.LastRowid(), err
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
	r    *collectRun
	unit int64
	n    int
	op   *collectOp
	buf  []byte
}

func (q *quarantined) add(op *collectOp, row []change.Value) error {
	if op != q.op || len(q.buf) >= holdChunk {
		if err := q.flush(); err != nil {
			return err
		}
		q.op, q.buf = op, change.AppendHeader(q.buf[:0], *op.header)
	}
	q.buf = change.AppendRow(q.buf, row)
	return nil
}

func (q *quarantined) flush() error {
	if q.op == nil {
		return nil
	}
	shape, err := json.Marshal(q.op.table.sent)
	if err != nil {
		return err
	}
	q.n++
	op := q.op
	q.op = nil
	if err := q.r.apply.run("INSERT INTO caisseauto_quarantine_row(unit, n, shape, data) VALUES(?1,?2,?3,?4)", q.unit, q.n, string(shape), q.buf); err != nil {
		return fmt.Errorf("keeping rows of table %s: %w", database.Quote(op.table.sent.Name), err)
	}
	return nil
}

// bases adds the rows of a table as they were before the till changed them:
// all of them, or those of the keys.
func (q *quarantined) bases(t *collectTable, keys ...[]byte) error {
	if !q.r.bases || t.base == nil {
		return nil
	}
	add := func(s *sqlite3.Stmt) error {
		row, _, err := decodeRow(nil, append([]byte(nil), s.Bytes(0)...), len(t.base.header.Columns))
		if err != nil {
			return err
		}
		return q.add(t.base, row)
	}
	const sql = "SELECT data FROM temp.caisseauto_base WHERE tab=?1"
	if keys == nil {
		return q.r.c.t.conn.Query(sql, add, t.number)
	}
	for _, key := range keys {
		if err := q.r.c.t.conn.Query(sql+" AND key=?2", add, t.number, key); err != nil {
			return err
		}
	}
	return nil
}

// quarantine keeps the units that were refused, in the order of the batch.
func (r *collectRun) quarantine(refused map[int64]*refusedRow) error {
	counts, firsts := map[string]int{}, map[string]string{}
	r.reason = ""
	for _, id := range slices.Sorted(maps.Keys(refused)) {
		ref := refused[id]
		if r.reason == "" {
			r.reason = words(ref.reason)
		}
		if ref.alarm != "" {
			if counts[ref.alarm]++; counts[ref.alarm] == 1 {
				firsts[ref.alarm] = ref.reason
			}
		}
		if err := r.holdUnit(id, ref); err != nil {
			return err
		}
	}
	for kind, n := range counts {
		// One for a batch: a till that has gone mad would drown all others.
		r.alarm(kind, "batch %d of till %s: %s, in quarantine now: %s", r.at.Sequence, r.till, plural(n, "unit"), firsts[kind])
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
func (r *collectRun) holdUnit(unit int64, ref *refusedRow) error {
	table, key, rows := "", "", int64(0)
	err := r.members(unit, func(op *collectOp, row []change.Value) error {
		if rows == 0 {
			table, key = op.header.Table, op.shownKey(row)
		}
		rows++
		return nil
	})
	if err != nil {
		return err
	}
	id, err := r.openUnit(table, key, rows, ref.reason)
	if err != nil {
		return err
	}
	q := quarantined{r: r, unit: id}
	err = r.members(unit, func(op *collectOp, row []change.Value) error {
		if len(op.key) == 0 {
			return nil
		}
		values := make([]change.Value, len(op.key))
		for j, i := range op.key {
			values[j] = row[i]
		}
		return q.bases(op.table, appendKey(nil, values))
	})
	if err != nil {
		return err
	}
	err = r.members(unit, func(op *collectOp, row []change.Value) error {
		op.addTo(op.held, row)
		return q.add(op, row)
	})
	if err != nil {
		return err
	}
	r.apply.res.Quarantined += rows
	if ref.conflict != nil {
		r.apply.res.Conflicts++
		if err := r.record(ref.conflict); err != nil {
			return err
		}
	}
	return q.flush()
}

// Hold puts a batch into quarantine that is the till's and follows the one
// before it, but whose archive cannot be read. Cause says why. Its bytes,
// which stand in folder dir, are kept as they are, and the position moves on.
func (c *Collector) Hold(ctx context.Context, m *manifest.Manifest, p manifest.Position, dir string, cause error) error {
	if err := c.ready(); err != nil {
		return err
	}
	r, err := c.newRun(ctx, m.Stream, p, nil, func() *manifest.Tally { return manifest.NewTally(nil) })
	if err != nil {
		return c.finish(ctx, err)
	}
	defer r.close()
	for _, member := range m.Members {
		r.apply.res.Rows += member.Rows
	}
	reason := fmt.Sprintf("the archive %s cannot be read: %v", m.Archive.Name, cause)
	_, err = r.commit(func() error { return c.expect(m, p) }, func() error {
		id, err := r.openUnit("", "", r.apply.res.Rows, strings.ReplaceAll(reason, "; nothing of it was applied", ""))
		if err != nil {
			return err
		}
		r.apply.res.Quarantined = r.apply.res.Rows
		r.alarm(AlarmBatch, "batch %d of till %s is in quarantine whole: %s", p.Sequence, r.till, reason)
		return r.holdFile(id, filepath.Join(dir, m.Archive.Name))
	}, func() error {
		if err := c.t.record(m, p, r.apply.res); err != nil {
			return err
		}
		// The numbers have come, whatever is to be read of them.
		for _, total := range m.Totals {
			numbers, err := manifest.ParseRanges(total.Numbers)
			if err != nil {
				return err
			}
			r.tables = append(r.tables, &collectTable{sent: manifest.Table{Name: total.Table}, up: database.FindUpload(r.uploads, total.Table), numbers: numbers})
		}
		return r.conclude(m)
	})
	return c.finish(ctx, err)
}

// holdFile keeps the bytes of a file with a unit.
func (r *collectRun) holdFile(unit int64, path string) error {
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
			if err := r.apply.run("INSERT INTO caisseauto_quarantine_row(unit, n, shape, data) VALUES(?1,?2,'',?3)", unit, n, buf[:k]); err != nil {
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
