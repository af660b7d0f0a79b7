package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"caisseauto/internal/database"
)

// Classes of errors that PostgreSQL tells apart
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	codeDenied      = "42501"
	codeReadOnly    = "25006"
	codeNoDatabase  = "3D000"
	codeLockTimeout = "55P03"
	codeCanceled    = "57014"
	codeDiskFull    = "53100"
)

// code returns the SQLSTATE of an error, "" where the server said none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// routine returns the server's function that an error is of, which has the
// same name in every language.
func routine(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Routine
	}
	return ""
}

// explain makes an error recognisable that says something of the server or
// of this role's rights and not of the data, and says what to do. Other
// errors come back with the database's name before them.
func explain(ctx context.Context, where string, err error) error {
	advice, kind := classify(ctx, err)
	switch {
	case err == nil:
		return nil
	case isExplained(err) && strings.Contains(err.Error(), where):
		return err
	case isExplained(err):
		return fmt.Errorf("%s: %w", where, err)
	case kind == nil:
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: %w; %s: %w", where, kind, advice, err)
}

// isExplained reports whether an error went through explain already.
func isExplained(err error) bool {
	for _, kind := range []error{database.ErrBusy, database.ErrNoSpace, database.ErrReadOnly, database.ErrUnavailable, database.ErrDenied,
		database.ErrNotInstalled, database.ErrMoved} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// classify says what to do about an error, and of which kind it is.
func classify(ctx context.Context, err error) (advice string, kind error) {
	c := code(err)
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "stopped, everything was rolled back", context.Cause(ctx)
	case c == "28P01" || c == "28000":
		return "nothing was changed; the password is looked for in ~/.pgpass or in the file that PGPASSFILE names, for the user in database.dsn; pg_hba.conf of the server says who may come", database.ErrDenied
	case c == codeDenied && routine(err) == "check_enable_rls":
		return "nothing was changed; row level security would hide rows from this role, and their absence would delete them at the tills; let a superuser run what this prints: caisseauto init server --print-sql (it is ALTER ROLE … BYPASSRLS)", database.ErrDenied
	case c == codeDenied:
		return "nothing was changed; let the owner of the tables, or a superuser, run what this prints: caisseauto init server --print-sql", database.ErrDenied
	case c == codeNoDatabase:
		return "correct database.dsn in the configuration", database.ErrNotInstalled
	case c == codeReadOnly:
		return replicaAdvice, database.ErrReadOnly
	case c == codeDiskFull || strings.HasPrefix(c, "53") && c != "53300" && c != "53200":
		return "everything was rolled back; make room on the server and run it again", database.ErrNoSpace
	case c == codeLockTimeout, c == "40001", c == "40P01", c == codeCanceled, c == "53300", c == "53200":
		return "everything was rolled back; run it again when the other program has finished", database.ErrBusy
	case c == "57P01" || c == "57P02" || c == "57P03" || c == "57P05" || strings.HasPrefix(c, "08"):
		return "everything that was not finished was rolled back; run it again", database.ErrUnavailable
	case c == "" && isNetwork(err):
		return "everything that was not finished was rolled back; run it again, and if it stays so, see whether the server runs and database.dsn is right", database.ErrUnavailable
	}
	return "", nil
}

const replicaAdvice = `nothing was changed; it is a read-only replica, or was made read-only: name the primary server in database.dsn (with several hosts there, target_session_attrs=read-write finds it)`

// isNetwork reports whether an error is of the way to the server.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var op net.Error
	return errors.As(err, &connect) || errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.Timeout(err) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "conn busy")
}

// isLost reports whether the connection is of no use any more.
func isLost(err error) bool { return err != nil && errors.Is(err, database.ErrUnavailable) }

// clash reports whether an error is the server's choice of one of two
// transactions that waited for each other.
func clash(err error) bool {
	c := code(err)
	return c == "40001" || c == "40P01"
}
