package sqlite

import (
	"context"
	"strings"

	"caisseauto/internal/sqlite/sqlite3"
)

// ownTables are the tables that capture keeps in the ERP's database. The
// journal has no other constraint than its number: see trigger.go. It is
// AUTOINCREMENT because without it the numbers begin again at 1 when all
// entries are pruned, below every stream's cursor
// (https://www.sqlite.org/autoinc.html). Its dossier and keys have no declared
// type, so that they keep the storage class of the row.
var ownTables = []ownTable{
	{"caisseauto_journal", "CREATE TABLE caisseauto_journal(seq INTEGER PRIMARY KEY AUTOINCREMENT, tab INTEGER NOT NULL, dossier, mask INTEGER, k1)"},
	{"caisseauto_table", "CREATE TABLE caisseauto_table(tab INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE," +
		" generation INTEGER NOT NULL, declared TEXT NOT NULL, triggers TEXT NOT NULL)"},
	{"caisseauto_stream", "CREATE TABLE caisseauto_stream(stream TEXT PRIMARY KEY, epoch INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0," +
		" digest TEXT NOT NULL DEFAULT '', baseline INTEGER NOT NULL DEFAULT 0, cursor TEXT NOT NULL," +
		" pending_epoch INTEGER, pending_sequence INTEGER, pending_digest TEXT, pending_kind TEXT, pending_cursor TEXT)"},
	{"caisseauto_event", "CREATE TABLE caisseauto_event(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, stream TEXT, what TEXT NOT NULL)"},
}

// An ownTable is a table that we make.
type ownTable struct{ name, sql string }

// newest returns the SQL of the journal's highest number ever given. SQLite's own record of it
// is not enough: a statement of the ERP that stops with OR FAIL keeps the
// entries it has written, but not their numbers in sqlite_sequence (seen in
// 3.54).
func (c *Capture) newest() string {
	return "max(coalesce((SELECT seq FROM sqlite_sequence WHERE name=" + quoteText(c.journalName()) + "), 0)," +
		" coalesce((SELECT max(seq) FROM " + c.journal() + "), 0))"
}

// Install makes our tables and triggers in the ERP's database at path, as far
// as they are missing or other than they should be, in one transaction. It
// changes nothing else there. Errors name the table of the configuration that
// cannot be captured; database.ErrBusy.
func (c *Capture) Install(ctx context.Context, path string, o SourceOptions) error {
	s := NewSource(path, c, o)
	return s.write(ctx, func(db *sqlite3.Conn) error {
		p, err := c.plan(db, "")
		if err != nil {
			return err
		}
		return p.run(db)
	})
}

// SQL returns the statements that Install would run, for whoever wants to
// read them first or run them with other rights; empty when all is in place.
func (c *Capture) SQL(ctx context.Context, path string, o SourceOptions) (string, error) {
	var sql string
	err := NewSource(path, c, o).read(ctx, func(db *sqlite3.Conn) error {
		p, err := c.plan(db, "")
		if err == nil && len(p.statements) > 0 {
			sql = "BEGIN IMMEDIATE;\n" + strings.Join(p.statements, ";\n") + ";\nCOMMIT;\n"
		}
		return err
	})
	return sql, err
}
