package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// planTouch finds how a key of the table is journaled for the stream down.
func (b *collectBatch) planTouch(t *collectTable) error {
	u := t.sent.Upload
	if u.Mode != manifest.Both || !b.carried(t.Table) {
		return nil
	}
	w, err := b.d.catalog.bare(tableRef{u.Config.Schema, u.Config.Name})
	if err != nil {
		return err
	}
	for _, k := range w.key {
		place := slices.Index(u.Key, k.Name)
		if place < 0 {
			return fmt.Errorf("table %s is known by %q on its way down and by %q on its way up; give it one key", database.Quote(u.Table), w.names(), u.Key)
		}
		t.touch.order = append(t.touch.order, place)
	}
	if t.touch.dossier = "NULL"; w.dossier != "" {
		t.touch.dossier = literal(ownText(t.sent.Own[0]))
	}
	err = b.d.s.QueryRow(b.ctx, "SELECT tab FROM caisseauto.caisseauto_table WHERE name = $1", t.sql()).Scan(&t.touch.tab)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil // its journal begins with the next export, which ships it whole
	}
	return explain(b.ctx, b.d.where, err)
}

// carried reports whether some stream takes the table down.
func (b *collectBatch) carried(t *Table) bool {
	for _, config := range b.d.capture.streams {
		for _, c := range config.Tables {
			if b.d.catalog.tables[tableRef{c.Schema, c.Name}] == t {
				return true
			}
		}
	}
	return false
}

// touchInto begins the statement that journals keys. That the row may be gone
// is said by a mask that is NULL, see trigger.go.
func (t *touchSQL) into() string {
	return "INSERT INTO " + journal + "(tab, dossier, mask, k) "
}

// touchAll journals the keys of some rows of a shape, whatever came of them.
func (b *collectBatch) touchAll(s *shape, which string) error {
	t := s.table
	if t.touch.tab == 0 {
		return nil
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf("%sSELECT %d, %s, NULL, ARRAY[%s] FROM %s AS s WHERE %s",
		t.touch.into(), t.touch.tab, t.touch.dossier, b.touchKey(s, func(i int) string { return at("s", i) }), s.slot, which))
	return err
}

// touchKey returns the journal's key of a row whose texts value returns.
func (b *collectBatch) touchKey(s *shape, value func(place int) string) string {
	var keys []string
	for _, place := range s.table.touch.order {
		i := s.op.Key[place]
		keys = append(keys, "("+b.d.cast(s.columns[i], value(i))+")::text")
	}
	return strings.Join(keys, ", ")
}

// Touch implements collect.Batch.
func (b *collectBatch) Touch(op *collect.Op, row []change.Value) error {
	s := b.byOp[op.Number]
	if s == nil || s.table.touch.tab == 0 || b.unfit(op, row) != nil {
		return nil
	}
	t := s.table
	key := b.touchKey(s, func(i int) string { return literal(string(valueText(&row[i]))) + "::text" })
	if _, err := b.d.run(b.ctx, "SAVEPOINT caisseauto_touch"); err != nil {
		return err
	}
	_, err := b.d.run(b.ctx, fmt.Sprintf("%sVALUES (%d, %s, NULL, ARRAY[%s])", t.touch.into(), t.touch.tab, t.touch.dossier, key))
	if isRefusal(err) { // it is no key here, and no row has it
		_, err = b.d.run(b.ctx, "ROLLBACK TO SAVEPOINT caisseauto_touch")
	}
	return err
}
