package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"caisseauto/exporter"
	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/database"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/internal/release"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// The exit codes, after sysexits.h. The README's table is tested against them.
const (
	exitDone        = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 65
	exitUnavailable = 69
	exitCannotWrite = 73
	exitBusy        = 75
	exitDenied      = 77
	exitOperator    = 78
)

// A usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exit prints err, if any, and returns the exit code for it.
func (a *app) exit(err error) int {
	if err == nil {
		return exitDone
	}
	term.Report(a.stderr, "caisseauto", err)
	if code, ok := isExit(err); ok {
		return code
	}
	return exitCode(err)
}

// exitCode returns the documented code for an error. The order matters where
// an error is of two kinds: refused data comes before what refusing it ran
// into.
func exitCode(err error) int {
	var usage *usageError
	var conf *config.Error
	switch {
	case errors.As(err, &usage), errors.As(err, &conf), strings.HasPrefix(err.Error(), "unknown command"),
		errors.Is(err, database.ErrNotInstalled), errors.Is(err, database.ErrDSN), sqlite3.IsCannotOpen(err):
		return exitUsage
	case errors.Is(err, exporter.ErrAhead), errors.Is(err, exporter.ErrLost), errors.Is(err, sqlite.ErrForked),
		errors.Is(err, errAlarm), errors.Is(err, errDossier), errors.Is(err, sqlite.ErrWaiting), errors.Is(err, errFindings),
		errors.Is(err, drop.ErrConflict), errors.Is(err, durable.ErrDifferent),
		errors.Is(err, errNobody), errors.Is(err, release.ErrProbe), errors.Is(err, release.ErrNoWay):
		return exitOperator
	case errors.Is(err, importer.ErrRefused), errors.Is(err, rotation.ErrRefused), errors.Is(err, drop.ErrTooMany), errors.Is(err, drop.ErrTooLarge),
		errors.Is(err, release.ErrRequest):
		return exitRefused
	case errors.Is(err, release.ErrForked):
		return exitOperator
	case errors.Is(err, drop.ErrDenied), errors.Is(err, database.ErrDenied), errors.Is(err, keys.ErrPermission), errors.Is(err, exporter.ErrKey):
		return exitDenied
	case errors.Is(err, drop.ErrUnavailable), errors.Is(err, database.ErrUnavailable), errors.Is(err, exporter.ErrUnseen), errors.Is(err, context.DeadlineExceeded), errors.Is(err, release.ErrIncomplete):
		return exitUnavailable
	case errors.Is(err, database.ErrBusy), errors.Is(err, database.ErrMoved), errors.Is(err, errBusy), errors.Is(err, durable.ErrLocked), errors.Is(err, context.Canceled):
		return exitBusy
	case errors.Is(err, database.ErrNoSpace), errors.Is(err, drop.ErrNoSpace), errors.Is(err, release.ErrNoRoom), durable.IsNoSpace(err),
		errors.Is(err, syscall.EROFS), errors.Is(err, database.ErrReadOnly):
		return exitCannotWrite
	case errors.Is(err, fs.ErrPermission):
		return exitDenied
	}
	return exitFailure
}
