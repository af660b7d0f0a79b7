package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/archive"
	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// form is what the members of a package's archive may be.
var form = archive.Form{CheckName: manifest.CheckFileName, MaxMember: manifest.MaxFileSize}

// packed is an archive in the staging folder.
type packed struct {
	sum   archive.Sum
	empty []string
}

// stage makes the archive with that number in the staging folder, alone: what a
// crash left there without a manifest was never promised to anybody.
func (p *Publisher) stage(sequence int64) (*os.File, error) {
	if err := os.RemoveAll(p.staging()); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(p.staging(), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(p.staging(), manifest.FileName(sequence, manifest.ArchiveExt)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

// pack writes the files of a folder into an archive, and lists them in pkg.
func (p *Publisher) pack(ctx context.Context, q Request, pkg *manifest.Package, sequence int64) (_ *packed, err error) {
	dir, err := openFolder(q.Folder, q.OS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	defer dir.close()
	pkg.Files = dir.files
	out, err := p.stage(sequence)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w, err := form.NewWriter(out)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	total, done := pkg.Size(), int64(0)
	for i := range pkg.Files {
		f := &pkg.Files[i]
		if f.SHA256, err = p.add(ctx, w, dir, f); err != nil {
			return nil, fmt.Errorf("%s: %w; nothing was published", filepath.Join(q.Folder, f.Name), err)
		}
		if done += f.Size; p.Progress != nil {
			p.Progress(done, total)
		}
	}
	sum, err := w.Close()
	if err != nil {
		return nil, err
	}
	return &packed{sum, dir.empty}, durable.SyncFile(out)
}

// add adds one file, which must not change meanwhile.
func (p *Publisher) add(ctx context.Context, w *archive.Writer, dir *folder, f *manifest.File) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	in, err := dir.open(f.Name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	return w.AddFile(f.Name, f.Size, in)
}

// describeBack describes the way back: the very package that it leads to.
func (q *Request) describeBack(all []*Batch) (*manifest.Package, error) {
	from := released(all, q, q.Rollback.From)
	to := released(all, q, q.Rollback.To)
	for n, b := range map[int64]*Batch{q.Rollback.From: from, q.Rollback.To: to} {
		if b == nil {
			return nil, fmt.Errorf("%w: there is no release %d of %s for %s/%s in the stream; nothing was published", ErrRequest, n, q.Product, q.OS, q.Arch)
		}
	}
	if from.Release <= to.Release {
		return nil, fmt.Errorf("%w: %s is not newer than %s; nothing was published", ErrRequest, from, to)
	}
	p := *to.Package
	p.Rollback = q.Rollback
	if q.Notes != "" {
		p.Notes = q.Notes
	}
	return &p, nil
}

// released finds the batch that brought a release first.
func released(all []*Batch, q *Request, release int64) *Batch {
	for _, b := range all {
		if b.Product == q.Product && b.OS == q.OS && b.Arch == q.Arch && b.Release == release && b.Rollback == nil {
			return b
		}
	}
	return nil
}

// again brings the archive of the release that a rollback leads to into the
// staging folder, under the new number.
func (p *Publisher) again(ctx context.Context, all []*Batch, q Request, pkg *manifest.Package) (_ *packed, err error) {
	to := released(all, &q, pkg.Release)
	var in *os.File
	for _, dir := range append([]string{p.Outbox}, q.Archives...) {
		in, err = durable.Tree{}.OpenRegular(filepath.Join(dir, to.Archive.Name))
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the archive of %s: %w; bring it back from the drop or a backup; nothing was published", to, err)
	}
	defer in.Close()
	if err := archive.Check(in, to.sum()); err != nil {
		return nil, fmt.Errorf("%s: %w: %w; nothing was published", in.Name(), manifest.ErrRefused, err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	out, err := p.stage(q.place(all).Sequence)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &packed{sum: to.sum()}, durable.SyncFile(out)
}

// reserve writes the manifest beside the staged archive. From then on its
// number belongs to these bytes.
func (p *Publisher) reserve(q Request, all []*Batch, pkg *manifest.Package, a *packed) (manifest.Position, error) {
	at := q.place(all)
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: p.Stream, Epoch: at.Epoch, Sequence: at.Sequence, Previous: at.Digest,
		Kind: manifest.KindPackage, Created: p.now(), Signer: p.Principal,
		Archive: manifest.Archive{Size: a.sum.Size, SHA256: a.sum.SHA256, TarSize: a.sum.TarSize},
		Package: pkg,
	}
	m.Archive.Name = manifest.FileName(m.Sequence, manifest.ArchiveExt)
	doc, err := manifest.Encode(m)
	if errors.Is(err, manifest.ErrRefused) {
		return at, fmt.Errorf("%w: %w; nothing was published", ErrRequest, err)
	}
	if err != nil {
		return at, err
	}
	if q.NewEpoch != "" {
		p.log().Warn("new epoch", "stream", p.Stream, "epoch", at.Epoch, "sequence", at.Sequence, "reason", q.NewEpoch)
		if err := p.recordEpoch(at, q.NewEpoch); err != nil {
			return at, err
		}
	}
	err = durable.WriteFile(filepath.Join(p.staging(), manifest.FileName(m.Sequence, manifest.ManifestExt)), doc, 0o644)
	return manifest.Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: manifest.Digest(doc)}, err
}

// epochsName is the file in the outbox that remembers why epochs were begun.
const epochsName = "EPOCHS.txt"

// recordEpoch notes an operator's decision. One that was stopped before its
// package was sealed is noted twice.
func (p *Publisher) recordEpoch(at manifest.Position, reason string) error {
	path := filepath.Join(p.Outbox, epochsName)
	said, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := fmt.Sprintf("%s epoch %d begins with batch %d: %s\n", stamp(p.now()), at.Epoch, at.Sequence, manifest.Clip(reason, manifest.MaxWords))
	return durable.WriteFile(path, append(said, line...), 0o644)
}

// finish moves what is staged to its place: archive, signature, manifest, in
// that order, for the manifest is the commit. Then it reads it as a till would.
func (p *Publisher) finish(sequence int64) (*Batch, error) {
	name := func(ext string) string { return manifest.FileName(sequence, ext) }
	doc, err := os.ReadFile(filepath.Join(p.staging(), name(manifest.ManifestExt)))
	if err != nil {
		return nil, err
	}
	err = durable.Publish(filepath.Join(p.staging(), name(manifest.ArchiveExt)), filepath.Join(p.Outbox, name(manifest.ArchiveExt)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there: it is at its place, or reread says so
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(p.Outbox, name(manifest.ManifestExt))); errors.Is(err, fs.ErrNotExist) {
		sig, err := manifest.Sign(doc, p.Signer)
		if err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(p.Outbox, name(manifest.SignatureExt)), sig, 0o644); err != nil {
			return nil, err
		}
	}
	if err := durable.Create(filepath.Join(p.Outbox, name(manifest.ManifestExt)), doc, 0o644); err != nil {
		return nil, err
	}
	b, err := p.reread(sequence)
	if err != nil {
		return nil, err
	}
	return b, os.RemoveAll(p.staging())
}

// reread verifies a batch in the outbox from the disk, to the last byte of the
// last file, before a head names it: what was signed must be what was written.
func (p *Publisher) reread(sequence int64) (*Batch, error) {
	b, err := openBatch(p.Outbox, p.Stream, sequence, p.Trust)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(p.Outbox, b.Archive.Name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := readAll(b, f); err != nil {
		return nil, fmt.Errorf("%s: not what was sealed: %w", f.Name(), err)
	}
	return b, nil
}

// readAll reads an archive to its end and holds it against its manifest.
func readAll(b *Batch, f *os.File) error {
	r, err := openArchive(b, f)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		_, body, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, body)
		}
		if err != nil {
			return err
		}
	}
}

// sum is what the manifest says of the archive.
func (b *Batch) sum() archive.Sum {
	return archive.Sum{Size: b.Archive.Size, SHA256: b.Archive.SHA256, TarSize: b.Archive.TarSize}
}

// openArchive checks size and digest of an archive, and opens it for reading:
// the same open file.
func openArchive(b *Batch, f *os.File) (*archive.Reader, error) {
	if err := archive.Check(f, b.sum()); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	members := make([]archive.Member, len(b.Files))
	for i, file := range b.Files {
		members[i] = archive.Member{Name: file.Name, Size: file.Size, SHA256: file.SHA256}
	}
	return form.NewReader(f, members, b.Archive.TarSize)
}

// Needs returns the number of the batch whose archive Publish needs for a
// rollback and that is not in the outbox, 0 when none is.
func (p *Publisher) Needs(q Request) (int64, error) {
	all, err := chain(p.Outbox, p.Stream, p.Trust)
	if err != nil || q.Rollback == nil {
		return 0, err
	}
	to := released(all, &q, q.Rollback.To)
	if to == nil {
		return 0, nil // Publish says so
	}
	if _, err := os.Lstat(filepath.Join(p.Outbox, to.Archive.Name)); err == nil {
		return 0, nil
	}
	return to.Sequence, nil
}
