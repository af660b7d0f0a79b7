package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// The files of a batch, as bits.
const (
	hasManifest = 1 << iota
	hasSignature
	hasArchive
)

// A listed batch is a number and which of its files are there.
type listed struct {
	sequence int64
	has      uint8
}

// A listing is what a stream's folder holds.
type listing struct {
	batches []listed // by number
	head    bool
	strays  int64 // names that the format does not have, and what is no regular file
	archive int64 // bytes of all archives
	names   int64
}

// maxListed bounds the memory for a folder: a batch a minute for eight years.
const maxListed = 4_000_000

// list reads a folder, however many strangers' names it has.
func list(root *os.Root) (listing, error) {
	var l listing
	err := each(root, func(e fs.DirEntry) {
		seq, ext, ok := manifest.ParseFileName(e.Name())
		switch {
		case !e.Type().IsRegular():
			l.strays++
		case ok && len(l.batches) < maxListed:
			b := listed{sequence: seq}
			switch ext {
			case manifest.ManifestExt:
				b.has = hasManifest
			case manifest.SignatureExt:
				b.has = hasSignature
			case manifest.ArchiveExt:
				b.has = hasArchive
				if info, err := e.Info(); err == nil {
					l.archive += info.Size()
				}
			}
			l.batches = append(l.batches, b)
		case ok:
			l.names++
		case e.Name() == manifest.HeadName:
			l.head = true
		case e.Name() == manifest.HeadSignatureName:
		default:
			l.strays++
		}
	})
	if err == nil && l.names > 0 {
		err = fmt.Errorf("more than %d files of batches", maxListed)
	}
	l.join()
	return l, err
}

// join makes one entry of a batch's files.
func (l *listing) join() {
	slices.SortFunc(l.batches, func(a, b listed) int { return cmp.Compare(a.sequence, b.sequence) })
	joined := l.batches[:0]
	for _, b := range l.batches {
		if n := len(joined); n > 0 && joined[n-1].sequence == b.sequence {
			joined[n-1].has |= b.has
		} else {
			joined = append(joined, b)
		}
	}
	l.batches = joined
}

// at returns which files of a batch are there.
func (l *listing) at(sequence int64) uint8 {
	i, ok := slices.BinarySearchFunc(l.batches, sequence, func(b listed, n int64) int { return cmp.Compare(b.sequence, n) })
	if !ok {
		return 0
	}
	return l.batches[i].has
}

// each calls f for every name in a folder, a thousand at a time.
func each(root *os.Root, f func(fs.DirEntry)) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(1000)
		for _, e := range entries {
			f(e)
		}
		if err != nil {
			return ignoreEnd(err)
		}
	}
}

func ignoreEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// errTooLarge: more bytes than a reader takes before anything is verified.
var errTooLarge = errors.New("too large")

// readFile reads a regular file of at most limit bytes. Links are not
// followed.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := durable.In(root).OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return data, err
}
