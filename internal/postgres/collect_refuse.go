package postgres

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// isRefusal reports whether an error speaks of a row: of its values, of a
// constraint, of what a trigger of the ERP or row level security has against
// it; and not of the server, of a right, or of a lock. A trigger may choose any
// code: what it raises itself is known by the server's routine for that.
func isRefusal(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return false
	}
	if e.Routine == "exec_stmt_raise" {
		return true
	}
	switch e.Code[:2] {
	case "22", "23", "44", "54", "P0": // data, constraints, a view's check, limits, PL/pgSQL
		return true
	case "08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX":
		return false
	case "42":
		if e.Code == codeDenied {
			return e.Routine == "ExecWithCheckOptions" // row level security
		}
	}
	return e.Where != "" // inside a function: a trigger that is wrong for such a row
}

// plainWords returns PostgreSQL's own words for a refusal.
func plainWords(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := e.Message
	if e.Detail != "" && (strings.HasPrefix(e.Code, "23") && e.Code != "23502" && e.Code != "23514") {
		text += " (" + e.Detail + ")" // the key; of the other two it is the whole row
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}

// errIgnored says that a statement that ran left a row as it was.
var errIgnored = errors.New("a trigger of the database kept the row from being written, without a word")
