package config

import "fmt"

// missing is the error of a command that needs a key which is not there.
func (m *Common) missing(key, hint string) error {
	return &Error{File: m.File, Key: key, Problem: "missing, and this command needs it", Hint: hint}
}

// NeedDrop returns an *Error when the file names no drop.
func (m *Common) NeedDrop() error {
	if m.Drop.URL == "" {
		return m.missing("drop.url", dropForms)
	}
	return nil
}

// NeedSigning returns an *Error when the file does not say in whose name to
// sign.
func (m *Common) NeedSigning() error {
	if m.Signing.Principal == "" {
		return m.missing("signing.principal", `write [signing] principal = "server@NAME", or "till-NUMBER@DOSSIER" on a till`)
	}
	return nil
}

// SQLite returns the path of the database file, or an *Error when the
// database is of another kind.
func (m *Common) SQLite() (string, error) {
	if m.Database.Driver != DriverSQLite {
		return "", &Error{File: m.File, Key: "database.driver", Problem: m.Database.Driver + " is not available yet in this version",
			Hint: `write driver = "sqlite", or install a version that has it`}
	}
	return m.Database.DSN, nil
}

// Dossier returns the dossier with this code; with an empty code the only
// one. The error, an *Error, names the choice.
func (s *Server) Dossier(code string) (*Dossier, error) {
	if code == "" && len(s.Dossiers) == 1 {
		return &s.Dossiers[0], nil
	}
	for i := range s.Dossiers {
		if s.Dossiers[i].Code == code {
			return &s.Dossiers[i], nil
		}
	}
	e := &Error{File: s.File, Key: "dossier", Problem: fmt.Sprintf("there is no dossier %q", code), Hint: "say --dossier " + list(s.codes())}
	if code == "" {
		e.Problem = "there are several dossiers"
	}
	return nil, e
}
