// Package sqlite3 is a thin, typed binding of the C interface of SQLite as
// modernc.org/sqlite/lib carries it.
//
// The engines move millions of rows, and database/sql costs more per row
// there than SQLite itself does: every value becomes an interface, every text
// a copy. This binding hands out SQLite's own bytes and binds a row in one
// copy; it has no pool and no hidden goroutine. A [Conn] and its statements
// belong to one goroutine at a time; only [Conn.Interrupt] may come from
// another.
package sqlite3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Mode says how Open opens a database.
type Mode int

// The modes of Open.
const (
	ReadOnly  Mode = iota // an existing file; writes fail
	ReadWrite             // an existing file
	Create                // made when it is not there
	Applying              // an existing file, of which [Conn.Late] can speak
)

// A Conn is one connection to one database file.
type Conn struct {
	tls  *libc.TLS
	db   uintptr
	out  uintptr // two pointers of scratch for prepare
	path string
}

// ofdOnce asks for locks that survive somebody else's close of the same file
// in this process. A POSIX record lock is dropped when any descriptor of the
// file is closed, and the database is then written unprotected (Litestream
// #93); OFD locks are not. Where the system has none, SQLite's own remain.
var ofdOnce = sync.OnceFunc(func() { _, _ = sqlite.OFDLocking(true) })

// Open opens the database file at path. The path is taken as it is, whatever
// characters it holds; it is never read as a URI. Errors are of type *Error.
func Open(path string, mode Mode) (*Conn, error) {
	ofdOnce()
	useSlab()
	readPcache()
	flags := int32(lib.SQLITE_OPEN_NOMUTEX)
	switch mode {
	case ReadOnly:
		flags |= lib.SQLITE_OPEN_READONLY
	case ReadWrite, Applying:
		flags |= lib.SQLITE_OPEN_READWRITE
	case Create:
		flags |= lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE
	}
	// A name that starts with "file:" would be read as a URI where the
	// library is built so; a leading "./" keeps it a name.
	name := path
	if strings.HasPrefix(name, "file:") {
		name = "./" + name
	}
	c := &Conn{tls: libc.NewTLS(), path: path}
	var err error
	if c.out, err = c.malloc(2 * ptrSize); err != nil {
		c.tls.Close()
		return nil, err
	}
	zName, err := libc.CString(name)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	defer libc.Xfree(c.tls, zName)
	zVFS := uintptr(0)
	if mode == Applying && lateVFS != "" {
		if err := registerLate(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		if zVFS, err = libc.CString(lateVFS); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		defer libc.Xfree(c.tls, zVFS)
	}
	rc := lib.Xsqlite3_open_v2(c.tls, zName, c.out, flags, zVFS)
	c.db = *(*uintptr)(pointer(c.out))
	if rc != lib.SQLITE_OK {
		err := c.fail(rc, "")
		return nil, errors.Join(err, c.Close())
	}
	lib.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	return c, nil
}

// pointer turns an address in the library's memory, which Go's collector does
// not own and never moves, into a pointer. It goes through memory because the
// direct conversion is one that vet cannot tell from a mistake.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

const ptrSize = int(unsafe.Sizeof(uintptr(0)))

func (c *Conn) malloc(n int) (uintptr, error) {
	p := libc.Xmalloc(c.tls, libc.Tsize_t(n))
	if p == 0 {
		return 0, fmt.Errorf("sqlite3: out of memory (%d bytes)", n)
	}
	return p, nil
}

// Path returns the name that Open was given.
func (c *Conn) Path() string { return c.path }

// Close closes the connection and rolls back what is not committed. Its
// statements must have been closed before.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	var err error
	if c.db != 0 {
		if rc := lib.Xsqlite3_close_v2(c.tls, c.db); rc != lib.SQLITE_OK {
			err = &Error{Code: int(rc), Message: "closing the database", Path: c.path}
		}
	}
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
	c.tls, c.db, c.out = nil, 0, 0
	return err
}

// Interrupt makes a running statement of this connection fail with code
// SQLITE_INTERRUPT. It may be called from any goroutine while the connection
// is open.
func (c *Conn) Interrupt() { lib.Xsqlite3_interrupt(c.tls, c.db) }

// Watch interrupts the connection when ctx ends, until the returned function
// is called.
func (c *Conn) Watch(ctx context.Context) (stop func()) {
	var mu sync.Mutex
	done := false
	cancel := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			c.Interrupt()
		}
	})
	return func() {
		cancel()
		mu.Lock()
		done = true
		mu.Unlock()
	}
}

// BusyTimeout sets how long a statement waits for another connection's lock
// before it fails with SQLITE_BUSY.
func (c *Conn) BusyTimeout(d time.Duration) {
	lib.Xsqlite3_busy_timeout(c.tls, c.db, int32(d.Milliseconds()))
}

// Changes returns the number of rows that the last INSERT, UPDATE or DELETE
// touched itself (triggers and cascades not counted).
func (c *Conn) Changes() int64 { return lib.Xsqlite3_changes64(c.tls, c.db) }

// InTransaction reports whether a transaction is open. Some errors end it by
// themselves (https://www.sqlite.org/lang_transaction.html, 3.2).
func (c *Conn) InTransaction() bool { return lib.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// Exec runs one or more statements without arguments, and throws away the
// rows that they return.
func (c *Conn) Exec(sql string) error {
	rest := sql
	for {
		s, tail, err := c.prepare(rest)
		if err != nil {
			return err
		}
		if s == nil {
			if tail == "" {
				return nil
			}
			rest = tail
			continue
		}
		for {
			row, err := s.Step()
			if err != nil {
				return errors.Join(err, s.Close())
			}
			if !row {
				break
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
		if rest = strings.TrimSpace(tail); rest == "" {
			return nil
		}
	}
}

// Run runs one statement with arguments and throws away its rows. An argument
// is nil, int, int64, float64, bool, string, []byte (a blob) or a
// change.Value.
func (c *Conn) Run(sql string, args ...any) error {
	return c.Query(sql, func(*Stmt) error { return nil }, args...)
}

// Query runs one statement and calls row at each of its rows.
func (c *Conn) Query(sql string, row func(*Stmt) error, args ...any) (err error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	if err := s.BindArgs(args...); err != nil {
		return err
	}
	for {
		ok, err := s.Step()
		if err != nil || !ok {
			return err
		}
		if err := row(s); err != nil {
			return err
		}
	}
}

// Prepare compiles the one statement in sql.
func (c *Conn) Prepare(sql string) (*Stmt, error) {
	s, tail, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	if s == nil || strings.TrimSpace(tail) != "" {
		if s != nil {
			_ = s.Close()
		}
		return nil, &Error{Code: lib.SQLITE_MISUSE, Message: "not exactly one statement", SQL: sql, Path: c.path}
	}
	return s, nil
}

func (c *Conn) prepare(sql string) (*Stmt, string, error) {
	z, err := libc.CString(sql)
	if err != nil {
		return nil, "", err
	}
	defer libc.Xfree(c.tls, z)
	tailp := c.out + uintptr(ptrSize)
	if rc := lib.Xsqlite3_prepare_v2(c.tls, c.db, z, int32(len(sql)+1), c.out, tailp); rc != lib.SQLITE_OK {
		return nil, "", c.fail(rc, sql)
	}
	p := *(*uintptr)(pointer(c.out))
	used := *(*uintptr)(pointer(tailp)) - z
	tail := sql[min(int(used), len(sql)):]
	if p == 0 {
		return nil, "", nil
	}
	s := &Stmt{conn: c, p: p, sql: sql}
	s.params = int(lib.Xsqlite3_bind_parameter_count(c.tls, p))
	s.columns = int(lib.Xsqlite3_column_count(c.tls, p))
	return s, tail, nil
}

// fail makes the error of the last call on c.
func (c *Conn) fail(rc int32, sql string) error {
	e := &Error{Code: int(rc), SQL: sql, Path: c.path}
	if c.db != 0 {
		e.Code = int(lib.Xsqlite3_extended_errcode(c.tls, c.db))
		if e.Code == lib.SQLITE_OK {
			e.Code = int(rc)
		}
		e.Message = libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db))
	} else {
		e.Message = libc.GoString(lib.Xsqlite3_errstr(c.tls, rc))
	}
	return e
}
