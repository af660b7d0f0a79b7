package sqlite

import (
	"errors"
	"fmt"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// environment makes an error of SQLite recognisable that says something of
// the machine and not of the data. Other errors come back as they are.
func environment(err error) error {
	switch {
	case err == nil || errors.Is(err, database.ErrBusy) || errors.Is(err, database.ErrNoSpace) || errors.Is(err, database.ErrReadOnly):
		return err
	case sqlite3.IsBusy(err):
		return fmt.Errorf("%w; nothing was changed; try again when the other program has finished: %w", database.ErrBusy, err)
	case sqlite3.IsFull(err):
		return fmt.Errorf("%w; everything was rolled back; make room and run it again: %w", database.ErrNoSpace, err)
	case sqlite3.IsReadOnly(err):
		return fmt.Errorf("%w; nothing was changed; the file and its folder (for -wal and -shm) must be writable by the account that runs this: %w", database.ErrReadOnly, err)
	}
	return err
}
