package exporter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"caisseauto/internal/archive"
	"caisseauto/internal/change"
	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A batch is what pack left in the staging folder: archive and unsigned
// manifest, both on the disk.
type batch struct {
	manifest *manifest.Manifest
	document []byte // the manifest's bytes
	pending  manifest.Pending
	rows     int64
}

// pack reads the source into the staging folder. It returns nil when there
// was nothing to seal, or not what was wished for.
func (e *Exporter) pack(ctx context.Context, stand manifest.Stand, w wish) (*batch, error) {
	// What a crash left here was never reserved: nobody knows of it.
	if err := os.RemoveAll(e.staging()); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(e.staging(), 0o755); err != nil {
		return nil, err
	}
	sequence := stand.Last.Sequence + 1
	name := manifest.FileName(sequence, manifest.ArchiveExt)
	p, extract, err := e.read(ctx, filepath.Join(e.staging(), name), w != changes || stand.Last.Digest == "")
	if err != nil {
		return nil, err
	}
	if extract.Kind == manifest.Delta && len(extract.Tables) == 0 && len(extract.Uploads) == 0 {
		return nil, errors.Join(e.Source.Advance(ctx, e.Stream, extract.Cursor), os.RemoveAll(e.staging()))
	}
	if w == onlyUnchanged && !extract.Unchanged {
		return nil, os.RemoveAll(e.staging())
	}
	m := e.describe(stand, name, p, extract)
	m.Unchanged = extract.Unchanged && w != everything
	doc, err := manifest.Encode(m)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(filepath.Join(e.staging(), manifest.FileName(sequence, manifest.ManifestExt)), doc, 0o644); err != nil {
		return nil, err
	}
	position := manifest.Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: manifest.Digest(doc)}
	return &batch{manifest: m, document: doc, rows: p.rows,
		pending: manifest.Pending{Position: position, Kind: m.Kind, Cursor: extract.Cursor}}, nil
}

// describe states what was packed.
func (e *Exporter) describe(stand manifest.Stand, name string, p *packer, x manifest.Extract) *manifest.Manifest {
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: e.Stream,
		Epoch: max(stand.Last.Epoch, 1), Sequence: stand.Last.Sequence + 1, Previous: stand.Last.Digest,
		Kind: x.Kind, Created: e.now(), Signer: e.Principal,
		Archive: manifest.Archive{Name: name, Size: p.sum.Size, SHA256: p.sum.SHA256, TarSize: p.sum.TarSize},
		Tables:  x.Tables, Members: p.members,
		Integrated: x.Integrated, Uploads: x.Uploads,
		Totals: x.Totals, Applied: x.Applied, Incarnation: x.Incarnation,
	}
	if m.Previous == "" {
		m.Previous = manifest.NoPrevious()
	}
	for i := range m.Tables {
		m.Tables[i].Schema = manifest.Fingerprint(m.Tables[i].Columns, m.Tables[i].Key)
	}
	return m
}

// read streams the source into an archive file, which is on the disk when
// read returns.
func (e *Exporter) read(ctx context.Context, path string, full bool) (_ *packer, x manifest.Extract, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, x, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w, err := archive.NewWriter(f)
	if err != nil {
		return nil, x, err
	}
	defer w.Abort()
	p := &packer{w: w, counts: map[string]int{}, progress: e.Progress}
	x, err = e.Source.Read(ctx, e.Stream, full, p)
	if err != nil {
		return nil, x, err
	}
	if err := p.flush(); err != nil {
		return nil, x, err
	}
	if p.sum, err = w.Close(); err != nil {
		return nil, x, err
	}
	return p, x, durable.SyncFile(f)
}

// maxRows bounds the rows of a member, so that both sides stream with bounded
// memory. A single row can be as large.
const maxRows = 8 << 20

// A packer cuts rows into members of at most maxRows bytes. It is
// the change.Sink of the source.
type packer struct {
	w        *archive.Writer
	members  []manifest.Member
	counts   map[string]int // members so far, by table
	head     change.Header
	line     []byte // the encoded head
	buf      []byte // the member being filled; nil before the first Start
	inMember int64
	rows     int64
	sum      archive.Sum
	progress func(int64)
	deletes  bool
}

// Start begins members of another kind of rows.
func (p *packer) Start(h change.Header) error {
	if err := p.flush(); err != nil {
		return err
	}
	if p.deletes && h.Op != change.Delete {
		return fmt.Errorf("table %q: an %s after the deletes", h.Table, h.Op) // a fault of the source
	}
	p.deletes = h.Op == change.Delete
	p.head = h
	p.line = change.AppendHeader(p.line[:0], h)
	return nil
}

// Row adds one encoded line to the member.
func (p *packer) Row(line []byte) error {
	if p.inMember > 0 && len(p.buf)+len(line) > maxRows {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.inMember == 0 {
		p.buf = append(p.w.Buffer()[:0], p.line...)
	}
	p.buf = append(p.buf, line...)
	p.inMember++
	p.rows++
	if p.progress != nil && p.rows%10_000 == 0 {
		p.progress(p.rows)
	}
	return nil
}

// flush hands the member over to the archive.
func (p *packer) flush() error {
	if p.inMember == 0 {
		return nil
	}
	p.counts[p.head.Table]++
	name := manifest.MemberName(p.head.Table, p.counts[p.head.Table])
	m := manifest.Member{Name: name, Table: p.head.Table, Rows: p.inMember, Size: int64(len(p.buf))}
	sum, err := p.w.Add(name, p.buf)
	if err != nil {
		return err
	}
	m.SHA256 = sum
	p.members = append(p.members, m)
	p.buf, p.inMember = nil, 0 // the buffer is the archive's now
	return nil
}
