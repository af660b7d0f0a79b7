package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/archive"
	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// A verified batch: everything that can be checked without the database was,
// on the one open file that its rows are then read from.
type verified struct {
	manifest *manifest.Manifest
	position manifest.Position
	file     *os.File
	members  []archive.Member
	total    int64 // rows
}

func (v *verified) close() { _ = v.file.Close() }

// verify checks a batch whole: signature, stream, chain, size and hash of the
// archive, then every member and every row in it.
func (i *Importer) verify(ctx context.Context, sequence int64, pos manifest.Position) (*verified, error) {
	m, position, err := i.open(sequence)
	if err != nil {
		return nil, err
	}
	if err := follows(m, pos); err != nil {
		return nil, fmt.Errorf("%s: %w; nothing of it was applied", manifest.FileName(sequence, manifest.ManifestExt), err)
	}
	path := filepath.Join(i.Inbox, m.Archive.Name)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	v := &verified{manifest: m, position: position, file: f}
	for _, member := range m.Members {
		v.members = append(v.members, archive.Member{Name: member.Name, Size: member.Size, SHA256: member.SHA256})
		v.total += member.Rows
	}
	if err := v.check(ctx, i.progress("verifying", v.total)); err != nil {
		defer v.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = fmt.Errorf("%s: %w: %w; nothing of it was applied", m.Archive.Name, manifest.ErrRefused, err)
		if v.authentic(err) {
			err = &unfit{m, position, err}
		}
		return nil, err
	}
	return v, nil
}

// An unfit batch is the one that its writer signed, byte for byte, and the
// next one, but cannot be applied.
type unfit struct {
	manifest *manifest.Manifest
	position manifest.Position
	cause    error
}

func (u *unfit) Error() string { return u.cause.Error() }

func (u *unfit) Unwrap() error { return u.cause }

func isUnfit(err error) bool {
	u := (*unfit)(nil)
	return errors.As(err, &u)
}

// authentic reports whether the archive, of which check said err, has the
// size and digest that were signed. A disk that cannot be read is no reason to
// blame the writer.
func (v *verified) authentic(err error) bool {
	if disk := (*fs.PathError)(nil); errors.As(err, &disk) {
		return false
	}
	if _, err := v.file.Seek(0, io.SeekStart); err != nil {
		return false
	}
	a := v.manifest.Archive
	sum, _ := archive.Hash(io.LimitReader(v.file, a.Size+1))
	return sum.Size == a.Size && sum.SHA256 == a.SHA256
}

// check holds the archive against the manifest.
func (v *verified) check(ctx context.Context, progress func(int64)) error {
	a := v.manifest.Archive
	if err := archive.Check(v.file, archive.Sum{Size: a.Size, SHA256: a.SHA256, TarSize: a.TarSize}); err != nil {
		return err
	}
	rows := v.rows(ctx, progress)
	defer rows.Close()
	for {
		if _, err := rows.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A reading is the rows of a batch, decoded ahead of the caller in a goroutine
// of their own.
type reading struct {
	*change.Pipe
	src *memberRows
}

// rows opens the rows from the start of the file, held against the manifest on
// the way. The caller closes what it gets.
func (v *verified) rows(ctx context.Context, progress func(int64)) *reading {
	src := &memberRows{v: v, progress: progress}
	return &reading{change.NewPipe(ctx, readAhead, src.fill), src}
}

// Close ends the goroutine, and then the decompression under it, which an end
// before the last row would leave waiting.
func (r *reading) Close() error {
	err := r.Pipe.Close()
	if r.src.archive != nil {
		err = errors.Join(err, r.src.archive.Close())
	}
	return err
}

// readAhead is how many blocks of rows are decoded ahead: some thousand rows,
// enough to bridge a pause of either side, and under a few MiB.
const readAhead = 8
