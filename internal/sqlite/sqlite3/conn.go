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
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
)

// Mode says how Open opens a database.
type Mode int

// The modes of Open.
const (
	ReadOnly  Mode = iota // an existing file; writes fail
	ReadWrite             // an existing file
	Create                // made when it is not there
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
	flags := int32(lib.SQLITE_OPEN_NOMUTEX)
	switch mode {
	case ReadOnly:
		flags |= lib.SQLITE_OPEN_READONLY
	case ReadWrite:
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
	rc := lib.Xsqlite3_open_v2(c.tls, zName, c.out, flags, 0)
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

// A Stmt is a prepared statement.
type Stmt struct {
	conn    *Conn
	p       uintptr
	sql     string
	params  int
	columns int
	buf     uintptr // holds the bound texts and blobs of one row
	size    int
}

// Columns returns the number of columns of a row.
func (s *Stmt) Columns() int { return s.columns }

// ColumnName returns the name of column i, from 0.
func (s *Stmt) ColumnName(i int) string {
	return libc.GoString(lib.Xsqlite3_column_name(s.conn.tls, s.p, int32(i)))
}

// Step goes to the next row. It reports false, and resets the statement,
// after the last one; after an error the statement is reset too.
func (s *Stmt) Step() (bool, error) {
	switch rc := lib.Xsqlite3_step(s.conn.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		lib.Xsqlite3_reset(s.conn.tls, s.p)
		return false, nil
	default:
		err := s.conn.fail(rc, s.sql)
		lib.Xsqlite3_reset(s.conn.tls, s.p)
		return false, err
	}
}

// Reset makes the statement ready to run again; what is bound stays bound.
func (s *Stmt) Reset() { lib.Xsqlite3_reset(s.conn.tls, s.p) }

// Close frees the statement.
func (s *Stmt) Close() error {
	if s.p == 0 {
		return nil
	}
	// The error that finalize returns is that of the last step: it was told.
	lib.Xsqlite3_finalize(s.conn.tls, s.p)
	if s.buf != 0 {
		libc.Xfree(s.conn.tls, s.buf)
	}
	s.p, s.buf, s.size = 0, 0, 0
	return nil
}

// Kind returns the storage class of column i of the current row, from 0.
func (s *Stmt) Kind(i int) change.Kind {
	switch lib.Xsqlite3_column_type(s.conn.tls, s.p, int32(i)) {
	case lib.SQLITE_INTEGER:
		return change.Integer
	case lib.SQLITE_FLOAT:
		return change.Real
	case lib.SQLITE_TEXT:
		return change.Text
	case lib.SQLITE_BLOB:
		return change.Blob
	}
	return change.Null
}

// Int returns column i as an integer.
func (s *Stmt) Int(i int) int64 { return lib.Xsqlite3_column_int64(s.conn.tls, s.p, int32(i)) }

// Real returns column i as a floating point number.
func (s *Stmt) Real(i int) float64 { return lib.Xsqlite3_column_double(s.conn.tls, s.p, int32(i)) }

// Bytes returns the text or blob of column i in SQLite's own memory: it is
// good until the next Step, Reset or Close, and must not be written to. It
// is empty and not nil for an empty blob or text.
func (s *Stmt) Bytes(i int) []byte {
	p := lib.Xsqlite3_column_blob(s.conn.tls, s.p, int32(i))
	n := lib.Xsqlite3_column_bytes(s.conn.tls, s.p, int32(i))
	if p == 0 || n == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(pointer(p)), int(n))
}

// Text returns a copy of column i as a string; "" for NULL.
func (s *Stmt) Text(i int) string { return string(s.Bytes(i)) }

// Value returns column i; its bytes are borrowed as those of Bytes are.
func (s *Stmt) Value(i int) change.Value {
	switch k := s.Kind(i); k {
	case change.Integer:
		return change.Value{Kind: k, Int: s.Int(i)}
	case change.Real:
		return change.Value{Kind: k, Real: s.Real(i)}
	case change.Text, change.Blob:
		return change.Value{Kind: k, Bytes: s.Bytes(i)}
	default:
		return change.Value{}
	}
}

// BindRow binds row to the parameters 1, 2, … and resets the statement
// first. Texts and blobs are copied once, into memory of the statement's own.
func (s *Stmt) BindRow(row []change.Value) error {
	if len(row) != s.params {
		return &Error{Code: lib.SQLITE_RANGE, SQL: s.sql, Path: s.conn.path,
			Message: fmt.Sprintf("%d values for %d parameters", len(row), s.params)}
	}
	s.Reset()
	total := 0
	for i := range row {
		total += len(row[i].Bytes)
	}
	if err := s.grow(total); err != nil {
		return err
	}
	tls, at := s.conn.tls, s.buf
	for i := range row {
		v, n := &row[i], int32(i+1)
		var rc int32
		switch v.Kind {
		case change.Null:
			rc = lib.Xsqlite3_bind_null(tls, s.p, n)
		case change.Integer:
			rc = lib.Xsqlite3_bind_int64(tls, s.p, n, v.Int)
		case change.Real:
			rc = lib.Xsqlite3_bind_double(tls, s.p, n, v.Real)
		default:
			if len(v.Bytes) > 0 {
				copy(unsafe.Slice((*byte)(pointer(at)), len(v.Bytes)), v.Bytes)
			}
			if v.Kind == change.Text {
				rc = lib.Xsqlite3_bind_text(tls, s.p, n, at, int32(len(v.Bytes)), 0)
			} else {
				rc = lib.Xsqlite3_bind_blob(tls, s.p, n, at, int32(len(v.Bytes)), 0)
			}
			at += uintptr(len(v.Bytes))
		}
		if rc != lib.SQLITE_OK {
			return s.conn.fail(rc, s.sql)
		}
	}
	runtime.KeepAlive(row)
	return nil
}

// grow makes room for n bytes of bound text. The buffer is never empty, so
// that an empty blob binds a pointer and stays a blob: with no pointer SQLite
// binds NULL.
func (s *Stmt) grow(n int) error {
	if s.buf != 0 && n <= s.size {
		return nil
	}
	if s.buf != 0 {
		// Nothing may point at the old buffer when it goes.
		lib.Xsqlite3_clear_bindings(s.conn.tls, s.p)
		libc.Xfree(s.conn.tls, s.buf)
		s.buf, s.size = 0, 0
	}
	size := max(n+n/2, 256)
	p, err := s.conn.malloc(size)
	if err != nil {
		return err
	}
	s.buf, s.size = p, size
	return nil
}

// BindArgs binds Go values, as listed at Run, to the parameters 1, 2, ….
func (s *Stmt) BindArgs(args ...any) error {
	row := make([]change.Value, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case nil:
		case int:
			row[i] = change.Value{Kind: change.Integer, Int: int64(a)}
		case int64:
			row[i] = change.Value{Kind: change.Integer, Int: a}
		case bool:
			row[i] = change.Value{Kind: change.Integer}
			if a {
				row[i].Int = 1
			}
		case float64:
			row[i] = change.Value{Kind: change.Real, Real: a}
		case string:
			row[i] = change.Value{Kind: change.Text, Bytes: []byte(a)}
		case []byte:
			row[i] = change.Value{Kind: change.Blob, Bytes: a}
		case change.Value:
			row[i] = a
		default:
			return fmt.Errorf("sqlite3: cannot bind a %T", a)
		}
	}
	return s.BindRow(row)
}
