package sqlite3

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite throws its whole page cache away when another connection has
// committed since it last looked (pager.c, pagerBeginReadTransaction): what
// was read before the lock is read again while it is held, for one ticket of
// three rows in between. The write-ahead log says which pages that were.

// keepFrames is up to how many foreign frames the cache is mended. More are
// read anew with everything else.
const keepFrames = 4096

// The offsets of a log's header, its frames' headers, and in these
// (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
const (
	walHeader, walFrameHeader = 32, 24
	walFrameSalt              = 8
)

// pcache are the functions of the page cache, which SQLite tells only before
// it is used.
var pcache lib.Tsqlite3_pcache_methods2

var readPcache = sync.OnceFunc(func() {
	tls := libc.NewTLS()
	defer tls.Close()
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(pcache)))
	if p == 0 {
		return
	}
	defer libc.Xfree(tls, p)
	list := libc.NewVaList(p)
	defer libc.Xfree(tls, list)
	if lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_GETPCACHE2, list) == lib.SQLITE_OK {
		pcache = *(*lib.Tsqlite3_pcache_methods2)(pointer(p))
	}
})

// KeepCache takes out of the page cache those pages that other connections
// have changed in the log since this one has looked, and has it look from the
// log's present end on, so that the next transaction finds the cache as good
// as new. It may be called at any time and does nothing inside a transaction,
// without a log, or where it cannot be sure; then SQLite empties the cache by
// itself, if it must.
//
// What it relies on is SQLite's own rule: the cache holds pages as of the
// header in Wal.hdr. Pages go first, and then the header moves: after each
// step the rule holds.
func (c *Conn) KeepCache() {
	pager := c.mainPager()
	if pager == nil || pager.FpWal == 0 || pcache.FxFetch == 0 || c.InTransaction() {
		return
	}
	wal, cache := (*lib.TWal)(pointer(pager.FpWal)), (*lib.TPCache)(pointer(pager.FpPCache))
	if wal.FapWiData == 0 || wal.FnWiData < 1 || cache.FpCache == 0 || cache.FnRefSum != 0 || cache.FpDirty != 0 {
		return
	}
	shared := *(*uintptr)(pointer(wal.FapWiData))
	if shared == 0 {
		return
	}
	// Two copies, written in turn: when they are equal, neither is half
	// written. A mistake here is found by SQLite's next look, which compares.
	now := [2]lib.TWalIndexHdr{}
	for i := range now {
		now[i] = *(*lib.TWalIndexHdr)(pointer(shared + uintptr(i)*unsafe.Sizeof(now[0])))
	}
	old := wal.Fhdr
	if now[0] != now[1] || now[0].FisInit == 0 || old.FisInit == 0 || now[0] == old || !sound(&now[0]) || now[0].FaSalt != old.FaSalt ||
		now[0].FszPage != old.FszPage || now[0].FbigEndCksum != old.FbigEndCksum || now[0].FmxFrame < old.FmxFrame || now[0].FmxFrame-old.FmxFrame > keepFrames {
		return
	}
	pages, ok := c.foreignPages(wal, old.FmxFrame, now[0].FmxFrame)
	if !ok {
		return
	}
	for _, n := range pages {
		c.forget(cache.FpCache, n)
	}
	wal.Fhdr = now[0]
}

// sound reports whether the checksum in a header is right (wal.c,
// walIndexTryHdr).
func sound(h *lib.TWalIndexHdr) bool {
	words := unsafe.Slice((*uint32)(unsafe.Pointer(h)), int(unsafe.Sizeof(*h))/4)
	var a, b uint32
	for i := 0; i < len(words)-2; i += 2 {
		a += words[i] + b
		b += words[i+1] + a
	}
	return a == h.FaCksum[0] && b == h.FaCksum[1]
}

// mainPager returns the pager of the main database.
func (c *Conn) mainPager() *lib.TPager {
	db := (*lib.Tsqlite3)(pointer(c.db))
	if db.FnDb < 1 || db.FaDb == 0 {
		return nil
	}
	tree := (*lib.TDb)(pointer(db.FaDb)).FpBt
	if tree == 0 {
		return nil
	}
	shared := (*lib.TBtree)(pointer(tree)).FpBt
	if shared == 0 {
		return nil
	}
	return (*lib.TPager)(pointer((*lib.TBtShared)(pointer(shared)).FpPager))
}

// foreignPages reads which pages the frames after one hold, up to another. A
// frame of a later log, which has begun from the start meanwhile, has another
// salt.
func (c *Conn) foreignPages(wal *lib.TWal, after, to uint32) ([]uint32, bool) {
	file := (*uintptr)(pointer(wal.FpWalFd))
	if *file == 0 {
		return nil, false
	}
	buf, err := c.malloc(walFrameHeader)
	if err != nil {
		return nil, false
	}
	defer libc.Xfree(c.tls, buf)
	read := call[func(tls *libc.TLS, file, buf uintptr, n int32, offset lib.Tsqlite3_int64) int32]((*lib.Tsqlite3_io_methods)(pointer(*file)).FxRead)
	b := unsafe.Slice((*byte)(pointer(buf)), walFrameHeader)
	pages := make([]uint32, 0, to-after)
	for n := after; n < to; n++ {
		at := walHeader + int64(n)*int64(walFrameHeader+wal.FszPage)
		if read(c.tls, wal.FpWalFd, buf, walFrameHeader, lib.Tsqlite3_int64(at)) != lib.SQLITE_OK {
			return nil, false
		}
		// The salt stands in both places in the same order of bytes.
		salt := (*[2]uint32)(unsafe.Pointer(&wal.Fhdr.FaSalt))
		if binary.NativeEndian.Uint32(b[walFrameSalt:]) != salt[0] || binary.NativeEndian.Uint32(b[walFrameSalt+4:]) != salt[1] {
			return nil, false
		}
		pages = append(pages, binary.BigEndian.Uint32(b))
	}
	return pages, true
}

// forget takes a page out of the cache.
func (c *Conn) forget(cache uintptr, page uint32) {
	fetch := call[func(*libc.TLS, uintptr, uint32, int32) uintptr](pcache.FxFetch)
	if p := fetch(c.tls, cache, page, 0); p != 0 {
		call[func(*libc.TLS, uintptr, uintptr, int32)](pcache.FxUnpin)(c.tls, cache, p, 1)
	}
}
