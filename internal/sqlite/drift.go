package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// The kinds of drift between a batch and the till's table.
const (
	// DriftMissingColumn: the batch brings a column that the till lacks.
	DriftMissingColumn = "missing_column"
	// DriftChangedType: the till's column converts what the server's keeps.
	DriftChangedType = "changed_type"
	// DriftNotNull: a column of the till is NOT NULL without a default, and
	// the batch does not bring it.
	DriftNotNull = "not_null"
)

// A DriftPolicy says what of a drift is ignored and recorded; what is not,
// refuses the batch. A column of the key is never ignored.
type DriftPolicy struct {
	// IgnoreMissingColumn drops the values of columns that the till lacks.
	IgnoreMissingColumn bool
	// IgnoreChangedType stores values as the till's column converts them.
	IgnoreChangedType bool
	// IgnoreNotNull gives new rows the empty value of the column's type: zero,
	// an empty text or an empty blob. Rows that are there keep theirs.
	IgnoreNotNull bool

	// anyType does not look at types at all: a server takes what its tills
	// have written.
	anyType bool
}

// A Drift is one difference between what a stream brings and the till's
// table, which the policy had ignored.
type Drift struct {
	Stream   string
	Sequence int64 // of the first batch that met it
	Table    string
	Column   string
	Kind     string // one of the Drift constants
	Sent     string // the type that the server declares
	Have     string // the type that the till declares
	At       string // when that batch was applied
}

// A DriftError says that a table must change before a batch fits it. It wraps
// [manifest.ErrRefused].
type DriftError struct {
	Path, Table string
	Drifts      []Drift
	// SQL are the statements that make the table fit, for the sqlite3 shell;
	// empty when no statements can: then Why says more.
	SQL string
	Why string
}

// Unwrap returns [manifest.ErrRefused].
func (e *DriftError) Unwrap() error { return manifest.ErrRefused }

// what says what does not fit.
func (e *DriftError) what() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s: %v: ", database.Quote(e.Table), manifest.ErrRefused)
	for i, d := range e.Drifts {
		if i > 0 {
			b.WriteString("; ")
		}
		column := database.Quote(d.Column)
		switch d.Kind {
		case DriftMissingColumn:
			fmt.Fprintf(&b, "it has no column %s, which the server declares as %s", column, shownType(d.Sent))
		case DriftChangedType:
			fmt.Fprintf(&b, "its column %s is declared as %s, the server's as %s, so that it would store other values", column, shownType(d.Have), shownType(d.Sent))
		default:
			fmt.Fprintf(&b, "its column %s (%s) is NOT NULL without a default, and the batch does not bring it", column, shownType(d.Have))
		}
	}
	return b.String()
}

// Error says what does not fit, and the statements that mend it.
func (e *DriftError) Error() string {
	text := e.what() + "; nothing was applied; "
	if e.SQL == "" {
		return text + e.Why
	}
	return text + fmt.Sprintf("close the POS, run the lines below with the sqlite3 shell (sqlite3 -bail %q), and import again; or exclude the column at the server; or ignore it in [schema] of the till's configuration, unless it is in the key\n%s", e.Path, e.SQL)
}

func shownType(declared string) string {
	if declared == "" {
		return "a column without a type"
	}
	return fmt.Sprintf("%q", declared)
}

// ignores reports whether the policy says so of a kind.
func (p DriftPolicy) ignores(kind string) bool {
	switch kind {
	case DriftMissingColumn:
		return p.IgnoreMissingColumn
	case DriftChangedType:
		return p.IgnoreChangedType
	}
	return p.IgnoreNotNull
}

// columns compares the manifest's columns with the till's. A column that only
// the till has is left alone. What the policy ignores stands in t.drifts
// afterwards.
func (t *Till) columns(tab *applyTable) error {
	var bad []Drift
	add := func(d Drift, key bool) {
		if d.Table = tab.Name; !key && tab.policy.ignores(d.Kind) {
			tab.drifts = append(tab.drifts, d)
		} else {
			bad = append(bad, d)
		}
	}
	for i, c := range tab.sent.Columns {
		if hasColumn(tab.sent.Columns[:i], c.Name) {
			return refuseTable(tab.Name, "the manifest names column %s twice", database.Quote(c.Name))
		}
		have := tab.Column(c.Name)
		switch {
		case have == nil:
			add(Drift{Column: c.Name, Kind: DriftMissingColumn, Sent: c.Type}, tab.isKey(c.Name))
		case !tab.policy.anyType && !have.Generated && !fits(c.Type, have.Type, tab.Strict):
			add(Drift{Column: have.Name, Kind: DriftChangedType, Sent: c.Type, Have: have.Type}, tab.isKey(c.Name))
		}
	}
	for _, c := range tab.unfilled(tab.sends) {
		add(Drift{Column: c.Name, Kind: DriftNotNull, Have: c.Type}, c.PK > 0)
	}
	if len(bad) == 0 {
		return nil
	}
	return t.driftError(tab, bad)
}

// unfilled returns the columns that take no NULL and have no other value
// either in a row that does not bring them.
func (t *applyTable) unfilled(brings func(string) bool) []*Column {
	var list []*Column
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.NotNull && !c.HasDefault && !c.Generated && !sameName(c.Name, t.RowidKey()) && !brings(c.Name) {
			list = append(list, c)
		}
	}
	return list
}

// fits reports whether a column of the type have stores unchanged what comes
// from one of the type sent. A server's column without a type promises
// nothing, and is not compared.
func fits(sent, have string, strict bool) bool {
	from, to := affinityOf(sent), affinityOf(have)
	if strings.EqualFold(have, "ANY") && !strict {
		to = affinityNumeric
	}
	whole := func(a affinityKind) bool { return a == affinityInteger || a == affinityNumeric }
	return sent == "" || strings.EqualFold(sent, have) || from == to || to == affinityBlob || whole(from) && whole(to) ||
		to == affinityNumeric && neverNumber(sent)
}

// neverNumber reports whether values of a type that a PostgreSQL server sends
// as text never look like a number, so that every column leaves them alone.
func neverNumber(sent string) bool {
	base, ok := strings.CutSuffix(sent, " as text")
	return ok && (strings.HasPrefix(base, "date") || strings.HasPrefix(base, "time") || base == "uuid")
}

// drifted reports whether a column drifts in this way, and that is ignored.
func (t *applyTable) drifted(kind, column string) bool {
	for _, d := range t.drifts {
		if d.Kind == kind && sameName(d.Column, column) {
			return true
		}
	}
	return false
}

// lacks reports whether the table lacks a column that the batch may bring.
func (t *applyTable) lacks(column string) bool {
	return t.policy.IgnoreMissingColumn && t.Column(column) == nil && !t.isKey(column)
}

// filled returns the columns that a new row gets the empty value in.
func (t *applyTable) filled(op *applyOp) []*Column {
	if !t.policy.IgnoreNotNull {
		return nil
	}
	return t.unfilled(func(column string) bool { return containsName(op.columns, column) })
}

// emptySQL returns the literal of the empty value of a column.
func emptySQL(c *Column) string {
	switch affinityOf(c.Type) {
	case affinityText:
		return "''"
	case affinityBlob:
		return "x''"
	case affinityReal:
		return "0.0"
	}
	return "0"
}

// driftSQL makes the list of what was ignored.
const driftSQL = `CREATE TABLE IF NOT EXISTS caisseauto_drift(
  stream   TEXT    NOT NULL,
  name     TEXT    NOT NULL, -- of the table
  col      TEXT    NOT NULL,
  kind     TEXT    NOT NULL,
  sequence INTEGER NOT NULL, -- of the first batch that met it
  sent     TEXT    NOT NULL, -- the type that the server declares
  have     TEXT    NOT NULL, -- the type that the till declares
  at       TEXT    NOT NULL,
  PRIMARY KEY(stream, name, col, kind)
);
`

// Drifts returns what was ignored and still stands, by stream, table and
// column.
func (t *Till) Drifts(ctx context.Context) ([]Drift, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// A stream that the till has left is not in the ledger any more.
	list, err := t.readDrifts("WHERE stream IN (SELECT stream FROM caisseauto_ledger)")
	if err != nil {
		return nil, fmt.Errorf("reading caisseauto_drift of %s: %w", t.conn.Path(), environment(err))
	}
	return list, nil
}

// NeedsRows reports whether a difference that was ignored has ended at the
// till: rows that came before lack values that the table could hold now, and
// a baseline mends that, but only with its rows. One that is unchanged must
// not be recorded without them then.
func (t *Till) NeedsRows(ctx context.Context, stream string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	list, err := t.readDrifts("WHERE stream=?1", stream)
	if err != nil {
		return false, environment(err)
	}
	for _, d := range list {
		have, err := ReadTable(t.conn, d.Table)
		if errors.Is(err, database.ErrNoTable) {
			continue
		}
		if err != nil {
			return false, environment(err)
		}
		c := have.Column(d.Column)
		if c != nil && (d.Kind == DriftMissingColumn || d.Kind == DriftChangedType && fits(d.Sent, c.Type, have.Strict)) {
			return true, nil
		}
	}
	return false, nil
}

func (t *Till) readDrifts(where string, args ...any) (list []Drift, err error) {
	if ok, err := Exists(t.conn, "caisseauto_drift"); err != nil || !ok {
		return nil, err
	}
	err = t.conn.Query("SELECT stream, sequence, name, col, kind, sent, have, at FROM caisseauto_drift "+where+" ORDER BY stream, name, col, kind",
		func(s *sqlite3.Stmt) error {
			list = append(list, Drift{Stream: s.Text(0), Sequence: s.Int(1), Table: s.Text(2), Column: s.Text(3), Kind: s.Text(4),
				Sent: s.Text(5), Have: s.Text(6), At: s.Text(7)})
			return nil
		}, args...)
	return list, err
}

// recordDrifts writes down what the batch had ignored, in its transaction. A
// record ends with a batch that brings every row of the table and does not
// meet the drift any more.
func (r *applyRun) recordDrifts(m *manifest.Manifest, p manifest.Position) error {
	known, err := r.t.readDrifts("WHERE stream=?1", m.Stream)
	if err != nil {
		return err
	}
	for _, d := range known {
		if err := r.settleDrift(m, &d); err != nil {
			return err
		}
	}
	made := false
	for _, tab := range r.plan.tables {
		for _, d := range tab.drifts {
			if !made {
				if err := r.t.conn.Exec(driftSQL); err != nil {
					return err
				}
				made = true
			}
			err := r.t.conn.Run("INSERT OR IGNORE INTO caisseauto_drift(stream, name, col, kind, sequence, sent, have, at) VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
				m.Stream, d.Table, d.Column, d.Kind, p.Sequence, d.Sent, d.Have, time.Now().UTC().Format(time.RFC3339))
			if err != nil {
				return err
			}
			if r.t.conn.Changes() > 0 {
				r.t.o.Log.Warn("a difference between the batch and the till's table is ignored", "stream", m.Stream, "batch", p.Sequence,
					"table", d.Table, "column", d.Column, "kind", d.Kind, "sent", d.Sent, "have", d.Have)
			}
		}
	}
	return nil
}

// settleDrift looks at a record of an earlier batch: it goes when every row
// has come since the drift ended, and while older rows lack what was ignored
// somebody is told.
func (r *applyRun) settleDrift(m *manifest.Manifest, d *Drift) error {
	tab := r.plan.table(d.Table)
	if tab != nil && tab.drifted(d.Kind, d.Column) {
		return nil
	}
	if m.Kind == manifest.Baseline || tab != nil && tab.sent.Scope == manifest.Whole {
		return r.t.conn.Run("DELETE FROM caisseauto_drift WHERE stream=?1 AND name=?2 AND col=?3 AND kind=?4", d.Stream, d.Table, d.Column, d.Kind)
	}
	if tab != nil && d.Kind != DriftNotNull && tab.sends(d.Column) {
		r.t.o.Log.Warn("the column fits now, but rows that came before lack its values; ask the server for every row: caisseauto export --baseline",
			"stream", m.Stream, "table", d.Table, "column", d.Column, "kind", d.Kind, "since batch", d.Sequence)
	}
	return nil
}
