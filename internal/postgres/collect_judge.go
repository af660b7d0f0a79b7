package postgres

import (
	"fmt"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A waveOf is some rows on their way into the tables, no key twice: those of
// the rows s of each shape for which the condition which holds.
type waveOf struct {
	b     *collectBatch
	which string
	quick bool
	out   map[int64]*collect.Refused // units that are refused
	found map[*shape]found
}

// A found says how many rows of a shape become what.
type found struct{ inserts, updates, deletes, acknowledged int64 }

// judge looks at all rows before any is written.
func (w *waveOf) judge() error {
	for _, s := range w.b.ordered() {
		for _, step := range []func(*shape) error{w.exact, w.own, w.orphans, w.count} {
			if err := step(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuse refuses the units of the rows of a query that begins at FROM.
func (w *waveOf) refuse(s *shape, from string, why func(row []change.Value) *collect.Refused) error {
	return w.b.d.rows(w.b.ctx, "SELECT s.unit, "+s.values("s")+" "+from+" ORDER BY s.seq", func(values [][]byte) error {
		unit, err := parseInt(string(values[0]))
		if err != nil || w.out[unit] != nil {
			return err
		}
		row, err := decode(nil, values[1], values[2:])
		w.out[unit] = why(row)
		return err
	})
}

// exact refuses rows of which something would be lost without a word.
func (w *waveOf) exact(s *shape) error {
	terms := w.b.isExact(s)
	if terms == "" || s.deletes() {
		return nil
	}
	from := fmt.Sprintf("FROM %s AS s WHERE %s AND (%s) IS NOT TRUE", s.slot, w.which, terms)
	return w.refuse(s, from, func(row []change.Value) *collect.Refused {
		return &collect.Refused{Final: true, Reason: w.b.inexact(s, row)}
	})
}

// inexact says which value of a row cannot be held as it is.
func (b *collectBatch) inexact(s *shape, row []change.Value) string {
	var names []string
	for i, c := range s.columns {
		if !c.Generated && b.d.exact(c, "x") != "" && row[i].Kind != change.Null {
			names = append(names, fmt.Sprintf("%s %s holds %s", quote(c.Name), c.Type, database.ShowValue(row[i])))
		}
	}
	return fmt.Sprintf("%s: a value would be rounded or cut off: %s", s.op.Name(row), strings.Join(names, ", "))
}

// own refuses rows whose key belongs to another dossier or till here. In
// tables whose rows are only added it is the same key with other content.
func (w *waveOf) own(s *shape) error {
	u := s.op.Table.Upload
	own := w.b.isOwn(u, s.table.Table, "t", s.op.Table.Own, u.Key)
	if own == "" || s.appends() {
		return nil
	}
	from := fmt.Sprintf("FROM %s AS s JOIN %s AS t ON %s WHERE %s AND NOT (%s)", s.slot, s.table.sql(), w.b.onKey(s), w.which, own)
	return w.refuse(s, from, s.op.Taken)
}

// orphans refuses rows whose parents are neither here nor in the batch. One
// that names no parent needs none.
func (w *waveOf) orphans(s *shape) error {
	u, t := s.op.Table.Upload, s.table
	if u.Above == nil || len(s.op.Link) == 0 || s.op.Header.Op != change.Upsert || w.quick && t.linked {
		return nil
	}
	var named, live []string
	for j, i := range s.op.Link {
		c := t.above.Column(u.Above.Key[j])
		named = append(named, at("s", i)+" IS NOT NULL")
		live = append(live, fmt.Sprintf("p.%s %s %s", quote(c.Name), t.parent[j], w.b.d.asKey(c, at("s", i))))
	}
	if own := w.b.isOwn(u.Above, t.above, "p", s.op.Table.Parents, nil); own != "" {
		live = append(live, own)
	}
	from := fmt.Sprintf("FROM %s AS s WHERE %s AND %s AND NOT EXISTS (SELECT 1 FROM %s AS p WHERE %s)", s.slot, w.which, strings.Join(named, " AND "), t.above.sql(), strings.Join(live, " AND "))
	for _, p := range w.b.shapes {
		if p.op.Table.Upload != u.Above || p.op.Header.Op != change.Upsert {
			continue
		}
		sent := []string{"q.unit = s.unit"}
		for j, i := range s.op.Link {
			sent = append(sent, at("q", p.op.Key[j])+" = "+at("s", i))
		}
		from += fmt.Sprintf(" AND NOT EXISTS (SELECT 1 FROM %s AS q WHERE %s)", p.slot, strings.Join(sent, " AND "))
	}
	return w.refuse(s, from, s.op.Orphan)
}

// count finds what becomes of the rows of a shape.
func (w *waveOf) count(s *shape) error {
	if s.op.Table.Upload.Mode == manifest.Both {
		return w.both(s)
	}
	altered := "false"
	if s.appends() {
		altered = "NOT (" + w.b.isSame(s, "s") + ")"
	}
	first := "t." + quote(s.table.Column(s.op.Table.Upload.Key[0]).Name)
	from := fmt.Sprintf("FROM %s AS s LEFT JOIN %s AS t ON %s WHERE %s", s.slot, s.table.sql(), w.b.onKey(s), w.which)
	values, err := w.b.d.one(w.b.ctx, fmt.Sprintf("SELECT count(*), count(%[1]s), count(*) FILTER (WHERE %[1]s IS NOT NULL AND %[2]s) %[3]s", first, altered, from))
	if err != nil {
		return err
	}
	var n [3]int64
	for i := range n {
		if n[i], err = parseInt(string(values[i])); err != nil {
			return err
		}
	}
	all, live := n[0], n[1]
	switch {
	case n[2] > 0:
		return w.refuse(s, from+" AND "+first+" IS NOT NULL AND "+altered, s.op.Altered)
	case s.deletes():
		w.found[s] = found{deletes: live, acknowledged: all - live}
	case s.appends():
		w.found[s] = found{inserts: all - live, acknowledged: live}
	default:
		w.found[s] = found{inserts: all - live, updates: live}
	}
	return nil
}

// tooMany refuses the units that have a key more often than anybody means.
func (w *waveOf) tooMany() (map[int64]*collect.Refused, error) {
	for _, s := range w.b.ordered() {
		err := w.refuse(s, "FROM "+s.slot+" AS s WHERE "+w.which, func(row []change.Value) *collect.Refused {
			return &collect.Refused{Final: true, Reason: fmt.Sprintf("%s comes more than %d times in one batch", s.op.Name(row), maxWaves)}
		})
		if err != nil {
			return nil, err
		}
	}
	return w.out, nil
}
