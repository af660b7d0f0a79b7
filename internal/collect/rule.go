package collect

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
)

// A Refused says why a row cannot be taken. Its unit goes into quarantine.
type Refused struct {
	Reason   string
	Alarm    string    // what kind of alarm it is worth, "" for none
	Final    bool      // no other row of the batch can change that
	Conflict *Conflict // that nobody has won
}

// RefusedByRule returns why a row cannot be taken whatever the database holds,
// nil when no rule has anything against it.
func (op *Op) RefusedByRule(row []change.Value) *Refused {
	t := op.Table
	if op.bad != "" {
		return &Refused{Reason: op.bad, Alarm: op.alarm, Final: true}
	}
	for j, i := range op.Key {
		if row[i].Kind == change.Null {
			return &Refused{Final: true, Reason: fmt.Sprintf("a row of table %s has NULL in %s, which is in the key",
				database.Quote(t.Upload.Table), database.Quote(t.Upload.Key[j]))}
		}
	}
	if op.dossier >= 0 && !equalStored(&row[op.dossier], &t.Own[0]) {
		return op.foreign("dossier", t.Upload.Dossier, &row[op.dossier], &t.Own[0])
	}
	if op.till >= 0 && !equalStored(&row[op.till], &t.Own[1]) {
		return op.foreign("till", t.Upload.Till, &row[op.till], &t.Own[1])
	}
	return nil
}

// foreign is the refusal of a row that is somebody else's.
func (op *Op) foreign(what, column string, has, want *change.Value) *Refused {
	return &Refused{Final: true, Alarm: AlarmForeign, Reason: fmt.Sprintf("a row of table %s is of another %s: %s is %s, and the batch is of %s",
		database.Quote(op.Table.Upload.Table), what, database.Quote(column), database.ShowValue(*has), database.ShowValue(*want))}
}

// Taken is the refusal of a row whose key belongs to somebody else here.
func (op *Op) Taken(row []change.Value) *Refused {
	return &Refused{Alarm: AlarmForeign, Reason: op.Name(row) + " belongs to another dossier or till on the server"}
}

// Altered is the refusal of a row that is there with other content, where
// rows are only ever added.
func (op *Op) Altered(row []change.Value) *Refused {
	return &Refused{Alarm: AlarmAltered, Reason: op.Name(row) + " is on the server already, with other content, and rows of that table are only ever added"}
}

// Orphan is the refusal of a row whose parent is not there.
func (op *Op) Orphan(row []change.Value) *Refused {
	text := ""
	for j, i := range op.Link {
		text += fmt.Sprintf(" %s=%s", database.Quote(op.Table.Upload.Link[j]), database.ShowValue(row[i]))
	}
	return &Refused{Reason: fmt.Sprintf("%s has no parent in %s: nothing there has%s", op.Name(row), database.Quote(op.Table.Upload.Parent), text)}
}

// equalStored reports whether v becomes want in want's column.
func equalStored(v, want *change.Value) bool {
	if v.Kind == change.Text && want.Kind == change.Integer {
		n, err := strconv.ParseInt(string(v.Bytes), 10, 64)
		return err == nil && n == want.Int
	}
	return v.Kind == want.Kind && v.Int == want.Int && bytes.Equal(v.Bytes, want.Bytes)
}

// Name names a row by its table and key.
func (op *Op) Name(row []change.Value) string {
	var b strings.Builder
	u := op.Table.Upload
	fmt.Fprintf(&b, "table %s, row", database.Quote(u.Table))
	for j, i := range op.Key {
		fmt.Fprintf(&b, " %s=%s", database.Quote(u.Key[j]), database.ShowValue(row[i]))
	}
	return b.String()
}

// member returns one row as a member of an archive.
func (op *Op) member(as change.Op, row []change.Value) string {
	return member(change.Header{Table: op.Header.Table, Op: as, Columns: op.Header.Columns}, row)
}

func member(h change.Header, row []change.Value) string {
	return string(change.AppendRow(change.AppendHeader(nil, h), row))
}

// shownKey returns a row's key as a JSON array; of a row whose key is not
// known, the row.
func (op *Op) shownKey(row []change.Value) string {
	key := row
	if len(op.Key) > 0 {
		key = nil
		for _, i := range op.Key {
			key = append(key, row[i])
		}
	}
	return string(bytes.TrimSpace(change.AppendRow(nil, key)))
}
