package importer

import (
	"context"
	"fmt"
	"io"
	"os"

	"caisseauto/internal/archive"
	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// CheckContents reads the archive in f to its last row and says what differs
// from the manifest: in the tar, in the members, in the rows, in a till's
// control totals (their rows and sums; which column counts tickets is not in
// a till's manifest). It is what an import checks before it applies, for one
// who has no database. m is verified, and f has the size and digest that it
// says.
func CheckContents(ctx context.Context, m *manifest.Manifest, f *os.File) error {
	tally := manifest.TallyLike(m.Totals)
	err := ReadContents(ctx, m, f, nil, func(b *change.Block) error {
		if manifest.IsUp(m.Stream) {
			addUp(tally, b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !manifest.IsUp(m.Stream) {
		return nil
	}
	got := tally.Totals()
	for i := range got {
		for _, said := range m.Totals {
			if said.Table == got[i].Table {
				got[i].Numbers = said.Numbers
			}
		}
	}
	if err := manifest.CheckTotals(m.Totals, got); err != nil {
		return fmt.Errorf("the manifest contradicts its rows: %w", err)
	}
	return nil
}

// ReadContents hands out the rows of the archive in f, block after block in
// their order, for one who has no database. m is verified, and f has the size
// and digest that it says. Blocks are good until visit returns; its errors
// come back as they are, every other one says what differs from the manifest.
//
// Where want is given, it is told each member, by its index in the manifest
// and its first line, and false passes over the rows of it: of these nothing
// is parsed, though every byte is still held against the signed digest.
//
// One block is in memory at a time, so that several archives can be read at
// once: a pipe like an import's would hold eight, and a row can have 8 MiB.
func ReadContents(ctx context.Context, m *manifest.Manifest, f *os.File, want func(member int, h *change.Header) bool, visit func(*change.Block) error) error {
	v := &verified{manifest: m, file: f}
	for _, member := range m.Members {
		v.members = append(v.members, archive.Member{Name: member.Name, Size: member.Size, SHA256: member.SHA256})
	}
	r := &memberRows{v: v, want: want}
	defer func() {
		if r.archive != nil {
			_ = r.archive.Close() // it was read from only
		}
	}()
	for b := new(change.Block); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.fill(b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := visit(b); err != nil {
			return err
		}
	}
}

// addUp adds a block of rows to the control totals.
func addUp(tally *manifest.Tally, b *change.Block) {
	if b.Header.Op == change.Base {
		return
	}
	t := tally.Table(b.Header.Table)
	columns := make([]int, len(b.Header.Columns))
	for i, name := range b.Header.Columns {
		columns[i] = t.Column(name)
	}
	for i := range b.Rows() {
		t.Row()
		if b.Header.Op != change.Upsert {
			continue
		}
		for at, v := range b.Row(i) {
			n := columns[at]
			if n < 0 {
				continue
			}
			switch v.Kind {
			case change.Integer:
				t.AddInt(n, v.Int)
			case change.Real:
				t.AddReal(n, v.Real)
			case change.Text:
				_ = t.AddText(n, string(v.Bytes)) // what is no number counts as 0
			}
		}
	}
}
