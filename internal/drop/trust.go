package drop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// TrustFolder is the folder of a dossier that holds its trust documents.
const TrustFolder = "trust"

// MirrorTrust copies the trust documents of a dossier that dst lacks, and the
// list of keys beside them where it differs. Signatures go before what they
// sign, so that a document is never there without them. It understands nothing
// of what it copies, but passes over a signature whose document is not there yet.
// A name that is there with another size, or the newest document of both with
// other bytes, is ErrConflict: every document is published once.
func MirrorTrust(ctx context.Context, dst, src Drop, dossier string) (copied int, err error) {
	if err := CheckDossier(dossier); err != nil {
		return 0, err
	}
	dir := dossier + "/" + TrustFolder
	l, err := src.List(ctx, dir)
	if err != nil || len(l.Files) == 0 {
		return 0, err
	}
	have, err := dst.List(ctx, dir)
	if err != nil {
		return 0, err
	}
	there := map[string]int64{}
	for _, f := range have.Files {
		there[f.Name] = f.Size
	}
	names := map[string]bool{}
	for _, f := range l.Files {
		names[f.Name] = true
	}
	if err := compareTrust(ctx, dst, src, dir, names, there); err != nil {
		return 0, err
	}
	l.Files = slices.DeleteFunc(l.Files, func(f File) bool { return strings.HasSuffix(f.Name, ".sig") && !names[signs(f.Name)] })
	slices.SortStableFunc(l.Files, func(a, b File) int { return order(a.Name) - order(b.Name) })
	for _, f := range l.Files {
		size, ok := there[f.Name]
		if f.Name == TrustedName {
			same, err := replaceSmall(ctx, dst, src, path.Join(dir, f.Name))
			if err != nil {
				return copied, err
			}
			if !same {
				copied++
			}
			continue
		}
		if ok && size == f.Size {
			continue
		}
		if err := putSmall(ctx, dst, src, path.Join(dir, f.Name)); err != nil {
			return copied, err
		}
		copied++
	}
	return copied, nil
}

// signs is the document that a signature is under.
func signs(name string) string {
	i := strings.Index(name, ".json")
	return name[:i+len(".json")]
}

// compareTrust compares the newest document and the newest list of tills that
// both sides have, byte by byte. Each binds those before it by their digests.
func compareTrust(ctx context.Context, dst, src Drop, dir string, names map[string]bool, there map[string]int64) error {
	for _, list := range []bool{false, true} {
		newest := ""
		for n := range names {
			if _, both := there[n]; both && path.Ext(n) == ".json" && strings.HasPrefix(n, "tills-") == list && n > newest {
				newest = n
			}
		}
		if newest == "" {
			continue
		}
		a, err := readSmall(ctx, src, path.Join(dir, newest))
		if err != nil {
			return err
		}
		b, err := readSmall(ctx, dst, path.Join(dir, newest))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%s/%s differs between source and target: %w; nothing was copied", dir, newest, ErrConflict)
		}
	}
	return nil
}

// order sorts signatures before documents, and the list of keys behind both.
func order(name string) int {
	switch {
	case strings.HasSuffix(name, ".sig"):
		return 0
	case name == TrustedName:
		return 2
	}
	return 1
}

// putSmall copies a file that is never replaced.
func putSmall(ctx context.Context, dst, src Drop, name string) error {
	data, err := readSmall(ctx, src, name)
	if err != nil {
		return err
	}
	if err := PutBytes(ctx, dst, name, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// replaceSmall copies a file that is replaced, where it differs.
func replaceSmall(ctx context.Context, dst, src Drop, name string) (same bool, err error) {
	data, err := readSmall(ctx, src, name)
	if err != nil {
		return false, err
	}
	old, err := readSmall(ctx, dst, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && bytes.Equal(old, data) {
		return true, nil
	}
	return false, dst.Replace(ctx, name, data)
}

// ReadSmall reads a whole file that the grammar gives a size limit: a
// statement, a signature, a trust document. One that is larger is ErrTooLarge,
// one that is not there fs.ErrNotExist.
func ReadSmall(ctx context.Context, d Drop, name string) ([]byte, error) {
	if err := CheckPath(name); err != nil {
		return nil, err
	}
	return readSmall(ctx, d, name)
}

// PutBytes is [Drop.Put] of a file that is in memory.
func PutBytes(ctx context.Context, d Drop, name string, data []byte) error {
	return d.Put(ctx, name, int64(len(data)), func(_ context.Context, offset int64, w io.Writer) error {
		_, err := w.Write(data[min(offset, int64(len(data))):])
		return err
	})
}
