//go:build unix

package pgtest

import "encoding/binary"

// frames finds the messages in one direction of a connection: a type, the
// length of the rest with the length's own 4 bytes, and the rest. The client's
// first message, of a connection without TLS, has no type.
type frames struct {
	untyped bool
	head    []byte // of the message, as far as it has come
	rest    int    // bytes still missing after a whole head
}

// next returns how many of the bytes belong to the present message, at least
// one, and whether it ends with them.
func (f *frames) next(b []byte) (n int, whole bool) {
	size := 5
	if f.untyped {
		size = 4
	}
	if missing := size - len(f.head); missing > 0 {
		n = min(missing, len(b))
		f.head = append(f.head, b[:n]...)
		if n < missing {
			return n, false
		}
		f.rest = max(0, int(binary.BigEndian.Uint32(f.head[size-4:]))-4)
	}
	more := min(f.rest, len(b)-n)
	n += more
	f.rest -= more
	if f.rest > 0 {
		return n, false
	}
	f.head, f.untyped = f.head[:0], false
	return n, true
}
