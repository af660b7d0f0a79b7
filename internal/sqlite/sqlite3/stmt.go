package sqlite3

import (
	"fmt"
	"runtime"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"caisseauto/internal/change"
)

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
	// In a database of UTF-16 only column_text converts; of an integer it
	// makes text, as column_blob does.
	var p uintptr
	if lib.Xsqlite3_column_type(s.conn.tls, s.p, int32(i)) == lib.SQLITE_TEXT {
		p = lib.Xsqlite3_column_text(s.conn.tls, s.p, int32(i))
	} else {
		p = lib.Xsqlite3_column_blob(s.conn.tls, s.p, int32(i))
	}
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
