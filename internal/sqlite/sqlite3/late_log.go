//go:build linux || darwin

package sqlite3

import (
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A lateLog gathers what SQLite writes to a log. It belongs to the goroutine
// of the connection; only its writer is another.
type lateLog struct {
	file *lateFile
	buf  []byte // behind each other from at on
	at   int64

	jobs   chan latePart
	free   chan []byte
	done   chan int32 // answers a part without bytes: nothing is under way
	busy   bool       // something was sent and not answered for
	err    int32      // the first failure; it stays
	lost   int64      // the offset from which on bytes may be missing then
	header bool       // the log's header was written and not synced
}

// A latePart is bytes for a place in the log; without bytes it asks for an
// answer.
type latePart struct {
	buf []byte
	at  int64
}

func newLateLog(f *lateFile) *lateLog {
	l := &lateLog{file: f, jobs: make(chan latePart, latePieces), free: make(chan []byte, latePieces+2), done: make(chan int32)}
	go l.writer()
	return l
}

// writer writes the parts in their order. After a failure nothing more is
// written: behind a hole it would be worth nothing.
func (l *lateLog) writer() {
	tls := libc.NewTLS()
	defer tls.Close()
	write := call[rangeFunc](l.file.real.FxWrite)
	rc := int32(lib.SQLITE_OK)
	for p := range l.jobs {
		if p.buf == nil {
			l.done <- rc
			continue
		}
		if rc == lib.SQLITE_OK {
			rc = write(tls, l.file.file, uintptr(unsafe.Pointer(unsafe.SliceData(p.buf))), int32(len(p.buf)), lib.Tsqlite3_int64(p.at))
			if rc != lib.SQLITE_OK {
				l.lost = p.at // read only after an answer
			}
		}
		select {
		case l.free <- p.buf[:0]:
		default:
		}
	}
}

// write takes bytes for a place.
func (l *lateLog) write(b []byte, at int64) int32 {
	if l.err != lib.SQLITE_OK {
		return l.err
	}
	if at == 0 {
		l.header = true
	}
	if at != l.at+int64(len(l.buf)) {
		l.send()
		l.at = at
	}
	for len(b) > 0 {
		if l.buf == nil {
			select {
			case l.buf = <-l.free:
			default:
				l.buf = make([]byte, 0, latePiece)
			}
		}
		n := min(len(b), latePiece-len(l.buf))
		l.buf, b = append(l.buf, b[:n]...), b[n:]
		if len(l.buf) == latePiece {
			l.send()
		}
	}
	return lib.SQLITE_OK
}

// send gives what is gathered to the writer.
func (l *lateLog) send() {
	if len(l.buf) > 0 {
		l.jobs <- latePart{l.buf, l.at}
		l.busy = true
		l.at += int64(len(l.buf))
		l.buf = nil
	}
}

// drain waits until everything is in the file.
func (l *lateLog) drain() int32 {
	l.send()
	if l.busy {
		l.jobs <- latePart{}
		l.err, l.busy = <-l.done, false
	}
	return l.err
}

// end lets the writer go.
func (l *lateLog) end() {
	l.drain()
	close(l.jobs)
}

// Late has the frames of the coming transactions gathered in memory and
// written in large pieces, and leaves them unsynced at the commit, until it is
// called with false: only then, and after the caller has synced the log with a
// checkpoint or with another commit, does the transaction outlive a power cut.
// What a crash of this process alone can do to it does not change: before
// anybody else sees the transaction, all of it is in the log's file. It
// reports whether that is so from now on: not where the database has no
// write-ahead log, or was not opened with [Applying], or where the commit
// would not ask for a sync at all.
func (c *Conn) Late(on bool) (bool, error) {
	db, log := lateOf(c.filePointer(lib.SQLITE_FCNTL_FILE_POINTER)), lateOf(c.filePointer(lib.SQLITE_FCNTL_JOURNAL_POINTER))
	if db == nil || log == nil || db == log || c.InTransaction() {
		return false, nil
	}
	if !on {
		if log.log != nil {
			log.log.end()
		}
		db.log, log.log = nil, nil
		return false, nil
	}
	full := false
	err := c.Query("PRAGMA synchronous", func(s *Stmt) error { full = s.Int(0) >= 2; return nil })
	if err != nil || !full {
		return false, err
	}
	if log.log == nil {
		log.log = newLateLog(log)
		db.log = log.log
	}
	return true, nil
}

// filePointer returns the address of one of the database's open files.
func (c *Conn) filePointer(which int32) uintptr {
	out := (*uintptr)(pointer(c.out))
	*out = 0
	if rc := lib.Xsqlite3_file_control(c.tls, c.db, 0, which, c.out); rc != lib.SQLITE_OK {
		return 0
	}
	return *out
}
