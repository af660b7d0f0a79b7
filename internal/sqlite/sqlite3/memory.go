package sqlite3

import lib "modernc.org/sqlite/lib"

// Flush writes the changed pages of an open transaction out of the cache, to
// the WAL or the journal's file, without ending it, and then frees the cache's
// memory (https://www.sqlite.org/c3ref/db_cacheflush.html). Pages that another
// connection's lock keeps from being written stay where they are.
func (c *Conn) Flush() error {
	rc := lib.Xsqlite3_db_cacheflush(c.tls, c.db)
	if rc != lib.SQLITE_OK && rc != lib.SQLITE_BUSY {
		return c.fail(rc, "")
	}
	lib.Xsqlite3_db_release_memory(c.tls, c.db)
	return nil
}

// LastRowid returns the rowid of the last row that was inserted into a rowid
// table. An UPSERT that updates leaves it alone
// (https://www.sqlite.org/c3ref/last_insert_rowid.html).
func (c *Conn) LastRowid() int64 { return lib.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// SetLastRowid makes LastRowid return id until the next insert, so that a
// caller can see whether an UPSERT inserted.
func (c *Conn) SetLastRowid(id int64) { lib.Xsqlite3_set_last_insert_rowid(c.tls, c.db, id) }

// Params returns the number of the statement's parameters, which is the
// highest number among them.
func (s *Stmt) Params() int { return s.params }

// SQL returns the statement's text.
func (s *Stmt) SQL() string { return s.sql }
