package config

import (
	"fmt"
	"strings"
)

// An Error is a configuration that cannot be used as it is. It names the
// place and says what to write. Programs end with exit code 2 for it.
type Error struct {
	File    string // path of the file as it was opened
	Line    int    // from 1; 0 when no line is to blame
	Key     string // dotted, for example "dossier.table.direction"; may be empty
	Problem string // what is wrong
	Hint    string // what to write or to do; may be empty
	Err     error  // the cause, for example fs.ErrNotExist; may be nil
}

// Error returns place, problem and hint on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Where())
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Where returns the place alone: "server.toml:12: dossier.code".
func (e *Error) Where() string {
	at := e.File
	if at == "" {
		at = "configuration"
	}
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, e.Line)
	}
	if e.Key != "" {
		at += ": " + e.Key
	}
	return at
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns 2, "usage or configuration".
func (e *Error) ExitCode() int { return 2 }
