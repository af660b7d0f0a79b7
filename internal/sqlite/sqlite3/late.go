//go:build linux || darwin

package sqlite3

import (
	"errors"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite writes a large transaction into the write-ahead log page by page,
// two small writes for each, while everybody else waits for the lock. This
// file puts another pair of hands between SQLite and the log: they gather what
// comes one behind the other and have a goroutine write it in large pieces,
// while SQLite computes the next checksums.
//
// Nobody else may see a frame in the log's index that is not in its file. At
// the end of a transaction, with synchronous=FULL, SQLite calls xSync on the
// log, and publishes the index after that and only when it succeeded: xSync
// writes what was gathered and waits for it. It does not sync then, which
// [Conn.Late] leaves to its caller. And what SQLite has given up, it must not
// find written later over somebody else's frames: before any lock is let go,
// nothing is under way any more.

// lateVFS is the name under which the way to open files is registered.
const lateVFS = "caisseauto-late"

const (
	// latePiece is what is written at once. SQLite's own files take less than
	// 128 KiB in one call (os_unix.c, seekAndWriteFd).
	latePiece = 31 * 4096
	// latePieces is how many pieces may be under way.
	latePieces = 8
)

// late is what this process knows of the files that were opened through
// lateVFS, by the addresses of SQLite's own structures.
var late struct {
	mu    sync.Mutex
	vfs   uintptr               // the one of the system
	name  uintptr               // of ours
	files map[uintptr]*lateFile // logs, and databases that a log is being gathered for
	ways  map[uintptr]uintptr   // tables of methods: the system's, ours
}

// A lateFile is an open log or an open database.
type lateFile struct {
	file uintptr
	real *lib.Tsqlite3_io_methods
	log  *lateLog // being gathered; of a database: its log
}

// registerLate makes the way to open files known to SQLite, once.
var registerLate = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	system := lib.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString(lateVFS)
	if system == 0 || err != nil {
		return errors.New("sqlite3: the system's way to open files is not there")
	}
	size := unsafe.Sizeof(lib.Tsqlite3_vfs{})
	own := libc.Xmalloc(tls, libc.Tsize_t(size))
	if own == 0 {
		return errors.New("sqlite3: out of memory")
	}
	v := (*lib.Tsqlite3_vfs)(pointer(own))
	*v = *(*lib.Tsqlite3_vfs)(pointer(system))
	v.FzName, v.FpNext, v.FxOpen = name, 0, function(lateOpen)
	late.vfs, late.name = system, name
	late.files, late.ways = map[uintptr]*lateFile{}, map[uintptr]uintptr{}
	if rc := lib.Xsqlite3_vfs_register(tls, own, 0); rc != lib.SQLITE_OK {
		return &Error{Code: int(rc), Message: "registering " + lateVFS}
	}
	return nil
})

type (
	fileFunc  = func(*libc.TLS, uintptr) int32
	rangeFunc = func(tls *libc.TLS, file, buf uintptr, n int32, offset lib.Tsqlite3_int64) int32
	sizeFunc  = func(tls *libc.TLS, file, size uintptr) int32
	cutFunc   = func(tls *libc.TLS, file uintptr, size lib.Tsqlite3_int64) int32
	syncFunc  = func(tls *libc.TLS, file uintptr, flags int32) int32
	shmFunc   = func(tls *libc.TLS, file uintptr, offset, n, flags int32) int32
	openFunc  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
)

// lateOpen opens a file as the system does; logs and databases get a table of
// methods in which some are ours.
func lateOpen(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	rc := call[openFunc]((*lib.Tsqlite3_vfs)(pointer(late.vfs)).FxOpen)(tls, late.vfs, name, file, flags, out)
	methods := (*uintptr)(pointer(file))
	if rc != lib.SQLITE_OK || *methods == 0 || flags&(lib.SQLITE_OPEN_WAL|lib.SQLITE_OPEN_MAIN_DB) == 0 {
		return rc
	}
	late.mu.Lock()
	defer late.mu.Unlock()
	own := late.ways[*methods]
	if own == 0 {
		if own = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))); own == 0 {
			return rc // the system's methods do as well
		}
		m := (*lib.Tsqlite3_io_methods)(pointer(own))
		*m = *(*lib.Tsqlite3_io_methods)(pointer(*methods))
		m.FxClose, m.FxRead, m.FxWrite, m.FxTruncate = function(lateClose), function(lateRead), function(lateWrite), function(lateTruncate)
		m.FxSync, m.FxFileSize = function(lateSync), function(lateSize)
		if m.FxShmLock != 0 {
			m.FxShmLock = function(lateShmLock)
		}
		late.ways[*methods] = own
	}
	late.files[file] = &lateFile{file: file, real: (*lib.Tsqlite3_io_methods)(pointer(*methods))}
	*methods = own
	return rc
}

func lateOf(file uintptr) *lateFile {
	late.mu.Lock()
	defer late.mu.Unlock()
	return late.files[file]
}

// isLog reports whether the file is a log that is being gathered.
func (f *lateFile) isLog() bool { return f.log != nil && f.log.file == f }

func lateClose(tls *libc.TLS, file uintptr) int32 {
	f := lateOf(file)
	late.mu.Lock()
	if f.isLog() {
		f.log.end()
		for _, other := range late.files {
			if other.log == f.log && other != f {
				other.log = nil
			}
		}
	}
	delete(late.files, file)
	late.mu.Unlock()
	return call[fileFunc](f.real.FxClose)(tls, file)
}

func lateRead(tls *libc.TLS, file, buf uintptr, n int32, offset lib.Tsqlite3_int64) int32 {
	f := lateOf(file)
	if f.isLog() {
		if rc := f.log.drain(); rc != lib.SQLITE_OK && int64(offset)+int64(n) > f.log.lost {
			return rc // these bytes never got there
		}
	}
	return call[rangeFunc](f.real.FxRead)(tls, file, buf, n, offset)
}

func lateWrite(tls *libc.TLS, file, buf uintptr, n int32, offset lib.Tsqlite3_int64) int32 {
	f := lateOf(file)
	if f.isLog() {
		return f.log.write(unsafe.Slice((*byte)(pointer(buf)), int(n)), int64(offset))
	}
	return call[rangeFunc](f.real.FxWrite)(tls, file, buf, n, offset)
}

func lateTruncate(tls *libc.TLS, file uintptr, size lib.Tsqlite3_int64) int32 {
	f := lateOf(file)
	if f.isLog() {
		if rc := f.log.drain(); rc != lib.SQLITE_OK {
			return rc
		}
	}
	return call[cutFunc](f.real.FxTruncate)(tls, file, size)
}

// lateSync writes what was gathered. The log's first page says by its salt
// which frames are of this log and which of the one before: that must be on
// the disk before frames follow, as SQLite has it
// (https://www.sqlite.org/wal.html, walFrames), so it is never late.
func lateSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := lateOf(file)
	if f.isLog() {
		if rc := f.log.drain(); rc != lib.SQLITE_OK {
			return rc
		}
		if !f.log.header {
			return lib.SQLITE_OK
		}
		f.log.header = false
	}
	return call[syncFunc](f.real.FxSync)(tls, file, flags)
}

func lateSize(tls *libc.TLS, file, size uintptr) int32 {
	f := lateOf(file)
	if f.isLog() {
		if rc := f.log.drain(); rc != lib.SQLITE_OK {
			return rc
		}
	}
	return call[sizeFunc](f.real.FxFileSize)(tls, file, size)
}

// lateShmLock sees to it that nothing is on its way to the log when a lock of
// the database is let go: another program may be the next to write there.
func lateShmLock(tls *libc.TLS, file uintptr, offset, n, flags int32) int32 {
	f := lateOf(file)
	if f.log != nil && flags&lib.SQLITE_SHM_UNLOCK != 0 {
		f.log.drain()
	}
	return call[shmFunc](f.real.FxShmLock)(tls, file, offset, n, flags)
}
