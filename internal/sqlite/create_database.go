package sqlite

import (
	"errors"
	"fmt"

	"caisseauto/internal/sqlite/sqlite3"
)

// CreateDatabase makes an empty database file at path, for a till that has
// none yet: in WAL mode, so that its cashier does not wait for readers. A file
// that is there already stays as it is.
func CreateDatabase(path string) error {
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		return fmt.Errorf("making the till's database: %w", environment(err))
	}
	empty := true
	err = c.Query("SELECT 1 FROM sqlite_schema LIMIT 1", func(*sqlite3.Stmt) error { empty = false; return nil })
	if err == nil && empty {
		err = c.Exec("PRAGMA journal_mode=WAL")
	}
	return environment(errors.Join(err, c.Close()))
}
