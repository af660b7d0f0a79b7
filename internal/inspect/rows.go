package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/term"
	"caisseauto/manifest"
)

// A Table says what a batch holds of one table.
type Table struct {
	Name    string            `json:"name"`
	Scope   manifest.Scope    `json:"scope"`
	Rows    int64             `json:"rows"`
	Bytes   int64             `json:"bytes"` // of its members, before compression
	Key     []string          `json:"key"`
	Columns []manifest.Column `json:"columns"`
	// Ops are the operations in the order of the archive. Nil where the
	// archive was not read: the manifest does not say them.
	Ops []Operation `json:"operations,omitempty"`
}

// An Operation is the rows of one operation on a table.
type Operation struct {
	Op   change.Op `json:"op"`
	Rows int64     `json:"rows"`
}

// Tables returns what the signed manifest says of the batch's tables.
func (b *Batch) Tables() []Table {
	var list []Table
	at := map[string]int{}
	for _, t := range b.Manifest.Tables {
		at[t.Name] = len(list)
		list = append(list, Table{Name: t.Name, Scope: t.Scope, Columns: t.Columns, Key: t.Key})
	}
	for _, m := range b.Manifest.Members {
		t := &list[at[m.Table]]
		t.Rows, t.Bytes = t.Rows+m.Rows, t.Bytes+m.Size
	}
	return list
}

// Summarize returns what is in the batch, with the operations, for which the
// archive is verified and decompressed; its rows are not looked at, the files of
// a package are read. When the
// archive is not there, or is not what was signed, the summary says so and
// holds what the manifest says; the error tells of an archive that should be
// there, and is not good.
func (i *Inspector) Summarize(ctx context.Context, b *Batch) (*Summary, error) {
	s := b.summary()
	err := i.contents(ctx, b, func(member int, h *change.Header) bool {
		m := b.Manifest.Members[member]
		t := &s.Tables[slices.IndexFunc(s.Tables, func(t Table) bool { return t.Name == m.Table })]
		n := slices.IndexFunc(t.Ops, func(o Operation) bool { return o.Op == h.Op })
		if n < 0 {
			n = len(t.Ops)
			t.Ops = append(t.Ops, Operation{Op: h.Op})
		}
		t.Ops[n].Rows += m.Rows
		return false
	}, nil)
	switch {
	case err == nil:
		s.Contents = Good
		return s, nil
	case fatal(ctx, err):
		return nil, err
	}
	s.Tables = b.Tables() // the operations of half an archive are none
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		s.Contents = Refused
	case b.Manifest.Sequence < i.oldest(ctx, b.Place):
		s.Contents, s.Reason = Pruned, reasonPruned
		return s, nil
	default:
		s.Contents = Missing
	}
	s.Reason = err.Error()
	return s, err
}

// Rows hands out the rows of a table, of all tables when table is "", in the
// order of the archive, those alone that key fits. A Row is good until visit
// returns. An error of visit comes back as it is. The size and digest of the
// archive were verified before the first row is handed out.
func (i *Inspector) Rows(ctx context.Context, b *Batch, table string, key Key, visit func(Row) error) error {
	bound := map[string]*boundKey{}
	for _, t := range b.Manifest.Tables {
		if table != "" && t.Name != table {
			continue
		}
		k, err := key.bind(t.Name, t.Key)
		if err != nil && table != "" {
			return err
		}
		if err == nil {
			bound[t.Name] = k
		}
	}
	if len(bound) == 0 {
		if table == "" {
			return fmt.Errorf("%w: no table of %s %d has a key that %q fits: name the table with --table", ErrKey, b.Place.Stream, b.Manifest.Sequence, key.text)
		}
		return fmt.Errorf("%w: %q is not in %s %d, which has: %s", ErrTable, table, b.Place.Stream, b.Manifest.Sequence, tableNames(b.Manifest))
	}
	return i.contents(ctx, b, func(_ int, h *change.Header) bool { return bound[h.Table] != nil },
		func(block *change.Block) error { return bound[block.Header.Table].each(block, visit) })
}

// ErrTable: the batch has no such table.
var ErrTable = errors.New("no such table")

// checked opens the archive and verifies its size and digest.
func (i *Inspector) checked(ctx context.Context, b *Batch) (*os.File, error) {
	p := i.progress("checking "+b.Manifest.Archive.Name, b.Manifest.Archive.Size, true)
	defer p.Done()
	return i.archive(ctx, b, p)
}

// contents opens the archive, verifies it, and reads what is wanted. Of a package
// all files are read, and nothing is handed out.
func (i *Inspector) contents(ctx context.Context, b *Batch, want func(int, *change.Header) bool, visit func(*change.Block) error) error {
	f, err := i.checked(ctx, b)
	if err != nil {
		return err
	}
	defer f.Close()
	if b.Manifest.Package != nil {
		return i.files(ctx, b, f, nil)
	}
	p := i.progress("reading "+b.Manifest.Archive.Name, b.Manifest.Archive.TarSize, true)
	defer p.Done()
	return i.read(ctx, b, f, func(member int, h *change.Header) bool {
		p.Add(b.Manifest.Members[member].Size)
		return want(member, h)
	}, visit)
}

// read reads the rows of an archive that was verified, and tells what visit
// says from what is wrong with the archive.
func (i *Inspector) read(ctx context.Context, b *Batch, f *os.File, want func(int, *change.Header) bool, visit func(*change.Block) error) error {
	var own error
	err := i.Contents(ctx, b.Manifest, f, want, func(block *change.Block) error {
		own = visit(block)
		return own
	})
	if err == nil || own != nil {
		return own
	}
	return unreadable(ctx, shown(b.Place, b.Manifest.Archive.Name), err)
}

func (i *Inspector) progress(label string, total int64, bytes bool) *term.Progress {
	if i.Progress == nil {
		return nil
	}
	return i.Progress(label, total, bytes)
}

// tableNames lists the tables of a manifest, for an error.
func tableNames(m *manifest.Manifest) string {
	var names []string
	for _, t := range m.Tables {
		names = append(names, t.Name)
	}
	return listed(names)
}

// listed joins names for a message, the first twenty of them.
func listed(names []string) string {
	const most = 20
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n-most)
	}
	return strings.Join(names, ", ")
}
