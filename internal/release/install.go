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

// prepare brings the release of b onto the disk, whole, verified and synced,
// under its own name, from where it can be switched to in one step. A release
// that is there already, as after a crash, is verified and used.
func (t *Till) prepare(ctx context.Context, p *Product, b *Batch) error {
	at := placeOf(b)
	if err := durable.MkdirAll(p.releases(), 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(p.path(at)); err == nil {
		err := t.verify(ctx, p.path(at), b, true)
		if err == nil {
			return t.writeStatement(p, b)
		}
		if ctx.Err() != nil {
			return err
		}
		if cur, cerr := p.Current(); cerr != nil || cur == at { // another dossier's, of the same name and number
			return errors.Join(cerr, fmt.Errorf("%s: %s runs here already, with other files, and is left alone: %w; publish this one under another version", b, p.path(at), err))
		}
		t.log().Warn("a release on the disk is not whole, installing it anew", "product", p.Name, "release", at.Name(), "reason", err.Error())
		if err := p.remove(at); err != nil {
			return err
		}
	}
	fresh := filepath.Join(p.releases(), newPrefix+at.Name())
	err := t.fill(ctx, p, b, fresh)
	if err == nil {
		err = durable.SyncTree(fresh)
	}
	if err == nil {
		err = t.writeStatement(p, b)
	}
	if err == nil {
		err = durable.RenameNew(fresh, p.path(at))
	}
	if err != nil { // a full disk is not to stay full of what is of no use
		return errors.Join(err, os.RemoveAll(fresh), p.removeStatement(at))
	}
	return nil
}

// writeStatement writes the signed statement beside the release, for the next run and
// for auditors.
func (t *Till) writeStatement(p *Product, b *Batch) error {
	doc, sig, err := readPair(filepath.Join(t.Inbox, manifest.FileName(b.Sequence, manifest.ManifestExt)), manifest.MaxManifest)
	if err != nil {
		return err
	}
	if manifest.Digest(doc) != b.Position.Digest {
		return fmt.Errorf("%s: the manifest of batch %d was exchanged while it was read; nothing was changed; run update again", t.Inbox, b.Sequence)
	}
	name := p.manifest(placeOf(b))
	return errors.Join(durable.WriteFile(name+".sig", sig, 0o644), durable.WriteFile(name, doc, 0o644))
}

// removeStatement removes what writeStatement has written.
func (p *Product) removeStatement(at Place) error {
	return errors.Join(durable.Tree{}.Remove(p.manifest(at)), durable.Tree{}.Remove(p.manifest(at)+".sig"))
}

// fill fills a fresh folder with the files of b: from the same release that is
// on the disk already, where a rollback leads to it, else from the archive.
func (t *Till) fill(ctx context.Context, p *Product, b *Batch, fresh string) error {
	if b.Rollback != nil {
		if from, ok := p.sameRelease(b); ok {
			err := t.copy(ctx, p.path(from), fresh, b)
			if err == nil || ctx.Err() != nil || durable.IsNoSpace(err) {
				return err
			}
			t.log().Warn("the release on the disk has changed, fetching its archive", "product", p.Name, "release", from.Name(), "reason", err.Error())
		}
	}
	err := t.unpackFile(ctx, b, fresh)
	if err == nil || ctx.Err() != nil || !errors.Is(err, manifest.ErrRefused) || t.Fetch == nil {
		return err
	}
	t.log().Warn("fetching a refused archive again", "stream", t.Stream, "sequence", b.Sequence, "reason", err.Error())
	if rerr := os.Remove(t.archive(b)); rerr != nil {
		return errors.Join(err, rerr)
	}
	if err = t.unpackFile(ctx, b, fresh); errors.Is(err, manifest.ErrRefused) {
		err = errors.Join(err, os.Remove(t.archive(b))) // so that the next run sees what the drop has then
	}
	return err
}

// sameRelease finds the release that a rollback leads to.
func (p *Product) sameRelease(b *Batch) (Place, bool) {
	all, err := p.Releases()
	if err != nil {
		return Place{}, false
	}
	for _, at := range all {
		if at.Release == b.Release && at.Version == b.Version {
			return at, true
		}
	}
	return Place{}, false
}

func (t *Till) archive(b *Batch) string { return filepath.Join(t.Inbox, b.Archive.Name) }

// unpackFile unpacks the archive of b in the inbox, which it fetches when it is
// not there.
func (t *Till) unpackFile(ctx context.Context, b *Batch, fresh string) error {
	f, err := durable.Tree{}.OpenRegular(t.archive(b))
	if errors.Is(err, fs.ErrNotExist) && t.Fetch != nil {
		if err := t.Fetch(ctx, b.Sequence); err != nil {
			return fmt.Errorf("fetching %s: %w; nothing was changed", b, err)
		}
		f, err = durable.Tree{}.OpenRegular(t.archive(b))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: its archive %s is not there; nothing was changed; try again later", b, ErrIncomplete, b.Archive.Name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = t.unpack(ctx, b, f, fresh)
	var disk *fs.PathError
	if err == nil || ctx.Err() != nil || errors.As(err, &disk) || durable.IsNoSpace(err) {
		return err
	}
	r := &Refused{Batch: b, Rule: "A2 to A5", Reason: b.Archive.Name + ": " + err.Error(), Final: true}
	if errors.Is(err, archive.ErrOther) { // another copy may be right; what was signed never changes
		r.Rule, r.Final = "A1", false
	}
	return r
}

// unpack verifies an archive whole, and then writes its files into a fresh
// folder: from the one open file, so that nobody can exchange it between the
// two. The archive gives out exactly the bytes that were signed, or an error.
func (t *Till) unpack(ctx context.Context, b *Batch, f *os.File, fresh string) error {
	r, err := openArchive(b, f)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := newWriter(ctx, fresh, t.progress("installing", b.Package.Size()))
	if err != nil {
		return err
	}
	defer w.close()
	for {
		i, body, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = w.file(b.Files[i], body)
		}
		if err != nil {
			return err
		}
	}
}

// copy fills a fresh folder from another release's, whose files are verified
// on the way.
func (t *Till) copy(ctx context.Context, from, fresh string, b *Batch) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	w, err := newWriter(ctx, fresh, t.progress("copying", b.Package.Size()))
	if err != nil {
		return err
	}
	defer w.close()
	for _, file := range b.Files {
		f, err := durable.In(root).OpenRegular(file.Name)
		if err != nil {
			return errors.Join(err, os.RemoveAll(fresh))
		}
		sum := newSum(f)
		err = errors.Join(w.file(file, sum), f.Close())
		if err == nil {
			err = sum.check(file)
		}
		if err != nil {
			return errors.Join(err, os.RemoveAll(fresh))
		}
	}
	return nil
}
