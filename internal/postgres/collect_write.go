package postgres

import (
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// write writes what judge found: first what goes, which makes room, then what
// changes, then what is new, parents before their parts. A statement that
// leaves a row as it was, because a trigger wants it so, has written fewer
// rows than were judged.
func (w *waveOf) write() error {
	shapes := w.b.ordered()
	for _, s := range slices.Backward(shapes) {
		if err := w.expect(w.found[s].deletes, func() string { return w.deleteSQL(s) }); err != nil {
			return err
		}
	}
	if w.b.parked {
		for _, s := range shapes {
			if err := w.park(s); err != nil {
				return err
			}
		}
	}
	for _, s := range shapes {
		if err := w.update(s); err != nil {
			return err
		}
	}
	for _, s := range shapes {
		if err := w.expect(w.found[s].inserts, func() string { return w.insertSQL(s) }); err != nil {
			return err
		}
		if err := w.b.touchAll(s, w.which); err != nil {
			return err
		}
	}
	for _, f := range w.found {
		w.b.run.Res.Inserted += f.inserts
		w.b.run.Res.Updated += f.updates
		w.b.run.Res.Deleted += f.deletes
		w.b.run.Res.Acknowledged += f.acknowledged
	}
	return nil
}

// expect runs a statement that is to write so many rows.
func (w *waveOf) expect(rows int64, sql func() string) error {
	if rows == 0 {
		return nil
	}
	n, err := w.b.d.run(w.b.ctx, sql())
	if err == nil && n != rows {
		err = errIgnored
	}
	return err
}

// only returns the condition of the rows of a shape that are treated so.
func (w *waveOf) only(s *shape, act string) string {
	if s.op.Table.Upload.Mode == manifest.Both {
		return w.which + " AND " + w.b.judged(s, act)
	}
	return w.which
}

func (w *waveOf) deleteSQL(s *shape) string {
	return fmt.Sprintf("DELETE FROM %s AS t USING %s AS s WHERE %s AND %s", s.table.sql(), s.slot, w.b.onKey(s), w.only(s, "delete"))
}

func (w *waveOf) insertSQL(s *shape) string {
	var names, values []string
	overriding := ""
	for i, c := range s.columns {
		if c.Generated {
			continue
		}
		names, values = append(names, c.Name), append(values, w.b.d.cast(c, at("s", i)))
		if c.Identity == "a" {
			overriding = " OVERRIDING SYSTEM VALUE"
		}
	}
	sql := "INSERT INTO " + s.table.sql() + "(" + quoteList(names) + ")" + overriding + " SELECT " + strings.Join(values, ", ") +
		" FROM " + s.slot + " AS s WHERE " + w.only(s, "insert")
	if f := w.found[s]; f.acknowledged+f.updates > 0 && s.op.Table.Upload.Mode != manifest.Both {
		sql += fmt.Sprintf(" AND NOT EXISTS (SELECT 1 FROM %s AS t WHERE %s)", s.table.sql(), w.b.onKey(s))
	}
	// Whoever has written the row meanwhile makes no error, but one row less;
	// it is then looked at once more.
	if s.table.prompt {
		sql += " ON CONFLICT (" + quoteList(s.op.Table.Upload.Key) + ") DO NOTHING"
	}
	return sql
}

func quoteList(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = quote(n)
	}
	return strings.Join(list, ", ")
}

// update writes the columns of rows that are there. A table of nothing but a
// key has none.
func (w *waveOf) update(s *shape) error {
	var set []string
	for i, c := range s.columns {
		if !c.Generated && c.Identity != "a" && !slices.Contains(s.op.Table.Upload.Key, c.Name) {
			set = append(set, quote(c.Name)+" = "+w.b.d.cast(c, at("s", i)))
		}
	}
	f := w.found[s]
	if len(set) == 0 {
		f.acknowledged, f.updates = f.acknowledged+f.updates, 0
		w.found[s] = f
		return nil
	}
	return w.expect(f.updates, func() string {
		return fmt.Sprintf("UPDATE %s AS t SET %s FROM %s AS s WHERE %s AND %s", s.table.sql(), strings.Join(set, ", "), s.slot, w.b.onKey(s), w.only(s, "update"))
	})
}

// mayPark reports whether a table has columns that can be emptied while rows
// change places.
func (b *collectBatch) mayPark() bool {
	return slices.ContainsFunc(b.shapes, func(s *shape) bool { return len(b.parkable(s)) > 0 })
}

// parkable returns the places of such columns.
func (b *collectBatch) parkable(s *shape) (places []int) {
	if s.op.Header.Op != change.Upsert || s.appends() {
		return nil
	}
	for _, name := range s.table.rivals {
		if i := s.place(name); i >= 0 && !slices.Contains(places, i) {
			places = append(places, i)
		}
	}
	return places
}

// park empties the values of rows that are about to get others and that must
// be unique: two rows may be about to swap them.
func (w *waveOf) park(s *shape) error {
	if w.found[s].updates == 0 {
		return nil
	}
	for _, i := range w.b.parkable(s) {
		column := "t." + quote(s.columns[i].Name)
		_, err := w.b.d.run(w.b.ctx, fmt.Sprintf("UPDATE %s AS t SET %s = NULL FROM %s AS s WHERE %s AND %s AND %s IS NOT NULL AND NOT (%s)",
			s.table.sql(), quote(s.columns[i].Name), s.slot, w.b.onKey(s), w.only(s, "update"), column, w.b.d.same(s.columns[i], column, at("s", i))))
		if err != nil {
			return err
		}
	}
	return nil
}
