package postgres

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
)

// A rawRows keeps the rows that are not taken in anyway, as lines of a batch:
// those that a rule refuses, and those that PostgreSQL has no values for.
type rawRows struct {
	rows, bases int64
	buf         []byte
}

// rawSlot is their temporary table.
const rawSlot = "pg_temp.caisseauto_raw"

func (r *rawRows) add(b *collectBatch, op *collect.Op, row []change.Value, unit, own uint64) error {
	if op.Header.Op == change.Base {
		r.bases++
	} else {
		r.rows++
	}
	buf := strconv.AppendInt(r.buf, b.seq, 10)
	buf = strconv.AppendInt(append(buf, '\t'), int64(unit), 10)
	buf = strconv.AppendInt(append(buf, '\t'), int64(own), 10)
	buf = strconv.AppendInt(append(buf, '\t'), int64(op.Number), 10)
	buf = append(buf, '\t', '\\', '\\', 'x')
	b.scratch = change.AppendRow(b.scratch[:0], row)
	buf = hex.AppendEncode(buf, b.scratch)
	if r.buf = append(buf, '\n'); len(r.buf) < b.d.chunk {
		return nil
	}
	return r.flush(b)
}

func (r *rawRows) flush(b *collectBatch) error {
	if len(r.buf) == 0 {
		return nil
	}
	err := b.d.copyIn(b.ctx, bytes.NewReader(r.buf), "COPY "+rawSlot+"(seq, unit, own, op, data) FROM STDIN")
	r.buf = r.buf[:0]
	return err
}

// rawColumns are what decodeRaw reads.
const rawColumns = "seq, op, encode(data, 'hex')"

// decodeRaw gives a raw row back as it came.
func (b *collectBatch) decodeRaw(values [][]byte) (op *collect.Op, row []change.Value, err error) {
	n, err := strconv.Atoi(string(values[1]))
	if err != nil {
		return nil, nil, err
	}
	op = b.run.Ops[n]
	line, err := hex.DecodeString(string(values[2]))
	if err != nil {
		return nil, nil, err
	}
	row = make([]change.Value, len(op.Header.Columns))
	_, err = change.ParseRow(line, row, nil)
	return op, row, err
}

// resolve finds the units of rows whose parents are parts of something
// themselves: they are of their parents' units, where these are in the batch.
func (b *collectBatch) resolve() error {
	deepest := 0
	for _, op := range b.run.Ops {
		deepest = max(deepest, depthOf(op.Table))
	}
	for depth := 2; depth <= deepest; depth++ {
		for _, child := range b.shapes {
			if child.depth == depth {
				if err := b.follow(child.op, child.slot, "true"); err != nil {
					return err
				}
			}
		}
		for _, op := range b.run.Ops {
			if b.raw.rows > 0 && depthOf(op.Table) == depth {
				if err := b.follow(op, rawSlot, fmt.Sprintf("x.op = %d", op.Number)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// follow moves rows to the units of their parents.
func (b *collectBatch) follow(op *collect.Op, slot, which string) error {
	above := op.Table.Upload.Above
	var parents []string
	for _, s := range b.shapes {
		if s.op.Table.Upload == above && s.op.Header.Op != change.Base {
			parents = append(parents, "SELECT own, unit FROM "+s.slot)
		}
	}
	for _, o := range b.run.Ops {
		if b.raw.rows > 0 && o.Table.Upload == above && o.Header.Op != change.Base {
			parents = append(parents, fmt.Sprintf("SELECT own, unit FROM %s WHERE op = %d", rawSlot, o.Number))
		}
	}
	if len(parents) == 0 {
		return nil
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf("UPDATE %s AS x SET unit = p.unit FROM (SELECT own, min(unit) AS unit FROM (%s) AS all_parents GROUP BY own) AS p WHERE %s AND x.unit = p.own AND p.unit <> p.own",
		slot, strings.Join(parents, " UNION ALL "), which))
	return err
}

// maxWaves is how often a batch may have one key.
const maxWaves = 100

// findWaves numbers the rows of a table that have one key: they are taken in
// one after the other. Few batches have such rows.
func (b *collectBatch) findWaves() error {
	for _, t := range b.tables {
		slices.Sort(t.keys)
		twice := len(slices.Compact(t.keys)) < len(t.keys)
		if t.keys = nil; !twice {
			continue
		}
		var all []string
		for i, s := range t.shapes {
			keys := make([]string, len(s.op.Key))
			for j, place := range s.op.Key {
				keys[j] = fmt.Sprintf("c%d AS k%d", place+1, j)
			}
			all = append(all, fmt.Sprintf("SELECT %d AS shape, seq, %s FROM %s", i, strings.Join(keys, ", "), s.slot))
		}
		var by []string
		for j := range t.sent.Upload.Key {
			by = append(by, fmt.Sprintf("k%d", j))
		}
		numbered := fmt.Sprintf("SELECT shape, seq, row_number() OVER (PARTITION BY %s ORDER BY seq) AS wave FROM (%s) AS all_rows",
			strings.Join(by, ", "), strings.Join(all, " UNION ALL "))
		for i, s := range t.shapes {
			_, err := b.d.run(b.ctx, fmt.Sprintf("UPDATE %s AS s SET wave = n.wave FROM (%s) AS n WHERE n.shape = %d AND n.seq = s.seq AND n.wave > 1", s.slot, numbered, i))
			if err != nil {
				return err
			}
			most, err := b.d.one(b.ctx, "SELECT coalesce(max(wave), 1) FROM "+s.slot)
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(most[0]))
			if err != nil {
				return err
			}
			t.waves = max(t.waves, n)
		}
	}
	return nil
}

// fetchRows is how many rows are read at once where others are written
// meanwhile.
const fetchRows = 1000

// fetch calls work for the rows of a query, which may use the connection.
func (b *collectBatch) fetch(sql string, work func(values [][]byte) error) error {
	b.cursors++
	name := fmt.Sprintf("caisseauto_rows_%d", b.cursors)
	if _, err := b.d.run(b.ctx, "DECLARE "+name+" NO SCROLL CURSOR FOR "+sql); err != nil {
		return err
	}
	for {
		var list [][][]byte
		err := b.d.rows(b.ctx, fmt.Sprintf("FETCH %d FROM %s", fetchRows, name), func(values [][]byte) error {
			row := make([][]byte, len(values))
			for i, v := range values {
				row[i] = slices.Clone(v)
			}
			list = append(list, row)
			return nil
		})
		if err != nil {
			return err
		}
		for _, row := range list {
			if err := work(row); err != nil {
				return err
			}
		}
		if len(list) < fetchRows {
			_, err := b.d.run(b.ctx, "CLOSE "+name)
			return err
		}
	}
}

// values are the columns of a shape's rows that shape.decode reads.
func (s *shape) values(alias string) string {
	list := alias + ".kinds"
	for i := range s.columns {
		list += ", " + at(alias, i)
	}
	return list
}

// Each implements collect.Batch.
func (b *collectBatch) Each(work func(*collect.Op, []change.Value) error) error {
	for _, r := range b.runs {
		where := fmt.Sprintf(" WHERE seq BETWEEN %d AND %d ORDER BY seq", r.from, r.to)
		var err error
		if r.s == nil {
			err = b.fetch("SELECT "+rawColumns+" FROM "+rawSlot+where, func(values [][]byte) error {
				op, row, err := b.decodeRaw(values)
				if err != nil {
					return err
				}
				return work(op, row)
			})
		} else {
			err = b.fetch("SELECT "+r.s.values("s")+" FROM "+r.s.slot+" AS s"+where, func(values [][]byte) error {
				row, err := decode(nil, values[0], values[1:])
				if err != nil {
					return err
				}
				return work(r.s.op, row)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Bases implements collect.Batch. A base row that PostgreSQL has no values for
// was kept as it came.
func (b *collectBatch) Bases(t *collect.Table, op *collect.Op, row []change.Value, work func([]change.Value) error) error {
	only := ""
	if op != nil {
		only = fmt.Sprintf(" AND own = %d", int64(b.hash(t.Upload.Table, row, op.Key)))
	}
	if own := b.tables[t.Number]; own != nil && own.base != nil {
		s := own.base
		keys := b.keyTexts(s, "s")
		sql := fmt.Sprintf("SELECT %s FROM (SELECT DISTINCT ON (%s) * FROM %s AS s WHERE true%s ORDER BY %s, seq) AS s ORDER BY s.seq",
			s.values("s"), keys, s.slot, only, keys)
		err := b.fetch(sql, func(values [][]byte) error {
			base, err := decode(nil, values[0], values[1:])
			if err != nil {
				return err
			}
			return work(base)
		})
		if err != nil {
			return err
		}
	}
	if b.raw.bases == 0 {
		return nil
	}
	return b.fetch("SELECT "+rawColumns+" FROM "+rawSlot+" WHERE true"+only+" ORDER BY seq", func(values [][]byte) error {
		op, base, err := b.decodeRaw(values)
		if err != nil || op.Table != t || op.Header.Op != change.Base {
			return err
		}
		return work(base)
	})
}

// keyTexts returns the texts of a shape's key, as SQL.
func (b *collectBatch) keyTexts(s *shape, alias string) string {
	keys := make([]string, len(s.op.Key))
	for j, i := range s.op.Key {
		keys[j] = at(alias, i)
	}
	return strings.Join(keys, ", ")
}
