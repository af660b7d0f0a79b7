package drop

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
)

// A plan is what a mirror run found out before it copies anything.
type plan struct {
	batches              []batch // to copy, ascending
	newestSrc, newestDst int64   // highest numbers with a manifest
	common               string  // newest manifest that both have
	tooLarge             error   // why no batch behind the last of batches is copied
}

// A batch is the files of one number that src has and dst lacks, in the order
// in which they are copied.
type batch struct {
	sequence int64
	files    []File
}

// The files of a batch, in the order of publication: the manifest last, for
// its appearance is the commit.
var batchSuffixes = [...]string{".tar.zst", ".manifest.json.sig", ".manifest.json"}

const manifestSuffix = ".manifest.json"

// plan lists both sides and compares the sizes of what both have.
func (m *mirror) plan(ctx context.Context) (*plan, error) {
	from, err := m.src.List(ctx, m.dir)
	if err != nil {
		return nil, err
	}
	to, err := m.dst.List(ctx, m.dir)
	if err != nil {
		return nil, err
	}
	m.report.Ignored = from.Ignored
	src, dst := bySize(from), bySize(to)
	p := &plan{newestSrc: newest(src), newestDst: newest(dst)}
	for _, f := range from.Files {
		n, ok := Sequence(f.Name)
		if !ok || m.skip(f.Name) {
			continue
		}
		have, ok := dst[f.Name]
		if !ok {
			continue
		}
		if have != f.Size {
			return nil, fmt.Errorf("%s has %d bytes in the source and %d in the target: %w; nothing was copied",
				path.Join(m.dir, f.Name), f.Size, have, ErrConflict)
		}
		m.report.Skipped++
		if name := fileName(n, manifestSuffix); f.Name == name && name > p.common {
			p.common = name
		}
	}
	m.collect(p, src, dst)
	return p, nil
}

// collect fills p.batches. It stops at a batch with a file that is too large,
// for what stands behind cannot be applied without it.
func (m *mirror) collect(p *plan, src, dst map[string]int64) {
	first := firstArchive(src)
	for _, n := range m.numbers(src) {
		b := batch{sequence: n}
		complete := true
		for _, suffix := range batchSuffixes {
			name := fileName(n, suffix)
			size, inSrc := src[name]
			_, inDst := dst[name]
			switch {
			case inDst || m.skip(name):
			case !inSrc:
				complete = false
			default:
				if most := m.most(name); size > most {
					p.tooLarge = fmt.Errorf("%s has %d bytes, %d are accepted: %w; it and what follows is not copied",
						path.Join(m.dir, name), size, most, ErrTooLarge)
					return
				}
				b.files = append(b.files, File{name, size})
			}
		}
		switch {
		case !complete && n < first && has(src, n, batchSuffixes[1:]):
			m.report.Pruned++
		case !complete:
			m.report.Waiting++
			m.o.Log.Info("batch is not complete yet", "stream", m.dir, "sequence", n)
		case len(b.files) > 0:
			p.batches = append(p.batches, b)
			for _, f := range b.files {
				m.total += f.Size
			}
		}
	}
	if m.report.Pruned > 0 {
		m.o.Log.Info("archives of old batches are no longer kept at the source", "stream", m.dir, "batches", m.report.Pruned, "oldest", first)
	}
}

// firstArchive returns the lowest number that has an archive, 0 for none.
func firstArchive(sizes map[string]int64) (first int64) {
	for name := range sizes {
		if n, ok := Sequence(name); ok && name == fileName(n, batchSuffixes[0]) && (first == 0 || n < first) {
			first = n
		}
	}
	return first
}

// has reports whether all of a batch's files with these suffixes are there.
func has(sizes map[string]int64, n int64, suffixes []string) bool {
	for _, suffix := range suffixes {
		if _, ok := sizes[fileName(n, suffix)]; !ok {
			return false
		}
	}
	return true
}

// numbers returns the numbers in src that this run may copy, ascending.
func (m *mirror) numbers(src map[string]int64) []int64 {
	var all []int64
	for name := range src {
		n, ok := Sequence(name)
		if ok && n >= m.o.From && (m.o.To <= 0 || n <= m.o.To) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, cmp.Compare[int64])
	return slices.Compact(all)
}

func (m *mirror) skip(base string) bool { return m.o.Skip != nil && m.o.Skip(base) }

// most returns the size limit of the file base.
func (m *mirror) most(base string) int64 {
	if path.Ext(base) != ".zst" {
		return maxSize(path.Join(m.dir, base))
	}
	if m.o.MaxArchive > 0 {
		return m.o.MaxArchive
	}
	return 1<<63 - 1
}

func fileName(n int64, suffix string) string { return fmt.Sprintf("%010d%s", n, suffix) }

func bySize(l Listing) map[string]int64 {
	sizes := make(map[string]int64, len(l.Files))
	for _, f := range l.Files {
		sizes[f.Name] = f.Size
	}
	return sizes
}

// newest returns the highest number that has a manifest.
func newest(sizes map[string]int64) (top int64) {
	for name := range sizes {
		if n, ok := Sequence(name); ok && name == fileName(n, manifestSuffix) {
			top = max(top, n)
		}
	}
	return top
}
