package archive

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A Reader gives out the members of an archive, in order. It trusts the list
// of members that it was made with, and nothing in the archive.
type Reader struct {
	zstd    *zstd.Decoder
	ahead   *ahead
	tar     *tarReader
	members []Member
	next    int
	err     error
}

// NewReader reads the archive of [Rows] in r, of which [Check] has seen the
// digest. members and tarSize come from the verified manifest; an error means
// that no archive can be like that. The caller must call Close.
func NewReader(r io.Reader, members []Member, tarSize int64) (*Reader, error) {
	return Rows.NewReader(r, members, tarSize)
}

// newReader takes members that were checked.
func newReader(r io.Reader, members []Member, tarSize int64) (*Reader, error) {
	if n := TarSize(members); n != tarSize {
		return nil, fmt.Errorf("the members make a tar of %d bytes, the manifest says %d", n, tarSize)
	}
	// What WithDecoderMaxMemory bounds is not a stream. The window, one
	// decoder and the limit on what we take from it do.
	d, err := zstd.NewReader(onlyReader{r}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	a := newAhead(newExpect(io.LimitReader(zstdReader{d}, tarSize+1), members))
	t, err := newTarReader(a)
	if err != nil {
		a.close()
		d.Close()
		return nil, fmt.Errorf("tar: %w", err)
	}
	return &Reader{zstd: d, ahead: a, tar: t, members: members}, nil
}

// Next returns the index of the next member and its body, which is good until
// the call after it and need not be read to its end. A body that was read to
// io.EOF had the signed size and digest. Next returns io.EOF after the last
// member when the archive ended exactly there; only then was all of it right.
// Any other error says what is wrong with the archive, or wraps that of the
// reader under it, and is final.
func (r *Reader) Next() (index int, body io.Reader, err error) {
	if r.err != nil {
		return 0, nil, r.err
	}
	h, body, err := r.tar.next()
	switch {
	case err == io.EOF:
		err = r.end()
	case err != nil:
	case r.next == len(r.members) || h.Name != r.members[r.next].Name || h.Size != r.members[r.next].Size:
		err = fmt.Errorf("member %d is %q of %d bytes, the manifest does not say so", r.next+1, h.Name, h.Size)
	}
	if err != nil {
		r.err = err
		return 0, nil, err
	}
	r.next++
	return r.next - 1, body, nil
}

// end reads what is left after the end of the tar, the frame's checksum with
// it, and returns io.EOF when that is nothing.
func (r *Reader) end() error {
	n, err := io.Copy(io.Discard, r.ahead)
	if err != nil {
		return err
	}
	if n != 0 || r.next != len(r.members) {
		return fmt.Errorf("the tar ends after %d of %d members", r.next, len(r.members))
	}
	return io.EOF
}

// Close stops reading and frees what the Reader holds. It does not close the
// reader under it, which nobody reads from any more when Close returns.
func (r *Reader) Close() error {
	r.ahead.close()
	r.zstd.Close()
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}

// zstdReader puts the library's name in front of its errors.
type zstdReader struct{ d *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("zstd: %w", err)
	}
	return n, err
}
