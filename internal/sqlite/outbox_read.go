package sqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Read gives sink every row of the till that changed since the last batch, out
// of one snapshot: tables parents first, of each that both sides change first
// the rows as they were and then those that are there, and at the end what was
// deleted. It does so whatever full is: a stream up has no baseline.
//
// A row of an append table that came and went since the last batch is not
// sent. Triggers that are missing are made again before the snapshot; then all
// rows of their tables go up once more. Errors are as those of [Source.Read].
func (b *Outbox) Read(ctx context.Context, stream string, _ bool, sink change.Sink) (manifest.Extract, error) {
	if err := b.check(stream); err != nil {
		return manifest.Extract{}, err
	}
	const attempts = 5
	for range attempts {
		var x manifest.Extract
		var n need
		open := ""
		work := func(db *sqlite3.Conn) (bool, error) {
			p, err := b.o.plan(db)
			if err != nil {
				return false, fmt.Errorf("%s: %w", b.s.path, err)
			}
			if !p.own["caisseauto_till"] {
				return false, b.s.notInstalled()
			}
			if n = needsRepair; len(p.statements) > 0 {
				return false, nil
			}
			open = p.open()
			x, n, err = b.extract(db, p, sink)
			return n == needsClosing, err
		}
		err := b.s.read(ctx, func(db *sqlite3.Conn) error { _, err := work(db); return err })
		if err == nil && n == needsClosing {
			err = b.closed(ctx, open, work)
		}
		if err != nil || n == needsNothing {
			return x, err
		}
		if err := b.repair(ctx); err != nil {
			return x, err
		}
	}
	return manifest.Extract{}, fmt.Errorf("%s: somebody removes the outbox's triggers or entries as soon as they are made; find out who, and run the export again", b.s.path)
}

// A need is what has to be done before a batch can be read.
type need int

const (
	needsNothing need = iota
	needsRepair       // triggers or entries are missing
	needsClosing      // parts may still come without entries; see part
)

// extract reads one batch in the transaction that db has open, unless
// something has to be done before.
func (b *Outbox) extract(db *sqlite3.Conn, p *plan, sink change.Sink) (x manifest.Extract, n need, err error) {
	e := &extraction{db: db, sink: sink, capture: p.capture, kept: deleteMemory}
	_, text, err := stand(db, b.stream)
	if err != nil {
		return x, n, err
	}
	last, err := parseCursor(text)
	if err != nil {
		return x, n, err
	}
	e.from = last.Seq
	if broken, err := b.broken(db, p, e); err != nil || broken {
		return x, needsRepair, err
	}
	if open, err := p.newestOpen(db, e.to); err != nil || open {
		return x, needsClosing, err
	}
	uploads := make([]manifest.Upload, len(p.tables))
	list := make([]*extracted, len(p.tables))
	for i, t := range p.tables {
		uploads[i] = t.up.Upload
		uploads[i].Table = t.Name // as the manifest is to call it
		list[i] = &extracted{carried: t}
	}
	tally := manifest.NewTally(uploads)
	if err := e.runUp(list, tally); err != nil {
		return x, n, err
	}
	for _, t := range list {
		if t.rows > 0 {
			x.Tables = append(x.Tables, t.describe())
		}
	}
	x.Kind, x.Cursor, x.Totals = manifest.Delta, cursor{Seq: e.to}.String(), tally.Totals()
	if x.Applied, err = appliedDown(db, b.o.Dossier); err != nil {
		return x, n, err
	}
	x.Incarnation, err = incarnation(db)
	return x, n, err
}

// runUp reads the tables, which come parents first.
func (e *extraction) runUp(list []*extracted, tally *manifest.Tally) error {
	changed, err := e.changedTables()
	if err != nil {
		return err
	}
	for _, t := range list {
		if !t.changed(changed) {
			continue
		}
		if err := e.readUp(t, tally.Table(t.Name)); err != nil {
			return err
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		t := list[i]
		before := t.rows
		if err := e.sendDeletes(t); err != nil {
			return err
		}
		for range t.rows - before {
			tally.Table(t.Name).Row()
		}
	}
	return nil
}

// readUp sends one table's changed rows, and keeps the keys of the gone ones.
func (e *extraction) readUp(t *extracted, total *manifest.TableTally) error {
	d := e.delta(t)
	if err := d.refuseNullKeys(); err != nil {
		return err
	}
	if t.up.both() {
		if err := d.sendBases(); err != nil {
			return err
		}
	}
	w := upWriter{deltaWriter: deltaWriter{delta: d, keyPlaces: t.keyPlaces(), gonePlaces: make([]int, len(t.key))}, total: total, number: -1}
	for i := range w.gonePlaces {
		w.gonePlaces[i] = 1 + len(t.columns) + i
	}
	for i := range w.keyPlaces {
		w.keyPlaces[i]++
	}
	for _, sum := range t.up.Sums {
		w.sums = append(w.sums, 1+columnPlace(t.columns, sum))
	}
	if t.up.Number != "" {
		w.number = 1 + columnPlace(t.columns, t.up.Number)
	}
	return e.db.Query(d.upRowsSQL(), w.row, d.args...)
}

// columnPlace returns the place of a column, -1 when it is not there.
func columnPlace(columns []manifest.Column, name string) int {
	for i, c := range columns {
		if sameName(c.Name, name) {
			return i
		}
	}
	return -1
}

// firsts returns the query of the changed keys, each once, and m: the mask of
// its first entry. With a lone min(), SQLite takes the other columns from the
// row that has it (https://www.sqlite.org/lang_select.html#bareagg).
func (d *delta) firsts() string {
	return "SELECT m, " + d.keys + ", min(seq) AS first FROM (" + d.entriesSQL() + ") GROUP BY " + d.ordered()
}

// ordered returns the journal's key as the key's index compares it.
func (d *delta) ordered() string {
	var list []string
	for i, k := range d.key {
		list = append(list, fmt.Sprintf("k%d COLLATE %s", i+1, database.Quote(k.Collation)))
	}
	return strings.Join(list, ", ")
}

// upRowsSQL is what rowsSQL is for a delta down.
func (d *delta) upRowsSQL() string {
	return fmt.Sprintf("SELECT g.m, %s, %s FROM (%s ORDER BY %s LIMIT -1) AS g LEFT JOIN %s AS r ON %s",
		database.QuoteAll("r.", d.columnNames()), "g."+strings.ReplaceAll(d.keys, ", ", ", g."), d.firsts(), d.ordered(), database.Quote(d.Name), d.joined())
}

// upDeletesSQL is what deletesSQL is for a delta down.
func (d *delta) upDeletesSQL() string {
	sql := fmt.Sprintf("SELECT %s FROM (%s) AS g WHERE %s IS NOT NULL AND NOT EXISTS (SELECT 1 FROM %s AS r WHERE %s)",
		d.keys, d.firsts(), strings.ReplaceAll(d.keys, ", ", " IS NOT NULL AND "), database.Quote(d.Name), d.joined())
	if d.up.Mode == manifest.Append {
		sql += " AND m IS NOT 1"
	}
	return sql
}

// sendBases sends the rows as they were before the first change since the last
// batch.
func (d *delta) sendBases() error {
	started := false
	shape := d.baseShape()
	utf8 := true
	if err := d.e.db.Query("PRAGMA encoding", func(s *sqlite3.Stmt) error { utf8 = s.Text(0) == "UTF-8"; return nil }); err != nil {
		return err
	}
	var row []change.Value
	sql := "SELECT base FROM " + d.journal + " WHERE seq IN (SELECT first FROM (" + d.firsts() + ")) AND base IS NOT NULL AND " +
		strings.ReplaceAll(d.keys, ", ", " IS NOT NULL AND ") + " IS NOT NULL ORDER BY " + d.ordered()
	return d.e.db.Query(sql, func(s *sqlite3.Stmt) error {
		was, fields, _ := strings.Cut(s.Text(0), ",")
		if was != shape {
			return nil // of other columns: the server is to judge without it
		}
		var err error
		if row, err = parseBase(row[:0], fields, len(d.columns)); err != nil {
			return fmt.Errorf("table %s: the entry of the outbox with base %.100q %w; was it changed by hand?", database.Quote(d.Name), s.Text(0), err)
		}
		if !utf8 {
			if err := decodeTexts(d.e.db, row); err != nil {
				return err
			}
		}
		if !started {
			started = true
			if err := d.e.sink.Start(change.Header{Table: d.Name, Op: change.Base, Columns: d.columnNames()}); err != nil {
				return err
			}
		}
		d.e.line = change.AppendRow(d.e.line[:0], row)
		if len(d.e.line) > change.MaxLine {
			return nil // as if it were not known
		}
		d.rows++
		return d.e.sink.Row(d.e.line)
	}, d.args...)
}

// decodeTexts makes UTF-8 of texts that hex() gave in the database's own
// encoding.
func decodeTexts(db *sqlite3.Conn, row []change.Value) error {
	for i := range row {
		v := &row[i]
		if v.Kind != change.Text {
			continue
		}
		err := db.Query("SELECT CAST(?1 AS TEXT)", func(s *sqlite3.Stmt) error { v.Bytes = slices.Clone(s.Bytes(0)); return nil }, v.Bytes)
		if err != nil {
			return err
		}
	}
	return nil
}

// parseBase reads what the triggers wrote; see captured.base.
func parseBase(row []change.Value, text string, n int) ([]change.Value, error) {
	fields := strings.Split(text, ",")
	if len(fields) != n {
		return nil, errBase
	}
	for _, f := range fields {
		v, err := parseLiteral(f)
		if err != nil {
			return nil, err
		}
		row = append(row, v)
	}
	return row, nil
}

func parseLiteral(f string) (change.Value, error) {
	unhex := func(kind change.Kind, digits string) (change.Value, error) {
		b, err := hex.DecodeString(digits)
		if err != nil {
			return change.Value{}, errBase
		}
		return change.Value{Kind: kind, Bytes: b}, nil
	}
	switch {
	case f == "NULL":
		return change.Value{}, nil
	case strings.HasPrefix(f, "t"):
		return unhex(change.Text, f[1:])
	case strings.HasPrefix(f, "X'") && strings.HasSuffix(f, "'") && len(f) > 2:
		return unhex(change.Blob, f[2:len(f)-1])
	}
	if n, err := strconv.ParseInt(f, 10, 64); err == nil {
		return change.Value{Kind: change.Integer, Int: n}, nil
	}
	// quote() writes an infinity as a number that is too large.
	r, err := strconv.ParseFloat(f, 64)
	if err != nil && !math.IsInf(r, 0) {
		return change.Value{}, errBase
	}
	return change.Value{Kind: change.Real, Real: r}, nil
}

// An upWriter takes the rows of upRowsSQL.
type upWriter struct {
	deltaWriter
	total  *manifest.TableTally
	sums   []int // places of the upload's Sums
	number int   // place of its Number, -1: it has none
}

func (w *upWriter) row(s *sqlite3.Stmt) error {
	if s.Kind(w.keyPlaces[0]) == change.Null {
		if w.up.Mode == manifest.Append && s.Kind(0) == change.Integer && s.Int(0) == 1 {
			return nil // it came and went
		}
		return w.gone(s)
	}
	if !w.started {
		if err := w.start(0); err != nil {
			return err
		}
	}
	if err := w.e.send(w.extracted, s, w.places, w.keyPlaces); err != nil {
		return err
	}
	w.total.Row()
	for i, place := range w.sums {
		switch s.Kind(place) {
		case change.Integer:
			w.total.AddInt(i, s.Int(place))
		case change.Real:
			w.total.AddReal(i, s.Real(place))
		case change.Text:
			// What is no number counts for nothing, on either side.
			_ = w.total.AddText(i, s.Text(place))
		}
	}
	if w.number >= 0 && s.Kind(w.number) == change.Integer {
		w.total.AddNumber(s.Int(w.number))
	}
	return nil
}
