package verify

import "os"

// A Place is a stream under a path, and what of it was named: what Verify would
// check. It is for those who want to read there with the same eyes.
type Place struct {
	Stream string
	Folder string // on this machine
	Only   int64  // one batch alone; 0: all
	Found  string // how the stream's name was found, where the path does not say it
	place  place
}

// A Listing is what a stream's folder holds.
type Listing struct {
	Batches []Listed // by number
	Head    bool
	Strays  int64 // names that the format does not have, and what is no regular file
}

// A Listed batch is a number and which of its files are there.
type Listed struct {
	Sequence                     int64
	Manifest, Signature, Archive bool
}

// ErrTooLarge: more bytes than a reader takes before anything is verified.
var ErrTooLarge = errTooLarge

// Places finds the streams under a path, as [Verify] does: a batch's file, or
// its number without an ending, the folder of a stream, of a dossier, of a
// drop. stream names the one of a folder whose path does not say it.
func Places(path, stream string) ([]Place, error) {
	found, err := places(path, stream)
	if err != nil {
		return nil, err
	}
	list := make([]Place, len(found))
	for i, p := range found {
		list[i] = Place{Stream: p.stream, Folder: p.folder, Only: p.only, Found: p.found, place: p}
	}
	return list, nil
}

// List lists the stream's folder, however many strangers' names it has. One
// that is not there is empty.
func (p Place) List() (Listing, error) {
	t := &tally{place: p.place}
	l, err := t.open()
	if t.root != nil {
		defer t.root.Close()
	}
	if err != nil {
		return Listing{}, err
	}
	out := Listing{Batches: make([]Listed, len(l.batches)), Head: l.head, Strays: l.strays}
	for i, b := range l.batches {
		out.Batches[i] = Listed{b.sequence, b.has&hasManifest != 0, b.has&hasSignature != 0, b.has&hasArchive != 0}
	}
	return out, nil
}

// Read reads a statement of the stream, or its signature, of at most limit
// bytes. Links are not followed.
func (p Place) Read(name string, limit int64) (data []byte, err error) {
	err = p.in(func(root *os.Root) error {
		data, err = readFile(root, name, limit)
		return err
	})
	return data, err
}

// Open opens a regular file of the stream. Links are not followed.
func (p Place) Open(name string) (f *os.File, err error) {
	err = p.in(func(root *os.Root) error {
		f, err = openFile(root, name)
		return err
	})
	return f, err
}

// in calls f with the stream's folder, to which no link leads.
func (p Place) in(f func(*os.Root) error) error {
	if err := (&tally{place: p.place}).straight(); err != nil {
		return err
	}
	root, err := os.OpenRoot(p.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	return f(root)
}
