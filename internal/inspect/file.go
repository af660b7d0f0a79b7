package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"caisseauto/internal/verify"
)

// ErrFile: the batch has no such file.
var ErrFile = errors.New("no such file")

// File writes one file of a package to w, once all of the archive was read and
// found to be what was signed. An error of w comes back as it is.
func (i *Inspector) File(ctx context.Context, b *Batch, name string, w io.Writer) error {
	if b.Manifest.Package == nil {
		return fmt.Errorf("%w: %s %d holds rows and no files", ErrFile, b.Place.Stream, b.Manifest.Sequence)
	}
	var names []string
	for _, f := range b.Manifest.Files {
		names = append(names, f.Name)
	}
	at := slices.Index(names, name)
	if at < 0 {
		return fmt.Errorf("%w: %q is not in %s %d, which has: %s", ErrFile, name, b.Place.Stream, b.Manifest.Sequence, listed(names))
	}
	f, err := i.checked(ctx, b)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := i.files(ctx, b, f, nil); err != nil {
		return err
	}
	out := &writing{Writer: w}
	err = i.files(ctx, b, f, func(n int, body io.Reader) error {
		if n != at {
			return nil
		}
		if _, err := io.Copy(out, body); err != nil {
			return err
		}
		return errRead
	})
	if out.err != nil {
		return out.err
	}
	return err
}

// writing remembers what a writer has said, to tell it from what is wrong with
// an archive.
type writing struct {
	io.Writer
	err error
}

func (w *writing) Write(p []byte) (n int, err error) {
	n, w.err = w.Writer.Write(p)
	return n, w.err
}

// errRead ends the reading of an archive whose rest is not wanted.
var errRead = errors.New("that was it")

// files reads the files of a package out of an archive whose digest was
// verified; visit may be nil.
func (i *Inspector) files(ctx context.Context, b *Batch, f *os.File, visit func(file int, body io.Reader) error) error {
	p := i.progress("reading "+b.Manifest.Archive.Name, b.Manifest.Archive.TarSize, true)
	defer p.Done()
	err := verify.ReadFiles(ctx, b.Manifest, f, func(n int, body io.Reader) error {
		p.Add(b.Manifest.Files[n].Size)
		if visit == nil {
			return nil
		}
		return visit(n, body)
	})
	if err == nil || errors.Is(err, errRead) {
		return nil
	}
	return unreadable(ctx, shown(b.Place, b.Manifest.Archive.Name), err)
}
