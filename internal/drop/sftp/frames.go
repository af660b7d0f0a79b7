package sftp

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"caisseauto/internal/drop"
)

// Limits of one folder listing. pkg/sftp collects a listing in memory until
// the server says it is over; a server that never does filled 271,900
// entries in two seconds.
const (
	maxEntries   = drop.MaxEntries
	maxListBytes = maxEntries * 640 // an entry is its name twice, at most 255 bytes each, and its attributes
)

// fxpName is SSH_FXP_NAME, the reply that carries directory entries
// (draft-ietf-secsh-filexfer-02, section 7).
const fxpName = 104

// A frameReader passes the server's SFTP packets through to pkg/sftp and
// looks only at their heads: how many bytes came, and how many directory
// entries. While a listing is armed it ends the stream when there are more
// than a reader accepts. That is the only place where an endless listing can
// be stopped: pkg/sftp shows nothing of it before it is complete.
type frameReader struct {
	r        io.Reader
	received atomic.Int64
	armed    atomic.Bool
	limit    int // entries a listing may have
	onExcess func(error)

	entries int64 // of the armed listing
	bytes   int64
	head    [13]byte // length, type, id, and of a NAME reply its count
	have    int
	skip    int64 // bytes of the packet still to pass
}

// arm starts the count of one listing; disarm ends it.
func (f *frameReader) arm()    { f.armed.Store(true) }
func (f *frameReader) disarm() { f.armed.Store(false) }

func (f *frameReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.received.Add(int64(n))
	if !f.armed.Load() {
		f.entries, f.bytes = 0, 0
	}
	f.scan(p[:n])
	if !f.armed.Load() {
		return n, err
	}
	f.bytes += int64(n)
	if f.entries > int64(f.limit) || f.bytes > maxListBytes {
		excess := fmt.Errorf("%w: more than %d entries or %d MiB came; clear the folder on the server", drop.ErrTooMany, f.limit, maxListBytes>>20)
		f.onExcess(excess)
		return 0, excess
	}
	return n, err
}

// scan follows the packet boundaries (uint32 length, byte type, uint32 id)
// through the stream.
func (f *frameReader) scan(p []byte) {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(f.skip, int64(len(p)))
			f.skip -= n
			p = p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		length := int64(0)
		if f.have >= 5 {
			length = int64(binary.BigEndian.Uint32(f.head[:4]))
		}
		switch {
		case f.have < 5:
		case f.head[4] != fxpName || length < 9:
			f.have, f.skip = 0, max(length-1, 0)
		case f.have == len(f.head):
			f.entries += int64(binary.BigEndian.Uint32(f.head[9:]))
			f.have, f.skip = 0, length-9
		}
	}
}
