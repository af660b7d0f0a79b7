package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// An EventConfig says where a till keeps its journal of technical events (JET)
// and how its columns are called. A column without a name is not written.
type EventConfig struct {
	Table, Dossier, Till, Number, Time, Code, User, Text, Data string
}

// eventUser is who the events of this program are by.
const eventUser = "caisseauto"

// Event writes an event of this program to the till's journal of technical
// events, under the next number. It does nothing when no such journal is
// configured or code is empty; data may be empty.
func (b *Outbox) Event(ctx context.Context, code, text, data string) error {
	c := b.o.Events
	if c == nil || code == "" {
		return nil
	}
	err := b.s.write(ctx, func(db *sqlite3.Conn) error {
		t, err := ReadTable(db, c.Table)
		if err != nil {
			return err
		}
		var columns, values, where []string
		var args []any
		add := func(column string, value any, own bool) error {
			if column == "" {
				return nil
			}
			col := t.Column(column)
			if col == nil {
				return fmt.Errorf("it has no column %s; the table has %q", database.Quote(column), columnNames(t))
			}
			if s, ok := value.(string); ok && own {
				value = stored(s, col.Type)
			}
			args = append(args, value)
			columns, values = append(columns, col.Name), append(values, fmt.Sprintf("?%d", len(args)))
			if own {
				where = append(where, fmt.Sprintf("%s = ?%d", database.Quote(col.Name), len(args)))
			}
			return nil
		}
		none := any(data)
		if data == "" {
			none = change.Value{}
		}
		for _, f := range []struct {
			column string
			value  any
			own    bool
		}{
			{c.Dossier, b.o.Dossier, true}, {c.Till, b.o.Till, true},
			{c.Time, time.Now().UTC().Format(time.RFC3339), false}, {c.Code, code, false},
			{c.User, eventUser, false}, {c.Text, text, false}, {c.Data, none, false},
		} {
			if err := add(f.column, f.value, f.own); err != nil {
				return err
			}
		}
		if c.Number != "" {
			if t.Column(c.Number) == nil {
				return fmt.Errorf("it has no column %s; the table has %q", database.Quote(c.Number), columnNames(t))
			}
			next := fmt.Sprintf("(SELECT coalesce(max(%s), 0) + 1 FROM %s", database.Quote(c.Number), database.Quote(t.Name))
			if len(where) > 0 {
				next += " WHERE " + strings.Join(where, " AND ")
			}
			columns, values = append(columns, c.Number), append(values, next+")")
		}
		return db.Run(fmt.Sprintf("INSERT INTO %s(%s) VALUES(%s)", database.Quote(t.Name), database.QuoteAll("", columns), strings.Join(values, ", ")), args...)
	})
	if err != nil {
		return fmt.Errorf("writing the event %s to table %s: %w; correct [jet] in till.toml", code, database.Quote(c.Table), err)
	}
	return nil
}
