package config

import (
	"fmt"
	"slices"
)

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
		return "", &Error{File: m.File, Key: "database.driver", Problem: "this command works on an SQLite database, and not on " + m.Database.Driver,
			Hint: "look into that database with its own tools"}
	}
	return m.Database.DSN, nil
}

// Dossier returns the dossier with this code; with an empty code the only
// one. The error, an *Error, names the choice.
func (s *Server) Dossier(code string) (*Dossier, error) {
	i, err := s.choose(code, s.codes())
	if err != nil {
		return nil, err
	}
	return &s.Dossiers[i], nil
}

// Dossier does for a release manager what [Server.Dossier] does.
func (r *Release) Dossier(code string) (*ReleaseDossier, error) {
	codes := make([]string, len(r.Dossiers))
	for i := range r.Dossiers {
		codes[i] = r.Dossiers[i].Code
	}
	i, err := r.choose(code, codes)
	if err != nil {
		return nil, err
	}
	return &r.Dossiers[i], nil
}

// choose returns the index of code among codes.
func (m *Common) choose(code string, codes []string) (int, error) {
	if code == "" && len(codes) == 1 {
		return 0, nil
	}
	if i := slices.Index(codes, code); i >= 0 {
		return i, nil
	}
	e := &Error{File: m.File, Key: "dossier", Problem: fmt.Sprintf("there is no dossier %q", code), Hint: "say --dossier " + list(codes)}
	if code == "" {
		e.Problem = "there are several dossiers"
	}
	return 0, e
}
