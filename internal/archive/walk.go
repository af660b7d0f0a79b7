package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// walker follows the structure of a zstd file without decompressing it
// (RFC 8878, section 3.1.1), and accepts exactly one frame with a checksum, no
// dictionary and a window within [MaxWindow]. Decoders take more than that
// without a word: no frame at all, several, and skippable ones with whatever
// in them, and they report a wrong checksum after they gave the data away.
//
// It is an io.Writer that keeps a few bytes of state.
type walker struct {
	want    func(w *walker, b []byte) error // takes the next need bytes
	need    int
	have    []byte // of them
	skip    int64  // bytes of a block's content to pass over
	done    bool   // the checksum was read
	window  int64
	content int64 // decompressed size as the frame claims it, -1: it does not
	err     error
}

func newWalker() *walker { return &walker{want: (*walker).magic, need: 4, content: -1} }

// Write never fails on its own account: the first error is kept for finish,
// so that a wrong digest can be reported before a wrong structure.
func (w *walker) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		switch {
		case w.skip > 0:
			k := min(w.skip, int64(len(p)))
			w.skip -= k
			p = p[k:]
		case w.done:
			w.err = errors.New("bytes after the end of the zstd frame")
		default:
			k := min(w.need-len(w.have), len(p))
			w.have = append(w.have, p[:k]...)
			p = p[k:]
			if len(w.have) == w.need {
				w.err = w.want(w, w.have)
				w.have = w.have[:0]
			}
		}
	}
	return n, nil
}

// finish returns the first error, or says that the file is cut.
func (w *walker) finish() error {
	switch {
	case w.err != nil:
		return w.err
	case !w.done || w.skip > 0:
		return errors.New("zstd frame is cut")
	}
	return nil
}

func (w *walker) magic(b []byte) error {
	switch m := binary.LittleEndian.Uint32(b); {
	case m == 0xFD2FB528:
		w.want, w.need = (*walker).descriptor, 1
		return nil
	case m&^0xF == 0x184D2A50:
		return errors.New("skippable zstd frame")
	}
	return errors.New("not a zstd frame")
}

// descriptor reads the first byte of the frame header (3.1.1.1.1) and asks
// for the rest of it at once.
func (w *walker) descriptor(b []byte) error {
	d := b[0]
	single := d&0x20 != 0
	switch {
	case d&0x18 != 0:
		return errors.New("reserved or unused bit in the zstd frame header")
	case d&0x04 == 0:
		return errors.New("zstd frame without a checksum")
	case d&0x03 != 0:
		return errors.New("zstd frame with a dictionary")
	}
	size := [4]int{0, 2, 4, 8}[d>>6] // of the content size field
	if single && size == 0 {
		size = 1
	}
	w.need = size
	if !single {
		w.need++
	}
	w.want = func(w *walker, b []byte) error { return w.sizes(b, single) }
	return nil
}

// sizes reads the window descriptor, unless the frame is a single segment,
// and the content size.
func (w *walker) sizes(b []byte, single bool) error {
	if !single {
		base := int64(1) << (10 + b[0]>>3)
		w.window = base + base/8*int64(b[0]&7)
		b = b[1:]
	}
	switch len(b) {
	case 1:
		w.content = int64(b[0])
	case 2:
		w.content = int64(binary.LittleEndian.Uint16(b)) + 256
	case 4:
		w.content = int64(binary.LittleEndian.Uint32(b))
	case 8:
		w.content = int64(binary.LittleEndian.Uint64(b))
		if w.content < 0 {
			return errors.New("zstd frame claims more than 2^63 bytes")
		}
	}
	if single {
		w.window = w.content
	}
	if w.window > MaxWindow {
		return fmt.Errorf("zstd window of %d bytes is larger than %d", w.window, MaxWindow)
	}
	w.want, w.need = (*walker).block, 3
	return nil
}

// block reads a block header (3.1.1.2).
func (w *walker) block(b []byte) error {
	h := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	size := h >> 3
	if size > min(max(w.window, 1), 128<<10) {
		return fmt.Errorf("zstd block of %d bytes is larger than its window or than 128 KiB", size)
	}
	switch h >> 1 & 3 {
	case 0, 2: // raw, compressed: size bytes follow
		w.skip = size
	case 1: // one byte, to be repeated
		w.skip = 1
	default:
		return errors.New("zstd block of the reserved type")
	}
	if h&1 != 0 {
		w.want, w.need = (*walker).checksum, 4
	}
	return nil
}

func (w *walker) checksum([]byte) error {
	w.done = true
	return nil
}
