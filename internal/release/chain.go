package release

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Batch is one verified manifest of a stream of packages, and its place.
type Batch struct {
	*manifest.Manifest
	Position manifest.Position
	// gone says that its archive is no longer kept, by the stream's head.
	gone bool
}

// String names a package for people.
func (b *Batch) String() string { return title(b.Product, b.Version, b.Release) }

func title(product, version string, release int64) string {
	return fmt.Sprintf("%s %s (release %d)", product, version, release)
}

// chain reads the manifests of a stream in a folder, from batch 1 on, each
// verified and following the one before it. A batch whose signature has not
// come yet ends the chain, and so does a hole at its end; one in the middle is
// an error. What a key signed that has been revoked since is passed over when a
// new epoch begins behind it, and is an error when none does.
func chain(dir, stream string, trust *manifest.Trust) ([]*Batch, error) {
	numbers, err := manifests(dir)
	if err != nil {
		return nil, err
	}
	var all []*Batch
	var over error // why the chain cannot go on, unless a new epoch begins
	last := manifest.Position{}
	for _, n := range numbers {
		b, err := openBatch(dir, stream, n, trust)
		if errors.Is(err, fs.ErrNotExist) {
			break // its signature is on its way
		}
		if IsOver(err) {
			over = cmp.Or(over, err)
			continue
		}
		if err == nil {
			err = b.Follows(last)
		}
		if err != nil {
			return all, cmp.Or(over, err)
		}
		all, last, over = append(all, b), b.Position, nil
	}
	return all, over
}

// IsOver reports whether a batch was refused because its key was retired or
// revoked before its number: a new epoch has to begin behind it.
func IsOver(err error) bool {
	r := (*manifest.Refusal)(nil)
	return errors.As(err, &r) && r.Rule == "S7"
}

// manifests returns the numbers whose manifests are in dir, ascending.
func manifests(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir) // sorted by name, and names are padded
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, e := range entries {
		if n, ext, ok := manifest.ParseFileName(e.Name()); ok && ext == manifest.ManifestExt && e.Type().IsRegular() {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// openBatch verifies the manifest with that number in dir.
func openBatch(dir, stream string, n int64, trust *manifest.Trust) (*Batch, error) {
	name := manifest.FileName(n, manifest.ManifestExt)
	doc, sig, err := readPair(filepath.Join(dir, name), manifest.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, position, err := manifest.Open(name, stream, doc, sig, trust)
	if err != nil {
		return nil, err
	}
	return &Batch{Manifest: m, Position: position}, m.Expect(name, stream, n)
}

// readPair reads a statement and its signature.
func readPair(path string, limit int64) (doc, sig []byte, err error) {
	if doc, err = readCapped(path, limit, "D1"); err != nil {
		return nil, nil, err
	}
	sig, err = readCapped(path+".sig", manifest.MaxSignature, "S1")
	return doc, sig, err
}

// readCapped reads a file of which nothing is trusted yet; one over the limit
// is refused by that rule.
func readCapped(path string, limit int64, rule string) ([]byte, error) {
	f, err := durable.Tree{}.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = &manifest.Refusal{File: filepath.Base(path), Rule: rule, Detail: fmt.Sprintf("more than the %d bytes that such a file may have", limit)}
	}
	return data, err
}

// highest returns the batch of the highest release that is for this product,
// system and processor, nil when none is.
func highest(all []*Batch, product, goos, goarch string) (top *Batch) {
	for _, b := range all {
		if b.Product == product && b.OS == goos && b.Arch == goarch && b.Rollback == nil && (top == nil || b.Release > top.Release) {
			top = b
		}
	}
	return top
}

// newest returns the last of the batches that is for this product, system and
// processor, nil when none is.
func newest(all []*Batch, product, goos, goarch string) *Batch {
	for i := len(all) - 1; i >= 0; i-- {
		if b := all[i]; b.Product == product && b.OS == goos && b.Arch == goarch {
			return b
		}
	}
	return nil
}

// end is the place that the chain has reached.
func end(all []*Batch) manifest.Position {
	if len(all) == 0 {
		return manifest.Position{}
	}
	return all[len(all)-1].Position
}
