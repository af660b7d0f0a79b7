package sqlite

import (
	"errors"
	"fmt"

	"caisseauto/internal/sqlite/sqlite3"
)

// What the database, and not the data, can have against a piece of work. In
// every case nothing was changed, and the same work can be tried again.
var (
	// ErrBusy says that another program held the database's lock for longer
	// than the busy timeout.
	ErrBusy = errors.New("the database is busy")
	// ErrNoSpace says that a disk is full.
	ErrNoSpace = errors.New("the disk is full")
	// ErrReadOnly says that the database file or its folder cannot be
	// written to.
	ErrReadOnly = errors.New("the database cannot be written to")
	// ErrMoved says that the ledger does not stand where the batch begins:
	// another import has applied something meanwhile, or the batch is not
	// the next one.
	ErrMoved = errors.New("the ledger stands elsewhere")
)

// environment makes an error of SQLite recognisable that says something of
// the machine and not of the data. Other errors come back as they are.
func environment(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrBusy) || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrReadOnly):
		return err
	case sqlite3.IsBusy(err):
		return fmt.Errorf("%w; nothing was changed; try again when the other program has finished: %w", ErrBusy, err)
	case sqlite3.IsFull(err):
		return fmt.Errorf("%w; everything was rolled back; make room and run it again: %w", ErrNoSpace, err)
	case sqlite3.IsReadOnly(err):
		return fmt.Errorf("%w; nothing was changed; the file and its folder (for -wal and -shm) must be writable by the account that runs this: %w", ErrReadOnly, err)
	}
	return err
}
