package postgres

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"encoding/binary"
	"encoding/hex"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A shape is the rows of a batch under one header: they stand in a temporary
// table, each value as text, with its kind beside it, so that the row can be
// given back as it came.
type shape struct {
	op      *collect.Op // the first one with that header
	table   *collectTable
	slot    string    // the temporary table, as SQL
	columns []*Column // of the header
	owned   bool      // the names of the rows themselves are kept beside those of their units
	depth   int
	rows    int64
	buf     []byte // not sent yet
}

// A collectTable is what this database knows of a table of a batch.
type collectTable struct {
	*Table
	sent   *collect.Table
	equals []string // how the key's index compares each of the upload's key
	prompt bool     // that index is checked at once, not at the end of a transaction
	shapes []*shape // of rows that are written: not of bases
	base   *shape
	linked bool // foreign keys see to it that parents are there
	rivals []string
	above  *Table   // of the parents
	parent []string // how its key's index compares
	keys   []uint64 // of all rows here, hashed
	waves  int      // how often a key comes at the most
	touch  touchSQL
}

// A touchSQL says how a key of the table is journaled for the stream down.
type touchSQL struct {
	tab     int64 // 0: it does not go down
	dossier string
	order   []int // the journal's key columns in the upload's key
}

// newShape makes the temporary table of a header. Its rows are gone at the end
// of every transaction; the table is used again.
func (b *collectBatch) newShape(op *collect.Op, t *collectTable) (*shape, error) {
	s := &shape{op: op, table: t, depth: depthOf(op.Table), owned: b.middle(op.Table) || op.Header.Op == change.Base}
	for _, name := range op.Header.Columns {
		s.columns = append(s.columns, t.Column(name))
	}
	name := fmt.Sprintf("caisseauto_%d_%d", len(b.shapes), len(s.columns))
	s.slot = "pg_temp." + name
	var columns strings.Builder
	for i := range s.columns {
		fmt.Fprintf(&columns, ", c%d text", i+1)
	}
	_, err := b.d.run(b.ctx, "CREATE TEMPORARY TABLE IF NOT EXISTS "+name+
		"(seq bigint, unit bigint, own bigint, kinds text, wave integer DEFAULT 1"+columns.String()+") ON COMMIT DELETE ROWS")
	if err != nil {
		return nil, err
	}
	b.shapes = append(b.shapes, s)
	return s, nil
}

// depthOf is that of a table's upload.
func depthOf(t *collect.Table) int {
	if t.Upload == nil {
		return 0
	}
	return t.Upload.Depth
}

// middle reports whether rows of a table are parts of others and have parts
// themselves: then the unit of the latter is found by way of them.
func (b *collectBatch) middle(t *collect.Table) bool {
	u := t.Upload
	return u != nil && u.Above != nil && slices.ContainsFunc(b.run.Uploads, func(o *database.Upload) bool { return o.Above == u })
}

// shapeColumns are the columns of a temporary table that rows are sent with.
func (s *shape) shapeColumns() string {
	list := "seq, unit, own, kinds"
	for i := range s.columns {
		list += fmt.Sprintf(", c%d", i+1)
	}
	return list
}

// The kinds of values, one letter each.
const (
	kindNull    = 'n'
	kindInteger = 'i'
	kindReal    = 'r'
	kindText    = 't'
	kindBlob    = 'b'
)

// append adds a row in the text form of COPY.
func (s *shape) append(seq int64, unit, own uint64, row []change.Value) {
	b := strconv.AppendInt(s.buf, seq, 10)
	b = strconv.AppendInt(append(b, '\t'), int64(unit), 10)
	b = append(b, '\t')
	if s.owned {
		b = strconv.AppendInt(b, int64(own), 10)
	} else {
		b = append(b, `\N`...)
	}
	b = append(b, '\t')
	for i := range row {
		b = append(b, "nirtb"[row[i].Kind])
	}
	for i := range row {
		b = append(b, '\t')
		switch v := &row[i]; v.Kind {
		case change.Null:
			b = append(b, `\N`...)
		case change.Integer:
			b = strconv.AppendInt(b, v.Int, 10)
		case change.Real:
			b = append(b, realText(v.Real)...)
		case change.Text:
			b = appendCopyText(b, v.Bytes)
		case change.Blob:
			b = hex.AppendEncode(b, v.Bytes)
		}
	}
	s.buf = append(b, '\n')
	s.rows++
}

// realText writes a number as both Go and PostgreSQL read it.
func realText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func appendCopyText(b, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// decode gives a row back out of its kinds and its values as text. The values
// borrow the texts.
func decode(row []change.Value, kinds []byte, values [][]byte) ([]change.Value, error) {
	for i, text := range values {
		v := change.Value{}
		var err error
		switch kinds[i] {
		case kindInteger:
			v.Kind = change.Integer
			v.Int, err = parseInt(string(text))
		case kindReal:
			v.Kind = change.Real
			v.Real, err = strconv.ParseFloat(string(text), 64)
		case kindText:
			v = change.Value{Kind: change.Text, Bytes: slices.Clone(text)}
		case kindBlob:
			v.Kind = change.Blob
			v.Bytes, err = hex.DecodeString(string(text))
		}
		if err != nil {
			return row, fmt.Errorf("a row that was kept in a temporary table: %w", err)
		}
		if (v.Kind == change.Text || v.Kind == change.Blob) && v.Bytes == nil {
			v.Bytes = []byte{}
		}
		row = append(row, v)
	}
	return row, nil
}

// seed is that of the names of units and keys. They mean something in this
// process alone.
var seed = maphash.MakeSeed()

// hash names a row by its table and key. Two names that are one by chance make
// two units one, which loses nothing.
func (b *collectBatch) hash(table string, row []change.Value, places []int) uint64 {
	buf := append(b.scratch[:0], table...)
	for _, i := range places {
		v := &row[i]
		buf = append(buf, 0, byte(v.Kind))
		switch v.Kind {
		case change.Integer:
			buf = binary.LittleEndian.AppendUint64(buf, uint64(v.Int))
		case change.Real:
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v.Real))
		case change.Text, change.Blob:
			buf = binary.LittleEndian.AppendUint64(buf, uint64(len(v.Bytes)))
			buf = append(buf, v.Bytes...)
		}
	}
	b.scratch = buf
	return maphash.Bytes(seed, buf)
}

// unitOf names the unit of a row, and the row itself. A row whose parent is a
// part of something else gets there in [collectBatch.resolve].
func (b *collectBatch) unitOf(op *collect.Op, row []change.Value, seq int64) (unit, own uint64) {
	u := op.Table.Upload
	if u == nil || len(op.Key) == 0 { // nobody knows what it is a part of
		own = b.hash("", []change.Value{{Kind: change.Integer, Int: seq}}, []int{0})
		return own, own
	}
	own = b.hash(u.Table, row, op.Key)
	if u.Above == nil || len(op.Link) == 0 || slices.ContainsFunc(op.Link, func(i int) bool { return row[i].Kind == change.Null }) {
		return own, own
	}
	return b.hash(u.Parent, row, op.Link), own
}

// place returns the place of a column of the table in a row of the shape, -1
// when it is not there.
func (s *shape) place(column string) int {
	return slices.IndexFunc(s.columns, func(c *Column) bool { return c != nil && c.Name == column })
}

// at returns the text of a column of the shape, as SQL.
func at(alias string, place int) string { return fmt.Sprintf("%s.c%d", alias, place+1) }

// onKey returns the condition that the live row t has the key of s.
func (b *collectBatch) onKey(s *shape) string {
	var terms []string
	for j, i := range s.op.Key {
		c := s.columns[i]
		terms = append(terms, fmt.Sprintf("t.%s %s %s", quote(c.Name), s.table.equals[j], b.d.asKey(c, at("s", i))))
	}
	return strings.Join(terms, " AND ")
}

// isSame returns the condition that the live row t has the values of a row of
// the shape, by its alias.
func (b *collectBatch) isSame(s *shape, alias string) string {
	terms := []string{"true"}
	for i, c := range s.columns {
		if !c.Generated {
			terms = append(terms, b.d.same(c, "t."+quote(c.Name), at(alias, i)))
		}
	}
	return strings.Join(terms, " AND ")
}

// isExact returns the condition that the table can hold the values of s, ""
// when nothing can be lost.
func (b *collectBatch) isExact(s *shape) string {
	var terms []string
	for i, c := range s.columns {
		if e := b.d.exact(c, at("s", i)); e != "" && !c.Generated {
			terms = append(terms, e)
		}
	}
	return strings.Join(terms, " AND ")
}

// isOwn returns the condition that a live row, by its alias, is the dossier's
// and the till's, "" when the columns of neither are asked for.
func (b *collectBatch) isOwn(u *database.Upload, t *Table, alias string, own [2]change.Value, skip []string) string {
	var terms []string
	for i, name := range []string{u.Dossier, u.Till} {
		if name == "" || slices.Contains(skip, name) {
			continue
		}
		c := t.Column(name)
		terms = append(terms, b.d.same(c, alias+"."+quote(name), literal(ownText(own[i]))))
	}
	return strings.Join(terms, " AND ")
}

// ownText returns what must stand in the column of a dossier or a till.
func ownText(v change.Value) string {
	if v.Kind == change.Integer {
		return strconv.FormatInt(v.Int, 10)
	}
	return string(v.Bytes)
}

// appends reports whether rows of the shape are only ever added.
func (s *shape) appends() bool { return s.op.Table.Upload.Mode == manifest.Append }

// deletes reports whether its rows are keys of rows that go.
func (s *shape) deletes() bool { return s.op.Header.Op == change.Delete }
