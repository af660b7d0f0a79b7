package inspect

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"caisseauto/internal/verify"
	"caisseauto/manifest"
)

// A Place is a stream, and how its files are read.
type Place struct {
	Stream string
	Only   int64  // one batch alone; 0: all
	Where  string // the folder or address, for people
	Note   string // what a person should know of the place; mostly ""
	Files  Files
}

// Files read the folder of one stream. Their errors are about the file that
// was asked for (fs.ErrNotExist, what is no regular file, one that is too
// large), unless they wrap [ErrLost]. Methods may be called from several
// goroutines.
type Files interface {
	// List lists the batches by number; names that are no batch's are counted.
	List(ctx context.Context) (Listing, error)
	// Read reads a whole file of at most limit bytes.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
	// Open opens an archive that was signed to have size bytes: nobody else
	// can write to what it returns while it is read, or what was changed
	// shows in the digest. The caller closes it.
	Open(ctx context.Context, name string, size int64) (*os.File, error)
}

// A Listing is what a stream's folder holds.
type (
	Listing = verify.Listing
	Listed  = verify.Listed
)

// Local finds the streams under a path of this machine: a batch's file or its
// number without an ending, the folder of a stream, of a dossier, of a drop, a
// copy of one. stream names the one of a folder whose path does not say it.
func Local(path, stream string) ([]Place, error) {
	found, err := verify.Places(path, stream)
	if err != nil {
		return nil, err
	}
	var list []Place
	for _, p := range found {
		list = append(list, Place{Stream: p.Stream, Only: p.Only, Where: p.Folder, Note: p.Found, Files: local{p}})
	}
	return list, nil
}

// local reads a folder of this machine.
type local struct{ verify.Place }

func (l local) List(context.Context) (Listing, error) { return l.Place.List() }

func (l local) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	return l.Place.Read(name, limit)
}

// Open looks at the size first: of 5 GiB where some bytes were signed, nothing
// has to be read.
func (l local) Open(_ context.Context, name string, size int64) (*os.File, error) {
	f, err := l.Place.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = WrongSize(info.Size(), size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// WrongSize is the error for an archive that has not the size that was signed.
func WrongSize(got, want int64) error {
	return fmt.Errorf("it has %d bytes, the manifest says %d", got, want)
}

// ListingOf makes a listing of the names of the regular files in a folder.
func ListingOf(names []string) Listing {
	var l Listing
	at := map[int64]int{}
	for _, name := range names {
		n, ext, ok := manifest.ParseFileName(name)
		if !ok {
			switch name {
			case manifest.HeadName:
				l.Head = true
			case manifest.HeadSignatureName:
			default:
				l.Strays++
			}
			continue
		}
		i, ok := at[n]
		if !ok {
			i = len(l.Batches)
			at[n], l.Batches = i, append(l.Batches, Listed{Sequence: n})
		}
		b := &l.Batches[i]
		b.Manifest = b.Manifest || ext == manifest.ManifestExt
		b.Signature = b.Signature || ext == manifest.SignatureExt
		b.Archive = b.Archive || ext == manifest.ArchiveExt
	}
	slices.SortFunc(l.Batches, func(a, b Listed) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return l
}
