package drop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"
)

// copyBatches copies the batches of p in order. A batch that src loses
// meanwhile, because its writer cleans up, counts as waiting.
func (m *mirror) copyBatches(ctx context.Context, p *plan) error {
	for _, b := range p.batches {
		for _, f := range b.files {
			gone, err := m.copyFile(ctx, f)
			if err != nil {
				return err
			}
			if gone {
				m.report.Waiting++
				m.o.Log.Info("batch was removed from the source while it was copied",
					"stream", m.dir, "sequence", b.sequence, "file", f.Name)
				break
			}
		}
	}
	return p.tooLarge
}

// copyFile copies one file. It reports gone, without an error, when src has
// it no more.
func (m *mirror) copyFile(ctx context.Context, f File) (gone bool, err error) {
	name := path.Join(m.dir, f.Name)
	start := m.done
	err = m.dst.Put(ctx, name, f.Size, func(ctx context.Context, offset int64, w io.Writer) error {
		m.done = start + offset
		m.progress()
		err := m.src.Get(ctx, name, offset, &progressWriter{w, m})
		gone = errors.Is(err, fs.ErrNotExist)
		return err
	})
	if err != nil && gone {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	m.done = start + f.Size
	m.progress()
	m.report.Files++
	m.report.Bytes += f.Size
	m.o.Log.Debug("copied", "file", name, "bytes", f.Size)
	return false, nil
}

func (m *mirror) progress() {
	if m.o.Progress != nil {
		m.o.Progress(m.done, m.total)
	}
}

type progressWriter struct {
	w io.Writer
	m *mirror
}

func (p *progressWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.m.done += int64(n)
	p.m.progress()
	return n, err
}

// A pair is a document that is replaced in place, and its signature.
type pair struct{ doc, sig []byte }

func (p pair) complete() bool { return len(p.doc) > 0 && len(p.sig) > 0 }

func (p pair) equal(q pair) bool { return bytes.Equal(p.doc, q.doc) && bytes.Equal(p.sig, q.sig) }

// write replaces what differs from old, the signature first: a reader that
// comes between finds a pair that does not match, in this order or the other,
// and reads again. It returns how many files and bytes it wrote.
func (p pair) write(ctx context.Context, d Drop, doc string, old pair) (files int, size int64, err error) {
	for _, f := range []struct {
		name     string
		now, was []byte
	}{{doc + ".sig", p.sig, old.sig}, {doc, p.doc, old.doc}} {
		if bytes.Equal(f.now, f.was) {
			continue
		}
		if err := d.Replace(ctx, f.name, f.now); err != nil {
			return files, size, err
		}
		files++
		size += int64(len(f.now))
	}
	return files, size, nil
}

// MirrorPair copies the head or receipt doc and its signature from src to dst
// where they differ, and reports whether they did. A src that lacks either
// file changes nothing. doc is the document's path, for example
// "ACME/receipts/017.json"; anything else is fs.ErrInvalid.
func MirrorPair(ctx context.Context, dst, src Drop, doc string) (changed bool, err error) {
	if !Replaceable(doc) || path.Ext(doc) != ".json" {
		return false, fmt.Errorf("%q is not the path of a head or receipt: %w", doc, fs.ErrInvalid)
	}
	p, err := readPair(ctx, src, doc)
	if err != nil || !p.complete() {
		return false, err
	}
	old, err := readPairOnce(ctx, dst, doc)
	if err != nil || p.equal(old) {
		return false, err
	}
	_, _, err = p.write(ctx, dst, doc, old)
	return err == nil, err
}

// pairReads is how often readPair looks for two equal readings. A writer
// replaces its head at every run, minutes apart.
const pairReads = 6

// readPair reads the document doc and its signature until two readings in a
// row are equal, so that a replacement half seen is not taken for the pair.
// (When the writer died between the two, what it left is the pair, and its
// reader will say so.)
func readPair(ctx context.Context, d Drop, doc string) (pair, error) {
	last, err := readPairOnce(ctx, d, doc)
	for i := 1; err == nil && i < pairReads; i++ {
		var p pair
		if p, err = readPairOnce(ctx, d, doc); err == nil && p.equal(last) {
			return p, nil
		}
		last = p
		select {
		case <-ctx.Done():
			return pair{}, ctx.Err()
		case <-time.After(time.Duration(i) * 50 * time.Millisecond):
		}
	}
	if err == nil {
		err = fmt.Errorf("%s and its signature change at every reading: %w", doc, ErrUnavailable)
	}
	return pair{}, err
}

// readPairOnce reads doc and its signature; what is missing is empty.
func readPairOnce(ctx context.Context, d Drop, doc string) (p pair, err error) {
	if p.sig, err = readSmall(ctx, d, doc+".sig"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pair{}, err
	}
	if p.doc, err = readSmall(ctx, d, doc); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pair{}, err
	}
	return p, nil
}

// readSmall reads a whole file that has a size limit.
func readSmall(ctx context.Context, d Drop, name string) ([]byte, error) {
	w := &limitedBuffer{most: maxSize(name)}
	if err := d.Get(ctx, name, 0, w); err != nil {
		return nil, err
	}
	return w.data, nil
}

// limitedBuffer collects bytes and refuses more than most. It is no
// bytes.Buffer, whose ReadFrom would go round the limit.
type limitedBuffer struct {
	data []byte
	most int64
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if int64(len(b.data))+int64(len(p)) > b.most {
		return 0, fmt.Errorf("more than %d bytes: %w", b.most, ErrTooLarge)
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
