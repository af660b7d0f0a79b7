package importer

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// heldDir is the folder in the inbox that keeps the files of batches that went
// into quarantine whole, as they came.
const heldDir = "held"

// holds reports whether a batch of this stream can go into quarantine whole.
func (i *Importer) holds() bool {
	_, can := i.Applier.(Holder)
	return can && manifest.IsUp(i.Stream)
}

// hold puts a batch into quarantine. Its files are safe before the database
// says that they are.
func (i *Importer) hold(ctx context.Context, u *unfit, start time.Time) (Batch, error) {
	dir := filepath.Join(i.Inbox, heldDir)
	if err := i.keep(u.position.Sequence, dir); err != nil {
		return Batch{}, fmt.Errorf("keeping a batch that cannot be integrated (%w): %w", u.cause, err)
	}
	if err := i.Applier.(Holder).Hold(ctx, u.manifest, u.position, dir, u.cause); err != nil {
		return Batch{}, fmt.Errorf("%s: %w", manifest.FileName(u.position.Sequence, manifest.ManifestExt), err)
	}
	b := Batch{Position: u.position, Kind: u.manifest.Kind, Held: true, Reason: u.cause.Error(), Elapsed: time.Since(start)}
	for _, m := range u.manifest.Members {
		b.Rows += m.Rows
	}
	b.Quarantined = b.Rows
	i.log().Error("a whole batch went into quarantine", "stream", i.Stream, "sequence", b.Position.Sequence, "rows", b.Rows, "files", dir, "reason", b.Reason)
	return b, nil
}

// keep copies the files of a batch into dir. Those that a crash has left there
// are the same, or are replaced by a number that was never integrated.
func (i *Importer) keep(sequence int64, dir string) error {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		name := manifest.FileName(sequence, ext)
		if err := copyFile(filepath.Join(i.Inbox, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return durable.SyncDir(dir)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return durable.SyncFile(out)
}
