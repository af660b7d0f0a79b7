package inspect

import (
	"context"
	"time"

	"caisseauto/manifest"
)

// A List is the newest batches of a stream.
type List struct {
	Place   Place
	Batches []Entry // by number
	Older   int64   // batches that are not listed
	Strays  int64   // names in the folder that are no batch's
}

// An Entry is one batch of a list.
type Entry struct {
	Sequence int64
	Err      error // why there is nothing more to say of it; nil: what follows is signed
	Epoch    int64
	Kind     manifest.Kind
	Created  time.Time
	Signer   string
	Key      string
	Trusted  bool
	Tables   []string // those with rows
	Rows     int64
	Package  *manifest.Latest // of the stream of packages, in place of tables and rows
	Files    int64
	Size     int64 // of the archive
	Archive  bool  // it is there; it was not read
}

// List lists the newest batches of a stream, at most newest of them, 0 for
// all. Their manifests are verified, their archives are not read.
func (i *Inspector) List(ctx context.Context, p Place, newest int) (*List, error) {
	l, err := p.Files.List(ctx)
	if err != nil {
		return nil, unreadable(ctx, p.Stream, err)
	}
	out := &List{Place: p, Strays: l.Strays}
	batches := l.Batches
	if n := len(batches) - newest; newest > 0 && n > 0 {
		out.Older, batches = int64(n), batches[n:]
	}
	progress := i.progress("reading manifests of "+p.Stream, int64(len(batches)), false)
	defer progress.Done()
	for _, b := range batches {
		e, err := i.entry(ctx, p, b)
		if err != nil {
			return nil, err
		}
		out.Batches = append(out.Batches, e)
		progress.Add(1)
	}
	return out, nil
}

// entry opens one manifest. The error is one that ends everything.
func (i *Inspector) entry(ctx context.Context, p Place, l Listed) (Entry, error) {
	e := Entry{Sequence: l.Sequence, Archive: l.Archive}
	b, err := i.openListed(ctx, p, l)
	if fatal(ctx, err) {
		return e, err
	}
	if e.Err = err; err != nil {
		return e, nil
	}
	m := b.Manifest
	e.Epoch, e.Kind, e.Created, e.Signer, e.Key, e.Trusted, e.Size = m.Epoch, m.Kind, m.Created, m.Signer, b.Key, b.Trusted, m.Archive.Size
	e.Rows = rowsOf(m)
	if m.Package != nil {
		p := m.Latest()
		e.Package, e.Files = &p, int64(len(m.Files))
	}
	for _, t := range b.Tables() {
		if t.Rows > 0 {
			e.Tables = append(e.Tables, t.Name)
		}
	}
	return e, nil
}

func rowsOf(m *manifest.Manifest) (n int64) {
	for _, member := range m.Members {
		n += member.Rows
	}
	return n
}
