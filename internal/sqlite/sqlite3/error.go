package sqlite3

import (
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"
)

// An Error is what SQLite answered. Code is the extended result code
// (https://www.sqlite.org/rescode.html).
type Error struct {
	Code    int
	Message string
	SQL     string // the statement, where there was one
	Path    string // the database file
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (SQLite code %d)", e.Path, e.Message, e.Code)
}

// primary returns the primary result code of err, -1 when it is not of SQLite.
func primary(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Code & 0xff
}

// IsBusy reports whether err says that another connection holds a lock.
func IsBusy(err error) bool {
	p := primary(err)
	return p == lib.SQLITE_BUSY || p == lib.SQLITE_LOCKED
}

// IsFull reports whether err says that the disk is full.
func IsFull(err error) bool { return primary(err) == lib.SQLITE_FULL }

// IsInterrupt reports whether err comes from Interrupt.
func IsInterrupt(err error) bool { return primary(err) == lib.SQLITE_INTERRUPT }

// IsReadOnly reports whether err says that the file or its folder cannot be
// written to.
func IsReadOnly(err error) bool {
	p := primary(err)
	return p == lib.SQLITE_READONLY || p == lib.SQLITE_PERM
}

// IsUnique reports whether err is a violation of a UNIQUE constraint or of a
// primary key.
func IsUnique(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code == lib.SQLITE_CONSTRAINT_PRIMARYKEY ||
		e.Code == lib.SQLITE_CONSTRAINT_ROWID
}

// IsForeignKey reports whether err is a violation of a foreign key.
func IsForeignKey(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == lib.SQLITE_CONSTRAINT_FOREIGNKEY
}

// IsConstraint reports whether err is the violation of any constraint.
func IsConstraint(err error) bool { return primary(err) == lib.SQLITE_CONSTRAINT }

// IsCannotOpen reports whether err says that the file, or a file that belongs
// to it, is not there or cannot be opened.
func IsCannotOpen(err error) bool { return primary(err) == lib.SQLITE_CANTOPEN }
