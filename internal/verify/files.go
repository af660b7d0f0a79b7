package verify

import (
	"context"
	"io"
	"os"

	"caisseauto/internal/archive"
	"caisseauto/manifest"
)

// packages is the form of their archives: what names and sizes files have, the
// manifest's own rules say.
var packages = archive.Form{CheckName: manifest.CheckFileName, MaxMember: manifest.MaxFileSize}

// ReadFiles hands out the files of the package in f, in the order of its
// manifest, of which it gives the index; nil only looks at them. m is verified,
// and f has the size and digest that it says. A body that was read to io.EOF has
// the signed size and digest; one that visit leaves is held against them as
// well. Only when ReadFiles returns nil all of the archive is what was signed.
// The errors of visit come back as they are, and the one of a ctx that has
// ended; every other one says what differs from the manifest.
func ReadFiles(ctx context.Context, m *manifest.Manifest, f *os.File, visit func(file int, body io.Reader) error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	members := make([]archive.Member, len(m.Files))
	for i, file := range m.Files {
		members[i] = archive.Member{Name: file.Name, Size: file.Size, SHA256: file.SHA256}
	}
	r, err := packages.NewReader(watched{ctx, f}, members, m.Archive.TarSize)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		i, body, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && visit != nil {
			err = visit(i, body)
		}
		if err != nil {
			return err
		}
	}
}

// watched ends a long reading when its context does.
type watched struct {
	ctx context.Context
	r   io.Reader
}

func (w watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}
