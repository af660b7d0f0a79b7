package sqlite3

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// BrokenReferences reports whether the open transaction has violated foreign
// keys whose check is put off, and not mended all of them yet: COMMIT would
// fail (https://www.sqlite.org/c3ref/c_dbstatus_options.html).
func (c *Conn) BrokenReferences() (bool, error) {
	p, err := c.malloc(8)
	if err != nil {
		return false, err
	}
	defer libc.Xfree(c.tls, p)
	rc := lib.Xsqlite3_db_status(c.tls, c.db, lib.SQLITE_DBSTATUS_DEFERRED_FKS, p, p+4, 0)
	if rc != lib.SQLITE_OK {
		return false, c.fail(rc, "")
	}
	return *(*int32)(pointer(p)) != 0, nil
}
