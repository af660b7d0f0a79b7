//go:build !linux && !darwin

package sqlite3

// Here the log is written as SQLite does it by itself.
const lateVFS = ""

func registerLate() error { return nil }

// Late reports that the log is not gathered on this system.
func (c *Conn) Late(bool) (bool, error) { return false, nil }
