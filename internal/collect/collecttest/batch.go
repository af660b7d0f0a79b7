package collecttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/manifest"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// A Batch is a batch of a till, made by hand.
type Batch struct {
	M      *manifest.Manifest
	P      manifest.Position
	Blocks []*change.Block
	s      *Server
}

// Batch returns an empty batch that follows what till has sent.
func (s *Server) Batch(till string) *Batch {
	s.t.Helper()
	last, err := s.Position(context.Background(), "ACME/up/"+till)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.follow(till, last)
}

// follow returns an empty batch of a till that follows last.
func (s *Server) follow(till string, last manifest.Position) *Batch {
	b := &Batch{s: s}
	b.M = &manifest.Manifest{Stream: "ACME/up/" + till, Epoch: max(last.Epoch, 1), Sequence: last.Sequence + 1, Previous: last.Digest, Kind: manifest.Delta,
		Created: time.Now(), Incarnation: digest(till)[:32]}
	if last.IsZero() {
		b.M.Previous = collect.NoneBefore
	}
	return b
}

// Add adds rows of one operation. Columns come from the first time a table is
// named.
func (b *Batch) Add(table string, op change.Op, columns string, rows ...[]any) *Batch {
	names := strings.Fields(columns)
	if !slices.ContainsFunc(b.M.Tables, func(t manifest.Table) bool { return t.Name == table }) {
		t := manifest.Table{Name: table, Scope: manifest.Changes, Key: names}
		if u := b.s.uploads[table]; u != nil {
			t.Key = u.Key
		}
		for _, c := range names {
			t.Columns = append(t.Columns, manifest.Column{Name: c})
		}
		b.M.Tables = append(b.M.Tables, t)
	}
	if op == change.Delete {
		names = b.s.uploads[table].Key
	}
	b.Rows(table, op, names, rows...)
	return b
}

// Rows adds rows of a table that was named before.
func (b *Batch) Rows(table string, op change.Op, columns []string, rows ...[]any) {
	if len(rows) == 0 {
		return
	}
	h := &change.Header{Table: table, Op: op, Columns: columns}
	b.M.Members = append(b.M.Members, manifest.Member{Table: table, Rows: int64(len(rows))})
	for part := range slices.Chunk(rows, change.BlockRows) {
		blk := &change.Block{Header: h}
		for _, r := range part {
			for _, v := range r {
				blk.Values = append(blk.Values, value(v))
			}
		}
		b.Blocks = append(b.Blocks, blk)
	}
}

func value(v any) change.Value {
	switch v := v.(type) {
	case nil:
		return change.Value{}
	case int:
		return change.Value{Kind: change.Integer, Int: int64(v)}
	case int64:
		return change.Value{Kind: change.Integer, Int: v}
	case float64:
		return change.Value{Kind: change.Real, Real: v}
	case string:
		return change.Value{Kind: change.Text, Bytes: []byte(v)}
	case []byte:
		return change.Value{Kind: change.Blob, Bytes: v}
	case change.Value:
		return v
	}
	panic(fmt.Sprintf("%T", v))
}

// Set changes one value of a batch that is not sealed yet.
func (b *Batch) Set(table string, row, column int, v any) {
	for _, blk := range b.Blocks {
		if blk.Header.Table == table {
			blk.Row(row)[column] = value(v)
		}
	}
}

const (
	ticketCols = "dossier caisse numero horodatage utilisateur total_ht total_tva total_ttc"
	ligneCols  = "dossier caisse ticket ligne article libelle quantite prix taux_tva montant"
	regleCols  = "dossier caisse ticket rang moyen montant"
	jetCols    = "dossier caisse numero horodatage code"
	clientCols = "dossier code nom carte modifie_le"
	paramCols  = "dossier caisse nom valeur"
)

// Tickets adds whole tickets: a header, two lines, a payment.
func (b *Batch) Tickets(till string, numbers ...int) *Batch {
	return b.tickets(till, numbers, func(int) int { return 2 })
}

// BigBatch returns a sealed batch of n tickets of 4 or 5 lines and a payment.
func (s *Server) BigBatch(till string, n int) *Batch {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return s.Batch(till).tickets(till, numbers, func(n int) int { return 4 + n%2 }).Seal()
}

func (b *Batch) tickets(till string, numbers []int, count func(n int) int) *Batch {
	var heads, lines, payments [][]any
	for _, n := range numbers {
		heads = append(heads, []any{"ACME", till, n, "2026-03-02T09:00:00Z", "U", 100 * n, 20 * n, 120 * n})
		for l := range count(n) {
			lines = append(lines, []any{"ACME", till, n, l + 1, "A", "article", 1000, 60 * n, 2000, 60 * n})
		}
		payments = append(payments, []any{"ACME", till, n, 1, "CB", 120 * n})
	}
	return b.Add("ticket", change.Upsert, ticketCols, heads...).Add("ticket_ligne", change.Upsert, ligneCols, lines...).
		Add("reglement", change.Upsert, regleCols, payments...)
}

// Seal fills in totals and the digest.
func (b *Batch) Seal() *Batch {
	var uploads []manifest.Upload
	for _, t := range b.M.Tables {
		if u := b.s.uploads[t.Name]; u != nil {
			uploads = append(uploads, u.Upload)
		}
	}
	tally := manifest.NewTally(uploads)
	for _, blk := range b.Blocks {
		if blk.Header.Op == change.Base {
			continue
		}
		t := tally.Table(blk.Header.Table)
		u := b.s.uploads[blk.Header.Table]
		for i := range blk.Rows() {
			t.Row()
			for j, c := range blk.Header.Columns {
				v := blk.Row(i)[j]
				if v.Kind != change.Integer || blk.Header.Op != change.Upsert {
					continue
				}
				if n := t.Column(c); n >= 0 {
					t.AddInt(n, v.Int)
				}
				if u != nil && c == u.Number {
					t.AddNumber(v.Int)
				}
			}
		}
	}
	b.M.Totals = tally.Totals()
	b.P = manifest.Position{Epoch: b.M.Epoch, Sequence: b.M.Sequence, Digest: digest(fmt.Sprint(b.M.Stream, b.M.Epoch, b.M.Sequence, b.text()))}
	return b
}

// text shows the rows of the batch.
func (b *Batch) text() string {
	var buf []byte
	for _, blk := range b.Blocks {
		buf = change.AppendHeader(buf, *blk.Header)
		for i := range blk.Rows() {
			buf = change.AppendRow(buf, blk.Row(i))
		}
	}
	return string(buf)
}

// Send seals the batch and integrates it.
func (b *Batch) Send() change.Applied {
	b.s.t.Helper()
	res, err := b.Seal().ApplyTo(b.s.Collector)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return res
}

// ApplyTo integrates a sealed batch.
func (b *Batch) ApplyTo(c *collect.Collector) (change.Applied, error) {
	return c.Apply(context.Background(), b.M, b.P, b.Reader())
}

// Reader hands out the blocks and spoils each at the next call, so that a
// reader that keeps what it borrowed is found out.
func (b *Batch) Reader() change.BlockReader { return &spoiler{blocks: b.Blocks} }

type spoiler struct {
	blocks []*change.Block
	lent   *change.Block
}

func (r *spoiler) Next() (*change.Block, error) {
	if r.lent != nil {
		for i := range r.lent.Values {
			for j := range r.lent.Values[i].Bytes {
				r.lent.Values[i].Bytes[j] = '?'
			}
			r.lent.Values[i] = change.Value{Kind: change.Text, Bytes: []byte("spoiled")}
		}
	}
	if len(r.blocks) == 0 {
		return nil, io.EOF
	}
	r.lent, r.blocks = r.blocks[0].Clone(), r.blocks[1:]
	return r.lent, nil
}

// Blocks hands out blocks as they are.
type Blocks []*change.Block

// Next implements change.BlockReader.
func (r *Blocks) Next() (*change.Block, error) {
	if len(*r) == 0 {
		return nil, io.EOF
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return b, nil
}

// lines is a sink that keeps the rows as text.
type lines struct {
	head change.Header
	list []string
}

func (l *lines) Start(h change.Header) error {
	l.head = h
	return h.Check()
}

func (l *lines) Row(line []byte) error {
	l.list = append(l.list, fmt.Sprintf("%s %s %s", l.head.Table, l.head.Op, strings.TrimSpace(string(line))))
	return nil
}
