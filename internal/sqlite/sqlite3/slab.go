package sqlite3

import (
	"math/bits"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A page of a page cache takes 4368 bytes for 4096 of the database's, and the
// library's allocator rounds that up to 8192. Pages are most of what the
// engines hold, so they get slots that fit: the same memory then holds nearly
// twice as many, none of which has to be read, or written before its time,
// while a lock is held. Any other size is the library's affair.
const (
	slabSlot  = 4416 // the next multiple of 64, and 64 of them are whole pages of the system
	slabLeast = 4096 // sizes up to this are not pages with their headers
	slabChunk = 64 * slabSlot
	// slabChunks is how much address space is set aside, 135 MiB; memory is
	// taken as it is used, and beyond it the library's allocator serves.
	slabChunks = 512
	// slabSpare is how many empty chunks keep their memory.
	slabSpare = 8
)

// A slab hands out slots. Chunks are filled from the lowest on, so that the
// upper ones become empty and can be given back.
type slab struct {
	mu     sync.Mutex
	memory []byte
	base   uintptr
	free   [slabChunks]uint64 // a bit for each free slot
	from   int                // chunks before this one are full
	spare  int                // empty chunks with memory
	cold   [slabChunks]bool   // without

	system lib.Tsqlite3_mem_methods
}

var pages slab

// useSlab puts the slab in front of the library's allocator. It must come
// before SQLite is used; where it cannot, nothing changes.
var useSlab = sync.OnceFunc(func() {
	memory := slabMemory(slabChunks * slabChunk)
	if memory == nil {
		return
	}
	tls := libc.NewTLS()
	defer tls.Close()
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(pages.system)))
	if p == 0 {
		return
	}
	list := libc.NewVaList(p)
	defer libc.Xfree(tls, list)
	if lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_GETMALLOC, list) != lib.SQLITE_OK {
		return
	}
	m := (*lib.Tsqlite3_mem_methods)(pointer(p))
	pages.system = *m
	pages.memory, pages.base = memory, uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	for i := range pages.free {
		pages.free[i], pages.cold[i] = ^uint64(0), true
	}
	m.FxMalloc, m.FxFree, m.FxRealloc, m.FxSize = function(slabMalloc), function(slabFree), function(slabRealloc), function(slabSize)
	_ = lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MALLOC, list) // refused: all goes on as it was
})

// function returns the address by which SQLite calls a function.
func function(f any) uintptr {
	type words [2]uintptr
	return (*words)(unsafe.Pointer(&f))[1]
}

// call makes a function of such an address.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p})) }

type (
	mallocFunc  = func(*libc.TLS, int32) uintptr
	freeFunc    = func(*libc.TLS, uintptr)
	reallocFunc = func(*libc.TLS, uintptr, int32) uintptr
	msizeFunc   = func(*libc.TLS, uintptr) int32
)

// take returns the address of a free slot, 0 when there is none.
func (s *slab) take() uintptr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.from < slabChunks; s.from++ {
		if mask := s.free[s.from]; mask != 0 {
			if mask == ^uint64(0) {
				if s.cold[s.from] {
					s.cold[s.from] = false
				} else {
					s.spare--
				}
			}
			n := bits.TrailingZeros64(mask)
			s.free[s.from] &^= 1 << n
			return s.base + uintptr(s.from*slabChunk+n*slabSlot)
		}
	}
	return 0
}

// has reports whether an address is a slot's.
func (s *slab) has(p uintptr) bool { return p-s.base < slabChunks*slabChunk }

// give takes a slot back.
func (s *slab) give(p uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int(p - s.base)
	chunk := at / slabChunk
	s.free[chunk] |= 1 << (at % slabChunk / slabSlot)
	s.from = min(s.from, chunk)
	if s.free[chunk] != ^uint64(0) {
		return
	}
	if s.spare++; s.spare > slabSpare {
		slabRelease(s.memory[chunk*slabChunk : (chunk+1)*slabChunk])
		s.cold[chunk] = true
		s.spare--
	}
}

func slabMalloc(tls *libc.TLS, n int32) uintptr {
	if n > slabLeast && n <= slabSlot {
		if p := pages.take(); p != 0 {
			return p
		}
	}
	return call[mallocFunc](pages.system.FxMalloc)(tls, n)
}

func slabFree(tls *libc.TLS, p uintptr) {
	if pages.has(p) {
		pages.give(p)
		return
	}
	call[freeFunc](pages.system.FxFree)(tls, p)
}

func slabRealloc(tls *libc.TLS, p uintptr, n int32) uintptr {
	if !pages.has(p) {
		return call[reallocFunc](pages.system.FxRealloc)(tls, p, n)
	}
	if n > slabLeast && n <= slabSlot {
		return p
	}
	q := slabMalloc(tls, n)
	if q != 0 {
		size := min(int(n), slabSlot)
		copy(unsafe.Slice((*byte)(pointer(q)), size), unsafe.Slice((*byte)(pointer(p)), size))
		pages.give(p)
	}
	return q
}

func slabSize(tls *libc.TLS, p uintptr) int32 {
	if pages.has(p) {
		return slabSlot
	}
	return call[msizeFunc](pages.system.FxSize)(tls, p)
}
