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
	v := &verified{manifest: m, file: f}
	for _, member := range m.Members {
		v.members = append(v.members, archive.Member{Name: member.Name, Size: member.Size, SHA256: member.SHA256})
	}
	rows := v.rows(ctx, nil)
	defer rows.Close()
	tally := manifest.TallyLike(m.Totals)
	for {
		b, err := rows.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if manifest.IsUp(m.Stream) {
			addUp(tally, b)
		}
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
